"""Local response normalisation: the window over channels is a band matrix on the PE."""
from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import F, Run, Tensor, align_dims, blocks
from compiler.lowering.context import Context
from compiler.lowering.conv_plan import Strip, out_runs, strips
from compiler.lowering.move import addressable, apply, copy, like, psum_view
from compiler.lowering.operand import result
from compiler.lowering.stationary import Block, Stationary
from compiler.lowering.transpose import relayout
from isa.lang import View


def lower_lrn(ctx: Context, node: Node) -> None:
    """y = x * (bias + alpha / size * sum of squares over `size` neighbouring channels) ^ -beta."""
    name = node.output
    box = ctx.windows.get(name, {})
    x = ctx.part(node.inputs[0], box)
    x = addressable(ctx, relayout(ctx, x, (1,)))
    size, alpha = int(node.attrs["size"]), float(node.attrs.get("alpha", 1e-4))
    beta, bias = float(node.attrs.get("beta", 0.75)), float(node.attrs.get("bias", 1.0))
    pe = ctx.precision.matmul("fp32")
    squares = like(ctx, x, pe, "squares")
    p = ctx.program

    def square(dst: View, src: list[View], n: int) -> None:
        ctx.charge("scalar", n / ctx.target.engines["scalar"].clock_ghz)
        p.activation(dst, src[0], "square")

    apply(ctx, squares, [x], square)
    out = result(ctx, name, x)
    beside = np.array_equal(out.positions(), x.positions())
    target = out if beside else like(ctx, x, out.dtype, "lrn")
    outs = strips(target)
    made, plan = _band(strips(squares), outs, x.shape[1], size)
    key = (node.name, "band", pe, x.positions().tobytes())
    if key not in ctx.cache:
        ctx.cache[key] = Stationary(ctx, node.name, made, pe)
    stationary: Stationary = ctx.cache[key]

    def finish(acc: View, dst: View, source: View, n: int) -> None:
        factor = p.sbuf((dst.partition + dst.partitions, n), "fp32", name="lrn")[dst.partition :]
        p.tensor_scalar(factor, acc, "mult", alpha / size, "add", bias)
        p.tensor_scalar(factor, factor, "power", -beta, engine=ctx.pick(("vector",), n))
        p.tensor_tensor(dst, factor, source, "mult")

    for strip, row in zip(outs, plan, strict=True):
        _sums(ctx, strip, row, squares, x, target, stationary, finish)
    if not beside:
        copy(ctx, out, target)
    ctx.tensors[name] = out


def _band(
    ins: list[Strip], outs: list[Strip], channels: int, size: int
) -> tuple[list[Block], list[list[tuple[int, int]]]]:
    """Blocks of the band matrix of ones, and per output strip the (block, input strip) that have any."""
    before, after = (size - 1) // 2, size // 2
    band = np.zeros((channels, channels), dtype=np.float32)
    for c in range(channels):
        band[max(0, c - before) : min(channels, c + after + 1), c] = 1.0
    made: list[Block] = []
    plan: list[list[tuple[int, int]]] = []
    for strip in outs:
        row = []
        for i, source in enumerate(ins):
            ci, co = source.channels[:, None], strip.channels[None, :]
            block = np.where((ci >= 0) & (co >= 0), band[np.maximum(ci, 0), np.maximum(co, 0)], 0)
            if block.any():
                row.append((len(made), i))
                made.append(Block(source.lo, block.astype(np.float32)))
        plan.append(row)
    return made, plan


def _sums(
    ctx: Context, strip: Strip, row: list[tuple[int, int]], squares: Tensor, x: Tensor, out: Tensor,
    stationary: Stationary, finish: Callable[[View, View, View, int], None],
) -> None:
    """Sums over neighbouring channels for one strip, block by block; all tensors are at the same positions."""
    p, ins = ctx.program, strips(squares)
    lists = align_dims(
        [[(a.size, a.stride) for axis in t.axes for a in axis if a.space == F] for t in (squares, x, out)]
    )
    for offsets, dims in blocks(lists, 4, ctx.target.psum_bank_bytes // 4):
        n = prod(s for s, _ in dims[0])
        acc = psum_view(ctx, strip.hi, n)
        for k, (number, i) in enumerate(row):
            s = ins[i]
            p.load_stationary(stationary.view(number))
            moving = squares.view(Run(0, s.tile, s.lo, s.hi - s.lo), dims[0], offsets[0])
            p.matmul(acc[strip.lo : strip.hi], moving, start=k == 0, stop=k == len(row) - 1)
        for partition, count in out_runs(strip):
            run = Run(0, strip.tile, partition, count)
            dst, source = out.view(run, dims[2], offsets[2]), x.view(run, dims[1], offsets[1])
            finish(acc[partition : partition + count], dst, source, n)
