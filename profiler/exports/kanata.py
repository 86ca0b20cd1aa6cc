"""A window of instructions for the pipeline viewer Konata, format `Kanata` version 4.

A cycle of the file is a nanosecond (rounded down). Lane 0 of an instruction shows it executing (`Ex`) and, where it
retires later, waiting for its turn to retire (`Rt`); lane 1 shows a wait before that: `Sm` semaphore, `Po` port, `Ra`
own result, `Pe` stationary matrix, `Dm` DMA. Arrows go from the instruction that ended the wait.

Format: docs/kanata-log-format.md of github.com/shioyadan/Konata.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import Cause, Trace
from isa.word import ENGINES
from profiler.exports.clock import to_ns
from profiler.exports.events import ticks_of
from profiler.exports.labels import ENGINE_NAMES, Labels, opcode_numbers
from profiler.exports.output import ExportError, new_file
from profiler.exports.text import Names

MOST = 2000  # instructions by default: a screenful is some fifty
_WAITS = {Cause.NONE: "Wt", Cause.SEMAPHORE: "Sm", Cause.PORT: "Po", Cause.RAW: "Ra", Cause.PE_SLOT: "Pe",
          Cause.DMA: "Dm"}
_EXECUTE, _RETIRE, _STALLS = "Ex", "Rt", 1
Line = tuple[int, int, int, str]  # cycle, place within it, instruction, text


def write(
    trace: Trace, programs: Sequence[Program], target: Target, path: str | Path, *,
    window: tuple[float, float] | None = None, most: int = MOST,
) -> None:
    """Write the first `most` instructions that were ready within the window (seconds) as text.

    Raises: ExportError for a window that holds no time, or when `most` is not positive; OSError.
    """
    if most < 1:
        raise ExportError("no instruction asked for", where="most", limit=">= 1", actual=most)
    low, high = ticks_of(window, trace)
    ready = trace.instructions["wait_start"]
    rows = np.flatnonzero((ready >= low) & (ready <= high))
    rows = rows[np.argsort(ready[rows], kind="stable")][:most]
    with new_file(path) as file:
        for line in _lines(trace, programs, rows):
            file.write(line.encode())


def _lines(trace: Trace, programs: Sequence[Program], rows: np.ndarray) -> Iterator[str]:
    yield "Kanata\t0004\n"
    now = None
    for cycle, _, _, text in sorted(_commands(trace, programs, rows)):
        if now is None:
            yield f"C=\t{cycle}\n"
        elif cycle > now:
            yield f"C\t{cycle - now}\n"
        now = cycle
        yield text + "\n"


def _commands(trace: Trace, programs: Sequence[Program], rows: np.ndarray) -> Iterator[Line]:
    """All commands; at one cycle instructions begin, go on, point at their producers and retire in this order."""
    table = trace.instructions
    ready, start, end, retire = (to_ns(table[c][rows], trace.tick_hz).tolist()
                                 for c in ("wait_start", "start", "end", "retire"))
    number_of = {op: k for k, op in enumerate(rows.tolist())}
    retired = {k: n for n, k in enumerate(np.lexsort((rows, table["retire"][rows])).tolist())}
    labels = _labels(trace, programs, rows)
    causes, producers = table["cause"][rows].tolist(), table["cause_op"][rows].tolist()
    for k, op in enumerate(rows.tolist()):
        thread = int(table["core"][op]) * len(ENGINES) + int(table["engine"][op])
        yield ready[k], 0, k, f"I\t{k}\t{op}\t{thread}\nL\t{k}\t0\t{labels[k][0]}\nL\t{k}\t1\t{labels[k][1]}"
        if table["start"][op] > table["wait_start"][op]:
            stage = _WAITS[Cause(causes[k])]
            yield ready[k], 1, k, f"S\t{k}\t{_STALLS}\t{stage}"
            yield start[k], 2, k, f"E\t{k}\t{_STALLS}\t{stage}"
            if producers[k] in number_of:
                yield start[k], 4, k, f"W\t{k}\t{number_of[producers[k]]}\t0"
        yield start[k], 3, k, f"S\t{k}\t0\t{_EXECUTE}"
        yield end[k], 5, k, f"E\t{k}\t0\t{_EXECUTE}"
        if retire[k] > end[k]:
            yield end[k], 6, k, f"S\t{k}\t0\t{_RETIRE}"
            yield retire[k], 7, k, f"E\t{k}\t0\t{_RETIRE}"
        yield retire[k], 8, k, f"R\t{k}\t{retired[k]}\t0"


def _labels(trace: Trace, programs: Sequence[Program], rows: np.ndarray) -> list[tuple[str, str]]:
    """What stands beside each instruction, and what the mouse shows."""
    names, table = Names(), trace.instructions
    labels = Labels.of(trace, programs, names)
    opcode, at = opcode_numbers(names)[table["opcode"][rows]], labels.rows(table, rows)
    engines = list(ENGINE_NAMES.values())
    columns = (table["core"], table["engine"], table["index"])
    text = names.texts
    return [
        (f"NC{core} {engines[engine]} {index}: {text[code]} {text[layer]}",
         f"operator {text[operator]}; source {text[source]}; request {request}")
        for core, engine, index, code, layer, operator, source, request in zip(
            *(c[rows].tolist() for c in columns), opcode.tolist(), labels.layer[at].tolist(),
            labels.operator[at].tolist(), labels.source[at].tolist(),
            trace.runs["request"][table["run"][rows]].tolist(), strict=True)
    ]
