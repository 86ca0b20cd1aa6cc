"""Inputs of any number of rows, copies that share them, and what a run of them takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import target as targets
from isa.program import Program, TensorInfo
from neuronsim.api import NonFiniteWarning
from neuronsim.runtime import Instance, NrtError, NrtStatus
from neuronsim.runtime.environment import GROUP_SIZES, NUM_CORES, VISIBLE_CORES, GroupSize
from neuronsim.runtime.placement import Placement, Placer, make_groups
from tests.neuronsim.runtime_programs import COLUMNS, ROWS, pipeline


@pytest.fixture
def instance() -> Iterator[Instance]:
    with Instance("inf1.6xlarge", {}, private=True) as found:
        yield found


def data(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, COLUMNS)).astype(np.float32)


# ---- values
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, ROWS + 1, 5 * ROWS, 7 * ROWS + 3])
def test_any_number_of_rows(instance: Instance, rows: int, threads: int) -> None:
    model = instance.data_parallel(pipeline(2), copies=3)
    result = model.run({"t0": data(rows)}, threads=threads)
    assert result.outputs["t2"].tobytes() == np.maximum(data(rows), 0).tobytes()
    assert result.inputs["t0"].tobytes() == data(rows).tobytes()
    assert result.runs == -(-rows // ROWS)


def test_pieces_go_to_the_copies_in_turn(instance: Instance) -> None:
    model = instance.data_parallel(pipeline(2), copies=3)
    one = model.run({"t0": data(ROWS)}, mode="timing").time_ns
    for runs, rounds in ((1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (7, 3)):
        assert model.run({"t0": data(runs * ROWS)}).time_ns == pytest.approx(rounds * one)
    assert [instance.holds(core) is model for core in range(7)] == [True] * 6 + [False]


def test_a_nan_in_any_piece_is_the_status(instance: Instance) -> None:
    model = instance.load(pipeline(1))
    poisoned = data(3 * ROWS)
    assert model.run({"t0": poisoned}).status == NrtStatus.NRT_SUCCESS
    poisoned[2 * ROWS + 1, 3] = np.nan
    with pytest.warns(NonFiniteWarning, match="'t0' holds NaN"):
        result = model.run({"t0": poisoned})
    assert result.status == NrtStatus.NRT_EXEC_COMPLETED_WITH_NUM_ERR == 1003
    assert np.isnan(result.outputs["t1"]).sum() == 1


def two_inputs() -> Program:
    """A pipeline whose host gives a second input that no stage reads."""
    program = pipeline(1)
    return replace(program, inputs=[*program.inputs, TensorInfo("other", (ROWS, 3), "float32")])


def without_rows() -> Program:
    program = pipeline(1)
    return replace(program, inputs=[*program.inputs, TensorInfo("scale", (), "float32")])


def test_inputs_that_disagree(instance: Instance) -> None:
    model = instance.load(two_inputs())
    with pytest.raises(NrtError) as caught:
        model.run({"t0": data(4), "other": np.zeros((5, 3), np.float32)})
    error = caught.value
    assert (error.status, error.where) == (NrtStatus.NRT_EXEC_BAD_INPUT, "t0, other")
    assert error.actual == "t0: 4, other: 5" and "INPUT_BATCH" in error.what
    both = model.run({"t0": data(20), "other": np.zeros((20, 3), np.float32)})
    assert both.outputs["t1"].shape == (20, COLUMNS)
    with pytest.raises(NrtError, match="no rows"):
        model.run({"t0": data(0)})


def test_tensors_without_the_dimension(instance: Instance) -> None:
    model = instance.load(without_rows())
    with pytest.raises(NrtError) as caught:
        model.run({"t0": data(4)})
    assert (caught.value.where, caught.value.limit) == ("scale", ROWS)
    assert "dimension 0" in caught.value.what and caught.value.help
    assert model.run({"t0": data(ROWS), "scale": np.float32(1)}).runs == 1


def test_other_faults_are_told_as_ever(instance: Instance) -> None:
    model = instance.load(pipeline(1))
    for wrong, code in (
        (data(4)[:, :3], "INPUT_SHAPE"),
        (data(4).astype(np.float64), "INPUT_DTYPE"),
        (data(4)[0], "INPUT_SHAPE"),
    ):
        with pytest.raises(NrtError) as caught:
            model.run({"t0": wrong})
        assert caught.value.status == NrtStatus.NRT_EXEC_BAD_INPUT and code in caught.value.what


# ---- where copies go
def test_copies_on_free_cores() -> None:
    with Instance("inf1.6xlarge", {VISIBLE_CORES: "3-12"}, private=True) as instance:
        instance.load(pipeline(1), start_core=3)
        model = instance.data_parallel(pipeline(3))
        assert model.replicas == ((3, 4, 5), (7, 8, 9), (10, 11, 12))
        assert instance.memory().cores[8].tensors == model.usage[1].tensors
        with pytest.raises(NrtError) as caught:
            instance.data_parallel(pipeline(1))
        assert (caught.value.status, caught.value.limit) == (NrtStatus.NRT_LOAD_NOT_ENOUGH_NC, 0)
        model.unload()
        assert instance.data_parallel(pipeline(4)).replicas == ((7, 8, 9, 10),)


def test_copies_on_free_groups() -> None:
    with Instance("inf1.6xlarge", {GROUP_SIZES: "2,4,3,4"}, private=True) as instance:
        instance.load(pipeline(2), group=2)
        model = instance.data_parallel(pipeline(2))
        assert model.replicas == ((0, 1), (2, 3), (9, 10))
        assert instance.load(pipeline(2)).group == instance.groups[0]  # as used as all the others
    with Instance("inf1.6xlarge", {GROUP_SIZES: "4x1,2"}, private=True) as instance:
        assert instance.data_parallel(pipeline(1)).cores == (0, 1, 2, 3, 4)
    with Instance("inf1.6xlarge", {GROUP_SIZES: "4x1,2"}, private=True) as instance:
        assert instance.data_parallel(pipeline(1), copies=2).cores == (0, 1)


def test_no_more_copies_than_there_is_room_for() -> None:
    placer = Placer(8, make_groups([GroupSize(3), GroupSize(3)]))
    for copies, status in ((3, 9), (0, 2)):
        with pytest.raises(NrtError) as caught:
            placer.place_copies(2, copies)
        assert caught.value.status == status
    assert placer.place_copies(2, 2).replicas == ((0, 1), (3, 4))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 16), st.integers(1, 5), st.lists(st.integers(0, 15), max_size=5), st.lists(st.integers(1, 5)))
def test_copies_take_free_consecutive_cores(cores: int, needed: int, used: list[int], sizes: list[int]) -> None:
    placer = Placer(cores, make_groups([GroupSize(n) for n in sizes]) if sum(sizes) <= cores else ())
    for core in (c for c in used if c < cores):
        placer.take(Placement(((core,),)))
    free = [n == 0 for n in placer.uses]
    windows = [range(g.cores[0], g.cores[0] + len(g.cores)) for g in placer.groups] or [
        range(start, start + needed) for start in range(cores - needed + 1)]  # fmt: skip
    if not any(len(window) >= needed and all(free[c] for c in window) for window in windows):
        with pytest.raises(NrtError):
            placer.place_copies(needed)
        return
    found = placer.place_copies(needed)
    assert all(replica == tuple(range(replica[0], replica[0] + needed)) for replica in found.replicas)
    assert len(set(found.cores)) == len(found.cores) and all(free[c] for c in found.cores)
    placer.take(found)
    with pytest.raises(NrtError):
        placer.place_copies(needed)


def test_copies_on_other_chips_take_the_time_of_their_way() -> None:
    """Stages on two chips store over a link, a slow one here; copies within a chip do not."""
    slow = targets.load("inf1.6xlarge").with_params({"link.bytes_per_ns": 0.1})
    with Instance(slow, {NUM_CORES: "8"}, private=True) as instance:
        model = instance.data_parallel(pipeline(3, space="sbuf"))
        assert model.replicas == ((0, 1, 2), (3, 4, 5))
        near, far = (model.run(mode="timing") for _ in range(2))
        assert [r.core for r in far.last.stages] == [3, 4, 5]
        assert far.time_ns > near.time_ns
        both = model.run({"t0": data(2 * ROWS)})
        assert both.outputs["t3"].tobytes() == np.maximum(data(2 * ROWS), 0).tobytes()
        assert both.time_ns == far.time_ns
