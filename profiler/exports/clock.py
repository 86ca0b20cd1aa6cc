"""Ticks of a trace as whole nanoseconds, the unit of every viewer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

NANOSECONDS = 10**9


def to_ns(ticks: np.ndarray, tick_hz: int) -> np.ndarray:
    """Nanoseconds at each tick, rounded down: int64 [n]. Later ticks never come earlier."""
    ratio = Fraction(NANOSECONDS, tick_hz)
    whole, rest = np.divmod(np.asarray(ticks, np.int64), ratio.denominator)
    if ratio.numerator * ratio.denominator >= 1 << 63:  # clocks with no simple ratio to a nanosecond
        part = (rest.astype(object) * ratio.numerator // ratio.denominator).astype(np.int64)
    else:
        part = rest * ratio.numerator // ratio.denominator
    return whole * ratio.numerator + part
