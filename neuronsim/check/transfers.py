"""Accesses of DMA transfers: both sides of every descriptor as boxes of partitions times byte patterns.

An SBUF side is one 64-bit address space of partitions a fixed stride apart; its dimensions split into one that counts
partitions and those that stay inside a partition. Sides that do not split so (diagonals, partition strides) are
expanded step by step. Sides of one transfer that continue each other are merged.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isa.dtypes import BY_NAME, SIZES
from isa.program import Stage
from isa.word import DMA_ADD, DMA_GATHER, DMA_SCATTER, PARTITIONS, SBUF_PARTITION_STRIDE, SBUF_VARIABLE
from neuronsim.check.flat import Flat

WRITE, PARTIAL = 1, 2
OUTSIDE = 1 << 50  # beyond any memory, far from overflow
_INDEX_BYTES = BY_NAME["int32"].size


def descriptors_of(stage: Stage, flat: Flat) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (op, descriptor number) of all transfers, without descriptors that do not exist."""
    ops = np.flatnonzero(flat.transfer >= 0)
    first = flat.words["arg"][ops].astype(np.int64)
    count = np.clip(len(stage.descriptors) - first, 0, flat.words["count"][ops].astype(np.int64))
    ends = np.cumsum(count)
    number = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - count - first, count)
    return np.repeat(ops, count), number


def transfer_rows(stage: Stage, flat: Flat, access: np.dtype) -> Iterator[np.ndarray]:
    """Yield access rows (not yet in normal form) of all transfers."""
    ops, number = descriptors_of(stage, flat)
    if not len(ops):
        return
    d = stage.descriptors[number]
    size, read_size = d["size"].astype(np.int64), d["size"].astype(np.int64)
    write_size = read_size.copy()
    limit = d["index_limit"].astype(np.int64)
    read_size[d["op"] == DMA_GATHER, 0] = limit[d["op"] == DMA_GATHER]
    write_size[d["op"] == DMA_SCATTER, 0] = limit[d["op"] == DMA_SCATTER]
    yield _side(ops, d["src_var"], d["src_off"], d["src_step"], read_size, SIZES[d["src_dtype"]], 0, access)
    add = np.flatnonzero(d["op"] == DMA_ADD)  # also reads where it writes
    u = d[add]
    yield _side(ops[add], u["dst_var"], u["dst_off"], u["dst_step"], write_size[add], SIZES[u["dst_dtype"]], 0, access)
    indexed = np.flatnonzero((d["op"] == DMA_GATHER) | (d["op"] == DMA_SCATTER))
    yield _indices(ops[indexed], d[indexed], size[indexed], access)
    yield _side(ops, d["dst_var"], d["dst_off"], d["dst_step"], write_size, SIZES[d["dst_dtype"]], WRITE, access)


def _indices(ops: np.ndarray, d: np.ndarray, size: np.ndarray, access: np.dtype) -> np.ndarray:
    """The int32 indices a gather or scatter reads from SBUF."""
    count, step = np.ones((len(ops), 4), dtype=np.int64), np.zeros((len(ops), 4), dtype=np.int64)
    count[:, 0], step[:, 0] = size[:, 0], d["index_step"]
    return _side(ops, np.full(len(ops), SBUF_VARIABLE), d["index_off"], step, count,
                 np.full(len(ops), _INDEX_BYTES), 0, access)


def _side(ops: np.ndarray, var: np.ndarray, off: np.ndarray, step: np.ndarray, size: np.ndarray, element: np.ndarray,
          flags: int, access: np.dtype) -> np.ndarray:
    """Rows of one side of many descriptors: variable ids, byte offsets, [d, 4] byte steps and sizes, element bytes."""
    rows = np.zeros(len(ops), dtype=access)
    rows["op"], rows["flags"] = ops, flags
    rows["mem"] = np.where(var == SBUF_VARIABLE, 0, var.astype(np.int64) + 1)
    rows["lo"], rows["run"] = off.astype(np.int64), element
    rows["step"], rows["size"] = step, np.minimum(size, np.iinfo(np.int32).max)
    rows["p1"] = 1
    _tame(rows)
    dram = rows["mem"] >= 2
    return np.concatenate([_merge(_split(rows[~dram])), rows[dram]])


def _tame(rows: np.ndarray) -> None:
    """Replace patterns that reach beyond any memory by one element out there, so that arithmetic cannot overflow."""
    moved = (rows["size"].astype(np.float64) - 1) * rows["step"].astype(np.float64)
    low = rows["lo"] + np.minimum(moved, 0).sum(axis=1)
    high = rows["lo"] + np.maximum(moved, 0).sum(axis=1)
    top = np.where(rows["mem"] == 0, PARTITIONS * SBUF_PARTITION_STRIDE, OUTSIDE)
    wild = (low < 0) | (high > top)
    rows["lo"][wild] = np.where(low < 0, np.clip(low, -OUTSIDE, 0), np.minimum(high, OUTSIDE))[wild].astype(np.int64)
    rows["size"][wild] = 1


def _split(rows: np.ndarray) -> np.ndarray:
    """Turn SBUF addresses into partitions and bytes."""
    rows = rows.copy()
    moving = rows["size"] > 1
    inside = np.abs(rows["step"]) < SBUF_PARTITION_STRIDE
    counts = moving & ~inside  # dimensions that leave the partition
    straight = rows["step"] == SBUF_PARTITION_STRIDE
    simple = (counts.sum(axis=1) <= 1) & (straight | ~counts).all(axis=1)
    return np.concatenate([_split_simple(rows[simple], counts[simple])] + [_expand(r) for r in rows[~simple]])


def _split_simple(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    partitions = np.where(counts, rows["size"], 1).prod(axis=1)
    rows["p0"] = rows["lo"] // SBUF_PARTITION_STRIDE
    rows["p1"] = rows["p0"] + partitions
    rows["lo"] %= SBUF_PARTITION_STRIDE
    rows["size"] = np.where(counts, 1, rows["size"])
    rows["step"] = np.where(counts, 0, rows["step"])
    return rows


def _expand(row: np.ndarray) -> np.ndarray:
    """One row per step of the dimensions that leave the partition; used where these are not plain partition counts."""
    step, size = row["step"].astype(np.int64), row["size"].astype(np.int64)
    leaving = [k for k in range(4) if size[k] > 1 and abs(int(step[k])) >= SBUF_PARTITION_STRIDE]
    offsets = np.zeros(1, dtype=np.int64)
    for k in leaving:
        offsets = np.unique(offsets[:, None] + np.arange(size[k]) * step[k])
    rows = np.repeat(row.reshape(1), len(offsets))
    rows["lo"] += offsets
    for k in leaving:
        rows["size"][:, k], rows["step"][:, k] = 1, 0
    return _split_simple(rows, np.zeros((len(rows), 4), dtype=bool))


def _merge(rows: np.ndarray) -> np.ndarray:
    """Merge neighbours of one transfer with the same bytes in consecutive partitions."""
    if len(rows) < 2:
        return rows
    a, b = rows[:-1], rows[1:]
    joined = (a["p1"] == b["p0"]) & (a["op"] == b["op"]) & (a["lo"] == b["lo"]) & (a["run"] == b["run"])
    joined &= (a["step"] == b["step"]).all(axis=1) & (a["size"] == b["size"]).all(axis=1)
    first = np.flatnonzero(np.concatenate([[True], ~joined]))
    last = np.concatenate([first[1:], [len(rows)]]) - 1
    merged = rows[first]
    merged["p1"] = rows["p1"][last]
    return merged
