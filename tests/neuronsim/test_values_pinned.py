"""Stages that are loaded once and run many times: what every run finds in memory, and cores in several threads."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from isa import target
from isa.program import Stage
from isa.spec import SPEC
from isa.validator import validate
from isa.word import DESCRIPTOR, ENGINES, WORD
from neuronsim.errors import DeadlockError, MemoryFault
from neuronsim.insns import bounds
from neuronsim.values import Core
from tests.neuronsim.pinned_programs import product, some_input
from tests.neuronsim.values_memory import make_memory
from tests.neuronsim.values_runs import Case, all_cases, run_kernel, with_indices

TARGET = target.load("trn1.2xlarge")


def outputs(core: Core, runs: int = 3, threads: int = 1) -> list[np.ndarray]:
    return [core.run(None, {"x": some_input(k)}, threads=threads)["y"] for k in range(runs)]


def test_pinning_changes_no_bit() -> None:
    streamed, pinned = product(pinned=False), product(pinned=True)
    for stage in (streamed, pinned):
        validate(stage, TARGET)
    expected = outputs(Core(streamed, TARGET))
    assert all(y.any() for y in expected)
    for threads in (1, 2):
        np.testing.assert_array_equal(outputs(Core(pinned, TARGET), threads=threads), expected)


def test_weights_are_there_whatever_a_run_writes_over_them() -> None:
    stage = product(pinned=True, after="memset dst=sbuf[0:128]@0x1000:fp32[64] value=7 wait(stored>=16)")
    np.testing.assert_array_equal(outputs(Core(stage, TARGET)), outputs(Core(product(pinned=True), TARGET)))


def test_a_run_finds_zeros_where_the_last_one_wrote() -> None:
    """The vector engine adds the input to a tile that nobody clears, and stores it: no sum builds up."""
    after = ("tensor_tensor dst=sbuf[0:128]@0x8000:fp32[4] src0=sbuf[0:128]@0x8000:fp32[4] "
             "src1=sbuf[0:128]@0:fp32[4] op=add wait(loaded>=16) post(done+1)")
    for pinned in (False, True):
        stage = product(pinned, after=after if pinned else after.replace("16", "32"))
        stage.descriptors = stage.descriptors.copy()
        stage.descriptors["src_off"][2] = 0x8000
        stage.streams["sync"] = stage.stream("sync").copy()
        stage.streams["sync"]["wait_val"][-1, 0] = 2
        core = Core(stage, TARGET)
        np.testing.assert_array_equal(outputs(core), [some_input(k) for k in range(3)])


def test_what_loading_leaves_in_psum_is_gone() -> None:
    """Reads PSUM that only loading wrote."""
    init = (".init gpsimd\n    memset dst=sbuf[0:128]@0x9000:fp32[4] value=5 post(20+1)\n"
            ".init scalar\n    activation dst=psum[0:128]@0x800:fp32[4] src0=sbuf[0:128]@0x9000:fp32[4] func=relu "
            "scale=1 wait(20>=1)\n")
    after = ("tensor_tensor dst=sbuf[0:128]@0x100:fp32[4] src0=psum[0:128]@0x800:fp32[4] "
             "src1=sbuf[0:128]@0x9000:fp32[4] op=add wait(done>=1) post(done+1)")
    stage = product(pinned=True, after=after, init=init)
    stage.streams["sync"] = stage.stream("sync").copy()
    stage.streams["sync"]["wait_val"][-1, 0] = 2
    assert all((y == 5).all() for y in outputs(Core(stage, TARGET)))


def test_first_nonfinite_word_is_one_of_the_run() -> None:
    stage = product(pinned=True, after="reciprocal dst=sbuf[0:128]@0x8000:fp32[4] src0=sbuf[0:128]@0x9000:fp32[4]")
    core = Core(stage, TARGET)
    core.run(None, {"x": some_input(0)}, find_nonfinite=True)
    assert core.first_nonfinite == 2  # after two words of the tensor engine


def test_loading_is_checked_before_it_runs() -> None:
    stage = product(pinned=True)
    stage.init = {"sync": stage.init["sync"].copy()}
    stage.init["sync"]["count"] = 3
    with pytest.raises(MemoryFault, match="beyond the table") as caught:
        Core(stage, TARGET)
    assert "init.sync[0]" in caught.value.where


def test_loading_that_never_ends_is_a_deadlock() -> None:
    with pytest.raises(DeadlockError):
        Core(product(pinned=True, init=".init vector\n    nop wait(30>=1)\n"), TARGET).load()


def test_handed_values_are_plain_buffers() -> None:
    stage = product(pinned=True, space="space=sbuf")
    assert stage.variables[0].space == "sbuf"
    np.testing.assert_array_equal(outputs(Core(stage, TARGET)), outputs(Core(product(pinned=True), TARGET)))


def columns_of(case: Case) -> list[tuple[int, int]]:
    descriptors = np.zeros(0, DESCRIPTOR) if case.descriptors is None else case.descriptors
    return bounds.written_columns(Stage({case.engine: case.words}, descriptors))


def test_nothing_is_written_outside_the_written_columns() -> None:
    """Every mnemonic, access pattern and data type of the kernel tests; what a run puts back depends on it."""
    tight = 0
    for case in all_cases():
        before = with_indices(case, make_memory(case.seed)).sbuf
        changed = np.flatnonzero((run_kernel(case).sbuf != before).any(axis=0))
        columns = columns_of(case)
        inside = np.zeros(before.shape[1] + 1, np.int64)
        for low, high in columns:
            inside[low:high] = 1
        assert inside[changed].all(), case.name
        tight += bool(len(changed)) and changed[0] == columns[0][0] and changed[-1] == columns[-1][1] - 1
    assert tight > 100


def test_columns_are_apart_and_in_order() -> None:
    def fill(start: int, size: int) -> np.ndarray:
        w = np.zeros(1, WORD)
        w["opcode"] = SPEC.by_name["memset"].opcode
        w["dst"]["space"], w["dst"]["dtype"], w["dst"]["partitions"], w["dst"]["start"] = 1, 1, 1, start
        w["dst"]["size"], w["dst"]["step"] = [1, 1, 1, size], [0, 0, 0, 1]
        return w

    words = np.concatenate([fill(4096, 8), fill(0, 4), fill(8, 4), fill(4100, 1)])
    assert bounds.written_columns(Stage({"vector": words})) == [(0, 24), (4096, 4128)]
    assert bounds.written_columns(Stage({e: words[:0] for e in ENGINES})) == []


def test_cores_in_several_threads_do_not_meet() -> None:
    stages = [product(pinned=True), product(pinned=False)] * 2
    expected = [outputs(Core(stage, TARGET), runs=8) for stage in stages]
    cores = [Core(stage, TARGET) for stage in stages]
    with ThreadPoolExecutor(len(cores)) as pool:
        found = list(pool.map(lambda core: outputs(core, runs=8), cores))
    np.testing.assert_array_equal(found, expected)
