"""How models are loaded: hashes, legacy files, shared weights, pinned weights and what switching them costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isa import neff as container
from isa import target as targets
from isa.program import Program
from neuronsim.api import Neff, load
from neuronsim.runtime import Instance, NrtError, NrtStatus
from neuronsim.runtime.environment import ALLOW_LEGACY, NUM_CORES, SHARED_WEIGHTS, VALIDATE_HASH, read
from neuronsim.timing import load_ticks, simulate
from tests.neuronsim.pinned_programs import WEIGHT, some_input
from tests.neuronsim.runtime_programs import heavy, pinned, pipeline

TRN1 = targets.load("trn1.2xlarge")


# ---- variables
@pytest.mark.parametrize("name", [VALIDATE_HASH, SHARED_WEIGHTS, ALLOW_LEGACY])
def test_switches(name: str) -> None:
    found = {text: read(TRN1, {name: text}) for text in ("", "0", "1", "true", "False", " TRUE ")}
    on = [text for text, e in found.items() if e.validate_hash or e.shared_weights or e.allow_legacy]
    assert on == ["1", "true", " TRUE "]
    with pytest.raises(NrtError) as caught:
        read(TRN1, {name: "yes"})
    assert caught.value.status == NrtStatus.NRT_INVALID and caught.value.where == f"{name}=yes"


def flipped_weight(path: Path) -> Path:
    """The file with one byte of its weight changed, which no size or offset tells."""
    raw = bytearray(path.read_bytes())
    at = raw.index(WEIGHT.tobytes()[:64])
    raw[at + 5] ^= 1
    path.write_bytes(raw)
    return path


def test_hashes_are_checked_at_load_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.neff"
    container.write(pinned(), path)
    with Instance("trn1.2xlarge", {VALIDATE_HASH: "1"}, private=True) as instance:
        instance.load(path)
        instance.load(load(path))
        opened = load(path)
        flipped_weight(path)
        for neff in (path, opened):
            with pytest.raises(NrtError) as caught:
                instance.load(neff)
            assert caught.value.status == NrtStatus.NRT_INVALID and "NEFF_HASH" in caught.value.what
    with Instance("trn1.2xlarge", {}, private=True) as instance:
        instance.load(path)  # as on the real thing: nobody looks before the weight is used


def test_legacy_files_cannot_run() -> None:
    older, newer = pipeline(1, "inf1.xlarge"), pipeline(1, "trn1.2xlarge")
    for environ, program, words in (
        ({}, older, "an older generation than trn2.48xlarge"),
        ({ALLOW_LEGACY: "1"}, older, f"{ALLOW_LEGACY} cannot help"),
        ({ALLOW_LEGACY: "1"}, newer, f"{ALLOW_LEGACY} cannot help"),
    ):
        with Instance("trn2.48xlarge", environ, private=True) as instance, pytest.raises(NrtError) as caught:
            instance.load(program)
        assert caught.value.status == NrtStatus.NRT_INVALID and words in caught.value.what
        assert caught.value.help == "compile for it: neuronsim compile MODEL --target trn2.48xlarge"
    with Instance("inf1.xlarge", {ALLOW_LEGACY: "1"}, private=True) as instance, pytest.raises(NrtError) as caught:
        instance.load(newer)
    assert caught.value.what == "the NEFF is for another generation than inf1.xlarge"


# ---- shared weights
def constants(program: Program, environ: dict[str, str]) -> list[int]:
    with Instance("inf1.6xlarge", {NUM_CORES: "6", **environ}, private=True) as instance:
        instance.data_parallel(Neff(program))
        return [usage.constants for usage in instance.memory().cores.values()]


def test_copies_share_weights_by_chip() -> None:
    size = 1 << 30
    assert constants(heavy(size), {}) == [size] * 6
    assert constants(heavy(size), {SHARED_WEIGHTS: "1"}) == [size, 0, 0, 0, size, 0]


def test_only_the_same_neff_is_shared(tmp_path: Path) -> None:
    path, size = tmp_path / "m.neff", pinned().stages[0].variable("w").size_bytes
    container.write(pinned(), path)
    with Instance("trn1.2xlarge", {SHARED_WEIGHTS: "1"}, private=True) as instance:
        for _ in range(2):
            instance.load(path, start_core=0)
        instance.load(pinned("other"), start_core=1)
        assert [u.constants for u in instance.memory().cores.values()] == [size, size]


# ---- pinned weights
def test_pinned_weights_are_loaded_once() -> None:
    once, always = Neff(pinned()), Neff(pinned(is_pinned=False))
    found, expected = (neff.run({"x": some_input(1)}) for neff in (once, always))
    assert found.outputs["y"].tobytes() == expected.outputs["y"].tobytes()
    stage = once.program.stages[0]
    assert found.stats["load_time"] == load_ticks(stage, TRN1) / TRN1.tick_hz > 0
    assert "load_time" not in expected.stats
    assert found.last.latency_seconds < expected.last.latency_seconds
    assert found.stats["total_time"] == simulate(stage, TRN1).seconds


def test_cores_load_at_once_and_share_the_memory_of_their_chip() -> None:
    """Two cores of a chip take longer than one, and not longer than one after the other."""
    first, second = pinned().nodes[0], pinned().nodes[0]
    nodes = [first, replace(second, name="m", inputs=("x",), outputs=("y",), stage=1, core=1)]
    both = replace(pinned(), nodes=nodes, stages=[pinned().stages[0]] * 2)
    narrow = TRN1.with_params({"dram.bytes_per_ns": 20.0})
    alone = load_ticks(both.stages[0], narrow) / narrow.tick_hz
    times = Neff(both).machine(narrow).load_seconds
    assert len(times) == 2 and alone <= min(times) <= max(times) <= 2 * alone
    assert max(times) > alone


def test_switching_costs_its_time_and_the_loading_of_weights() -> None:
    with Instance("trn1.2xlarge", {NUM_CORES: "1"}, private=True) as instance:
        a, b = instance.load(pinned("a")), instance.load(pinned("b", is_pinned=False))
        alone = a.run(mode="timing").time_ns
        assert b.run(mode="timing").last.switch_seconds == TRN1.switch_ns * 1e-9
        back = a.run(mode="timing")
        load = load_ticks(a.neff.program.stages[0], TRN1) / TRN1.tick_hz
        assert back.last.switch_seconds == pytest.approx(TRN1.switch_ns * 1e-9 + load)
        assert back.time_ns == pytest.approx(alone + back.last.switch_seconds * 1e9)
        assert back.last.latency_seconds * 1e9 == pytest.approx(back.time_ns)
        assert back.stats["switch_time"] == back.last.switch_seconds
        again = a.run(mode="timing")
        assert again.time_ns == alone and "switch_time" not in again.stats
        assert (instance.switches[0], instance.switch_ns) == (2, pytest.approx(2 * TRN1.switch_ns + load * 1e9))


def test_values_stay_right_across_switches() -> None:
    with Instance("trn1.2xlarge", {NUM_CORES: "1"}, private=True) as instance:
        a, b = instance.load(pinned("a")), instance.load(pinned("b"))
        first = [a.run({"x": some_input(k)}).outputs["y"] for k in range(3)]
        b.run({"x": some_input(9)})
        for k in (2, 0, 1):
            np.testing.assert_array_equal(a.run({"x": some_input(k)}).outputs["y"], first[k])
