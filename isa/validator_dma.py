"""Checks of DMA descriptors: operation, variables, addresses. Extents are taken in float64, exact below 2**53 bytes."""
from __future__ import annotations

import numpy as np

from isa.dtypes import SIZES
from isa.program import INPUT, OUTPUT, WEIGHT, Stage
from isa.target import Target
from isa.transfers import started
from isa.violations import Place, Violations
from isa.word import (
    DESCRIPTOR,
    DMA_GATHER,
    DMA_OPS,
    DMA_SCATTER,
    DMA_TRANSPOSE,
    PARTITIONS,
    SBUF_PARTITION_STRIDE,
    SBUF_VARIABLE,
    WORD,
)

_CAST = DMA_OPS.index("cast")


def validate(found: Violations, rank: int, stage: Stage, target: Target) -> None:
    """Record what is wrong with the descriptors of a stage."""
    d = stage.descriptors
    if not len(d):
        return
    place = Place(rank, "descriptor", np.arange(len(d)))
    if d.dtype != DESCRIPTOR:
        found.check(np.ones(1, dtype=bool), place, "LAYOUT", "not an array of descriptors")
        return
    _operation(found, place, d, stage, target)
    for side in ("src", "dst"):
        _side(found, place.within(side), d, side, stage, target)
    _index(found, place, d, stage, target)
    _loading(found, place, d, stage)


def _operation(found: Violations, place: Place, d: np.ndarray, stage: Stage, target: Target) -> None:
    usable = np.zeros(256, dtype=bool)
    usable[[DMA_OPS.index(name) for name in target.dma.ops]] = True
    found.check(~usable[d["op"]], place, "DMA_OP", f"{target.generation} has no such DMA operation",
                ", ".join(target.dma.ops), d["op"])
    found.check(d["flags"] != 0, place, "PADDING", "flags are reserved", 0, d["flags"])
    found.check(d["debug"] >= max(len(stage.debug), 1), place, "DEBUG", "no such debug row", len(stage.debug) - 1,
                d["debug"])
    found.check((d["size"] == 0).any(axis=1), place, "FREE_SIZE", "a dimension has size 0", 1, d["size"])
    src, dst = SIZES[d["src_dtype"]], SIZES[d["dst_dtype"]]
    moved = d["size"].astype(np.float64).prod(axis=1) * np.maximum(src, dst)
    found.check(moved > target.dram_bytes_per_chip, place, "FREE_SIZE", "moves more bytes than the device memory has",
                target.dram_bytes_per_chip, moved)
    found.check((src == 0) | (dst == 0), place, "DTYPE", "unknown data type")
    found.check((src != dst) & (d["op"] != _CAST), place, "DTYPE", "only a cast changes the element size", src, dst)
    transpose = (d["op"] == DMA_TRANSPOSE) & (src != 2) & (src != 4)
    found.check(transpose, place, "DTYPE", "a DMA transpose moves elements of 2 or 4 bytes", "2 or 4", src)


def _side(found: Violations, place: Place, d: np.ndarray, side: str, stage: Stage, target: Target) -> None:
    variable = d[f"{side}_var"].astype(np.int64)
    known = variable <= len(stage.variables)
    found.check(~known, place, "VARIABLE", "no such variable", len(stage.variables), variable)
    if side == "dst":
        weights = np.array([False, *(v.kind == WEIGHT for v in stage.variables)])
        found.check(known & weights[np.where(known, variable, 0)], place, "VARIABLE", "weights are read only")
    counts = d["size"].astype(np.float64)
    indexed = d["op"] == (DMA_GATHER if side == "src" else DMA_SCATTER)
    counts[:, 0] = np.where(indexed, d["index_limit"], counts[:, 0])
    steps, offset, width = d[f"{side}_step"], d[f"{side}_off"], SIZES[d[f"{side}_dtype"]]
    dram = known & (variable != SBUF_VARIABLE)
    if dram.any():
        bytes_ = np.array([0.0, *(float(v.size_bytes) for v in stage.variables)])
        _dram(found, place.where(dram), counts[dram], steps[dram], offset[dram], width[dram], bytes_[variable[dram]])
    sbuf = variable == SBUF_VARIABLE
    if sbuf.any():
        _sbuf(found, place.where(sbuf), counts[sbuf], steps[sbuf], offset[sbuf], width[sbuf], _limit(stage, target))


def _limit(stage: Stage, target: Target) -> int:
    """Bytes of an SBUF partition below the buffers of what the stage is handed."""
    return target.sbuf_partition_bytes - stage.handover_bytes


def _reach(counts: np.ndarray, steps: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of start + sum of steps * index: float64 [n] each."""
    reach = steps.astype(np.float64) * np.maximum(counts - 1, 0)
    return start + np.minimum(reach, 0).sum(axis=1), start + np.maximum(reach, 0).sum(axis=1)


def _dram(found: Violations, place: Place, counts: np.ndarray, steps: np.ndarray, offset: np.ndarray, width: np.ndarray,
          limit: np.ndarray) -> None:
    low, high = _reach(counts, steps, offset.astype(np.float64))
    found.check(low < 0, place, "OUT_OF_BOUNDS", "the transfer starts before the variable", 0, low)
    found.check(high + width > limit, place, "OUT_OF_BOUNDS", "the transfer ends after the variable", limit,
                high + width)


def _sbuf(found: Violations, place: Place, counts: np.ndarray, steps: np.ndarray, offset: np.ndarray, width: np.ndarray,
          limit: int) -> None:
    """Every element lies in a partition, below `limit`. A step is so many partitions and so many bytes, and the bytes
    may go either way: the descriptor is legal when one reading keeps both within bounds.
    """
    best = _sbuf_reach(counts, steps, offset, SBUF_PARTITION_STRIDE // 2)
    fits = _fits(best, width, limit)
    for bias in (0, SBUF_PARTITION_STRIDE - 1):
        if not fits.all():
            fits |= _fits(_sbuf_reach(counts, steps, offset, bias), width, limit)
    p_low, p_high, b_low, b_high = best
    wrong = ~fits
    found.check(wrong & ((p_low < 0) | (p_high >= PARTITIONS)), place, "PARTITIONS", "partitions past the last",
                PARTITIONS - 1, p_high)
    found.check(wrong & (b_low < 0), place, "OUT_OF_BOUNDS", "the transfer starts before the partition", 0, b_low)
    found.check(wrong & (b_high + width > limit), place, "OUT_OF_BOUNDS", "the transfer ends after the partition",
                limit, b_high + width)


def _sbuf_reach(counts: np.ndarray, steps: np.ndarray, offset: np.ndarray, bias: int) -> tuple[np.ndarray, ...]:
    """Least and greatest partition and byte, when a step is rounded to partitions with that bias."""
    moved = np.where(counts > 1, steps, 0)
    partitions = moved // SBUF_PARTITION_STRIDE + (moved % SBUF_PARTITION_STRIDE + bias) // SBUF_PARTITION_STRIDE
    in_partition = moved.astype(np.float64) - partitions.astype(np.float64) * SBUF_PARTITION_STRIDE
    first = (offset // SBUF_PARTITION_STRIDE).astype(np.float64)
    byte = (offset % SBUF_PARTITION_STRIDE).astype(np.float64)
    return (*_reach(counts, partitions, first), *_reach(counts, in_partition, byte))


def _fits(reach: tuple[np.ndarray, ...], width: np.ndarray, limit: int) -> np.ndarray:
    p_low, p_high, b_low, b_high = reach
    return (p_low >= 0) & (p_high < PARTITIONS) & (b_low >= 0) & (b_high + width <= limit)


def _index(found: Violations, place: Place, d: np.ndarray, stage: Stage, target: Target) -> None:
    indexed = (d["op"] == DMA_GATHER) | (d["op"] == DMA_SCATTER)
    used = (d["index_off"] != 0) | (d["index_step"] != 0) | (d["index_limit"] != 0)
    found.check(~indexed & used, place, "PADDING", "index fields of a transfer without indices are not zero")
    if not indexed.any():
        return
    d, place = d[indexed], place.where(indexed).within("index")
    found.check(d["index_limit"] == 0, place, "RANGE", "no index is valid", 1, d["index_limit"])
    counts = d["size"][:, :1].astype(np.float64)
    steps = d["index_step"].astype(np.int64)[:, None]
    _sbuf(found, place, counts, steps, d["index_off"], np.full(len(d), 4), _limit(stage, target))


def _loading(found: Violations, place: Place, d: np.ndarray, stage: Stage) -> None:
    """What runs when a stage is loaded has no inputs yet and makes no outputs."""
    if any(stream.dtype != WORD for stream in stage.init.values()):
        return
    loads = started(stage.init.values(), len(d))
    faces = np.array([False, *(v.kind in (INPUT, OUTPUT) for v in stage.variables)])
    for side in ("src", "dst"):
        variable = d[f"{side}_var"].astype(np.int64)
        touched = faces[np.where(variable < len(faces), variable, 0)]
        found.check(loads & touched, place.within(side), "INIT", "loading a stage cannot touch its inputs and outputs",
                    "file or tmp-buf", variable)
