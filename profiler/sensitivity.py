"""How far a result rests on machine parameters that no document states: simulate again with those changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from isa.target import Target

CHEAPER, COSTLIER = 0.75, 1.25
_NOT_IN_DEVICE_TIME = ("host.", "runtime.", "link.grid", "link.wrap")
REMOVED = 1e-6  # a factor, not zero: rates stay finite and cycle counts round to at most one


@dataclass(frozen=True)
class Sensitivity:
    """Device time in seconds with all inferred costs as they are, scaled by 0.75 and 1.25, and removed."""

    parameters: int
    base: float
    cheaper: float
    costlier: float
    removed: float

    @property
    def inferred_share(self) -> float:
        """Part of the device time, 0..1, that goes away with the inferred costs."""
        return max(0.0, 1.0 - self.removed / self.base) if self.base else 0.0

    def change_percent(self, time: float) -> float:
        """Change against the base."""
        return 100.0 * (time / self.base - 1.0) if self.base else 0.0


def sensitivity(target: Target, base: float, simulate: Callable[[Target], float]) -> Sensitivity:
    """Simulate three more machines. `simulate`: device seconds of the program on a target; `base`: on `target`."""
    names = [name for name in target.inferred() if not name.startswith(_NOT_IN_DEVICE_TIME)]
    cheaper, costlier, removed = (simulate(target.scaled(names, f)) for f in (CHEAPER, COSTLIER, REMOVED))
    return Sensitivity(len(names), base, cheaper, costlier, removed)
