"""Neuron's environment variables: meaning, precedence, and what is refused; the table of status codes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import target as targets
from neuronsim.runtime import NrtError, NrtStatus
from neuronsim.runtime.environment import (
    GROUP_SIZES,
    LOGICAL_NC_CONFIG,
    NUM_CORES,
    PROCESS_TAG,
    VISIBLE_CORES,
    Environment,
    GroupSize,
    read,
)

SIXTEEN = targets.load("inf1.6xlarge")
TRN2 = targets.load("trn2.48xlarge")


def test_nothing_set_is_everything() -> None:
    assert read(SIXTEEN, {}) == read(SIXTEEN, {NUM_CORES: "0"}) == read(SIXTEEN, {VISIBLE_CORES: ""}) == Environment(1)


@pytest.mark.parametrize("text, cores", [
    ("4", (4,)), ("4-7", (4, 5, 6, 7)), (" 0-15 ", tuple(range(16))), ("0-1,2,3-4", (0, 1, 2, 3, 4)), ("15", (15,)),
])  # fmt: skip
def test_visible_cores(text: str, cores: tuple[int, ...]) -> None:
    assert read(SIXTEEN, {VISIBLE_CORES: text}).visible == cores


def test_visible_wins_over_count() -> None:
    asked = read(SIXTEEN, {VISIBLE_CORES: "2-3", NUM_CORES: "5"})
    assert asked.visible == (2, 3)


def test_groups_take_as_many_cores_as_they_have() -> None:
    asked = read(SIXTEEN, {GROUP_SIZES: "2,4,3,4"})
    assert asked.count == 13
    assert asked.groups == (GroupSize(2), GroupSize(4), GroupSize(3), GroupSize(4))
    assert read(SIXTEEN, {GROUP_SIZES: "4x1"}).groups == (GroupSize(1, 4),)
    assert read(SIXTEEN, {GROUP_SIZES: "2,2", NUM_CORES: "0"}).count is None
    assert read(SIXTEEN, {GROUP_SIZES: "2,2", NUM_CORES: "6"}).count == 6


def test_logical_cores() -> None:
    assert read(TRN2, {}).lnc == 2
    assert read(TRN2, {LOGICAL_NC_CONFIG: "1", VISIBLE_CORES: "127"}).visible == (127,)
    with pytest.raises(NrtError):
        read(TRN2, {VISIBLE_CORES: "64"})


def test_process_tag() -> None:
    assert read(SIXTEEN, {PROCESS_TAG: "server"}).tag == "server"


@pytest.mark.parametrize("variable, text, part", [
    (VISIBLE_CORES, "0-3,2-5", "core 2 is named twice"),
    (VISIBLE_CORES, "1,1", "core 1 is named twice"),
    (VISIBLE_CORES, "5-4", "ends before it begins"),
    (VISIBLE_CORES, "16", "no core 16"),
    (VISIBLE_CORES, "0-16", "no core 16"),
    (VISIBLE_CORES, "0-999999999", "no core 999999999"),
    (VISIBLE_CORES, "9" * 5000, "neither a core nor a range"),
    (VISIBLE_CORES, "0,2", "not consecutive"),
    (VISIBLE_CORES, "all", "neither a core nor a range"),
    (VISIBLE_CORES, "-1", "neither a core nor a range"),
    (VISIBLE_CORES, "1-", "neither a core nor a range"),
    (VISIBLE_CORES, "0,,1", "neither a core nor a range"),
    (VISIBLE_CORES, "\u0663", "neither a core nor a range"),  # a digit elsewhere
    (NUM_CORES, "17", "no number of cores"),
    (NUM_CORES, "-1", "no number of cores"),
    (NUM_CORES, "four", "no number of cores"),
    (GROUP_SIZES, "2,0", "no size of a group"),
    (GROUP_SIZES, "2,,2", "no size of a group"),
    (GROUP_SIZES, "4x2", "no size of a group"),
    (GROUP_SIZES, "x1", "no size of a group"),
    (GROUP_SIZES, "2,-4", "no size of a group"),
    (GROUP_SIZES, "8,9", "need 17 cores, the instance has 16"),
    (GROUP_SIZES, "17x1", "need 17 cores, the instance has 16"),
    (LOGICAL_NC_CONFIG, "2", "no logical cores of that size"),
    (LOGICAL_NC_CONFIG, "two", "no logical cores of that size"),
])  # fmt: skip
def test_bad_values_are_invalid_with_help(variable: str, text: str, part: str) -> None:
    with pytest.raises(NrtError) as caught:
        read(SIXTEEN, {variable: text})
    error = caught.value
    assert (error.status, error.code) == (NrtStatus.NRT_INVALID, "NRT_INVALID")
    assert error.what.startswith(variable) and part in error.what
    assert error.help
    assert "  status: 2 (NRT_INVALID)\n" in str(error)


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries({}, optional={
    name: st.text("0123456789,-x ", max_size=8) for name in (VISIBLE_CORES, NUM_CORES, GROUP_SIZES, LOGICAL_NC_CONFIG)
}))  # fmt: skip
def test_any_text_is_understood_or_refused(environ: dict[str, str]) -> None:
    refused, asked = None, Environment(1)
    try:
        asked = read(TRN2, environ)
    except NrtError as error:
        refused = error
    assert refused is None or (refused.status == NrtStatus.NRT_INVALID and refused.help)
    cores = TRN2.cores // asked.lnc
    assert asked.visible is None or 0 <= asked.visible[0] <= asked.visible[-1] < cores
    assert asked.count is None or 0 < asked.count <= cores
    owned = len(asked.visible) if asked.visible is not None else asked.count or cores
    assert sum(g.total for g in asked.groups) <= owned


@pytest.mark.parametrize("more", [{VISIBLE_CORES: "0-3"}, {NUM_CORES: "4"}])
def test_groups_larger_than_what_the_process_has(more: dict[str, str]) -> None:
    with pytest.raises(NrtError) as caught:
        read(SIXTEEN, {GROUP_SIZES: "3,2", **more})
    assert (caught.value.limit, caught.value.actual) == (4, 5)


def test_status_codes_are_neurons() -> None:
    """nrt_status.h: names and numbers; 8 and 12 do not exist."""
    assert {s.name: s.value for s in NrtStatus} == {
        "NRT_SUCCESS": 0, "NRT_FAILURE": 1, "NRT_INVALID": 2, "NRT_INVALID_HANDLE": 3, "NRT_RESOURCE": 4,
        "NRT_TIMEOUT": 5, "NRT_HW_ERROR": 6, "NRT_QUEUE_FULL": 7, "NRT_LOAD_NOT_ENOUGH_NC": 9,
        "NRT_UNSUPPORTED_NEFF_VERSION": 10, "NRT_FAIL_HOST_MEM_ALLOC": 11, "NRT_UNINITIALIZED": 13, "NRT_CLOSED": 14,
        "NRT_QUEUE_EMPTY": 15, "NRT_EXEC_UNIT_UNRECOVERABLE": 101, "NRT_EXEC_BAD_INPUT": 1002,
        "NRT_EXEC_COMPLETED_WITH_NUM_ERR": 1003, "NRT_EXEC_COMPLETED_WITH_ERR": 1004, "NRT_EXEC_NC_BUSY": 1005,
        "NRT_EXEC_OOB": 1006, "NRT_COLL_PENDING": 1100, "NRT_EXEC_HW_ERR_COLLECTIVES": 1200,
        "NRT_EXEC_HW_ERR_HBM_UE": 1201, "NRT_EXEC_HW_ERR_NC_UE": 1202, "NRT_EXEC_HW_ERR_DMA_ABORT": 1203,
        "NRT_EXEC_SW_NQ_OVERFLOW": 1204, "NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE": 1205, "NRT_NETWORK_PROXY_FAILURE": 1206,
    }  # fmt: skip
