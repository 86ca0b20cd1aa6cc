"""Program -> members of the archive, in file order. Bytes of weights come last and are never copied here."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from isa import word
from isa.errors import ContainerError
from isa.neff import json_values, layout
from isa.neff.queues import queue_sets
from isa.neff.weights import has_data, weight_bytes
from isa.program import WEIGHT, Program, Stage, TensorInfo, Variable

Members = dict[str, np.ndarray]


def members(program: Program, skip_missing: bool = False) -> Members:
    """Return name -> [n] uint8 data of every member but the manifest; `skip_missing` leaves out weights without data.

    Raises: ContainerError when the program cannot be stored.
    """
    found: Members = {}
    for name, data in _all_members(program, skip_missing):
        if name in found:
            raise ContainerError("member occurs twice", code="NEFF_MEMBER_DUPLICATE", section=name)
        found[name] = data
    return found


def _all_members(program: Program, skip_missing: bool) -> Iterator[tuple[str, np.ndarray]]:
    yield layout.GRAPH, _json(_graph(program), layout.GRAPH)
    for index, stage in enumerate(program.stages):
        yield from _stage_members(index, stage)
    for name, model in sorted(program.cpu_models.items()):
        if not name.startswith(layout.CPU_FOLDER):
            raise ContainerError(f"CPU segment {name!r} must lie in {layout.CPU_FOLDER}", code="NEFF_MEMBER_PATH")
        yield name, np.frombuffer(model, dtype=np.uint8)
    for index, stage in enumerate(program.stages):
        for variable in _weights(stage):
            if skip_missing and not has_data(variable):
                continue
            yield layout.stage_weight(index, variable.id), weight_bytes(variable)


def _stage_members(index: int, stage: Stage) -> Iterator[tuple[str, np.ndarray]]:
    definition = layout.stage_definition(index)
    yield definition, _json(_definition(index, stage), definition)
    for engine in _engines(stage):
        yield layout.stage_engine(index, engine), _raw(stage.streams[engine])
    if len(stage.descriptors):
        yield layout.stage_descriptors(index), _raw(stage.descriptors)
    debug = layout.stage_debug(index)
    rows = [[e.layer, e.op_type, e.source, e.purpose, e.macs] for e in stage.debug]
    yield debug, _json({"rows": rows}, debug)


def _engines(stage: Stage) -> list[str]:
    unknown = set(stage.streams) - set(word.ENGINES)
    if unknown:
        raise ContainerError(f"no engine {sorted(unknown)[0]!r}", code="NEFF_STREAM")
    return [e for e in word.ENGINES if len(stage.stream(e))]


def _weights(stage: Stage) -> list[Variable]:
    return [v for v in stage.variables if v.kind == WEIGHT]


def _raw(records: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(records).view(np.uint8)


def _json(value: object, section: str) -> np.ndarray:
    return np.frombuffer(json_values.dump(value, section), dtype=np.uint8)


def _graph(program: Program) -> dict[str, object]:
    nodes = [{"name": n.name, "kind": n.kind, "inputs": list(n.inputs), "outputs": list(n.outputs), "stage": n.stage,
              "model": n.model} for n in program.nodes]
    report = {k: v for k, v in program.report.items() if k not in layout.VOLATILE_REPORT_KEYS}
    return {"format": layout.GRAPH_FORMAT, "name": program.name, "target": program.target,
            "generation": program.generation, "inputs": _tensors(program.inputs),
            "outputs": _tensors(program.outputs), "nodes": nodes,
            "stages": [layout.stage_folder(i) for i in range(len(program.stages))],
            "options": dict(program.options), "report": report}


def _tensors(tensors: Sequence[TensorInfo]) -> list[dict[str, object]]:
    """Entries of the graph's `inputs` and `outputs`; the shape of a tensor of unknown rank is null."""
    return [{"name": t.name, "shape": list(t.shape) if t.ranked else None, "dtype": t.dtype} for t in tensors]


def _definition(index: int, stage: Stage) -> dict[str, object]:
    engines = {e: {"file_name": layout.stage_engine(index, e), "instructions": len(stage.streams[e])}
               for e in _engines(stage)}
    return {"engines": engines, "dma_queue": queue_sets(stage), "descriptors": len(stage.descriptors),
            "var": [_variable(index, v) for v in stage.variables], "debug_rows": len(stage.debug),
            "sbuf_peak_bytes": stage.sbuf_peak_bytes, "psum_peak_bytes": stage.psum_peak_bytes,
            "info": dict(stage.info)}


def _variable(index: int, variable: Variable) -> dict[str, object]:
    entry: dict[str, object] = {"var_id": variable.id, "name": variable.name, "type": variable.kind,
                                "dtype": variable.dtype.name, "shape": list(variable.shape),
                                "size": variable.size_bytes}
    if variable.kind == WEIGHT:
        entry["file_name"] = layout.stage_weight(index, variable.id)
    return entry
