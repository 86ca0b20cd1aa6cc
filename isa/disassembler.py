"""Program -> listing: text from which `isa.assembler` rebuilds the same bytes. The grammar is docs/assembly.md."""
from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from isa.errors import IsaError
from isa.listing.descriptors import format_descriptors, variable_names
from isa.listing.scalars import format_shape, quote
from isa.listing.words import format_words
from isa.neff.encode import node
from isa.neff.layout import VOLATILE_REPORT_KEYS, stage_weight
from isa.program import IN_DRAM, WEIGHT, DebugEntry, Program, Stage, Variable
from isa.word import ENGINES

HEADING = "; neuronsim listing, format 1"
_INDENT = "    "


def disassemble(source: Program | Stage, engine: str | None = None, stage: int | None = None) -> str:
    """Return the listing of a program or of one stage.

    `engine` and `stage` choose a part of it; without them the listing holds everything but the bytes of weights and
    CPU segments, which it names by their NEFF members. Raises: IsaError (NO_ENGINE, NO_STAGE).
    """
    if engine is not None and engine not in ENGINES:
        raise IsaError(f"no engine {engine!r}", code="NO_ENGINE", help="engines: " + ", ".join(ENGINES))
    stages = [source] if isinstance(source, Stage) else list(source.stages)
    if stage is not None and not 0 <= stage < len(stages):
        raise IsaError(f"no stage {stage}", code="NO_STAGE", limit=len(stages) - 1, actual=stage)
    chosen = range(len(stages)) if stage is None else [stage]
    lines = [HEADING]
    if isinstance(source, Program) and engine is None and stage is None:
        lines += _program(source)
    for index in chosen:
        lines += ["", f".stage {index}"]
        lines += _engine(stages[index], engine) if engine else _stage(index, stages[index])
    return "\n".join(lines) + "\n"


def _program(program: Program) -> Iterator[str]:
    yield f".program {json.dumps(program.name)}"
    yield f".target {quote(program.target)}"
    yield f".generation {quote(program.generation)}"
    for kind, tensors in (("input", program.inputs), ("output", program.outputs)):
        for tensor in tensors:
            yield f".{kind} {quote(tensor.name)} {quote(tensor.dtype)} {format_shape(tensor.shape)}"
    for each in program.nodes:
        yield ".node " + _json(node(each))
    for name in program.cpu_models:
        yield f".cpu_model {quote(name)}"
    if program.options:
        yield ".options " + _json(dict(program.options))
    report = {k: v for k, v in program.report.items() if k not in VOLATILE_REPORT_KEYS}
    if report:
        yield ".report " + _json(report)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, default=lambda v: v.item())


def _stage(index: int, stage: Stage) -> Iterator[str]:
    if stage.sbuf_peak_bytes:
        yield f".sbuf_peak {stage.sbuf_peak_bytes}"
    if stage.psum_peak_bytes:
        yield f".psum_peak {stage.psum_peak_bytes}"
    if stage.info:
        yield ".info " + _json(stage.info)
    for variable in stage.variables:
        yield _variable(index, variable)
    for number, entry in enumerate(stage.debug):
        if number or entry != DebugEntry():
            yield _debug(number, entry)
    if len(stage.descriptors):
        yield ".dma"
        names = variable_names([v.name for v in stage.variables])
        yield from (_INDENT + line for line in format_descriptors(stage.descriptors, names))
    for engine in ENGINES:
        yield from _engine(stage, engine)


def _variable(index: int, variable: Variable) -> str:
    text = f".variable {quote(variable.name)} {variable.kind} {variable.dtype} {format_shape(variable.shape)}"
    if variable.space != IN_DRAM:
        text += f" space={variable.space}"
    return f"{text} file={stage_weight(index, variable.id)}" if variable.kind == WEIGHT else text


def _debug(number: int, entry: DebugEntry) -> str:
    texts = " ".join(json.dumps(t) for t in (entry.layer, entry.op_type, entry.source, entry.purpose))
    return f".debug {number} {texts} {entry.macs}"


def _engine(stage: Stage, engine: str) -> Iterator[str]:
    """Yield the sections of one engine: what it does at load, and in every run."""
    for directive, part in ((".init", stage.loading), (".engine", stage)):
        if len(part.stream(engine)):
            yield f"{directive} {engine}"
            yield from _words(part, part.stream(engine))


def _words(stage: Stage, stream: np.ndarray) -> Iterator[str]:
    """Yield the words of one stream, with a comment where the layer changes."""
    layer = 0
    for line, debug in zip(format_words(stream), stream["debug"].tolist()):
        if debug != layer and 0 < debug < len(stage.debug):
            entry = stage.debug[debug]
            yield f"{_INDENT}; layer {_printable(entry.layer)} ({_printable(entry.op_type)})"
        layer = debug
        yield _INDENT + line


def _printable(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)
