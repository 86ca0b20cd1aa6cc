"""Pipelines, groups and copies of compiled networks on whole instances: rates, contention, switching, determinism."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

import neuronsim
from examples.make_bert import Encoder
from isa import target as targets
from isa.program import Program
from isa.target import Target
from neuronsim.api import Neff
from neuronsim.demo.he_weights import light_model
from neuronsim.runtime import Instance
from neuronsim.runtime.contention import contention
from neuronsim.runtime.environment import GROUP_SIZES, LOGICAL_NC_CONFIG
from neuronsim.serving import ModelPlan, Served, closed, poisson, serve
from neuronsim.serving.planning import plan
from tests.e2e.test_networks import BF16

XLARGE, LARGE = targets.load("inf1.xlarge"), targets.load("inf1.6xlarge")
CLOSE = 0.02  # of rates, latencies and percentiles: the figure


@cache
def small(layers: int = 4, hidden: int = 256, sequence: int = 64) -> bytes:
    """An encoder whose weights fit a few cores."""
    encoder = Encoder(layers=layers, hidden=hidden, heads=4, inner=4 * hidden, sequence=sequence)
    return encoder.model().SerializeToString()


@cache
def bert_base() -> bytes:
    return Encoder().model().SerializeToString()


@cache
def compiled(model: str, cores: int | None, target: str = "inf1.xlarge") -> Neff:
    data = {"small": small, "bert": bert_base, "resnet50": lambda: light_model("resnet50").SerializeToString()}[model]()
    return neuronsim.compile(data, target=target, auto_cast="all", neuroncore_pipeline_cores=cores)


def copies(program: Program, target: Target, *cores: int) -> ModelPlan:
    """A copy from each of these cores on."""
    return plan(program, target, [range(first, first + program.cores) for first in cores])


def streamed_bytes(program: Program) -> int:
    """Weights that every run fetches."""
    sizes = (s.info.get("streamed_bytes", s.info["weights_bytes"]) for s in program.stages)
    return sum(int(size) for size in sizes)  # type: ignore[call-overload]


# ---- a pipeline's rate and latency
PIPELINES = [
    ("small", 4, "inf1.6xlarge"),
    pytest.param("bert", 16, "inf1.6xlarge", marks=pytest.mark.slow),
    pytest.param("bert", 64, "inf1.24xlarge", marks=pytest.mark.slow),
    pytest.param("resnet50", 16, "inf1.6xlarge", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("model, cores, instance", PIPELINES)
def test_a_full_pipeline_is_as_fast_as_its_slowest_stage(model: str, cores: int, instance: str) -> None:
    """One in flight takes the sum of stages and transfers; enough of them one after each slowest stage."""
    program, target = compiled(model, cores, instance).program, targets.load(instance)
    assert program.cores == cores and streamed_bytes(program) == 0
    pipeline = copies(program, target, 0)
    steps = [step.ticks / target.tick_hz for step in pipeline.replicas[0]]
    slowest = max(s.ticks for s in pipeline.replicas[0] if s.kind == "core") / target.tick_hz
    full = serve([pipeline], [closed(50 * cores, 3 * cores)], target, "machine").loads[0]
    assert full.steady_per_s == pytest.approx(1 / slowest, rel=CLOSE)
    single = serve([pipeline], [closed(3, 1)], target, "machine").loads[0]
    assert single.percentile_s(50) == pytest.approx(sum(steps), rel=CLOSE)


@pytest.mark.slow
def test_a_pipeline_that_fetches_weights_is_as_fast_as_the_memory() -> None:
    """Four cores do not hold BERT-base: what its stages fetch, they fetch from the DRAM of one chip."""
    program = compiled("bert", 4).program
    assert streamed_bytes(program) > 100e6
    served = serve([copies(program, XLARGE, 0)], [closed(400, 12)], XLARGE, "machine")
    per_run = int(served.dram_bytes.sum()) / 400
    assert per_run == pytest.approx(streamed_bytes(program), rel=0.01)  # the rest: what comes in, what goes out
    assert served.loads[0].steady_per_s == pytest.approx(XLARGE.dram_bytes_per_ns * 1e9 / per_run, rel=CLOSE)


# ---- two models on two groups
def on_two_groups(*neffs: Neff, in_flight: int = 4, requests: int = 100) -> tuple[list[Served], Served]:
    """Each by itself, and all together."""
    with Instance("inf1.xlarge", {GROUP_SIZES: "2,2"}, private=True) as instance:
        models = [instance.load(neff) for neff in neffs]
        assert [m.cores[0] for m in models] == [0, 2, 0, 2][: len(neffs)]
        loads = [(m, closed(requests, in_flight)) for m in models]
        return [instance.serve([load], "machine") for load in loads], instance.serve(loads, "machine")


def test_pinned_pipelines_share_the_host_link_alone() -> None:
    """Next to nothing of their time on cores is lost; a run is late by what it waited for the link."""
    alone, both = on_two_groups(compiled("small", 2), compiled("small", 2), in_flight=1)
    report = contention(both, XLARGE)
    assert streamed_bytes(compiled("small", 2).program) == 0 and report.switches == 0
    for by_itself, requests, model in zip(alone, both.loads, report.models, strict=True):
        assert 0 <= model.slowdown < 0.005
        late = float(requests.latency_s.mean() - by_itself.loads[0].latency_s.mean())
        explained = model.device_together - model.device_alone + model.link_wait
        assert late == pytest.approx(explained, abs=2e-9)  # of counted times, in ticks of a nanosecond
    full, _ = on_two_groups(compiled("small", 2), compiled("small", 2))
    assert full[0].loads[0].steady_per_s > 1.5 * alone[0].loads[0].steady_per_s


def test_models_that_fetch_weights_share_the_memory() -> None:
    """A run is late by no more than the memory needs for the other model meanwhile; the report has all of it."""
    neff = compiled("small", None)
    assert streamed_bytes(neff.program) > 0
    alone, both = on_two_groups(neff, neff, in_flight=2)
    report = contention(both, XLARGE)
    moved = int(alone[0].dram_bytes.sum()) / (XLARGE.dram_bytes_per_ns * 1e9)  # seconds, of 100 runs
    for by_itself, requests, model in zip(alone, both.loads, report.models, strict=True):
        assert contention(by_itself, XLARGE).models[0].slowdown == 0
        lost = (model.device_together - model.device_alone) * 100
        assert 0.1 * moved < lost <= moved
        assert requests.steady_per_s < by_itself.loads[0].steady_per_s
        slower = by_itself.loads[0].steady_per_s / requests.steady_per_s - 1
        assert slower == pytest.approx(model.slowdown, abs=CLOSE)  # two in flight hide the host link
    assert report.dram_share[0] == pytest.approx(2 * moved / both.seconds)


@pytest.mark.slow
def test_large_models_that_fetch_weights_use_the_whole_memory() -> None:
    neffs = [compiled("resnet50", 2), compiled("bert", 2)]
    alone, both = on_two_groups(*neffs, in_flight=4, requests=200)
    ends = [requests.end for requests in both.loads]
    until = min(int(e.max()) for e in ends)  # with both under load
    sizes = [int(served.dram_bytes.sum()) / 200 for served in alone]
    used = sum(size * int((e <= until).sum()) for size, e in zip(sizes, ends))
    assert used / (XLARGE.dram_bytes_per_ns * until * 1e9 / XLARGE.tick_hz) == pytest.approx(1, abs=CLOSE)
    assert all(model.slowdown > 0.3 for model in contention(both, XLARGE).models)


def test_four_models_on_two_groups_switch() -> None:
    """Every run of the shared groups brings its stages back, their pinned weights too, and is late by that."""
    neff = compiled("small", 2)
    (alone, *_), two = on_two_groups(neff, neff, in_flight=1, requests=30)
    _, four = on_two_groups(*[neff] * 4, in_flight=1, requests=30)
    report = contention(four, XLARGE)
    steps = [s for s in copies(neff.program, XLARGE, 0).replicas[0] if s.kind == "core"]
    switch = [s.switch_ticks / XLARGE.tick_hz for s in steps]
    assert min(switch) > XLARGE.switch_ns * 1e-9  # and the pinned weights
    assert contention(two, XLARGE).switches == 0
    assert report.switches == sum(core.switches for core in four.cores) == 4 * (2 * 30 - 1)
    assert report.switch_seconds == pytest.approx(report.switches * sum(switch) / 2)
    late = four.loads[0].percentile_s(50) - alone.loads[0].percentile_s(50)
    assert sum(switch) * 0.999 < late < 2 * sum(switch) + alone.loads[0].percentile_s(50)


def test_the_example_prints_what_models_take_from_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    from examples.two_models import main

    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    runs = [line for line in lines if " p50 " in line]
    names = [line.partition(" p50 ")[0].strip() for line in runs]
    assert names == ["narrow", "wide"] * 3 + ["narrow again", "wide again"]
    slowdowns = [float(line.rpartition(":")[2].split()[0]) for line in runs]
    by_themselves, together = slowdowns[:2], slowdowns[2:4]
    assert all(b > a for a, b in zip(by_themselves, together))
    assert "switches" in lines[-1] and not any("switches" in line for line in lines[:-1])


# ---- the request-level model against the machine
def close_to_the_machine(models: list[ModelPlan], load: float) -> None:
    """1,000 Poisson requests for each model at a share of the rate that they reach together."""
    most = serve(models, [closed(200, 16) for _ in models], XLARGE, "machine").loads
    loads = [poisson(1000, load * m.steady_per_s, seed=i) for i, m in enumerate(most)]
    exact, close = (serve(models, loads, XLARGE, method) for method in ("machine", "approximate"))
    assert max(s.contention for s in exact.stages) > 0.5
    for a, b in zip(close.loads, exact.loads, strict=True):
        for percent in (50, 99):
            assert a.percentile_s(percent) == pytest.approx(b.percentile_s(percent), rel=CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.7, 0.9])
@pytest.mark.parametrize("case", ["copies", "pipeline", "groups"])
def test_the_request_level_model(case: str, load: float) -> None:
    models = {
        "copies": lambda: [copies(compiled("resnet50", None).program, XLARGE, 0, 1, 2, 3)],
        "pipeline": lambda: [copies(compiled("bert", 4).program, XLARGE, 0)],
        "groups": lambda: [copies(compiled("resnet50", 2).program, XLARGE, 0),
                           copies(compiled("bert", 2).program, XLARGE, 2)],
    }[case]()  # fmt: skip
    close_to_the_machine(models, load)


# ---- whole instances
@pytest.mark.slow
def test_values_on_64_cores() -> None:
    """BERT-base on inf1.24xlarge, against the same weights in ONNX Runtime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(bert_base(), providers=["CPUExecutionProvider"])
    feeds = {"hidden_states": np.random.default_rng(0).standard_normal((1, 128, 768), dtype=np.float32)}
    (want,) = session.run(None, feeds)
    neff = compiled("bert", 64, "inf1.24xlarge")
    with Instance("inf1.24xlarge", {}, private=True) as instance:
        model = instance.load(neff)
        assert model.cores == tuple(range(64))
        result = model.run(feeds)
    assert np.abs(result.outputs["last_hidden_state"] - want).max() <= BF16 * np.abs(want).max()


@pytest.mark.slow
def test_time_on_128_cores() -> None:
    """As fast as its slowest part, which is the host link of the first or last chip: stages are that short."""
    neff = compiled("bert", 128, "trn2.48xlarge")
    with Instance("trn2.48xlarge", {LOGICAL_NC_CONFIG: "1"}, private=True) as instance:
        model = instance.load(neff)
        assert model.cores == tuple(range(128))
        alone = model.run(mode="timing")
        full = instance.serve([(model, closed(2000, 3 * 128))])
    assert full.exact
    slowest = max(step.alone_ns for step in full.steps)
    assert slowest > max(stage.alone_ns for stage in full.stages)
    assert full.loads[0].steady_per_s == pytest.approx(1e9 / slowest, rel=CLOSE)
    assert alone.time_ns == pytest.approx(sum(step.alone_ns for step in full.steps), rel=CLOSE)


# ---- determinism, interrupts
def test_host_threads_change_nothing() -> None:
    """Five pieces through two copies of a pipeline: the same bits and the same times, on however many threads."""
    rows = np.random.default_rng(1).standard_normal((5, 64, 256), dtype=np.float32)
    results = []
    for threads in (1, 2, 5):
        with Instance("inf1.xlarge", {}, private=True) as instance:
            model = instance.data_parallel(Neff(compiled("small", 2).program))
            assert len(model.replicas) == 2
            results.append(model.run({"hidden_states": rows}, threads=threads))
    for a, b in pairwise(results):
        np.testing.assert_array_equal(a.outputs["last_hidden_state"], b.outputs["last_hidden_state"])
        assert (a.time_ns, a.runs) == (b.time_ns, 5)
        assert [(s.core, s.timeline.total_ticks) for s in a.last.stages] == [
            (s.core, s.timeline.total_ticks) for s in b.last.stages]


COMMANDS = {
    "bench": ["bench", "small.neff", "--instance", "inf1.xlarge", "--requests", "20000000", "--method", "machine",
              "--json", "report.json"],
    "compile": ["compile", "small.onnx", "--target", "inf1.24xlarge", "--neuroncore-pipeline-cores", "auto", "-o",
                "out.neff"],
    "run": ["run", "small.neff", "--iterations", "1000000", "--stats", "stats.json", "--outputs", "out.npz"],
}  # fmt: skip


BUSY_SECONDS = 1.3  # imports take half of it


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its ended children included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells from /proc that a command is at work")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_leaves_nothing(command: str, tmp_path: Path) -> None:
    """Ctrl-C, which a terminal sends to all processes of a command: none is left, nor any part of a file."""
    neuronsim.compile(small(), tmp_path / "small.neff", "inf1.xlarge", neuroncore_pipeline_cores=2)
    onnx.save(onnx.load_from_string(small(12)), tmp_path / "small.onnx")
    (tmp_path / "tmp").mkdir()
    before = sorted(tmp_path.iterdir())
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-m", "neuronsim", *COMMANDS[command]], cwd=tmp_path, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        until = time.monotonic() + 30
        while cpu_seconds(process.pid) < BUSY_SECONDS and time.monotonic() < until:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "error[INTERRUPTED]: stopped by the user\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert sorted(tmp_path.iterdir()) == before
    assert [p for p in (tmp_path / "tmp").rglob("*") if p.is_file() and p.name != "mutex"] == []
