"""When requests arrive: constant rates, seeded Poisson processes, and times recorded in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from neuronsim.serving.model import TIMES_HELP, Load, ServingError, checked_times

FILE_BYTES_MAX = 1 << 30


def closed(requests: int, in_flight: int, **options: Any) -> Load:
    """`in_flight` clients, each with one request at a time. Options: `rows`, `policy` of a `Load`."""
    return Load(requests, in_flight=in_flight, **options)


def constant(requests: int, per_second: float, **options: Any) -> Load:
    """Requests at even intervals."""
    return Load(requests, interval_s=1 / _rate(per_second), **options)


def poisson(requests: int, per_second: float, seed: int = 0, **options: Any) -> Load:
    """A Poisson process: intervals are independent and exponentially distributed. Same seed, same arrivals."""
    gaps = np.random.default_rng(seed).exponential(1 / _rate(per_second), requests)
    return Load(requests, arrivals=checked_times(np.cumsum(gaps), "poisson"), **options)


def recorded(path: str | Path, requests: int = 0, **options: Any) -> Load:
    """Times from a file, the first `requests` of them (0: all). Raises: ServingError."""
    times = checked_times(_read(Path(path)), str(path))
    if requests > len(times):
        raise ServingError("fewer arrivals than requests", where=str(path), limit=len(times), actual=requests)
    times = times[:requests] if requests else times
    return Load(len(times), arrivals=times, **options)


def parse(text: str, requests: int, seed: int = 0, **options: Any) -> Load:
    """A load as the command line spells it: `poisson:RATE`, `constant:RATE`, or the path of a file."""
    kind, colon, rate = text.partition(":")
    if not colon or kind not in ("poisson", "constant"):
        return recorded(text, requests, **options)
    try:
        per_second = float(rate)
    except ValueError:
        raise ServingError(f"{rate!r} is no rate", where=text, help="for instance poisson:100 (per second)") from None
    return poisson(requests, per_second, seed, **options) if kind == "poisson" else constant(
        requests, per_second, **options)


def _rate(per_second: float) -> float:
    if not (np.isfinite(per_second) and per_second > 0):
        raise ServingError("a rate must be positive", limit="> 0", actual=per_second)
    return per_second


def _read(path: Path) -> np.ndarray:
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise ServingError("the arrival file is too large", where=str(path), limit=FILE_BYTES_MAX, actual=size)
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return np.array(json.loads(text, parse_int=float), dtype=np.float64)
        return np.array(text.split(), dtype=np.float64)
    except OSError as error:
        raise ServingError(f"cannot read the arrivals: {error.strerror}", where=str(path), help=TIMES_HELP) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ServingError("this is no list of arrival times", where=str(path), actual=str(error)[:200],
                           help=TIMES_HELP) from error
