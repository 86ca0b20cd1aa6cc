"""The search for the number of cores: what is tried, what a compiled pipeline is worth, what is chosen."""

from __future__ import annotations

import pytest

from compiler.errors import CompileError
from compiler.search.choice import coarse, finer, search
from compiler.search.estimate import Facts, StageFacts, trial_of
from isa import target as targets

INF1, INF1_LARGE = targets.load("inf1.xlarge"), targets.load("inf1.6xlarge")


def pipeline(cores: int, work_ns: float, overhead_ns: float = 0, streamed: int = 0, pinned: int = 0) -> Facts:
    """`work_ns` of work cut evenly, each stage with `overhead_ns` of its own; weights evenly too."""
    stage = (work_ns / cores + overhead_ns, (streamed + pinned) // cores, pinned // cores, streamed // cores)
    return Facts(cores, tuple(StageFacts(k, *stage, dram_bytes=streamed // cores, host_bytes=0) for k in range(cores)))


def test_the_first_round_has_small_numbers_powers_of_two_and_neurons_guess() -> None:
    assert coarse(4, weights=0) == [1, 2, 3, 4]
    assert coarse(16, weights=0) == [1, 2, 3, 4, 8, 16]
    assert coarse(64, weights=110_000_000) == [1, 2, 3, 4, 8, 16, 24, 32, 64]  # 4 * round(5.5) = 24
    assert coarse(6, weights=10**12) == [1, 2, 3, 4, 6]


def test_the_second_round_looks_on_both_sides_of_the_best() -> None:
    facts = {n: pipeline(n, 1e6, overhead_ns=0, streamed=0 if n >= 8 else 10**9) for n in (1, 2, 4, 8, 16)}
    assert finer(facts, INF1_LARGE, "throughput") == [6, 12]
    assert finer({1: Facts(1, error="no")}, INF1_LARGE, "throughput") == []


def test_copies_that_hold_their_weights_are_worth_cores_over_work() -> None:
    trial = trial_of(pipeline(4, 1e6, pinned=8), INF1_LARGE)
    assert (trial.used, trial.copies, trial.pinned_bytes, trial.streamed_bytes) == (4, 4, 8, 0)
    assert trial.throughput_per_s == pytest.approx(16_000)
    assert trial.usd_per_million == pytest.approx(0.567 / 3600 / 16_000 * 1e6)
    assert trial.latency_ms == pytest.approx(1 + 3 * INF1.semaphore_latency_ns / 1e6)
    assert trial.imbalance == pytest.approx(1)


def test_the_cores_of_a_chip_share_its_dram() -> None:
    """Four copies of one core each fetch 50 MB per run: 200 MB over 53.7 GB/s take longer than the work."""
    trial = trial_of(pipeline(1, 1e6, streamed=50_000_000), INF1)
    assert trial.throughput_per_s == pytest.approx(4 * 53.6870912e9 / 200e6)
    alone = trial_of(pipeline(4, 1e6, streamed=50_000_000), INF1)
    assert alone.throughput_per_s == pytest.approx(53.6870912e9 / 50e6)


def test_each_objective_takes_its_best() -> None:
    """Streaming below 4 cores, fixed costs above: 4 is best for throughput; latency grows with every stage."""

    def evaluate(numbers):
        return [pipeline(n, 1e6, overhead_ns=2e4, streamed=0 if n >= 4 else 10**8) for n in numbers]

    assert search(evaluate, INF1_LARGE, "throughput", 0).cores == 4
    assert search(evaluate, INF1_LARGE, "latency", 0).cores == 1
    cost = search(evaluate, INF1_LARGE, "cost", 0)
    assert (cost.cores, cost.instance) == (4, "inf1.xlarge")  # 0.110 for 4 cores, 0.567 for 16
    assert "4 cores" in cost.why and "USD" in cost.why and "all weights on chip" in cost.why
    assert [t.cores for t in cost.trials] == sorted(t.cores for t in cost.trials)


def test_as_good_as_the_best_with_fewer_cores_is_better() -> None:
    found = search(lambda ns: [pipeline(n, 1e6, pinned=1) for n in ns], INF1, "throughput", 0)
    assert found.cores == 1 and "1 core:" in found.why


def test_numbers_that_do_not_compile_are_told_and_left_out() -> None:
    def evaluate(numbers):
        return [Facts(n, error="error[SBUF]: no room") if n < 3 else pipeline(n, 1e6) for n in numbers]

    found = search(evaluate, INF1, "throughput", 0)
    assert found.cores >= 3 and found.report()["trials"][0]["error"] == "error[SBUF]: no room"
    with pytest.raises(CompileError, match="no number of cores from 1 to 4 compiles"):
        search(lambda ns: [Facts(n, error="no room") for n in ns], INF1, "latency", 0)
