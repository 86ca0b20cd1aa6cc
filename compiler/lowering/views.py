"""Operators that only rename, select or join elements: free as changes of layout where possible, else one copy."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.ir import Graph, Node
from compiler.layout import P, Tensor
from compiler.lowering.context import Context, window
from compiler.lowering.dma import dma_tensor
from compiler.lowering.dram import dram_value, dram_view
from compiler.lowering.move import copy
from compiler.lowering.operand import reference, result
from compiler.lowering.select import cut_axis, pick
from compiler.lowering.transpose import relayout, rows_last
from compiler.passes.flat_rows import FEW, is_long
from compiler.windows import ROWS
from isa.target import Target
from isa.word import PARTITIONS

#: elements from which on engine copies within a partition take longer than one more transfer (about 2 us)
JOINED_FAR = 1024


def operands_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why a Slice or Pad cannot be lowered: an operand that says where is computed at run time."""
    names = {"Slice": ("", "starts", "ends", "axes", "steps"), "Pad": ("", "pads", "", "axes")}[node.op]
    for k, what in enumerate(names):
        if what and node.input(k) and not graph.is_const(node.input(k)):
            return f"the {what} of the {node.op} are computed at run time"
    return ""


def expansion_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why an operator that is otherwise expanded into others was left."""
    if node.op == "Col2Im" and not graph.is_const(node.inputs[2]):
        return "the block sizes of the Col2Im are computed at run time"
    if node.op in ("Col2Im", "GridSample") and "float" not in graph.dtype(node.inputs[0]):
        return f"a {node.op} of integers rounds as only the host does"
    if node.op == "AffineGrid":
        return "a grid of a single point that is aligned with both corners is not defined"
    return f"the positions in the {node.op} exceed 2^24, up to which the engines are exact"


def lower_reshape(ctx: Context, node: Node) -> None:
    """Reshape and its relatives: a regrouping of axes when the layout allows, else a pass through DRAM."""
    name, source = node.output, node.inputs[0]
    if source in ctx.tensors:
        view = ctx.tensors[source].reshape(ctx.shape(name))
        if view is not None:
            ctx.tensors[name] = view
            return
    view_dram = dram_value(ctx, source)
    ctx.dram[name] = view_dram.reshape(ctx.shape(name))  # brought on chip when, and as far as, somebody reads it


def lower_transpose(ctx: Context, node: Node) -> None:
    """Transpose: axes renamed, on chip or in DRAM; nothing moves."""
    perm = node.attrs.get("perm") or list(reversed(range(len(ctx.shape(node.inputs[0])))))
    source = node.inputs[0]
    if source not in ctx.tensors and source in ctx.dram:
        ctx.dram[node.output] = ctx.dram[source].permute(*perm)
        return
    ctx.tensors[node.output] = ctx.tensor(source).transpose(perm)


def lower_slice(ctx: Context, node: Node) -> None:
    """Slice with constant bounds; steps may be negative. Rows that a part of a node reads are read where they are."""
    source = node.inputs[0]
    starts, ends = constant_list(ctx, node, 1), constant_list(ctx, node, 2)
    if node.attrs.get("rows") and source in ctx.dram and source not in ctx.tensors:
        inside = {a: slice(lo, hi) for a, lo, hi in zip(constant_list(ctx, node, 3), starts, ends, strict=True)}
        whole = ctx.dram[source]
        ctx.dram[node.output] = whole[tuple(inside.get(a, slice(None)) for a in range(len(whole.shape)))]
        return
    shape = ctx.shape(source)
    rank = len(shape)
    axes = constant_list(ctx, node, 3) if node.input(3) else list(range(len(starts)))
    steps = constant_list(ctx, node, 4) if node.input(4) else [1] * len(starts)
    if is_long(shape) and all(st == 1 for st in steps):
        inside = {a % rank: slice(lo, hi) for a, lo, hi in zip(axes, starts, ends, strict=True)}
        _cut_dram(ctx, node, node.output, inside)
        return
    x = ctx.tensor(source)
    picks = [np.arange(n) for n in x.shape]
    for a, lo, hi, st in zip(axes, starts, ends, steps, strict=True):
        picks[a % rank] = np.arange(x.shape[a % rank])[
            slice(lo, hi if not (st < 0 and hi < -x.shape[a % rank]) else None, st)
        ]
    out = pick(ctx, node.output, x, picks)
    if node.attrs.get("rows") and out.tiles == x.tiles:
        out = _between_pads(out, x, int(picks[ROWS][0]))
    ctx.tensors[node.output] = out


def _cut_dram(ctx: Context, node: Node, name: str, inside: Mapping[int, slice]) -> None:
    """A part of a long vector, which is left in DRAM: it would fill a partition."""
    whole = dram_view(ctx, node.inputs[0])
    bounds = [inside.get(a, slice(None)).indices(n)[:2] for a, n in enumerate(whole.shape)]
    ctx.dram[name] = whole[tuple(slice(lo, hi) for lo, hi in bounds)]


def _between_pads(rows: Tensor, whole: Tensor, first: int) -> Tensor:
    """Rows of an image as a view, with what it has around them of the image's pads."""
    before, after = whole.pads.get(ROWS, (0, 0))
    ends = before if first == 0 else 0, after if first + rows.shape[ROWS] == whole.shape[ROWS] else 0
    return replace(rows, pads={**whole.pads, ROWS: ends}, fill=whole.fill)


def lower_expand(ctx: Context, node: Node) -> None:
    """Expand: stride-0 axes; along partitions a DMA repeats the rows."""
    name = node.output
    x = ctx.tensor(node.inputs[0])
    out = x.expand(ctx.shape(name))
    assert out is not None
    ctx.tensors[name] = out


def lower_concat(ctx: Context, node: Node) -> None:
    """Concat: along partitions a list of tiles (or nothing when the parts were written in place), else copies."""
    name = node.output
    rank = len(ctx.shape(name))
    axis = node.attrs["axis"] % rank
    if name in ctx.homes:
        _join_home(ctx, node, axis)
        return
    if axis == rank - 1 and _in_dram(ctx, node):
        _join_dram(ctx, node)
        return
    box = ctx.windows.get(name, {})
    parts = [ctx.part(i, {a: b for a, b in box.items()}) for i in node.inputs if i and ctx.shape(i)[axis] > 0]
    listed = all(t.p_axes() == (axis,) and t.space_of(axis) == P for t in parts)
    if listed and _same_free(parts) and len({t.dtype for t in parts}) == 1:
        ctx.tensors[name] = _join_tiles(parts, axis)
        return
    ref = max(parts, key=lambda t: prod(t.shape))  # the others come to the largest one
    if ref.p_axes() and axis not in ref.p_axes() and ref.plain and ref.reachable:
        out = ctx.output(name, ref.p_axes(), pmap=ref.pmap.reshape([ref.shape[a] for a in ref.p_axes()]))
    else:
        out = ctx.output(name, _axes_beside(ctx, name, axis))
    at = 0
    for t in parts:
        piece = out.slice_axis(axis, at, at + t.shape[axis])
        assert piece is not None
        copy(ctx, piece, relayout(ctx, t, piece.p_axes()))
        at += t.shape[axis]
    ctx.tensors[name] = out


def _in_dram(ctx: Context, node: Node) -> bool:
    """Whether a join along the last axis is one of long vectors, or of some that no partition holds as they are."""
    shape = ctx.shape(node.output)
    last = len(shape) - 1
    far = all(ctx.tensors[i].space_of(last) == "PF" if i in ctx.tensors else i in ctx.dram for i in node.inputs)
    wide = is_long(shape) or (far and shape[-1] >= JOINED_FAR and prod(shape[:-1]) <= FEW)
    return wide and len({ctx.storage(i) for i in (node.output, *node.inputs)}) == 1


def _join_dram(ctx: Context, node: Node) -> None:
    """Parts of a long vector side by side in DRAM, where a model's result belongs: it would fill a partition."""
    name = node.output
    face = ctx.outputs.get(name)
    same = face is not None and face.dtype.name == ctx.storage(name)
    whole = face if face is not None and same else ctx.scratch(name, ctx.shape(name), ctx.storage(name))
    at = 0
    for part in node.inputs:
        end = at + ctx.shape(part)[-1]
        if end > at:
            to = whole[(*[slice(None)] * (len(whole.shape) - 1), slice(at, end))]
            if part in ctx.tensors:
                dma_tensor(ctx, rows_last(ctx, ctx.tensors[part]), to, store=True, purpose="relayout")
            else:
                ctx.program.dma(to, dram_view(ctx, part), purpose="relayout")
        at = end
    ctx.dram[name] = whole


def _axes_beside(ctx: Context, name: str, axis: int) -> list[int]:
    """Axes on partitions for a value that is joined along `axis`: the natural ones, or one that PE transposes reach."""
    shape = ctx.shape(name)
    natural = reference(ctx, [], ctx.window_shape(name), name).p_axes()
    wide = [a for a in range(len(shape)) if a != axis and shape[a] > 1]
    if axis not in natural or not wide:
        return [a for a in natural if a != axis]
    wanted = ctx.wish(name)
    return [wanted if wanted in wide else max(wide, key=lambda a: shape[a])]


def _same_free(parts: Sequence[Tensor]) -> bool:
    first = parts[0]
    key = [(a.size, a.stride) for a in first.free_atoms()], first.offset, first.pads, first.fill, first.origin
    return all(([(a.size, a.stride) for a in t.free_atoms()], t.offset, t.pads, t.fill, t.origin) == key for t in parts)


def _join_tiles(parts: Sequence[Tensor], axis: int) -> Tensor:
    """The parts side by side along P: their tiles listed one after the other."""
    tiles: list[object] = []
    maps = []
    for t in parts:
        maps.append(t.pmap + len(tiles) * PARTITIONS)
        tiles.extend(t.tiles)
    dim = parts[0].p_dims()[axis][0]
    pmap = np.concatenate(maps, axis=dim)
    axes = list(parts[0].axes)
    axes[axis] = (replace(axes[axis][0], size=pmap.shape[dim], space=P),)
    return replace(parts[0], tiles=tuple(tiles), axes=tuple(axes), pmap=pmap)  # type: ignore[arg-type]


def _join_home(ctx: Context, node: Node, axis: int) -> None:
    """Parts that were not written in place are copied; the result is the shared tensor."""
    name = node.output
    box = ctx.windows.get(name, {})
    out = window(ctx.home(name), box)
    at = 0
    for source in node.inputs:
        size = ctx.shape(source)[axis]
        piece = out.slice_axis(axis, at, at + size)
        assert piece is not None
        piece = replace(piece, origin=out.origin)
        if not _in_place(ctx, source, piece):
            copy(ctx, piece, ctx.part(source, box))
        at += size
    ctx.tensors[name] = out


def _in_place(ctx: Context, source: str, piece: Tensor) -> bool:
    """Whether a part of a concatenation was written where it belongs."""
    part = ctx.tensors.get(source)
    return part is not None and part.tiles == piece.tiles and np.array_equal(part.positions(), piece.positions())


def lower_split(ctx: Context, node: Node) -> None:
    """Split: each part is a view of the operand."""
    shape = ctx.shape(node.inputs[0])
    axis = node.attrs.get("axis", 0) % len(shape)
    x = None if is_long(shape) else ctx.tensor(node.inputs[0])
    at = 0
    for name in node.outputs:
        if not name:
            continue
        size = ctx.shape(name)[axis]
        if x is None:
            _cut_dram(ctx, node, name, {axis: slice(at, at + size)})
        else:
            ctx.tensors[name] = cut_axis(ctx, x, axis, at, at + size)
        at += size


def lower_pad(ctx: Context, node: Node) -> None:
    """Pad, any mode; negative pads crop. Constant fill: a filled tensor with the operand copied into its middle."""
    name, mode = node.output, node.attrs.get("mode", "constant")
    x = ctx.tensor(node.inputs[0])
    before, after = _pad_widths(ctx, node, len(x.shape))
    keep = [range(max(0, -b), n - max(0, -a)) for n, b, a in zip(x.shape, before, after, strict=True)]
    grow = [(max(0, b), max(0, a)) for b, a in zip(before, after, strict=True)]
    if mode != "constant":
        picks = [np.pad(np.asarray(k), g, mode=mode) for k, g in zip(keep, grow, strict=True)]
        ctx.tensors[name] = pick(ctx, name, x, picks)
        return
    value = ctx.graph.const(node.input(2))
    out = result(ctx, name, reference(ctx, [], ctx.shape(name), name))
    ctx.fill(out, float(value.reshape(-1)[0]) if value is not None and value.size else 0.0)
    inside, core = out, x
    for a, (kept, (lo, _)) in enumerate(zip(keep, grow, strict=True)):
        inside = cut_axis(ctx, inside, a, lo, lo + len(kept))
        core = cut_axis(ctx, core, a, kept.start, kept.stop)
    copy(ctx, inside, relayout(ctx, core, inside.p_axes()))
    ctx.tensors[name] = out


def _pad_widths(ctx: Context, node: Node, rank: int) -> tuple[list[int], list[int]]:
    """Elements added before and after every axis."""
    pads = constant_list(ctx, node, 1)
    axes = [a % rank for a in constant_list(ctx, node, 3)] if node.input(3) else list(range(rank))
    before, after = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        before[axis], after[axis] = pads[k], pads[k + len(axes)]
    return before, after


def constant_list(ctx: Context, node: Node, index: int) -> list[int]:
    """A constant integer vector operand. Raises: UnsupportedOp when it is computed at run time."""
    array = ctx.graph.const(node.inputs[index])
    if array is None:
        raise UnsupportedOp(f"{node.op} with operand {index} computed at run time has no lowering", where=node.name)
    return [int(v) for v in array.reshape(-1)]
