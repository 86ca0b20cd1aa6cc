"""Calls of functions, branches and loops as TensorFlow 2 writes them: functions named by attributes."""
from __future__ import annotations

from collections.abc import Callable

from compiler.errors import UnsupportedOp
from compiler.frontends.tensorflow.branches import select
from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.loops import unroll
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.values import GONE, Value


def _function(c: Call, attribute: str) -> str:
    return str(c.node.attr[attribute].func.name) if c.has(attribute) else ""


@converter("PartitionedCall", "StatefulPartitionedCall", "BatchFunction")
def partitioned_call(c: Call) -> list[Value]:
    """The function written out."""
    return c.importer.inline(c, _function(c, "f"), c.args)


@converter("If", "StatelessIf")
def if_else(c: Call) -> list[Value]:
    """The branch that is known to be taken, else both and a selection between their results."""
    known = c.known(0)
    branches = [_function(c, "else_branch"), _function(c, "then_branch")]
    if known is not None:
        taken = bool(known.reshape(-1)[0]) if known.ndim == 0 else known.size > 0
        return c.importer.inline(c, branches[taken], c.args[1:])
    false, true = (c.importer.inline(c, b, c.args[1:]) for b in branches)
    decides = c.cast(c.x(0), "bool")
    return [select(c.importer, decides, t, f, c.where) for t, f in zip(true, false, strict=True)]


@converter("Case", "StatelessCase")
def case(c: Call) -> list[Value]:
    """The branch of a number; one that no branch has takes the last."""
    branches = [str(f.name) for f in c.node.attr["branches"].list.func] if c.has("branches") else []
    if not branches:
        raise c.refuse("no branch")
    known = c.known(0)
    if known is not None:
        number = int(c.scalar(0))
        return c.importer.inline(c, branches[number if 0 <= number < len(branches) else -1], c.args[1:])
    results = [c.importer.inline(c, b, c.args[1:]) for b in branches]
    found = results[-1]
    for number, result in enumerate(results[:-1]):
        here = c.op("Equal", [c.x(0), c.number(number, c.x(0))])
        found = [select(c.importer, here, t, f, c.where) for t, f in zip(result, found, strict=True)]
    return found


@converter("While", "StatelessWhile")
def while_loop(c: Call) -> list[Value]:
    """Every turn written out, as long as the condition is known."""
    condition, body = _function(c, "cond"), _function(c, "body")

    def step(values: list[Value]) -> tuple[Value, Callable[[], list[Value]]]:
        return c.importer.inline(c, condition, values)[0], lambda: c.importer.inline(c, body, values)

    try:
        return unroll(c.importer, c.args, step, c.where)
    except UnsupportedOp as error:
        error.op = error.op or c.node.op
        raise


@converter("Switch", "RefSwitch")
def switch(c: Call) -> list[Value]:
    """A value on the side that is taken; on both where that is known at run time only (see `branches`)."""
    known = c.known(1)
    if known is None:
        return [c.args[0], c.args[0]]
    return [GONE, c.args[0]] if bool(known.reshape(-1)[0]) else [c.args[0], GONE]
