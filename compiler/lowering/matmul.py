"""Matrix products: by a constant (dense layers) and between computed operands (attention), in either output layout.

Feature-major output: weights stationary, tokens moving. Token-major output: tokens stationary, weights moving. Which
one is made follows from what the consumers want on partitions (`wish`), so that no transpose is needed between layers.
"""
from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import F, P, Run, Tensor, align_dims, blocks, legal_count, linear_offsets, runs_of
from compiler.lowering.context import Context, default_positions
from compiler.lowering.conv import _match
from compiler.lowering.conv_plan import Strip, out_runs, strips
from compiler.lowering.epilogue import Epilogue, residual_inputs
from compiler.lowering.matmul_blocked import blocked_shape, lower_blocked
from compiler.lowering.move import addressable, cast, copy, psum_view
from compiler.lowering.operand import operand_like
from compiler.lowering.stationary import Block, Stationary
from compiler.lowering.transpose import relayout
from isa.lang import View
from isa.word import PARTITIONS

MOST_ROWS = 128


def lower_matmul(ctx: Context, node: Node) -> None:
    """MatMul [.., M, K] x [.., K, N] with an optional epilogue (per-column bias, residual, activation)."""
    weight = ctx.graph.const(node.inputs[1])
    shape = blocked_shape(ctx, node)
    if shape is not None:
        lower_blocked(ctx, node, shape)
    elif weight is not None and weight.ndim == 2:
        _dense(ctx, node, weight)
    else:
        _batched(ctx, node)


def in_pe_type(ctx: Context, t: Tensor) -> Tensor:
    """`t` in a type the PE multiplies, converted once."""
    pe = ctx.precision.matmul(t.dtype)
    if pe == t.dtype:
        return t
    key = ("operand", id(t), pe)
    if key not in ctx.cache:
        ctx.cache[key] = (cast(ctx, t, pe), t)
    return ctx.cache[key][0]


def _operand_type(ctx: Context, t: Tensor) -> str | None:
    """The type in which fp32 may as well arrive when it is moved on its way to the PE; None for any other."""
    return ctx.precision.matmul(t.dtype) if t.dtype == "fp32" else None


# ---- by a constant ---------------------------------------------------------------------------------------------------


def _dense(ctx: Context, node: Node, weight: np.ndarray) -> None:
    name = node.output
    x = _contraction_on_partitions(ctx, ctx.tensor(node.inputs[0]))
    rank = len(x.shape)
    wanted = ctx.wish(name)
    tokens = prod(x.shape[:-1])
    if wanted is not None and wanted < rank - 1 and name not in ctx.homes:
        _token_major(ctx, node, x, weight)
    else:
        _feature_major(ctx, node, x, weight, tokens)


def _contraction_on_partitions(ctx: Context, x: Tensor) -> Tensor:
    """The last axis on partitions (perhaps partly: a flattened image keeps its pixels on F), every other axis on F."""
    last = len(x.shape) - 1
    others = [a for a in x.p_axes() if a != last]
    if others or (P not in x.space_of(last) and x.shape[last] > 1):
        key = ("contraction", id(x))
        if key not in ctx.cache:  # several products read the same tokens
            ctx.cache[key] = (relayout(ctx, x, (last,), _operand_type(ctx, x)), x)
        x = ctx.cache[key][0]
    return in_pe_type(ctx, x)


def _contraction(x: Tensor) -> list[tuple[Strip, int, np.ndarray]]:
    """(strip, free offset, row of the weight for each partition or -1) for every product of the contraction."""
    last = x.axes[-1]
    sizes = [a.size for a in last]
    number = np.arange(prod(sizes)).reshape(sizes)
    p_dims = [i for i, a in enumerate(last) if a.space == P]
    f_dims = [i for i, a in enumerate(last) if a.space == F]
    rows = number.transpose(f_dims + p_dims).reshape(prod([sizes[i] for i in f_dims]), -1)
    offsets = np.zeros((), dtype=np.int64)
    for i in f_dims:
        offsets = offsets[..., None] + np.arange(sizes[i], dtype=np.int64) * last[i].stride
    out = []
    for strip in strips(x):
        for offset, row in zip(offsets.reshape(-1).tolist(), rows, strict=True):
            channels = np.where(strip.channels >= 0, row[np.maximum(strip.channels, 0)], -1)
            out.append((strip, offset, channels))
    return out


def pick_block(weight: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """weight[rows][:, columns] with zeros where an index is -1; a view when both index lists are evenly spaced."""
    across, along = _as_slice(rows), _as_slice(columns)
    if across is not None and along is not None:
        return weight[across, along]
    block = weight[np.ix_(np.maximum(rows, 0), np.maximum(columns, 0))]
    block[rows < 0] = 0
    block[:, columns < 0] = 0
    return block


def _as_slice(index: np.ndarray) -> slice | None:
    """The slice that selects these indices, None when they are not evenly spaced upwards."""
    first = int(index[0])
    step = int(index[1]) - first if len(index) > 1 else 1
    if first < 0 or step < 1 or (len(index) > 2 and (np.diff(index) != step).any()):
        return None
    return slice(first, int(index[-1]) + 1, step)


def _lead_dims(x: Tensor) -> list[tuple[int, int]]:
    return [(a.size, a.stride) for axis in x.axes[:-1] for a in axis if a.space == F]


def _feature_major(ctx: Context, node: Node, x: Tensor, weight: np.ndarray, tokens: int) -> None:
    name = node.output
    last = len(x.shape) - 1
    residuals = {i: ctx.tensor(node.inputs[i]) for i in residual_inputs(node)}
    beside = (r.pmap for r in residuals.values() if r.p_axes() == (last,) and r.plain and r.reachable)
    pmap = next(beside, None)
    out = ctx.output(name, (last,), pmap=pmap)
    residuals = {i: _match(ctx, operand_like(ctx, node.inputs[i], out), out) for i in residuals}
    tail = Epilogue.of(ctx, node, out, last, residuals)
    parts = _contraction(x)
    columns_of = strips(out)
    made: list[Block] = []
    plan: list[list[int]] = []
    for strip in columns_of:
        plan.append([len(made) + i for i in range(len(parts))])
        for source, _, channels in parts:
            made.append(Block(source.lo, pick_block(weight, channels, strip.channels)))
    stationary = Stationary(ctx, node.name, made, x.dtype)
    free = [
        _lead_dims(x),
        *([(a.size, a.stride) for axis in t.axes[:-1] for a in axis if a.space == F] for t in _frees(out, tail)),
    ]
    for strip, numbers in zip(columns_of, plan, strict=True):
        for offsets, dims in blocks(align_dims(free), 4, ctx.target.psum_bank_bytes // 4):
            n = prod(s for s, _ in dims[0])
            acc = psum_view(ctx, strip.hi, n)
            target = acc[strip.lo : strip.hi]
            for k, ((source, at, _), number) in enumerate(zip(parts, numbers, strict=True)):
                ctx.program.load_stationary(stationary.view(number))
                moving = x.view(Run(0, source.tile, source.lo, source.hi - source.lo), dims[0], offsets[0] + at)
                ctx.program.matmul(target, moving, start=k == 0, stop=k == len(parts) - 1)
            for partition, count in out_runs(strip):
                run = Run(0, strip.tile, partition, count)
                _write(out, tail, run, acc[partition : partition + count], offsets[1:], dims[1:], n)
    ctx.tensors[name] = out


def _frees(out: Tensor, tail: Epilogue) -> list[Tensor]:
    return [out, *(s.residual for s in tail.steps if s.residual is not None)]


def _write(
    out: Tensor, tail: Epilogue, run: Run, acc: View, offsets: list[int], dims: list[list[tuple[int, int]]], n: int
) -> None:
    """Send one accumulator through the tail; dims and offsets belong to out and each residual in order."""
    sources = {}
    at = 1
    for k, step in enumerate(tail.steps):
        if step.residual is not None:
            sources[k] = step.residual.view(run, dims[at], offsets[at])
            at += 1
    tail.apply(acc, out.view(run, dims[0], offsets[0]), run, sources, n)


def _token_major(ctx: Context, node: Node, x: Tensor, weight: np.ndarray) -> None:
    name = node.output
    lead = tuple(a for a in range(len(x.shape) - 1) if x.shape[a] > 1)
    residuals = residual_inputs(node)
    pmap = None
    for i in residuals:
        t = ctx.tensor(node.inputs[i])
        if t.p_axes() == lead and t.plain and runs_of(t.positions()) is not None:
            pmap = t.pmap.reshape([t.shape[a] for a in lead])
            break
    out = ctx.output(name, lead, pmap=pmap)
    tail = Epilogue.of(ctx, node, out, len(x.shape) - 1, {i: operand_like(ctx, node.inputs[i], out) for i in residuals})
    parts = _contraction(x)
    width = ctx.target.psum_bank_bytes // 4
    cuts = [(lo, min(lo + width, weight.shape[1])) for lo in range(0, weight.shape[1], width)]
    made = [
        Block(source.lo, pick_block(weight, channels, np.arange(lo, hi)))
        for lo, hi in cuts
        for source, _, channels in parts
    ]
    moving = Stationary(ctx, node.name, made, x.dtype)
    if not _reachable(_affine_groups(out.positions(), linear_offsets(_lead_dims(x)))):
        x = cast(ctx, x, x.dtype)
        parts = _contraction(x)
    offsets = linear_offsets(_lead_dims(x))
    groups = _affine_groups(out.positions(), offsets)
    for c, (lo, hi) in enumerate(cuts):
        for first, partition, tile, count, step in groups:
            n = hi - lo
            acc = psum_view(ctx, partition + count, n)[partition : partition + count]
            for k, (source, at, _) in enumerate(parts):
                held = x.view(
                    Run(0, source.tile, source.lo, source.hi - source.lo), [(count, step)], int(offsets[first]) + at
                )
                ctx.program.load_stationary(held)
                ctx.program.matmul(acc, moving.view(c * len(parts) + k), start=k == 0, stop=k == len(parts) - 1)
            run = Run(first, tile, partition, count)
            places = []
            for t in _frees(out, tail):
                stride = next((a.stride for a in t.axes[-1] if a.space == F), 0)
                places.append((lo * stride, [(n, stride)]))
            _write(out, tail, run, acc, [p for p, _ in places], [d for _, d in places], n)
    ctx.tensors[name] = out


def _affine_groups(positions: np.ndarray, offsets: np.ndarray) -> list[tuple[int, int, int, int, int]]:
    """(first, partition, tile, count, step): partition runs whose source offsets are affine."""
    if len(positions) == 1:
        tile, partition = divmod(int(positions[0]), PARTITIONS)
        return [(0, partition, tile, 1, 1)]
    out = []
    for (run,) in runs_of(positions) or []:
        at = 0
        while at < run.count:
            here = offsets[run.first + at : run.first + run.count]
            step = int(here[1] - here[0]) if len(here) > 1 else 1
            bad = np.flatnonzero(np.diff(here) != step)
            n = int(bad[0]) + 1 if len(bad) else len(here)
            out.append((run.first + at, run.partition + at, run.tile, n, step))
            at += n
    return out


def _reachable(groups: list[tuple[int, int, int, int, int]]) -> bool:
    """Whether engines can write every group; where they cannot, the source's rows must be one affine list first."""
    return all(count <= legal_count(partition) for _, partition, _, count, _ in groups)


# ---- between computed operands ---------------------------------------------------------------------------------------


def _batched(ctx: Context, node: Node) -> None:
    name = node.output
    shape = ctx.shape(name)
    rank = len(shape)
    a = _operand(ctx, node.inputs[0], rank, -1)
    b = _operand(ctx, node.inputs[1], rank, -2)
    swap = ctx.wish(name) == rank - 1
    p_axis = rank - 1 if swap else rank - 2
    out = ctx.output(name, (p_axis,), pmap=default_positions([shape[p_axis]]) if shape[p_axis] > 1 else None)
    residuals = {i: operand_like(ctx, node.inputs[i], out) for i in residual_inputs(node)}
    tail = Epilogue.of(ctx, node, out, rank - 1, residuals)
    for index in np.ndindex(*shape[:-2]):
        left, right = _at(a, index), _at(b, index)
        mine = _at(out, index)
        steps = [replace(s, residual=_at(s.residual, index)) if s.residual is not None else s for s in tail.steps]
        one = Epilogue(ctx, steps)
        if swap:
            _product(ctx, right, left.transpose((1, 0)), mine.transpose((1, 0)), one, True)
        else:
            _product(ctx, left.transpose((1, 0)), right, mine, one, False)
    ctx.tensors[name] = out


def _operand(ctx: Context, name: str, rank: int, contraction: int) -> Tensor:
    """The operand with its contraction axis on partitions (batch axes may be there too) and its other axis on F."""
    t = ctx.tensor(name)
    for _ in range(rank - len(t.shape)):
        t = t.squeeze_insert(0)
    k = rank + contraction
    other = rank - 1 if contraction == -2 else rank - 2
    if t.space_of(k) not in (P, "") or t.space_of(other) not in (F, "") or not _legal_slices(t, k):
        t = relayout(ctx, t, (k,), _operand_type(ctx, t))
    return in_pe_type(ctx, addressable(ctx, t))  # one element may lie at any partition


def _legal_slices(t: Tensor, k: int) -> bool:
    """Whether for every batch index the contraction positions form legal runs."""
    dims = t.p_dims()[k]
    pmap = np.moveaxis(t.pmap, dims, range(-len(dims), 0)) if dims else t.pmap
    flat = pmap.reshape(-1, prod(t.pmap.shape[d] for d in dims) if dims else 1)
    return all(runs_of(row, any_order=True) is not None for row in flat)


def _at(t: Tensor, index: tuple[int, ...]) -> Tensor:
    """Fix the batch axes (broadcast ones at 0)."""
    for k in index:
        t = t.index_axis(0, k if t.shape[0] > 1 else 0)
    return t


def _product(ctx: Context, held: Tensor, moving: Tensor, out: Tensor, tail: Epilogue, swapped: bool) -> None:
    """out [M, N] = held [K, M]^T x moving [K, N]; M on out's partitions, N on its F."""
    held, moving = _together(ctx, held, moving)
    m_dims = _row_dims(held)
    if not _reachable(_affine_groups(out.positions(), linear_offsets(m_dims))):
        held = cast(ctx, held, held.dtype)
        m_dims = _row_dims(held)
    cut = runs_of(held.positions(), moving.positions(), any_order=True)
    assert cut is not None
    n_stride = [(a.size, a.stride) for a in moving.axes[1] if a.space == F] or [(1, 1)]
    width = ctx.target.psum_bank_bytes // 4
    m_offsets = linear_offsets(m_dims)
    lists = [n_stride]
    for t in _frees(out, tail):
        t_axis = t.transpose((1, 0)) if swapped and t is not out else t
        lists.append([(a.size, a.stride) for a in t_axis.axes[1] if a.space == F] or [(1, 1)])
    for first, partition, tile, count, step in _affine_groups(out.positions(), m_offsets):
        for offsets, dims in blocks(align_dims(lists), 4, width):
            n = prod(s for s, _ in dims[0])
            acc = psum_view(ctx, partition + count, n)[partition : partition + count]
            for k, (a, b) in enumerate(cut):
                ctx.program.load_stationary(held.view(a, [(count, step)], int(m_offsets[first])))
                ctx.program.matmul(acc, moving.view(b, dims[0], offsets[0]), start=k == 0, stop=k == len(cut) - 1)
            _write(out, tail, Run(first, tile, partition, count), acc, offsets[1:], dims[1:], n)


def _row_dims(held: Tensor) -> list[tuple[int, int]]:
    return [(a.size, a.stride) for a in held.axes[1] if a.space == F] or [(1, 1)]


def _together(ctx: Context, held: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
    """Both operands with the contraction at the same partitions; the smaller one is moved when they differ."""
    a, b = held.positions() % PARTITIONS, moving.positions() % PARTITIONS
    if np.array_equal(a, b):
        return held, moving
    src, ref = (held, moving) if prod(held.shape) <= prod(moving.shape) else (moving, held)
    near = ctx.alloc(src.shape, (0,), src.dtype, pmap=ref.positions().reshape(-1), name="beside")
    copy(ctx, near, src)
    return (near, moving) if src is held else (held, near)


__all__ = ["MOST_ROWS", "in_pe_type", "lower_matmul"]
