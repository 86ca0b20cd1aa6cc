"""Products of an image's channels with a constant matrix on the PE, where result and source share positions."""
from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from compiler.layout import F, Run, Tensor, align_dims, blocks
from compiler.lowering.context import Context
from compiler.lowering.conv_plan import Strip, out_runs, strips
from compiler.lowering.move import psum_view
from compiler.lowering.stationary import Block, Stationary
from isa.lang import View

#: (accumulator, views of the tensors beside it, elements)
Finish = Callable[[View, list[View], int], None]


def mix_channels(
    ctx: Context, name: str, matrix: np.ndarray, source: Tensor, beside: list[Tensor], finish: Finish
) -> None:
    """acc[c] = sum over k of matrix[k, c] * source[:, k], handed to `finish` block by block with views of `beside`.

    `matrix` is [channels, channels]. `source` is [N, channels, ...] of a type the PE multiplies, with axis 1 on
    partitions; the tensors in `beside` have its shape and positions.
    """
    places = strips(source)
    made, plan = _blocks(places, matrix)
    key = (name, "mix", source.dtype, source.positions().tobytes(), matrix.tobytes())
    if key not in ctx.cache:
        ctx.cache[key] = Stationary(ctx, name, made, source.dtype)
    stationary: Stationary = ctx.cache[key]
    for strip, row in zip(places, plan, strict=True):
        _sums(ctx, strip, [(k, places[i]) for k, i in row], source, beside, stationary, finish)


def _blocks(places: list[Strip], matrix: np.ndarray) -> tuple[list[Block], list[list[tuple[int, int]]]]:
    """Blocks of the matrix that hold anything, and per strip of the result the (block, strip of the source)."""
    made: list[Block] = []
    plan: list[list[tuple[int, int]]] = []
    for strip in places:
        row = []
        for i, source in enumerate(places):
            ci, co = source.channels[:, None], strip.channels[None, :]
            block = np.where((ci >= 0) & (co >= 0), matrix[np.maximum(ci, 0), np.maximum(co, 0)], 0)
            if block.any():
                row.append((len(made), i))
                made.append(Block(source.lo, block.astype(np.float32)))
        plan.append(row)
    return made, plan


def _sums(
    ctx: Context, strip: Strip, row: list[tuple[int, Strip]], source: Tensor, beside: list[Tensor],
    stationary: Stationary, finish: Finish,
) -> None:
    """One strip of the result, block by block."""
    p = ctx.program
    lists = align_dims(
        [[(a.size, a.stride) for axis in t.axes for a in axis if a.space == F] for t in (source, *beside)]
    )
    for offsets, dims in blocks(lists, 4, ctx.target.psum_bank_bytes // 4):
        n = prod(s for s, _ in dims[0])
        acc = psum_view(ctx, strip.hi, n)
        for k, (number, place) in enumerate(row):
            p.load_stationary(stationary.view(number))
            moving = source.view(Run(0, place.tile, place.lo, place.hi - place.lo), dims[0], offsets[0])
            p.matmul(acc[strip.lo : strip.hi], moving, start=k == 0, stop=k == len(row) - 1)
        for partition, count in out_runs(strip):
            run = Run(0, strip.tile, partition, count)
            views = [t.view(run, d, o) for t, d, o in zip(beside, dims[1:], offsets[1:], strict=True)]
            finish(acc[partition : partition + count], views, n)
