"""Transfers of whole tensors between DRAM and the chip, whatever their layout."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.layout import Atom, P, Tensor, align_dims, blocks
from compiler.lowering.context import MOST_FREE, Context
from isa.lang import DramView
from isa.word import PARTITIONS


def dma_tensor(ctx: Context, tensor: Tensor, dram: DramView, *, store: bool, purpose: str) -> None:
    """Copy a whole tensor from or to a DRAM view of the same logical shape, whatever the layout."""
    p_dims, f_dims = _axis_atoms(tensor, dram.steps)
    offsets = np.zeros((), dtype=np.int64)
    for size, step in p_dims:
        offsets = offsets[..., None] + np.arange(size, dtype=np.int64) * step
    flat = offsets.reshape(-1)
    pos = tensor.positions()
    for first, count, step in _affine_runs(pos, flat):
        tile, partition = divmod(int(pos[first]), PARTITIONS)
        chip_dims, dram_dims = align_dims([[(s, t) for s, t, _ in f_dims], [(s, d) for s, _, d in f_dims]])
        for (at, byte), (chip, far) in blocks([chip_dims, dram_dims], 4, MOST_FREE["sbuf"]):
            view = tensor.tiles[tile].ap(
                tensor.offset + at, [d for _, d in chip], [s for s, _ in chip], partition=partition, partitions=count
            )
            side = dram.ap(int(flat[first]) + byte, [step, *(d for _, d in far)], [count, *(s for s, _ in far)])
            if store:
                ctx.program.dma(side, view, purpose=purpose)
            else:
                ctx.program.dma(view, side, purpose=purpose)


def _axis_atoms(tensor: Tensor, steps: Sequence[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
    """DRAM byte steps of the atoms: (size, step) of P atoms and (size, tile stride, step) of F atoms, logical order."""
    p_dims: list[tuple[int, int]] = []
    f_dims: list[tuple[int, int, int]] = []
    for axis, step in zip(tensor.axes, steps, strict=True):
        inner = 1
        found: list[tuple[Atom, int]] = []
        for atom in reversed(axis):
            found.append((atom, step * inner))
            inner *= atom.size
        for atom, byte_step in reversed(found):
            if atom.space == P:
                p_dims.append((atom.size, byte_step))
            else:
                f_dims.append((atom.size, atom.stride, byte_step))
    return p_dims, f_dims


def _affine_runs(pos: np.ndarray, offsets: np.ndarray) -> list[tuple[int, int, int]]:
    """(first, count, byte step) of runs consecutive in partitions and affine in DRAM."""
    out = []
    n, i = len(pos), 0
    while i < n:
        j, step = i + 1, 0
        while j < n and pos[j] == pos[j - 1] + 1 and pos[j] % PARTITIONS:
            delta = int(offsets[j] - offsets[j - 1])
            if j == i + 1:
                step = delta
            elif delta != step:
                break
            j += 1
        out.append((i, j - i, step))
        i = j
    return out
