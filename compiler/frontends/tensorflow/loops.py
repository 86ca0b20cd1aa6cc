"""Loops written out turn by turn.

A condition that is known is followed. One that is known to end, and may end before for what data say (a bound and
something else, as `maximum_iterations` and lengths of sequences make it), is followed to its bound: once it was false,
values stay as they are.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.tensorflow.branches import select
from compiler.frontends.tensorflow.values import Items, Value
from compiler.ir import numpy_dtype

if TYPE_CHECKING:
    from compiler.frontends.tensorflow.importer import Importer

#: Loops with more turns are not written out.
MOST_TURNS = 4096
#: One turn for the values that it begins with: its condition, and what computes the values after it.
Step = Callable[[list[Value]], tuple[Value, Callable[[], list[Value]]]]


def unroll(importer: Importer, values: Sequence[Value], step: Step, where: str) -> list[Value]:
    """The values after a loop. Raises: UnsupportedOp LOOP."""
    now, leaving, active = list(values), list(values), ""
    for _ in range(MOST_TURNS):
        decides, proceed = step(now)
        known = _known(importer.b, decides)
        if known is False:
            return leaving
        if known is None:
            raise UnsupportedOp("how often the loop turns is known at run time only", code="LOOP", where=where,
                                help="make the number of turns a constant: give fixed lengths, or maximum_iterations")
        new = proceed()
        if known is not True:
            active = importer.b.op("And", [active, known]) if active else known
        if not active:
            now = leaving = new
            continue
        leaving = [_kept(importer, active, n, o, where) for n, o in zip(new, leaving, strict=True)]
        now = [n if _is_const(importer.b, n) else kept for n, kept in zip(new, leaving, strict=True)]
    raise UnsupportedOp("the loop turns too often to be written out", code="LOOP", where=where, limit=MOST_TURNS)


def _known(b: GraphBuilder, decides: Value) -> bool | str | None:
    """True or False for a known condition, the condition itself where a known part of it says it ends, else None."""
    if not isinstance(decides, str):
        return None
    array = b.const(decides)
    if array is not None:
        return bool(array.reshape(-1)[0]) if array.size else None
    node = b.graph.producer(decides)
    if node is None or node.op != "And":
        return None
    parts = [_known(b, i) for i in node.inputs]
    if False in parts:
        return False
    return None if parts == [None, None] else decides


def _is_const(b: GraphBuilder, value: Value) -> bool:
    return isinstance(value, str) and b.const(value) is not None


def _kept(importer: Importer, active: str, new: Value, old: Value, where: str) -> Value:
    """The new value while the loop is active, else the old one; what a list has not yet is zeros."""
    if not isinstance(new, Items) or not isinstance(old, Items):
        return select(importer, active, new, old, where)
    length = max(len(new.items), len(old.items))
    left, right = (list(i.items) + [None] * (length - len(i.items)) for i in (new, old))
    items = []
    for n, o in zip(left, right, strict=True):
        if n is None or n == o:
            items.append(o)
        else:
            zero = np.zeros((), numpy_dtype(importer.b.dtype(n)))
            items.append(importer.b.op("Where", [active, n, zero if o is None else o]))
    return replace(new, items=tuple(items))
