"""Operators that read or write elements by index, and those that make indices or shapes."""

from __future__ import annotations

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.onnx.types import tensor_type
from compiler.frontends.tflite import quantised
from compiler.frontends.tflite.convert import Call, converter, room
from compiler.frontends.tflite.moving import int64, reshaped

#: reduction of UNSORTED_SEGMENT_* -> (of ScatterND, what empty segments hold)
_SEGMENTS = {"SUM": ("add", 0), "PROD": ("mul", 1), "MAX": ("max", "min"), "MIN": ("min", "max")}


def _long(c: Call, value: str) -> str:
    """Indices in the type that ONNX's operators with -ND take."""
    return c.b.op("Cast", [value], to=tensor_type("int64"))


# ---- cuts ----------------------------------------------------------------------------------------------------------


@converter("SLICE")
def _slice(c: Call) -> None:
    """Operands: value, begin, size (-1: all that is left)."""
    shape, sizes = c.shape(0), c.ints(2, "the size of a part")
    if c.const(1) is None:
        c.moved(0, lambda x: _window(c, x, c.stored(1), sizes))
        return
    begin = c.ints(1, "where a part begins")
    ends = [n if s < 0 else a + s for n, s, a in zip(shape, sizes, begin, strict=True)]
    if any(not 0 <= a <= e <= n for a, e, n in zip(begin, ends, shape)):
        raise ModelError("a part lies outside of its operand", code="TFLITE_OPERANDS", limit=shape, actual=ends)
    c.moved(0, lambda x: _cut(c, x, begin, ends))


def _cut(c: Call, x: str, begin: list[int], ends: list[int]) -> str:
    axes = [k for k, n in enumerate(c.b.shape(x)) if (begin[k], ends[k]) != (0, n)]
    if not axes:
        return x
    return c.b.op("Slice", [x, int64([begin[k] for k in axes]), int64([ends[k] for k in axes]), int64(axes)])


def _window(c: Call, x: str, begin: str, sizes: list[int]) -> str:
    """A part of known size from a place that is computed."""
    for axis, (have, size) in enumerate(zip(c.b.shape(x), sizes, strict=True)):
        if 0 <= size < have:
            first = c.b.op("Gather", [begin, np.array([axis], np.int64)], axis=0)
            places = c.b.op("Add", [first, np.arange(room([size])[0]).astype(c.b.dtype(first))])
            x = c.b.op("Gather", [x, places], axis=axis)
    return x


@converter("STRIDED_SLICE")
def _strided_slice(c: Call) -> None:
    """Operands: value, begin, end, strides; bit k of a mask concerns entry k of these."""
    masks = {m: int(c.option(f"{m}_mask", 0)) for m in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    if c.const(1) is None or c.const(2) is None:
        _element(c, masks)
        return
    begin, end, strides = (c.ints(k, "where a part begins or ends") for k in (1, 2, 3))
    if c.option("offset", False):
        end = [a + e for a, e in zip(begin, end)]
    shape = c.shape(0)
    whole = len(shape) - sum(not (masks["new_axis"] | masks["ellipsis"]) >> k & 1 for k in range(len(begin)))
    axis, parts, made = 0, [], []
    for k, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bits = {m: v >> k & 1 for m, v in masks.items()}
        if bits["ellipsis"]:
            made += list(shape[axis : axis + whole])
            axis += whole
        elif bits["new_axis"]:
            made.append(1)
        else:
            size = shape[axis]
            span = range(size)[first : first + 1 or None] if bits["shrink_axis"] else range(size)[slice(
                None if bits["begin"] else first, None if bits["end"] else last, step)]
            parts.append((axis, span))
            if not bits["shrink_axis"]:
                made.append(len(span))
            elif len(span) != 1:
                raise ModelError("an index lies outside of its operand", code="TFLITE_OPERANDS", limit=size,
                                 actual=first)
            axis += 1
    made += list(shape[axis:])
    c.moved(0, lambda x: reshaped(c, _spans(c, x, parts), made))


def _spans(c: Call, x: str, parts: list[tuple[int, range]]) -> str:
    """The elements of each axis that a range names."""
    cuts = [(a, s) for a, s in parts if s != range(c.b.shape(x)[a])]
    if not cuts:
        return x
    least = np.iinfo(np.int64).min
    stops = [s.stop if s.stop >= 0 else least for _, s in cuts]
    return c.b.op("Slice", [x, int64([s.start for _, s in cuts]), int64(stops), int64([a for a, _ in cuts]),
                            int64([s.step for _, s in cuts])])


def _element(c: Call, masks: dict[str, int]) -> None:
    """A single index along the first axis that is computed, the others being taken whole."""
    shape, count = c.shape(0), c.shape(1)[0]
    rest = ((1 << count) - 2) & ~(masks["begin"] & masks["end"])
    if masks["ellipsis"] or masks["new_axis"] or masks["shrink_axis"] != 1 or rest:
        raise ModelError("a part whose size depends on data", code="SHAPE_UNKNOWN",
                         help="convert the model with fixed sizes")
    first = c.b.op("Gather", [c.stored(1), np.array([0], np.int64)], axis=0)
    c.moved(0, lambda x: reshaped(c, c.b.op("Gather", [x, first], axis=0), shape[1:]))


@converter("DYNAMIC_UPDATE_SLICE")
def _dynamic_update(c: Call) -> None:
    """Operands: value, update, where it goes (moved so that it fits)."""
    shape, part = c.shape(0), c.shape(1)
    last = int64([n - p for n, p in zip(shape, part, strict=True)])
    begin = c.b.op("Max", [c.b.op("Min", [_long(c, c.stored(2)), last]), int64([0] * len(shape))])
    grid = np.moveaxis(np.indices(room(part)), 0, -1)
    places = c.b.op("Add", [int64(grid), begin])
    c.store(c.b.op("ScatterND", [c.stored(0), places, c.stored(1)]))


# ---- gathering and scattering --------------------------------------------------------------------------------------


@converter("GATHER")
def _gather(c: Call) -> None:
    """Operands: value, indices, whose first `batch_dims` axes they share."""
    shape, index = c.shape(0), c.shape(1)
    axis, batch = c.axis(int(c.option("axis", 0)), len(shape)), int(c.option("batch_dims", 0))
    batch = c.axis(batch, len(index) + 1)
    if not batch:
        c.moved(0, lambda x: c.b.op("Gather", [x, c.stored(1)], axis=axis))
        return
    if batch > axis or shape[:batch] != index[:batch]:
        raise ModelError("the batch dimensions of a look-up do not fit", code="TFLITE_OPERANDS", limit=shape,
                         actual=index)
    front = [*range(batch), axis, *range(batch, axis), *range(axis + 1, len(shape))]
    inner, outer = shape[batch:axis], shape[axis + 1 :]
    more = len(index) - batch

    def gathered(x: str) -> str:
        x = c.b.op("Transpose", [x], perm=front)
        places = _long(c, reshaped(c, c.stored(1), [*index, 1]))
        x = c.b.op("GatherND", [x, places], batch_dims=batch)  # (batch, index, inner, outer)
        middle, rest = range(batch, batch + more), range(batch + more, batch + more + len(inner) + len(outer))
        return c.b.op("Transpose", [x], perm=[*range(batch), *rest[: len(inner)], *middle, *rest[len(inner) :]])

    c.moved(0, gathered)


@converter("GATHER_ND")
def _gather_nd(c: Call) -> None:
    c.moved(0, lambda x: c.b.op("GatherND", [x, _long(c, c.stored(1))]))


@converter("SCATTER_ND")
def _scatter_nd(c: Call) -> None:
    """Operands: indices, updates (equal indices add up), shape."""
    shape = c.ints(2, "the shape of a result")
    zeros = np.zeros(room(shape), c.b.dtype(c.real(1)))
    c.give(c.b.op("ScatterND", [zeros, _long(c, c.stored(0)), c.real(1)], reduction="add"))


@converter("SPARSE_TO_DENSE")
def _sparse_to_dense(c: Call) -> None:
    """Operands: indices (of one element, of a vector, or a row for each), shape, values, what the others hold."""
    shape, values = c.ints(1, "the shape of a result"), c.stored(2)
    places = reshaped(c, _long(c, c.stored(0)), [-1, len(shape)])
    count = c.b.shape(places)[0]
    fill = c.known(3, "what a sparse value leaves out").reshape(-1)[0]
    values = c.b.op("Expand", [values, int64([count])])
    c.store(c.b.op("ScatterND", [np.full(room(shape), fill), places, values]))


@converter(*(f"UNSORTED_SEGMENT_{kind}" for kind in _SEGMENTS))
def _segments(c: Call) -> None:
    """Operands: values, number of each one's segment (negative: none), number of segments."""
    _segmented(c, c.op.type.rsplit("_", 1)[1], c.ints(2, "the number of segments")[0])


@converter("SEGMENT_SUM")
def _segment_sum(c: Call) -> None:
    numbers = c.known(1, "the numbers of segments")
    _segmented(c, "SUM", int(numbers.max()) + 1 if numbers.size else 0)


def _segmented(c: Call, kind: str, count: int) -> None:
    """What belongs to no segment goes to one after the last, which is cut off."""
    x, ids = c.stored(0), _long(c, c.stored(1))
    reduction, start = _SEGMENTS[kind]
    dtype = np.dtype(c.b.dtype(x))
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    value = getattr(limits, start) if isinstance(start, str) else start
    rest = c.b.shape(x)[c.b.rank(ids) :]
    ids = c.b.op("Where", [c.b.op("Less", [ids, int64(0)]), int64(count), ids])
    places = reshaped(c, ids, [*c.b.shape(ids), 1])
    found = c.b.op("ScatterND", [np.full(room([count + 1, *rest]), value, dtype), places, x], reduction=reduction)
    c.store(c.b.op("Slice", [found, int64([0]), int64([count]), int64([0])]))


@converter("ONE_HOT")
def _one_hot(c: Call) -> None:
    """Operands: indices, depth, on, off. An index outside of the depth gives nothing but off."""
    depth, shape = c.ints(1, "the depth of a one-hot code")[0], list(c.shape(0))
    axis = int(c.option("axis", -1))
    axis = len(shape) if axis == -1 else c.axis(axis, len(shape) + 1)
    shape.insert(axis, 1)
    indices = reshaped(c, c.stored(0), shape)
    wide = [-1 if k == axis else 1 for k in range(len(shape))]
    numbers = np.arange(room([depth])[0]).astype(c.b.dtype(indices)).reshape(wide)
    c.store(c.b.op("Where", [c.b.op("Equal", [indices, numbers]), c.stored(2), c.stored(3)]))


@converter("WHERE")
def _where(c: Call) -> None:
    """Places where the operand is not zero, a row each."""
    c.store(c.b.op("Transpose", [c.b.op("NonZero", [c.stored(0)])], perm=[1, 0]))


@converter("UNIQUE")
def _unique(c: Call) -> None:
    x = c.stored(0)
    if c.b.dtype(x) in ("int16", "int32", "uint8"):  # ONNX Runtime has it for few types
        x = _long(c, x)
    found = c.b.ops("Unique", [x], 4, sorted=0)
    c.store(c.b.op("Cast", [found[0]], to=tensor_type(c.result().dtype)))
    if c.wants(1):
        c.store(c.b.op("Cast", [found[2]], to=tensor_type(c.result(1).dtype)), 1)


@converter("HASHTABLE_LOOKUP")
def _lookup(c: Call) -> None:
    """Operands: keys wanted, keys of the table, its rows; a key that is missing gives zeros and a hit of 0."""
    rows, wanted, keys = c.real(2), c.shape(0)[0], c.shape(1)[0]
    equal = c.b.op("Equal", [reshaped(c, c.stored(0), [wanted, 1]), reshaped(c, c.stored(1), [1, keys])])
    shape = c.b.shape(rows)
    flat = reshaped(c, rows, [keys, -1])
    found = c.b.op("MatMul", [c.b.op("Cast", [equal], to=tensor_type(c.b.dtype(rows))), flat])
    c.give(reshaped(c, found, [wanted, *shape[1:]]))
    if c.wants(1):
        hits = c.b.op("ReduceMax", [c.b.op("Cast", [equal], to=tensor_type("int32")), int64([1])], keepdims=0)
        c.store(c.b.op("Cast", [hits], to=tensor_type("uint8")), 1)


# ---- shapes and series ---------------------------------------------------------------------------------------------


@converter("SHAPE")
def _shape(c: Call) -> None:
    x = c.stored(0)
    if c.b.is_static(x):
        c.store(c.b.add(np.array(c.b.shape(x), c.result().dtype)))
    else:
        c.store(c.b.op("Cast", [c.b.op("Shape", [x])], to=tensor_type(c.result().dtype)))


@converter("RANK")
def _rank(c: Call) -> None:
    c.store(c.b.add(np.array(len(c.shape(0)), np.int32)))


@converter("BROADCAST_ARGS")
def _broadcast_args(c: Call) -> None:
    shapes = [c.ints(k, "a shape") for k in (0, 1)]
    c.store(c.b.add(np.array(np.broadcast_shapes(*map(tuple, shapes)), c.result().dtype)))


@converter("RANGE")
def _range(c: Call) -> None:
    c.store(c.b.op("Range", [reshaped(c, c.stored(k), []) for k in range(3)]))


@converter("FILL")
def _fill(c: Call) -> None:
    c.store(c.b.op("Expand", [reshaped(c, c.stored(1), []), int64(room(c.ints(0, "the shape of a result")))]))


@converter("ZEROS_LIKE")
def _zeros_like(c: Call) -> None:
    zero = quantised.zero_point(c.result()) if quantised.is_quantised(c.result()) else 0
    c.store(c.b.add(np.full(room(c.shape(0)), zero, quantised.kept(c.result()))))
