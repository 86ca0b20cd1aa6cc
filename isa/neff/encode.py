"""Program -> members of the archive, in file order. Bytes of weights come last and are never copied here."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from isa import word
from isa.errors import ContainerError
from isa.neff import json_values, layout
from isa.neff.queues import queue_sets
from isa.neff.weights import has_data, weight_bytes
from isa.program import IN_DRAM, WEIGHT, Node, Program, Stage, TensorInfo, Variable

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
    for engine in _engines(stage.streams):
        yield layout.stage_engine(index, engine), _raw(stage.streams[engine])
    for engine in _engines(stage.init):
        yield layout.stage_init_engine(index, engine), _raw(stage.init[engine])
    if len(stage.descriptors):
        yield layout.stage_descriptors(index), _raw(stage.descriptors)
    debug = layout.stage_debug(index)
    rows = [[e.layer, e.op_type, e.source, e.purpose, e.macs] for e in stage.debug]
    yield debug, _json({"rows": rows}, debug)


def _engines(streams: Mapping[str, np.ndarray]) -> list[str]:
    unknown = set(streams) - set(word.ENGINES)
    if unknown:
        raise ContainerError(f"no engine {sorted(unknown)[0]!r}", code="NEFF_STREAM")
    return [e for e in word.ENGINES if len(streams.get(e, ()))]


def _weights(stage: Stage) -> list[Variable]:
    return [v for v in stage.variables if v.kind == WEIGHT]


def _raw(records: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(records).view(np.uint8)


def _json(value: object, section: str) -> np.ndarray:
    return np.frombuffer(json_values.dump(value, section), dtype=np.uint8)


def _graph(program: Program) -> dict[str, object]:
    nodes = [node(n) for n in program.nodes]
    report = {k: v for k, v in program.report.items() if k not in layout.VOLATILE_REPORT_KEYS}
    return {"format": layout.GRAPH_FORMAT, "name": program.name, "target": program.target,
            "generation": program.generation, "inputs": _tensors(program.inputs),
            "outputs": _tensors(program.outputs), "nodes": nodes,
            "stages": [layout.stage_folder(i) for i in range(len(program.stages))],
            "options": dict(program.options), "report": report}


def node(of: Node) -> dict[str, object]:
    """Return the JSON of a graph node: `core` and `upstream` only where they say something."""
    entry: dict[str, object] = {"name": of.name, "kind": of.kind, "inputs": list(of.inputs),
                                "outputs": list(of.outputs), "stage": of.stage, "model": of.model}
    if of.core:
        entry["core"] = of.core
    if of.upstream:
        entry["upstream"] = of.upstream
    return entry


def _tensors(tensors: Sequence[TensorInfo]) -> list[dict[str, object]]:
    """Entries of the graph's `inputs` and `outputs`; the shape of a tensor of unknown rank is null."""
    return [{"name": t.name, "shape": list(t.shape) if t.ranked else None, "dtype": t.dtype} for t in tensors]


def _definition(index: int, stage: Stage) -> dict[str, object]:
    engines = {e: {"file_name": layout.stage_engine(index, e), "instructions": len(stage.streams[e])}
               for e in _engines(stage.streams)}
    init = {e: {"file_name": layout.stage_init_engine(index, e), "instructions": len(stage.init[e])}
            for e in _engines(stage.init)}
    return {"engines": engines, "dma_queue": queue_sets(stage), "descriptors": len(stage.descriptors),
            "var": [_variable(index, v) for v in stage.variables], "debug_rows": len(stage.debug),
            "sbuf_peak_bytes": stage.sbuf_peak_bytes, "psum_peak_bytes": stage.psum_peak_bytes,
            "info": dict(stage.info)} | ({"init": init} if init else {})


def _variable(index: int, variable: Variable) -> dict[str, object]:
    entry: dict[str, object] = {"var_id": variable.id, "name": variable.name, "type": variable.kind,
                                "dtype": variable.dtype.name, "shape": list(variable.shape),
                                "size": variable.size_bytes}
    if variable.space != IN_DRAM:
        entry["space"] = variable.space
    if variable.kind == WEIGHT:
        entry["file_name"] = layout.stage_weight(index, variable.id)
    return entry
