"""What each node of a segment costs on a core whose weights are pinned: time, and SBUF for the weights.

The segment is lowered once, whole, and scheduled without the loads of its weights. Each instruction is credited with
the time between the last end before its own and its own, so that the nodes' times add up to the schedule's: what runs
in the shadow of something longer is free. Not responsible for what a stage adds: see `compiler/sharding/balance.py`.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.backend import triggers
from compiler.backend.dependencies import Access, of_program
from compiler.backend.encode import encode
from compiler.backend.estimate import Prices
from compiler.backend.plan import WINDOW
from compiler.backend.schedule import Budget, ListScheduler, footprint, live_bytes, lives, tiles_used
from compiler.ir import Graph
from isa.lang import DramView, Instr, Tile, TileProgram, View
from isa.program import WEIGHT
from isa.word import SBUF


@dataclass(frozen=True)
class Cost:
    """One node.

    Attributes:
        ns: on its core.
        weight_bytes: of every SBUF partition for its pinned weights.
        scratch_bytes: of every SBUF partition for all that is alive on chip while it runs.
    """

    ns: float = 0.0
    weight_bytes: int = 0
    scratch_bytes: int = 0


def node_costs(program: TileProgram, graph: Graph) -> dict[str, Cost]:
    """Cost of every node, by name.

    Args:
        program: the graph, lowered whole.
        graph: optimised; layers of the program are named after the nodes' results.
    """
    maker = {o: n.name for n in graph.nodes for o in n.outputs if o}
    owner = [maker.get(row.layer, "") for row in program.debug]
    pinned = pinned_tiles(program)
    weights = dict.fromkeys((n.name for n in graph.nodes), 0)
    work: list[Instr] = []
    for instr in program.instrs:
        tile = _loaded(instr)
        if tile is None or tile.id not in pinned:
            work.append(instr)
        elif pinned[tile.id] and owner[instr.debug]:
            weights[owner[instr.debug]] += pinned[tile.id]
            pinned[tile.id] = 0  # counted where it is loaded first
    times, scratch = dict.fromkeys(weights, 0.0), dict.fromkeys(weights, 0)
    accesses, before = of_program(work)
    alive = _alive(work, accesses, program)
    for at, ticks in enumerate(_advances(work, accesses, before, program)):
        name = owner[work[at].debug]
        if name:
            times[name] += program.target.ticks_to_ns(int(ticks))
            scratch[name] = max(scratch[name], int(alive[at]))
    return {name: Cost(times[name], weights[name], scratch[name]) for name in weights}


def pinned_tiles(program: TileProgram) -> dict[int, int]:
    """SBUF bytes per partition of the tiles that hold nothing but weights, by tile id."""
    tiles: dict[int, int] = {}
    other: set[int] = set()
    for instr in program.instrs:
        tile = _loaded(instr)
        if tile is not None:
            tiles[tile.id] = footprint(tile, program.target.psum_bank_bytes)
        else:
            other.update(_written(instr))
    return {t: size for t, size in tiles.items() if t not in other}


def _loaded(instr: Instr) -> Tile | None:
    """The tile that an instruction fills with a weight."""
    for copy in instr.copies or ():
        if not isinstance(copy.dst, View) or not isinstance(copy.src, DramView) or copy.index is not None:
            return None
        if copy.src.tensor.kind != WEIGHT:
            return None
    return instr.copies[0].dst.tile if instr.copies and isinstance(instr.copies[0].dst, View) else None


def _written(instr: Instr) -> list[int]:
    views = [c.dst for c in instr.copies] if instr.copies is not None else [instr.dst, instr.dst1]
    return [v.tile.id for v in views if isinstance(v, View)]


class _Timed(ListScheduler):
    """A list schedule that remembers when each instruction's result is there."""

    ends: dict[int, int]

    def run(self) -> tuple[list[int], int]:
        self.ends = {}
        return super().run()

    def _start(self, at: int) -> int:
        end = super()._start(at)
        self.ends[self.order[at]] = end
        return end


def _alive(work: Sequence[Instr], accesses: Sequence[Access], program: TileProgram) -> np.ndarray:
    """[n] SBUF bytes per partition of the tiles alive at each instruction that are no pinned weights."""
    pinned = pinned_tiles(program)
    bank = program.target.psum_bank_bytes
    sizes = [footprint(t, bank) if t.space == SBUF and t.id not in pinned else 0 for t in program.tiles]
    life = lives(range(len(work)), accesses, len(program.tiles))
    return live_bytes(life, np.array(sizes, dtype=np.int64), len(work))


def _advances(
    work: Sequence[Instr], accesses: Sequence[Access], before: Sequence[Sequence[int]], program: TileProgram
) -> np.ndarray:
    """[n] ticks by which each instruction's end comes after the end before it, in a schedule of them all."""
    target = program.target
    if not work:
        return np.zeros(0, dtype=np.int64)
    engines, _ = triggers.assign(work, target)
    encoded = encode(work)
    prices = Prices(encoded.words, encoded.descriptors, np.array(engines, dtype=np.int64), target)
    sizes = [footprint(t, target.psum_bank_bytes) for t in program.tiles]
    budget = Budget(target.sbuf_partition_bytes, target.psum_partition_bytes)
    schedule = _Timed(range(len(work)), tiles_used(accesses), engines, before, prices, sizes, budget, WINDOW)
    schedule.run()
    ends = np.array([schedule.ends[i] for i in range(len(work))], dtype=np.int64)
    order = np.argsort(ends, kind="stable")
    advances = np.empty(len(work), dtype=np.int64)
    advances[order] = np.diff(ends[order], prepend=0)
    return advances
