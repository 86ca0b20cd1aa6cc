"""Requests through loaded models: what each does alone, what they take from each other, what tools see of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isa import target as targets
from neuronsim.runtime import Instance, NrtError, NrtStatus
from neuronsim.runtime.activity import SECONDS_BETWEEN
from neuronsim.runtime.contention import contention
from neuronsim.runtime.environment import GROUP_SIZES, NUM_CORES, PROCESS_TAG
from neuronsim.runtime.ownership import STATE_DIR
from neuronsim.runtime.telemetry import read_snapshots
from neuronsim.serving import Served, closed
from neuronsim.timing import load_ticks
from tests.neuronsim.runtime_programs import pinned, pipeline

INF1 = targets.load("inf1.xlarge")
TRN1 = targets.load("trn1.2xlarge")


def test_one_in_flight_takes_the_time_of_a_run() -> None:
    with Instance("inf1.xlarge", {}, private=True) as instance:
        model = instance.load(pipeline(3, space="sbuf"))
        served = instance.serve([(model, closed(20, 1))])
        assert served.loads[0].percentile_s(50) * 1e9 == pytest.approx(model.run(mode="timing").time_ns, abs=1)


def test_many_in_flight_are_as_fast_as_the_slowest_stage() -> None:
    with Instance("inf1.xlarge", {}, private=True) as instance:
        model = instance.load(pipeline(4, space="sbuf"))
        slowest = max(r.timeline.seconds for r in model.run(mode="timing").last.stages)
        served = instance.serve([(model, closed(400, 12))])
        assert served.loads[0].steady_per_s == pytest.approx(1 / slowest, rel=0.02)


def two_groups(target: object, in_flight: int = 8) -> tuple[Served, Served, Served]:
    """Two models on two groups: the first alone, the second alone, both together."""
    with Instance(target, {GROUP_SIZES: "2,2"}, private=True) as instance:  # type: ignore[arg-type]
        a, b = (instance.load(pipeline(2, name=name)) for name in "ab")
        assert (a.cores, b.cores) == ((0, 1), (2, 3))
        alone = [instance.serve([(model, closed(60, in_flight))]) for model in (a, b)]
        return *alone, instance.serve([(a, closed(60, in_flight)), (b, closed(60, in_flight))])


def test_two_models_on_two_groups() -> None:
    """Each is as fast as alone where the memory has room for both, and the report says that nothing was lost."""
    first, second, both = two_groups("inf1.xlarge")
    for served, requests in zip((first, second), both.loads):
        assert requests.steady_per_s == pytest.approx(served.loads[0].steady_per_s, rel=0.02)
    report = contention(both, INF1)
    assert [m.name for m in report.models] == ["a", "b"] and report.switches == 0
    assert all(m.slowdown == pytest.approx(0, abs=0.02) for m in report.models)
    could = INF1.dram_bytes_per_ns * both.seconds * 1e9
    assert report.dram_share[0] == pytest.approx(int(both.dram_bytes[0]) / could)
    assert 0 < report.host_link_share[0] < 1


def test_memory_that_is_too_slow_for_two_shows_as_contention() -> None:
    narrow = INF1.with_params({"dram.bytes_per_ns": 0.5})
    first, _, both = two_groups(narrow)
    report = contention(both, narrow)
    assert contention(first, narrow).models[0].slowdown >= 0
    for model in report.models:
        assert model.device_together > 1.05 * model.device_alone
        assert model.slowdown == pytest.approx(model.device_together / model.device_alone - 1)
    assert report.dram_share[0] > 0.5
    assert report.as_dict()["models"][0]["slowdown"] == report.models[0].slowdown
    assert both.loads[0].steady_per_s < first.loads[0].steady_per_s


def test_four_models_on_two_groups_switch() -> None:
    with Instance("inf1.xlarge", {GROUP_SIZES: "2,2"}, private=True) as instance:
        models = [instance.load(pipeline(2, name=name)) for name in "abcd"]
        assert [m.cores for m in models] == [(0, 1), (2, 3), (0, 1), (2, 3)]
        served = instance.serve([(m, closed(10, 1)) for m in models])
        report = contention(served, INF1)
        assert report.switches == instance.switches.total() > 4
        assert report.switch_seconds == pytest.approx(report.switches * INF1.switch_ns * 1e-9)
        assert instance.switch_ns == pytest.approx(report.switch_seconds * 1e9)
        assert instance.holds(0) is None  # nobody knows which of two came last


def test_switching_loads_pinned_weights() -> None:
    with Instance("trn1.2xlarge", {NUM_CORES: "1"}, private=True) as instance:
        models = [instance.load(pinned(name)) for name in "ab"]
        served = instance.serve([(m, closed(5, 1)) for m in models])
        load = load_ticks(models[0].neff.program.stages[0], TRN1) / TRN1.tick_hz
        report = contention(served, TRN1)
        assert report.switch_seconds == pytest.approx(report.switches * (TRN1.switch_ns * 1e-9 + load), rel=1e-6)


def test_copies_share_requests() -> None:
    with Instance("inf1.xlarge", {}, private=True) as instance:
        one = instance.serve([(instance.load(pipeline(1, name="one")), closed(50, 8))])
        copies = instance.data_parallel(pipeline(1))
        assert len(copies.replicas) == 3
        three = instance.serve([(copies, closed(150, 24))])
        assert three.loads[0].steady_per_s == pytest.approx(3 * one.loads[0].steady_per_s, rel=0.02)
    with Instance("inf1.xlarge", {GROUP_SIZES: "1,1"}, private=True) as instance:
        neff = instance.load(pipeline(1)).neff
        again = instance.load(neff)
        served = instance.serve([([instance.models[0], again], closed(40, 4))])
        assert [core.index for core in served.cores] == [0, 1]
        assert {step.runs for step in served.stages} == {20}


def test_what_cannot_be_served() -> None:
    with Instance("inf1.xlarge", {}, private=True) as instance:
        model, other = instance.load(pipeline(1)), instance.load(pipeline(1))
        with pytest.raises(NrtError) as caught:
            instance.serve([([model, other], closed(1, 1))])
        assert caught.value.status == NrtStatus.NRT_INVALID
        other.unload()
        with pytest.raises(NrtError) as caught:
            instance.serve([(other, closed(1, 1))])
        assert caught.value.status == NrtStatus.NRT_INVALID_HANDLE


# ---- what tools see
def test_a_running_simulation_shows_itself(tmp_path: Path) -> None:
    seen = []
    with Instance("inf1.xlarge", {GROUP_SIZES: "2,1", PROCESS_TAG: "me"}, tmp_path) as instance:
        model, idle = instance.load(pipeline(2, name="busy")), instance.load(pipeline(1, name="idle"))
        assert [m["name"] for m in read_snapshots(tmp_path)[0]["memory_used"]["loaded_models"]] == ["busy", "idle"]
        instance.serve([(model, closed(500, 6))], on_progress=lambda done, of: seen.append(read_snapshots(tmp_path)))
        (after,) = read_snapshots(tmp_path)
        idle.unload()
        assert len(read_snapshots(tmp_path)[0]["memory_used"]["loaded_models"]) == 1
    assert read_snapshots(tmp_path) == []
    assert seen and all(s["is_running"] for (s,) in seen)
    assert (after["neuron_runtime_tag"], after["pid"], after["is_running"]) == ("me", os.getpid(), False)
    cores = after["neuroncores_in_use"]
    assert [(core["model"], core["neuroncore_utilization"] > 50) for core in cores.values()] == [
        ("busy", True), ("busy", True), ("", False)]  # fmt: skip
    assert after["execution_stats"]["execution_summary"]["completed"] == 500
    latency = after["execution_stats"]["latency_stats"]["total_latency"]
    assert 0 < latency["p0"] <= latency["p50"] <= latency["p100"]
    used = after["memory_used"]["neuron_runtime_used_bytes"]
    assert set(used["usage_breakdown"]["neuroncore_memory_usage"]) == {"0", "1", "2"}
    assert used["neuron_device"] > 3 * INF1.microcode_bytes


def test_runs_and_errors_are_counted(tmp_path: Path) -> None:
    with Instance("inf1.xlarge", {}, tmp_path) as instance:
        model = instance.load(pipeline(1))
        for _ in range(3):
            model.run(mode="timing")
        with pytest.raises(NrtError):
            model.run({"absent": 1})
        simulated = 3 * model.run(mode="timing").time_ns / 3
        model.unload()
        (after,) = read_snapshots(tmp_path)
    summary = after["execution_stats"]["execution_summary"]
    assert (summary["completed"], summary["incorrect_input"]) == (4, 1)
    assert after["execution_stats"]["error_summary"]["generic"] == 1
    assert after["simulated_ns"] == pytest.approx(4 * simulated)


def test_the_last_of_many_runs_is_shown_too(tmp_path: Path) -> None:
    """Snapshots have their distance: what ends meanwhile is shown a little later, by itself."""
    with Instance("inf1.xlarge", {}, tmp_path) as instance:
        model = instance.load(pipeline(1))
        for _ in range(5):
            model.run(mode="timing")
        until = time.monotonic() + 10
        while time.monotonic() < until:
            (shown,) = read_snapshots(tmp_path)
            if not shown["is_running"] and shown["execution_stats"]["execution_summary"]["completed"] == 5:
                break
            time.sleep(0.02)
        else:
            pytest.fail(str(shown))
        model.run(mode="timing")
    time.sleep(1.5 * SECONDS_BETWEEN)  # nothing comes after the end
    assert [p.name for p in (tmp_path / "inf1.xlarge").iterdir()] == ["mutex"]


# ---- Ctrl-C
SERVE = """
import sys
from neuronsim.runtime import Instance
from neuronsim.serving import closed
from tests.neuronsim.runtime_programs import pipeline
with Instance("inf1.xlarge", {}, private=bool(int(sys.argv[1]))) as instance:
    copies = instance.data_parallel(pipeline(2))
    instance.serve([(copies, closed(10_000_000, 8))], "machine", lambda done, of: print("busy", flush=True))
"""
VALUES = """
import sys
import numpy as np
from neuronsim.runtime import Instance
from tests.neuronsim.runtime_programs import COLUMNS, ROWS, pipeline
with Instance("inf1.xlarge", {}, private=bool(int(sys.argv[1]))) as instance:
    copies = instance.data_parallel(pipeline(2))
    print("busy", flush=True)
    copies.run({"t0": np.zeros((20_000 * ROWS, COLUMNS), np.float32)}, threads=4)
"""


@pytest.mark.parametrize("private", ["0", "1"])
@pytest.mark.parametrize("script", [SERVE, VALUES], ids=["serve", "values"])
def test_an_interrupt_leaves_nothing(tmp_path: Path, script: str, private: str) -> None:
    state = tmp_path / "state"
    environment = {**os.environ, STATE_DIR: str(state), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script, private], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as child:  # fmt: skip
        assert child.stdout is not None and child.stdout.readline() == "busy\n"
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)
    assert child.returncode in (-signal.SIGINT, 130) and errors.rstrip().endswith("KeyboardInterrupt")
    left = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()]
    assert left == ([] if private == "1" else ["state/inf1.xlarge/mutex"])
