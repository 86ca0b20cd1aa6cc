"""All analyses that the report shows, worked out where the caller has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from profiler.summary import summarise

SHOWN = ("stalls", "layers", "critical_path", "roofline", "pipeline", "occupancy", "resources", "advice")


def gather(
    trace: Trace, programs: Sequence[Program], target: Target, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The summary and the analyses by name. Args: known: those that are done already, by name."""
    found = dict(known or {})
    if "summary" not in found:
        found["summary"] = summarise(trace, programs, target)
    for name in SHOWN:
        if name not in found:
            found[name] = getattr(import_module(f"profiler.analyses.{name}"), name)(trace, programs, target)
    return found
