"""Loops of TensorFlow 1: Enter, Merge, Switch, NextIteration, Exit. Unrolled when the number of turns is known.

Each loop variable goes Enter -> Merge -> Switch (by LoopCond): on to the body and NextIteration, which comes back to
the Merge, or to Exit (tensorflow/core/framework/control_flow.h; Yu et al., Dynamic Control Flow, EuroSys 2018).
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.errors import ModelError
from compiler.frontends.tensorflow.loops import unroll
from compiler.frontends.tensorflow.scope import Scope, data_inputs
from compiler.frontends.tensorflow.source import Source
from compiler.frontends.tensorflow.values import GONE, Value

if TYPE_CHECKING:
    from compiler.frontends.tensorflow.importer import Importer

#: Loops in loops deeper than this contain themselves.
_DEEPEST = 32
_ENTERS = ("Enter", "RefEnter")
_MERGES = ("Merge", "RefMerge")


@dataclass(frozen=True)
class Frame:
    """A loop: its condition, its variables (names of Merge, Switch and Exit, reference of the next value), its Enters.

    Attributes:
        condition: reference to what LoopCond reads.
        variables: (Merge, Enter, Switch, next value, Exit or "").
        enters: names of all Enter nodes of the frame, those of values that stay the same included.
    """

    condition: str
    variables: tuple[tuple[str, str, str, str, str], ...]
    enters: tuple[str, ...]


def _name(ref: str) -> str:
    return ref.lstrip("^").partition(":")[0]


def frame_of(scope: Scope, leave: Any, depth: int = 0) -> Frame:
    """The loop that an Exit belongs to, `depth` others around it. Raises: ModelError MODEL_INVALID."""
    switch = scope.node(_name(leave.input[0])) if leave.input else None
    if switch is None or switch.op not in ("Switch", "RefSwitch") or len(data_inputs(switch)) < 2:
        raise _broken(scope, leave.name)
    decides = scope.node(_name(data_inputs(switch)[1]))
    if decides.op != "LoopCond" or not decides.input or depth > _DEEPEST:
        raise _broken(scope, leave.name)
    if decides.name in scope.frames:
        found: Frame = scope.frames[decides.name]
        return found
    exits = {_name(n.input[0]): n.name for n in scope.nodes.values() if n.op in ("Exit", "RefExit") and n.input}
    variables = []
    for node in scope.nodes.values():
        if node.op not in ("Switch", "RefSwitch") or len(data_inputs(node)) < 2 \
                or _name(data_inputs(node)[1]) != decides.name:
            continue
        merge = scope.node(_name(node.input[0]))
        sources = [scope.node(_name(r)) for r in data_inputs(merge)]
        if merge.op not in _MERGES or [s.op.replace("Ref", "") for s in sources] != ["Enter", "NextIteration"]:
            continue  # a condition inside the loop may be decided by the loop's own condition
        variables.append((merge.name, sources[0].name, node.name, sources[1].input[0], exits.get(node.name, "")))
    if not variables:
        raise _broken(scope, leave.name)
    roots = [decides.input[0], *(v[3] for v in variables)]
    enters = dict.fromkeys([v[1] for v in variables] + [n for n in _inside(scope, roots, depth)
                                                        if scope.nodes[n].op in _ENTERS])
    scope.frames[decides.name] = Frame(decides.input[0], tuple(variables), tuple(enters))
    return frame_of(scope, leave)


def _inside(scope: Scope, roots: Iterable[str], depth: int) -> list[str]:
    """Nodes of a loop, back to its Enters; an inner loop counts by what goes into it."""
    seen: dict[str, None] = {}
    todo = [_name(r) for r in roots]
    while todo:
        name = todo.pop()
        if name in seen or name not in scope.nodes:
            continue
        seen[name] = None
        node = scope.nodes[name]
        if node.op in ("Exit", "RefExit"):
            inner = frame_of(scope, node, depth + 1)
            todo += [_name(scope.nodes[e].input[0]) for e in inner.enters]
        elif node.op not in _ENTERS:
            todo += [_name(r) for r in data_inputs(node)]
    return list(seen)


def needs(scope: Scope, leave: Any) -> list[str]:
    """What has to be known before a loop starts."""
    return [scope.node(e).input[0] for e in frame_of(scope, leave).enters]


def run(importer: Importer, scope: Scope, leave: Any) -> None:
    """Turn a loop until its condition is false; gives every Exit its value. Raises: as `loops.unroll`."""
    frame = frame_of(scope, leave)
    for enter in frame.enters:
        scope.results[enter] = [scope.value(scope.node(enter).input[0])]

    def step(values: list[Value]) -> tuple[Value, Callable[[], list[Value]]]:
        turn = scope.turn()
        for (merge, _, switch, _, _), value in zip(frame.variables, values, strict=True):
            turn.results[merge] = [value, importer.b.add([0])]
            turn.results[switch] = [GONE, value]
        decides = importer.evaluate(turn, [frame.condition])[0]
        return decides, lambda: importer.evaluate(turn, [v[3] for v in frame.variables])

    begin = [scope.results[v[1]][0] for v in frame.variables]
    with importer.b.layer(scope.prefix + leave.name):
        values = unroll(importer, begin, step, f"{scope.where}: node {leave.name!r}")
    for (*_, left), value in zip(frame.variables, values, strict=True):
        if left:
            scope.results[left] = [value]


def _broken(scope: Scope, name: str) -> ModelError:
    return ModelError("a loop that lacks a part", code="MODEL_INVALID", where=f"{scope.where}: node {name!r}")


def reaching(source: Source, cuts: Iterable[str] = ()) -> set[str]:
    """Names of the main graph's nodes that its results need, the other branches included; not beyond `cuts`."""
    seen: set[str] = set(cuts)
    todo = [_name(o.ref) for o in source.outputs]
    while todo:
        name = todo.pop()
        if name not in seen and name in source.nodes:
            seen.add(name)
            todo += [_name(r) for r in data_inputs(source.nodes[name])]
    return seen
