"""Resize: nearest, linear and cubic, separable; each axis is a sum of strided reads weighted per output index."""
from __future__ import annotations

from compiler.ir import Graph, Node
from compiler.layout import Tensor
from compiler.lowering.context import Context
from compiler.lowering.move import Emit, apply, copy
from compiler.lowering.operand import result
from compiler.lowering.reduce import free_last
from compiler.lowering.resample import Taps, axis_taps, cropped, groups, resized_axes
from compiler.lowering.select import strided
from isa.lang import View
from isa.target import Target


def resize_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why this Resize cannot be lowered, "" when it can."""
    operands = {1: "roi", 2: "scales", 3: "sizes"} if cropped(node.attrs) else {2: "scales", 3: "sizes"}
    for k, what in operands.items():
        if node.input(k) and not graph.is_const(node.input(k)):
            return f"the {what} of the Resize are computed at run time"
    if node.attrs.get("mode", "nearest") != "nearest" and "float" not in graph.dtype(node.output):
        return "a Resize of integers that interpolates rounds as only the host does"
    return ""


def lower_resize(ctx: Context, node: Node) -> None:
    """One pass per axis; what lies outside of the input of a crop is filled."""
    name = node.output
    x, after = ctx.tensor(node.inputs[0]), ctx.shape(node.output)
    operands = [ctx.graph.const(node.input(k)) for k in (1, 2, 3)]
    axes = resized_axes(node.attrs, x.shape, after, *(None if a is None else a.reshape(-1).tolist() for a in operands))
    taps = {a: axis_taps(node.attrs, axis) for a, axis in axes.items()}
    x = free_last(ctx, x, list(axes))
    out: Tensor | None = result(ctx, name, x)
    assert out is not None
    ctx.tensors[name] = out
    if any(t is None for along in taps.values() for t in along):
        ctx.fill(out, float(node.attrs.get("extrapolation_value", 0.0)))
    for a, along in taps.items():
        inside = [o for o, t in enumerate(along) if t is not None]
        if not inside:
            return
        out = out.slice_axis(a, inside[0], inside[-1] + 1)
        assert out is not None  # an axis of a new tensor is one atom
    _sample(ctx, x, out, {a: [t for t in along if t is not None] for a, along in taps.items()},
            x.dtype if node.attrs.get("mode", "nearest") == "nearest" else "fp32")


def _sample(ctx: Context, x: Tensor, out: Tensor, taps: dict[int, list[Taps]], dtype: str) -> None:
    """out = x resampled along each axis of `taps`, those that shrink most first; partial results have type `dtype`."""
    order = sorted(taps, key=lambda a: (len(taps[a]) / x.shape[a], a))
    if not order:
        copy(ctx, out, x)
    for axis in order:
        shape = [*x.shape[:axis], len(taps[axis]), *x.shape[axis + 1 :]]
        pmap = x.pmap.reshape([x.shape[a] for a in x.p_axes()])
        target = out if axis == order[-1] else ctx.alloc(shape, x.p_axes(), dtype, pmap=pmap, name="resized")
        _resample(ctx, x, target, axis, taps[axis])
        x = target


def _resample(ctx: Context, x: Tensor, out: Tensor, axis: int, taps: list[Taps]) -> None:
    for start, step, count, advance, pairs in groups(taps):
        dst = out.slice_axis(axis, start, start + step * (count - 1) + 1, step)
        assert dst is not None
        sources = [strided(x, axis, i, count, advance) for i, _ in pairs]
        apply(ctx, dst, sources, _weighted(ctx, [w for _, w in pairs]))


def _weighted(ctx: Context, weights: list[float]) -> Emit:
    """dst = sum of weights[k] * sources[k]."""
    p = ctx.program

    def emit(dst: View, src: list[View], n: int) -> None:
        if len(src) == 1 and weights[0] == 1.0:
            p.tensor_copy(dst, src[0], engine=ctx.pick(("vector", "scalar", "gpsimd"), n))
            return
        tile = p.sbuf((dst.partition + dst.partitions, n), "fp32", name="lerp")
        acc = tile.ap(0, [1], [n], partition=dst.partition, partitions=dst.partitions)
        first = dst if len(src) == 1 else acc
        p.tensor_scalar(first, src[0], "mult", weights[0], engine=ctx.pick(("vector", "scalar"), n))
        for k in range(1, len(src)):
            ctx.charge("vector", 2 * n / ctx.target.engines["vector"].clock_ghz)
            p.scalar_tensor_tensor(dst if k == len(src) - 1 else acc, src[k], "mult", weights[k], "add", acc)

    return emit
