"""Which runs, and uses of the host, decided when everything ended: from the last tick back to the first.

A run began one signal after what the recorded reason of its wait names: the run before on its core, what was done last
for its request, a stage that emptied a buffer, or the arrival of its request. A use of the host began after what was
done last for its request, or on its link.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from isa.target import Target
from isa.trace import HostKind, RunWait, Trace
from profiler.analyses.engine_time import ticks
from profiler.analyses.run_paths import Reason


class Part(NamedTuple):
    """A run on the path (`reason` is that of its own steps), or ticks outside of runs (`run` is -1)."""

    run: int
    start: int
    end: int
    reason: int


def path(trace: Trace, target: Target) -> list[Part]:
    """Parts from the last tick to the first; each starts where the next one ends."""
    return _Walk(trace, target).parts


class _Walk:
    """Event e is a run, or row e - runs of `host`; `_events`, `_ends`: by what they occupied, in order of time."""

    def __init__(self, trace: Trace, target: Target) -> None:
        runs, host = trace.runs, trace.host
        self._runs, self._trace = len(runs["start"]), trace
        self._signal = ticks(trace, target, target.semaphore_latency_ns * 1e-9)
        self._start = [*runs["start"].tolist(), *host["start"].tolist()]
        self._end = [*runs["end"].tolist(), *host["end"].tolist()]
        self._ends: dict[Hashable, list[int]] = defaultdict(list)
        self._events: dict[Hashable, list[int]] = defaultdict(list)
        for event in sorted(range(len(self._end)), key=lambda e: (self._end[e], e)):
            for key in self._keys(event):
                self._ends[key].append(self._end[event])
                self._events[key].append(event)
        self._seen: set[int] = set()
        self.parts: list[Part] = []
        self._now = trace.total_ticks
        self._go()

    def _keys(self, event: int) -> Iterator[Hashable]:
        yield "all"
        runs, host = self._trace.runs, self._trace.host
        if event < self._runs:
            yield "request", int(runs["request"][event])
            yield "core", int(runs["core"][event])
            yield "copy", int(runs["model"][event]), int(runs["copy"][event])
            return
        row = event - self._runs
        yield "request", int(host["request"][row])
        kind = int(host["kind"][row])
        if kind != HostKind.CPU:
            yield "link", int(host["where"][row])
        if kind == HostKind.LINK_OUT:
            yield "out", int(host["model"][row])

    def _go(self) -> None:
        event = self._latest("all", self._now)
        self._pass(Reason.NOT_RECORDED, 0 if event < 0 else self._end[event])
        while event >= 0:
            self._seen.add(event)
            if event < self._runs:
                self.parts.append(Part(event, self._start[event], self._now, 0))
                self._now = self._start[event]
                event = self._before_run(event)
            else:
                row = event - self._runs
                cpu = self._trace.host["kind"][row] == HostKind.CPU
                self._pass(Reason.CPU if cpu else Reason.HOST_LINK, self._start[event])
                event = self._before_host(row)
        self._pass(Reason.NO_WORK, 0)

    def _pass(self, reason: Reason, start: int) -> None:
        """Go back to `start`."""
        if start < self._now:
            self.parts.append(Part(-1, start, self._now, int(reason)))
            self._now = start

    def _before_run(self, run: int) -> int:
        runs = self._trace.runs
        wait, why = int(runs["wait"][run]), int(runs["wait_for"][run])
        core, request = ("core", int(runs["core"][run])), ("request", int(runs["request"][run]))
        model = int(runs["model"][run])
        tried: list[Hashable] = [core, request]
        ready = self._now
        if why in (RunWait.INPUT, RunWait.WORK):  # what was done for a request before; else it has just arrived
            tried = [request]
        elif why == RunWait.ROOM:
            tried, ready = [("copy", model, int(runs["copy"][run])), ("out", model)], self._now - self._signal
        found = max((self._latest(key, ready) for key in tried), key=self._when, default=-1)
        if found < 0 and why != RunWait.WORK:
            found = self._latest(core, self._now)
        arrival = int(self._trace.requests["arrival"][request[1]])
        reached = self._when(found) if found >= 0 else min(arrival, self._now)
        self._pass(Reason.SIGNAL, max(self._now - min(self._signal, wait), reached))
        self._pass(Reason.SWITCH, max(self._now - int(runs["switch"][run]), reached))
        self._pass(Reason.QUEUE, reached)
        return found if found >= 0 else self._arrived()

    def _before_host(self, row: int) -> int:
        host, now = self._trace.host, self._now
        request = int(host["request"][row])
        tried: list[Hashable] = [("request", request)]
        if host["kind"][row] != HostKind.CPU:
            tried.append(("link", int(host["where"][row])))
        found = max((self._latest(key, now) for key in tried), key=self._when)
        arrival = int(self._trace.requests["arrival"][request])
        freed = self._latest("all", now)  # a buffer, where nothing else ended just then
        if max(self._when(found), arrival) < now == self._when(freed):
            return freed
        if arrival >= self._when(found):
            self._pass(Reason.QUEUE, min(arrival, now))
            return self._arrived()
        self._pass(Reason.QUEUE, self._when(found))
        return found

    def _arrived(self) -> int:
        """What ended when a request arrived: a client that waited for it sent the request then."""
        found = self._latest("all", self._now)
        return found if self._when(found) == self._now else -1

    def _when(self, event: int) -> int:
        return self._end[event] if event >= 0 else -1

    def _latest(self, key: Hashable, tick: int) -> int:
        """The event of a key, not on the path yet, that ended last up to a tick; -1: none."""
        events = self._events.get(key, [])
        at = bisect_right(self._ends.get(key, []), tick) - 1
        while at >= 0 and events[at] in self._seen:
            at -= 1
        return events[at] if at >= 0 else -1
