"""Operators that move elements and compute nothing: shapes, cuts, joins, padding."""

from __future__ import annotations

from math import prod

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.tflite import quantised
from compiler.frontends.tflite.convert import Call, converter, room


def int64(values: object) -> np.ndarray:
    """A vector of sizes or axes as ONNX takes them."""
    return np.asarray(values, np.int64)


def reshaped(c: Call, value: str, shape: object) -> str:
    """A value in another shape; nothing for the one it has."""
    wanted = int64(shape)
    if c.b.is_static(value) and tuple(wanted) == c.b.shape(value):
        return value
    return c.b.op("Reshape", [value, wanted], allowzero=1)


@converter("RESHAPE")
def _reshape(c: Call) -> None:
    shape = c.ints(1, "the shape of a result") if c.has(1) else [int(v) for v in c.option("new_shape", [])]
    if not c.has(1) and shape == [0]:
        shape = []  # how early converters spelled a scalar
    before, stated = c.shape(0), c.tensor(0).shape
    if -1 not in shape and prod(shape) != prod(before) and shape and stated and shape[0] == stated[0] != before[0]:
        shape = [-1, *shape[1:]]  # the batch that the user gave takes the place of the file's
    c.moved(0, lambda x: reshaped(c, x, shape))


@converter("SQUEEZE")
def _squeeze(c: Call) -> None:
    before = c.shape(0)
    axes = {c.axis(int(a), len(before)) for a in c.option("squeeze_dims", [])}
    axes = axes or {k for k, n in enumerate(before) if n == 1}
    if any(before[a] != 1 for a in axes):
        raise ModelError("only dimensions of size 1 can be squeezed out", code="TFLITE_OPERANDS", actual=before)
    c.moved(0, lambda x: reshaped(c, x, [n for k, n in enumerate(before) if k not in axes]))


@converter("EXPAND_DIMS")
def _expand_dims(c: Call) -> None:
    shape = list(c.shape(0))
    shape.insert(c.axis(c.ints(1, "an axis")[0], len(shape) + 1), 1)
    c.moved(0, lambda x: reshaped(c, x, shape))


@converter("TRANSPOSE")
def _transpose(c: Call) -> None:
    perm = [c.axis(a, len(c.shape(0))) for a in c.ints(1, "the order of axes")]
    c.moved(0, lambda x: x if perm == sorted(perm) else c.b.op("Transpose", [x], perm=perm))


@converter("CONCATENATION")
def _concatenation(c: Call) -> None:
    axis = c.axis(int(c.option("axis", 0)), len(c.shape(0)))
    filled = [k for k in range(len(c)) if not c.b.is_static(c.stored(k)) or c.shape(k)[axis]] or [0]
    if c.option("fused_activation_function", 0):
        c.give(c.b.op("Concat", [c.real(k) for k in filled], axis=axis))
        return
    parts = [c.requantised(k, c.result()) for k in filled]
    c.store(c.b.op("Concat", parts, axis=axis) if len(parts) > 1 else parts[0])


@converter("PACK")
def _pack(c: Call) -> None:
    shape = list(c.shape(0))
    axis = c.axis(int(c.option("axis", 0)), len(shape) + 1)
    shape.insert(axis, 1)
    parts = [reshaped(c, c.requantised(k, c.result()), shape) for k in range(len(c))]
    c.store(c.b.op("Concat", parts, axis=axis))


@converter("UNPACK")
def _unpack(c: Call) -> None:
    shape = c.shape(0)
    axis = c.axis(int(c.option("axis", 0)), len(shape))
    left = [n for k, n in enumerate(shape) if k != axis]
    _split(c, 0, axis, [1] * min(shape[axis], len(c.op.outputs) + 1), left)


@converter("SPLIT")
def _split_evenly(c: Call) -> None:
    """Operands: axis, value."""
    shape, parts = c.shape(1), len(c.op.outputs)
    axis = c.axis(c.ints(0, "an axis")[0], len(shape))
    if shape[axis] % parts:
        raise ModelError("a split into equal parts leaves something over", code="TFLITE_OPERANDS", limit=parts,
                         actual=shape[axis])
    _split(c, 1, axis, [shape[axis] // parts] * parts)


@converter("SPLIT_V")
def _split_v(c: Call) -> None:
    """Operands: value, sizes (one of which may be -1: the rest), axis."""
    shape, sizes = c.shape(0), c.ints(1, "the sizes of parts")
    axis = c.axis(c.ints(2, "an axis")[0], len(shape))
    rest = shape[axis] - sum(s for s in sizes if s >= 0)
    _split(c, 0, axis, [rest if s < 0 else s for s in sizes])


def _split(c: Call, k: int, axis: int, sizes: list[int], shape: list[int] | None = None) -> None:
    """Parts of operand k along an axis, in another shape where one is given."""
    x = c.stored(k)
    if len(sizes) != len(c.op.outputs):
        raise ModelError("a split has another number of results than parts", code="TFLITE_OPERANDS", limit=len(sizes),
                         actual=len(c.op.outputs))
    parts = c.b.ops("Split", [x, int64(sizes)], len(sizes), axis=axis) if len(sizes) > 1 else [x]
    for result, part in enumerate(parts):
        if c.wants(result):
            c.store(reshaped(c, part, shape) if shape is not None else part, result)


@converter("TILE")
def _tile(c: Call) -> None:
    times = int64(c.ints(1, "how often a value is repeated"))
    c.moved(0, lambda x: c.b.op("Tile", [x, times]))


@converter("BROADCAST_TO")
def _broadcast_to(c: Call) -> None:
    shape = int64(room(c.ints(1, "the shape of a result")))
    c.moved(0, lambda x: c.b.op("Expand", [x, shape]))


@converter("PAD", "PADV2")
def _pad(c: Call) -> None:
    """Operands: value, (rank, 2) counts of elements before and after, perhaps the number to fill in."""
    pads = int64(c.ints(1, "the padding")).reshape(-1, 2).T.reshape(-1)

    def padded(x: str) -> str:
        return c.b.op("Pad", [x, pads, *fill(x)]) if pads.any() else x

    def fill(x: str) -> list[str | np.ndarray]:
        if c.has(2):
            value = c.stored(2) if c.b.dtype(x) == c.b.dtype(c.stored(2)) else c.real(2)
            return [reshaped(c, value, [])]
        zero = quantised.zero_point(c.tensor(0)) if quantised.is_quantised(c.tensor(0)) and x == c.stored(0) else 0
        return [np.array(zero, c.b.dtype(x))]

    c.moved(0, padded)


@converter("MIRROR_PAD")
def _mirror_pad(c: Call) -> None:
    """REFLECT (0) leaves the edge out; SYMMETRIC (1) repeats it, which is a choice of indices here."""
    pads = int64(c.ints(1, "the padding")).reshape(-1, 2)
    if c.option("mode", 0) == 0:
        c.moved(0, lambda x: c.b.op("Pad", [x, pads.T.reshape(-1)], mode="reflect"))
        return

    def mirrored(x: str) -> str:
        for axis, (before, after) in enumerate(pads.tolist()):
            if before or after:
                index = _mirror(c.b.shape(x)[axis], before, after)
                x = c.b.op("Gather", [x, int64(index)], axis=axis)
        return x

    c.moved(0, mirrored)


def _mirror(size: int, before: int, after: int) -> np.ndarray:
    """Indices along an axis with its elements repeated backwards at both ends."""
    if max(before, after) > size:
        raise ModelError("an axis cannot be mirrored further than it is long", code="TFLITE_OPERANDS", limit=size,
                         actual=max(before, after))
    return np.pad(np.arange(room([size])[0]), (before, after), mode="symmetric")


@converter("REVERSE_V2")
def _reverse(c: Call) -> None:
    shape = c.shape(0)
    axes = [c.axis(a, len(shape)) for a in c.ints(1, "the axes that are reversed")]
    ends = np.iinfo(np.int64)
    c.moved(0, lambda x: c.b.op("Slice", [x, int64([ends.max] * len(axes)), int64([ends.min] * len(axes)),
                                          int64(axes), int64([-1] * len(axes))]))


@converter("DILATE")
def _dilate(c: Call) -> None:
    """Operands: value, how far apart its elements come to lie along each axis, the number in between."""
    steps, shape = c.ints(1, "the distances"), c.shape(0)
    x, fill = c.stored(0), reshaped(c, c.stored(2), [])
    for axis, (size, step) in enumerate(zip(shape, steps, strict=True)):
        if step > 1 and size > 0:
            now = list(c.b.shape(x))
            pads = np.zeros((2, len(now) + 1), np.int64)
            pads[1, axis + 1] = step - 1
            x = c.b.op("Pad", [reshaped(c, x, [*now[: axis + 1], 1, *now[axis + 1 :]]), pads.reshape(-1), fill])
            now[axis] *= step
            cut = [int64([v]) for v in (0, now[axis] - step + 1, axis)]
            x = c.b.op("Slice", [reshaped(c, x, now), *cut])
    c.store(x)
