"""Parts, joints, repetitions and margins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    aten,
    axis,
    ints,
    narrow,
    promoted,
    reshape,
    tensor,
    unsqueeze,
    unsupported,
)
from compiler.frontends.pytorch.aten.shapes import flatten

_END = 1 << 62


@aten("repeat")
def repeat(b: GraphBuilder, self: Tensor, repeats: Sequence[int]) -> Tensor:
    wider = reshape(b, self, [1] * (len(repeats) - b.rank(self)) + list(b.shape(self)))
    return b.op("Tile", [wider, ints(*repeats)]) if any(r != 1 for r in repeats) else wider


@aten("tile")
def tile(b: GraphBuilder, self: Tensor, dims: Sequence[int]) -> Tensor:
    return repeat(b, self, [1] * (b.rank(self) - len(dims)) + list(dims))


@aten("repeat_interleave")
def repeat_interleave(b: GraphBuilder, self: Tensor, repeats: int | Tensor, dim: int | None = None,
                      output_size: int | None = None) -> Tensor:
    if dim is None:
        self, dim = flatten(b, self), 0
    place = axis(b, self, dim)
    size = b.shape(self)[place]
    counts = b.const(repeats) if isinstance(repeats, str) else np.full(size, repeats)
    if counts is None:
        raise unsupported("numbers of repetitions that depend on data")
    return b.op("Gather", [self, np.repeat(np.arange(size), np.broadcast_to(counts, [size]))], axis=place)


@aten("cat", "concat", "concatenate")
def cat(b: GraphBuilder, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    # a vector without elements joins anything, as torch kept it from older times
    kept = [t for t in tensors if not b.is_static(t) or b.shape(t) != (0,)] or list(tensors[:1])
    parts = promoted(b, *kept)
    return parts[0] if len(parts) == 1 else b.op("Concat", parts, axis=axis(b, parts[0], dim))


@aten("stack")
def stack(b: GraphBuilder, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    place = dim % (b.rank(tensors[0]) + 1)
    return b.op("Concat", [unsqueeze(b, t, place) for t in promoted(b, *tensors)], axis=place)


@aten("slice", "slice_copy")
def sliced(b: GraphBuilder, self: Tensor, dim: int = 0, start: int | None = None, end: int | None = None,
           step: int = 1) -> Tensor:
    return narrow(b, self, axis(b, self, dim), start or 0, _END if end is None else end, step)


@aten("narrow")
def narrowed(b: GraphBuilder, self: Tensor, dim: int, start: int, length: int) -> Tensor:
    place = axis(b, self, dim)
    start = start % b.shape(self)[place] if start < 0 else start
    return narrow(b, self, place, start, start + length)


@aten("select", "select_copy")
def select(b: GraphBuilder, self: Tensor, dim: int, index: int | Tensor) -> Tensor:
    return b.op("Gather", [self, index if isinstance(index, str) else np.int64(index)], axis=axis(b, self, dim))


@aten("unbind", "unbind_copy")
def unbind(b: GraphBuilder, self: Tensor, dim: int = 0) -> list[Tensor]:
    place = axis(b, self, dim)
    return [b.op("Gather", [self, np.int64(k)], axis=place) for k in range(b.shape(self)[place])]


@aten("split", "split_with_sizes", "unsafe_split", "split_copy", "unsafe_split_with_sizes", "split_with_sizes_copy")
def split(b: GraphBuilder, self: Tensor, split_size: int | Sequence[int] = 0, dim: int = 0,
          split_sizes: Sequence[int] | None = None) -> list[Tensor]:
    place = axis(b, self, dim)
    size = b.shape(self)[place]
    if split_sizes is None:
        split_sizes = split_size if not isinstance(split_size, int) else [
            min(split_size, size - k) for k in range(0, size, max(split_size, 1))]
    sizes = list(split_sizes)
    if len(sizes) == 1:
        return [self]
    return b.ops("Split", [self, ints(*sizes)], len(sizes), axis=place)


@aten("chunk", "unsafe_chunk")
def chunk(b: GraphBuilder, self: Tensor, chunks: int, dim: int = 0) -> list[Tensor]:
    size = b.shape(self)[axis(b, self, dim)]
    return split(b, self, -(-size // chunks), dim)


@aten("tensor_split")
def tensor_split(b: GraphBuilder, self: Tensor, sections: int | None = None, dim: int = 0,
                 indices: Sequence[int] | None = None) -> list[Tensor]:
    place = axis(b, self, dim)
    size = b.shape(self)[place]
    if indices is None:
        count = sections or 1
        indices = list(np.cumsum([size // count + (k < size % count) for k in range(count - 1)]))
    cuts = [0, *[int(i) for i in indices], size]
    return [narrow(b, self, place, s, e) for s, e in pairwise(cuts)]


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@aten("pad")
def padded(b: GraphBuilder, self: Tensor, pad: Sequence[int], mode: str = "constant",
           value: float | None = None) -> Tensor:
    rank = b.rank(self)
    before, after = [0] * rank, [0] * rank
    for k in range(len(pad) // 2):
        before[rank - 1 - k], after[rank - 1 - k] = pad[2 * k], pad[2 * k + 1]
    if not any(pad):
        return self
    fill = tensor(b, value or 0, b.dtype(self)) if mode == "constant" else ""
    return b.op("Pad", [self, ints(*before, *after), fill], mode=_MODES[mode])


@aten("constant_pad_nd")
def constant_pad(b: GraphBuilder, self: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    return padded(b, self, pad, "constant", value)


@aten("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflection_pad(b: GraphBuilder, self: Tensor, padding: Sequence[int]) -> Tensor:
    return padded(b, self, padding, "reflect")


@aten("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replication_pad(b: GraphBuilder, self: Tensor, padding: Sequence[int]) -> Tensor:
    return padded(b, self, padding, "replicate")
