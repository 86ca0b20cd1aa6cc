"""Expansions of operators that move elements. Positions are computed in float32, exact up to 2^24."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node, numpy_dtype
from compiler.passes.expand_sampling import EXACT, affine_grid, col2im, grid_sample
from compiler.passes.expansion import Expansion
from compiler.passes.rewrite import int_const


def tile(graph: Graph, node: Node) -> bool:
    """Tile as an Expand of every repeated axis, split in two."""
    f, x = Expansion(graph, node), node.inputs[0]
    pairs = list(zip(f.shape(x), graph.shape(node.output), strict=True))
    apart = f.reshape(x, [n for size, _ in pairs for n in (1, size)])
    wide = f.expand(apart, [n for size, out in pairs for n in (out // size, size)])
    return f.finish([f.reshape(wide, graph.shape(node.output))])


def trilu(graph: Graph, node: Node) -> bool:
    """Trilu as a Where by the distance from the diagonal."""
    f, x = Expansion(graph, node), node.inputs[0]
    rows, columns = f.shape(x)[-2:]
    ahead = np.arange(columns, dtype=np.float32) - np.arange(rows, dtype=np.float32)[:, None]
    upper = bool(node.attrs.get("upper", 1))
    k = graph.const(node.input(1)) if node.input(1) else np.zeros(1)
    if k is not None:
        edge = float(k.reshape(-1)[0])
        kept = f.const(ahead >= edge if upper else ahead <= edge)
    else:
        limit = f.reshape(f.cast(node.inputs[1], "float32"), (1, 1))
        kept = f.binary("LessOrEqual" if upper else "GreaterOrEqual", limit, f.const(ahead))
    return f.finish([f.where(kept, x, f.const(0, f.dtype(x)))])


def eye_like(graph: Graph, node: Node) -> bool:
    """EyeLike is known: only the shape of its operand matters."""
    rows, columns = graph.shape(node.output)
    eye = np.eye(rows, columns, node.attrs.get("k", 0), dtype=numpy_dtype(graph.dtype(node.output)))
    graph.make_const(node.output, eye)
    return True


def one_hot(graph: Graph, node: Node) -> bool:
    """OneHot as a comparison of the indices with 0 .. depth - 1."""
    f, (indices, _, values) = Expansion(graph, node), node.inputs
    target = graph.shape(node.output)
    axis = node.attrs.get("axis", -1) % len(target)
    depth = target[axis]
    if depth > EXACT:
        return False
    whole = indices if "float" not in f.dtype(indices) else f.cast(indices, "int64")
    index = f.reshape(f.cast(whole, "float32"), [1 if a == axis else n for a, n in enumerate(target)])
    negative = f.cast(f.binary("Less", index, 0.0), "float32")
    index = f.add(index, f.mul(negative, depth))
    numbers = np.arange(depth, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(len(target))])
    off, on = (f.slice(values, 0, k, k + 1) for k in (0, 1))
    return f.finish([f.where(f.binary("Equal", index, f.const(numbers)), on, off)])


def center_crop_pad(graph: Graph, node: Node) -> bool:
    """CenterCropPad as slices and a Pad."""
    f, core = Expansion(graph, node), node.inputs[0]
    before, after = f.shape(core), graph.shape(node.output)
    for axis, (size, wanted) in enumerate(zip(before, after, strict=True)):
        if wanted < size:
            start = (size - wanted) // 2
            core = f.slice(core, axis, start, start + wanted)
    lead = [max(0, b - a) // 2 for a, b in zip(before, after, strict=True)]
    tail = [max(0, b - a) - p for a, b, p in zip(before, after, lead, strict=True)]
    pads = int_const(graph, [*lead, *tail], f"{node.name}_pads")
    return f.finish([f.op("Pad", [core, pads], after, mode="constant")])


def pad(graph: Graph, node: Node) -> bool:
    """Pad with a value that is computed, or an integer that no float32 is, as a Where over a Pad with zeros."""
    value, pads = node.input(2), graph.const(node.inputs[1])
    if node.attrs.get("mode", "constant") != "constant" or not value or pads is None or not _inexact(graph, value):
        return False
    shape, target = graph.shape(node.inputs[0]), graph.shape(node.output)
    axes = graph.const(node.input(3)) if node.input(3) else np.arange(len(shape))
    if axes is None:
        return False
    f = Expansion(graph, node)
    inside = np.ones(target, np.bool_)
    for axis, lead in zip((axes % len(shape)).tolist(), pads[: len(axes)].tolist(), strict=True):
        place = np.arange(target[axis]) - lead
        here = (place >= 0) & (place < shape[axis])
        inside &= here.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    given = ["", node.inputs[3]] if node.input(3) else []
    padded = f.op("Pad", [*node.inputs[:2], *given], target, mode="constant")
    return f.finish([f.where(f.const(inside), padded, value)])


def _inexact(graph: Graph, value: str) -> bool:
    array = graph.const(value)
    return array is None or (array.dtype.kind in "iu" and any(abs(int(v)) > EXACT for v in array.reshape(-1)))


def reverse_sequence(graph: Graph, node: Node) -> bool:
    """ReverseSequence as GatherND of positions length - 1 - t, or t behind the length."""
    f, (x, lengths) = Expansion(graph, node), node.inputs
    turn = [1, 0, *range(2, f.rank(x))] if node.attrs.get("time_axis", 0) == 0 else list(range(f.rank(x)))
    rows = f.transpose(x, turn)
    n, steps = f.shape(rows)[:2]
    numbers = np.arange(steps, dtype=np.float32)[None]
    back = f.add(f.reshape(f.cast(lengths, "float32"), (n, 1)), f.const(-1 - numbers))
    place = f.where(f.binary("GreaterOrEqual", back, 0.0), back, f.const(numbers))
    index = f.reshape(f.cast(place, "int64"), (n, steps, 1))
    return f.finish([f.transpose(f.op("GatherND", [rows, index], f.shape(rows), batch_dims=1), turn)])


def tensor_scatter(graph: Graph, node: Node) -> bool:
    """TensorScatter as ScatterND of rows [batch, ..., position]."""
    f, (cache, update) = Expansion(graph, node), node.inputs[:2]
    shape = f.shape(cache)
    axis = node.attrs.get("axis", -2) % len(shape)
    size, wide = shape[axis], (*shape[:axis], f.shape(update)[axis])
    numbers = np.arange(wide[-1], dtype=np.float32)
    if node.input(2):
        place = f.add(f.reshape(f.cast(node.inputs[2], "float32"), (shape[0], *[1] * axis)), f.const(numbers))
        if node.attrs.get("mode", "linear") == "circular":
            over = f.cast(f.binary("GreaterOrEqual", place, size), "float32")
            place = f.sub(place, f.mul(over, size))
        place = f.reshape(f.expand(f.cast(place, "int64"), wide), (*wide, 1))
    else:
        place = f.const(np.broadcast_to(numbers.astype(np.int64), wide)[..., None])
    lead = np.indices(wide, dtype=np.int64)[:-1]
    rows = f.concat([f.const(np.moveaxis(lead, 0, -1)), place], -1)
    return f.finish([f.op("ScatterND", [cache, rows, update], shape, reduction="none")])


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "AffineGrid": affine_grid,
    "CenterCropPad": center_crop_pad,
    "Col2Im": col2im,
    "EyeLike": eye_like,
    "GridSample": grid_sample,
    "OneHot": one_hot,
    "Pad": pad,
    "ReverseSequence": reverse_sequence,
    "TensorScatter": tensor_scatter,
    "Tile": tile,
    "Trilu": trilu,
}
