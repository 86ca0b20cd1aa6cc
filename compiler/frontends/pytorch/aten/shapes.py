"""Operators that only move elements: other shapes, orders, parts and joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    aten,
    axes,
    axis,
    expand,
    ints,
    narrow,
    pair,
    permute,
    reshape,
    squeeze,
    tensor,
    unsqueeze,
    unsupported,
)

_END = 1 << 62


@aten("view", "reshape", "_unsafe_view", "_reshape_alias", "view_copy")
def view(b: GraphBuilder, self: Tensor, size: Sequence[int] | None = None, shape: Sequence[int] | None = None,
         dtype: Any = None, stride: Any = None) -> Tensor:
    if dtype is not None:
        raise unsupported("a view of the same bytes as another element type", dtype.name)
    wanted = list(size if size is not None else shape or ())
    if not b.is_static(self):
        return b.op("Reshape", [self, ints(*wanted)])
    if -1 in wanted:
        known = int(np.prod([d for d in wanted if d != -1]))
        wanted[wanted.index(-1)] = int(np.prod(b.shape(self))) // known if known else 0
    return reshape(b, self, wanted)


@aten("view_as", "reshape_as")
def view_as(b: GraphBuilder, self: Tensor, other: Tensor) -> Tensor:
    return reshape(b, self, b.shape(other))


@aten("flatten")
def flatten(b: GraphBuilder, self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    shape = b.shape(self)
    if not shape:
        return reshape(b, self, [1])
    start, end = axis(b, self, start_dim), axis(b, self, end_dim)
    return reshape(b, self, [*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :]])


@aten("ravel")
def ravel(b: GraphBuilder, self: Tensor) -> Tensor:
    return flatten(b, self)


@aten("unflatten")
def unflatten(b: GraphBuilder, self: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    shape, place = b.shape(self), axis(b, self, dim)
    return view(b, self, [*shape[:place], *sizes, *shape[place + 1 :]])


@aten("squeeze", "squeeze_copy")
def squeezed(b: GraphBuilder, self: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    shape = b.shape(self)
    places = range(len(shape)) if dim is None else axes(b, self, dim) if shape else ()
    return squeeze(b, self, *[p for p in places if shape[p] == 1])


@aten("unsqueeze", "unsqueeze_copy")
def unsqueezed(b: GraphBuilder, self: Tensor, dim: int) -> Tensor:
    return unsqueeze(b, self, dim % (b.rank(self) + 1))


@aten("permute", "permute_copy")
def permuted(b: GraphBuilder, self: Tensor, dims: Sequence[int]) -> Tensor:
    return permute(b, self, axes(b, self, dims) if dims else [])


@aten("transpose", "swapaxes", "swapdims", "transpose_copy")
def transpose(b: GraphBuilder, self: Tensor, dim0: int | None = None, dim1: int | None = None,
              axis0: int | None = None, axis1: int | None = None) -> Tensor:
    if not b.rank(self):
        return self
    one = axis(b, self, dim0 if dim0 is not None else axis0 or 0)
    other = axis(b, self, dim1 if dim1 is not None else axis1 or 0)
    order = list(range(b.rank(self)))
    order[one], order[other] = other, one
    return permute(b, self, order)


@aten("t", "mT", "matrix_H", "adjoint", "t_copy")
def matrix_transpose(b: GraphBuilder, self: Tensor) -> Tensor:
    return transpose(b, self, -2, -1) if b.rank(self) > 1 else self


@aten("numpy_T")
def reversed_dims(b: GraphBuilder, self: Tensor) -> Tensor:
    return permute(b, self, list(range(b.rank(self)))[::-1])


@aten("movedim", "moveaxis")
def movedim(b: GraphBuilder, self: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    origin, goal = axes(b, self, source), axes(b, self, destination)
    rest = [d for d in range(b.rank(self)) if d not in origin]
    order = dict(zip(goal, origin))
    return permute(b, self, [order[d] if d in order else rest.pop(0) for d in range(b.rank(self))])


@aten("expand", "broadcast_to", "expand_copy")
def expanded(b: GraphBuilder, self: Tensor, size: Sequence[int], implicit: bool = False) -> Tensor:
    shape = b.shape(self)
    given = [1] * (len(size) - len(shape)) + list(shape)
    return expand(b, self, [g if s == -1 else s for g, s in zip(given, size)])


@aten("expand_as")
def expand_as(b: GraphBuilder, self: Tensor, other: Tensor) -> Tensor:
    return expanded(b, self, b.shape(other))


@aten("broadcast_tensors")
def broadcast_tensors(b: GraphBuilder, tensors: Sequence[Tensor]) -> list[Tensor]:
    shape = np.broadcast_shapes(*[b.shape(t) for t in tensors])
    return [expand(b, t, shape) for t in tensors]


@aten("flip")
def flip(b: GraphBuilder, self: Tensor, dims: Sequence[int]) -> Tensor:
    places = axes(b, self, dims)
    count = len(places)
    return b.op("Slice", [self, ints(*[-1] * count), ints(*[-_END] * count), ints(*places), ints(*[-1] * count)])


@aten("roll")
def roll(b: GraphBuilder, self: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Tensor:
    if not isinstance(dims, int) and not dims:
        return reshape(b, roll(b, flatten(b, self), shifts, 0), b.shape(self))
    places = axes(b, self, dims)
    for place, shift in zip(places, pair(shifts, len(places))):
        size = b.shape(self)[place]
        cut = -shift % size if size else 0
        if cut:
            self = b.op("Concat", [narrow(b, self, place, cut, size), narrow(b, self, place, 0, cut)], axis=place)
    return self


@aten("rot90")
def rot90(b: GraphBuilder, self: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    one, other = axes(b, self, dims)
    turns = k % 4
    if turns == 2:
        return flip(b, self, [one, other])
    if turns == 1:
        return flip(b, transpose(b, self, one, other), [one])
    return transpose(b, flip(b, self, [one]), one, other) if turns else self


@aten("pixel_shuffle")
def pixel_shuffle(b: GraphBuilder, self: Tensor, upscale_factor: int) -> Tensor:
    *rest, channels, height, width = b.shape(self)
    x = reshape(b, self, [int(np.prod(rest)), channels, height, width])
    x = b.op("DepthToSpace", [x], blocksize=upscale_factor, mode="CRD")
    return reshape(b, x, [*rest, *b.shape(x)[1:]])


@aten("pixel_unshuffle")
def pixel_unshuffle(b: GraphBuilder, self: Tensor, downscale_factor: int) -> Tensor:
    *rest, channels, height, width = b.shape(self)
    r, n = downscale_factor, int(np.prod(rest))
    x = reshape(b, self, [n, channels, height // r, r, width // r, r])
    return reshape(b, permute(b, x, [0, 1, 3, 5, 2, 4]), [*rest, channels * r * r, height // r, width // r])


@aten("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(b: GraphBuilder, self: Tensor, groups: int) -> Tensor:
    n, c, *rest = b.shape(self)
    x = reshape(b, self, [n, groups, c // groups, *rest])
    return reshape(b, permute(b, x, [0, 2, 1, *range(3, 3 + len(rest))]), [n, c, *rest])


@aten("unfold")
def unfold(b: GraphBuilder, self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of one dimension, in a last dimension of their own."""
    rank, place = b.rank(self), axis(b, self, dimension)
    length = b.shape(self)[place]
    starts = np.arange(0, length - size + 1, step)
    found = b.op("Gather", [self, starts[:, None] + np.arange(size)], axis=place)
    return permute(b, found, [d for d in range(rank + 1) if d != place + 1] + [place + 1])


@aten("tril")
def tril(b: GraphBuilder, self: Tensor, diagonal: int = 0) -> Tensor:
    return b.op("Trilu", [self, np.int64(diagonal)], upper=0)


@aten("triu")
def triu(b: GraphBuilder, self: Tensor, diagonal: int = 0) -> Tensor:
    return b.op("Trilu", [self, np.int64(diagonal)], upper=1)


@aten("diagonal", "diagonal_copy", "linalg_diagonal")
def diagonal(b: GraphBuilder, self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    one, other = axis(b, self, dim1), axis(b, self, dim2)
    shape = b.shape(self)
    rest = [d for d in range(len(shape)) if d not in (one, other)]
    x = permute(b, self, [*rest, one, other])
    rows, columns = shape[one], shape[other]
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    places = (np.arange(count) + max(-offset, 0)) * columns + np.arange(count) + max(offset, 0)
    return b.op("Gather", [reshape(b, x, [*[shape[d] for d in rest], rows * columns]), places], axis=len(rest))


@aten("diag_embed")
def diag_embed(b: GraphBuilder, self: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    if (offset, dim1, dim2) != (0, -2, -1):
        raise unsupported("diagonals beside the main one of the last two dimensions", (offset, dim1, dim2))
    size = b.shape(self)[-1]
    return b.op("Where", [np.eye(size, dtype=bool), unsqueeze(b, self, b.rank(self)), tensor(b, 0, b.dtype(self))])


@aten("meshgrid")
def meshgrid(b: GraphBuilder, tensors: Sequence[Tensor], indexing: str = "ij") -> list[Tensor]:
    sizes = [int(np.prod(b.shape(t))) for t in tensors]
    found = []
    for place, value in enumerate(tensors):
        column = [1] * len(sizes)
        column[place] = sizes[place]
        wide = expand(b, reshape(b, value, column), sizes)
        found.append(transpose(b, wide, 0, 1) if indexing == "xy" and len(sizes) > 1 else wide)
    return found
