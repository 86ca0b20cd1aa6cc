"""One stage of a loaded program on its core: timed alone, its values computed for one run or several at once."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isa.target import Target
from neuronsim.timing import LAST_TICK, Cores, Placed, Timeline

if TYPE_CHECKING:
    from neuronsim.values import Core


class Unit:
    """A stage on its core: priced when first timed, given memories when first computed; a time-only run has none.

    `at_once`: cores that may compute values of different runs at the same time, on different host threads.
    """

    def __init__(self, placed: Placed, target: Target, at_once: int) -> None:
        self.placed, self.target = placed, target
        self._lock = threading.Lock()
        self._machine: Cores | None = None
        self._room = threading.BoundedSemaphore(at_once)
        self._idle: list[Core] = []
        self._has_core = False

    def load(self, values: bool) -> None:
        """Price the words; and make the first core where `values`."""
        with self._lock:
            if self._machine is None:
                self._machine = Cores([self.placed], self.target)
            if values and not self._has_core:
                self._idle.append(self._new_core())
                self._has_core = True

    def time(self) -> Timeline:
        """Simulate one run."""
        with self._lock:
            assert self._machine is not None
            self._machine.reset()
            self._machine.start(0, 0)
            self._machine.advance(LAST_TICK)
            return self._machine.timeline(0)

    @contextmanager
    def core(self) -> Iterator[Core]:
        """A core nobody else is using."""
        with self._room:
            try:
                core = self._idle.pop()
            except IndexError:
                core = self._new_core()
            try:
                yield core
            finally:
                self._idle.append(core)

    def _new_core(self) -> Core:
        from neuronsim.values import Core

        core = Core(self.placed.stage, self.target)
        core.load()
        return core


def load_ends(placed: Sequence[Placed], target: Target) -> Mapping[int, int]:
    """Ticks until the pinned weights of all stages on a core are in SBUF, when all cores start to load them at once.

    They share the memory of their chip; the stages of one core load one after the other. 0 for a core without any.
    """
    loading = [Placed(p.stage.loading, p.core) for p in placed if p.stage.init]
    ends: Counter[int] = Counter()
    if not loading:
        return ends
    machine = Cores(loading, target)
    waiting: dict[int, list[int]] = defaultdict(list)
    for slot, p in enumerate(loading):
        waiting[p.core].append(slot)
    for slots in waiting.values():
        machine.start(slots.pop(0), 0)
    while (ended := machine.advance(LAST_TICK)) is not None:
        slot, tick = ended
        core = loading[slot].core
        ends[core] = tick
        if waiting[core]:
            machine.start(waiting[core].pop(0), tick)
    return ends
