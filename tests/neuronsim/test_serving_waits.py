"""What waits for transfers, read off a run alone, and the DMA of that run told again without its instructions."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.backend import build
from isa import target as targets
from isa.lang import TileProgram
from isa.program import Stage
from isa.word import ENGINES
from neuronsim.serving.profile import CHAIN, DUE, GAP, GATE, NEXT, RELEASE, SERVICE, WORK, Profile
from neuronsim.serving.waits import Waits
from neuronsim.timing import Placed, Timeline, simulate
from tests.neuronsim.serving_programs import program

INF1 = targets.load("inf1.xlarge")
LATENCY = INF1.ns_to_ticks(INF1.semaphore_latency_ns)


def two_in_two_out() -> tuple[Stage, Timeline]:
    """a and b come in: relu(a) goes out, then a chain of work, then its result plus b."""
    p = TileProgram("inf1.xlarge")
    a, b = (p.input(n, (128, 512), "fp32") for n in "ab")
    first, second = (p.output(n, (128, 512), "fp32") for n in "xy")
    with p.layer("l", "Relu", "relu"):
        tiles = [p.sbuf((128, 512), "fp32") for _ in range(4)]
        p.dma(tiles[0], a)
        p.dma(tiles[1], b)
        p.activation(tiles[2], tiles[0], "relu")
        p.dma(first, tiles[2])
        for _ in range(40):
            p.activation(tiles[2], tiles[2], "relu")
        p.tensor_tensor(tiles[3], tiles[2], tiles[1], "add")
        p.dma(second, tiles[3])
    stage = build(p)
    return stage, simulate(stage, INF1)


def test_due_gate_and_gap() -> None:
    stage, timeline = two_in_two_out()
    waits = Waits.of(stage, timeline, INF1)
    a, b, x, y = np.argsort(timeline.transfer_enqueue, kind="stable").tolist()
    relu, add = (int(np.flatnonzero(timeline.engine == ENGINES.index(e))[0]) for e in ("scalar", "vector"))
    assert waits.due[a] == timeline.transfer_end[a] == timeline.start[relu] - LATENCY
    assert waits.gate[a] == timeline.transfer_enqueue[x]
    assert waits.gap[a] == timeline.start[relu] - timeline.wait_start[relu] > 0
    assert waits.due[b] > timeline.transfer_end[b]  # prefetched: the chain of work lies between
    assert waits.gate[b] == timeline.transfer_enqueue[y] > waits.gate[a]
    assert waits.gap[b] == 0 and waits.due[b] == timeline.start[add] - LATENCY
    assert waits.gate[x] == timeline.transfer_enqueue[y]  # what x reads is overwritten by the work behind it
    assert waits.gate[y] == waits.due[y] == timeline.total_ticks


@pytest.mark.parametrize("batch", [1, 64])
def test_the_dma_told_again_is_that_of_the_run(batch: int) -> None:
    """By themselves the lumps are moved as the transfers were: the last of each ends when that did."""
    (stage,) = program(4, 768, batch).stages
    timeline, profile = simulate(stage, INF1), Profile.of(Placed(stage), INF1, False)
    lumps = profile.lumps()
    waits = Waits.of(stage, timeline, INF1)
    assert len(lumps) == profile.count
    ends = _moved(lumps)
    assert ends.max() == timeline.transfer_end.max()
    assert set(timeline.transfer_end.tolist()) <= set(ends.tolist())
    assert (lumps[:, DUE] >= ends).all() and (lumps[:, GATE] >= lumps[:, DUE]).all()
    assert lumps[:, GAP].sum() == waits.gap.sum() <= timeline.total_ticks


def _moved(lumps: np.ndarray) -> np.ndarray:
    """[n] when each lump has been moved where nobody else uses the DRAM."""
    ends = np.zeros(len(lumps), dtype=np.int64)
    followed = set(lumps[:, NEXT].tolist())
    heads = {int(lumps[i, CHAIN]): i for i in range(len(lumps)) if i not in followed}
    free, done = 0, dict.fromkeys(heads, 0)
    while heads:
        asks = {c: max(done[c], int(lumps[i, RELEASE])) for c, i in heads.items()}
        chain = min(asks, key=lambda c: (asks[c], c))
        i = heads.pop(chain)
        done[chain] = asks[chain] + int(lumps[i, SERVICE])
        if lumps[i, WORK]:
            free = max(free, asks[chain]) + int(lumps[i, WORK])
            done[chain] = max(done[chain], free)
        ends[i] = done[chain]
        if lumps[i, NEXT] >= 0:
            heads[chain] = int(lumps[i, NEXT])
    return ends


def test_joined_shares_move_as_much() -> None:
    (stage,) = program(4, 768, 64).stages
    profile = Profile.of(Placed(stage), INF1, False)
    for engines, descriptors in ((2, 1), (16, 1), (16, 4), (16, 10**6)):
        joined = profile.joined(engines, descriptors)
        assert joined.work.sum() == profile.work.sum() and joined.gap.sum() == profile.gap.sum()
        assert joined.count < profile.count
        assert joined.count <= -(-len(profile.work) // descriptors) * (16 // engines)
        assert (joined.lumps()[:, GATE] <= profile.ticks).all()
