"""The shape of neuron-profile's `json` output: a list with one summary, and a list of instructions.

Timestamps and durations are nanoseconds; `operands` is the instruction in the assembler's language (docs/assembly.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isa.listing.words import format_words
from isa.program import Program, Stage
from isa.trace import Trace
from isa.word import ENGINES
from profiler.exports.clock import to_ns
from profiler.exports.output import new_file

_CHUNK = 4096  # instructions encoded at a time


def write(trace: Trace, programs: Sequence[Program], path: str | Path, summary: Mapping[str, Any]) -> None:
    """Write the file; `summary`: metrics by name, JSON values. Raises: OSError."""
    with new_file(path) as file:
        file.write(f'{{"summary": [{json.dumps(summary, allow_nan=False)}],\n"instruction": ['.encode())
        for number, text in enumerate(_pieces(trace, programs)):
            file.write(((",\n" if number else "\n") + text).encode())
        file.write(b"\n]}\n")


def _pieces(trace: Trace, programs: Sequence[Program]) -> Iterator[str]:
    """Instructions as JSON, some thousand at a time."""
    texts: dict[tuple[int, int], dict[str, list[str]]] = {}
    for run in range(len(trace.runs["start"])):
        model, number = int(trace.runs["model"][run]), int(trace.runs["stage"][run])
        stage = programs[model].stages[number]
        if (model, number) not in texts:
            texts[model, number] = {e: list(format_words(stage.stream(e))) for e in ENGINES}
        rows = trace.words(run)
        for first in range(rows.start, rows.stop, _CHUNK):
            some = slice(first, min(first + _CHUNK, rows.stop))
            yield ",\n".join(json.dumps(row) for row in _rows(trace, some, stage, texts[model, number]))


def _rows(trace: Trace, some: slice, stage: Stage, texts: Mapping[str, list[str]]) -> Iterator[dict[str, Any]]:
    table = {c: a[some].tolist() for c, a in trace.instructions.items()}
    start, end = (to_ns(np.asarray(trace.instructions[c][some]), trace.tick_hz).tolist() for c in ("start", "end"))
    for k, index in enumerate(table["index"]):
        engine, debug = ENGINES[table["engine"][k]], stage.debug[table["debug"][k]]
        opcode, _, operands = texts[engine][index].partition(" ")
        yield {
            "timestamp": start[k], "duration": end[k] - start[k], "label": debug.layer, "hlo_name": debug.source,
            "opcode": opcode, "operands": operands, "engine": engine, "nc_idx": table["core"][k],
        }  # fmt: skip
