"""A checked container -> Program. Streams are views of the file; weights stay untouched until first used."""
from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial

import numpy as np

from isa import word
from isa.dtypes import BY_NAME
from isa.errors import ContainerError
from isa.neff import layout
from isa.neff.container import Container, located
from isa.neff.header import Header
from isa.neff.json_values import Fields, load
from isa.neff.pipeline import check_pipeline
from isa.neff.rules import check_debug, check_nodes, check_tensor, require
from isa.neff.weights import StoredWeight
from isa.program import (
    IN_DRAM,
    IN_SBUF,
    VARIABLE_KINDS,
    WEIGHT,
    DebugEntry,
    Node,
    Program,
    Stage,
    TensorInfo,
    Variable,
)

# sealed by the hash; older writers may differ here
_FREE_HEADER_FIELDS = ("hash", "uuid", "neff_build_version", "neff_version_minor")


def open_program(path: str | os.PathLike[str], verify: bool = False) -> tuple[Container, Program]:
    """Return the opened file and its program; with `verify` weights are hashed too. Raises: ContainerError."""
    container = Container(path)
    try:
        if verify:
            container.verify_all()
        program = program_of(container)
        program.seal = container.header.hash.hex()
        return container, program
    except ContainerError as error:
        raise located(error, container.path) from error.__cause__


def program_of(container: Container) -> Program:
    """Return the program, all members but weights verified. Raises: ContainerError."""
    graph = _load(container, layout.GRAPH)
    graph.expect("format", layout.GRAPH_FORMAT)
    folders = graph.texts("stages")
    if len(folders) > layout.MAX_STAGES:
        raise ContainerError("too many stages", code="NEFF_LIMIT", section=layout.GRAPH, limit=layout.MAX_STAGES,
                             actual=len(folders))
    require(list(folders) == [layout.stage_folder(i) for i in range(len(folders))], "stages are not numbered in order",
            layout.GRAPH)
    used = {layout.GRAPH}
    stages = [_stage(container, i, used) for i in range(len(folders))]
    nodes = [_node(f) for f in graph.each("nodes")]
    models = [n for n in container.names if n.startswith(layout.CPU_FOLDER)]
    check_nodes(nodes, len(stages), models)
    check_pipeline(nodes, stages)
    program = Program(graph.text("name"), graph.text("target"), graph.text("generation"), _tensors(graph, "inputs"),
                      _tensors(graph, "outputs"), nodes, stages, {m: container.bytes(m).tobytes() for m in models},
                      graph.mapping("report"), graph.mapping("options"))
    graph.done()
    _check_members(container, used | set(models))
    _check_header(container, program)
    return program


def _load(container: Container, name: str) -> Fields:
    return load(container.bytes(name).data, name)


def _check_members(container: Container, used: set[str]) -> None:
    for name in container.names:
        if name not in used:
            raise ContainerError("member that nothing refers to", code="NEFF_MEMBER_EXTRA", section=name)


def _check_header(container: Container, program: Program) -> None:
    expected = Header.of(program, container.header.data_size).as_dict()
    for field, found in container.header.as_dict().items():
        if field not in _FREE_HEADER_FIELDS and found != expected[field]:
            raise ContainerError(f"header field {field} contradicts the graph", code="NEFF_HEADER", section=field,
                                 limit=expected[field], actual=found)


def _tensors(graph: Fields, key: str) -> list[TensorInfo]:
    found = []
    for entry in graph.each(key):
        ranked = not entry.is_null("shape")
        shape = entry.shape("shape", unknown=True) if ranked else ()
        tensor = TensorInfo(entry.text("name"), shape, entry.text("dtype"), ranked)
        check_tensor(tensor)
        found.append(tensor)
        entry.done()
    return found


def _node(entry: Fields) -> Node:
    node = Node(entry.text("name"), entry.text("kind"), entry.texts("inputs"), entry.texts("outputs"),
                entry.integer("stage", -1, layout.MAX_STAGES), entry.text("model"),
                entry.integer("core", 1, layout.MAX_CORES - 1) if entry.has("core") else 0,
                entry.text("upstream") if entry.has("upstream") else "")
    entry.done()
    return node


def _stage(container: Container, index: int, used: set[str]) -> Stage:
    section = layout.stage_definition(index)
    definition = _load(container, section)
    streams = _streams(container, definition.child("engines"), partial(layout.stage_engine, index), used)
    init = {}
    if definition.has("init"):
        init = _streams(container, definition.child("init"), partial(layout.stage_init_engine, index), used)
        require(bool(init), "init names no engine", section)
    descriptors = _descriptors(container, index, definition, used)
    variables = [_variable(container, index, i + 1, f, used) for i, f in enumerate(definition.each("var"))]
    debug = _debug(container, index, definition)
    definition.mapping("dma_queue")
    stage = Stage(streams, descriptors, variables, debug, definition.integer("sbuf_peak_bytes", 0, 1 << 40),
                  definition.integer("psum_peak_bytes", 0, 1 << 40), definition.mapping("info"), init)
    definition.done()
    check_debug(stage, section)
    used |= {section, layout.stage_debug(index)}
    return stage


def _streams(container: Container, engines: Fields, member: Callable[[str], str], used: set[str]) -> dict[
        str, np.ndarray]:
    streams = {}
    for engine in word.ENGINES:
        if not engines.has(engine):
            continue
        name = member(engine)
        entry = engines.child(engine)
        entry.expect("file_name", name)
        streams[engine] = _records(container, name, word.WORD, entry.integer("instructions", 0, 1 << 32))
        entry.done()
        used.add(name)
    engines.done()
    return streams


def _descriptors(container: Container, index: int, definition: Fields, used: set[str]) -> np.ndarray:
    count = definition.integer("descriptors", 0, 1 << 32)
    if not count:
        return np.zeros(0, dtype=word.DESCRIPTOR)
    name = layout.stage_descriptors(index)
    used.add(name)
    return _records(container, name, word.DESCRIPTOR, count)


def _records(container: Container, name: str, dtype: np.dtype, count: int) -> np.ndarray:
    """Return the [count] records of a member. Raises: ContainerError (NEFF_STREAM) when sizes disagree."""
    size = container.size(name)
    if size % dtype.itemsize or size != count * dtype.itemsize:
        raise ContainerError("stream is not the stated number of 128-byte records", code="NEFF_STREAM", section=name,
                             limit=count * dtype.itemsize, actual=size)
    return container.bytes(name).view(dtype)


def _variable(container: Container, stage: int, number: int, entry: Fields, used: set[str]) -> Variable:
    section = layout.stage_definition(stage)
    entry.expect("var_id", number)
    name, kind, dtype_name, shape = entry.text("name"), entry.text("type"), entry.text("dtype"), entry.shape("shape")
    require(kind in VARIABLE_KINDS, f"variable {name!r} is of unknown type {kind!r}", section)
    require(dtype_name in BY_NAME, f"variable {name!r} is of unknown data type {dtype_name!r}", section)
    dtype = BY_NAME[dtype_name]
    size = math.prod(shape) * dtype.size
    if size > layout.MAX_VARIABLE_BYTES:
        raise ContainerError(f"variable {name!r} is too large", code="NEFF_LIMIT", section=section,
                             limit=layout.MAX_VARIABLE_BYTES, actual=size)
    entry.expect("size", size)
    space = IN_DRAM
    if entry.has("space"):
        entry.expect("space", IN_SBUF)
        space = IN_SBUF
    if kind != WEIGHT:
        entry.done()
        return Variable(number, name, kind, dtype, shape, space=space)
    require(space == IN_DRAM, f"weight {name!r} is in {space}", section)
    member = layout.stage_weight(stage, number)
    entry.expect("file_name", member)
    entry.done()
    if container.size(member) != size:
        raise ContainerError(f"weight {name!r} does not fill its shape", code="NEFF_WEIGHT", section=member, limit=size,
                             actual=container.size(member))
    used.add(member)
    return StoredWeight(number, name, dtype, shape, partial(container.bytes, member))


def _debug(container: Container, index: int, definition: Fields) -> list[DebugEntry]:
    section = layout.stage_debug(index)
    document = _load(container, section)
    rows = [_debug_row(r, section) for r in document.array("rows")]
    document.done()
    definition.expect("debug_rows", len(rows))
    return rows


def _debug_row(row: object, section: str) -> DebugEntry:
    if isinstance(row, list) and len(row) == 5:
        layer, op_type, source, purpose, macs = row
        texts = all(isinstance(t, str) for t in (layer, op_type, source, purpose))
        if texts and isinstance(macs, int) and not isinstance(macs, bool) and 0 <= macs < 1 << 63:
            return DebugEntry(layer, op_type, source, purpose, macs)
    raise ContainerError(f"debug row is not four texts and a count: {str(row)[:80]!r}", code="NEFF_JSON",
                         section=section)
