"""Slices of every kind from the tables of a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import HostKind, RunWait, Table, Trace
from profiler.exports import model
from profiler.exports.clock import to_ns
from profiler.exports.labels import CAUSES, QUEUE_NAMES, ROWS, Labels, engine_row, opcode_numbers
from profiler.exports.lanes import lanes
from profiler.exports.model import Arg, Events, Slices


@dataclass(frozen=True)
class Maker:
    """What all kinds need. `window`: first and last tick; slices that touch it are made, whole."""

    trace: Trace
    programs: Sequence[Program]
    target: Target
    events: Events
    labels: Labels
    window: tuple[int, int]

    # ---- kinds
    def requests(self) -> Slices:
        """From arrival to end."""
        table = self.trace.requests
        at = self._rows(table, "arrival")
        label = self.labels.program[table["model"][at]]
        track = self._tracks(table["model"][at], lambda m: self.events.tracks.number(
            f"requests {m}: {self.events.names.texts[self.labels.program[m]]}", rank=model.ABOVE))
        args = {"request": Arg(at), "rows": _column(table, "rows", at),
                "queued_ns": self._ns(table["start"][at] - table["arrival"][at])}
        return self._slices("requests", at, track, table["arrival"], table["end"], label, label, args)

    def runs(self) -> Slices:
        """Runs of stages on cores."""
        table = self.trace.runs
        at = self._rows(table)
        names = self.events.names
        title = _each(table["model"][at], table["stage"][at], lambda m, s: names.number(
            f"{self.programs[m].name} stage {s}"))
        track = self._tracks(table["core"][at], lambda c: self._on_core(c, "stages", model.ABOVE))
        waited = table["wait"][at] > 0
        reasons = np.array(names.numbers(w.name.lower() for w in RunWait))
        args = {"model": Arg(self.labels.program[table["model"][at]], text=True), "run": Arg(at)}
        args |= {c: _column(table, c, at) for c in ("stage", "copy", "request")}
        args |= {"wait_for": Arg(reasons[table["wait_for"][at]], True, waited),
                 "wait_ns": self._ns(table["wait"][at], waited),
                 "switch_ns": self._ns(table["switch"][at], table["switch"][at] > 0)}
        return self._slices("runs", at, track, table["start"], table["end"], title,
                            self.labels.program[table["model"][at]], args)

    def host(self) -> Slices:
        """The link of each chip, and the CPU's nodes."""
        table = self.trace.host
        at = self._rows(table)
        names, kinds = self.events.names, [k.name.lower().replace("_", " ") for k in HostKind]
        title = _each(table["model"][at], table["node"][at], lambda m, n: names.number(self.programs[m].nodes[n].name))
        is_cpu = table["kind"][at] == HostKind.CPU
        track = self._tracks(np.where(is_cpu, -1, table["where"][at]), self._host_track)
        args = {"model": Arg(self.labels.program[table["model"][at]], text=True),
                "request": _column(table, "request", at)}
        return self._slices("host", at, track, table["start"], table["end"], title,
                            np.array(names.numbers(kinds))[table["kind"][at]], args)

    def instructions(self) -> Slices:
        """Every instruction, from issue to its result being written."""
        table = self.trace.instructions
        at = self._rows(table)
        opcode = opcode_numbers(self.events.names)[table["opcode"][at]]
        args = self._origin(table, at)
        title = np.where(args["layer"].values > 0, args["layer"].values, opcode)
        waited = table["start"][at] > table["wait_start"][at]
        causes = np.array(self.events.names.numbers(CAUSES))
        moved = np.full(len(table["start"]), -1)
        moved[self.trace.transfers["op"]] = self.trace.transfers["bytes"]
        args |= {"opcode": Arg(opcode, text=True), "index": _column(table, "index", at),
                 "wait_cause": Arg(causes[table["cause"][at]], True, waited),
                 "wait_ns": self._ns(table["start"][at] - table["wait_start"][at], waited),
                 "bytes": Arg(moved[at], present=moved[at] >= 0)}
        return self._slices("instructions", at, self._engine_tracks(table, at), table["start"], table["end"], title,
                            opcode, args)

    def layers(self) -> Slices:
        """Instructions of one layer that follow each other on an engine, joined."""
        table = self.trace.instructions
        at = self._rows(table)
        track = self._engine_tracks(table, at)
        order = np.lexsort((table["index"][at], table["run"][at], track))
        at, track = at[order], track[order]
        origin = self._origin(table, at)
        layer, run = origin["layer"].values, table["run"][at]
        first = np.flatnonzero(np.concatenate([[True], _changes(track) | _changes(run) | _changes(layer)])[:len(at)])
        if not len(first):
            return self._slices("layers", at, track, table["start"], table["end"], layer, layer, {})
        start = np.minimum.reduceat(table["start"][at], first)
        end = np.maximum.reduceat(table["end"][at], first)
        busy = np.add.reduceat(table["end"][at] - table["start"][at], first)
        args = {n: a.of(first) for n, a in origin.items()}
        args |= {"instructions": Arg(np.diff(np.append(first, len(at)))), "busy_ticks": Arg(busy)}
        starts, ends = (np.zeros(len(table["start"]), np.int64) for _ in "se")
        starts[at[first]], ends[at[first]] = start, end
        operator = origin["operator"].values[first]
        nameless = self.events.names.number("(no layer)")
        return self._slices("layers", at[first], track[first], starts, ends,
                            np.where(layer[first] > 0, layer[first], nameless), operator, args)

    def transfers(self) -> Slices:
        """Every DMA transfer, from its first share being served to its last being done."""
        table = self.trace.transfers
        at = self._rows(table)
        args = self._origin(table, at)
        nameless = self.events.names.number("dma")
        title = np.where(args["layer"].values > 0, args["layer"].values, nameless)
        purpose = self.labels.purpose[self.labels.rows(table, at)]
        args |= {c: _column(table, c, at) for c in ("bytes", "read", "written")}
        for column in ("link_bytes", "dram_wait", "link_wait"):
            values = table[column][at]
            name = column if column == "link_bytes" else f"{column}_ns"
            args[name] = Arg(values, present=values > 0) if name == column else self._ns(values, values > 0)
        args["queued_ns"] = self._ns(table["start"][at] - table["enqueue"][at])
        engine, queue = table["trigger_engine"][at].astype(np.int64), table["queue"][at].astype(np.int64)
        track = self._tracks(table["core"][at] * 65536 + engine * 256 + queue, self._queue_track)
        return self._slices("transfers", at, track, table["start"], table["end"], title, purpose, args)

    # ---- parts
    def _rows(self, table: Table, start: str = "start") -> np.ndarray:
        """Rows within the window by (start, end)."""
        low, high = self.window
        at = np.flatnonzero((table["end"] >= low) & (table[start] <= high))
        return at[np.lexsort((table["end"][at], table[start][at]))]

    def _slices(self, kind: str, at: np.ndarray, track: np.ndarray, start: np.ndarray, end: np.ndarray,
                name: np.ndarray, category: np.ndarray, args: Mapping[str, Arg]) -> Slices:
        start, end = start[at], end[at]
        order = np.lexsort((end, start))
        if (np.diff(order) != 1).any():  # layers come by engine
            at, track, start, end, name, category = (a[order] for a in (at, track, start, end, name, category))
            args = {n: a.of(order) for n, a in args.items()}
        args = {**args, "ticks": Arg(end - start)}
        return Slices(kind, at, track, lanes(track, start, end), start, end, name, category, args)

    def _origin(self, table: Table, at: np.ndarray) -> dict[str, Arg]:
        rows, labels, runs = self.labels.rows(table, at), self.labels, self.trace.runs
        run = table["run"][at]
        source = labels.source[rows]
        return {"layer": Arg(labels.layer[rows], text=True), "operator": Arg(labels.operator[rows], text=True),
                "source": Arg(source, True, source > 0),
                "model": Arg(labels.program[runs["model"][run]], text=True),
                "stage": _column(runs, "stage", run), "request": _column(runs, "request", run)}

    def _ns(self, ticks: np.ndarray, present: np.ndarray | None = None) -> Arg:
        return Arg(to_ns(ticks, self.trace.tick_hz), present=present)

    def _tracks(self, keys: np.ndarray, make: Callable[[int], int]) -> np.ndarray:
        found, inverse = np.unique(keys, return_inverse=True)
        numbers = np.array([make(int(k)) for k in found], np.int64)
        return numbers[inverse] if len(keys) else np.zeros(0, np.int64)

    def _engine_tracks(self, table: Table, at: np.ndarray) -> np.ndarray:
        row = engine_row(table["engine"][at], table["opcode"][at])
        order = [0, 2, 3, 4, 5, 1]  # the PE's two rows side by side
        return self._tracks(table["core"][at] * len(ROWS) + row, lambda key: self._on_core(
            key // len(ROWS), ROWS[key % len(ROWS)], model.FIRST_CHILD + order[key % len(ROWS)]))

    def _queue_track(self, key: int) -> int:
        core, engine, queue = key // 65536, key // 256 % 256, key % 256
        return self._on_core(core, f"{QUEUE_NAMES[engine]}{queue}", model.QUEUES + engine * 256 + queue)

    def _host_track(self, chip: int) -> int:
        if chip < 0:
            return self.events.tracks.number("CPU", rank=model.ABOVE + 1)
        return self.events.tracks.number("host link", self.device(chip), model.ABOVE)

    def device(self, chip: int) -> int:
        """Track of a chip."""
        return self.events.tracks.number(f"device {chip}", rank=model.FIRST_CHILD + chip)

    def core(self, core: int) -> int:
        """Track of a core."""
        chip = min(core // self.target.cores_per_chip, self.target.chips - 1)
        return self.events.tracks.number(f"NeuronCore {core}", self.device(chip), model.FIRST_CHILD + core)

    def _on_core(self, core: int, name: str, rank: int) -> int:
        return self.events.tracks.number(name, self.core(core), rank)


def _column(table: Table, column: str, at: np.ndarray) -> Arg:
    return Arg(table[column][at].astype(np.int64))


def _changes(values: np.ndarray) -> np.ndarray:
    return values[1:] != values[:-1]


def _each(first: np.ndarray, second: np.ndarray, number: Callable[[int, int], int]) -> np.ndarray:
    """`number(a, b)` for each row, asked once for each pair."""
    pairs, inverse = np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)
    numbers = np.array([number(int(a), int(b)) for a, b in pairs], np.int64)
    return numbers[inverse.reshape(-1)] if len(first) else np.zeros(0, np.int64)
