"""Resize: nearest, linear and cubic, separable; each axis is a sum of strided reads weighted per output index."""
from __future__ import annotations

from math import floor, prod

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.ir import Node
from compiler.layout import Tensor
from compiler.lowering.context import Context
from compiler.lowering.move import apply, copy, like
from compiler.lowering.operand import result
from compiler.lowering.reduce import free_last
from isa.lang import View


def lower_resize(ctx: Context, node: Node) -> None:
    """One pass per axis whose size changes."""
    name = node.output
    x = ctx.tensor(node.inputs[0])
    before, after = x.shape, ctx.shape(name)
    _check(node)
    scales = _scales(ctx, node, len(before))
    axes = [a for a in range(len(before)) if before[a] != after[a] or scales.get(a, 1.0) != 1.0]
    x = current = free_last(ctx, x, axes)
    for k, axis in enumerate(axes):
        last = k == len(axes) - 1
        shape = list(current.shape)
        shape[axis] = after[axis]
        if last:
            out = result(ctx, name, current) if tuple(shape) == after else current
        else:
            pmap = current.pmap.reshape([current.shape[a] for a in current.p_axes()])
            out = ctx.alloc(shape, current.p_axes(), "fp32", pmap=pmap, name="resized")
        scale = scales.get(axis, after[axis] / before[axis])
        taps = axis_taps(node, before[axis], after[axis], scale)
        _resample(ctx, current, out, axis, taps)
        current = out
    if not axes:
        current = like(ctx, x, ctx.storage(name))
        copy(ctx, current, x)
    ctx.tensors[name] = current


def _check(node: Node) -> None:
    """Raises: UnsupportedOp for the forms of Resize that this lowering would compute wrongly."""
    refused = {"coordinate_transformation_mode": "tf_crop_and_resize", "antialias": 1}
    for name, value in refused.items():
        if node.attrs.get(name) == value:
            raise UnsupportedOp(f"Resize with {name}={value} has no lowering", where=node.name)
    policy = node.attrs.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        raise UnsupportedOp(f"Resize with keep_aspect_ratio_policy={policy} has no lowering", where=node.name)


def _scales(ctx: Context, node: Node, rank: int) -> dict[int, float]:
    """The scales the node states, by axis; empty when it states sizes."""
    stated = ctx.graph.const(node.input(2))
    if stated is None or not stated.size:
        return {}
    axes = node.attrs.get("axes") or range(rank)
    return {a % rank: float(s) for a, s in zip(axes, stated.reshape(-1), strict=True)}


def axis_taps(node: Node, size: int, out: int, scale: float) -> list[list[tuple[int, float]]]:
    """Per output index the (input index, weight) pairs, by the ONNX Resize definition."""
    mode = node.attrs.get("mode", "nearest")
    where = node.attrs.get("coordinate_transformation_mode", "half_pixel")
    # float32 as in ONNX Runtime, so that ties fall the same way; weights do without its noise
    kind = np.float32 if mode == "nearest" else np.float64
    taps = []
    for o in range(out):
        x = float(_coordinate(where, *(kind(v) for v in (o, size, out, scale))))
        if mode == "nearest":
            pairs = [(_nearest(node.attrs.get("nearest_mode", "round_prefer_floor"), x), 1.0)]
        elif mode == "linear":
            lo = floor(x)
            pairs = [(lo, 1.0 - (x - lo)), (lo + 1, x - lo)]
        else:
            pairs = _cubic(
                x, float(node.attrs.get("cubic_coeff_a", -0.75)), size, bool(node.attrs.get("exclude_outside", 0))
            )
        merged: dict[int, float] = {}
        for i, w in pairs:
            i = min(max(i, 0), size - 1)
            merged[i] = merged.get(i, 0.0) + w
        taps.append([(i, w) for i, w in sorted(merged.items()) if w != 0.0])
    return taps


def _coordinate(mode: str, o: np.floating, size: np.floating, out: np.floating, scale: np.floating) -> np.floating:
    """Input coordinate of output index `o`, computed in the type of the arguments."""
    if mode == "asymmetric":
        return o / scale
    if mode == "align_corners":
        return o * 0 if out == 1 else o * (size - 1) / (out - 1)
    if mode == "pytorch_half_pixel" and out == 1:
        return o * 0
    if mode == "half_pixel_symmetric":
        adjust = out / (scale * size)
        return size / 2 * (1 - adjust) + (o + 0.5) / scale - 0.5
    return (o + 0.5) / scale - 0.5


def _nearest(mode: str, x: float) -> int:
    if mode == "floor":
        return floor(x)
    if mode == "ceil":
        return -floor(-x)
    down = x - floor(x)
    if mode == "round_prefer_ceil":
        return floor(x + 0.5)
    return floor(x) if down <= 0.5 else floor(x) + 1


def _cubic(x: float, a: float, size: int, exclude: bool) -> list[tuple[int, float]]:
    base = floor(x)
    t = x - base
    weights = [
        ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
        ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
    ]
    pairs = [(base - 1 + k, w) for k, w in enumerate(weights)]
    if exclude:
        pairs = [(i, w) for i, w in pairs if 0 <= i < size]
        total = sum(w for _, w in pairs)
        pairs = [(i, w / total) for i, w in pairs]
    return pairs


def groups(taps: list[list[tuple[int, float]]]) -> list[tuple[int, int, int, int, list[tuple[int, float]]]]:
    """Output indices start, start+step, ... (count) with equal weights whose inputs advance by `advance`.

    One set of instructions does for all of them.

    Yields (start, step, count, advance, taps of the first).
    """
    left = set(range(len(taps)))
    out = []

    def fits(a: int, b: int) -> int | None:
        if len(taps[a]) != len(taps[b]):
            return None
        moves = {j - i for (i, u), (j, v) in zip(taps[a], taps[b], strict=True)}
        same = all(np.float32(u) == np.float32(v) for (_, u), (_, v) in zip(taps[a], taps[b], strict=True))
        return moves.pop() if same and len(moves) == 1 else None

    while left:
        start = min(left)
        best = (start, 1, 1, 0)
        for step in range(1, min(9, len(taps))):
            advance = fits(start, start + step) if start + step in left else None
            if advance is None:
                continue
            count = 2
            while (nxt := start + count * step) in left and fits(start + (count - 1) * step, nxt) == advance:
                count += 1
            if count > best[2]:
                best = (start, step, count, advance)
        left -= set(range(best[0], best[0] + best[1] * best[2], best[1]))
        out.append((*best, taps[start]))
    return out


def _resample(ctx: Context, x: Tensor, out: Tensor, axis: int, taps: list[list[tuple[int, float]]]) -> None:
    p = ctx.program
    for start, step, count, advance, pairs in groups(taps):
        dst = out.slice_axis(axis, start, start + step * (count - 1) + 1, step)
        assert dst is not None
        sources = [_strided(x, axis, i, count, advance) for i, _ in pairs]
        weights = [w for _, w in pairs]

        def emit(view: View, src: list[View], n: int, weights: list[float] = weights) -> None:
            if len(src) == 1 and weights[0] == 1.0:
                p.tensor_copy(view, src[0], engine=ctx.pick(("vector", "scalar", "gpsimd"), n))
                return
            rows = view.partition + view.partitions
            acc = p.sbuf((rows, n), "fp32", name="lerp").ap(
                0, [1], [n], partition=view.partition, partitions=view.partitions
            )
            p.tensor_scalar(
                view if len(src) == 1 else acc, src[0], "mult", weights[0], engine=ctx.pick(("vector", "scalar"), n)
            )
            for k in range(1, len(src)):
                ctx.charge("vector", 2 * n / ctx.target.engines["vector"].clock_ghz)
                target = view if k == len(src) - 1 else acc
                p.scalar_tensor_tensor(target, src[k], "mult", weights[k], "add", acc)

        apply(ctx, dst, sources, emit)


def _strided(x: Tensor, axis: int, first: int, count: int, advance: int) -> Tensor:
    """x read at first, first + advance, ... along one axis; advance may be 0."""
    one = x.slice_axis(axis, first, first + 1)
    assert one is not None
    if count == 1:
        return one
    if advance > 0:
        cut = x.slice_axis(axis, first, first + advance * (count - 1) + 1, advance)
        assert cut is not None
        return cut
    shape = list(x.shape)
    shape[axis] = count
    wide = one.expand(shape)
    assert wide is not None
    return wide


__all__ = ["groups", "lower_resize", "prod"]
