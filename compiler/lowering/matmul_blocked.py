"""Products of two matrices that are both in DRAM and too large to hold: blocked, with the transposes of A on the PE.

A block of rows of A is brought on chip, transposed tile by tile and kept; columns of B stream past it. While one block
is multiplied, the transposes of the next are interleaved evenly, so that neither the PE nor the DMA waits for the
change of block. PSUM holds the whole column of partial sums of a block (one bank per 128 rows), so every B tile is read
once per block.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.ir import Node
from compiler.layout import Run
from compiler.lowering.context import Context
from compiler.lowering.epilogue import Epilogue, Step
from compiler.lowering.transpose import identity
from isa.dtypes import dtype as dtype_of
from isa.lang import DramView, View
from isa.word import PARTITIONS

#: shares of SBUF for two blocks of A transposed, and for the resident columns of B
A_SHARE, B_SHARE = 0.5, 0.34
#: PSUM banks left for transposes and for draining
SPARE_BANKS = 2
#: contiguous elements of A per DMA row: 2 KiB of 16-bit data, near the DMA's peak (nki-dma-bandwidth-guide.rst)
STAGE_COLUMNS = 1024


@dataclass(frozen=True)
class Shape:
    """Sizes of one product and of its blocks, in elements (tiles of 128 where it says tiles)."""

    m: int
    k: int
    n: int
    k_tiles: int
    block_tiles: int  # row tiles of A per block
    strip: int  # columns of B resident at a time
    width: int  # columns per PSUM bank


def blocked_shape(ctx: Context, node: Node) -> Shape | None:
    """How to block this product, None when it is not one for this lowering."""
    a, b = node.inputs[:2]
    in_dram = all(x in ctx.dram and x not in ctx.tensors for x in (a, b))
    if not in_dram or len(ctx.shape(a)) != 2 or len(ctx.shape(b)) != 2:
        return None
    if any(step[0] in ("add", "bias") for step in node.attrs.get("epilogue", ())):
        return None
    pe = ctx.precision.matmul(ctx.storage(a))
    if pe != ctx.storage(a) or pe != ctx.storage(b):
        return None
    (m, k), n = ctx.shape(a), ctx.shape(b)[1]
    size, sbuf = dtype_of(pe).size, ctx.target.sbuf_partition_bytes
    k_tiles = -(-k // PARTITIONS)
    if k_tiles * (-(-m // PARTITIONS) * PARTITIONS + n) * size < sbuf // 2:
        return None
    width = ctx.target.psum_bank_bytes // 4
    most = min(int(A_SHARE * sbuf) // (2 * k_tiles * PARTITIONS * size), ctx.target.psum_banks - SPARE_BANKS)
    if most < 1:
        return None
    strip = max(width, int(B_SHARE * sbuf) // (k_tiles * size) // width * width)
    return Shape(m, k, n, k_tiles, most, min(strip, 2 * width), width)


def lower_blocked(ctx: Context, node: Node, shape: Shape) -> None:
    """C[m, n] = A[m, k] x B[k, n], all in DRAM."""
    name = node.output
    a, b = ctx.dram[node.inputs[0]], ctx.dram[node.inputs[1]]
    out = ctx.outputs.get(name)
    if out is None or out.dtype.name != ctx.storage(name):
        out = ctx.scratch(name, ctx.shape(name), ctx.storage(name))
    ctx.dram[name] = out
    tail = _tail(ctx, node)
    tiles = -(-shape.m // PARTITIONS)
    blocks = -(-tiles // shape.block_tiles)
    cuts = [(tiles * i // blocks, tiles * (i + 1) // blocks) for i in range(blocks)]
    current: dict[int, View] = {}
    for _ in _transposes(ctx, a, shape, cuts[0], current):
        pass
    for i, cut in enumerate(cuts):
        following: dict[int, View] = {}
        jobs = _transposes(ctx, a, shape, cuts[i + 1], following) if i + 1 < blocks else iter(())
        count = _job_count(shape, cuts[i + 1]) if i + 1 < blocks else 0
        _multiply(ctx, b, out, shape, cut, current, jobs, count, tail)
        current = following


def _tail(ctx: Context, node: Node) -> Epilogue:
    steps = [
        Step("act", func=s[1], slope=float((s[2] or {}).get("alpha", 0.0)))
        for s in node.attrs.get("epilogue", ())
        if s[0] == "act"
    ]
    return Epilogue(ctx, steps or [Step("act")])


def _job_count(shape: Shape, cut: tuple[int, int]) -> int:
    return (cut[1] - cut[0]) * -(-shape.k // STAGE_COLUMNS)


def _transposes(ctx: Context, a: DramView, shape: Shape, cut: tuple[int, int], out: dict[int, View]) -> Iterator[None]:
    """Fill `out` (k tile -> [k rows, block columns]); a step transposes 128 rows x STAGE_COLUMNS of A."""
    p = ctx.program
    dtype = a.dtype.name
    eye = identity(ctx, dtype)
    columns = min(cut[1] * PARTITIONS, shape.m) - cut[0] * PARTITIONS
    for k in range(shape.k_tiles):
        out[k] = p.sbuf((min(PARTITIONS, shape.k - k * PARTITIONS), columns), dtype, name=f"A.T{k}")
    per_bank = ctx.target.psum_bank_bytes // 4 // PARTITIONS
    for first in range(0, shape.k, STAGE_COLUMNS):
        for tile in range(*cut):
            r0, r1 = tile * PARTITIONS, min((tile + 1) * PARTITIONS, shape.m)
            c1 = min(first + STAGE_COLUMNS, shape.k)
            raw = p.sbuf((r1 - r0, c1 - first), dtype, name="A.rows")
            p.dma(raw, a[r0:r1, first:c1], purpose="load")
            at = (tile - cut[0]) * PARTITIONS
            numbers = list(range(first // PARTITIONS, -(-c1 // PARTITIONS)))
            for lo in range(0, len(numbers), per_bank):
                _transpose_group(ctx, raw, eye, numbers[lo : lo + per_bank], first, at, out)
            yield


def _transpose_group(
    ctx: Context, raw: View, eye: View, numbers: list[int], first: int, at: int, out: dict[int, View]
) -> None:
    p = ctx.program
    rows = raw.partitions
    bank = p.psum((PARTITIONS, len(numbers) * PARTITIONS), "fp32", name="transpose")
    with p.purpose("transpose"):
        for j, k in enumerate(numbers):
            depth = out[k].partitions
            start = k * PARTITIONS - first
            p.load_stationary(raw[:, start : start + depth])
            p.matmul(bank[:depth, j * PARTITIONS : j * PARTITIONS + rows], eye[:rows, :rows], transpose=True)
        for j, k in enumerate(numbers):
            depth = out[k].partitions
            part = bank[:depth, j * PARTITIONS : j * PARTITIONS + rows]
            p.tensor_copy(out[k][:, at : at + rows], part, engine=ctx.pick(("scalar", "vector"), rows))


def _multiply(
    ctx: Context,
    b: DramView,
    out: DramView,
    shape: Shape,
    cut: tuple[int, int],
    at: dict[int, View],
    jobs: Iterator[None],
    count: int,
    tail: Epilogue,
) -> None:
    """All columns of B against one block, with `count` interleaved jobs spread evenly over the products."""
    p = ctx.program
    total = (
        sum(-(-min(shape.strip, shape.n - s) // shape.width) for s in range(0, shape.n, shape.strip)) * shape.k_tiles
    )
    done = steps = 0
    for first in range(0, shape.n, shape.strip):
        columns = min(shape.strip, shape.n - first)
        held: dict[int, View] = {}
        results = [
            p.sbuf((min(PARTITIONS, shape.m - t * PARTITIONS), columns), out.dtype.name, name="C") for t in range(*cut)
        ]
        for lo in range(0, columns, shape.width):
            hi = min(lo + shape.width, columns)
            banks = [p.psum((r.partitions, hi - lo), "fp32", name="acc") for r in results]
            for k in range(shape.k_tiles):
                if k not in held:
                    rows = at[k].partitions
                    held[k] = p.sbuf((rows, columns), b.dtype.name, name="B")
                    r0 = k * PARTITIONS
                    p.dma(held[k], b[r0 : r0 + rows, first : first + columns], purpose="load")
                for t, bank in enumerate(banks):
                    m0 = t * PARTITIONS
                    p.load_stationary(at[k][:, m0 : m0 + bank.partitions])
                    p.matmul(bank, held[k][:, lo:hi], start=k == 0, stop=k == shape.k_tiles - 1)
                steps += 1
                while done < count and done * total < steps * count:
                    next(jobs)
                    done += 1
            for bank, result in zip(banks, results, strict=True):
                tail.apply(bank, result[:, lo:hi], Run(0, 0, 0, bank.partitions), {}, hi - lo)
        for t, result in zip(range(*cut), results, strict=True):
            r0 = t * PARTITIONS
            p.dma(out[r0 : r0 + result.partitions, first : first + columns], result, purpose="store")
