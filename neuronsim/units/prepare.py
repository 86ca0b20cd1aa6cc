"""Turns placed stages and a target into the flat arrays of an event loop: the only place where the timing model reads
machine numbers and instruction tables.

Resources are numbered: the DRAM of each chip, then each link of the instance.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from isa import cost
from isa.program import OUTPUT, Stage
from isa.spec import SPEC
from isa.target import Target
from isa.topology import Link, Topology
from isa.word import ENGINES, PSUM, SBUF, WORD
from neuronsim.errors import ConfigError, MemoryFault
from neuronsim.units.model import DMA_ENGINES, DST_READ, LOAD, MATMUL, SRC1_WRITTEN, TRIGGER, Placed, Problem, Use

MAX_SLOTS, MAX_QUEUES, MAX_PORTS = 4096, 64, 8  # widths of the event key, a queue mask and a port mask of the loop


def prepare(placed: Sequence[Placed], target: Target) -> Problem:
    """Everything an event loop needs about stages on that target. Raises: ConfigError, MemoryFault."""
    _check_machine(placed, target)
    parts: dict[int, _Part] = {}
    for p in placed:
        if id(p.stage) not in parts:
            parts[id(p.stage)] = _Part(p.stage, target, p.core)
    mine = [parts[id(p.stage)] for p in placed]
    words = [w for part in mine for w in part.words]
    begin = np.concatenate([[0], np.cumsum([len(w) for w in words])]).astype(np.int64)
    kinds, roles = _tables()
    triggers = [np.flatnonzero(kinds[w["opcode"]] == TRIGGER) + b for w, b in zip(words, begin)]
    return Problem(
        slots=len(placed), words=words, begin=begin,
        cost=np.concatenate([c for part in mine for c in part.costs]).astype(np.int64, copy=False),
        latency=np.array([_latency(e, target) for e in ENGINES] * len(placed), dtype=np.int64),
        ports=np.concatenate([_ports(target)] * len(placed)), kinds=kinds, roles=roles,
        post_latency=target.ns_to_ticks(target.semaphore_latency_ns),
        dma_latency=target.ns_to_ticks(target.dma.start_latency_ns),
        semaphores=target.semaphores, queues=target.dma.queues,
        resources=target.chips + len(Topology(target).links()), chips=target.chips,
        service=[part.service for part in mine],
        uses=[_uses(part, p, target) for part, p in zip(mine, placed)],
        trigger=np.concatenate(triggers).astype(np.int64),
    )


def link_resources(target: Target) -> dict[Link, int]:
    """Resource number of every link."""
    return {link: target.chips + k for k, link in enumerate(Topology(target).links())}


class _Part:
    """What does not depend on where a stage is placed."""

    def __init__(self, stage: Stage, target: Target, core: int) -> None:
        _check_stage(stage, target, core)
        self.words = [np.ascontiguousarray(stage.stream(e), dtype=WORD) for e in ENGINES]
        self.costs = [cost.ticks(w, e, target) for w, e in zip(self.words, ENGINES)]
        self.service = np.zeros((len(stage.descriptors), DMA_ENGINES), dtype=np.int64)
        self.share = np.zeros((len(stage.descriptors), DMA_ENGINES))  # of a descriptor's bytes, by engine
        if len(stage.descriptors):
            engines = slice(0, target.dma.engines)
            self.service[:, engines] = cost.dma_ticks(stage.descriptors, target)
            _, moved = cost.dma_shares(stage.descriptors, target)
            self.share[:, engines] = moved / np.maximum(moved.sum(axis=1, keepdims=True), 1)


def _check_machine(placed: Sequence[Placed], target: Target) -> None:
    for what, actual, limit in (
        ("simulated stages", len(placed), MAX_SLOTS),
        ("DMA engines per core", target.dma.engines, DMA_ENGINES),
        ("DMA queues", target.dma.queues, MAX_QUEUES),
        ("exclusive engine pairs", len(target.exclusive_sbuf) + len(target.exclusive_psum), MAX_PORTS),
    ):
        if actual > limit:
            raise ConfigError(f"too many {what}", where=target.name, limit=limit, actual=actual)
    for core in {c for p in placed for c in (p.core, max(p.downstream, 0))}:
        if not 0 <= core < target.cores:
            raise ConfigError(f"there is no core {core}", where=target.name, limit=f"0..{target.cores - 1}",
                              actual=core)


def _check_stage(stage: Stage, target: Target, core: int) -> None:
    kinds, _ = _tables()
    unknown = set(stage.streams) - set(ENGINES)
    if unknown:
        raise ConfigError(f"unknown engine {min(unknown)!r}", where=f"core {core}",
                          help="known: " + ", ".join(ENGINES))
    for engine, words in stage.streams.items():
        where = f"core {core} {engine}"
        if len(words) and not target.engines[engine].present:
            raise ConfigError(f"{target.generation} has no {engine} engine", where=where,
                              help="compile for this target")
        highest = max(words["wait_sem"].max(initial=0), words["post_sem"].max(initial=0))
        if highest >= target.semaphores:
            raise ConfigError("semaphore out of range", where=where, limit=target.semaphores - 1, actual=int(highest))
        triggers = words[kinds[words["opcode"]] == TRIGGER]
        if triggers["op0"].max(initial=0) >= target.dma.queues:
            raise ConfigError("DMA queue out of range", where=where, limit=target.dma.queues - 1,
                              actual=int(triggers["op0"].max()))
        end = (triggers["arg"].astype(np.int64) + triggers["count"]).max(initial=0)
        if end > len(stage.descriptors):
            raise MemoryFault("a dma_trigger names descriptors that do not exist", where=where,
                              limit=len(stage.descriptors), actual=int(end))


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """`Problem.kinds` and `Problem.roles` from the instruction set."""
    kinds, roles = np.zeros(256, dtype=np.uint8), np.zeros(256, dtype=np.uint8)
    for mnemonic, kind in (("load_stationary", LOAD), ("matmul", MATMUL), ("dma_trigger", TRIGGER)):
        kinds[SPEC.by_name[mnemonic].opcode] = kind
    for opcode, instruction in SPEC.by_opcode.items():
        for slot in instruction.operands:
            if slot.field == "src1" and slot.role != "read":
                roles[opcode] |= SRC1_WRITTEN
            if slot.field == "dst" and slot.role == "update" and not kinds[opcode]:
                roles[opcode] |= DST_READ
    kinds.setflags(write=False)
    roles.setflags(write=False)
    return kinds, roles


def _latency(engine: str, target: Target) -> int:
    params = target.engines[engine]
    return params.latency_cycles * params.ticks_per_cycle


def _ports(target: Target) -> np.ndarray:
    """[5, 3] uint8: bits of the exclusive ports an engine needs to reach each memory."""
    ports = np.zeros((len(ENGINES), 3), dtype=np.uint8)
    pairs = [(SBUF, p) for p in target.exclusive_sbuf] + [(PSUM, p) for p in target.exclusive_psum]
    for bit, (space, pair) in enumerate(pairs):
        for engine in pair:
            ports[ENGINES.index(engine), space] |= 1 << bit
    return ports


# ---- shared bandwidth
def _uses(part: _Part, placed: Placed, target: Target) -> tuple[Use, ...]:
    """What the descriptors take of DRAM and links. A tensor lies with the core that runs the stage; its outputs, when
    they are handed on, with the core downstream."""
    topology, d = Topology(target), placed.stage.descriptors
    chip = topology.chip_of(placed.core)
    far = chip if placed.downstream < 0 else topology.chip_of(placed.downstream)
    sbuf = cost.sbuf_variables(placed.stage)
    near = sbuf if far == chip else sbuf + [v.id for v in placed.stage.variables if v.kind == OUTPUT]
    mine, all_dram = _both_ways(d, near), _both_ways(d, sbuf)
    found: list[tuple[tuple[int, ...], np.ndarray, float]] = [((chip,), mine.sum(axis=0), target.dram_bytes_per_ns)]
    if far != chip:
        if topology.link_bytes_per_ns is None:
            raise ConfigError("a stage cannot hand its outputs to another chip: there are no links", where=target.name,
                              actual=f"from chip {chip} to chip {far}", help="place neighbouring stages on one chip")
        handed = [v.id for v in placed.stage.variables if v.kind == OUTPUT]
        back, forth = _both_ways(d, []) - _both_ways(d, handed)
        number = link_resources(target)
        found += [((far,), (all_dram - mine).sum(axis=0), target.dram_bytes_per_ns)]
        for way, moved in (((placed.core, placed.downstream), forth), ((placed.downstream, placed.core), back)):
            found += [(tuple(number[link] for link in topology.route(*way)), moved, topology.link_bytes_per_ns)]
    return tuple(_use(part, *use, target) for use in found if use[1].any())


def _both_ways(descriptors: np.ndarray, elsewhere: Sequence[int]) -> np.ndarray:
    """Bytes read and written in DRAM, [2, m] int64; variables `elsewhere` do not count."""
    return np.stack(cost.dma_bytes(descriptors, elsewhere)[:2])


def _use(part: _Part, resources: tuple[int, ...], moved: np.ndarray, bytes_per_ns: float, target: Target) -> Use:
    """A descriptor's bytes are split over the DMA engines as its work is."""
    ticks = moved * (target.tick_hz / 1e9 / bytes_per_ns)
    return Use(resources, np.ceil(part.share * ticks[:, None] - 1e-6).astype(np.int64), moved)
