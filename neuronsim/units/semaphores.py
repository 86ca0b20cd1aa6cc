"""Semaphores of one run: counters that only grow, and the engines that wait for them."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Semaphores:
    """`values`: [semaphores] int64 row of the solution, so that what blocks a run can be read there."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self._waiting: dict[int, dict[int, int]] = {}  # semaphore -> engine -> value needed
        self.clear()

    def clear(self) -> None:
        """All zero, as a run finds them and leaves them."""
        self.values[:] = 0

    def met(self, semaphore: int, needed: int) -> bool:
        return semaphore == 0 or bool(self.values[semaphore] >= needed)

    def wait(self, engine: int, semaphore: int, needed: int) -> None:
        """Remember that the engine is blocked until the semaphore reaches `needed`."""
        self._waiting.setdefault(semaphore, {})[engine] = needed

    def add(self, semaphore: int, amount: int) -> Iterator[int]:
        """Add to the semaphore and yield the engines this releases, in engine order."""
        self.values[semaphore] += amount
        waiting = self._waiting.get(semaphore, {})
        for engine in sorted(waiting):
            if self.values[semaphore] >= waiting[engine]:
                del waiting[engine]
                yield engine
