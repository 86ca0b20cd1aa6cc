"""What no machine can be: the limits that a target's values are held to."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from isa.errors import TargetError
from isa.word import DMA_OPS, SBUF_PARTITION_STRIDE

if TYPE_CHECKING:
    from isa.target import Target

DESCRIBED_LIMITS = {  # what words and descriptors can express
    "partitions": 128,
    "dma.queues": 256,
    "semaphores": 65536,
    "sbuf.partition_bytes": SBUF_PARTITION_STRIDE,
}
RATES = ("_ghz", "bytes_per_ns", "flops_per_ns", "_efficiency", "_efficiency_sbuf", ".load_speedup")
TIMES = ("_ns", "_cycles")


def check(target: Target) -> None:
    """Refuse values no machine can have, so that later code need not. Raises: TargetError."""
    for name, p in target.parameters.items():
        _check_value(target, name, p.value)
    for name, limit in DESCRIBED_LIMITS.items():
        if target[name] > limit:
            raise TargetError(f"{name} is larger than the encoding allows", where=target.name, limit=limit,
                              actual=target[name])
    if target.psum_partition_bytes % target.psum_banks:
        raise TargetError("PSUM banks must divide the partition", where=target.name, limit=target.psum_partition_bytes,
                          actual=target.psum_banks)
    _check_grid(target)
    for op in target["dma.ops"]:
        if op not in DMA_OPS:
            raise TargetError(f"unknown DMA operation {op!r}", where=target.name, help="known: " + ", ".join(DMA_OPS))


def _check_grid(target: Target) -> None:
    grid = target["link.grid"]
    if not (isinstance(grid, list | tuple) and len(grid) == 2 and all(isinstance(n, int) and n > 0 for n in grid)):
        raise TargetError("link.grid is [rows, columns] of chips", where=target.name, actual=grid)
    if math.prod(grid) != target.chips:
        raise TargetError("link.grid does not have as many chips as the machine", where=target.name,
                          limit=target.chips, actual=math.prod(grid), help=f"link.grid: [1, {target.chips}]")


def _check_value(target: Target, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        numeric = name.endswith((*RATES, *TIMES, "_bytes")) or name in DESCRIBED_LIMITS
        if isinstance(value, str) or (numeric and not (value is None and name == "link.bytes_per_ns")):
            raise TargetError(f"{name} must be a number", where=target.name, actual=value)
        return
    zero_allowed = name.endswith(TIMES) or name in ("usd_per_hour", "stride_threshold_bytes")
    if math.isnan(value) or value < 0 or (value == 0 and not zero_allowed):
        raise TargetError(f"{name} is out of range", where=target.name, limit="positive", actual=value)
    if math.isinf(value) and not name.endswith(RATES):
        raise TargetError(f"{name} cannot be infinite", where=target.name, actual=value,
                          help="clocks and bandwidths can be")
