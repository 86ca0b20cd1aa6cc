"""The geometry of convolutions: phases and taps, fill, partition strips, column blocks. Emits nothing."""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import Tensor, legal_count
from isa.word import PARTITIONS


@dataclass(frozen=True)
class Tap:
    """A kernel element and the input offset it reads at, relative to in_step * output index."""

    kernel: tuple[int, ...]
    offset: tuple[int, ...]


@dataclass(frozen=True)
class Phase:
    """Outputs start + step * j read input in_step * j + tap.offset."""

    start: tuple[int, ...]
    step: tuple[int, ...]
    count: tuple[int, ...]
    in_step: tuple[int, ...]
    taps: tuple[Tap, ...]


@dataclass(frozen=True)
class Strip:
    """Partitions lo..hi-1 of one tile taking part in a product, and the channel at each (-1: none)."""

    tile: int
    lo: int
    hi: int
    channels: np.ndarray


def conv_phases(node: Node, out_sizes: Sequence[int]) -> list[Phase]:
    """The single phase of a convolution."""
    kernel, strides = node.attrs["kernel_shape"], node.attrs["strides"]
    dilations, pads = node.attrs["dilations"], node.attrs["pads"]
    taps = tuple(
        Tap(k, tuple(i * d - p for i, d, p in zip(k, dilations, pads, strict=False)))
        for k in itertools.product(*(range(n) for n in kernel))
    )
    ones = (1,) * len(kernel)
    return [Phase((0,) * len(kernel), ones, tuple(out_sizes), tuple(strides), taps)]


def transposed_phases(node: Node, out_sizes: Sequence[int]) -> list[Phase]:
    """One phase per residue a of the output index modulo the stride.

    out = stride * j + a reads in = j + (a + pad - k * dilation) / stride.
    """
    kernel, strides = node.attrs["kernel_shape"], node.attrs["strides"]
    dilations, pads = node.attrs["dilations"], node.attrs["pads"]
    phases = []
    for a in itertools.product(*(range(s) for s in strides)):
        counts = tuple(-(-(o - x) // s) if o > x else 0 for o, x, s in zip(out_sizes, a, strides, strict=True))
        taps = []
        for k in itertools.product(*(range(n) for n in kernel)):
            reach = [x + p - i * d for x, p, i, d in zip(a, pads, k, dilations, strict=False)]
            if all(r % s == 0 for r, s in zip(reach, strides, strict=True)):
                taps.append(Tap(k, tuple(r // s for r, s in zip(reach, strides, strict=True))))
        if all(counts):
            phases.append(Phase(a, tuple(strides), counts, (1,) * len(kernel), tuple(taps)))
    return phases


def pads_needed(phases: Sequence[Phase], in_sizes: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Zero fill read before and after each spatial axis (axis numbers of the N, C, spatial... tensor)."""
    need: dict[int, tuple[int, int]] = {}
    for d, size in enumerate(in_sizes):
        lo = min((t.offset[d] for p in phases for t in p.taps), default=0)
        hi = max(((p.count[d] - 1) * p.in_step[d] + t.offset[d] for p in phases for t in p.taps), default=0)
        need[d + 2] = (max(0, -lo), max(0, hi - (size - 1)))
    return need


def strips(t: Tensor, axis: int = 1) -> list[Strip]:
    """Per tile, the legal partition range covering the positions of the channel axis."""
    pos = t.positions()
    out = []
    for tile in np.unique(pos // PARTITIONS).tolist():
        here = np.flatnonzero(pos // PARTITIONS == tile)
        rows = pos[here] % PARTITIONS
        lo, hi = int(rows.min()), int(rows.max()) + 1
        lo = max(b for b in (0, 32, 64, 96) if b <= lo and legal_count(b) >= hi - b)
        channels = np.full(hi - lo, -1, dtype=np.int64)
        channels[rows - lo] = here
        out.append(Strip(int(tile), lo, hi, channels))
    return out


def out_runs(strip: Strip) -> list[tuple[int, int]]:
    """Legal (partition, count) pieces of the partitions of a strip that hold channels."""
    used = strip.channels >= 0
    pieces: list[tuple[int, int]] = []
    row = 0
    while row < len(used):
        if not used[row]:
            row += 1
            continue
        end = row
        while end < len(used) and used[end]:
            end += 1
        part, stop = strip.lo + row, strip.lo + end
        while part < stop:
            n = min(stop - part, legal_count(part))
            assert n > 0, "output channels start at an illegal partition"
            pieces.append((part, n))
            part += n
        row = end
    return pieces


def column_blocks(batch: int, counts: Sequence[int], most: int) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Cut batch x spatial outputs into near-equal boxes of at most `most` columns.

    Whole images, else rows, else pieces of rows.
    """
    per_image = prod(counts)
    if per_image <= most:
        n = max(1, most // per_image)
        parts = -(-batch // n)
        full = [(0, c) for c in counts]
        return [(batch * k // parts, batch * (k + 1) // parts, full) for k in range(parts)]
    boxes: list[list[tuple[int, int]]] = [[]]
    room = most
    cuts: list[list[tuple[int, int]]] = []
    for axis in range(len(counts)):
        inner = prod(counts[axis + 1 :])
        size = max(1, min(counts[axis], room // inner)) if inner <= room else 1
        parts = -(-counts[axis] // size)
        cuts.append([(counts[axis] * k // parts, counts[axis] * (k + 1) // parts) for k in range(parts)])
        room = room // size if size > 1 else room
    boxes = [list(b) for b in itertools.product(*cuts)]
    return [(n, n + 1, box) for n in range(batch) for box in boxes]


def dense_kernel(
    weight: np.ndarray, cin: np.ndarray, cout: np.ndarray, group: int, transposed: bool
) -> np.ndarray | None:
    """[len(cin), len(cout), *kernel] with zeros where channels are absent or in different groups; None when all are."""
    if transposed:  # [Cin, Cout / group, ...]
        out_per, in_per = weight.shape[1], weight.shape[0] // group
    else:  # [Cout, Cin / group, ...]
        out_per, in_per = weight.shape[0] // group, weight.shape[1]
    ci, co = cin[:, None], cout[None, :]
    same = (ci >= 0) & (co >= 0) & (ci // in_per == co // out_per)
    if not same.any():
        return None
    if transposed:
        picked = weight[np.where(same, ci, 0), np.where(same, co % out_per, 0)]
    elif group == 1 and same.all() and len(cin) and (np.diff(cin) == 1).all() and (np.diff(cout) == 1).all():
        return np.swapaxes(weight[cout[0] : cout[-1] + 1, cin[0] : cin[-1] + 1], 0, 1)
    else:
        picked = weight[np.where(same, co, 0), np.where(same, ci % in_per, 0)]
    return np.where(same.reshape(same.shape + (1,) * (weight.ndim - 2)), picked, 0)
