"""Branches of TensorFlow 1: Switch sends a value one way, Merge takes the one that comes.

A Merge whose condition is known takes that branch, and the other one is never looked at. Where the condition is
computed at run time both branches are computed and `Where` selects: operators have no side effects here.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.tensorflow.scope import Scope, data_inputs
from compiler.frontends.tensorflow.values import Gone, Value

if TYPE_CHECKING:
    from compiler.frontends.tensorflow.importer import Importer

_SWITCHES = ("Switch", "RefSwitch")


def condition(scope: Scope, node: Any) -> tuple[str, int]:
    """What decides a Merge, the condition of a Switch whose two sides lead to its inputs; and which input is "false".

    `tf.cond` of version 1 merges (false, true), an `If` that was written out as switches (true, false).
    """
    inputs = data_inputs(node)
    if len(inputs) != 2:
        raise ModelError("a Merge of other than two branches", code="MODEL_INVALID", where=scope.where,
                         actual=node.name)
    sides = [_sides(scope, ref) for ref in inputs]
    for number in (0, 1):
        for ref, side in sides[number].items():
            if side == {0} and sides[1 - number].get(ref) == {1}:
                return ref, number
    for number in (0, 1):  # only one of the branches needs something from outside
        false, true = sides[number], sides[1 - number]
        for ref in (*false, *true):
            if false.get(ref, {0}) == {0} and 1 in true.get(ref, {1}):
                return ref, number
    raise ModelError("a Merge that no Switch belongs to", code="MODEL_INVALID", where=scope.where, actual=node.name)


def _sides(scope: Scope, ref: str) -> dict[str, set[int]]:
    """Conditions of the switches behind a value, nearest first, with the sides that lead to it."""
    found: dict[str, set[int]] = {}
    seen: set[str] = set()
    todo = [ref]
    for current in todo:  # grows on the way: breadth first
        name, _, index = current.lstrip("^").partition(":")
        if name in seen or name not in scope.nodes or name in scope.args:
            continue
        node = scope.nodes[name]
        if node.op in _SWITCHES and len(data_inputs(node)) > 1:
            found.setdefault(data_inputs(node)[1], set()).add(int(index) if index.isdigit() else 0)
            continue
        seen.add(name)
        todo += list(node.input)
    return found


def needs(importer: Importer, scope: Scope, node: Any) -> list[str]:
    """What a Merge needs: its condition first, then the branch or branches that matter."""
    ref, false = condition(scope, node)
    if not scope.is_argument(ref) and scope.found(ref.partition(":")[0]) is None:
        return [ref]
    chosen = _chosen(importer, scope.value(ref))
    inputs = data_inputs(node)
    return inputs if chosen is None else [inputs[chosen ^ false]]


def merge(importer: Importer, scope: Scope, node: Any) -> list[Value]:
    """The outputs of a Merge: the value, and the number of the branch it came from."""
    ref, number = condition(scope, node)
    decides = scope.value(ref)
    chosen = _chosen(importer, decides)
    inputs = data_inputs(node)
    if chosen is not None:
        return [scope.value(inputs[chosen ^ number]), importer.b.add([chosen ^ number])]
    false, true = (scope.value(inputs[k]) for k in (number, 1 - number))
    where = f"{scope.where}: node {node.name!r} (Merge)"
    with importer.b.layer(scope.prefix + node.name):
        return [select(importer, decides, true, false, where), _index(importer, str(decides), number)]


def _index(importer: Importer, decides: str, false: int) -> str:
    """The number of the branch taken."""
    return importer.b.op("Cast", [importer.b.op("Not", [decides]) if false else decides], to=6)


def _chosen(importer: Importer, decides: Value) -> int | None:
    known = importer.b.const(decides) if isinstance(decides, str) else None
    return None if known is None or known.size != 1 else int(bool(known.reshape(-1)[0]))


def select(importer: Importer, decides: Value, true: Value, false: Value, where: str) -> Value:
    """One of two values by a condition that is known at run time only. Raises: UnsupportedOp."""
    if isinstance(true, Gone) or isinstance(false, Gone):
        return true if isinstance(false, Gone) else false
    b = importer.b
    if true == false:
        return true
    if isinstance(true, str) and isinstance(false, str) and isinstance(decides, str) and b.is_static(true) \
            and b.is_static(false) and b.shape(true) == b.shape(false) and b.dtype(true) == b.dtype(false):
        return b.op("Where", [decides, true, false])
    raise UnsupportedOp("two branches have results of different shapes or kinds, and which is taken is known at run "
                        "time only", code="BRANCHES", where=where)
