"""dma_trigger: descriptors arg .. arg + count - 1 move data; sources are read at the start, results written at the end.

copy, transpose: bits (a transpose is a copy with other steps); cast: see `rounding.cast`; add: dst + src in fp32,
rounded to dst's type. gather, scatter: int32 indices in SBUF replace the count of dimension 0 on the source (gather) or
destination (scatter) side; an index outside 0 .. index_limit - 1 skips its row. A copy between types is a cast.
"""
from __future__ import annotations

import numpy as np

from isa import dtypes
from isa.word import DMA_ADD, DMA_GATHER, DMA_SCATTER
from neuronsim.insns import rounding
from neuronsim.insns.memory import Memory


def side(memory: Memory, descriptor: np.void, which: str, row: int | None = None) -> np.ndarray:
    """One side ("src" or "dst") as a strided view [s0, s1, s2, s3], or of one row of dimension 0 as [1, s1, s2, s3]."""
    dtype = dtypes.BY_CODE[int(descriptor[f"{which}_dtype"])]
    variable = int(descriptor[f"{which}_var"])
    flat, at = memory.address(variable, int(descriptor[f"{which}_off"]))
    steps = [memory.step(variable, int(s)) for s in descriptor[f"{which}_step"]]
    sizes = [int(s) for s in descriptor["size"]]
    if row is not None:
        at, sizes[0] = at + row * steps[0], 1
    return np.ndarray(tuple(sizes), dtype.numpy, flat.data, at, tuple(steps))


def indices(memory: Memory, descriptor: np.void) -> np.ndarray:
    """int32 [s0] of a gather or scatter."""
    flat, at = memory.address(0, int(descriptor["index_off"]))
    step = memory.step(0, int(descriptor["index_step"]))
    return np.ndarray((int(descriptor["size"][0]),), np.int32, flat.data, at, (step,)).copy()


def converted(memory: Memory, descriptor: np.void, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What to write to `target` for the elements `source`."""
    src, dst = (dtypes.BY_CODE[int(descriptor[f"{w}_dtype"])] for w in ("src", "dst"))
    if int(descriptor["op"]) == DMA_ADD:
        with np.errstate(all="ignore"):
            total = rounding.to_float32(target.copy(), dst) + rounding.to_float32(source, src)
        return rounding.from_float32(total, dst)
    return rounding.cast(source, src, dst)


def _run(memory: Memory, d: np.void) -> None:
    if int(d["op"]) not in (DMA_GATHER, DMA_SCATTER):
        target = side(memory, d, "dst")
        target[...] = converted(memory, d, side(memory, d, "src").copy(), target)
        return
    gather = int(d["op"]) == DMA_GATHER
    for i, index in enumerate(indices(memory, d).tolist()):
        if 0 <= index < int(d["index_limit"]):
            source = side(memory, d, "src", index if gather else i).copy()
            target = side(memory, d, "dst", i if gather else index)
            target[...] = converted(memory, d, source, target)


def meaning(memory: Memory, descriptors: np.ndarray) -> None:
    """Apply descriptors in order (a transfer that overlaps itself is sampled first, see `neuronsim/replay.py`)."""
    for descriptor in descriptors:
        _run(memory, descriptor)
