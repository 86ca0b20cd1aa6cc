"""Changing which axes are on partitions: products with the identity on the PE, or a pass through DRAM."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from compiler.layout import Atom, F, P, Run, Tensor, runs_of
from compiler.lowering.context import Context
from compiler.lowering.dma import dma_tensor
from compiler.lowering.move import cast, like, move_dma, pointwise, same_partition_axes
from compiler.lowering.spread import BF16_PARTS
from isa.dtypes import dtype as dtype_of
from isa.lang import DramView, View
from isa.word import PARTITIONS

#: tensors with fewer elements are moved element by element: each is a DMA element of tens of ns, a product about a us
FEW = 64
#: products with the identity hold these exactly (bf16 the 8-bit integers)
TRANSPOSED = ("fp32", "tf32", "bf16", "fp16", "int8", "uint8")
#: elements of a partition that rows waiting to be transposed take
MOST_NEAR = 4096
#: planes of a tensor that are transposed one after the other: beyond, the DMA is as fast
MOST_PLANES = 256
#: the largest finite bf16
LARGEST = (2.0 - 2.0**-7) * 2.0**127
#: a factor smaller than this leaves most of the PE idle
SMALL = 16


def relayout(ctx: Context, src: Tensor, p_axes: Sequence[int], dtype: str | None = None) -> Tensor:
    """The tensor with exactly these logical axes on partitions (size-1 axes do not count)."""
    want = tuple(a for a in p_axes if src.shape[a] > 1)
    have = src.p_axes()
    if have == want and src.plain:
        return src if dtype in (None, src.dtype) else cast(ctx, src, dtype or src.dtype)
    pure = all(src.space_of(a) in (P, F, "") for a in range(len(src.shape)))
    single = len(want) == 1 and want[0] not in have and sum(a.size > 1 for a in src.axes[want[0]]) == 1
    exact = src.dtype in ("fp32", "bf16", "fp16", "tf32") and not ctx.by_dma
    if pure and single and exact and runs_of(src.positions()) is not None and len(have) > 0:
        return transpose_pe(ctx, src, want[0], dtype)
    out = ctx.alloc(src.shape, want, dtype or src.dtype, origin=src.origin, name="relayout")
    if same_partition_axes(out, src):
        move_dma(ctx, out, src)
        return out
    if out.dtype != src.dtype:
        src = cast(ctx, src, out.dtype)
    scratch = ctx.scratch("relayout", src.shape, src.dtype)
    dma_tensor(ctx, rows_last(ctx, src), scratch, store=True, purpose="relayout")
    load_rows(ctx, out, scratch, purpose="relayout")
    return out


def load_rows(ctx: Context, out: Tensor, far: DramView, purpose: str = "load") -> None:
    """out = far; where `out` has on partitions what is contiguous in DRAM, rows are loaded and transposed on the PE."""
    inner = next((a for a, step in enumerate(far.steps) if step == far.dtype.size and far.shape[a] > 1), None)
    rows = [a for a in range(len(far.shape)) if a != inner and far.shape[a] > 1]
    dense = out.plain and out.p_axes() == (inner,) and np.array_equal(out.positions(), np.arange(len(out.positions())))
    if inner is None or not rows or not dense or not turns(ctx, out.dtype, prod(out.shape)):
        dma_tensor(ctx, out, far, store=False, purpose=purpose)
        return
    sizes = [far.shape[a] for a in rows]
    if prod(sizes) > PARTITIONS and -(-prod(sizes) // PARTITIONS) * far.shape[inner] > MOST_NEAR:
        axis = max(rows, key=lambda a: far.shape[a])
        for lo, hi in ((0, far.shape[axis] // 2), (far.shape[axis] // 2, far.shape[axis])):
            half = out.slice_axis(axis, lo, hi)
            assert half is not None  # a plain axis is one atom
            load_rows(ctx, half, far[tuple(slice(lo, hi) if a == axis else slice(None) for a in range(len(far.shape)))],
                      purpose)
        return
    pmap = np.arange(prod(sizes), dtype=np.int32).reshape(sizes)
    near = ctx.alloc(far.shape, rows, far.dtype.name, pmap=pmap, name="rows")
    dma_tensor(ctx, near, far, store=False, purpose=purpose)
    transpose_pe(ctx, near, inner, out=out)


def turns(ctx: Context, dtype: str, count: int) -> bool:
    """Whether products with the identity move `count` elements exactly, and faster than one by one."""
    return dtype in TRANSPOSED and not ctx.by_dma and count >= FEW


def _has_fp32(ctx: Context) -> bool:
    return "fp32" in ctx.target.matmul_dtypes


def rows_last(ctx: Context, tensor: Tensor) -> Tensor:
    """The same tensor with its innermost elements free when writing it out element by element would be slow.

    Axes may lie partly on partitions: what is exchanged are the factors of the whole, taken as one row-major list.
    """
    if prod(tensor.shape) < FEW or ctx.by_dma or tensor.dtype not in TRANSPOSED:
        return tensor
    flat = tensor.reshape((prod(tensor.shape),))
    if flat is None or not flat.axes[0]:
        return tensor
    atoms = flat.axes[0]
    apart = replace(flat, axes=tuple((a,) for a in atoms), pmap=flat.pmap, pads={}, origin={})
    if atoms[-1].space == F:
        if atoms[-1].stride == 1:
            return tensor
        out = cast(ctx, apart, tensor.dtype).reshape(tensor.shape)  # every second element, say: side by side
    else:
        best = _best_rows(atoms)
        if best is None:
            return tensor
        if runs_of(apart.positions()) is None:  # a slice of channels
            near = ctx.alloc(apart.shape, apart.p_axes(), apart.dtype, name="dense")
            move_dma(ctx, near, apart)
            apart = near
        out = transpose_pe(ctx, apart, best).reshape(tensor.shape)
    assert out is not None  # the factors of every axis are still there
    return replace(out, origin=tensor.origin)


def _best_rows(atoms: Sequence[Atom]) -> int | None:
    """The free factor to exchange for partitions: long rows of what stays inside, planes that fill the PE."""
    free = [k for k, a in enumerate(atoms) if a.space == F and a.stride]
    best = max(free, key=lambda k: (atoms[k].size >= SMALL, prod(a.size for a in atoms[k + 1 :]), atoms[k].size),
               default=None)
    return best if prod(atoms[k].size for k in free if k != best) <= MOST_PLANES else None


def identity(ctx: Context, dtype: str) -> View:
    """The 128 x 128 identity in SBUF, loaded once."""
    key = ("identity", dtype)
    if key not in ctx.cache:
        eye = np.eye(PARTITIONS, dtype=dtype_of(dtype).numpy)
        tile = ctx.program.sbuf((PARTITIONS, PARTITIONS), dtype, name=f"identity.{dtype}")
        ctx.program.dma(tile, ctx.constant(f"identity.{dtype}", eye), purpose="load")
        ctx.cache[key] = tile
    return ctx.cache[key]


def transpose_pe(
    ctx: Context, src: Tensor, axis: int, dtype: str | None = None, out: Tensor | None = None
) -> Tensor:
    """Bring F axis `axis` to partitions and the present P axes to F, by products with the identity on the PE.

    fp32 that stays fp32 where the PE has none (v1) is the sum of its three bf16 parts, three products instead of one.

    Args:
        out: a tensor with just that axis on partitions, densely; a new one of type `dtype` when absent.
    """
    out_dtype = dtype or src.dtype
    pe = (
        ctx.precision.matmul(src.dtype)
        if src.dtype not in ("fp32", "tf32") or not _has_fp32(ctx)
        else "fp32"
    )
    shape = src.shape
    if src.dtype == "fp32" and pe == "bf16" and (dtype if out is None else out.dtype) != "bf16":
        parts = _bf16_parts(ctx, src)
    else:
        parts = [src if pe == src.dtype else cast(ctx, src, pe)]
    src = parts[0]
    if out is None:
        out = ctx.alloc(shape, (axis,), out_dtype, origin=src.origin, name="transposed")
    eye = identity(ctx, pe)
    atom = next(a for a in src.axes[axis] if a.size > 1)
    others = [i for i in range(len(shape)) if i != axis and src.space_of(i) == F]
    chunks = [(s, min(PARTITIONS, shape[axis] - s)) for s in range(0, shape[axis], PARTITIONS)]
    for index in np.ndindex(*[shape[i] for i in others]):
        near, far = out, parts
        for i, k in sorted(zip(others, index, strict=True), reverse=True):
            near, far = near.index_axis(i, k), [t.index_axis(i, k) for t in far]
        _transpose_plane(ctx, far, near, atom, eye, chunks)
    return out


def _bf16_parts(ctx: Context, src: Tensor) -> list[Tensor]:
    """Three bf16 tensors of one layout, smallest first: their sum, taken in order in fp32, is `src` (fp32, finite)."""
    def leading(dst: View, sources: list[View], n: int) -> None:
        ctx.program.tensor_scalar(dst, sources[0], "max", -LARGEST, "min", LARGEST)  # the mask -3.4e38 rounds to -inf

    def rest(dst: View, sources: list[View], n: int) -> None:
        ctx.program.tensor_tensor(dst, sources[0], sources[1], "subtract")

    parts: list[Tensor] = []
    for _ in range(BF16_PARTS):
        part = like(ctx, src, "bf16", "part")
        pointwise(ctx, part, [src], leading)
        parts.append(part)
        if len(parts) < BF16_PARTS:
            left = like(ctx, src, "fp32", "rest")
            pointwise(ctx, left, [src, part], rest)
            src = left
    return parts[::-1]


def _transpose_plane(
    ctx: Context, parts: Sequence[Tensor], out: Tensor, atom: Atom, eye: View, chunks: list[tuple[int, int]]
) -> None:
    """The sum of the parts (P axes x one F axis, all of one layout) to out: the F axis on P, the P axes along F."""
    runs = [r for (r,) in runs_of(parts[0].positions()) or []]
    strides = _linear_strides([a for axis in out.axes for a in axis if a.space == F])
    per_bank = ctx.target.psum_bank_bytes // 4
    out_pos = out.positions()
    for start, rows in chunks:
        at = 0
        while at < len(runs):
            group = [runs[at]]
            while at + len(group) < len(runs) and sum(r.count for r in group) + runs[at + len(group)].count <= per_bank:
                group.append(runs[at + len(group)])
            at += len(group)
            columns = sum(r.count for r in group)
            psum = ctx.program.psum((rows, columns), "fp32", name="transpose")
            col = 0
            for r in group:
                ident = eye.ap(r.partition, [1], [r.count], partition=r.partition, partitions=r.count)
                for k, part in enumerate(parts):
                    ctx.program.load_stationary(part.view(r, [(rows, atom.stride)], start * atom.stride))
                    ctx.program.matmul(psum[:, col : col + r.count], ident, start=k == 0, stop=k == len(parts) - 1,
                                       transpose=len(parts) == 1)
                col += r.count
            tile, partition = divmod(int(out_pos[start]), PARTITIONS)
            for lo, hi, offset, step in _affine_span(group, strides):
                dst = out.view(Run(0, tile, partition, rows), [(hi - lo, step)], offset)
                engine = ctx.pick(("scalar", "vector"), hi - lo)
                ctx.program.tensor_copy(dst, psum[:, lo:hi], engine=engine)


def _linear_strides(atoms: list[Atom]) -> np.ndarray:
    """Free offset of every linear index over these atoms."""
    offsets = np.zeros((), dtype=np.int64)
    for a in atoms:
        offsets = offsets[..., None] + np.arange(a.size, dtype=np.int64) * a.stride
    return offsets.reshape(-1)


def _affine_span(group: list[Run], offsets: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Column ranges of one PSUM tile whose destinations are affine: (from, to, offset, step)."""
    where = np.concatenate([offsets[r.first : r.first + r.count] for r in group])
    out, lo = [], 0
    n = len(where)
    while lo < n:
        hi = lo + 1
        step = int(where[hi] - where[lo]) if hi < n else 1
        while hi < n and int(where[hi] - where[hi - 1]) == step:
            hi += 1
        out.append((lo, hi, int(where[lo]), step))
        lo = hi
    return out
