"""Random graphs cut into stages anywhere: what they compute, and that requests in flight never wait for each other."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neuronsim
from compiler.sharding.sharder import Pipelined, Sharder
from isa.target import load
from neuronsim.serving import Served, closed, serve
from neuronsim.serving.model import CORE, ModelPlan
from neuronsim.serving.planning import plan
from tests.e2e.random_models import Feeds, models
from tests.e2e.test_networks import BF16
from tests.e2e.test_random_models import LIMIT, relaxed

REQUESTS = 20
TARGETS = ("inf1.6xlarge", "inf1.24xlarge", "trn1.32xlarge", "inf2.24xlarge", "trn2.48xlarge")
SEGMENTS = 4  # device segments that the cores of an instance are shared among; few of the random models have more


@dataclass(frozen=True)
class Pipeline:
    """What is asked: so many stages at the most, cut at places that follow from a seed, on cores from `first` on."""

    target: str
    cores: int
    seed: int
    first: int
    in_flight: int


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    target = draw(st.sampled_from(TARGETS))
    cores = draw(st.integers(1, load(target).cores // SEGMENTS))
    return Pipeline(target, cores, draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 8)), draw(st.integers(1, 24)))


@contextmanager
def cut_anywhere(seed: int) -> Iterator[None]:
    """Stages end after any atoms of the line, not where it is balanced."""
    rng = np.random.default_rng(seed)

    def pipeline(sharder: Sharder, stages: int, pinned: bool = False) -> Pipelined:
        line = sharder._line(stages)
        most = min(stages, len(line.atoms))
        count = int(rng.integers(min(2, most), most + 1))
        inner = rng.choice(np.arange(1, len(line.atoms)), count - 1, replace=False) if count > 1 else []
        ends = [*sorted(int(end) for end in inner), len(line.atoms)]
        return Pipelined(line, ends, tuple(sharder.stages.build(line, ends)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sharder, "pipeline", pipeline)
        yield


def check(model: onnx.ModelProto, feeds: Feeds, asked: Pipeline) -> None:
    data, target = model.SerializeToString(), load(asked.target)
    options = {"transfer_cost": False, **({"auto_cast": "none"} if target.generation != "v1" else {})}
    whole = neuronsim.compile(data, target=asked.target, **options)
    with cut_anywhere(asked.seed):
        neff = neuronsim.compile(data, target=asked.target, neuroncore_pipeline_cores=asked.cores, **options)
    inputs = {k: v for k, v in feeds.items() if k in {i.name for i in neff.inputs}}
    result, expected = neff.run(inputs, check=True), whole.run(inputs).outputs
    assert not result.findings, result.findings[0]
    for name, want in expected.items():
        same(name, result.outputs[name], want, BF16 if target.generation == "v1" else LIMIT)
    first = min(asked.first, target.cores - neff.program.cores)
    placed = plan(neff.program, target, [range(first, first + neff.program.cores)])
    conserves(placed, serve([placed], [closed(REQUESTS, asked.in_flight)], target, "machine"), asked)


def same(name: str, got: np.ndarray, want: np.ndarray, limit: float) -> None:
    """Sums may be taken in another order where a stage has another part of a layer."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype), name
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    error = float(np.abs(got.astype(np.float64) - want).max(initial=0.0))
    assert error <= limit * max(1.0, float(np.abs(want).max(initial=0.0))), f"{name}: error {error:.3g}"


def conserves(placed: ModelPlan, served: Served, asked: Pipeline) -> None:
    """Every request passes every step once, in order, never faster than alone; no more are under way than asked for."""
    (requests,) = served.loads
    assert len(requests.end) == requests.pieces == REQUESTS and requests.padding == 0
    assert [s.runs for s in served.steps] == [REQUESTS] * len(placed.replicas[0])
    assert (np.diff(requests.end) >= 0).all() and (requests.start >= requests.arrival).all()
    begun, ended = np.sort(requests.arrival), np.sort(requests.end)
    most = asked.in_flight
    assert (begun[most:] >= ended[:-most]).all()
    target = load(asked.target)
    credit = target.ns_to_ticks(target.semaphore_latency_ns)
    alone = sum(step.ticks + credit * (step.kind == CORE) for step in placed.replicas[0])
    assert (requests.end - requests.arrival >= alone).all()
    if most == 1:
        assert (requests.end - requests.arrival == alone).all()
    moved = sum(sum(a.dram_bytes.values()) for a in placed.alone)
    assert served.dram_bytes.sum() == REQUESTS * moved


@settings(relaxed, max_examples=12, suppress_health_check=list(HealthCheck))
@given(models(least=4, most=10), pipelines())
def test_random_cuts(case: tuple[onnx.ModelProto, Feeds], asked: Pipeline) -> None:
    check(*case, asked)


@pytest.mark.slow
@settings(relaxed, max_examples=250, suppress_health_check=list(HealthCheck))
@given(models(least=6, most=16), pipelines())
def test_hundreds_of_random_cuts(case: tuple[onnx.ModelProto, Feeds], asked: Pipeline) -> None:
    check(*case, asked)
