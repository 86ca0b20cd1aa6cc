"""Which events of a core's program come before which in every execution.

Rules of the machine (docs/architecture.md, "Time" and "Synchronisation"):

- An engine starts its words in order and retires them in order; a word's post is visible after it and every earlier
  word of the engine has retired. A word's waits hold at its start.
- A transfer begins after its `dma_trigger` has started: the trigger does not wait for earlier words of its own engine
  to retire. It is complete when all its posts, one per DMA engine, have been made. Queues order nothing here.
- A wait `semaphore >= v` orders its word after those posts that are *necessary*: without them the value stays out of
  reach. The posts that can be made without a post p are those that do not themselves come after p or after the
  waiting word. With one producer in order this is a prefix of its posts.

Necessity needs the order and the order needs necessity. The greatest solution is taken: start from the order of one
real execution (nothing that holds in every execution contradicts it), keep only what that order justifies, and repeat
until nothing changes. The solution is sound: take the first moment of any execution at which one of its orderings is
broken, a word started and a necessary post p missing. The posts made so far were made before that moment, so none of
them comes after p or after the word; but without those the value is out of reach. A program
whose semaphores are each posted to in one order takes one pass. Faulty ones may lose one ordering per pass; a semaphore
that is still out of order after a dozen passes then counts only where a wait needs the sum of all its posts, which is
sound too.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuronsim._core import check_order
from neuronsim.check.flat import Flat

_UNORDERED, _IN_ORDER, _HOPELESS = 0, 1, 2  # states of a semaphore, as in the compiled pass
PATIENCE = 12  # passes before semaphores whose posts keep losing order are given up


@dataclass(frozen=True)
class Execution:
    """One greedy execution: what it cannot execute, no execution can.

    Attributes:
        order: int32[executed] ops, a linear order of the program.
        stopped: int64[5] op each engine stands at (its end when finished).
        values: int64[65536] final semaphore values.
    """

    order: np.ndarray
    stopped: np.ndarray
    values: np.ndarray

    def complete(self, flat: Flat) -> bool:
        return len(self.order) == len(flat.words)


def execute(flat: Flat) -> Execution:
    """Run the streams greedily over semaphores alone."""
    return Execution(*check_order.execute(flat.offsets, flat.wait_sem, flat.wait_val, flat.post_sem, flat.post_inc))


def happens_before(flat: Flat, execution: Execution) -> check_order.Clocks:
    """Vector clocks of every executed word. `Clocks.before(a, b)`: op a's end before op b's start, always.

    `execution` may be one of the same program with more waits.
    """
    post_op, post_before, post_start = _posts(flat, execution.order)
    state = np.full(len(post_start) - 1, _IN_ORDER, dtype=np.uint8)
    clocks: check_order.Clocks | None = None
    passes = 0
    while True:
        previous, passes = clocks, passes + 1
        clocks, changed = check_order.clocks(
            flat.offsets, flat.engine, flat.transfer, flat.transfers, execution.order, flat.wait_sem, flat.wait_val,
            flat.post_sem, post_op, post_before, post_start, state, previous,
        )
        if not changed and (not (state == _UNORDERED).any() or _same(clocks, previous)):
            return clocks
        if passes % PATIENCE == 0:
            state[state == _UNORDERED] = _HOPELESS


def _same(clocks: check_order.Clocks, previous: check_order.Clocks | None) -> bool:
    return previous is not None and all(
        np.array_equal(getattr(clocks, name), getattr(previous, name)) for name in ("retired", "started", "complete")
    )


def _posts(flat: Flat, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posts grouped by semaphore in executed order: ops, running sums (one more per semaphore), group starts."""
    posting = order[flat.post_sem[order] != 0]
    posting = posting[np.argsort(flat.post_sem[posting], kind="stable")]
    semaphore = flat.post_sem[posting]
    semaphores = max(int(semaphore.max(initial=0)), int(flat.wait_sem.max(initial=0))) + 1
    start = np.searchsorted(semaphore, np.arange(semaphores + 1)).astype(np.int64)
    sums = np.concatenate([[0], np.cumsum(flat.post_inc[posting])]).astype(np.int64)
    group = np.arange(semaphores)
    before = np.zeros(len(posting) + semaphores, dtype=np.int64)
    entries = np.repeat(group, np.diff(start) + 1)
    before[:] = sums[np.arange(len(before)) - entries] - sums[start[:-1]][entries]
    return np.ascontiguousarray(posting, dtype=np.int32), before, start
