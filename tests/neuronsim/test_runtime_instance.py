"""A runtime on an instance: load, run, unload, switching, memory, and what it refuses."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import neuronsim
from isa import neff as container
from isa import target as targets
from isa.errors import ErrorList
from isa.neff.layout import HEADER
from isa.topology import Link
from neuronsim.api import Neff
from neuronsim.runtime import Instance, LoadedModel, NrtError, NrtStatus
from neuronsim.runtime.environment import GROUP_SIZES, LOGICAL_NC_CONFIG, NUM_CORES
from neuronsim.runtime.memory import Usage, model_usage
from tests.neuronsim.runtime_programs import COLUMNS, ROWS, heavy, on_one_core, pipeline

MICROCODE = 96 << 20
DATA = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)


@pytest.fixture
def instance() -> Iterator[Instance]:
    with Instance("inf1.6xlarge", {}, private=True) as found:
        yield found


def test_a_run_is_that_of_the_neff(instance: Instance, tmp_path: Path) -> None:
    path = tmp_path / "m.neff"
    container.write(pipeline(3), path)
    alone = neuronsim.load(path).run({"t0": DATA}, instance="inf1.6xlarge")
    model = instance.load(path)
    assert isinstance(model, LoadedModel) and model.cores == (0, 1, 2)
    result = model.run({"t0": DATA}, threads=1)
    assert result.outputs["t3"].tobytes() == alone.outputs["t3"].tobytes() == np.maximum(DATA, 0).tobytes()
    assert result.time_ns == alone.time_ns
    assert model.run(mode="timing").time_ns == alone.time_ns


def test_the_face_exports_it_lazily() -> None:
    code = "import sys, neuronsim; assert 'neuronsim.runtime' not in sys.modules; neuronsim.Instance"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert neuronsim.Instance is Instance


# ---- switching
def test_switches_are_counted_by_core() -> None:
    with Instance("inf1.xlarge", {GROUP_SIZES: "2,2"}, private=True) as instance:
        a, b, c, d = (instance.load(pipeline(n, name=name)) for n, name in ((2, "a"), (2, "b"), (2, "c"), (1, "d")))
        assert [m.cores for m in (a, b, c, d)] == [(0, 1), (2, 3), (0, 1), (2,)]
        for model in (a, a, b):
            model.run(mode="timing")
        assert instance.switches.total() == 0  # the first model of a core takes nobody's place
        for model in (c, c, a, d, b):
            model.run(mode="timing")
        assert dict(instance.switches) == {0: 2, 1: 2, 2: 2}
        assert instance.switch_ns == 6 * instance.target.switch_ns
        assert [instance.holds(core) for core in range(4)] == [a, a, b, b]
        a.unload()
        assert instance.holds(0) is None
        c.run(mode="timing")
        assert instance.switches[0] == 2


def test_the_cost_of_a_switch_is_marked_inferred() -> None:
    for generation in targets.GENERATIONS:
        target = targets.load(generation)
        assert target.switch_ns > 0 and "runtime.switch_ns" in target.inferred()


def test_replicas_take_turns() -> None:
    with Instance("inf1.xlarge", {GROUP_SIZES: "4x1"}, private=True) as instance:
        first, second = instance.load(pipeline(1)), instance.load(pipeline(1))
        for _ in range(3):
            first.run(mode="timing")
        assert [instance.holds(core) is first for core in range(4)] == [True, True, True, False]
        second.run(mode="timing")
        assert dict(instance.switches) == {0: 1}


def test_threads_share_a_model(instance: Instance) -> None:
    model = instance.load(pipeline(2))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda k: model.run({"t0": DATA * k}, threads=1).outputs["t2"], range(8)))
    for k, found in enumerate(results):
        np.testing.assert_array_equal(found, np.maximum(DATA * k, 0))


# ---- memory
def test_memory_by_category(instance: Instance) -> None:
    model = instance.load(pipeline(1))
    stage = model.neff.program.stages[0]
    code = sum(s.nbytes for s in stage.streams.values())
    tensors = 2 * ROWS * COLUMNS * 4
    assert model.usage == (Usage(0, code, 0, stage.descriptors.nbytes, tensors),)
    cores = instance.memory().cores
    assert cores[0] == Usage(0, code, 0, stage.descriptors.nbytes, tensors, MICROCODE)
    assert cores[1] == Usage(microcode=MICROCODE)
    assert instance.memory().total == 16 * MICROCODE + model.usage[0].total
    usage = instance.memory().as_dict()["neuroncore_memory_usage"]
    assert usage["0"] == {  # type: ignore[index]
        "constants": 0, "model_code": code + MICROCODE, "model_shared_scratchpad": 0,
        "runtime_memory": stage.descriptors.nbytes, "tensors": tensors,
    }  # fmt: skip
    model.unload()
    assert instance.memory().total == 16 * MICROCODE


def test_scratchpad_is_shared_on_a_core() -> None:
    with Instance("inf1.xlarge", {NUM_CORES: "1"}, private=True) as instance:
        for weights, scratch in ((100, 5000), (200, 3000)):
            instance.load(heavy(weights, scratch))
        found = instance.memory().cores[0]
        assert (found.constants, found.model_shared_scratchpad) == (300, 5000)


def test_a_stage_is_on_its_own_core() -> None:
    """What is handed on lies in two buffers at the core that reads it."""
    program, size = pipeline(3), ROWS * COLUMNS * 4
    usage = model_usage(program)
    assert [u.tensors for u in usage] == [size, 2 * size, 3 * size]
    together = model_usage(on_one_core(program))
    assert len(together) == 1 and together[0].tensors == 6 * size
    assert together[0].model_code == sum(u.model_code for u in usage)


def test_what_is_handed_over_in_sbuf_takes_no_device_memory() -> None:
    program = pipeline(2, space="sbuf")
    assert [u.tensors for u in model_usage(program)] == [ROWS * COLUMNS * 4] * 2


def test_core_of_a_stage(instance: Instance) -> None:
    model = instance.load(pipeline(3), start_core=5)
    assert [model.core_of(stage) for stage in range(3)] == [5, 6, 7]
    assert instance.topology.route(model.core_of(2), model.core_of(2) + 1) == (Link(1, 2),)
    alone = instance.load(on_one_core(pipeline(3)), start_core=9)
    assert [alone.core_of(stage) for stage in range(3)] == [9, 9, 9]


def test_out_of_memory_prints_who_has_it(instance: Instance) -> None:
    """8 GiB of a chip: 4 times the microcode, then 3 GiB, 4 GiB, and no room for 1 GiB more."""
    small, large = instance.load(heavy(3 << 30, name="small"), start_core=0), heavy(4 << 30, name="large")
    instance.load(large, start_core=1)
    with pytest.raises(NrtError) as caught:
        instance.load(heavy(1 << 30, name="last"), start_core=3)
    error = caught.value
    assert (error.status, error.code) == (NrtStatus.NRT_RESOURCE, "NRT_RESOURCE")
    assert error.limit == f"{8 << 30} bytes"
    assert error.help
    rows = [line.split() for line in error.detail.splitlines()]
    assert rows[1][:5] == ["ND", "0,", "this", "process", "8.375GB"]
    assert [(r[0], r[1]) for r in rows if r[0] in ("small", "large", "last")] == [
        ("small", "3.000GB"), ("large", "4.000GB"), ("last", "1.000GB")]
    assert "Microcode" in error.detail and error.detail.split("\n")[0] in str(error)
    assert len(instance.models) == 2
    assert instance.load(heavy(1 << 30), start_core=4).cores == (4,)  # the next chip has room
    small.unload()
    instance.load(heavy(1 << 30, name="last"), start_core=3)


def test_other_runtimes_take_memory_of_a_shared_chip(tmp_path: Path) -> None:
    half = {NUM_CORES: "2"}
    with Instance("inf1.xlarge", half, tmp_path) as first, Instance("inf1.xlarge", half, tmp_path) as second:
        assert (first.cores, second.cores) == ((0, 1), (2, 3))
        model = first.load(heavy(6 << 30))
        (chip,) = second.memory().chips
        assert chip.others == first.memory().total and chip.own == 2 * MICROCODE
        with pytest.raises(NrtError) as caught:
            second.load(heavy(2 << 30))
        assert caught.value.code == "NRT_RESOURCE" and caught.value.detail.endswith("6.188GB")
        model.unload()
        second.load(heavy(2 << 30))


# ---- refused
def test_another_generation(instance: Instance) -> None:
    with pytest.raises(NrtError) as caught:
        instance.load(pipeline(1, "trn1.2xlarge"))
    assert (caught.value.code, caught.value.limit, caught.value.actual) == ("NRT_INVALID", "v1", "v2")
    assert caught.value.help == "compile for it: neuronsim compile MODEL --target inf1.6xlarge"


def test_another_logical_core_size() -> None:
    program = pipeline(1, "trn2.48xlarge")
    with Instance("trn2.48xlarge", {}, private=True) as instance, pytest.raises(NrtError) as caught:
        instance.load(program)
    assert caught.value.status == NrtStatus.NRT_INVALID
    assert caught.value.help == "NEURON_LOGICAL_NC_CONFIG=1"
    with Instance("trn2.48xlarge", {LOGICAL_NC_CONFIG: "1"}, private=True) as instance:
        assert len(instance.cores) == 128
        assert instance.load(program, start_core=127).cores == (127,)
        assert instance.memory().chips[15].own > 8 * MICROCODE


def test_more_pipeline_cores_than_the_instance_has() -> None:
    with Instance("inf1.xlarge", {}, private=True) as instance, pytest.raises(NrtError) as caught:
        instance.load(pipeline(5))
    assert (caught.value.status, caught.value.limit, caught.value.actual) == (9, 4, 5)
    assert caught.value.help == (
        "compile for fewer: --neuroncore-pipeline-cores 4, or take inf1.6xlarge or inf1.24xlarge"
    )
    with Instance("inf1.6xlarge", {NUM_CORES: "3"}, private=True) as instance, pytest.raises(NrtError) as caught:
        instance.load(pipeline(5))
    assert (caught.value.status, caught.value.limit, caught.value.actual) == (9, 3, 5)
    assert NUM_CORES in caught.value.help


def test_files_that_are_no_neff(instance: Instance, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.neff", tmp_path / "bad.neff"
    container.write(pipeline(1), good)
    for damage, status in ((b"", 2), (b"no neff" * 1000, 2), (newer(good.read_bytes()), 10)):
        bad.write_bytes(damage)
        with pytest.raises(NrtError) as caught:
            instance.load(bad)
        assert caught.value.status == status and str(bad) in caught.value.where
    with pytest.raises(NrtError):
        instance.load(tmp_path / "absent.neff")


def newer(raw: bytes) -> bytes:
    """The file with a major version of the future."""
    header = np.frombuffer(raw[:1024], dtype=HEADER).copy()
    header["neff_version_major"] += 1
    return header.tobytes() + raw[1024:]


def test_inputs_that_do_not_fit(instance: Instance) -> None:
    model = instance.load(pipeline(1))
    with pytest.raises(NrtError) as caught:
        model.run({"t0": DATA[:, :4]})
    assert (caught.value.status, caught.value.code) == (1002, "NRT_EXEC_BAD_INPUT")
    with pytest.raises(ErrorList) as many:
        model.run({"t0": DATA[:, :4], "t7": DATA})
    assert [e.code for e in many.value.errors] == ["NRT_EXEC_BAD_INPUT"] * 2
    with pytest.raises(neuronsim.api.RunError):
        model.run(mode="guess")


def test_what_is_gone(instance: Instance) -> None:
    model = instance.load(pipeline(1))
    model.unload()
    for use in (model.run, model.unload):
        with pytest.raises(NrtError) as caught:
            use()
        assert caught.value.status == NrtStatus.NRT_INVALID_HANDLE
    other = instance.load(Neff(pipeline(1)))
    instance.close()
    instance.close()
    for use in (other.run, other.unload, instance.memory, lambda: instance.load(pipeline(1))):
        with pytest.raises(NrtError) as caught:
            use()
        assert caught.value.status == NrtStatus.NRT_CLOSED


def test_a_forgotten_instance_gives_its_cores_back(tmp_path: Path) -> None:
    instance = Instance("inf1.xlarge", {}, tmp_path)
    instance.load(pipeline(1))
    del instance
    gc.collect()
    Instance("inf1.xlarge", {}, tmp_path).close()
