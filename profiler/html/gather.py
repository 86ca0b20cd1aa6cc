"""All analyses that the report shows, worked out where the caller has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from profiler.summary import Summary, summarise

SHOWN = ("stalls", "layers", "critical_path", "roofline", "pipeline", "occupancy", "resources", "advice")


def gather(
    trace: Trace, programs: Sequence[Program], target: Target, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The summary and the analyses by name. Args: known: those that are done already, by name."""
    found = dict(known or {})
    if "summary" not in found:
        found["summary"] = summarise(trace, programs, target)
    summary = found["summary"]
    made = summary if isinstance(summary, Summary) else summarise(trace, programs, target)
    for name in SHOWN:
        if name not in found:
            found[name] = made.by_layer if name == "layers" else getattr(made, name)
    return found
