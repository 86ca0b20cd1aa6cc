"""Changing which axes are on partitions: products with the identity on the PE, or a pass through DRAM."""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from compiler.layout import Atom, F, P, Run, Tensor, runs_of
from compiler.lowering.context import Context
from compiler.lowering.move import cast, move_dma
from isa.dtypes import dtype as dtype_of
from isa.lang import View
from isa.word import PARTITIONS


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
    move_dma(ctx, out, src)
    return out


def rows_last(ctx: Context, tensor: Tensor) -> Tensor:
    """The same tensor with its last axis free when writing it out element by element would be slow."""
    last = next((a for a in reversed(range(len(tensor.shape))) if tensor.shape[a] > 1), None)
    if last is None or tensor.space_of(last) != P or prod(tensor.shape) < 4096 or ctx.by_dma:
        return tensor
    lead = [a for a in range(last) if tensor.shape[a] > 1 and tensor.space_of(a) == F and len(tensor.axes[a]) == 1]
    if not lead:
        return tensor
    return transpose_pe(ctx, tensor, max(lead, key=lambda a: min(tensor.shape[a], PARTITIONS)))


def identity(ctx: Context, dtype: str) -> View:
    """The 128 x 128 identity in SBUF, loaded once."""
    key = ("identity", dtype)
    if key not in ctx.cache:
        eye = np.eye(PARTITIONS, dtype=dtype_of(dtype).numpy)
        tile = ctx.program.sbuf((PARTITIONS, PARTITIONS), dtype, name=f"identity.{dtype}")
        ctx.program.dma(tile, ctx.constant(f"identity.{dtype}", eye), purpose="load")
        ctx.cache[key] = tile
    return ctx.cache[key]


def transpose_pe(ctx: Context, src: Tensor, axis: int, dtype: str | None = None) -> Tensor:
    """Bring F axis `axis` to partitions and the present P axes to F, by products with the identity on the PE.

    The result is exact except where the PE cannot multiply the source's type (fp32 on v1: rounded to bf16, the
    documented fast relayout of that generation).
    """
    out_dtype = dtype or src.dtype
    pe = (
        ctx.precision.matmul(src.dtype)
        if src.dtype not in ("fp32", "tf32") or "fp32" not in ctx.target.matmul_dtypes
        else "fp32"
    )
    if pe != src.dtype:
        src = cast(ctx, src, pe)
    shape = src.shape
    out = ctx.alloc(shape, (axis,), out_dtype, origin=src.origin, name="transposed")
    eye = identity(ctx, pe)
    atom = next(a for a in src.axes[axis] if a.size > 1)
    others = [i for i in range(len(shape)) if i != axis and src.space_of(i) == F]
    chunks = [(s, min(PARTITIONS, shape[axis] - s)) for s in range(0, shape[axis], PARTITIONS)]
    for index in np.ndindex(*[shape[i] for i in others]):
        far, near = src, out
        for i, k in sorted(zip(others, index, strict=True), reverse=True):
            far, near = far.index_axis(i, k), near.index_axis(i, k)
        _transpose_plane(ctx, far, near, atom, eye, chunks)
    return out


def _transpose_plane(
    ctx: Context, src: Tensor, out: Tensor, atom: Atom, eye: View, chunks: list[tuple[int, int]]
) -> None:
    """src: P axes x one F axis; out: the F axis on P, the P axes along F in logical order."""
    runs = [r for (r,) in runs_of(src.positions()) or []]
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
                ctx.program.load_stationary(src.view(r, [(rows, atom.stride)], start * atom.stride))
                ident = eye.ap(r.partition, [1], [r.count], partition=r.partition, partitions=r.count)
                ctx.program.matmul(psum[:, col : col + r.count], ident, start=True, stop=True, transpose=True)
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
