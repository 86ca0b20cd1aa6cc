"""One run of one placed stage: its engines, semaphores, ports and DMA, and what each event does to them.

An engine runs ahead of the event time until it meets a semaphore value not yet posted or an exclusive port. Ports are
granted, posts seen and transfers started in event order, so how far engines run ahead does not change the result.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from isa.trace import Cause
from isa.word import ENGINES
from neuronsim.units.dma import Bandwidth, Dma, Transfer
from neuronsim.units.engine import Engine
from neuronsim.units.events import EventQueue, Phase
from neuronsim.units.model import TRIGGER, Problem, Solution
from neuronsim.units.semaphores import Semaphores


class Run:
    """A run of `slot` from `tick` on. `end` is its last tick once everything that can still happen is known.

    Engine numbers are those of `isa.word.ENGINES`; `ports` is bit -> (tick it is free, op that held it last).
    """

    def __init__(self, problem: Problem, solution: Solution, slot: int, tick: int, resources: list[Bandwidth],
                 events: EventQueue) -> None:
        self.problem, self.solution, self.slot, self.events = problem, solution, slot, events
        streams = range(slot * len(ENGINES), (slot + 1) * len(ENGINES))
        self.engines = [Engine(problem, solution, s, tick) for s in streams]
        self.semaphores = Semaphores(solution.values[slot])
        self.ports: dict[int, tuple[int, int]] = {}
        self.posts: list[deque[int]] = [deque() for _ in streams]  # ops whose post is not seen yet
        self.triggers: list[deque[int]] = [deque() for _ in streams]  # ops whose transfer is not in its queue yet
        self.dma_posts: deque[tuple[int, int]] = deque()  # tick, transfer
        self.dma = Dma(problem, slot, resources, events, solution.first, solution.waited,
                       solution.dma_busy[slot], self._share_done)
        transfers = problem.transfers_of(slot)
        for column in (solution.enqueued, solution.first, solution.last):
            column[transfers] = -1
        solution.waited[transfers] = 0
        self.transfer_of = {int(problem.trigger[x]): x for x in range(transfers.start, transfers.stop)}
        self.transfers_left = len(self.transfer_of)
        self.end: int | None = None
        self._latest = tick
        for number in range(len(ENGINES)):
            self._run_ahead(number)

    def handle(self, tick: int, phase: Phase, number: int, op: int) -> None:
        """An event of this slot."""
        if phase == Phase.POST:
            self._post(tick, number, op)
        elif phase == Phase.DMA_POST:
            self._dma_post(tick)
        elif phase == Phase.SHARE:
            self.dma.share_done(tick, number)
        elif phase == Phase.ENQUEUE:
            self._enqueue(tick, number, op)
        else:
            self._grant_ports(number)

    # ---- engines
    def _run_ahead(self, number: int) -> None:
        """Issue words until the stream ends, blocks on a semaphore or asks for a port."""
        engine = self.engines[number]
        while engine.pc < engine.end:
            if engine.wait < 0:
                engine.open()
            word = engine.word(engine.pc)
            while engine.wait < 2:
                semaphore, needed = int(word["wait_sem"][engine.wait]), int(word["wait_val"][engine.wait])
                if not self.semaphores.met(semaphore, needed):
                    self.semaphores.wait(number, semaphore, needed)
                    return
                engine.wait += 1
            engine.interlock()
            if engine.ports():
                self.events.push(engine.tick, Phase.PORT, self.slot, number, engine.pc)
                return
            self._issue(number)
        self._settle()

    def _issue(self, number: int) -> None:
        engine = self.engines[number]
        op = engine.pc
        engine.issue()
        if engine.kind(op) == TRIGGER:
            self._pend(self.triggers, Phase.ENQUEUE, number, op)
        elif engine.word(op)["post_sem"]:
            self._pend(self.posts, Phase.POST, number, op)

    def _grant_ports(self, number: int) -> None:
        """Give the word all its ports from the later of its request and their release, for its whole cost."""
        engine = self.engines[number]
        bits = list(_bits(engine.ports()))
        for bit in bits:
            free, holder = self.ports.get(bit, (0, -1))
            engine.delay(free, Cause.PORT, holder, holder)
        for bit in bits:
            self.ports[bit] = (engine.tick + int(self.problem.cost[engine.pc]), engine.pc)
        self._issue(number)
        self._run_ahead(number)

    # ---- events that one stream makes in order: only the oldest is in the event queue
    def due(self, phase: Phase, op: int) -> int:
        """When a word's post is seen, when its transfer enters its queue."""
        if phase == Phase.POST:
            return int(self.solution.retire[op]) + self.problem.post_latency
        return int(self.solution.start[op]) + self.problem.dma_latency

    def _pend(self, pending: list[deque[int]], phase: Phase, number: int, op: int) -> None:
        pending[number].append(op)
        if len(pending[number]) == 1:
            self._push_oldest(pending, phase, number)

    def _push_oldest(self, pending: list[deque[int]], phase: Phase, number: int) -> None:
        if pending[number]:
            oldest = pending[number][0]
            self.events.push(self.due(phase, oldest), phase, self.slot, number, oldest)

    # ---- semaphores
    def _post(self, tick: int, number: int, op: int) -> None:
        self.posts[number].popleft()
        self._push_oldest(self.posts, Phase.POST, number)
        word = self.engines[number].word(op)
        self._add(tick, int(word["post_sem"]), int(word["post_inc"]), Cause.SEMAPHORE, op)

    def _dma_post(self, tick: int) -> None:
        _, transfer = self.dma_posts.popleft()
        if self.dma_posts:
            self.events.push(self.dma_posts[0][0], Phase.DMA_POST, self.slot)
        self._add(tick, self._posted_by(transfer), 1, Cause.DMA, int(self.problem.trigger[transfer]))

    def _add(self, tick: int, semaphore: int, amount: int, cause: Cause, op: int) -> None:
        for number in self.semaphores.add(semaphore, amount):
            engine = self.engines[number]
            engine.delay(tick, cause, semaphore, op)
            engine.wait += 1
            self._run_ahead(number)

    # ---- DMA
    def _enqueue(self, tick: int, number: int, op: int) -> None:
        self.triggers[number].popleft()
        self._push_oldest(self.triggers, Phase.ENQUEUE, number)
        word, transfer = self.engines[number].word(op), self.transfer_of[op]
        self.solution.enqueued[transfer] = tick
        self.dma.enqueue(tick, Transfer(transfer, int(word["arg"]), int(word["count"]), int(word["op0"])))

    def _share_done(self, tick: int, transfer: Transfer) -> None:
        """One DMA engine is done with a transfer: it posts 1."""
        number = transfer.number
        self.solution.last[number] = max(self.solution.last[number], tick)
        if self._posted_by(number):
            seen = tick + self.problem.post_latency
            self.dma_posts.append((seen, number))
            if len(self.dma_posts) == 1:
                self.events.push(seen, Phase.DMA_POST, self.slot)
        if transfer.left == 0:
            self.transfers_left -= 1
            self._latest = max(self._latest, tick)
            self._settle()

    def _posted_by(self, transfer: int) -> int:
        """Semaphore that a transfer posts to, 0: none."""
        op = int(self.problem.trigger[transfer])
        engine = next(e for e in self.engines if e.begin <= op < e.end)
        return int(engine.word(op)["post_sem"])

    # ---- the end
    def _settle(self) -> None:
        """With the last word issued and the last transfer done, the end is known; posts not seen yet wake nobody."""
        if self.transfers_left or any(e.pc < e.end for e in self.engines):
            return
        self.end = max([self._latest, *(e.retired for e in self.engines)])
        self.events.drop(self.slot)
        self.semaphores.clear()
        self.events.push(self.end, Phase.DONE, self.slot)


def _bits(mask: int) -> Iterator[int]:
    return (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
