"""What the stages of a pipeline share the machine by: starts of transfers, links between chips, DRAM of a chip."""
from __future__ import annotations

from dataclasses import dataclass

from compiler.sharding.handover import SHARE
from isa.program import HANDOVER_BUFFERS
from isa.target import Target
from isa.topology import Topology

NEVER = 1e-9  # bytes per ns: one byte takes a second


@dataclass(frozen=True)
class Rates:
    """What a stage has beside its engines.

    Attributes:
        start_ns: from the trigger of a transfer to its first byte, and until it is seen to have ended.
        fetch_bytes_per_ns: handed values between the buffers and the working tiles.
        link_bytes_per_ns: to the next chip, infinite where there is none.
        stream_bytes_per_ns: weights that have no room, from DRAM.
        room: SBUF bytes of each of `partitions`.
        chip: cores of a chip. stages: of the pipeline. first_core: the one of the first stage.
        dram_bytes_per_ns: that the stages of a chip share.
        buffered: bytes that a stage can be handed in SBUF; the largest values of more go through DRAM.
    """

    start_ns: float
    fetch_bytes_per_ns: float
    link_bytes_per_ns: float
    stream_bytes_per_ns: float
    room: int
    partitions: int
    chip: int
    stages: int
    first_core: int = 0
    dram_bytes_per_ns: float = float("inf")
    buffered: float = float("inf")

    def crosses(self, stage: int) -> bool:
        """Whether what a stage hands on goes to another chip."""
        return (self.first_core + stage + 1) % self.chip == 0

    def chip_of(self, stage: int) -> int:
        """The chip of a stage, whose DRAM it shares."""
        return (self.first_core + stage) // self.chip


def rates(target: Target, stages: int, first_core: int = 0, stream: float = NEVER) -> Rates:
    """Rates of a pipeline of so many stages on the cores from `first_core` on.

    Args:
        stream: bytes per ns at which a stage fetches weights that have no room; `NEVER`: it must not.
    """
    topology = Topology(target)
    dma = target.dma
    return Rates(
        start_ns=dma.start_latency_ns + dma.t0_ns + target.semaphore_latency_ns,
        fetch_bytes_per_ns=dma.engines * dma.bytes_per_ns,
        link_bytes_per_ns=topology.link_bytes_per_ns or float("inf"),
        stream_bytes_per_ns=stream,
        room=target.sbuf_partition_bytes,
        partitions=target.partitions,
        chip=topology.cores_per_chip,
        stages=stages,
        first_core=first_core,
        dram_bytes_per_ns=target.dram_bytes_per_ns,
        buffered=target.sbuf_partition_bytes // SHARE * target.partitions / HANDOVER_BUFFERS,
    )
