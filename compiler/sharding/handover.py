"""In which memory a stage receives what the one before hands it: two buffers each in SBUF, or in DRAM for want of room.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from isa.program import HANDOVER_ALIGNMENT, HANDOVER_BUFFERS, IN_DRAM, IN_SBUF
from isa.target import Target

SHARE = 4  # of the SBUF, at most one part in so many holds handover buffers: the rest is for weights and work


def buffer_bytes(sizes: Iterable[int], target: Target) -> int:
    """SBUF bytes per partition of the buffers of values of so many bytes."""
    rows = (-(-size // target.partitions) for size in sizes)
    return HANDOVER_BUFFERS * sum(-(-row // HANDOVER_ALIGNMENT) * HANDOVER_ALIGNMENT for row in rows)


def spaces(sizes: Mapping[str, int], target: Target) -> dict[str, str]:
    """Memory of each value handed to one stage, by name: SBUF, save the largest while they do not fit their share.

    Args:
        sizes: bytes by name.
    """
    inside = sorted(sizes, key=lambda name: sizes[name])  # stable: the later of equals leaves first
    while inside and buffer_bytes((sizes[n] for n in inside), target) > target.sbuf_partition_bytes // SHARE:
        inside.pop()
    return {name: IN_SBUF if name in inside else IN_DRAM for name in sizes}
