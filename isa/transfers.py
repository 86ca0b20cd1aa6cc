"""Which descriptors the `dma_trigger` words of a stream start."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isa.spec import SPEC


def triggers(stream: np.ndarray) -> np.ndarray:
    """Return the `dma_trigger` words of a [n] WORD stream."""
    found: np.ndarray = stream[stream["opcode"] == SPEC.by_name["dma_trigger"].opcode]
    return found


def started(streams: Iterable[np.ndarray], descriptors: int) -> np.ndarray:
    """Return the [descriptors] bool mask of what the triggers of some streams start; rows out of range do not count."""
    edges = np.zeros(descriptors + 1, dtype=np.int64)
    for stream in streams:
        words = triggers(stream)
        first = np.minimum(words["arg"].astype(np.int64), descriptors)
        last = np.minimum(words["arg"].astype(np.int64) + words["count"], descriptors)
        np.add.at(edges, first, 1)
        np.add.at(edges, last, -1)
    mask: np.ndarray = np.cumsum(edges)[:descriptors] > 0
    return mask
