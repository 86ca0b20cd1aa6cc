"""Cuts of random lines are the best there are, by trying all of them; what building stages teaches changes them."""
from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.sharding.balance import balance, linked_ns, slowest_ns, spans, stage_ns, streamed_bytes
from compiler.sharding.calibrate import Calibration
from compiler.sharding.line import Line, Piece
from compiler.sharding.rates import NEVER, Rates, rates
from isa.target import load

ROOMY = 10**6  # bytes of SBUF that hold all weights
exact = settings(deadline=None, derandomize=True, database=None, max_examples=60)


def line_with(ns: np.ndarray, crossing: np.ndarray, weights: np.ndarray | None = None, kinds: object = None) -> Line:
    """A line of whole nodes whose cut in front of atom k hands on `crossing[k]` bytes that atom k - 1 made."""
    n = len(ns)
    numbers = np.arange(n) if kinds is None else np.asarray(kinds)
    values = [(k - 1, k, float(crossing[k])) for k in range(1, n)]
    return Line([(Piece(f"n{k}", 0, 1, 1),) for k in range(n)], numbers, np.stack([numbers, numbers], axis=1), ns,
                np.zeros(n) if weights is None else weights, np.zeros(n), crossing, values, np.zeros(n + 1),
                np.zeros(n + 1), np.zeros(n + 1))


def machine(stages: int, **changes: object) -> Rates:
    values: dict[str, object] = {
        "start_ns": 5.0, "fetch_bytes_per_ns": 10.0, "link_bytes_per_ns": 1.0, "stream_bytes_per_ns": 0.5, "room": 100,
        "partitions": 1, "chip": 2, "stages": stages, "first_core": 0, **changes}
    return Rates(**values)  # type: ignore[arg-type]


def slowest(line: Line, ends: list[int], limits: Rates) -> float:
    """By the definition: each stage alone, and what it makes over a link at the end of a chip."""
    times = []
    for k, (low, end) in enumerate(spans(ends)):
        time = stage_ns(line, low, end, limits)
        if limits.crosses(k) and end < len(line.atoms):
            time = linked_ns(time, float(line.crossing[end]), 0.0, limits)
        times.append(time)
    return max(times)


def handed(line: Line, ends: list[int]) -> float:
    return float(sum(line.crossing[e] for e in ends[:-1]))


@exact
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 1), st.sampled_from([100, ROOMY]))
def test_no_cut_is_better(seed: int, stages: int, first: int, room: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(stages, 9))
    crossing = np.concatenate([[0], random.integers(0, 40, n - 1), [0]]).astype(float)
    line = line_with(random.integers(1, 60, n).astype(float), crossing, random.integers(0, 60, n).astype(float))
    limits = machine(stages, first_core=first, room=room)
    every = [[*inner, n] for inner in combinations(range(1, n), stages - 1)]
    best = min(slowest(line, ends, limits) for ends in every)
    assert slowest_ns(line, limits) == pytest.approx(best)
    found = balance(line, limits)
    assert slowest(line, found, limits) <= best * 1.0051
    good = [ends for ends in every if slowest(line, ends, limits) <= best * 1.005]
    if limits.room == ROOMY:  # nothing is fetched: what moves is handed on
        assert handed(line, found) == min(handed(line, ends) for ends in good)


def test_what_is_only_handed_on_crosses_the_link_while_the_stage_works() -> None:
    line = line_with(np.array([50.0, 50.0]), np.array([0.0, 40.0, 0.0]))
    limits = machine(2, chip=1)
    alone = stage_ns(line, 0, 1, limits)
    assert linked_ns(alone, 40.0, 0.0, limits) == alone + 40
    assert linked_ns(alone, 0.0, 40.0, limits) == alone
    assert linked_ns(alone, 0.0, 400.0, limits) == 405


def test_a_value_that_passes_is_not_made() -> None:
    """The middle stage hands on what the first made: its link is busy from the start, not from the end."""
    ns = np.array([10.0, 90.0, 10.0])
    plain = line_with(ns, np.array([0.0, 80.0, 80.0, 0.0]))
    passing = replace(plain, values=[(0, 2, 80.0)])
    limits = machine(3, chip=1)
    assert slowest_ns(plain, limits) == pytest.approx(2 * 5 + 90 + 16 + 80)
    assert slowest_ns(passing, limits) == pytest.approx(2 * 5 + 90 + 16)


def test_weights_without_room_are_spread() -> None:
    """Even work, uneven weights: the cut moves to where both stages hold theirs."""
    weights = np.array([60.0, 60.0, 10.0, 10.0])
    line = line_with(np.full(4, 100.0), np.zeros(5), weights)
    assert balance(line, machine(2, room=200)) == [2, 4]
    assert balance(line, machine(2, room=90, stream_bytes_per_ns=NEVER)) == [1, 4]
    assert slowest_ns(line, machine(2, room=50, stream_bytes_per_ns=NEVER)) >= 1 / NEVER


def test_what_a_chip_fetches_together_is_weighed_against_its_slowest_stage() -> None:
    """Each stage alone would fetch in time; both together are bound by the DRAM that they share."""
    weights = np.array([0.0, 0.0, 60.0, 60.0])
    line = line_with(np.full(4, 100.0), np.zeros(5), weights)
    shared = machine(2, room=70, stream_bytes_per_ns=1.0, dram_bytes_per_ns=0.15)
    assert balance(line, replace(shared, dram_bytes_per_ns=1.0)) == [2, 4]
    assert balance(line, shared) == [3, 4]
    assert streamed_bytes(line, 2, 4, shared) == 50
    assert streamed_bytes(line, 0, 3, shared) == streamed_bytes(line, 3, 4, shared) == 0


def test_what_is_too_much_for_the_buffers_goes_through_dram() -> None:
    """The cut moves to where less crosses than the buffers hold."""
    line = line_with(np.array([50.0, 10.0, 40.0]), np.array([0.0, 60.0, 30.0, 0.0]))
    limits = machine(2, fetch_bytes_per_ns=10.0, dram_bytes_per_ns=1.0)
    assert balance(line, limits) == [1, 3]
    limited = replace(limits, buffered=50.0)
    assert balance(line, limited) == [2, 3]
    assert stage_ns(line, 0, 1, limited) - stage_ns(line, 0, 1, limits) == pytest.approx(60 - 6)
    assert streamed_bytes(replace(line, weights=np.full(3, 30.0)), 1, 3, replace(limits, room=150)) == 30
    assert streamed_bytes(replace(line, weights=np.full(3, 30.0)), 1, 3, replace(limited, room=150)) == 10


def test_parts_by_rows_all_hold_the_weights() -> None:
    line = line_with(np.full(2, 100.0), np.zeros(3), np.array([60.0, 0.0]))
    line = replace(line, repeated=np.array([0.0, 60.0, 0.0]))
    limits = machine(2, room=50)
    assert [streamed_bytes(line, k, k + 1, limits) for k in (0, 1)] == [10, 10]
    assert streamed_bytes(line, 0, 2, limits) == 10


def test_stages_are_as_many_as_asked() -> None:
    line = line_with(np.array([100.0, 1.0, 1.0, 1.0]), np.zeros(5))
    assert balance(line, machine(4)) == [1, 2, 3, 4]


def test_what_was_seen_is_known_of_all_that_look_alike() -> None:
    """Two layers of the same kinds: a stage seen in the first tells the time of its like in the second."""
    kinds = [0, 1, 2, 0, 1, 2]
    line = line_with(np.full(6, 30.0), np.zeros(7), kinds=kinds)
    calibration = Calibration(line, machine(4, chip=100))
    learned = calibration.learn([1, 3, 4, 6], [50.0, 90.0, 40.0, 70.0], [0, 0, 0, 0])
    assert learned.known[1, 3] == 90.0
    assert stage_ns(learned, 1, 3, calibration.rates) == pytest.approx(90.0, abs=15)
    assert learned.enter[1] == learned.enter[4]  # cuts between atoms of the same kinds cost the same
    again = calibration.balance({tuple(balance(learned, calibration.rates))})
    assert again != balance(learned, calibration.rates)


def test_stages_that_cannot_be_are_avoided() -> None:
    line = line_with(np.full(4, 10.0), np.zeros(5))
    calibration = Calibration(line, machine(2, chip=100))
    assert calibration.balance(set()) == [2, 4]
    calibration.learn([2, 4], [float("inf"), 20.0], [0, 0])
    assert calibration.balance(set()) != [2, 4]


def test_rates_come_from_the_target() -> None:
    target = load("inf1.6xlarge")
    limits = rates(target, 16)
    assert [k for k in range(16) if limits.crosses(k)] == [3, 7, 11, 15]
    assert [rates(target, 5, 2).chip_of(k) for k in range(5)] == [0, 0, 1, 1, 1]
    assert limits.link_bytes_per_ns == pytest.approx(16 * 2**30 / 1e9)
    assert rates(load("inf1.xlarge"), 4).link_bytes_per_ns == float("inf")
    assert all(a < b for a, b in pairwise([0, *balance(line_with(np.ones(64), np.zeros(65)), limits)]))
