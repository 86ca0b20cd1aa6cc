"""One row of a constant on every partition: read many times by a DMA when short, else repeated exactly by the PE."""
from __future__ import annotations

import ml_dtypes
import numpy as np

from compiler.lowering.context import Context
from compiler.lowering.move import psum_view
from isa.lang import View

#: rows at least this long are repeated by the PE: 128 reads of a row by the DMA cost as much as a tile of weights
LONG_ROW = 128
#: a float32 is the exact sum of this many bf16 (24 significant bits, 8 in each) ...
BF16_PARTS = 3
#: ... below this magnitude; beyond, the leading part could round to infinity
LARGEST = 2.0**127


def row_everywhere(ctx: Context, name: str, row: np.ndarray, top: int, dtype: str) -> View:
    """[top, n] in SBUF holding `row` [1, n] (already of type `dtype`) on every partition."""
    tile = ctx.program.sbuf((top, row.shape[1]), dtype, name=name)
    splits = dtype == "fp32" and bool(np.isfinite(row).all()) and float(np.abs(row).max()) < LARGEST
    if splits and row.shape[1] >= LONG_ROW and top > 1:
        _by_pe(ctx, name, row, tile)
    else:
        dram = ctx.constant(f"{name}.row", row)
        ctx.program.dma(tile, dram.ap(0, [0, dram.dtype.size], list(tile.shape)), purpose="load")
    return tile


def bf16_parts(row: np.ndarray) -> np.ndarray:
    """[3, n] bf16 whose sum, taken in order in fp32, is the float32 `row` [n] exactly."""
    parts = np.zeros((BF16_PARTS, row.shape[0]), dtype=ml_dtypes.bfloat16)
    rest = row.astype(np.float64)
    for k in range(BF16_PARTS):
        parts[k] = rest.astype(np.float32).astype(ml_dtypes.bfloat16)
        rest = rest - parts[k].astype(np.float64)
    return parts


def _by_pe(ctx: Context, name: str, row: np.ndarray, tile: View) -> None:
    """Every partition = ones[3, top]^T x the row's bf16 parts, accumulated in order: exact."""
    p = ctx.program
    parts = bf16_parts(row[0])
    moving = p.sbuf(parts.shape, "bf16", name=f"{name}.parts")
    p.dma(moving, ctx.constant(f"{name}.parts", parts), purpose="load")
    ones = p.sbuf((BF16_PARTS, tile.partitions), "bf16", name="ones")
    p.memset(ones, 1.0, engine=ctx.pick(("gpsimd", "vector"), tile.partitions))
    width = ctx.target.psum_bank_bytes // 4
    for lo in range(0, row.shape[1], width):
        hi = min(lo + width, row.shape[1])
        acc = psum_view(ctx, tile.partitions, hi - lo, "row")
        p.load_stationary(ones)
        p.matmul(acc, moving[:, lo:hi], start=True, stop=True)
        p.tensor_copy(tile[:, lo:hi], acc, engine=ctx.pick(("scalar", "vector"), hi - lo))
