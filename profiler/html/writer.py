"""The report as one file: page, style, script and data, none of it from anywhere else.

The page may load nothing and run no other script than its own: a content security policy with their hashes says so.
Texts of the model are JSON in which markup cannot end a script, and reach the page as text only.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from profiler.analyses.engine_time import NAMES
from profiler.analyses.stalls import Stalls, stalls
from profiler.exports.output import new_file
from profiler.html.columns import Block
from profiler.html.labels import Labels
from profiler.html.tracks import WAIT_FOR, tracks

SCHEMA = 1  # of the page's JSON
LARGE = 5_000_000  # bytes of columns from which waits name engines instead of instructions
SCRIPTS = (
    "dom", "colours", "data", "raster", "view", "timeline", "paint", "slices", "input", "table", "charts", "overview",
    "pipeline", "layers", "roofline", "memory", "compare", "main",
)  # fmt: skip
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def write(
    trace: Trace,
    programs: Sequence[Program],
    target: Target,
    analyses: Mapping[str, Any],
    path: str | Path,
    other: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of a trace to `path`; it is complete or not there.

    Args:
        programs: of the trace, in its order.
        analyses: by name, each with `as_json()` or JSON values: "summary" (of summary.json), "stalls", "layers",
            "pipeline", "roofline", "occupancy", "critical_path", "advice". A section without its analysis is left out.
        other: a summary.json to compare with.
    Raises: OSError.
    """
    found = analyses.get("stalls")
    word_class = (found if isinstance(found, Stalls) else stalls(trace, programs, target)).word_class
    timeline, columns = _timeline(trace, programs, target, word_class, producers=True)
    if len(columns) > LARGE:
        timeline, columns = _timeline(trace, programs, target, word_class, producers=False)
    results = {name: _plain(value) for name, value in analyses.items()}
    document = results.pop("summary", {})
    results = {name: value for name, value in results.items() if name not in document}
    summary = {
        "schema": SCHEMA, "title": ", ".join(p.name for p in programs), "target": target.name,
        "seconds": trace.total_ticks / trace.tick_hz, "facts": _facts(trace), "notes": list(trace.notes),
        "dropped": dict(trace.dropped), "summary": document, "analyses": results, "other": other,
    }  # fmt: skip
    with new_file(path) as stream:
        stream.write(_page(summary, timeline, columns).encode("utf-8"))


def _timeline(
    trace: Trace, programs: Sequence[Program], target: Target, word_class: np.ndarray, producers: bool
) -> tuple[dict[str, Any], str]:
    """What the page needs to draw the trace: JSON, and the columns it names."""
    block, labels = Block(), Labels()
    rows = tracks(trace, programs, target, word_class, labels, block, producers)
    timeline = {
        "tracks": rows, "labels": labels.as_json(block), "total": trace.total_ticks, "tick_hz": trace.tick_hz,
        "waits": list(NAMES), "wait_for": list(WAIT_FOR), "producers": producers,
    }  # fmt: skip
    return timeline, block.text()


def json_text(value: Any) -> str:
    """JSON in ASCII that can stand in an HTML script element; numbers that are none become null."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    return "".join(_ESCAPES.get(c, c) for c in text) if any(c in text for c in _ESCAPES) else text


def _page(summary: dict[str, Any], timeline: dict[str, Any], columns: str) -> str:
    assets = files("profiler.html") / "assets"
    style = (assets / "style.css").read_text(encoding="utf-8")
    parts = [(assets / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    script = '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}"
    title = html.escape(str(summary["title"])[:200]).encode("utf-8", "replace").decode("utf-8")
    page = Template((assets / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        policy=policy, title=f"{title}: profile", style=style, script=script, columns=columns,
        summary=json_text(summary), timeline=json_text(timeline),
    )  # fmt: skip


def _hash(text: str) -> str:
    """A source of a content security policy: exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _facts(trace: Trace) -> dict[str, int]:
    tables = ("runs", "instructions", "transfers", "host", "requests")
    return {"cores": len(set(trace.runs["core"].tolist())), **{t: len(getattr(trace, t)["start"]) for t in tables}}


def _plain(value: Any) -> Any:
    return value.as_json() if hasattr(value, "as_json") else value


def _finite(value: Any) -> Any:
    """The same without infinities and NaN, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
