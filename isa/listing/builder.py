"""Lines of a listing -> stages, variables, descriptors and words: one method per directive."""
from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from isa.dtypes import BY_CODE
from isa.listing import descriptors, words
from isa.listing.members import MemberSource
from isa.listing.scalars import number, parse_dtype, parse_shape, unquote
from isa.listing.source import Line
from isa.neff.layout import MAX_STAGES, MAX_VARIABLE_BYTES
from isa.program import (
    VARIABLE_KINDS,
    VARIABLE_SPACES,
    WEIGHT,
    DebugEntry,
    Node,
    Stage,
    TensorInfo,
    Variable,
)
from isa.word import DESCRIPTOR, ENGINES, WORD

_DIRECTIVE_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\S+')
_LABEL = re.compile(r"\s*([A-Za-z_]\w*):")
_SEMAPHORE_BITS = 16
_NODE_TYPES = {"name": str, "kind": str, "inputs": list, "outputs": list, "stage": int, "model": str, "core": int,
               "upstream": str}
_OPTIONAL = {"core", "upstream"}
_INIT = "init."


class Builder:
    """Everything a listing says, as it is read; `stages` by number."""

    def __init__(self, members: MemberSource | None) -> None:
        self.name = self.target = self.generation = ""
        self.inputs: list[TensorInfo] = []
        self.outputs: list[TensorInfo] = []
        self.nodes: list[Node] = []
        self.cpu_models: list[str] = []
        self.options: dict[str, Any] = {}
        self.report: dict[str, Any] = {}
        self.stages: dict[int, Stage] = {}
        self._members = members
        self._stage_number = 0
        self._section = ""
        self._named_stages: set[int] = set()
        self._begin_stage()

    def read(self, lines: Iterable[Line]) -> Builder:
        """Take in all lines. Raises: AssemblyError."""
        for line in lines:
            if line.text.lstrip().startswith("."):
                self._directive(line)
            elif self._section == "dma":
                self._descriptor(line)
            elif self._section:
                self._word(line)
            else:
                raise line.error("an instruction or descriptor outside a section", help="begin with .engine or .dma")
        self._finish_stage()
        return self

    # ---- stages
    def _begin_stage(self) -> None:
        self._stage = Stage()
        self._streams: dict[str, bytearray] = {}  # by section: an engine, or an engine's `.init`
        self._descriptors = bytearray()
        self._variables: dict[str, int] = {}  # names that stand for one variable
        self._ambiguous: set[str] = set()
        self._names: dict[str, int] = {}  # semaphores and descriptor labels
        self._section = ""

    def _finish_stage(self) -> None:
        stage = self._stage
        made = {section: np.frombuffer(raw, dtype=WORD) for section, raw in self._streams.items() if raw}
        stage.streams = {e: made[e] for e in ENGINES if e in made}
        stage.init = {e: made[_INIT + e] for e in ENGINES if _INIT + e in made}
        stage.descriptors = np.frombuffer(self._descriptors, dtype=DESCRIPTOR)
        if made or self._descriptors or stage.variables or self._stage_number in self._named_stages:
            self.stages[self._stage_number] = stage

    # ---- lines of a section
    def _word(self, line: Line) -> None:
        tokens = words.split(line.text)
        try:
            self._streams.setdefault(self._section, bytearray()).extend(words.parse_word(tokens, self._names))
        except words.TokenError as error:
            raise line.error(str(error), words.column_of(line.text, error.index)) from error

    def _descriptor(self, line: Line) -> None:
        text = line.text
        label = _LABEL.match(text)
        if label:
            self._define(line, label[1], len(self._descriptors) // DESCRIPTOR.itemsize)
            text = " " * label.end() + text[label.end() :]
            if not text.strip():
                return
        try:
            self._descriptors += descriptors.parse_descriptor(words.split(text), self._variables)
        except words.TokenError as error:
            raise line.error(str(error), words.column_of(text, error.index)) from error

    def _define(self, line: Line, name: str, value: int) -> None:
        if name in self._names:
            raise line.error(f"the name {name!r} is taken")
        self._names[name] = value

    # ---- directives
    def _directive(self, line: Line) -> None:
        keyword, _, rest = line.text.strip().partition(" ")
        handler: Callable[[Line, str], None] | None = getattr(self, f"_on_{keyword[1:]}", None)
        if handler is None:
            known = " ".join(f".{n[4:]}" for n in sorted(vars(Builder)) if n.startswith("_on_"))
            raise line.error(f"no directive {keyword}", help=f"known: {known} .define .repeat .endr")
        try:
            handler(line, rest.strip())
        except ValueError as error:
            raise line.error(f"{keyword}: {error}", line.text.index(keyword) + len(keyword) + 2) from error

    def _on_program(self, line: Line, rest: str) -> None:
        (self.name,) = _tokens(rest, "name")

    def _on_target(self, line: Line, rest: str) -> None:
        (self.target,) = _tokens(rest, "instance")

    def _on_generation(self, line: Line, rest: str) -> None:
        (self.generation,) = _tokens(rest, "generation")

    def _on_input(self, line: Line, rest: str) -> None:
        self.inputs.append(_tensor(rest))

    def _on_output(self, line: Line, rest: str) -> None:
        self.outputs.append(_tensor(rest))

    def _on_node(self, line: Line, rest: str) -> None:
        values = _object(rest)
        if set(values) | _OPTIONAL != set(_NODE_TYPES) or any(type(v) is not _NODE_TYPES[k] for k, v in values.items()):
            raise ValueError("a node has exactly name, kind, inputs, outputs, stage, model; it may have core, upstream")
        if not all(isinstance(t, str) for t in (*values["inputs"], *values["outputs"])):
            raise ValueError("names of a node are texts")
        self.nodes.append(Node(**values | {k: tuple(values[k]) for k in ("inputs", "outputs")}))

    def _on_cpu_model(self, line: Line, rest: str) -> None:
        self.cpu_models += _tokens(rest, "member")

    def _on_options(self, line: Line, rest: str) -> None:
        self.options = _object(rest)

    def _on_report(self, line: Line, rest: str) -> None:
        self.report = _object(rest)

    def _on_stage(self, line: Line, rest: str) -> None:
        (text,) = _tokens(rest, "number")
        self._finish_stage()
        value = number(text, 32)
        if value in self.stages or value >= MAX_STAGES:
            raise ValueError(f"stage {value} is given twice or is not below {MAX_STAGES}")
        self._stage_number = value
        self._named_stages.add(value)
        self._begin_stage()

    def _on_sbuf_peak(self, line: Line, rest: str) -> None:
        self._stage.sbuf_peak_bytes = number(rest, 40)

    def _on_psum_peak(self, line: Line, rest: str) -> None:
        self._stage.psum_peak_bytes = number(rest, 40)

    def _on_info(self, line: Line, rest: str) -> None:
        self._stage.info = _object(rest)

    def _on_variable(self, line: Line, rest: str) -> None:
        name, kind, dtype_name, shape_text, *more = _tokens(rest, "name kind dtype shape", 1)
        if kind not in VARIABLE_KINDS:
            raise ValueError(f"no variable kind {kind!r}; known: " + ", ".join(VARIABLE_KINDS))
        dtype, shape = BY_CODE.get(parse_dtype(dtype_name)), parse_shape(shape_text)
        if dtype is None or math.prod(shape) * dtype.size > MAX_VARIABLE_BYTES:
            raise ValueError(f"{dtype_name} {shape_text} is not a DRAM tensor of at most {MAX_VARIABLE_BYTES} bytes")
        variable = Variable(len(self._stage.variables) + 1, name, kind, dtype, shape)
        variable = self._extended(variable, *more)
        self._stage.variables.append(variable)
        if name in self._ambiguous or self._variables.pop(name, 0):
            self._ambiguous.add(name)
        else:
            self._variables[name] = variable.id

    def _extended(self, variable: Variable, text: str = "") -> Variable:
        """Return the variable with what the last word of its line says: file=member or space=memory."""
        label, _, value = text.partition("=")
        if label == "space" and variable.kind != WEIGHT and value in VARIABLE_SPACES:
            return replace(variable, space=value)
        if text and not (label == "file" and variable.kind == WEIGHT):
            raise ValueError(f"unexpected {text!r}; a {WEIGHT!r} variable takes file=member, any other space=dram or "
                             "space=sbuf")
        if text and self._members:
            return replace(variable, data=self._members(unquote(value), variable.size_bytes))
        return variable

    def _on_debug(self, line: Line, rest: str) -> None:
        row, layer, op_type, source, purpose, *macs = _tokens(rest, "row layer op_type source purpose", 1)
        entry = DebugEntry(layer, op_type, source, purpose, number(macs[0], 63) if macs else 0)
        if number(row, 32) == 0:
            self._stage.debug[0] = entry
        elif number(row, 32) == len(self._stage.debug):
            self._stage.debug.append(entry)
        else:
            raise ValueError(f"the next row is {len(self._stage.debug)}, found {row}")

    def _on_semaphore(self, line: Line, rest: str) -> None:
        name, value = _tokens(rest, "name number")
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f"{name!r} is not a name")
        self._define(line, name, number(value, _SEMAPHORE_BITS))

    def _on_dma(self, line: Line, rest: str) -> None:
        _tokens(rest, "")
        self._section = "dma"

    def _on_engine(self, line: Line, rest: str) -> None:
        self._section = _engine(rest)

    def _on_init(self, line: Line, rest: str) -> None:
        self._section = _INIT + _engine(rest)


def _tokens(rest: str, expected: str, optional: int = 0) -> list[str]:
    """Return the texts of a directive; `expected` names them."""
    found = [unquote(t) for t in _DIRECTIVE_TOKEN.findall(rest)]
    needed = len(expected.split())
    if not needed <= len(found) <= needed + optional:
        raise ValueError(f"expected {expected or 'nothing'}, found {len(found)} values")
    return found


def _engine(rest: str) -> str:
    (name,) = _tokens(rest, "engine")
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}; known: " + ", ".join(ENGINES))
    return name


def _tensor(rest: str) -> TensorInfo:
    name, dtype, shape = _tokens(rest, "name dtype shape")
    return TensorInfo(name, parse_shape(shape), dtype)


def _object(rest: str) -> dict[str, Any]:
    value = json.loads(rest)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value
