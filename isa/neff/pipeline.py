"""Rules of pipelines: who hands what to whom, and where handed values may lie."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from isa.errors import ContainerError
from isa.neff import layout
from isa.neff.rules import require
from isa.program import IN_DRAM, INPUT, OUTPUT, VARIABLE_SPACES, Node, Stage

Face = list[tuple[str, tuple[int, ...], str, str]]


def check_pipeline(nodes: Sequence[Node], stages: Sequence[Stage]) -> None:
    """Check cores, the chains of `upstream`, and that what a stage is handed is what the stage before it hands over.

    Nodes name stages that exist. Raises: ContainerError (NEFF_REFERENCE, NEFF_LIMIT).
    """
    before: dict[str, Node] = {}
    names = Counter(n.name for n in nodes)
    taken: dict[str, set[int]] = {}  # last node of each pipeline so far -> the pipeline's cores
    for node in nodes:
        _check_place(node)
        cores: set[int] = set()
        if node.upstream:
            _check_upstream(node, before, names)
            _check_faces(node, before[node.upstream], stages)
            require(node.upstream in taken, f"node {node.upstream!r} is upstream of two nodes", layout.GRAPH)
            cores = taken.pop(node.upstream)
        require(node.core not in cores, f"node {node.name!r} is on core {node.core} like another stage of its pipeline",
                layout.GRAPH)
        taken[node.name] = cores | {node.core}
        before[node.name] = node
    _check_spaces(nodes, stages)


def _check_place(node: Node) -> None:
    if not 0 <= node.core < layout.MAX_CORES:
        raise ContainerError(f"node {node.name!r} is on a core that no instance has", code="NEFF_LIMIT",
                             section=layout.GRAPH, limit=layout.MAX_CORES - 1, actual=node.core)
    if node.kind == "cpu":
        require(not node.core and not node.upstream, f"CPU node {node.name!r} is on a core or in a pipeline",
                layout.GRAPH)


def _check_upstream(node: Node, before: dict[str, Node], names: Counter[str]) -> None:
    name = node.upstream
    require(name in before, f"upstream {name!r} of node {node.name!r} is no earlier node", layout.GRAPH)
    require(before[name].kind == "neuron_core", f"upstream {name!r} of node {node.name!r} is no device stage",
            layout.GRAPH)
    require(names[name] == 1, f"upstream {name!r} of node {node.name!r} names {names[name]} nodes", layout.GRAPH)


def _check_faces(node: Node, upstream: Node, stages: Sequence[Stage]) -> None:
    handed, taken = _face(stages[upstream.stage], OUTPUT), _face(stages[node.stage], INPUT)
    odd = sorted(set(handed) ^ set(taken))
    require(not odd, f"{upstream.name!r} does not hand to {node.name!r} what that reads: {odd[:1]} is on one side only",
            layout.GRAPH)
    twice = [name for name, n in Counter(t[0] for t in taken).items() if n > 1]
    require(not twice and len(handed) == len(taken), f"{upstream.name!r} hands a tensor twice: {twice[:1]}",
            layout.GRAPH)


def _face(stage: Stage, kind: str) -> Face:
    """Name, shape, data type and space of each variable of a kind."""
    return [(v.name, tuple(v.shape), v.dtype.name, v.space) for v in stage.variables if v.kind == kind]


def _check_spaces(nodes: Sequence[Node], stages: Sequence[Stage]) -> None:
    """Only what one core hands to another may lie in SBUF."""
    handing = {n.upstream for n in nodes if n.upstream}
    used = {n.stage for n in nodes}
    faces = {INPUT: used - {n.stage for n in nodes if not n.upstream},
             OUTPUT: used - {n.stage for n in nodes if n.name not in handing}}
    for index, stage in enumerate(stages):
        section = layout.stage_definition(index)
        for v in stage.variables:
            require(v.space in VARIABLE_SPACES, f"variable {v.name!r} is in unknown space {v.space!r}", section)
            require(v.space == IN_DRAM or index in faces.get(v.kind, ()),
                    f"variable {v.name!r} of type {v.kind} is in {v.space}, but no other core hands or takes it",
                    section)
