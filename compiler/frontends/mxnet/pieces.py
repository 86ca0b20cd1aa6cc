"""Operators that cut tensors and put them together: slices, splits, concatenation, padding, reversal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.mxnet.call import Call, operator


def cut(c: Call, x: str, begin: Sequence[int], end: Sequence[int], axes: Sequence[int]) -> str:
    """Elements from `begin` up to `end` along axes, counted from the front."""
    return c.do("Slice", x, np.array(begin, np.int64), np.array(end, np.int64), np.array(axes, np.int64))


@operator("slice", "crop", "_sparse_slice", "_npx_slice", "_npi_slice")
def _slices(c: Call) -> str:
    begin, end, step = (c.optional_ints(k) for k in ("begin", "end", "step"))
    if len(begin) != len(end) or len(begin) > c.rank() or len(step) not in (0, len(begin)):
        raise c.wrong("begin", begin, f"as many numbers as `end` has, {len(end)}")
    starts, stops, steps = [], [], []
    for k, size in enumerate(c.shape()[: len(begin)]):
        stride = 1 if not step or step[k] is None else step[k]
        if not stride:
            raise c.wrong("step", step, "without zeros")
        start, stop, _ = slice(begin[k], end[k], stride).indices(size)
        starts.append(start)
        stops.append(-size - 1 if stop < 0 else stop)
        steps.append(stride)
    axes = np.arange(len(begin))
    return c.do("Slice", c.x, np.array(starts), np.array(stops), axes, np.array(steps))


@operator("slice_axis")
def _slice_axis(c: Call) -> str:
    axis = c.axis("axis", 0)
    end = None if c.is_none("end") else c.integer("end")
    first, last, _ = slice(c.integer("begin"), end).indices(c.shape()[axis])
    return cut(c, c.x, [first], [last], [axis])


@operator("slice_like")
def _slice_like(c: Call) -> str:
    other = c.shape(1)
    axes = [c.check_axis(a) for a in c.ints("axes", range(len(other)))]
    return cut(c, c.x, [0] * len(axes), [other[a] for a in axes], axes)


def _at(c: Call, axis: int, bounds: Sequence[int], squeeze: bool) -> list[str]:
    """The pieces between bounds along an axis; those of one element may lose the axis."""
    shape = c.shape()
    found = []
    for first, end in itertools.pairwise(bounds):
        piece = cut(c, c.x, [first], [max(end, first)], [axis])
        found.append(c.reshape(piece, [*shape[:axis], *shape[axis + 1 :]]) if squeeze else piece)
    return found


@operator("SliceChannel", "split")
def _slice_channel(c: Call) -> list[str]:
    axis, count = c.axis("axis", 1), c.integer("num_outputs")
    return _even(c, axis, count, c.flag("squeeze_axis"))


def _even(c: Call, axis: int, count: int, squeeze: bool) -> list[str]:
    size = c.shape()[axis]
    if count < 1 or size % count or (squeeze and size != count):
        raise c.wrong("num_outputs", count, f"a divisor of {size}")
    if squeeze:
        return _at(c, axis, range(size + 1), squeeze)
    return c.b.ops("Split", [c.x], count, axis=axis, num_outputs=count)


@operator("_split_v2", "_npi_split", "_npi_hsplit", "_npi_dsplit")
def _split_v2(c: Call) -> list[str]:
    axis = {"_npi_hsplit": min(1, c.rank() - 1), "_npi_dsplit": 2}.get(c.op, -1)
    axis = c.axis("axis", 1 if c.op == "_split_v2" else 0) if axis < 0 else c.check_axis(axis)
    squeeze, sections = c.flag("squeeze_axis"), c.integer("sections", 0)
    if sections:
        return _even(c, axis, sections, squeeze)
    size = c.shape()[axis]
    bounds = [slice(i, None).indices(size)[0] for i in c.ints("indices", ())]
    if bounds[:1] != [0]:  # the file's list begins with 0; be sure
        bounds.insert(0, 0)
    return _at(c, axis, [*bounds, size], squeeze)


@operator("Concat", "concat", "_sparse_concat", "_rnn_param_concat", "_npi_rnn_param_concat")
def _concat(c: Call) -> str:
    return joined(c, c.inputs, c.axis("dim", 1))


@operator("_npi_concatenate", outputs=("out",))
def _concatenate(c: Call) -> str:
    if c.attrs.get("axis") == "None":
        return joined(c, [c.reshape(v, [-1]) for v in c.inputs], 0)
    return joined(c, c.inputs, c.axis("axis", 0))


def joined(c: Call, values: Sequence[str], axis: int) -> str:
    """Concatenation."""
    return values[0] if len(values) == 1 else c.do("Concat", *values, axis=axis)


@operator("stack", "_npi_stack")
def _stack(c: Call) -> str:
    axis, shape = c.axis("axis", 0, c.rank() + 1), c.shape()
    return joined(c, [c.reshape(v, [*shape[:axis], 1, *shape[axis:]]) for v in c.inputs], axis)


@operator("_npi_vstack", "_npi_column_stack")
def _stack_rows(c: Call) -> str:
    if c.op == "_npi_vstack":
        return joined(c, [c.reshape(v, [1, -1]) if c.rank(v) < 2 else v for v in c.inputs], 0)
    return joined(c, [c.reshape(v, [-1, 1]) if c.rank(v) < 2 else v for v in c.inputs], 1)


@operator("_npi_hstack", "_npi_dstack", outputs=("out",))
def _stack_columns(c: Call) -> str:
    if c.op == "_npi_dstack":
        return joined(c, [c.reshape(v, [*([1] if c.rank(v) < 2 else []), *c.shape(v), 1]) if c.rank(v) < 3 else v
                          for v in c.inputs], 2)
    values = [v if c.rank(v) else c.reshape(v, [1]) for v in c.inputs]
    return joined(c, values, min(1, c.rank(values[0]) - 1))


@operator("reverse", "flip", "_npi_flip")
def _reverse(c: Call) -> str:
    axes = [c.check_axis(a) for a in c.ints("axis", range(c.rank()))]
    return turned(c, c.x, axes)


def turned(c: Call, x: str, axes: Sequence[int]) -> str:
    """The value backwards along axes."""
    ends = [-c.shape(x)[a] - 1 for a in axes]
    return c.do("Slice", x, np.full(len(axes), -1), np.array(ends), np.array(axes), np.full(len(axes), -1))


@operator("_np_roll")
def _roll(c: Call) -> str:
    """Elements moved along axes, those that leave at the end come in at the front; flat without axes."""
    shape, shifts = c.shape(), c.ints("shift")
    x = c.reshape(c.x, [-1]) if c.is_none("axis") else c.x
    axes = [0] if c.is_none("axis") else [c.check_axis(a) for a in c.ints("axis")]
    for axis, shift in zip(axes, shifts * len(axes) if len(shifts) == 1 else shifts, strict=True):
        size = c.shape(x)[axis]
        if shift % size:
            at = size - shift % size
            x = joined(c, [cut(c, x, [at], [size], [axis]), cut(c, x, [0], [at], [axis])], axis)
    return c.reshape(x, shape)


@operator("_npi_tril")
def _tril(c: Call) -> str:
    return c.do("Trilu", c.x, np.int64(c.integer("k", 0)), upper=0)


@operator("Pad", "pad", "_npi_pad")
def _pad(c: Call) -> str:
    mode = c.text("mode", "constant", ("constant", "edge", "reflect"))
    width = c.ints("pad_width")
    if len(width) != 2 * c.rank():
        raise c.wrong("pad_width", width, f"two numbers for each of {c.rank()} axes")
    pads = np.array([*width[::2], *width[1::2]], np.int64)
    value = c.real("constant_value", c.real("constant_values", 0.0))
    return c.do("Pad", c.x, pads, c.like(c.x, value) if mode == "constant" else "", mode=mode)


@operator("Crop")
def crop(c: Call) -> str:
    """Height and width of the second operand, or `h_w`, from `offset` or about the centre."""
    size = c.shape(1)[2:] if len(c) > 1 else c.ints("h_w", (0, 0))
    rows, columns = c.shape()[2:]
    offset = c.ints("offset", (0, 0))
    if c.flag("center_crop"):
        offset = ((rows - size[0]) // 2, (columns - size[1]) // 2)
    if offset[0] + size[0] > rows or offset[1] + size[1] > columns:
        raise ModelError("a Crop is larger than its input", code="MODEL_INVALID", limit=(rows, columns),
                         actual=(offset, size))
    return cut(c, c.x, offset, [offset[0] + size[0], offset[1] + size[1]], [2, 3])


@operator("_slice_assign", "_crop_assign", "_npi_slice_assign", "_slice_assign_scalar", "_crop_assign_scalar",
          "_npi_slice_assign_scalar")
def slice_assign(c: Call) -> str:
    """The first operand with a slice of it replaced by the second, or by a number."""
    begin, end, step = (c.optional_ints(k) for k in ("begin", "end", "step"))
    shape = c.shape()
    wanted = tuple(slice(b, e, s) for b, e, s in zip(begin, end, step or [None] * len(begin), strict=True))
    places = np.arange(int(np.prod(shape))).reshape(shape)[wanted]
    if "scalar" in c.op:
        updates = c.b.add(np.full(places.size, c.real("scalar", 0.0)).astype(c.like(c.x, 0).dtype))
    else:
        updates = c.reshape(c[1], [-1])
    flat = c.do("ScatterND", c.reshape(c.x, [-1]), places.reshape(-1, 1), updates)
    return c.reshape(flat, shape)


@operator("diag", "_np_diag", "_np_diagonal")
def diag(c: Call) -> str:
    """A diagonal of the axes `axis1` and `axis2`, last in the result; a vector becomes a matrix."""
    k = c.integer("k", c.integer("offset", 0))
    shape = c.shape()
    if len(shape) == 1:
        size = shape[0] + abs(k)
        c.sized(size, size)
        places = np.full((size, size), shape[0])
        places[np.arange(shape[0]) + max(-k, 0), np.arange(shape[0]) + max(k, 0)] = np.arange(shape[0])
        return c.do("Gather", c.do("Concat", c.x, c.like(c.x, [0]), axis=0), places)
    a, b = c.axis("axis1", 0), c.axis("axis2", 1)
    rows = np.arange(max(-k, 0), min(shape[a], shape[b] - k))
    flat = c.transpose(c.x, [*(i for i in range(len(shape)) if i not in (a, b)), a, b])
    outer = c.shape(flat)[:-2]
    return c.do("Gather", c.reshape(flat, [*outer, shape[a] * shape[b]]), rows * shape[b] + rows + k, axis=-1)
