"""The timeline as a tree of tracks: requests, host, chips with their cores, engines and DMA queues, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isa.program import Program
from isa.spec import SPEC
from isa.target import Target
from isa.trace import Cause, HostKind, RunWait, Table, Trace
from isa.word import ENGINES
from profiler.html.columns import Block, Column
from profiler.html.labels import TRANSFER, Labels, RowLabels

ENGINE_NAMES = ("TensorE", "VectorE", "ScalarE", "GpSimdE", "SyncE")
MULTIPLY = len(ENGINES)  # the PE's second row: it multiplies while the next stationary matrix loads
ROW_NAMES = (*ENGINE_NAMES, "TensorMatrixE")
ROW_ORDER = (0, MULTIPLY, 1, 2, 3, 4)
WAIT_FOR = tuple(w.name.lower() for w in RunWait)
BINS = 2000  # of a curve
MOST_LANES = 16  # of requests or host work side by side; what does not fit is drawn over the last
_LEVELS = 60000  # of a curve's values


class Tracks:
    """Tracks in the order they are shown; `rows` is what the page reads."""

    def __init__(self, block: Block) -> None:
        self.rows: list[dict[str, Any]] = []
        self._block = block

    def heading(self, name: str, parent: int = -1) -> int:
        """A track that only holds others. Returns: its number."""
        self.rows.append({"name": name, "parent": parent, "open": True})
        return len(self.rows) - 1

    def slices(self, name: str, parent: int, kind: str, columns: Mapping[str, np.ndarray], **facts: Any) -> int:
        """A track of slices. Returns: its number.

        Args:
            kind: "words", "transfers", "runs", "requests" or "host".
            columns: in order of `start`; starts are stored as differences.
        """
        stored: dict[str, Column] = {}
        for column, values in columns.items():
            stored[column] = self._block.add(np.diff(values, prepend=0) if column == "start" else values)
        self.rows.append({"name": name, "parent": parent, "kind": kind, "columns": stored, **facts})
        return len(self.rows) - 1

    def curve(self, name: str, parent: int, values: np.ndarray, unit: str, limit: float) -> None:
        """A curve of `BINS` even steps over the whole time; `limit`: the most it can be."""
        scale = (float(values.max(initial=0.0)) or 1.0) / _LEVELS
        stored = self._block.add(np.round(values / scale).astype(np.int64))
        self.rows.append({"name": name, "parent": parent, "kind": "curve", "columns": {"value": stored},
                          "scale": scale, "unit": unit, "limit": limit})  # fmt: skip


def tracks(
    trace: Trace, programs: Sequence[Program], target: Target, word_class: np.ndarray, labels: Labels, block: Block,
    producers: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """All tracks of a trace, their columns in `block`.

    Args:
        word_class: [n] what each word waited for, as `Stalls` has it.
        producers: whether each wait names the very word it was for, or its engine only.
    """
    made = Tracks(block)
    _requests(made, trace, programs, labels)
    _host(made, trace, programs, labels)
    rows = RowLabels(trace, programs, labels)
    words = _words(trace, rows, word_class)
    transfers = {**trace.transfers, "label": rows.of(trace.transfers, TRANSFER)}
    cores = np.unique(trace.runs["core"])
    for chip in np.unique(cores // target.cores_per_chip).tolist():
        heading = made.heading(f"chip {chip}")
        for core in cores[cores // target.cores_per_chip == chip].tolist():
            number = _runs(made, trace, programs, labels, core, heading, opened=len(cores) <= 2)
            _engines(made, words, core, number, producers)
            _queues(made, transfers, core, number)
        rate = _rate(transfers, chip, target, trace)
        if rate.any():
            made.curve("DRAM", heading, rate, "GB/s", target.dram_bytes_per_ns)
    return made.rows


# ---- requests and host
def _requests(made: Tracks, trace: Trace, programs: Sequence[Program], labels: Labels) -> None:
    table = trace.requests
    if not len(table["start"]):
        return
    heading = made.heading("requests")
    for model, program in enumerate(programs):
        rows = _by_start(table, np.flatnonzero(table["model"] == model))
        lane = lanes(table["start"][rows], table["end"][rows])
        for k in range(int(lane.max(initial=-1)) + 1):
            mine = rows[lane == k]
            made.slices(program.name if k == 0 else "", heading, "requests", {
                **_times(table, mine), "label": np.full(len(mine), labels.number("request")), "request": mine,
                "queued": (table["start"] - table["arrival"])[mine], "rows": table["rows"][mine]})  # fmt: skip


def _host(made: Tracks, trace: Trace, programs: Sequence[Program], labels: Labels) -> None:
    table = trace.host
    if not len(table["start"]):
        return
    heading = made.heading("host")
    names = {HostKind.LINK_IN: "link in", HostKind.LINK_OUT: "link out", HostKind.CPU: "CPU"}
    for kind, where in np.unique(np.stack([table["kind"], table["where"]], 1).astype(np.int64), axis=0).tolist():
        rows = _by_start(table, np.flatnonzero((table["kind"] == kind) & (table["where"] == where)))
        name = names[HostKind(kind)] + (f", chip {where}" if kind != HostKind.CPU else "")
        places = zip(table["model"][rows].tolist(), table["node"][rows].tolist(), strict=True)
        label = np.array([labels.number(_node(programs, *place)) for place in places], np.int64)
        lane = lanes(table["start"][rows], table["end"][rows])
        for k in range(int(lane.max(initial=-1)) + 1):
            mine = rows[lane == k]
            columns = {**_times(table, mine), "label": label[lane == k], "request": table["request"][mine]}
            made.slices(name if k == 0 else "", heading, "host", columns)


def _node(programs: Sequence[Program], model: int, node: int) -> str:
    nodes = programs[model].nodes
    return nodes[node].name if 0 <= node < len(nodes) else f"node {node}"


def lanes(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Lane of each interval, the first that is free: none of a lane overlap. Args: start, end: [n], by start."""
    lane = np.zeros(len(start), np.int64)
    reach: list[int] = []
    for k, (first, last) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        free = next((n for n, busy in enumerate(reach) if busy <= first), len(reach))
        free = min(free, MOST_LANES - 1)
        reach += [0] * (free == len(reach))
        lane[k], reach[free] = free, last
    return lane


# ---- cores
def _runs(
    made: Tracks, trace: Trace, programs: Sequence[Program], labels: Labels, core: int, parent: int, opened: bool
) -> int:
    runs = trace.runs
    mine = _by_start(runs, np.flatnonzero(runs["core"] == core))
    several = len(programs) > 1
    places = zip(runs["model"][mine].tolist(), runs["stage"][mine].tolist(), strict=True)
    label = [labels.number((f"{programs[m].name}, " if several else "") + f"stage {s}") for m, s in places]
    columns = {c: runs[c][mine] for c in ("request", "wait", "wait_for")}
    return made.slices(f"core {core}", parent, "runs", {
        **_times(runs, mine), "label": np.array(label, np.int64), **columns}, open=opened)  # fmt: skip


def _engines(made: Tracks, words: Table, core: int, parent: int, producers: bool) -> None:
    rows = np.flatnonzero(words["core"] == core)
    for row in ROW_ORDER:
        of_row = rows[words["row"][rows] == row]
        if len(of_row):
            columns = _word_columns(words, of_row, producers)
            made.slices(ROW_NAMES[row], parent, "words", columns, row=row, base=parent)


def _queues(made: Tracks, transfers: Table, core: int, parent: int) -> None:
    of_core = np.flatnonzero(transfers["core"] == core)
    for queue in np.unique(transfers["queue"][of_core]).tolist():
        mine = _by_start(transfers, of_core[transfers["queue"][of_core] == queue])
        columns = {**_times(transfers, mine), "queued": (transfers["start"] - transfers["enqueue"])[mine]}
        columns |= {c: transfers[c][mine] for c in ("label", "bytes", "dram_wait", "link_wait")}
        made.slices(f"DMA q{queue}", parent, "transfers", columns)


def _words(trace: Trace, labels: RowLabels, word_class: np.ndarray) -> Table:
    """The instructions with what the page shows of them: row, place in its track, label, wait, producer."""
    table = trace.instructions
    multiplies = table["opcode"] == SPEC.by_name["matmul"].opcode
    row = np.where(multiplies, MULTIPLY, table["engine"]).astype(np.int64)
    track = table["core"].astype(np.int64) * len(ROW_NAMES) + row
    order = np.lexsort((table["start"], track))
    first = np.flatnonzero(np.diff(track[order], prepend=-1))
    place = np.zeros(len(row), np.int64)
    place[order] = np.arange(len(row)) - np.repeat(first, np.diff(first, append=len(row)))
    op = np.where(table["cause"] == Cause.NONE, -1, table["cause_op"])
    return {
        **{c: table[c] for c in ("core", "start", "end", "wait_start")}, "row": row, "place": place, "wait": word_class,
        "label": labels.of(table, table["opcode"].astype(np.int64)),
        "cause_row": np.where(op >= 0, row[op], -1), "cause_place": np.where(op >= 0, place[op], -1),
    }  # fmt: skip


def _word_columns(words: Table, rows: np.ndarray, producers: bool) -> dict[str, np.ndarray]:
    """Columns of one track. Producers: `from_row`, and the difference to the place of the last one in that row."""
    rows = rows[np.argsort(words["place"][rows], kind="stable")]
    waits = rows[words["wait"][rows] > 0]
    columns = {
        **_times(words, rows), "label": words["label"][rows], "wait": words["wait"][rows],
        "waited": np.maximum(words["start"] - words["wait_start"], 0)[waits],
    }  # fmt: skip
    if not producers:
        return columns
    from_row, from_place = words["cause_row"][waits], words["cause_place"][waits]
    step = np.zeros(len(waits), np.int64)
    for row in np.unique(from_row[from_row >= 0]).tolist():
        same = from_row == row
        step[same] = np.diff(from_place[same], prepend=0)
    return {**columns, "from_row": from_row + 1, "from_step": step}


def _times(table: Table, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"start": table["start"][rows], "length": (table["end"] - table["start"])[rows]}


def _by_start(table: Table, rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(table["start"][rows], kind="stable")]


# ---- curves
def _rate(transfers: Table, chip: int, target: Target, trace: Trace) -> np.ndarray:
    """DRAM bytes per ns of a chip in each of `BINS` steps; a transfer's bytes are spread evenly over its time."""
    mine = transfers["core"] // target.cores_per_chip == chip
    start, end = transfers["start"][mine].astype(float), transfers["end"][mine].astype(float)
    end = np.maximum(end, start + 1)
    slope = (transfers["read"] + transfers["written"])[mine] / (end - start)
    edges = np.linspace(0.0, max(trace.total_ticks, 1), BINS + 1)
    done = _ramp(start, slope, edges) - _ramp(end, slope, edges)
    return np.maximum(np.diff(done), 0.0) / np.diff(edges) * (trace.tick_hz / 1e9)


def _ramp(begin: np.ndarray, slope: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Sum of `slope * max(0, at - begin)`, by `at`."""
    order = np.argsort(begin)
    slopes = np.concatenate([[0.0], np.cumsum(slope[order])])
    offsets = np.concatenate([[0.0], np.cumsum((slope * begin)[order])])
    reached = np.searchsorted(begin[order], at)
    return slopes[reached] * at - offsets[reached]
