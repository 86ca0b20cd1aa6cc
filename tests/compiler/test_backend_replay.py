"""The estimate of pinned stages is the machine's time, where device memory is short too."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.backend import build
from isa import target
from isa.lang import TileProgram
from isa.program import Stage
from isa.target import Target
from neuronsim.timing import simulate
from tests.compiler.backend_programs import random_program


def _uneven(machine: Target, blocks: int) -> TileProgram:
    """Blocks that each add a weight of 128 partitions and one of 3, which a single DMA engine loads."""
    p = TileProgram(machine)
    x, y = p.input("x", (128, 512), "fp32"), p.output("y", (128, 512), "fp32")
    total = p.sbuf((128, 512), "fp32")
    p.dma(total, x)
    for k in range(blocks):
        for rows in (128, 3):
            tile = p.sbuf((rows, 512), "fp32")
            p.dma(tile, p.constant(f"w{k}.{rows}", np.full((rows, 512), k, dtype=np.float32)))
            part = total[:rows]
            p.tensor_tensor(part, part, tile, "add")
    p.dma(y, total)
    return p


def _ratio(stage: Stage, machine: Target) -> float:
    """Estimated time over the machine's."""
    estimated = stage.info["estimated_ns"]
    assert isinstance(estimated, float)
    return estimated / machine.ticks_to_ns(simulate(stage, machine).total_ticks)


@pytest.mark.parametrize("bandwidth", [20, 50, 100, 500])
def test_small_shares_wait_for_their_turn(bandwidth: float) -> None:
    changes = {"sbuf.partition_bytes": 24576, "dram.bytes_per_ns": bandwidth}
    machine = target.load("inf1.xlarge").with_params(changes)
    stage = build(_uneven(machine, 12), pin=True)
    assert stage.info["streamed_bytes"] > 128 * 2048  # type: ignore[operator]
    assert _ratio(stage, machine) == pytest.approx(1, abs=0.005)


def test_whole_transfers_are_too_kind() -> None:
    """What unpinned programs are scheduled by, and why pinned stages are not."""
    machine = target.load("inf1.xlarge").with_params({"dram.bytes_per_ns": 100})
    assert _ratio(build(_uneven(machine, 12)), machine) < 0.85


@pytest.mark.parametrize("seed", range(8))
def test_queues_and_moves(seed: int) -> None:
    """Loads, stores and moves on three queues; 3%: exclusive ports and the words that only wait are not estimated."""
    machine = target.load("trn1.2xlarge").with_params({"sbuf.partition_bytes": 7168, "dram.bytes_per_ns": 0.5})
    assert _ratio(build(random_program(seed, 50, machine, 30), pin=True), machine) == pytest.approx(1, abs=0.03)
