"""`--check` on what the compiler makes: no false alarm, no dropped wait unseen, every seeded fault found."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neuronsim
from isa import neff, target
from isa.program import Stage
from neuronsim.check import Checker, check
from neuronsim.cli import main
from neuronsim.demo.he_weights import NETWORKS, network_path
from tests.e2e import check_mutations
from tests.e2e.faults import FAULTS
from tests.e2e.fixture_models import CASTS, NAMES, TARGETS, compiled


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_fixture_models_have_no_findings(name: str, machine: str) -> None:
    assert [str(f) for f in compiled(name, machine).check()] == []


@pytest.mark.slow
@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_have_no_findings(name: str, machine: str) -> None:
    network = neuronsim.compile(network_path(name), target=machine, auto_cast=CASTS[machine])
    assert [str(f) for f in network.check()] == []


def mutate(stages: list[tuple[Stage, str]], drops: int, seed: int) -> tuple[int, int]:
    """Drop waits one at a time; each is reported, or proved to be implied. Returns how many of each."""
    checkers = [Checker(stage, target.load(machine)) for stage, machine in stages]
    waits = [(c, wait) for c in checkers for wait in c.waits()]
    chosen = random.Random(seed).sample(waits, min(drops, len(waits)))
    reported = implied = 0
    for checker, (op, slot) in chosen:
        if checker.races_without(op, slot):
            reported += 1
        else:
            assert checker.implied(op, slot), (op, slot)
            implied += 1
    assert reported + implied == drops
    return reported, implied


def test_hundred_dropped_waits() -> None:
    stages = [(compiled(n, t).program.stages[0], t) for n in NAMES for t in TARGETS]
    reported, implied = mutate(stages, 100, seed=1)
    assert reported > implied


@pytest.mark.slow
def test_thousand_dropped_waits() -> None:
    stages = [(compiled(n, t).program.stages[0], t) for n in NAMES for t in TARGETS]
    stages += [(stage, machine.name) for _, stage, machine in check_mutations.built_in() if machine.name in TARGETS]
    reported, implied = mutate(stages, 1000, seed=2)
    assert reported > implied


@pytest.mark.slow
def test_mutation_script_runs(tmp_path: Path) -> None:
    assert check_mutations.main(["--drops", "200", "--json", str(tmp_path / "m.json")]) == 0
    counts = json.loads((tmp_path / "m.json").read_text())
    assert sum(c["dropped"] for c in counts) == 200
    assert not any(c["missed"] for c in counts)


def seeded(name: str, machine: str, fault: str, seed: int) -> Stage:
    """A copy of the compiled stage with the fault in it; the compiled one stays as it is."""
    stage = replace(compiled(name, machine).program.stages[0])
    stage.streams = dict(stage.streams)
    FAULTS[fault][0](stage, random.Random(seed))
    return stage


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("name", ["onnx/resnet_cls", "onnx/vit_cls", "onnx/unet_seg"])
@pytest.mark.parametrize("fault", FAULTS)
def test_seeded_faults_are_found(fault: str, name: str, machine: str) -> None:
    for seed in range(5):
        found = {f.code for f in check(seeded(name, machine, fault, seed), target.load(machine))}
        assert found & FAULTS[fault][1], (seed, found)


@pytest.mark.parametrize("fault", FAULTS)
def test_seeded_faults_exit_three_on_the_command_line(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = compiled("onnx/resnet_cls", "trn1.2xlarge").program
    neff.write(replace(program, stages=[seeded("onnx/resnet_cls", "trn1.2xlarge", fault, 0)]), tmp_path / "bad.neff")
    assert main(["run", str(tmp_path / "bad.neff"), "--check", "--timing-only"]) == 3
    printed = set(re.findall(r"^[a-z]+\[([A-Z_]+)\]: ", capsys.readouterr().out, re.MULTILINE))
    assert printed & FAULTS[fault][1]
    assert main(["run", str(tmp_path / "bad.neff"), "--check", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["findings"]


def test_clean_program_exits_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    neff.write(compiled("onnx/resnet_cls", "trn1.2xlarge").program, tmp_path / "good.neff")
    assert main(["run", str(tmp_path / "good.neff"), "--check", "--timing-only"]) == 0
    assert "no findings" in capsys.readouterr().out


def test_a_dropped_wait_changes_values_or_is_harmless_here() -> None:
    """Races show in values: without any wait the outputs are not those of the model."""
    good = compiled("onnx/resnet_cls", "trn1.2xlarge")
    stage = replace(good.program.stages[0])
    stage.streams = {e: s.copy() for e, s in stage.streams.items()}
    for stream in stage.streams.values():
        stream["wait_sem"] = stream["wait_val"] = 0
    bad = type(good)(replace(good.program, stages=[stage]))
    (a,), (b,) = (list(n.run(mode="values").outputs.values()) for n in (good, bad))
    assert not np.array_equal(a, b)
