"""The event loop over all cores, in plain Python: twin of the compiled loop, and the text of the timing model.

An engine runs ahead of the event time until it meets a semaphore value not yet posted or an exclusive port. Ports are
granted, posts seen and transfers started in event order, so how far engines run ahead does not change the result.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from isa.trace import Cause
from isa.word import ENGINES
from neuronsim.units.dma import Dma, Dram, Transfer
from neuronsim.units.engine import Engine
from neuronsim.units.events import EventQueue, Phase
from neuronsim.units.model import TRIGGER, Problem, Solution
from neuronsim.units.semaphores import Semaphores


def run(problem: Problem) -> Solution:
    """Run a `Problem` to its end or to a deadlock and return the `Solution`."""
    machine = _Machine(problem)
    machine.run()
    return machine.solution


class _Machine:
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.solution = Solution.empty(problem)
        self.events = EventQueue()
        self.engines = [Engine(problem, self.solution, s) for s in range(len(problem.words))]
        self.semaphores = [Semaphores(self.solution.values[core]) for core in range(problem.cores)]
        drams = {int(chip): Dram() for chip in problem.chip}
        self.dma = [
            Dma(core, problem.queues, problem.service[core], problem.dram[core], drams[int(problem.chip[core])],
                self.events, self.solution.first, self.solution.dma_busy[core], self._share_of_transfer_done)
            for core in range(problem.cores)
        ]
        self.transfer_of = {int(op): number for number, op in enumerate(problem.trigger)}
        self.ports: dict[tuple[int, int], tuple[int, int]] = {}  # (core, bit) -> (free tick, op of the last holder)
        self.pending_posts: dict[int, deque[int]] = {s: deque() for s in range(len(self.engines))}
        self.pending_triggers: dict[int, deque[int]] = {s: deque() for s in range(len(self.engines))}
        self.dma_posts: deque[tuple[int, int, int]] = deque()  # tick, stream, op of the trigger

    def run(self) -> None:
        for stream in range(len(self.engines)):
            self._run_ahead(stream)
        while self.events:
            tick, phase, core, engine, op = self.events.pop()
            stream = core * len(ENGINES) + engine
            if phase == Phase.POST:
                self._post(tick, stream, op)
            elif phase == Phase.DMA_POST:
                self._dma_post(tick)
            elif phase == Phase.SHARE:
                self.dma[core].share_done(tick, engine)
            elif phase == Phase.ENQUEUE:
                self._enqueue(tick, stream, op)
            else:
                self._grant_ports(stream)
        self._note_blocked()

    # ---- engines
    def _run_ahead(self, stream: int) -> None:
        """Issue words until the stream ends, blocks on a semaphore or asks for a port."""
        engine = self.engines[stream]
        core, number = divmod(stream, len(ENGINES))
        while engine.pc < engine.end:
            if engine.wait < 0:
                engine.open()
            word = engine.word(engine.pc)
            while engine.wait < 2:
                semaphore, needed = int(word["wait_sem"][engine.wait]), int(word["wait_val"][engine.wait])
                if not self.semaphores[core].met(semaphore, needed):
                    self.semaphores[core].wait(number, semaphore, needed)
                    return
                engine.wait += 1
            engine.interlock()
            if engine.ports():
                self.events.push(engine.tick, Phase.PORT, core, number, engine.pc)
                return
            self._issue(stream)

    def _issue(self, stream: int) -> None:
        engine = self.engines[stream]
        op = engine.pc
        engine.issue()
        if engine.kind(op) == TRIGGER:
            self._pend(self.pending_triggers, Phase.ENQUEUE, stream, op)
        elif engine.word(op)["post_sem"]:
            self._pend(self.pending_posts, Phase.POST, stream, op)

    def _grant_ports(self, stream: int) -> None:
        """Give the word all its ports from the later of its request and their release, for its whole cost."""
        engine, core = self.engines[stream], stream // len(ENGINES)
        keys = [(core, bit) for bit in _bits(engine.ports())]
        for key in keys:
            free, holder = self.ports.get(key, (0, -1))
            engine.delay(free, Cause.PORT, holder, holder)
        for key in keys:
            self.ports[key] = (engine.tick + int(self.problem.cost[engine.pc]), engine.pc)
        self._issue(stream)
        self._run_ahead(stream)

    # ---- events that one stream makes in order: only the oldest is in the event queue
    def _when(self, phase: Phase, op: int) -> int:
        if phase == Phase.POST:
            return int(self.solution.retire[op]) + self.problem.post_latency
        return int(self.solution.start[op]) + self.problem.dma_latency

    def _pend(self, pending: dict[int, deque[int]], phase: Phase, stream: int, op: int) -> None:
        pending[stream].append(op)
        if len(pending[stream]) == 1:
            self._push_oldest(pending, phase, stream)

    def _push_oldest(self, pending: dict[int, deque[int]], phase: Phase, stream: int) -> None:
        if pending[stream]:
            oldest = pending[stream][0]
            self.events.push(self._when(phase, oldest), phase, *divmod(stream, len(ENGINES)), oldest)

    # ---- semaphores
    def _post(self, tick: int, stream: int, op: int) -> None:
        self.pending_posts[stream].popleft()
        self._push_oldest(self.pending_posts, Phase.POST, stream)
        word = self.engines[stream].word(op)
        self._add(tick, stream // len(ENGINES), int(word["post_sem"]), int(word["post_inc"]), Cause.SEMAPHORE, op)

    def _dma_post(self, tick: int) -> None:
        _, stream, op = self.dma_posts.popleft()
        if self.dma_posts:
            self.events.push(self.dma_posts[0][0], Phase.DMA_POST)
        semaphore = int(self.engines[stream].word(op)["post_sem"])
        self._add(tick, stream // len(ENGINES), semaphore, 1, Cause.DMA, op)

    def _add(self, tick: int, core: int, semaphore: int, amount: int, cause: Cause, op: int) -> None:
        for number in self.semaphores[core].add(semaphore, amount):
            stream = core * len(ENGINES) + number
            engine = self.engines[stream]
            engine.delay(tick, cause, semaphore, op)
            engine.wait += 1
            self._run_ahead(stream)

    # ---- DMA
    def _enqueue(self, tick: int, stream: int, op: int) -> None:
        self.pending_triggers[stream].popleft()
        self._push_oldest(self.pending_triggers, Phase.ENQUEUE, stream)
        word, number = self.engines[stream].word(op), self.transfer_of[op]
        self.solution.enqueued[number] = tick
        transfer = Transfer(number, int(word["arg"]), int(word["count"]), int(word["op0"]))
        self.dma[stream // len(ENGINES)].enqueue(tick, transfer)

    def _share_of_transfer_done(self, tick: int, transfer: Transfer) -> None:
        """One DMA engine is done with a transfer: it posts 1."""
        number = transfer.number
        self.solution.last[number] = max(self.solution.last[number], tick)
        op = int(self.problem.trigger[number])
        stream = int(self.problem.stream_of_trigger[number])
        if self.engines[stream].word(op)["post_sem"]:
            seen = tick + self.problem.post_latency
            self.dma_posts.append((seen, stream, op))
            if len(self.dma_posts) == 1:
                self.events.push(seen, Phase.DMA_POST)

    # ---- the end
    def _note_blocked(self) -> None:
        for stream, engine in enumerate(self.engines):
            self.solution.pc[stream] = engine.pc
            if engine.pc < engine.end:
                self.solution.blocked_wait[stream] = engine.wait
                self.solution.deadlock = True


def _bits(mask: int) -> Iterator[int]:
    return (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
