"""Options of Neuron's tracing functions as options of the compiler."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from isa.errors import NeuronError


class TraceError(NeuronError):
    """A trace that was asked for in a way that cannot be meant."""

    code = "TRACE"


class Optimization(Enum):
    """What `trace(optimizations=[...])` may change."""

    FLOAT32_TO_FLOAT16 = "FLOAT32_TO_FLOAT16"


def optimization_options(optimizations: Sequence[Optimization]) -> dict[str, Any]:
    """Options of `neuronsim.compile` for `optimizations`. Raises: TraceError."""
    found: dict[str, Any] = {}
    for wanted in optimizations:
        if wanted is not Optimization.FLOAT32_TO_FLOAT16:
            raise TraceError(f"the optimisation {wanted!r} is not known", code="TRACE_OPTION",
                             limit=", ".join(o.name for o in Optimization))
        found |= {"auto_cast": "all", "auto_cast_type": "fp16"}
    return found
