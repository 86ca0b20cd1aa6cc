"""Constants on chip in the partition placement of another tensor."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.layout import Atom, F, P, Tensor
from compiler.lowering.context import Context
from compiler.lowering.spread import row_everywhere
from isa.dtypes import dtype as dtype_of
from isa.word import PARTITIONS


def const_like(ctx: Context, name: str, array: np.ndarray, ref: Tensor, dtype: str = "fp32") -> Tensor:
    """A constant broadcast to `ref`'s logical shape, on chip in `ref`'s partition placement.

    Axes along which it does not vary cost no space: F axes get stride 0, and rows equal on all partitions are
    broadcast by the DMA.
    """
    shape = ref.shape
    array = np.asarray(array)
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    # a window of a value sees its own part of a constant, under one name
    key = ("const", name, ref.axes, dtype, ref.positions().tobytes(), array.shape, array.tobytes())
    if key in ctx.cache:
        return ctx.cache[key]
    p_axes = ref.p_axes()
    vary = [i for i in range(len(shape)) if array.shape[i] > 1]
    mixed = any(ref.space_of(i) == "PF" for i in vary)
    if mixed:
        array = np.broadcast_to(array, shape)
        vary = list(range(len(shape)))
    f_sizes, f_axes = _const_axes(ref, vary)
    rows = _const_rows(ref, array, f_sizes)
    pos = ref.positions()
    tiles = int(pos.max()) // PARTITIONS + 1
    extent = max(1, prod(f_sizes))
    storage = dtype_of(dtype).numpy
    if not any(i in p_axes for i in vary) and not mixed:
        top = min(PARTITIONS, int(pos.max()) + 1)
        tile = row_everywhere(ctx, name, rows[:1].astype(storage), top, dtype)
        out = Tensor((tile,) * tiles, dtype, f_axes, ref.pmap)
    else:
        table = np.zeros((tiles * PARTITIONS, extent), dtype=storage)
        table[pos] = rows.astype(storage)
        views = []
        dram = ctx.constant(f"{name}.rows", table)
        for k in range(tiles):
            top = min(PARTITIONS, int(pos.max()) + 1 - k * PARTITIONS)
            tile = ctx.program.sbuf((top, extent), dtype, name=name)
            ctx.program.dma(tile, dram[k * PARTITIONS : k * PARTITIONS + top], purpose="load")
            views.append(tile)
        out = Tensor(tuple(views), dtype, f_axes, ref.pmap)
    ctx.cache[key] = out
    return out


def _const_axes(ref: Tensor, vary: list[int]) -> tuple[list[int], tuple[tuple[Atom, ...], ...]]:
    """Sizes of the F atoms along which the constant varies, and the axes of the result."""
    sizes = [a.size for i, axis in enumerate(ref.axes) for a in axis if a.space == F and i in vary]
    stride = prod(sizes)
    axes: list[tuple[Atom, ...]] = []
    for i, axis in enumerate(ref.axes):
        atoms = []
        for a in axis:
            if a.space == P:
                atoms.append(a)
            elif i in vary:
                stride //= a.size
                atoms.append(Atom(a.size, F, stride))
            else:
                atoms.append(Atom(a.size, F, 0))
        axes.append(tuple(atoms))
    return sizes, tuple(axes)


def _const_rows(ref: Tensor, array: np.ndarray, f_sizes: list[int]) -> np.ndarray:
    """[P positions in order, F elements] of the constant, F restricted to the axes along which it varies."""
    target = [ref.shape[i] if (array.shape[i] > 1 or ref.space_of(i) == P) else 1 for i in range(len(ref.shape))]
    full = np.broadcast_to(array, target)
    atom_sizes: list[int] = []
    p_dims: list[int] = []
    f_dims: list[int] = []
    for i, axis in enumerate(ref.axes):
        if target[i] == 1:
            continue
        for a in axis:
            (p_dims if a.space == P else f_dims).append(len(atom_sizes))
            atom_sizes.append(a.size)
    spread = full.reshape(atom_sizes).transpose(p_dims + f_dims)
    return spread.reshape(len(ref.positions()), max(1, prod(f_sizes)))
