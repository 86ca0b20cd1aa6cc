"""TopK, ArgMax and ArgMin: eight values of a row at a time, by max8, find_index8 and match_replace8."""
from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import Tensor
from compiler.lowering.context import Context
from compiler.lowering.move import apply
from compiler.lowering.reduce import column_like, free_dims, free_last
from compiler.lowering.rows import Line, lines, reverse
from isa.lang import View
from isa.target import Target

#: elements of a row that max8 and find_index8 reach, and results of each; source: isa/tables/vector.yaml
MOST_ROW, EIGHT = 16384, 8
#: types in which the largest element can be looked for without a copy
SEARCHED = ("fp32", "bf16", "fp16")
#: keys are halved and bounded from below by this, so that minus infinity is free to mark what has been taken and each
#: float32 of normal size keeps a key of its own
LEAST = float(np.finfo(np.float32).min)


def top_k_condition(graph: Graph, node: Node, target: Target) -> str:
    """Rows of TopK are searched whole."""
    shape = graph.shape(node.inputs[0])
    if not shape:
        return f"a {node.op} of a single number has no axis"
    width = shape[node.attrs.get("axis", -1) % len(shape)]
    if width > MOST_ROW:
        return f"a TopK among {width} elements; the device searches {MOST_ROW}"
    return ""


def scans(graph: Graph, node: Node, lanes: int) -> int:
    """Elements that a TopK reads one after the other: three times its rows for every eight results."""
    shape, found = graph.shape(node.inputs[0]), graph.shape(node.output or node.outputs[1])
    axis = node.attrs.get("axis", -1)
    rows = prod(shape) // max(1, shape[axis])
    return -(-rows // lanes) * shape[axis] * (3 * -(-found[axis] // EIGHT) - 1)


def arg_condition(graph: Graph, node: Node, target: Target) -> str:
    """Something to choose from."""
    return "" if graph.shape(node.inputs[0]) else f"an {node.op} of a single number has no axis"


def lower_top_k(ctx: Context, node: Node) -> None:
    """The k largest (or smallest) elements along an axis, in order, and their indices; of equal ones the first."""
    values, indices = node.outputs[0], node.outputs[1] if len(node.outputs) > 1 else ""
    axis = node.attrs.get("axis", -1) % len(ctx.shape(node.inputs[0]))
    count = ctx.shape(values or indices)[axis]
    sign = 1.0 if node.attrs.get("largest", 1) else -1.0
    x = _axis_last(free_last(ctx, ctx.tensor(node.inputs[0]), [axis]), axis)
    keys = _keys(ctx, x, sign)
    rounds = -(-count // EIGHT)
    top, where = _beside(ctx, x, EIGHT * rounds, "fp32", "top"), _beside(ctx, x, EIGHT * rounds, "uint32", "where")
    last = [len(x.shape) - 1]
    for line in lines((keys, last), (top, last), (where, last)):
        _search(ctx, *(_row(t, line, k) for k, t in enumerate((keys, top, where))))
    p, width = ctx.program, x.shape[-1]
    if values:
        out = _result(ctx, values, x, axis)
        apply(ctx, out, [_first(top, count)], lambda d, s, n: p.tensor_scalar(
            d, s[0], "mult", 2.0 * sign, engine=ctx.pick(("vector", "scalar"), n)))
    if indices:
        out = _result(ctx, indices, x, axis)
        apply(ctx, out, [_first(where, count)], lambda d, s, n: p.tensor_scalar(
            d, s[0], "min", float(width - 1), engine=ctx.pick(("vector",), n)))


def _search(ctx: Context, keys: View, top: View, where: View) -> None:
    p, rounds = ctx.program, top.count // EIGHT
    ctx.charge("vector", (3 * rounds - 1) * keys.count / ctx.target.engines["vector"].clock_ghz)
    for k in range(rounds):
        eight = slice(EIGHT * k, EIGHT * (k + 1))
        p.max8(top[:, eight], keys)
        p.find_index8(where[:, eight], keys, top[:, eight])
        if k < rounds - 1:
            p.match_replace8(keys, keys, top[:, eight], -np.inf)


def lower_arg(ctx: Context, node: Node) -> None:
    """Index of the first (or last) largest or smallest element along an axis, of any length."""
    name, source = node.output, node.inputs[0]
    axis = node.attrs.get("axis", 0) % len(ctx.shape(source))
    x = _axis_last(free_last(ctx, ctx.tensor(source), [axis]), axis)
    backwards = bool(node.attrs.get("select_last_index", 0))
    keys = reverse(x, len(x.shape) - 1) if backwards else x
    if node.op == "ArgMin" or x.shape[-1] < EIGHT or x.dtype not in SEARCHED:
        keys = _keys(ctx, keys, 1.0 if node.op == "ArgMax" else -1.0)
    where = _beside(ctx, x, 1, "fp32", "where")
    last = [len(x.shape) - 1]
    for line in lines((keys, last), (where, last)):
        _first_largest(ctx, _row(keys, line, 0), _row(where, line, 1))
    kept = [1 if a == axis else n for a, n in enumerate(ctx.shape(source))]
    out = ctx.alloc(_moved(kept, axis), x.p_axes(), ctx.storage(name), pmap=_pmap(x), name=name)
    p, end = ctx.program, float(x.shape[-1] - 1)

    def emit(dst: View, src: list[View], n: int) -> None:
        if backwards:
            p.tensor_scalar(dst, src[0], "min", end, "subtract", end, swap1=True, engine=ctx.pick(("vector",), n))
        else:
            p.tensor_scalar(dst, src[0], "min", end, engine=ctx.pick(("vector",), n))

    apply(ctx, out, [where], emit)
    final = out.transpose(_back(len(kept), axis)).reshape(ctx.shape(name))
    assert final is not None
    ctx.tensors[name] = final


def _first_largest(ctx: Context, keys: View, dst: View) -> None:
    """dst [P, 1] fp32 = index of the first largest key; a long row is searched in parts."""
    p, n = ctx.program, keys.count
    count = -(-n // MOST_ROW)
    cuts = [n * k // count for k in range(count + 1)]
    ctx.charge("vector", 2 * n / ctx.target.engines["vector"].clock_ghz)
    top, where = column_like(ctx, dst, EIGHT * count, "top"), column_like(ctx, dst, EIGHT * count, "where", "uint32")
    parts = [(keys[:, a:b], slice(EIGHT * k, EIGHT * (k + 1))) for k, (a, b) in enumerate(pairwise(cuts))]
    for part, eight in parts:
        p.max8(top[:, eight], part)
    best = top
    if count > 1:
        best = column_like(ctx, dst, EIGHT, "best")
        p.max8(best, top)
    places = column_like(ctx, dst, count, "places")
    for k, (part, eight) in enumerate(parts):
        p.find_index8(where[:, eight], part, best)
        p.tensor_scalar(places[:, k : k + 1], where[:, EIGHT * k : EIGHT * k + 1], "add", float(cuts[k]))
    p.tensor_reduce(dst, places, "min")


# ---- rows --------------------------------------------------------------------------------------------------------


def _keys(ctx: Context, x: Tensor, sign: float) -> Tensor:
    """x * sign / 2 in fp32, at least eight elements to a row: the largest is wanted."""
    width = x.shape[-1]
    keys = _beside(ctx, x, max(EIGHT, width), "fp32", "keys")
    if width < EIGHT:
        ctx.fill(keys, -np.inf)
    apply(ctx, _first(keys, width), [x], lambda d, s, n: ctx.program.tensor_scalar(
        d, s[0], "mult", 0.5 * sign, "max", LEAST, engine=ctx.pick(("vector",), n)))
    return keys


def _beside(ctx: Context, x: Tensor, width: int, dtype: str, name: str) -> Tensor:
    """A new tensor at the partitions of `x`, with rows of another width."""
    return ctx.alloc([*x.shape[:-1], width], x.p_axes(), dtype, pmap=_pmap(x), name=name)


def _pmap(x: Tensor) -> np.ndarray:
    return x.pmap.reshape([x.shape[a] for a in x.p_axes()])


def _first(t: Tensor, count: int) -> Tensor:
    cut = t.slice_axis(len(t.shape) - 1, 0, count)
    assert cut is not None, "rows are one atom"
    return cut


def _row(t: Tensor, line: Line, index: int) -> View:
    return t.view(line.runs[index], free_dims(t, [len(t.shape) - 1]), line.at[index])


def _result(ctx: Context, name: str, x: Tensor, axis: int) -> Tensor:
    """A tensor for a result at the partitions of `x`, seen with the axis last."""
    shape = ctx.shape(name)
    out = ctx.alloc(_moved(list(shape), axis), x.p_axes(), ctx.storage(name), pmap=_pmap(x), name=name)
    ctx.tensors[name] = out.transpose(_back(len(shape), axis))
    return out


def _axis_last(x: Tensor, axis: int) -> Tensor:
    return x.transpose([a for a in range(len(x.shape)) if a != axis] + [axis])


def _moved(shape: list[int], axis: int) -> list[int]:
    return [*shape[:axis], *shape[axis + 1 :], shape[axis]]


def _back(rank: int, axis: int) -> list[int]:
    """The permutation that undoes `_axis_last`."""
    order = list(range(rank - 1))
    order.insert(axis, rank - 1)
    return order
