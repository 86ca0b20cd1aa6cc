"""Processor and memory counters of this host, from /proc: what the tools say of the machine that simulates.

A host without /proc, or a process that has ended, is a `Reading` without counters whose `error` says why, as
neuron-monitor does it: a report is never missing because one number is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
CPU_STATES = ("user", "nice", "system", "idle", "io_wait", "irq", "soft_irq")
_STEAL = 1  # one more state in /proc/stat that is time passed; guest time is part of user and nice
_ALL_CPUS = "cpu"


@dataclass(frozen=True)
class Reading:
    """Counters by name, cumulative since boot or start where they count; `error` says why there are none."""

    counters: Mapping[str, Sequence[int]] = field(default_factory=dict)
    error: str = ""


def read_cpus(proc: Path = PROC) -> Reading:
    """Clock ticks by state of "cpu" (all together) and of each one ("0", "1" ...); "ctxt": context switches."""

    def parse(text: str) -> dict[str, Sequence[int]]:
        found: dict[str, Sequence[int]] = {}
        for line in text.splitlines():
            name, *values = line.split()
            if name.startswith(_ALL_CPUS):
                states = [int(v) for v in values[: len(CPU_STATES) + _STEAL]]
                found[name if name == _ALL_CPUS else name.removeprefix(_ALL_CPUS)] = states
            elif name == "ctxt":
                found[name] = [int(values[0])]
        return found

    return _read(proc / "stat", parse)


def read_memory(proc: Path = PROC) -> Reading:
    """Bytes by /proc/meminfo's names, e.g. "MemTotal"."""

    def parse(text: str) -> dict[str, Sequence[int]]:
        rows = (line.replace(":", " ").split() for line in text.splitlines())
        return {row[0]: [int(row[1]) * (1024 if row[2:] == ["kB"] else 1)] for row in rows if len(row) > 1}

    return _read(proc / "meminfo", parse)


def read_process(pid: int, proc: Path = PROC) -> Reading:
    """"ticks": clock ticks that a process spent in its own code and in the kernel's."""

    def parse(text: str) -> dict[str, Sequence[int]]:
        after_name = text.rpartition(")")[2].split()  # a name may hold blanks and brackets
        return {"ticks": [int(after_name[11]), int(after_name[12])]}  # utime, stime: fields 14 and 15 of proc(5)

    return _read(proc / str(pid) / "stat", parse)


def cpu_shares(before: Reading, now: Reading) -> dict[str, dict[str, float]]:
    """Percent of the time between two `read_cpus` in each of `CPU_STATES`, by cpu; "cpu" is their average."""
    shares = {}
    for name, states in now.counters.items():
        if name != "ctxt":
            spent = [b - a for a, b in zip(before.counters.get(name, [0] * len(states)), states)]
            total = sum(spent)
            shares[name] = {s: 100.0 * n / total if total > 0 else 0.0 for s, n in zip(CPU_STATES, spent)}
    return shares


def process_shares(before: Reading, now: Reading, seconds: float) -> dict[str, float]:
    """Percent of all hardware threads' time that a process took between two `read_process`, `seconds` apart."""
    shares = dict.fromkeys(("user", "system"), 0.0)
    if before.counters and now.counters and seconds > 0:
        available = seconds * os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)
        for name, a, b in zip(shares, before.counters["ticks"], now.counters["ticks"]):
            shares[name] = 100.0 * (b - a) / available
    return shares


def _read(path: Path, parse: Callable[[str], Mapping[str, Sequence[int]]]) -> Reading:
    try:
        return Reading(parse(path.read_text(errors="replace")))
    except OSError as error:
        return Reading(error=f"open {path}: {(error.strerror or str(error)).lower()}")
    except (ValueError, IndexError) as error:
        return Reading(error=f"{path}: {error}")
