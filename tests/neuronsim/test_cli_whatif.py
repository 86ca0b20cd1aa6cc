"""What-if: programs bound by one resource each are recognised, and every figure is that of a run on a target file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from isa import neff as container
from isa import target as targets
from isa.errors import TargetError
from isa.target import Target
from neuronsim import cli
from neuronsim.api import Neff
from neuronsim.cli.settings import changes as settings
from neuronsim.cli.whatif import as_json, sentences
from neuronsim.timing import simulate
from neuronsim.whatif import GAIN, LITTLE, STAGES, Answer, what_if
from tests.neuronsim.bound_programs import BOUND, copies, hops, program, side_by_side
from tests.neuronsim.serving_programs import program as compiled
from tests.neuronsim.timing_programs import activation, copy, stage

INF1 = targets.load("inf1.xlarge")


@pytest.fixture(scope="module")
def neff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whatif") / "products.neff"
    container.write(compiled(3, 256, 16), path)
    return path


# ---- the bottleneck
@pytest.mark.parametrize("resources", BOUND, ids=" and ".join)
def test_what_binds_a_program_is_found(resources: tuple[str, ...]) -> None:
    answer = what_if(*BOUND[resources]())
    assert answer.bottleneck == resources
    text = " ".join(sentences(answer))
    assert all(r in text for r in resources if r != STAGES)
    if len(resources) == 1:
        assert answer.single[0].speedup > 1.2 and not answer.pairs


def test_co_critical_resources_gain_nothing_alone() -> None:
    both = ("tensor engine", "vector engine")
    answer = what_if(*BOUND[both]())
    assert all(o.speedup < 1 + GAIN for o in answer.single)
    assert answer.pairs[0].resources == both and answer.pairs[0].speedup > 2
    assert "hides the other" in sentences(answer)[0]


def test_the_longest_stage_is_named() -> None:
    answer = what_if(*BOUND[STAGES,]())
    assert [round(s.of_mean, 1) for s in answer.stages] == [0.3, 1.7]
    assert "stage n1 on core 1" in sentences(answer)[0] and "vector engine" in sentences(answer)[1]
    mean = sum(s.seconds for s in answer.stages) / 2
    assert answer.best(STAGES).times.interval_s == pytest.approx(mean, rel=1e-3)


def test_ports_that_exclude_each_other() -> None:
    """Two engines take turns at PSUM; without that they work at once."""
    words = {"space": 2, "partitions": 128}
    vector = [copy(0, 4096, 512, space=2) for _ in range(40)]
    scalar = [activation(8192, 0, 512) for _ in range(40)]
    for w in scalar:
        w["src0"]["space"] = words["space"]
    answer = what_if(program(stage(vector=vector, scalar=scalar)), INF1)
    assert answer.best("PSUM ports").speedup == pytest.approx(2, rel=0.05)


def test_nothing_to_gain() -> None:
    answer = what_if(program(stage()), INF1)
    assert answer.bottleneck == () and answer.pairs == () and answer.base.latency_s == 0
    assert "No bottleneck" in sentences(answer)[0]


def test_what_hides_behind_the_bottleneck() -> None:
    """The vector engine gains little, since the tensor engine is close behind; both together gain much."""
    answer = what_if(program(side_by_side(56, 60)), INF1)
    assert answer.bottleneck == ("vector engine",) and GAIN < answer.single[0].speedup - 1 < LITTLE
    assert answer.pairs[0].resources == ("tensor engine", "vector engine")
    assert "Hidden behind each other: tensor engine and vector engine" in " ".join(sentences(answer))


def test_pairs_on_request_and_progress() -> None:
    """What comes one after the other hides nothing: both together save what each saves."""
    told: list[tuple[int, int]] = []
    answer = what_if(program(hops(30)), INF1, pairs=True, on_progress=lambda *done: told.append(done))
    resources = {r for o in answer.single for r in o.resources}
    assert told[-1][0] == told[-1][1] == len(told) == len(answer.single) + math.comb(len(resources), 2)
    assert {"DMA engines", "DMA start latency"} <= resources and not answer.pairs


def test_answers_do_not_depend_on_threads() -> None:
    model = compiled(3, 256, 16, pipeline=3)
    assert what_if(model, INF1, threads=1) == what_if(model, INF1, threads=4)


def test_goals() -> None:
    model = compiled(3, 256, 16, pipeline=3)
    assert what_if(model, INF1).goal == "throughput"
    latency = what_if(model, INF1, goal="latency")
    assert latency.base.latency_s == pytest.approx(Neff(model).run(mode="timing").time_ns * 1e-9, abs=4e-9)
    assert STAGES not in {r for o in latency.single for r in o.resources}


# ---- equal to a run on an edited target file
def edited(target: Target, parameters: dict[str, object], folder: Path) -> Path:
    path = folder / "edited.yaml"
    path.write_text(yaml.safe_dump({"extends": target.name, "parameters": parameters}), encoding="utf-8")
    return path


def test_every_change_equals_a_run_on_an_edited_target_file(tmp_path: Path) -> None:
    model = compiled(3, 256, 16)
    answer = what_if(model, INF1)
    assert len(answer.single) > 20
    neff = Neff(model)
    for outcome in answer.single:
        (change,) = outcome.changes
        path = edited(INF1, dict(change.parameters), tmp_path)
        run = neff.run(instance=str(path), mode="timing")
        changed = simulate(model.stages[0], INF1.with_params(change.parameters))
        timeline = run.last.stages[0].timeline
        assert timeline.tick_hz == changed.tick_hz and timeline.total_ticks == changed.total_ticks
        for column in ("start", "end", "retire", "cause", "transfer_start", "transfer_end"):
            assert np.array_equal(getattr(timeline, column), getattr(changed, column)), (change, column)
        assert outcome.times.latency_s == pytest.approx(run.time_ns * 1e-9, abs=2.5e-9)  # links in whole ticks


def test_run_with_settings_equals_a_run_on_an_edited_target_file(
    neff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edited(INF1, {"tensor.clock_ghz": 1.4, "dram.bytes_per_ns": math.inf, "psum.exclusive_pairs": []}, tmp_path)
    given = ["--set", "tensor.clock_ghz=1.4", "--set", "dram.bytes_per_ns=inf", "--set", "psum.exclusive_pairs=[]"]
    found = []
    for options in (given, ["--instance", str(path)]):
        assert cli.main(["run", str(neff), "--timing-only", "--json", *options]) == 0
        stats = json.loads(capsys.readouterr().out)["stats"]
        found.append({k: v for k, v in stats.items() if "wall" not in k})
    assert found[0] == found[1]
    assert cli.main(["run", str(neff), "--timing-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stats"]["total_time"] > found[0]["total_time"]


def test_bench_with_settings(neff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = []
    for options in ([], ["--set", "dram.bytes_per_ns=inf"]):
        assert cli.main(["bench", str(neff), "--requests", "20", "--n-models", "1", "--json", "-", *options]) == 0
        rates.append(json.loads(capsys.readouterr().out)["throughput_avg"])
    assert rates[1] > rates[0]


# ---- settings
@pytest.mark.parametrize(("text", "value"), [
    ("tensor.clock_ghz=1.4", 1.4), ("tensor.clock_ghz=INFINITE", math.inf), (" dma.t0_ns = 0 ", 0),
    ("dram.bytes_per_ns=1e3", 1000.0), ("link.bytes_per_ns=20", 20), ("dma.engines=8", 8),
    ("sbuf.exclusive_pairs=[]", []), ("link.wrap=true", True), ("tensor.cycles_per_row.bf16=1.5", 1.5),
])  # fmt: skip
def test_settings(text: str, value: object) -> None:
    assert settings(INF1, [text]) == {text.partition("=")[0].strip(): value}


@pytest.mark.parametrize(("given", "told"), [
    (["tensor.clock_ghz"], "NAME=VALUE"), (["=3"], "NAME=VALUE"), (["dma.t0_ns="], "NAME=VALUE"),
    (["tensor.clock=2"], "did you mean tensor.clock_ghz"), (["bytes_per_ns=2"], "dram.bytes_per_ns"),
    (["tensor.clock_ghz=fast"], "is a number"), (["tensor.clock_ghz=true"], "is a number"),
    (["dma.engines=2.5"], "whole number"), (["dma.engines=inf"], "whole number"),
    (["link.wrap=1"], "true or false"), (["sbuf.exclusive_pairs=vector"], "a list"), (["dma.ops=[[}"], "not a value"),
    (["dma.t0_ns=1", "dma.t0_ns=2"], "twice"),
])  # fmt: skip
def test_wrong_settings(given: list[str], told: str) -> None:
    with pytest.raises(TargetError, match="TARGET_SETTING") as error:
        settings(INF1, given)
    assert told in str(error.value)


@pytest.mark.parametrize("text", ["tensor.clock_ghz=0", "dma.t0_ns=-1", "dma.t0_ns=inf", "dram.bytes_per_ns=nan"])
def test_values_no_machine_can_have(text: str, neff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(neff), "--timing-only", "--set", text]) == 1
    assert "error[TARGET]" in capsys.readouterr().err


# ---- the command
def test_table_and_json(neff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "answer.json"
    assert cli.main(["whatif", str(neff), "-o", str(output), "--set", "host.bytes_per_ns=inf"]) == 0
    shown = capsys.readouterr()
    found = json.loads(output.read_text())
    assert "host.bytes_per_ns infinite (was 16)" in shown.err
    assert found["schema"] == 1 and found["goal"] == "latency" and found["pairs"] == []
    assert found["bottleneck"]["resources"][0] == found["changes"][0]["resources"][0]
    speedups = [c["speedup"] for c in found["changes"]]
    assert speedups == sorted(speedups, reverse=True)
    for change in found["changes"]:
        assert change["speedup"] == pytest.approx(found["latency"] / change["time"])
    assert not any(r == "host link" for c in found["changes"] for r in c["resources"])
    assert all(line in shown.out for line in ("Bottleneck: ", "speed-up", " -> infinite"))
    assert cli.main(["whatif", str(neff), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"]


def test_no_time_left_is_null_in_json() -> None:
    answer: Answer = what_if(program(stage(vector=copies(5))), INF1)
    assert answer.single[0].speedup == math.inf
    text = " ".join(sentences(answer))
    assert ">100x" in text and "inf" not in text.replace("infinite", "")
    assert as_json(answer, INF1)["changes"][0]["parameters"]["vector.clock_ghz"] == {"from": 1.0, "to": "infinite"}


def test_a_machine_of_another_generation_is_refused(neff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["whatif", str(neff), "--instance", "trn1.2xlarge"]) == 1
    assert "RUN_GENERATION" in capsys.readouterr().err
