"""Stages, bubbles and bottleneck of pipelines worked out by hand, and sums that hold for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from isa import target as targets
from isa.program import Program
from isa.target import Target
from isa.trace import TABLES, RunWait, Trace, empty
from profiler.analyses.pipeline import pipeline
from tests.profiler.recorded import recordings
from tests.profiler.stages import program_of, two_layer_stage

TARGET = targets.load("trn1.2xlarge")
MICROSECOND = 1_000_000_000  # ticks are nanoseconds


def of_runs(rows: list[tuple[int, int, int, int, int, RunWait]], host: list[tuple[int, int, int]] | None = None) -> Trace:  # fmt: skip # noqa: E501
    """A trace of runs (stage = core, request, start, end, wait, why); host: link in (request, start, end)."""
    names = ("stage", "request", "start", "end", "wait", "wait_for")
    columns = {n: np.array([row[k] for row in rows]) for k, n in enumerate(names)} | {
        "core": np.array([row[0] for row in rows])
    }
    zero = np.zeros(len(rows), int)
    runs = {c: columns.get(c, zero).astype(t) for c, t in TABLES["runs"].items()}
    last = max(row[3] for row in rows)
    count = 1 + max(row[1] for row in rows)
    requests = {c: np.full(count, {"end": last, "rows": 1}.get(c, 0), t) for c, t in TABLES["requests"].items()}
    table = empty("host")
    if host:
        given_ = {n: np.array([h[k] for h in host]) for k, n in enumerate(("request", "start", "end"))}
        table = {c: given_.get(c, np.zeros(len(host), int)).astype(t) for c, t in TABLES["host"].items()}
    return Trace(runs=runs, requests=requests, instructions=empty("instructions"), transfers=empty("transfers"),
                 host=table, tick_hz=MICROSECOND, target="test", total_ticks=last)  # fmt: skip


# stage 0 takes 100, stage 1 takes 300; a signal is 20: requests 0, 1, 2
ROWS = [
    (0, 0, 0, 100, 0, RunWait.NONE),
    (0, 1, 120, 220, 20, RunWait.NONE),
    (1, 0, 120, 420, 120, RunWait.INPUT),
    (0, 2, 440, 540, 220, RunWait.ROOM),
    (1, 1, 440, 740, 20, RunWait.NONE),
    (1, 2, 760, 1060, 20, RunWait.NONE),
]


def test_the_slow_stage_is_the_bottleneck_and_the_other_waits_for_it() -> None:
    stage = two_layer_stage()
    (chain,) = pipeline(of_runs(ROWS), [program_of(stage, stage)], TARGET).chains
    first, second = chain.stages
    assert (first.busy, second.busy) == (300, 900)
    assert first.bubbles == {"fill": 0, "drain": 520, "transfer": 40, "imbalance": 200, "switch": 0, "starved": 0,
                             "not_recorded": 0}  # fmt: skip
    assert second.bubbles == {"fill": 120, "drain": 0, "transfer": 40, "imbalance": 0, "switch": 0, "starved": 0,
                              "not_recorded": 0}  # fmt: skip
    assert chain.bottleneck == "stage 1"
    assert (chain.period, chain.balanced) == (320, 220)
    assert chain.speedup == pytest.approx(320 / 220)


def test_a_slow_host_link_is_the_bottleneck() -> None:
    rows = [(0, 0, 500, 600, 500, RunWait.INPUT), (0, 1, 1000, 1100, 400, RunWait.INPUT)]
    found = pipeline(of_runs(rows, [(0, 0, 500), (1, 500, 1000)]), [program_of(two_layer_stage())], TARGET)
    (chain,) = found.chains
    assert chain.bottleneck == "host link" and chain.period == 500 and chain.speedup == 1
    assert chain.stages[0].bubbles["transfer"] == 400
    assert found.host_link_percent == {0: pytest.approx(100 * 1000 / 1100)}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(recordings())
def test_the_time_of_a_core_is_its_runs_and_bubbles(recorded: tuple[Trace, list[Program], Target]) -> None:
    trace, programs, target = recorded
    for chain in pipeline(trace, programs, target).chains:
        for stage in chain.stages:
            assert min(stage.bubbles.values()) >= 0
            assert stage.busy + stage.others + sum(stage.bubbles.values()) == trace.total_ticks
