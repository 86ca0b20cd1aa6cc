"""When which metric group is collected: a stream of neuron-monitor's reports.

A report is due whenever a group is; it holds the newest data of every group, so that groups with longer periods stay in
it unchanged in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from isa import target as targets
from isa.errors import NeuronError
from isa.target import Target
from neuronsim.monitoring.config import Config
from neuronsim.monitoring.report import RUNTIME, SYSTEM, Group, Machine, Snapshot
from neuronsim.runtime.telemetry import read_snapshots

_HOST = -1


class MonitorError(NeuronError):
    """A report that cannot be about one machine."""

    code = "MONITOR"


class _Collector:
    """Newest data of the groups of one source, and the readings they rest on."""

    def __init__(self, groups: Mapping[str, Group], since: float) -> None:
        self.groups = groups
        self.readings = {name: group.nothing for name, group in groups.items()}
        self.times = dict.fromkeys(groups, since)
        self.report: dict[str, Any] = {}

    def start(self, source: Any) -> None:
        """What happened before now is no news."""
        self.readings = {name: group.read(source) for name, group in self.groups.items()}

    def collect(self, name: str, source: Any, now: float) -> None:
        reading, seconds = self.groups[name].read(source), now - self.times[name]
        told = self.groups[name].tell(self.readings[name], reading, seconds)
        self.report[name] = {"period": seconds, **told}
        self.readings[name], self.times[name] = reading, now

    def in_order(self) -> dict[str, Any]:
        return {name: self.report[name] for name in self.groups if name in self.report}


class Monitor:
    """Reports about one simulated instance: the one of that name, or the first on which a runtime is found.

    Args:
        config: what to report, and how often.
        instance: name or target file of the instance; None takes the one that is in use.
        state_dir: folder that runtimes share, as of `Instance`.
        clock, wait: seconds that pass, and the way to let them.
    Raises: TargetError; MonitorError when several instances are in use and none is named.
    """

    def __init__(
        self,
        config: Config,
        instance: str | Path | Target | None = None,
        state_dir: str | Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config, self.state_dir, self.clock, self.wait = config, state_dir, clock, wait
        target = None if instance is None else targets.load(instance)
        self.machine = Machine() if target is None else Machine(target.name, target=target)
        self._last = clock()
        self._due = {key: self._last + period for key, period in self._periods().items()}
        self._runtimes: dict[tuple[int, float], _Collector] = {}
        for snapshot in self._snapshots(alone=True):
            self._known(snapshot).start(snapshot)
        self._system = _Collector(SYSTEM, self._last)
        self._system.start(self.machine)

    def reports(self) -> Iterator[dict[str, Any]]:
        """One report whenever a group is due, for ever."""
        while True:
            self.wait(max(0.0, min(self._due.values()) - self.clock()))
            now = self.clock()
            due = {key for key, at in self._due.items() if at <= now}
            if due:
                yield self._report(due, now)
                self._due.update((key, now + period) for key, period in self._periods().items() if key in due)

    def _periods(self) -> dict[tuple[int, str], float]:
        """Seconds by (entry of the configuration, group); entry `_HOST` is the host."""
        periods = {(_HOST, name): seconds for name, seconds in self.config.system.items()}
        for k, entry in enumerate(self.config.runtimes):
            periods.update({(k, name): seconds for name, seconds in entry.periods.items()})
        return periods

    def _report(self, due: set[tuple[int, str]], now: float) -> dict[str, Any]:
        snapshots = self._snapshots()
        runtimes = [self._runtime(snapshot, due, now) for snapshot in snapshots]
        living = {_key(s) for s in snapshots}
        self._runtimes = {key: found for key, found in self._runtimes.items() if key in living}
        for name in (group for entry, group in due if entry == _HOST):
            self._system.collect(name, self.machine, now)
        self._last = now
        return {
            "neuron_runtime_data": [r for r in runtimes if r is not None],
            "system_data": self._system.in_order(),
            "instance_info": self.machine.info(),
            "neuron_hardware_info": self.machine.hardware(),
        }

    def _runtime(self, snapshot: Snapshot, due: set[tuple[int, str]], now: float) -> dict[str, Any] | None:
        """One entry of `neuron_runtime_data`; None for a runtime that no filter finds."""
        entry = self._entry(snapshot)
        if entry is None:
            return None
        known = self._known(snapshot)
        for name in self.config.runtimes[entry].periods:
            if (entry, name) in due or name not in known.report:
                known.collect(name, snapshot, now)
        return {
            "pid": snapshot["pid"],
            "address": "",
            "neuron_runtime_tag": snapshot["neuron_runtime_tag"],
            "error": "",
            "report": known.in_order(),
        }

    def _known(self, snapshot: Snapshot) -> _Collector:
        """What is known of a runtime. One that is new began to work after the last report: all it did is news."""
        return self._runtimes.setdefault(_key(snapshot), _Collector(RUNTIME, self._last))

    def _entry(self, snapshot: Snapshot) -> int | None:
        tag = snapshot["neuron_runtime_tag"]
        return next((k for k, entry in enumerate(self.config.runtimes) if entry.tag_filter.search(tag)), None)

    def _snapshots(self, alone: bool = False) -> list[dict[str, Any]]:
        """Of the runtimes on the machine, which is found out here while it is not known."""
        snapshots = read_snapshots(self.state_dir, self.machine.name or None)
        names = sorted({s["instance_type"] for s in snapshots})
        if alone and len(names) > 1:
            raise MonitorError("several simulated instances are in use", actual=", ".join(names),
                               help=f"name one: --instance {names[0]}")
        if names:
            name = self.machine.name or names[0]
            snapshots = [s for s in snapshots if s["instance_type"] == name]
            self.machine = replace(self.machine, name=name, lnc=snapshots[0]["logical_neuroncore_config"])
        return snapshots


def _key(snapshot: Snapshot) -> tuple[int, float]:
    return snapshot["pid"], snapshot["started"]
