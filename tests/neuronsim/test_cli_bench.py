"""`neuronsim bench`: NeuronPerf's figures against what a served load implies, its JSON, and the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isa import neff as container
from isa import target as targets
from isa.program import IN_SBUF
from neuronsim import cli
from neuronsim.api import Neff
from neuronsim.benchmark import PRINTED, BenchError, Question, peak, run
from neuronsim.cli.bench import figures
from neuronsim.runtime.status import NrtError
from neuronsim.runtime.telemetry import read_snapshots
from neuronsim.serving import Requests
from neuronsim.timing import simulate
from tests.neuronsim.runtime_programs import ROWS, heavy, pipeline
from tests.neuronsim.serving_programs import program

TARGET = targets.load("inf1.6xlarge")
KEYS = {
    *PRINTED, "model_name", "device_type", "instance_type", "throughput_peak", "latency_ms_p0", "latency_ms_p90",
    "latency_ms_p95", "latency_ms_p100", "e2e_avg_ms", "total_infs", "total_s", "status", "cost_per_1m_inf",
}  # fmt: skip


def bench(cores: int = 1, **asked: Any) -> dict[str, Any]:
    return run(Neff(pipeline(cores, space=IN_SBUF)), TARGET, Question(**{"requests": 100, **asked}))


@pytest.fixture
def neff(tmp_path: Path) -> Path:
    path = tmp_path / "chain.neff"
    container.write(pipeline(4, space=IN_SBUF), path)
    return path


# ---- the figures
def test_one_at_a_time() -> None:
    found = bench(n_models=1, in_flight=1)
    assert KEYS <= set(found)
    alone = simulate(pipeline(1).stages[0], TARGET).seconds
    latency = found["latency_ms_p50"] / 1e3
    assert latency > alone
    assert found["latency_ms_p0"] == found["latency_ms_p100"] == found["latency_ms_p99"]
    assert found["throughput_avg"] == pytest.approx(ROWS / latency)
    assert found["total_s"] == pytest.approx(100 * latency)
    assert found["stages"][0]["alone_ns"] == pytest.approx(alone * 1e9)
    (model,) = found["contention"]["models"]
    assert model["device_alone"] == model["device_together"] == pytest.approx(alone)
    assert (found["total_infs"], found["batch_size"], found["runs"]) == (100 * ROWS, ROWS, 100)
    assert found["exact"] is True


def test_cost_is_price_over_throughput() -> None:
    found = bench(n_models=1)
    per_hour = found["throughput_avg"] * 3600
    assert found["cost_per_hour"] == TARGET.usd_per_hour
    assert found["cost_per_1m_inf"] == pytest.approx(TARGET.usd_per_hour * 1e6 / per_hour)  # type: ignore[operator]
    assert bench(n_models=1, usd_per_hour=2.0)["cost_per_1m_inf"] == pytest.approx(2e6 / per_hour)


def test_copies_fill_the_instance() -> None:
    found = bench(4)
    assert (found["n_models"], found["pipeline_size"], found["n_devices"]) == (4, 4, 16)
    assert found["workers_per_model"] == 8
    assert [core["index"] for core in found["cores"]] == list(range(16))
    assert [(stage["core"], stage["copy"]) for stage in found["stages"]] == [(c, c // 4) for c in range(16)]
    assert set(found["contention"]["host_link_share"]) == {0, 1, 2, 3}


def test_cores_and_stages_of_a_pipeline() -> None:
    found = bench(4, n_models=1)
    assert [set(core) for core in found["cores"]] == [
        {"index", "utilization", "weights_bytes", "dram_bytes", "switches"}
    ] * 4
    assert all(0 < core["utilization"] <= 1 for core in found["cores"])
    assert all(0 <= stage["bubble_share"] < 1 and stage["runs"] == 100 for stage in found["stages"])
    assert found["dram_bytes"] == sum(core["dram_bytes"] for core in found["cores"]) > 0
    ends = [core["dram_bytes"] for core in found["cores"]]
    assert ends[0] > 0 and ends[3] > 0 and ends[1] == ends[2] == 0  # what is handed over never touches DRAM
    one = bench(4, n_models=1, in_flight=1)
    assert found["throughput_avg"] > 2 * one["throughput_avg"]


def test_open_loop() -> None:
    rate = 0.5 / simulate(pipeline(1).stages[0], TARGET).seconds
    found = bench(n_models=1, requests=400, arrivals=f"constant:{rate}")
    assert found["throughput_avg"] == pytest.approx(rate * ROWS, rel=1e-3)
    assert found["workers_per_model"] is None
    poisson = [bench(n_models=1, requests=400, arrivals=f"poisson:{rate}", seed=seed) for seed in (1, 1, 2)]
    assert poisson[0] == poisson[1] != poisson[2]
    assert poisson[0]["latency_ms_p99"] > found["latency_ms_p99"]


def test_recorded_arrivals(tmp_path: Path) -> None:
    times = tmp_path / "arrivals.txt"
    times.write_text("0\n0.001\n0.002\n0.003\n")
    found = bench(n_models=1, requests=3, arrivals=str(times))
    assert found["requests"] == 3
    assert found["total_s"] == pytest.approx(0.002, rel=1e-2)
    assert bench(n_models=1, requests=None, arrivals=str(times))["requests"] == 4


def test_rows_are_cut_into_runs() -> None:
    found = bench(n_models=1, requests=10, rows=ROWS + 1)
    assert (found["runs"], found["padding_rows"]) == (20, 10 * (ROWS - 1))
    assert found["total_infs"] == 10 * (ROWS + 1)


def test_every_method(tmp_path: Path) -> None:
    machine = bench(2, n_models=1, method="machine")
    assert (machine["method"], machine["exact"]) == ("machine", True)
    for method in ("extended", "recurrence"):
        found = bench(2, n_models=1, method=method)
        assert found["method"] == method
        assert found["throughput_avg"] == pytest.approx(machine["throughput_avg"], rel=0.02)


def test_no_published_price_and_physical_cores() -> None:
    found = run(Neff(pipeline(1, "trn2.48xlarge")), targets.load("trn2.48xlarge"), Question(requests=200))
    assert (found["n_models"], found["cost_per_hour"], found["cost_per_1m_inf"]) == (128, None, None)


def test_a_shared_instance_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURON_PROCESS_TAG", "mine")
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "7")  # of the process that runs models, not of the benchmark
    seen: list[Any] = []
    run(Neff(pipeline(1)), TARGET, Question(requests=100, n_models=2), tmp_path,
        lambda done, of: seen.extend(read_snapshots(tmp_path)))  # fmt: skip
    assert seen and (seen[0]["instance_type"], seen[0]["neuron_runtime_tag"]) == ("inf1.6xlarge", "mine")
    assert set(seen[0]["neuroncores_in_use"]) == {"0", "1"}
    assert read_snapshots(tmp_path) == []


# ---- several models
def side_by_side(*cores: int, **asked: Any) -> dict[str, Any]:
    neffs = [Neff(pipeline(n, space=IN_SBUF, name=f"m{k}")) for k, n in enumerate(cores)]
    return run(neffs, TARGET, Question(**{"requests": 60, **asked}))


def test_several_models_have_cores_of_their_own() -> None:
    found = side_by_side(2, 1, 4)
    models = found["models"]
    assert [row["model_name"] for row in models] == ["m0", "m1", "m2"]
    assert [row["pipeline_size"] for row in models] == [2, 1, 4]
    assert all(KEYS - {"cost_per_1m_inf"} <= set(row) and row["n_models"] == 1 for row in models)
    assert [s["model"] for s in found["stages"]] == [0, 0, 1, 2, 2, 2, 2]
    assert [s["core"] for s in found["stages"]] == list(range(7))
    assert (found["n_models"], found["n_devices"]) == (3, 7)
    assert found["requests"] == found["runs"] == sum(row["total_infs"] for row in models) / ROWS
    rate = sum(row["throughput_avg"] for row in models)
    assert found["throughput_avg"] == pytest.approx(rate)
    assert found["cost_per_1m_inf"] == pytest.approx(TARGET.usd_per_hour * 1e6 / (3600 * rate))  # type: ignore[operator]
    assert [m["name"] for m in found["contention"]["models"]] == ["m0", "m1", "m2"]
    assert found["contention"]["switches"] == 0
    twice = side_by_side(2, 1, n_models=3)
    assert [(s["model"], s["copy"]) for s in twice["stages"] if s["core"] % 2] == [(0, 0), (0, 1), (0, 2), (1, 1)]


def test_one_of_several_is_as_one_alone_where_nothing_is_shared() -> None:
    """On chips of their own."""
    alone, both = bench(4, n_models=1, requests=60), side_by_side(4, 4)
    assert both["models"][0]["throughput_avg"] == alone["throughput_avg"]
    assert both["models"][1]["latency_ms_p99"] == alone["latency_ms_p99"]


def test_closed_loops_end_together() -> None:
    """Else the slower one would have the machine to itself for most of its requests."""
    fast, slow = (Neff(program(layers, 512, 64, "inf1.6xlarge")) for layers in (1, 8))
    found = run([fast, slow], TARGET, Question(requests=300))
    counts = [row["total_infs"] // row["batch_size"] for row in found["models"]]
    assert counts[0] == 300 > 2 * counts[1] > 2
    ends = [count / (row["throughput_avg"] / row["batch_size"]) for count, row in zip(counts, found["models"])]
    assert ends[0] == pytest.approx(ends[1], rel=0.1)
    one = run([slow, fast], TARGET, Question(requests=1))
    assert [row["total_infs"] // row["batch_size"] for row in one["models"]] == [1, 1]


def test_random_arrivals_differ_between_models() -> None:
    found = side_by_side(1, 1, arrivals="poisson:20000")
    assert [row["total_infs"] for row in found["models"]] == [60 * ROWS] * 2
    assert found["models"][0]["e2e_avg_ms"] != found["models"][1]["e2e_avg_ms"]


def test_models_share_groups_and_switch() -> None:
    apart, shared = (side_by_side(*[2] * models, groups="2,2", in_flight=1) for models in (2, 4))
    assert apart["contention"]["switches"] == 0 and apart["n_devices"] == 4
    assert shared["n_devices"] == len(shared["cores"]) == 4
    cores = [(m, 2 * (m % 2) + k) for m in range(4) for k in (0, 1)]
    assert [(s["model"], s["core"]) for s in shared["stages"]] == cores
    switches, seconds = (shared["contention"][key] for key in ("switches", "switch_seconds"))
    assert switches == sum(core["switches"] for core in shared["cores"]) > 4 * 60
    assert seconds == pytest.approx(switches * TARGET.switch_ns * 1e-9)
    assert sum(model["switches"] for model in shared["contention"]["models"]) == switches
    runs = [row["total_infs"] / ROWS for row in shared["models"]]
    of_runs = sum(n * model["switch"] for n, model in zip(runs, shared["contention"]["models"]))
    assert of_runs == pytest.approx(seconds)
    slower = (shared["models"][0]["latency_ms_p50"] - apart["models"][0]["latency_ms_p50"]) * 1e6
    assert slower == pytest.approx(2 * TARGET.switch_ns)  # two cores, one of which the other model has meanwhile


def test_groups_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONCORE_GROUP_SIZES", "1,1")
    assert bench(1)["n_models"] == 2
    assert bench(1, n_models=1)["n_models"] == 1
    assert bench(1, groups="3,1,2x1")["n_models"] == 4
    assert side_by_side(1, 1, 1)["n_devices"] == 2
    with pytest.raises(NrtError):
        bench(1, n_models=3)


def test_weights_are_those_of_all_models_on_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = program(4, 512, 64, "inf1.6xlarge", pipeline=2)
    one, two = (stage.info["weights_bytes"] for stage in chain.stages)
    assert one + two >= 4 * 512 * 512 * 2  # type: ignore[operator] # four layers in bf16
    big = heavy(12345)
    found = run([Neff(chain), Neff(big)], TARGET, Question(requests=5, n_models=1, groups="2"))
    assert [core["weights_bytes"] for core in found["cores"]] == [one + 12345, two]  # type: ignore[operator]
    monkeypatch.setenv("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", "1")
    copies = run(Neff(chain), TARGET, Question(requests=5, n_models=2))
    assert [core["weights_bytes"] for core in copies["cores"]] == [one, two, one, two]


def test_several_models_that_do_not_fit() -> None:
    with pytest.raises(BenchError) as caught:
        side_by_side(8, 8, 1)
    assert (caught.value.limit, caught.value.actual) == (16, 17) and "--groups" in caught.value.help
    with pytest.raises(BenchError, match="cores of their own"):
        side_by_side(1, 1, groups="1,1", n_models=3)


def requests_at(ends: list[int]) -> Requests:
    column = np.array(ends, dtype=np.int64)
    return Requests("m", np.zeros_like(column), np.zeros_like(column), column, len(ends), 0, 10)


def test_peak_is_the_busiest_tenth() -> None:
    assert peak(requests_at([5, 95, 96, 97, 100])) == pytest.approx(4 / 10 * 10)
    assert peak(requests_at([])) == 0.0


def test_bad_questions() -> None:
    with pytest.raises(BenchError) as caught:
        bench(4, n_models=5)
    assert (caught.value.limit, caught.value.actual) == (16, 20)
    with pytest.raises(BenchError):
        run(Neff(pipeline(5)), targets.load("inf1.xlarge"), Question())
    with pytest.raises(BenchError):
        bench(arrivals="constant:1", in_flight=2)


# ---- the command
def test_text(neff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", str(neff), "--requests", "50"]) == 0
    out, err = capsys.readouterr()
    head, row = (line.split() for line in out.splitlines()[:2])
    assert head == [*PRINTED[:-1], "cost_per_1m_inf", "model_filename"]
    assert row[3:7] == ["4", "4", "8", str(ROWS)] and row[-1] == "chain.neff" and row[-2].startswith("$")
    assert "50 requests in" in out and "method" in out and "chip 3: " in out
    assert err == ""


def test_long_tables_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.neff"
    container.write(pipeline(1), path)
    argv = ["bench", str(path), "--instance", "inf1.24xlarge", "--requests", "64", "--method", "recurrence"]
    assert cli.main(argv) == 0
    short = capsys.readouterr().out
    assert "and 48 more: --verbose shows all" in short
    assert cli.main([*argv, "--verbose"]) == 0
    assert "more: --verbose" not in (full := capsys.readouterr().out) and len(full) > len(short)


def test_text_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{name}.neff" for name in "abcd"]
    for path in paths:
        container.write(pipeline(2), path)
    argv = ["bench", *map(str, paths), "--groups", "2,2", "--requests", "20", "--in-flight", "1"]
    assert cli.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[:5]] == ["model_filename", *(p.name for p in paths)]
    assert "cost_per_1m_inf" not in lines[0] and "for a million of them" in lines[6]
    assert lines[8].split()[:3] == ["model", "alone", "together"] and lines[12].endswith("d.neff")
    assert any("model switches: " in line for line in lines)


def test_narrow_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    report, several = run(Neff(pipeline(1)), TARGET, Question(requests=20)), side_by_side(1, 1, requests=20)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for columns, rows, of_two in ((80, len(PRINTED) + 1, len(PRINTED)), (200, 1, 2)):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert (len(figures(report).rows), len(figures(several).rows)) == (rows, of_two)


def test_json(neff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    assert cli.main(["bench", str(neff), "--requests", "50", "--json", str(path)]) == 0
    assert "throughput_avg" in capsys.readouterr().out
    report = json.loads(path.read_text())
    assert KEYS <= set(report) and report["model_filename"] == "chain.neff"
    assert cli.main(["bench", str(neff), "--requests", "50", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == report


@pytest.mark.parametrize(
    "argv, code, text",
    [
        (["--n-models", "5"], 1, "error[BENCH]"),
        (["--groups", "9,9"], 1, "error[NRT_INVALID]"),
        (["--groups", "2"], 1, "error[NRT_LOAD_NOT_ENOUGH_NC]"),
        (["--n-models", "0"], 2, "error[USAGE]"),
        (["--in-flight", "1", "--arrivals", "constant:1"], 1, "error[BENCH]"),
        (["--arrivals", "poisson:-1"], 1, "error[SERVING]"),
        (["--arrivals", "none.txt"], 1, "error[SERVING]"),
        (["--price", "free"], 2, "error[USAGE]"),
        (["--method", "guess"], 2, "error[USAGE]"),
        (["--instance", "inf1.xlarge", "--n-models", "2"], 1, "error[BENCH]"),
        (["--instance", "inf2.48xlarge"], 1, "error[NRT_INVALID]"),
        (["--instance", "nowhere"], 1, "error[TARGET_UNKNOWN]"),
        (["--json", "none/report.json"], 1, "error[OUTPUT]"),
    ],
)
def test_bad_command_lines(
    neff: Path, argv: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", str(neff), *argv]) == code
    assert capsys.readouterr().err.startswith(text)


def test_interrupt_leaves_nothing(neff: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    argv = [sys.executable, "-m", "neuronsim", "bench", str(neff), "--requests", "50000000", "--method", "machine",
            "--json", str(tmp_path / "report.json"), "--state-dir", str(state)]  # fmt: skip
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 20
        while not read_snapshots(state) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == "" and err == "error[INTERRUPTED]: stopped by the user\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chain.neff", "state"]
    assert [p.name for p in state.rglob("*") if p.is_file()] == ["mutex"]
