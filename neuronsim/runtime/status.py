"""Neuron's status codes, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from isa.errors import NeuronError


class NrtStatus(IntEnum):
    """NRT_STATUS of Neuron's `nrt_status.h`: same names, same numbers; 8 and 12 do not exist there either."""

    NRT_SUCCESS = 0
    NRT_FAILURE = 1
    NRT_INVALID = 2
    NRT_INVALID_HANDLE = 3
    NRT_RESOURCE = 4
    NRT_TIMEOUT = 5
    NRT_HW_ERROR = 6
    NRT_QUEUE_FULL = 7
    NRT_LOAD_NOT_ENOUGH_NC = 9
    NRT_UNSUPPORTED_NEFF_VERSION = 10
    NRT_FAIL_HOST_MEM_ALLOC = 11
    NRT_UNINITIALIZED = 13
    NRT_CLOSED = 14
    NRT_QUEUE_EMPTY = 15
    NRT_EXEC_UNIT_UNRECOVERABLE = 101
    NRT_EXEC_BAD_INPUT = 1002
    NRT_EXEC_COMPLETED_WITH_NUM_ERR = 1003
    NRT_EXEC_COMPLETED_WITH_ERR = 1004
    NRT_EXEC_NC_BUSY = 1005
    NRT_EXEC_OOB = 1006
    NRT_COLL_PENDING = 1100
    NRT_EXEC_HW_ERR_COLLECTIVES = 1200
    NRT_EXEC_HW_ERR_HBM_UE = 1201
    NRT_EXEC_HW_ERR_NC_UE = 1202
    NRT_EXEC_HW_ERR_DMA_ABORT = 1203
    NRT_EXEC_SW_NQ_OVERFLOW = 1204
    NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205
    NRT_NETWORK_PROXY_FAILURE = 1206


class NrtError(NeuronError):
    """What Neuron's runtime answers with a status other than success.

    Attributes:
        status: the code; its name is the error's `code`.
        detail: lines below the message, for instance who uses how much memory, or "".
    """

    def __init__(self, status: NrtStatus, what: str, *, detail: str = "", **rest: Any) -> None:
        self.status = status
        self.detail = detail
        super().__init__(what, code=status.name, **rest)

    def __str__(self) -> str:
        first, *rest = super().__str__().split("\n")
        details = [f"  {line}".rstrip() for line in self.detail.splitlines()]
        status = f"  status: {self.status.value} ({self.status.name})"
        return "\n".join([first, status, *rest[:-1], *details, *rest[-1:]])


class PlacementWarning(UserWarning):
    """A model that was placed, but not as the groups were meant."""
