"""Several callers: the documented example, bounds of queueing theory, and real threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import target as targets
from neuronsim.api import Neff, RunError
from neuronsim.execution import Phase, Run
from neuronsim.serving.model import CORE, CPU, LINK
from neuronsim.serving.steady import serve_steps
from tests.neuronsim.host_models import COLUMNS, ROWS, sandwich, sandwich_answer

EXAMPLE = [Phase(CPU, 1e-3), Phase(CORE, 20e-3), Phase(CPU, 2e-3)]


def test_the_documented_example() -> None:
    one = serve_steps(EXAMPLE, 8, 1)
    assert one.throughput_per_s == pytest.approx(1000 / 23)
    assert one.latencies == (23e-3,)
    for callers in (2, 3, 8):
        several = serve_steps(EXAMPLE, 8, callers)
        assert several.throughput_per_s == pytest.approx(50)
        assert several.percentile(99) == pytest.approx(callers * 20e-3)


def test_the_host_can_be_the_bottleneck() -> None:
    phases = [Phase(CPU, 3e-3), Phase(CORE, 1e-3)]
    assert serve_steps(phases, 1, 4).throughput_per_s == pytest.approx(1000 / 3)
    assert serve_steps(phases, 2, 4).throughput_per_s == pytest.approx(2000 / 3)
    assert serve_steps(phases, 8, 16).throughput_per_s == pytest.approx(1000)


def test_runs_without_time_have_no_rate() -> None:
    assert serve_steps([Phase(CPU, 0.0)], 1, 3).throughput_per_s is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([CPU, LINK, CORE]), st.integers(1, 40)), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_bounds(phases: list[tuple[str, int]], vcpus: int, callers: int) -> None:
    """No resource does more than it can, nobody is faster than alone, and Little's law holds."""
    found = serve_steps([Phase(r, t * 1e-6) for r, t in phases], vcpus, callers)
    assert found.throughput_per_s is not None
    total = sum(t for _, t in phases) * 1e-6
    busy = {r: sum(t for s, t in phases if s == r) * 1e-6 for r in (CPU, LINK, CORE)}
    limits = [callers / total, *((vcpus if r == CPU else 1) / t for r, t in busy.items() if t)]
    assert found.throughput_per_s <= min(limits) * (1 + 1e-9)
    assert min(found.latencies) >= total * (1 - 1e-9)
    mean = sum(found.latencies) / len(found.latencies)
    assert found.throughput_per_s * mean == pytest.approx(callers, rel=2e-3)
    if callers == 1:
        assert found.throughput_per_s == pytest.approx(1 / total)


def test_statistics_of_callers() -> None:
    target = targets.load("trn1.2xlarge")
    run = Run(phases=EXAMPLE)
    assert run.statistics(1, 1, target)["latency_ms"] == pytest.approx({"p50": 23.0, "p99": 23.0, "max": 23.0})
    stats = run.statistics(1, 4, target)
    assert (stats["callers"], stats["throughput_per_s"]) == (4, pytest.approx(50))
    assert stats["latency_ms"]["p50"] == pytest.approx(80.0)


def test_callers_of_a_program() -> None:
    neff = Neff(sandwich())
    one, four = (neff.run(mode="timing", callers=n).stats for n in (1, 4))
    assert one["cpu_node_time"] > 0
    assert four["throughput_per_s"] > 1.5 * one["throughput_per_s"]
    assert four["latency_ms"]["max"] >= one["latency_ms"]["max"]
    with pytest.raises(RunError, match="caller"):
        neff.run(mode="timing", callers=0)


def test_threads_get_their_own_answers() -> None:
    neff = Neff(sandwich())
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((ROWS, COLUMNS), dtype=np.float32) for _ in range(24)]
    with ThreadPoolExecutor(6) as pool:
        outputs = list(pool.map(lambda x: neff.run({"x": x}, threads=1).outputs["y"], inputs))
    for x, y in zip(inputs, outputs, strict=True):
        np.testing.assert_array_equal(y, sandwich_answer(x))
