"""Operators that give a tensor another shape or another order of its axes, and those that repeat it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from compiler.errors import ShapeError
from compiler.frontends.mxnet.call import Call, operator


@operator("Reshape", "reshape", "_npx_reshape", "_np_reshape", "_npi_reshape")
def _reshape(c: Call) -> str:
    if c.op in ("_np_reshape", "_npi_reshape"):
        wanted = list(c.ints("newshape"))
    elif c.op == "_npx_reshape":
        wanted = _in_order(c, c.ints("newshape"), npx_codes)
    elif not c.is_none("shape") and c.ints("shape", ()):
        wanted = _in_order(c, c.ints("shape"), codes)
    else:  # before 0.9: 0 stood for what is left
        target = list(c.ints("target_shape", (0,)))
        if c.flag("keep_highest"):
            target[0] = c.shape()[0]
        wanted = [d or -1 for d in target]
    return c.reshape(c.x, resolved(c.shape(), wanted))


def _in_order(c: Call, wanted: Sequence[int], read: Callable[[Sequence[int], Sequence[int]], list[int]]) -> list[int]:
    if not c.flag("reverse"):
        return read(c.shape(), wanted)
    return read(c.shape()[::-1], wanted[::-1])[::-1]


def _no_shape(shape: Sequence[int], wanted: Sequence[int]) -> ShapeError:
    return ShapeError("a Reshape does not fit its input", code="SHAPE_MISMATCH", limit=f"input {tuple(shape)}",
                      actual=tuple(wanted))


def codes(shape: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Sizes that Reshape's codes stand for; -1 stays (InferReshapeShape in src/operator/tensor/matrix_op-inl.h).

    0 keeps an axis, -2 keeps all that are left, -3 joins two, -4 splits one into the two sizes that follow.
    """
    made: list[int] = []
    at, todo = 0, list(wanted)
    try:
        while todo:
            code = todo.pop(0)
            if code == 0:
                made.append(shape[at])
            elif code == -2:
                made += shape[at:]
                at = len(shape) - 1
            elif code == -3:
                made.append(shape[at] * shape[at + 1])
                at += 1
            elif code == -4:
                made += _factors(shape[at], todo.pop(0), todo.pop(0))
            elif code >= -1:
                made.append(code)
            else:
                raise IndexError
            at += 1
    except (IndexError, ZeroDivisionError):
        raise _no_shape(shape, wanted) from None
    return made


def _factors(size: int, first: int, second: int) -> list[int]:
    if first == -1:
        first = size // second
    elif second == -1:
        second = size // first
    if first * second != size:
        raise IndexError
    return [first, second]


def npx_codes(shape: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """`codes` of `npx.reshape`: -2 keeps an axis, -3 drops one of size 1, -4 keeps the rest, -5 joins, -6 splits."""
    made: list[int] = []
    at, todo = 0, list(wanted)
    try:
        while todo:
            code = todo.pop(0)
            if code == -2:
                made.append(shape[at])
            elif code == -3:
                if shape[at] != 1:
                    raise IndexError
            elif code == -4:
                made += shape[at:]
                at = len(shape) - 1
            elif code == -5:
                made.append(shape[at] * shape[at + 1])
                at += 1
            elif code == -6:
                made += _factors(shape[at], todo.pop(0), todo.pop(0))
            elif code >= -1:
                made.append(code)
            else:
                raise IndexError
            at += 1
    except (IndexError, ZeroDivisionError):
        raise _no_shape(shape, wanted) from None
    return made


def resolved(shape: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """`wanted` with its -1 replaced. Raises: ShapeError SHAPE_MISMATCH."""
    known = math.prod(d for d in wanted if d != -1)
    left = math.prod(shape) // known if known else 0
    found = [left if d == -1 else d for d in wanted]
    if list(wanted).count(-1) > 1 or math.prod(found) != math.prod(shape):
        raise _no_shape(shape, wanted)
    return found


@operator("Flatten", "flatten", "_npx_batch_flatten")
def _flatten(c: Call) -> str:
    return c.reshape(c.x, [c.shape()[0], math.prod(c.shape()[1:])])


@operator("reshape_like", "_npx_reshape_like")
def reshape_like(c: Call) -> str:
    """The second's sizes in place of the first's, within the ranges of axes that the attributes name."""
    def span(side: str, rank: int) -> tuple[int, int]:
        first = 0 if c.is_none(f"{side}_begin") else c.integer(f"{side}_begin")
        end = rank if c.is_none(f"{side}_end") else c.integer(f"{side}_end")
        return first % rank if first < 0 else first, end % rank if end < 0 else end

    left, right = c.shape(0), c.shape(1)
    (a, b), (first, end) = span("lhs", len(left)), span("rhs", len(right))
    return c.reshape(c.x, resolved(left, [*left[:a], *right[first:end], *left[b:]]))


@operator("expand_dims", "_npi_expand_dims")
def _expand_dims(c: Call) -> str:
    shape = list(c.shape())
    shape.insert(c.axis("axis", 0, len(shape) + 1), 1)
    return c.reshape(c.x, shape)


@operator("squeeze", "_np_squeeze")
def _squeeze(c: Call) -> str:
    shape = c.shape()
    if c.is_none("axis"):
        gone = {k for k, d in enumerate(shape) if d == 1}
    else:
        gone = {c.check_axis(a) for a in c.ints("axis")}
    left = [d for k, d in enumerate(shape) if k not in gone]
    return c.reshape(c.x, left if left or c.op != "squeeze" else [1])


@operator("transpose", "_np_transpose")
def _transpose(c: Call) -> str:
    axes = [c.check_axis(a) for a in c.ints("axes", ())]
    return c.transpose(c.x, axes or list(range(c.rank()))[::-1])


@operator("SwapAxis", "swapaxes", "_npi_swapaxes")
def _swap_axis(c: Call) -> str:
    perm = list(range(c.rank()))
    a, b = c.axis("dim1", 0), c.axis("dim2", 0)
    perm[a], perm[b] = perm[b], perm[a]
    return c.transpose(c.x, perm)


@operator("_np_moveaxis")
def _moveaxis(c: Call) -> str:
    source = [c.check_axis(a) for a in c.ints("source")]
    goal = [c.check_axis(a) for a in c.ints("destination")]
    perm = [a for a in range(c.rank()) if a not in source]
    for where, axis in sorted(zip(goal, source, strict=True)):
        perm.insert(where, axis)
    return c.transpose(c.x, perm)


@operator("depth_to_space", "space_to_depth")
def _depth_and_space(c: Call) -> str:
    if c.op == "depth_to_space":
        return c.do("DepthToSpace", c.x, blocksize=c.integer("block_size"), mode="DCR")
    return c.do("SpaceToDepth", c.x, blocksize=c.integer("block_size"))


# ---- repetition --------------------------------------------------------------------------------------------------


def expanded(c: Call, x: str, shape: Sequence[int]) -> str:
    """The value repeated along axes of size 1."""
    return x if tuple(shape) == c.shape(x) else c.do("Expand", x, np.array(shape, np.int64))


@operator("broadcast_to", "_npi_broadcast_to")
def _broadcast_to(c: Call) -> str:
    wanted, shape = c.ints("shape"), c.shape()
    if c.op == "broadcast_to":  # 0 keeps a size
        wanted = tuple(w or d for w, d in zip(wanted, shape, strict=False))
    return expanded(c, c.x, wanted)


@operator("broadcast_axis", "broadcast_axes")
def _broadcast_axis(c: Call) -> str:
    shape = list(c.shape())
    for axis, size in zip(c.ints("axis", ()), c.ints("size", ()), strict=True):
        shape[c.check_axis(axis)] = size
    return expanded(c, c.x, shape)


@operator("broadcast_like")
def _broadcast_like(c: Call) -> str:
    shape, other = list(c.shape(0)), c.shape(1)
    if c.is_none("lhs_axes"):
        return expanded(c, c.x, other)
    for a, b in zip(c.ints("lhs_axes"), c.ints("rhs_axes"), strict=True):
        shape[c.check_axis(a)] = other[c.check_axis(b, len(other))]
    return expanded(c, c.x, shape)


@operator("tile", "_npi_tile")
def _tile(c: Call) -> str:
    reps, shape = list(c.ints("reps", ())), list(c.shape())
    rank = max(len(reps), len(shape))
    reps, shape = [1] * (rank - len(reps)) + reps, [1] * (rank - len(shape)) + shape
    return c.do("Tile", c.reshape(c.x, shape), np.array(reps, np.int64))


@operator("repeat", "_np_repeat")
def repeat(c: Call) -> str:
    """Each element (or slice along an axis) several times in a row."""
    count = c.integer("repeats")
    x = c.reshape(c.x, [-1]) if c.is_none("axis") else c.x
    axis, shape = 0 if c.is_none("axis") else c.axis("axis", 0), list(c.shape(x))
    apart = c.reshape(x, [*shape[: axis + 1], 1, *shape[axis + 1 :]])
    many = expanded(c, apart, [*shape[: axis + 1], count, *shape[axis + 1 :]])
    return c.reshape(many, [*shape[:axis], shape[axis] * count, *shape[axis + 1 :]])
