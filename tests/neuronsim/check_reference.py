"""Brute force for tiny programs: every reachable state of the machine's events, and what it says about order."""
from __future__ import annotations

import numpy as np

from neuronsim.check.flat import Flat


class Machine:
    """All interleavings of word starts, in-order retirements and the single posts of transfers.

    `unordered` holds (a, b) when op b has started in some reachable state in which op a has not ended.
    """

    def __init__(self, flat: Flat, shares: int) -> None:
        self.flat, self.shares = flat, shares
        self.n = len(flat.words)
        self.engines = [range(int(flat.offsets[e]), int(flat.offsets[e + 1])) for e in range(5)]
        self.transfers = [int(op) for op in np.flatnonzero(flat.transfer >= 0)]
        self.unordered: set[tuple[int, int]] = set()  # (a, b): b can have started while a has not ended
        self.seen: set[tuple[tuple[int, ...], ...]] = set()
        self.finished = False
        self.explore()

    def value(self, retired: tuple[int, ...], posted: tuple[int, ...], sem: int) -> int:
        f = self.flat
        words = sum(int(f.post_inc[op]) for e, ops in enumerate(self.engines) for op in ops[: retired[e]]
                    if f.post_sem[op] == sem and f.transfer[op] < 0)
        return words + sum(posted[k] for k, op in enumerate(self.transfers) if f.post_sem[op] == sem)

    def ready(self, op: int, retired: tuple[int, ...], posted: tuple[int, ...]) -> bool:
        f = self.flat
        return all(not s or self.value(retired, posted, int(s)) >= v for s, v in zip(f.wait_sem[op], f.wait_val[op]))

    def explore(self) -> None:
        stack = [((0,) * 5, (0,) * 5, (0,) * len(self.transfers))]
        while stack:
            state = stack.pop()
            if state in self.seen:
                continue
            self.seen.add(state)
            self.record(*state)
            stack.extend(self.successors(*state))

    def successors(self, started: tuple[int, ...], retired: tuple[int, ...], posted: tuple[int, ...]) -> list:
        found = []
        for e, ops in enumerate(self.engines):
            if started[e] < len(ops) and self.ready(ops[started[e]], retired, posted):
                found.append((_bump(started, e), retired, posted))
            if retired[e] < started[e]:
                found.append((started, _bump(retired, e), posted))
        for k, op in enumerate(self.transfers):
            e = int(self.flat.engine[op])
            if posted[k] < self.shares and started[e] > op - self.flat.offsets[e]:
                found.append((started, retired, _bump(posted, k)))
        return found

    def record(self, started: tuple[int, ...], retired: tuple[int, ...], posted: tuple[int, ...]) -> None:
        self.finished |= sum(started) == self.n
        open_ops = [op for e, ops in enumerate(self.engines) for op in ops[retired[e]:] if self.flat.transfer[op] < 0]
        open_ops += [op for k, op in enumerate(self.transfers) if posted[k] < self.shares]
        running = [op for e, ops in enumerate(self.engines) for op in ops[: started[e]]]
        self.unordered.update((a, b) for a in open_ops for b in running)

    def before(self, a: int, b: int) -> bool:
        """Op a has ended whenever op b has started."""
        return (a, b) not in self.unordered


def _bump(values: tuple[int, ...], k: int) -> tuple[int, ...]:
    return (*values[:k], values[k] + 1, *values[k + 1:])
