"""One in-order engine: when the next word may start, and what its times are.

Words start in stream order, one cost apart. The PE (tensor engine) is two sub-units behind one sequencer: a
load_stationary and a matmul overlap, a matmul waits for its own load, and a load may run in the background of the
matmul before it. Source: nki/guides/architecture/trainium_inferentia2_arch.rst.
"""
from __future__ import annotations

from typing import Any

from isa.trace import Cause
from neuronsim.units import hazards
from neuronsim.units.model import LOAD, MATMUL, NORMAL, TRIGGER, Problem, Solution


class Engine:
    """Stream number `stream` in a run that starts at `tick`.

    `pc` is the op id of the next word, `tick` the candidate start of that word, `wait` how many of its waits are met
    (-1: the word is not opened yet).
    """

    def __init__(self, problem: Problem, solution: Solution, stream: int, tick: int) -> None:
        self._problem, self._solution = problem, solution
        self._words = problem.words[stream]
        self.begin, self.end = int(problem.begin[stream]), int(problem.begin[stream + 1])
        self._latency = int(problem.latency[stream])
        self._ports = problem.ports[stream]
        self._busy = solution.engine_busy.reshape(-1)[stream:stream + 1]
        self._tensor = stream % 5 == 0
        self.pc = self.begin
        self.tick = tick
        self.wait = -1
        self.unit_free = {LOAD: 0, MATMUL: 0}
        self.load_end = 0
        self.retired = 0
        self._busy[:] = 0
        self._ready = tick  # earliest start the sequencer allows
        self._load_op = -1
        self._covered = 0  # busy time is counted up to here
        self._writes: list[list[hazards.Box]] = []

    def word(self, op: int) -> Any:
        return self._words[op - self.begin]

    def kind(self, op: int) -> int:
        kind = int(self._problem.kinds[self.word(op)["opcode"]])
        return kind if self._tensor or kind == TRIGGER else NORMAL

    def open(self) -> None:
        """Look at the next word: the engine is ready for it now, whatever it has to wait for."""
        self.tick = max(self._ready, self.unit_free.get(self.kind(self.pc), 0))
        self.wait = 0
        s = self._solution
        s.wait_start[self.pc] = self.tick
        s.cause[self.pc], s.cause_id[self.pc], s.cause_op[self.pc] = Cause.NONE, -1, -1

    def delay(self, until: int, cause: Cause, cause_id: int, op: int) -> None:
        """The next word cannot start before `until`, because of that."""
        if until > self.tick:
            self.tick = until
            s = self._solution
            s.cause[self.pc], s.cause_id[self.pc], s.cause_op[self.pc] = cause, cause_id, op

    def interlock(self) -> None:
        """Delay the next word for its stationary matrix and for results of this engine that it reads."""
        if self.kind(self.pc) == MATMUL:
            self.delay(self.load_end, Cause.PE_SLOT, self._load_op, self._load_op)
        writer = self._raw_writer()
        if writer >= 0:
            self.delay(int(self._solution.end[writer]), Cause.RAW, writer, writer)

    def _raw_writer(self) -> int:
        """Latest earlier word that writes what the next one reads and has not ended; -1: none. Ends never decrease."""
        end, read = self._solution.end, None
        for op in range(self.pc - 1, self.begin - 1, -1):
            if end[op] <= self.tick:
                break
            if read is None:
                word = self.word(self.pc)
                read = hazards.reads(word, int(self._problem.roles[word["opcode"]]))
            if any(r.overlaps(w) for w in self._writes[op - self.begin] for r in read):
                return op
        return -1

    def ports(self) -> int:
        """Bit mask of the exclusive ports the next word needs."""
        word = self.word(self.pc)
        mask = 0
        for name in ("dst", "src0", "src1", "ptr0", "ptr1"):
            mask |= int(self._ports[word[name]["space"] & hazards.SPACE_MASK])
        return mask

    def issue(self) -> None:
        """Start the next word at `tick` and fix its times."""
        op, s, start = self.pc, self._solution, self.tick
        word, kind = self.word(op), self.kind(op)
        free = start + int(self._problem.cost[op])
        s.start[op] = start
        s.end[op] = free + self._latency
        self.retired = max(self.retired, free + self._latency)
        s.retire[op] = self.retired
        self._busy += max(0, free - max(start, self._covered))
        self._covered = max(self._covered, free)
        self._ready = free
        if kind in self.unit_free:
            self._ready = start
            self.unit_free[kind] = free
        if kind == LOAD:
            self._load_op, self.load_end = op, free
        self._writes.append(hazards.writes(word, int(self._problem.roles[word["opcode"]])))
        self.pc += 1
        self.wait = -1
