"""Random programs: with the waits they need they are clean; without a needed one the race is reported."""
from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.word import ENGINES, PSUM, SBUF
from neuronsim.check import Checker, check, races, regions
from neuronsim.check.happens_before import happens_before
from tests.neuronsim.check_programs import INPUT, TARGET, At, Builder, pipeline

COMPUTE = ("vector", "scalar", "gpsimd")


def tile(r: random.Random) -> At:
    """A strided pattern in a small area, so that patterns overlap, interleave and miss each other."""
    partitions = r.choice((32, 64, 128))
    return At(4 * r.randrange(24), r.randint(1, 6), partitions, r.randrange(0, 129 - partitions, 32),
              r.choice((SBUF, SBUF, PSUM)), r.randint(1, 3))


class Synchronised(Builder):
    """Every op posts; before an op come waits for the latest conflicting op of each engine and each transfer."""

    def __init__(self, r: random.Random, ops: int) -> None:
        super().__init__()
        self.r, self.history = r, []  # (engine, semaphore, value, transfer, reads, writes)
        self.posted = dict.fromkeys(range(1, 64), 0)
        x = self.variable(INPUT, 128 * 8)
        for area in range(0, 48 * 4, 24):  # nothing is read unwritten
            self.op("vector", At(area, 6), None, None)
            self.op("gpsimd", At(area, 6, space=PSUM), None, None)
        for _ in range(ops):
            if r.random() < 0.3:
                dst = At(4 * r.randrange(24), r.randint(1, 6), 128)
                self.op(r.choice(("sync", "vector", "scalar")), dst, None, (x, 0))
            else:
                self.op(r.choice(COMPUTE), tile(r), tile(r), None)

    def op(self, engine: str, dst: At, src: At | None, dram: tuple[int, int] | None) -> None:
        reads, writes = src.bytes() if src else set(), dst.bytes()
        sem = 16 + len(self.descriptors) % 3 if dram else 1 + ENGINES.index(engine)
        needed: dict[int, int] = {}
        for other, s, value, transfer, r, w in self.history:
            if (w & (reads | writes) or r & writes) and (transfer or dram or other != engine):
                needed[s] = max(value, needed.get(s, 0))
        if dram and self.posted[sem]:
            needed[sem] = self.posted[sem]  # the earlier use of the semaphore is complete
        waits = list(needed.items())
        while len(waits) > 2:
            self.word(engine, "nop", (waits.pop(),))
        if dram:
            self.dma(engine, dst, dram, tuple(waits), sem, dst.elements)
        elif src:
            elements = min(src.elements, dst.elements)
            assert elements
            self.word(engine, "tensor_copy", tuple(waits), (sem, 1), dst=dst, src0=src)
        else:
            self.memset(engine, dst, tuple(waits), (sem, 1))
        self.posted[sem] += 16 if dram else 1
        self.history.append((engine, sem, self.posted[sem], dram is not None, reads, writes))


def conflicts(checker: Checker) -> list[tuple[int, int]]:
    """All pairs of ops with conflicting accesses, by sets of bytes: every pair, no bucket, no pruning."""
    touched: dict[int, tuple[set, set]] = {}
    for a in checker.accesses.records:
        reads, writes = touched.setdefault(int(a["op"]), (set(), set()))
        columns = {int(a["lo"]) + k for k in range(int(a["run"]))}
        for d in range(int(a["dims"])):
            columns = {c + int(a["step"][d]) * i for c in columns for i in range(int(a["size"][d]))}
        if a["mem"] < 2:  # all other accesses are reads of an input
            (writes if a["flags"] & regions.WRITE else reads).update(
                (int(a["mem"]), p, c) for p in range(int(a["p0"]), int(a["p1"]), 32) for c in columns)
    flat, found = checker.flat, []
    for i in touched:
        for j in touched:
            (ri, wi), (rj, wj) = touched[i], touched[j]
            interlocked = flat.engine[i] == flat.engine[j] and flat.transfer[i] < 0 and flat.transfer[j] < 0
            if i < j and not interlocked and (wi & (rj | wj) or ri & wj):
                found.append((i, j))
    return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_synchronised_programs_are_clean(seed: int) -> None:
    assert check(Synchronised(random.Random(seed), 25).stage(), TARGET) == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_a_dropped_wait_is_reported_exactly_when_it_is_not_implied(seed: int) -> None:
    checker = Checker(Synchronised(random.Random(seed), 20).stage(), TARGET)
    pairs = conflicts(checker)
    for op, slot in checker.waits():
        clocks = happens_before(checker.flat.without_wait(op, slot), checker.execution)
        broken = any(not clocks.before(a, b) and not clocks.before(b, a) for a, b in pairs)
        assert bool(checker.races_without(op, slot)) == broken


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9), dropped=st.integers(1, 20))
def test_without_pruning_the_scan_finds_exactly_the_unordered_pairs(seed: int, dropped: int) -> None:
    r = random.Random(seed)
    checker = Checker(Synchronised(r, 25).stage(), TARGET)
    flat = checker.flat
    for op, slot in r.sample(checker.waits(), min(dropped, len(checker.waits()))):
        flat = flat.without_wait(op, slot)
    clocks = happens_before(flat, checker.execution)
    expected = {p for p in conflicts(checker) if not clocks.before(*p) and not clocks.before(*p[::-1])}
    records = checker.board.accesses.records
    for prune in (False, True):
        pairs = races.pairs(flat, checker.board, checker.execution.order, clocks, 10**6, prune=prune)
        ops = {tuple(sorted((int(records["op"][i]), int(records["op"][j])))) for i, j in pairs}
        assert ops <= expected if prune else ops == expected
        assert bool(ops) == bool(expected)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_overlap_of_strided_patterns(data: st.DataObject) -> None:
    rows = np.zeros(2, dtype=regions.ACCESS)
    expected = []
    for k in range(2):
        size = data.draw(st.lists(st.integers(1, 4), min_size=4, max_size=4))
        step = data.draw(st.lists(st.integers(-40, 40), min_size=4, max_size=4))
        rows[k]["lo"], rows[k]["run"] = data.draw(st.integers(400, 700)), data.draw(st.sampled_from((1, 2, 4)))
        rows[k]["size"], rows[k]["step"], rows[k]["p1"] = size, step, 1
        at = np.array([0])
        for z, s in zip(size, step):
            at = (at[:, None] + np.arange(z) * s).reshape(-1)
        expected.append({int(rows[k]["lo"] + a + i) for a in at for i in range(rows[k]["run"])})
    rows["op"] = (0, 1)
    accesses = regions.group(rows, 2)
    for k in range(2):
        assert (accesses.records[k]["lo"], accesses.records[k]["hi"]) == (min(expected[k]), max(expected[k]) + 1)
    assert accesses.overlap(0, 1) == bool(expected[0] & expected[1]) == accesses.overlap(1, 0)


@pytest.mark.parametrize("depth", [2, 3])
def test_every_wait_of_a_pipeline_is_needed_or_implied(depth: int) -> None:
    checker = Checker(pipeline(12, depth=depth, elements=64), TARGET)
    for op, slot in checker.waits():
        flat = checker.flat.without_wait(op, slot)
        clocks = happens_before(flat, checker.execution)
        every = races.pairs(flat, checker.board, checker.execution.order, clocks, 10**6, prune=False)
        assert bool(checker.races_without(op, slot)) == bool(every)


def test_large_programs_take_seconds_at_most() -> None:
    stage = pipeline(2500)  # 20,000 words, 5,000 transfers
    start = time.perf_counter()
    checker = Checker(stage, TARGET)
    assert checker.findings() == []
    assert time.perf_counter() - start < 2
    start = time.perf_counter()
    for op, slot in checker.waits()[::1500]:
        checker.races_without(op, slot)
    assert (time.perf_counter() - start) / len(checker.waits()[::1500]) < 0.3
