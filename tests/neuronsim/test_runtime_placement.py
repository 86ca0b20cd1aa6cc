"""Every placement example of Neuron's documents, and the rules in general."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import target as targets
from neuronsim.runtime import NrtError, NrtStatus, PlacementWarning, environment
from neuronsim.runtime.environment import GROUP_SIZES, NUM_CORES, VISIBLE_CORES, GroupSize
from neuronsim.runtime.instance import Instance
from neuronsim.runtime.placement import Placer, make_groups, span
from tests.neuronsim.runtime_programs import pipeline


def placer(cores: int, groups: str = "") -> Placer:
    sizes = environment.read(targets.load("inf1.24xlarge"), {GROUP_SIZES: groups}).groups
    return Placer(cores, make_groups(sizes))


def load(where: Placer, sizes: Sequence[int]) -> list[str]:
    """Cores of models of these sizes, loaded one after the other."""
    spans = []
    for size in sizes:
        placement = where.place(size)
        where.take(placement)
        spans.append(span(placement.cores))
    return spans


def test_groups_2_4_3_4() -> None:
    where = placer(16, "2,4,3,4")
    assert [span(g.cores) for g in where.groups] == ["nc0-nc1", "nc2-nc5", "nc6-nc8", "nc9-nc12"]
    assert load(where, [2, 4, 3, 4]) == ["nc0-nc1", "nc2-nc5", "nc6-nc8", "nc9-nc12"]
    assert load(where, [2]) == ["nc0-nc1"]  # after the last group it wraps


@pytest.mark.parametrize("start", [0, 1, 2])
def test_flexeg_start_leaves_room(start: int) -> None:
    assert placer(4).place(2, start_core=start).cores == (start, start + 1)


def test_flexeg_start_3_fails() -> None:
    with pytest.raises(NrtError) as caught:
        placer(4).place(2, start_core=3)
    assert caught.value.status == NrtStatus.NRT_LOAD_NOT_ENOUGH_NC == 9
    assert caught.value.help == "start at 0..2"


def test_two_visible_cores() -> None:
    assert load(placer(2), [1, 2, 1]) == ["nc0", "nc0-nc1", "nc1"]


def test_default_is_the_least_used_in_order() -> None:
    assert load(placer(8), [1, 1]) == ["nc0", "nc1"]
    assert load(placer(4), [3, 1, 1, 2]) == ["nc0-nc2", "nc3", "nc0", "nc1-nc2"]


@pytest.mark.parametrize("groups, sizes, spans", [
    ("4", [4], ["nc0-nc3"]),
    ("3,4,1", [3, 4, 1], ["nc0-nc2", "nc3-nc6", "nc7"]),
    ("2,2", [2, 2, 1, 1, 1], ["nc0-nc1", "nc2-nc3", "nc0", "nc2", "nc0"]),
    ("2,2,2,2", [2, 2, 2, 2], ["nc0-nc1", "nc2-nc3", "nc4-nc5", "nc6-nc7"]),
    ("1,4", [4, 1, 1], ["nc1-nc4", "nc0", "nc0"]),  # greedy: a group too small is passed over
])  # fmt: skip
def test_groups_fill_in_load_order(groups: str, sizes: list[int], spans: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(placer(8, groups), sizes) == spans


def test_a_model_larger_than_every_group_crosses_boundaries_with_a_warning() -> None:
    where = placer(4, "2,2")
    load(where, [2, 2])
    with pytest.warns(PlacementWarning, match="3 cores.*across group boundaries on nc0-nc2"):
        assert load(where, [3]) == ["nc0-nc2"]


def test_replicas_of_one_group() -> None:
    placement = placer(4, "4x1").place(1)
    assert placement.replicas == ((0,), (1,), (2,), (3,))
    with pytest.warns(PlacementWarning):
        assert placer(4, "4x1").place(2).replicas == ((0, 1),)


def test_an_explicit_group() -> None:
    where = placer(8, "2,4")
    assert where.place(3, group=1).cores == (2, 3, 4)
    with pytest.raises(NrtError) as small:
        where.place(3, group=0)
    assert (small.value.status, small.value.limit, small.value.actual) == (9, 2, 3)
    assert "NEURONCORE_GROUP_SIZES" in small.value.help
    with pytest.raises(NrtError) as absent:
        where.place(1, group=2)
    assert absent.value.status == NrtStatus.NRT_INVALID


@pytest.mark.parametrize("more", [{"start_core": 4}, {"start_core": -2}, {"start_core": 0, "group": 0}])
def test_what_cannot_be_meant(more: dict[str, int]) -> None:
    with pytest.raises(NrtError) as caught:
        placer(4, "4").place(1, **more)
    assert caught.value.status == NrtStatus.NRT_INVALID and caught.value.help


def test_more_cores_than_the_process_has() -> None:
    with pytest.raises(NrtError) as caught:
        placer(4).place(5)
    assert (caught.value.code, caught.value.limit, caught.value.actual) == ("NRT_LOAD_NOT_ENOUGH_NC", 4, 5)


def test_start_minus_one_is_the_first_free_core() -> None:
    where = placer(4)
    load(where, [1])
    assert where.place(1, start_core=-1).cores == (1,)


def test_unloading_makes_a_group_the_least_used() -> None:
    where = placer(4, "2,2")
    first, second = where.place(2), None
    where.take(first)
    second = where.place(2)
    where.take(second)
    where.take(second, -1)
    assert where.place(2).cores == (2, 3)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 16), st.lists(st.integers(1, 16), max_size=12), st.lists(st.integers(1, 5), max_size=4))
def test_placements_are_consecutive_and_even(cores: int, models: list[int], sizes: list[int]) -> None:
    groups = make_groups([GroupSize(n) for n in sizes]) if sum(sizes) <= cores else ()
    where = Placer(cores, groups)
    for model in (m for m in models if m <= cores):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PlacementWarning)
            placement = where.place(model)
        first = placement.cores[0]
        assert placement.cores == tuple(range(first, first + model)) and placement.cores[-1] < cores
        fitting = [g for g in groups if model <= len(g.cores)]
        assert (placement.group is None) == (not fitting)
        if placement.group is None:
            worst = max(where.uses[c] for c in placement.cores)
            assert all(max(where.uses[s : s + model]) >= worst for s in range(cores - model + 1))
        where.take(placement)


def test_instances_place_by_the_same_rules() -> None:
    """Cores of an instance are those of the process, moved to where it owns them."""
    with Instance("inf1.6xlarge", {VISIBLE_CORES: "4-5"}, private=True) as instance:
        found = [instance.load(pipeline(n)).cores for n in (1, 2, 1)]
        assert found == [(4,), (4, 5), (5,)]
        assert instance.load(pipeline(1), start_core=1).cores == (5,)
    with Instance("inf1.6xlarge", {GROUP_SIZES: "2,2"}, private=True) as instance:
        assert instance.cores == (0, 1, 2, 3)
        instance.load(pipeline(2))
        instance.load(pipeline(2))
        with pytest.warns(PlacementWarning) as caught:
            assert instance.load(pipeline(3)).cores == (0, 1, 2)
        assert caught[0].filename == __file__
    with Instance("inf1.6xlarge", {NUM_CORES: "2", GROUP_SIZES: "2x1"}, private=True) as instance:
        model = instance.load(pipeline(1))
        assert model.replicas == ((0,), (1,)) and model.group is instance.groups[0]
