"""Layer and RMS normalisation of rows."""
from __future__ import annotations

from math import prod

from compiler.ir import Graph, Node
from compiler.layout import F, Run, Tensor
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.elementwise import _apply_tail
from compiler.lowering.moments import row_moments
from compiler.lowering.move import apply, cast, like
from compiler.lowering.operand import operand_like, result
from compiler.lowering.reduce import column_like, free_dims, free_last
from compiler.lowering.rows import lines
from isa.lang import View
from isa.target import Target

ROW = ("LayerNormalization", "RMSNormalization")
#: dimensions of a row that an access steps through; one is left for what is combined with it
MOST_DIMS = 3


def row_condition(graph: Graph, node: Node, target: Target) -> str:
    """A row has to be within reach of one access."""
    shape = graph.shape(node.inputs[0])
    if not shape:
        return f"a {node.op} of a single number has no axis"
    axis = node.attrs.get("axis", -1) % len(shape)
    width = prod(shape[axis:]) if node.op in ROW else shape[axis]
    if width > MOST_FREE["sbuf"]:
        return f"a {node.op} over {width} elements; an engine reaches {MOST_FREE['sbuf']} of a row"
    return ""


def _row_axes(ctx: Context, node: Node) -> list[int]:
    rank = len(ctx.shape(node.output))
    return list(range(node.attrs.get("axis", -1) % rank, rank))


def _source(ctx: Context, node: Node, axes: list[int]) -> Tensor:
    """The operand with its rows on the free dimension, in few dimensions."""
    x = free_last(ctx, ctx.tensor(node.inputs[0]), axes)
    return cast(ctx, x, x.dtype) if len(free_dims(x, axes)) > MOST_DIMS else x


def _parameter(ctx: Context, node: Node, index: int, x: Tensor, neutral: float) -> Tensor | None:
    """A scale or bias of the rows, broadcast to `x`; None when it is absent or changes nothing."""
    name = node.input(index)
    array = ctx.graph.const(name)
    if not name or (array is not None and bool((array == neutral).all())):
        return None
    return operand_like(ctx, name, x)


def _row(t: Tensor, run: Run, axes: list[int]) -> View:
    """The row of a parameter at the partitions of `run`."""
    return t.view(run, [(a.size, a.stride) for i in axes for a in t.axes[i] if a.space == F])


def lower_layer_norm(ctx: Context, node: Node) -> None:
    """LayerNormalization over the trailing axes, and its mean and inverse deviation where they are wanted."""
    name, axes = node.output, _row_axes(ctx, node)
    x = _source(ctx, node, axes)
    out = result(ctx, name, x)
    gamma, beta = _parameter(ctx, node, 1, x, 1.0), _parameter(ctx, node, 2, x, 0.0)
    last = out if beta is None else like(ctx, x, "fp32", "normal")
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    kept = [1 if a in axes else n for a, n in enumerate(x.shape)]
    pmap = x.pmap.reshape([x.shape[a] for a in x.p_axes()])
    extra = [(i, o, ctx.alloc(kept, x.p_axes(), ctx.storage(o), pmap=pmap, name=o))
             for i, o in enumerate(node.outputs[1:3]) if o]
    for line in lines((x, axes), (last, axes), *((t, axes) for *_, t in extra)):
        src, dst = (t.view(run, free_dims(t, axes), at)
                    for t, run, at in zip((x, last), line.runs[:2], line.at[:2], strict=True))
        moments, deviation = column_like(ctx, dst, 2, "moments"), column_like(ctx, dst, 1, "rstd")
        row_moments(ctx, x, axes, line.runs[0], line.at[0], moments)
        ctx.program.activation(deviation, moments[:, 1:2], "rsqrt", 1.0, epsilon)
        _centre(ctx, src, dst, moments[:, 0:1], deviation, None if gamma is None else _row(gamma, line.runs[0], axes))
        for (index, _, t), run, at in zip(extra, line.runs[2:], line.at[2:], strict=True):
            ctx.program.tensor_copy(t.view(run, [(1, 1)], at), deviation if index else moments[:, 0:1])
    if beta is not None:
        apply(ctx, out, [last, beta], lambda d, s, n: ctx.program.tensor_tensor(
            d, s[0], s[1], "add", engine=ctx.pick(("vector",), 2 * n)))
    ctx.tensors[name] = out
    ctx.tensors.update({o: t for _, o, t in extra})
    if node.attrs.get("epilogue"):
        _apply_tail(ctx, node, out)


def _centre(ctx: Context, x: View, dst: View, mean: View, deviation: View, gamma: View | None) -> None:
    """dst = (x - mean) * deviation * gamma for one row of every partition."""
    p, n = ctx.program, x.count
    ctx.charge("vector", 2 * n / ctx.target.engines["vector"].clock_ghz)
    if gamma is None:
        p.tensor_scalar(dst, x, "subtract", mean, "mult", deviation)
        return
    wide = dst if dst.dtype.name == "fp32" else column_like(ctx, dst, n, "scaled")
    p.scalar_tensor_tensor(wide, x, "subtract", mean, "mult", gamma)
    p.tensor_scalar(dst, wide, "mult", deviation, engine=ctx.pick(("vector", "scalar"), n))


def lower_rms_norm(ctx: Context, node: Node) -> None:
    """RMSNormalization over the trailing axes: x / sqrt(mean of squares + epsilon) * scale."""
    name, axes = node.output, _row_axes(ctx, node)
    x = _source(ctx, node, axes)
    out = result(ctx, name, x)
    gamma = _parameter(ctx, node, 1, x, 1.0)
    p, epsilon = ctx.program, float(node.attrs.get("epsilon", 1e-5))
    for line in lines((x, axes), (out, axes)):
        src, dst = (t.view(run, free_dims(t, axes), at)
                    for t, run, at in zip((x, out), line.runs, line.at, strict=True))
        n = src.count
        squares, root = column_like(ctx, dst, n, "squares"), column_like(ctx, dst, 1, "rms")
        ctx.charge("scalar", n / ctx.target.engines["scalar"].clock_ghz)
        p.activation_reduce(squares, src, "square", root)
        p.activation(root, root, "rsqrt", 1.0 / n, epsilon)
        if gamma is None:
            p.tensor_scalar(dst, src, "mult", root, engine=ctx.pick(("vector", "scalar"), n))
        else:
            ctx.charge("vector", 2 * n / ctx.target.engines["vector"].clock_ghz)
            p.scalar_tensor_tensor(dst, src, "mult", root, "mult", _row(gamma, line.runs[0], axes))
    ctx.tensors[name] = out
