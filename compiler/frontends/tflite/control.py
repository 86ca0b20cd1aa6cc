"""Subgraphs that others call: once, by choice, or again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.frontends.tflite.convert import Call, Frame, Value, converter

#: Rounds of a loop that are written out, as many as steps of a recurrent operator are.
_ROUNDS = 512
#: Nodes of a graph beyond which no further round is written out.
_NODES = 100_000


def _call(c: Call, number: int, arguments: Sequence[Value]) -> list[Value]:
    """The results of a subgraph, its operators standing in place of the caller."""
    return Frame(c.b, c.frame.model, number, c.frame.state, c.frame.depth + 1).run(arguments)


def _arguments(c: Call, first: int = 0) -> list[Value]:
    return [c.stored(k) for k in range(first, len(c))]


def _results(c: Call, values: Sequence[Value]) -> None:
    for k, value in enumerate(values):
        if c.wants(k):
            c.store(value, k)


@converter("CALL")
def _plain(c: Call) -> None:
    _results(c, _call(c, int(c.option("subgraph", 0)), _arguments(c)))


@converter("CALL_ONCE")
def _once(c: Call) -> None:
    """Initialises variables and tables before the first run."""
    number = int(c.option("init_subgraph_index", 0))
    if f"called {number}" not in c.frame.state:
        c.frame.state[f"called {number}"] = True
        _call(c, number, [])


@converter("IF")
def _if(c: Call) -> None:
    """A known condition takes its branch; else both are computed, and the condition chooses between results."""
    branches = [int(c.option(name, 0)) for name in ("then_subgraph_index", "else_subgraph_index")]
    known = c.const(0)
    if known is not None:
        _results(c, _call(c, branches[0 if known.reshape(-1)[0] else 1], _arguments(c, 1)))
        return
    before = dict(c.frame.state)
    sides = [_call(c, number, _arguments(c, 1)) for number in branches]
    if c.frame.state != before:
        raise _unsupported(c, "a branch that depends on data changes a state")
    condition = c.b.op("Reshape", [c.stored(0), np.zeros(0, np.int64)])
    _results(c, [_chosen(c, condition, a, b) for a, b in zip(*sides, strict=True)])


def _chosen(c: Call, condition: str, a: Value, b: Value) -> Value:
    if a == b:
        return a
    if not isinstance(a, str) or not isinstance(b, str) or c.b.shape(a) != c.b.shape(b):
        raise _unsupported(c, "the branches of a condition that depends on data give results of different shapes")
    return c.b.op("Where", [condition, a, b])


@converter("WHILE")
def _while(c: Call) -> None:
    """Rounds are written out as long as the condition is known; else the loop runs on the host."""
    test, body = (int(c.option(name, 0)) for name in ("cond_subgraph_index", "body_subgraph_index"))
    values = _arguments(c)
    for _ in range(_ROUNDS + 1):
        again = c.b.const(_call(c, test, values)[0])
        if again is None:
            break
        if not again.reshape(-1)[0]:
            _results(c, values)
            return
        values = _call(c, body, values)
        if len(c.b.graph.nodes) > _NODES:
            raise _unsupported(c, f"its rounds, written out, are more than {_NODES} operators")
    _results(c, _loop(c, test, body, values))


def _loop(c: Call, test: int, body: int, values: Sequence[Value]) -> list[Value]:
    """The rest of a loop as an operator of the host; what goes round keeps its shape."""
    if any(not isinstance(v, str) for v in values):
        raise _unsupported(c, "a loop over resources whose number of rounds depends on data")
    kinds = [(f"carried_{k}", c.b.shape(v), c.b.dtype(v)) for k, v in enumerate(values)]
    inner = c.b.nested([("round", (), "int64"), ("going", (), "bool"), *kinds])
    names = [name for name, _, _ in kinds]
    results = Frame(inner, c.frame.model, body, {}, c.frame.depth + 1).run(names)
    if [inner.shape(r) for r in results] != [shape for _, shape, _ in kinds]:
        raise _unsupported(c, "a value changes its shape in a loop whose number of rounds depends on data")
    again = Frame(inner, c.frame.model, test, {}, c.frame.depth + 1).run(results)[0]
    inner.output(inner.op("Reshape", [again, np.zeros(0, np.int64)]), "again")
    for name, result in zip(names, results, strict=True):
        inner.output(result, f"{name}_next")
    start = c.b.op("Reshape", [_call(c, test, values)[0], np.zeros(0, np.int64)])
    found = c.b.ops("Loop", ["", start, *values], len(values), body=inner.body())
    shapes = [np.array(shape, np.int64) for _, shape, _ in kinds]
    return [c.b.op("Reshape", [v, shape]) for v, shape in zip(found, shapes, strict=True)]


def _unsupported(c: Call, why: str) -> UnsupportedOp:
    error = UnsupportedOp(f"{c.op.type}: {why}", help="convert the model so that the number of rounds or the choice is "
                                                      "known, for instance with unrolled recurrent layers")
    error.op = c.op.type
    return error
