"""Rules between the parts of a program that hold in every file: checked before writing and after reading."""
from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from isa import word
from isa.errors import ContainerError
from isa.neff import layout
from isa.program import Node, Program, Stage, TensorInfo, is_type

_KINDS = ("neuron_core", "cpu")


def require(good: bool, what: str, section: str) -> None:
    """Raise ContainerError (NEFF_REFERENCE) unless `good`."""
    if not good:
        raise ContainerError(what, code="NEFF_REFERENCE", section=section)


def check_program(program: Program) -> None:
    """Raise ContainerError (NEFF_REFERENCE, NEFF_LIMIT) when nodes, stages, variables and debug rows do not fit."""
    if len(program.stages) > layout.MAX_STAGES:
        raise ContainerError("too many stages", code="NEFF_LIMIT", section=layout.GRAPH, limit=layout.MAX_STAGES,
                             actual=len(program.stages))
    for tensor in (*program.inputs, *program.outputs):
        check_tensor(tensor)
    check_nodes(program.nodes, len(program.stages), program.cpu_models.keys())
    check_stages(program)


def check_tensor(info: TensorInfo) -> None:
    """Check that the type of a model input or output can be read, and that only tensors have sizes."""
    require(is_type(info.dtype), f"tensor {info.name!r} is of unreadable type {info.dtype[:80]!r}", layout.GRAPH)
    require(min(info.shape, default=0) >= -1, f"tensor {info.name!r} has a negative size", layout.GRAPH)
    require(not info.shape or (info.is_tensor and info.ranked), f"{info.name!r} is no tensor of known rank but has "
            "sizes", layout.GRAPH)


def check_stages(program: Program) -> None:
    """Check records, debug rows and variable ids of every stage. Raises: ContainerError."""
    for index, stage in enumerate(program.stages):
        section = layout.stage_definition(index)
        for engine, words in (*stage.streams.items(), *stage.init.items()):
            _check_records(words, word.WORD, engine)
        _check_records(stage.descriptors, word.DESCRIPTOR, "dma")
        check_debug(stage, section)
        require([v.id for v in stage.variables] == list(range(1, len(stage.variables) + 1)),
                "variables are not in id order 1, 2, ...", section)


def _check_records(records: np.ndarray, dtype: np.dtype, section: str) -> None:
    if records.dtype != dtype or records.ndim != 1:
        raise ContainerError(f"records are {records.dtype} {records.shape}", code="NEFF_STREAM", section=section)


def check_nodes(nodes: Sequence[Node], stages: int, models: Collection[str]) -> None:
    """Check that nodes are of a known kind and name a stage or CPU segment that exists."""
    for node in nodes:
        require(node.kind in _KINDS, f"node {node.name!r} is of unknown kind {node.kind!r}", layout.GRAPH)
        if node.kind == "cpu":
            require(node.model in models, f"node {node.name!r} names the missing CPU segment {node.model!r}",
                    layout.GRAPH)
        else:
            require(0 <= node.stage < stages, f"node {node.name!r} names stage {node.stage} of {stages}", layout.GRAPH)


def check_debug(stage: Stage, section: str) -> None:
    """Check that every debug number of words and descriptors has a row (0 needs none)."""
    rows = max(len(stage.debug), 1)
    for records in (*stage.streams.values(), *stage.init.values(), stage.descriptors):
        highest = int(records["debug"].max(initial=0))
        require(highest < rows, f"debug row {highest} of {rows} is not there", section)
