"""neuron-monitor's configuration: which metric groups, of which runtimes, how often."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isa.errors import NeuronError

RUNTIME_GROUPS = ("neuroncore_counters", "execution_stats", "memory_used", "neuron_runtime_vcpu_usage")
SYSTEM_GROUPS = ("neuron_hw_counters", "vcpu_usage", "memory_info")
DEFAULT_PERIOD = 5.0  # seconds
_SHORTEST, _LONGEST = 1e-3, 86400.0
_BYTES_AT_MOST = 1 << 20
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)")


class ConfigError(NeuronError):
    """A monitor configuration that says something else than neuron-monitor's format allows."""

    code = "MONITOR_CONFIG"


@dataclass(frozen=True)
class RuntimeMetrics:
    """Metric groups of the runtimes whose tag `tag_filter` finds; `periods`: seconds by group."""

    tag_filter: re.Pattern[str]
    periods: Mapping[str, float]


@dataclass(frozen=True)
class Config:
    """What to report.

    Attributes:
        runtimes: a runtime belongs to the first entry that finds its tag, and is left out where none does.
        system: seconds by group of the host.
        period: of the whole, in seconds.
    """

    runtimes: tuple[RuntimeMetrics, ...]
    system: Mapping[str, float]
    period: float = DEFAULT_PERIOD


def everything(period: float = DEFAULT_PERIOD) -> Config:
    """Every group of every runtime, each `period` seconds."""
    runtimes = RuntimeMetrics(re.compile(""), dict.fromkeys(RUNTIME_GROUPS, period))
    return Config((runtimes,), dict.fromkeys(SYSTEM_GROUPS, period), period)


def load(path: str | Path, period: float | None = None) -> Config:
    """Read a configuration file; `period` takes the place of the one at its root.

    Raises: ConfigError with the place in the file; OSError.
    """
    with open(path, "rb") as file:
        data = file.read(_BYTES_AT_MOST + 1)
    try:
        if len(data) > _BYTES_AT_MOST:
            raise ValueError(f"more than {_BYTES_AT_MOST} bytes")
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"no JSON: {error}", where=str(path)) from error
    return _Reader(str(path)).config(value, period)


def parse_period(text: str) -> float:
    """Seconds of "5s", "500ms", "1m30s" or a bare number of seconds. Raises: ValueError."""
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        seconds = float(text)
    if not (math.isfinite(seconds) and _SHORTEST <= seconds <= _LONGEST):
        raise ValueError(f"{text!r} is not between 1ms and 24h")
    return seconds


def period_argument(text: str) -> float:
    """`parse_period` for a command line. Raises: argparse.ArgumentTypeError."""
    try:
        return parse_period(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration from 1ms to 24h, such as 5, 500ms or 1m") from error


class _Reader:
    """Checks a parsed file and names the place of what is wrong."""

    def __init__(self, path: str) -> None:
        self.path = path

    def config(self, value: Any, period: float | None) -> Config:
        root = self._object(value, "", ("period", "neuron_runtimes", "system_metrics"))
        default = period or self._period(root, "", DEFAULT_PERIOD)
        entries = self._list(root, "", "neuron_runtimes")
        runtimes = tuple(self._runtime(v, f"neuron_runtimes[{k}]", default) for k, v in enumerate(entries))
        system = self._metrics(root, "", "system_metrics", SYSTEM_GROUPS, default)
        if not (system or any(r.periods for r in runtimes)):
            raise self._error("", "no metric group is asked for", "list some under neuron_runtimes or system_metrics")
        return Config(runtimes, system, default)

    def _runtime(self, value: Any, where: str, default: float) -> RuntimeMetrics:
        entry = self._object(value, where, ("tag_filter", "period", "metrics"))
        text = entry.get("tag_filter", "")
        try:
            pattern = re.compile(text)
        except (re.error, TypeError) as error:
            raise self._error(f"{where}.tag_filter", f"no regular expression: {error}", 'e.g. "my_app.*"') from error
        own = self._period(entry, where, default)
        return RuntimeMetrics(pattern, self._metrics(entry, where, "metrics", RUNTIME_GROUPS, own))

    def _metrics(
        self, parent: Mapping[str, Any], where: str, key: str, known: tuple[str, ...], default: float
    ) -> dict[str, float]:
        periods = {}
        for k, value in enumerate(self._list(parent, where, key)):
            place = _join(where, f"{key}[{k}]")
            metric = self._object(value, place, ("type", "period"))
            kind = metric.get("type")
            if kind not in known:
                raise self._error(f"{place}.type", f"{kind!r} is no metric group here", "known: " + ", ".join(known))
            periods[kind] = self._period(metric, place, default)
        return periods

    def _period(self, parent: Mapping[str, Any], where: str, default: float) -> float:
        if "period" not in parent:
            return default
        value = parent["period"]
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError(f"{value!r} is no duration")
            return parse_period(str(value))
        except ValueError as error:
            raise self._error(_join(where, "period"), str(error), 'write "5s", "500ms" or "1m30s"') from error

    def _object(self, value: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._error(where, "an object is expected", "keys: " + ", ".join(known))
        for key in value:
            if key not in known:
                raise self._error(_join(where, str(key)), "unknown key", "known: " + ", ".join(known))
        return value

    def _list(self, parent: Mapping[str, Any], where: str, key: str) -> list[Any]:
        value = parent.get(key, [])
        if not isinstance(value, list):
            raise self._error(_join(where, key), "a list is expected", "")
        return value

    def _error(self, where: str, what: str, help: str) -> ConfigError:
        return ConfigError(what, where=": ".join(p for p in (self.path, where) if p), help=help)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
