"""From two views to DMA descriptors: one iteration space, at most four dimensions each. Not responsible for queues."""

from __future__ import annotations

from itertools import product
from math import prod

from isa.lang.axes import Ints, common_walk, merge
from isa.lang.errors import LangError
from isa.lang.instr import Copy
from isa.lang.views import DramView, View
from isa.word import DMA_ADD, DMA_CAST, DMA_COPY, DMA_GATHER, DMA_SCATTER, PSUM, SBUF_PARTITION_STRIDE

Side = View | DramView
MAX_DIMS = 4  # of a descriptor; isa.word.DESCRIPTOR
MAX_DESCRIPTORS = 65535  # of a transfer; the `count` field of a word has 16 bits

# types whose bytes mean the same: no conversion on the way
_SAME_BYTES = {("bool", "uint8"), ("uint8", "bool"), ("tf32", "fp32")}


def side(view: Side) -> tuple[int, Ints, Ints]:
    """(byte offset, sizes, byte steps) of one side; partitions are the outermost dimension of an on-chip side."""
    if isinstance(view, DramView):
        return view.offset, view.shape, view.steps
    if view.tile.space == PSUM:
        raise LangError(f"{view!r}: DMA does not reach PSUM", code="LANG_MEMORY", help="copy to an SBUF tile first")
    lo, hi = view.extent()
    if lo < 0 or hi > view.tile.bytes:
        raise LangError(f"{view!r} leaves its tile", code="LANG_BOUNDS", limit=view.tile.bytes, actual=f"{lo}..{hi}")
    width = view.dtype.size
    steps = (SBUF_PARTITION_STRIDE, *(s * width for s in view.steps))
    return view.partition * SBUF_PARTITION_STRIDE + view.start, view.shape, steps


def copy_op(dst: Side, src: Side, accumulate: bool) -> int:
    """Descriptor operation of dst = src, or of dst += src."""
    if accumulate:
        return DMA_ADD
    a, b = src.dtype.name, dst.dtype.name
    return DMA_COPY if a == b or (a, b) in _SAME_BYTES else DMA_CAST


def copies(dst: Side, src: Side, op: int) -> list[Copy]:
    """Descriptors of dst = src. Raises: LangError when the element counts differ or more descriptors are needed than
    fit."""
    dst_off, dst_sizes, dst_steps = side(dst)
    src_off, src_sizes, src_steps = side(src)
    if prod(dst_sizes) != prod(src_sizes):
        raise LangError(
            f"a transfer of {src_sizes} into {dst_sizes}: element counts differ",
            code="LANG_SHAPE",
            limit=prod(dst_sizes),
            actual=prod(src_sizes),
        )
    sizes, steps_d, steps_s = common_walk((dst_sizes, dst_steps), (src_sizes, src_steps))
    return _unrolled(op, dst, src, dst_off, src_off, sizes, steps_d, steps_s)


def _unrolled(
    op: int,
    dst: Side,
    src: Side,
    dst_off: int,
    src_off: int,
    sizes: list[int],
    dst_steps: list[int],
    src_steps: list[int],
) -> list[Copy]:
    loops: list[tuple[int, int, int]] = []
    while len(sizes) > MAX_DIMS:  # the smallest dimension but the innermost becomes a loop over descriptors
        k = min(range(len(sizes) - 1), key=lambda i: sizes[i])
        loops.append((sizes.pop(k), dst_steps.pop(k), src_steps.pop(k)))
    total = prod(n for n, _, _ in loops)
    if total > MAX_DESCRIPTORS:
        raise LangError(
            "a transfer needs more descriptors than one dma_trigger can start",
            code="LANG_DMA",
            limit=MAX_DESCRIPTORS,
            actual=total,
            help="cut it into several transfers",
        )
    shape = tuple(sizes), tuple(dst_steps), tuple(src_steps)
    out = []
    for at in product(*(range(n) for n, _, _ in loops)):
        d = dst_off + sum(i * loop[1] for i, loop in zip(at, loops))
        s = src_off + sum(i * loop[2] for i, loop in zip(at, loops))
        out.append(Copy(op, dst, src, d, s, *shape))
    return out


def indexed(dst: Side, src: Side, index: View, limit: int, op: int) -> list[Copy]:
    """The descriptor of dst[i] = src[index[i]] (gather) or dst[index[i]] = src[i] (scatter), i along dimension 0.

    index: [n, 1] or [1, n] int32 in SBUF; dimension 0 of the other side has n steps; `limit` rows are addressable.
    """
    if index.dtype.name not in ("int32", "uint32"):
        raise LangError(f"{index!r}: indices are int32", code="LANG_DTYPE", limit="int32", actual=index.dtype.name)
    plain, rows = (dst, src) if op == DMA_GATHER else (src, dst)
    n = plain.shape[0]
    _, index_sizes, index_steps = side(index)
    merged = merge(index_sizes, index_steps)
    if prod(index_sizes) != n or len(merged[0]) > 1:
        raise LangError(
            f"{index!r}: needs one index for each of the {n} rows, evenly spaced",
            code="LANG_SHAPE",
            limit=n,
            actual=prod(index_sizes),
        )
    if prod(plain.shape[1:]) != prod(rows.shape[1:]):
        raise LangError(f"rows of {rows.shape[1:]} do not fill {plain.shape[1:]}", code="LANG_SHAPE")
    if not 0 < limit <= rows.shape[0]:
        raise LangError("index limit outside the rows", code="LANG_SHAPE", limit=rows.shape[0], actual=limit)
    dst_off, dst_sizes, dst_steps = side(dst)
    src_off, src_sizes, src_steps = side(src)
    sizes, steps_d, steps_s = common_walk((dst_sizes[1:], dst_steps[1:]), (src_sizes[1:], src_steps[1:]))
    step = merged[1][0] if merged[1] else 4
    out = []
    for d, s, z, zd, zs in _unrolled_rows(sizes, steps_d, steps_s):
        pad = MAX_DIMS - 1 - len(z)  # the indexed dimension is dimension 0: unused ones stand behind it
        shape = (n, *(1,) * pad, *z), (dst_steps[0], *(0,) * pad, *zd), (src_steps[0], *(0,) * pad, *zs)
        out.append(Copy(op, dst, src, dst_off + d, src_off + s, *shape, index, step, limit))
    return out


def _unrolled_rows(
    sizes: list[int], dst_steps: list[int], src_steps: list[int]
) -> list[tuple[int, int, Ints, Ints, Ints]]:
    """Cut the dimensions of one row so that three remain beside the indexed one."""
    out: list[tuple[int, int, Ints, Ints, Ints]] = []
    extra = max(0, len(sizes) - (MAX_DIMS - 1))
    for at in product(*(range(n) for n in sizes[:extra])):
        d = sum(i * s for i, s in zip(at, dst_steps))
        s = sum(i * s for i, s in zip(at, src_steps))
        out.append((d, s, tuple(sizes[extra:]), tuple(dst_steps[extra:]), tuple(src_steps[extra:])))
    return out


__all__ = ["DMA_GATHER", "DMA_SCATTER", "copies", "copy_op", "indexed", "side"]
