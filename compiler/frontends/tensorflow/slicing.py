"""Parts of tensors."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter

_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


@converter("StridedSlice")
def strided_slice(c: Call) -> str:
    """x[begin:end:step, ...] with all of numpy's forms, which bit masks tell apart (ops/array_ops.cc, StridedSlice)."""
    if c.known(1) is None or c.known(2) is None:
        return _computed(c)
    rank = c.rank()
    ranges, added = _ranges(c, rank)
    moved = [(k, *r) for k, r in enumerate(ranges)
             if (r[0] if r[0] is not None else (0 if r[2] > 0 else -1), r[1], r[2]) != (0, None, 1)]
    x = c.x()
    if moved:
        columns = [_bounds(begin, end, step) for _, begin, end, step, _ in moved]
        x = c.op("Slice", [x, *(np.array([col[i] for col in columns], np.int64) for i in (0, 1)),
                           np.array([m[0] for m in moved], np.int64), np.array([m[3] for m in moved], np.int64)])
    dropped = [k for k, r in enumerate(ranges) if r[3]]
    if dropped:
        x = c.op("Squeeze", [x, np.array(dropped, np.int64)])
    return c.op("Unsqueeze", [x, np.array(added, np.int64)]) if added else x


def _computed(c: Call) -> str:
    """A strided slice whose begin or end is computed: x[:, n], whose sizes are known, or x[:n], which data decide."""
    begin, end, ellipsis, new, shrink = (c.whole(n) for n in _MASKS)
    steps = c.ints(3) if len(c) > 3 else [1] * c.shape(1)[0]
    if ellipsis or new or 0 in steps or len(steps) > c.rank() or not c.shape(1) == c.shape(2) == (len(steps),):
        raise c.refuse("computed bounds together with new dimensions or an ellipsis")
    begins, ends = (c.cast(x, "int64") for x in c.xs(1, 3))
    dropped = [k for k in range(len(steps)) if shrink >> k & 1]
    cut = [k for k in range(len(steps)) if k not in dropped and not (begin >> k & end >> k & 1 and steps[k] == 1)]
    x = c.x()
    if cut:
        limits = [_bounds(None, None, steps[k]) for k in cut]
        chosen = [c.op("Where", [np.array([mask >> k & 1 for k in cut], bool), np.array([b[side] for b in limits]),
                                 c.op("Gather", [values, np.array(cut)])])
                  for side, (mask, values) in enumerate(((begin, begins), (end, ends)))]
        x = c.op("Slice", [x, *chosen, np.array(cut), np.array([steps[k] for k in cut])])
    for k in reversed(dropped):
        x = c.op("Gather", [x, c.op("Gather", [begins, np.int64(k)])], axis=k)
    return x


def _bounds(begin: int | None, end: int | None, step: int) -> tuple[int, int]:
    """The ends of a slice, with numbers beyond every size where one is left out."""
    limits = np.iinfo(np.int64)
    first, last = (0, limits.max) if step > 0 else (limits.max, limits.min)
    return first if begin is None else begin, last if end is None else end


def _ranges(c: Call, rank: int) -> tuple[list[tuple[int | None, int | None, int, bool]], list[int]]:
    """(begin, end, step, whether the dimension goes) for each dimension of x, and the new ones in the result."""
    begins, ends, steps = c.ints(1), c.ints(2), c.ints(3) if len(c) > 3 else [1] * len(c.ints(1))
    begin, end, ellipsis, new, shrink = (c.whole(n) for n in _MASKS)
    entries = len(begins)
    if not len(ends) == len(steps) == entries:
        raise c.refuse("begin, end and strides have different lengths")
    after = sum(1 for k in range(entries) if not (new >> k & 1 or ellipsis >> k & 1))
    ranges: list[tuple[int | None, int | None, int, bool]] = []
    added: list[int] = []
    out = 0
    for k in range(entries):
        bit = 1 << k
        if ellipsis & bit:
            rest = rank - after
            ranges += [(None, None, 1, False)] * rest
            out += rest
        elif new & bit:
            added.append(out)
            out += 1
        elif shrink & bit:
            ranges.append((begins[k], begins[k] + 1 if begins[k] != -1 else None, 1, True))
        else:
            ranges.append((None if begin & bit else begins[k], None if end & bit else ends[k], steps[k], False))
            out += 1
    if len(ranges) > rank or 0 in steps:
        raise c.refuse(f"{len(ranges)} ranges for {rank} dimensions, or a step of zero")
    return ranges + [(None, None, 1, False)] * (rank - len(ranges)), added


@converter("Slice")
def part(c: Call) -> str:
    """A box: where it begins and its sizes, -1 for what is left."""
    shape, begins, sizes = c.shape(), c.const(1).reshape(-1), c.ints(2)
    ends = [d if s == -1 else int(b) + s for d, b, s in zip(shape, begins, sizes, strict=True)]
    return c.op("Slice", [c.x(), begins.astype(np.int64), np.array(ends, np.int64)])


@converter("Split")
def split(c: Call) -> list[str]:
    """Equal parts; the dimension comes first."""
    count, axis = c.whole("num_split", 1), c.axis(int(c.scalar(0)), c.rank(1))
    if count < 1 or c.shape(1)[axis] % count:
        raise c.refuse(f"{c.shape(1)[axis]} do not divide into {count} parts")
    return [c.x(1)] if count == 1 else c.b.ops("Split", [c.x(1)], count, axis=axis, num_outputs=count)


@converter("SplitV")
def split_v(c: Call) -> list[str]:
    """Parts of given sizes, one of which may be -1 for the rest."""
    sizes, axis = c.ints(1), c.axis(int(c.scalar(2)), c.rank())
    if -1 in sizes:
        sizes[sizes.index(-1)] = c.shape()[axis] - sum(sizes) - 1
    return [c.x()] if len(sizes) == 1 else c.b.ops("Split", [c.x(), np.array(sizes, np.int64)], len(sizes), axis=axis)


@converter("Unpack")
def unpack(c: Call) -> list[str]:
    """The entries along a dimension."""
    axis = c.axis(c.whole("axis"), c.rank())
    return [c.op("Gather", [c.x(), np.int64(k)], axis=axis) for k in range(c.shape()[axis])]


@converter("Pad")
def pad(c: Call) -> str:
    """Zeros around."""
    return padded(c, c.x(), c.const(1), "constant")


@converter("PadV2")
def pad_v2(c: Call) -> str:
    """A given number around."""
    return padded(c, c.x(), c.const(1), "constant", c.x(2))


@converter("MirrorPad")
def mirror_pad(c: Call) -> str:
    """The value's own elements around, mirrored, with or without those at the edge."""
    if c.text("mode", "REFLECT") == "REFLECT":
        return padded(c, c.x(), c.const(1), "reflect")
    x = c.x()
    for axis, (front, back) in enumerate(c.const(1).astype(np.int64).tolist()):
        size = c.b.shape(x)[axis]
        if front or back:
            places = [*range(front - 1, -1, -1), *range(size), *range(size - 1, size - 1 - back, -1)]
            x = c.op("Gather", [x, np.array(places)], axis=axis)
    return x


def padded(c: Call, x: str, pairs: np.ndarray, mode: str, value: str = "") -> str:
    """A value with elements around it; `pairs`: (rank, 2) counts in front and behind."""
    if not pairs.any():
        return x
    pads = np.ascontiguousarray(pairs.astype(np.int64).T).reshape(-1)
    return c.op("Pad", [x, pads, value] if value else [x, pads], mode=mode)
