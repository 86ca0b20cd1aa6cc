"""The words of one program on the memories of a core, in the order a timeline says.

Sources are read at the start tick of an operation, results appear at its end tick; commits of a tick come before reads
of it, ties go by op id (engine, index). Operations run one after the other at their end; where another operation that
ended in between has written a source, the sources are copied aside at the start first, so a race shows. Kernels do the
frequent words without the GIL, `neuronsim/insns` the rest. Replays share nothing but what they are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isa.program import Stage
from isa.target import Target
from isa.word import DESCRIPTOR, ENGINES, WORD
from neuronsim._core.values import Executor
from neuronsim.errors import SimulationError
from neuronsim.insns import execute
from neuronsim.insns.memory import Memory
from neuronsim.timing import Timeline

LOAD_STATIONARY, MATMUL, NOP, DMA_TRIGGER = 0x01, 0x02, 0x40, 0x41
EXECUTE, SAMPLE, LOAD = 0, 1, 2
# mirrors action_t in neuronsim/_core/values.h
ACTION = np.dtype([("op", "<i4"), ("kind", "<i4"), ("a", "<i4"), ("b", "<i4"), ("slot", "<i4"), ("sample", "<i4")])

CELL_BYTES, CELLS_ACROSS = 256, 4  # a cell is 256 bytes of 32 partitions: smallest unit in which hazards are seen
SPARE_SLOTS = 96  # stationary buffers with several threads, so that loads can run ahead
MATMUL_PART = 512  # columns below which a matmul is not split between threads: independent ones keep both busy
ENGINE_PART = 1 << 15  # elements below which other words are not split; measured on ResNet-50 with two threads
TRANSFER_PART = 1 << 17  # bytes, likewise

Graph = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Plan:
    """Actions in order for one timeline and number of parts, and their graph when there are several threads."""

    key: tuple[np.ndarray, ...]
    threads: int
    actions: np.ndarray
    samples: int
    slots: int
    graph: Graph | None


class Replay:
    """The streams of a stage bound to the memories of a core.

    Args:
        stage: only its streams are run; `stage.loading` has those of `init`.
        memory: SBUF, PSUM and the stage's variables, in id order.
    """

    def __init__(self, stage: Stage, target: Target, memory: Memory) -> None:
        self._stage = stage
        self._target = target
        self._memory = memory
        self._streams = [np.ascontiguousarray(stage.stream(e), WORD) for e in ENGINES]
        self._words = _columns(self._streams)
        self._descriptors = np.ascontiguousarray(stage.descriptors, DESCRIPTOR)
        buffers = [memory.variables[v.id] for v in stage.variables]
        self._executor = Executor(memory.sbuf, memory.psum, self._streams, self._descriptors, buffers, self._numpy_op)
        self._plan: _Plan | None = None

    def run(self, timeline: Timeline, threads: int = 1, find_nonfinite: bool = False) -> int | None:
        """Apply every word and transfer once. Returns: with `find_nonfinite`, see `Core.first_nonfinite`.

        Raises: SimulationError.
        """
        plan = self._planned(timeline, 1 if find_nonfinite else max(1, threads))
        if plan.graph is not None:
            self._executor.run_threads(plan.threads, plan.graph)
            return None
        found: int = self._executor.run(find_nonfinite)
        return found if found >= 0 else None

    def _numpy_op(self, op: int, sample: np.ndarray | None) -> None:
        engine = int(self._words["engine"][op])
        execute(self._streams[engine][int(self._words["index"][op])], self._memory, engine, sample)

    # ---- planning ----

    def _planned(self, timeline: Timeline, threads: int) -> _Plan:
        key = (timeline.start, timeline.end, timeline.transfer_op, timeline.transfer_start, timeline.transfer_end)
        plan = self._plan
        if plan is None or plan.threads != threads or not all(map(np.array_equal, plan.key, key)):
            self._plan = plan = self._make_plan(key, threads)
        return plan

    def _make_plan(self, key: tuple[np.ndarray, ...], threads: int) -> _Plan:
        start, end = _ticks(*key)
        base = self._ordered_words(start, end)
        slots = _needed_slots(base, self._words["opcode"])
        slots = max(slots, SPARE_SLOTS) if threads > 1 else slots
        base["slot"] %= slots
        self._set_cells(slots)
        self._executor.set_actions(base, 0, slots)
        early = self._executor.detect_samples(start, end).astype(bool)
        actions, samples = self._with_samples(base, early, start, end, threads)
        self._executor.set_actions(actions, samples, slots)
        graph = self._executor.dependencies() if threads > 1 else None
        return _Plan(tuple(np.array(k) for k in key), threads, actions, samples, slots, graph)

    def _ordered_words(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """One action per word that touches memory, in order of effect; `slot` counts loads, before wrapping."""
        opcode = self._words["opcode"]
        ops = np.flatnonzero((opcode != NOP) & ~((opcode == DMA_TRIGGER) & (self._words["count"] == 0)))
        loads = np.cumsum(opcode == LOAD_STATIONARY) - 1  # the tensor engine comes first in op ids
        if np.any((opcode == MATMUL) & (loads < 0)):
            raise SimulationError(
                "a matmul comes before any load_stationary",
                code="NO_STATIONARY",
                where=f"tensor[{int(np.flatnonzero((opcode == MATMUL) & (loads < 0))[0])}]",
            )
        is_load = opcode[ops] == LOAD_STATIONARY
        tick = np.where(is_load, start[ops], end[ops])
        order = np.lexsort((ops, is_load, tick))
        actions = np.zeros(len(ops), ACTION)
        actions["op"], actions["kind"] = ops[order], np.where(is_load[order], LOAD, EXECUTE)
        actions["slot"], actions["sample"] = np.maximum(loads[ops[order]], 0), -1
        return actions

    def _with_samples(
        self, base: np.ndarray, early: np.ndarray, start: np.ndarray, end: np.ndarray, threads: int
    ) -> tuple[np.ndarray, int]:
        """Insert a SAMPLE action at the start of every early one; split the others into parts for the threads."""
        base = base.copy()
        base["sample"][early] = np.arange(int(early.sum()))
        extra = base[early].copy()
        extra["kind"] = SAMPLE
        both = np.concatenate([base, extra])
        at_end = both["kind"] == EXECUTE
        tick = np.where(at_end, end[both["op"]], start[both["op"]])
        actions = both[np.lexsort((both["op"], ~at_end, tick))]
        if threads > 1:
            actions = self._split(actions, threads)
        return np.ascontiguousarray(actions), len(extra)

    def _split(self, actions: np.ndarray, threads: int) -> np.ndarray:
        whole = (actions["kind"] != EXECUTE) | (actions["sample"] >= 0)
        op = actions["op"]
        opcode, extent = self._words["opcode"][op], self._words["extent"][op]
        unit = np.where(opcode == MATMUL, 32, np.where(opcode == DMA_TRIGGER, 1, 32))
        parts = np.minimum(threads, extent // unit)
        small = self._words["work"][op] < np.where(
            opcode == MATMUL, 2 * MATMUL_PART, np.where(opcode == DMA_TRIGGER, TRANSFER_PART, 2 * ENGINE_PART)
        )
        parts = np.where(whole | small | ~self._words["splits"][op], 1, np.maximum(parts, 1)).astype(np.int64)
        made = np.repeat(actions, parts)
        number = np.arange(len(made)) - np.repeat(np.cumsum(parts) - parts, parts)
        n, units = np.repeat(parts, parts), np.repeat(-(-extent // unit), parts)
        size, top = np.repeat(unit, parts), np.repeat(extent, parts)
        made["a"] = np.where(n > 1, units * number // n * size, 0)
        made["b"] = np.where(n > 1, np.minimum(units * (number + 1) // n * size, top), 0)
        return made

    def _set_cells(self, slots: int) -> None:
        across = {
            m: -(-size // CELL_BYTES) * CELLS_ACROSS
            for m, size in (("sbuf", self._target.sbuf_partition_bytes), ("psum", self._target.psum_partition_bytes))
        }
        slot_cell = across["sbuf"] + across["psum"]
        written = np.zeros(len(self._stage.variables) + 1, bool)
        written[self._descriptors["dst_var"]] = True
        cells, first, shift = slot_cell + slots, [], []
        for v, is_written in zip(self._stage.variables, written[1:], strict=True):
            bits = max(12, (v.size_bytes // 4096).bit_length())
            first.append(cells if is_written else -1)
            shift.append(bits)
            cells += (v.size_bytes >> bits) + 1 if is_written else 0
        self._executor.set_cells(
            across["sbuf"], slot_cell, cells + 1, np.array([*first, -1], np.int64), np.array([*shift, 0], np.int64)
        )


def _columns(streams: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Per op id: opcode, count, engine, index; for splitting `extent` (columns, partitions or descriptors), `work`."""
    opcode = np.concatenate([s["opcode"] for s in streams])
    count = np.concatenate([s["count"] for s in streams])
    elements = np.concatenate([s["dst"]["size"].astype(np.int64).prod(axis=1) for s in streams])
    partitions = np.concatenate([s["dst"]["partitions"] for s in streams]).astype(np.int64)
    source = np.concatenate([s["src0"]["size"].astype(np.int64).prod(axis=1) for s in streams])
    transfer, matmul = opcode == DMA_TRIGGER, opcode == MATMUL
    by_row = np.isin(opcode, (*range(0x10, 0x1B), 0x30, 0x31))  # rows are independent, and these have kernels
    aligned = np.concatenate([s["dst"]["partition"] % 32 == 0 for s in streams])
    return {
        "opcode": opcode,
        "count": count,
        "engine": np.repeat(np.arange(len(streams), dtype=np.uint8), [len(s) for s in streams]),
        "index": np.concatenate([np.arange(len(s)) for s in streams]),
        "extent": np.where(transfer, count, np.where(matmul, elements, partitions)).astype(np.int64),
        "work": np.where(
            transfer, TRANSFER_PART, np.where(matmul, elements, np.maximum(elements, source) * partitions)
        ),
        "splits": transfer | matmul | (by_row & aligned),
    }


def _ticks(
    start: np.ndarray, end: np.ndarray, transfer_op: np.ndarray, transfer_start: np.ndarray, transfer_end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Start and end tick of the effect of each op id: of the transfer for a dma_trigger."""
    first, last = (np.array(x, np.int64, order="C") for x in (start, end))
    first[transfer_op], last[transfer_op] = transfer_start, transfer_end
    return first, last


def _needed_slots(actions: np.ndarray, opcode: np.ndarray) -> int:
    """Stationary buffers in use at once when actions run in order."""
    kind = opcode[actions["op"]]
    loads = np.flatnonzero(kind == LOAD_STATIONARY)
    uses = np.flatnonzero(kind == MATMUL)
    if not len(loads) or not len(uses):
        return 1
    last = loads[actions["slot"][loads].argsort(kind="stable")].copy()  # by load number: position of its last use
    np.maximum.at(last, actions["slot"][uses], uses)
    begun = np.searchsorted(np.sort(loads), last, side="right")  # loads begun up to then
    return int(np.max(begun - np.arange(len(last)), initial=1))
