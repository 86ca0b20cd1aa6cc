"""Turns one stage per core and a target into the flat arrays of an event loop: the only place where the timing model
reads machine numbers and instruction tables.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from isa import cost
from isa.program import Stage
from isa.spec import SPEC
from isa.target import Target
from isa.word import ENGINES, PSUM, SBUF, WORD
from neuronsim.errors import ConfigError, MemoryFault
from neuronsim.units.model import DMA_ENGINES, DST_READ, LOAD, MATMUL, SRC1_WRITTEN, TRIGGER, Problem

MAX_CORES, MAX_QUEUES, MAX_PORTS = 4096, 64, 8  # widths of the event key, a queue mask and a port mask of the loop


def prepare(stages: Sequence[Stage], target: Target) -> Problem:
    """Everything an event loop needs about one stage per core on that target. Raises: ConfigError, MemoryFault."""
    _check_machine(len(stages), target)
    for core, stage in enumerate(stages):
        _check_stage(stage, target, core)
    kinds, roles = _tables()
    words = [np.ascontiguousarray(stage.stream(e), dtype=WORD) for stage in stages for e in ENGINES]
    begin = np.concatenate([[0], np.cumsum([len(w) for w in words])]).astype(np.int64)
    triggers = [np.flatnonzero(kinds[w["opcode"]] == TRIGGER) + b for w, b in zip(words, begin)]
    costs = [cost.ticks(w, ENGINES[s % len(ENGINES)], target) for s, w in enumerate(words)]
    shares = [_shares(stage, target) for stage in stages]
    return Problem(
        cores=len(stages), words=words, begin=begin, cost=np.concatenate(costs).astype(np.int64, copy=False),
        latency=np.array([_latency(e, target) for e in ENGINES] * len(stages), dtype=np.int64),
        ports=np.concatenate([_ports(target)] * len(stages)), kinds=kinds, roles=roles,
        post_latency=target.ns_to_ticks(target.semaphore_latency_ns),
        dma_latency=target.ns_to_ticks(target.dma.start_latency_ns),
        semaphores=target.semaphores, queues=target.dma.queues,
        service=[s for s, _ in shares], dram=[d for _, d in shares],
        chip=(np.arange(len(stages)) // target.cores_per_chip).astype(np.int32),
        trigger=np.concatenate(triggers).astype(np.int64),
    )


def _check_machine(cores: int, target: Target) -> None:
    for what, actual, limit in (
        ("cores of the target", cores, target.cores),
        ("simulated cores", cores, MAX_CORES),
        ("DMA engines per core", target.dma.engines, DMA_ENGINES),
        ("DMA queues", target.dma.queues, MAX_QUEUES),
        ("exclusive engine pairs", len(target.exclusive_sbuf) + len(target.exclusive_psum), MAX_PORTS),
    ):
        if actual > limit:
            raise ConfigError(f"too many {what}", where=target.name, limit=limit, actual=actual)


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


def _shares(stage: Stage, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Ticks of service and of DRAM bandwidth for every descriptor and DMA engine, each [m, 16] int64.

    A descriptor's DRAM bytes are split over the engines as its bytes are.
    """
    service = np.zeros((len(stage.descriptors), DMA_ENGINES), dtype=np.int64)
    dram = np.zeros_like(service)
    if len(stage.descriptors):
        engines = slice(0, target.dma.engines)
        service[:, engines] = cost.dma_ticks(stage.descriptors, target)
        _, moved = cost.dma_shares(stage.descriptors, target)
        read, written, _ = cost.dma_bytes(stage.descriptors)
        part = moved / np.maximum(moved.sum(axis=1, keepdims=True), 1)
        ticks_per_byte = target.tick_hz / 1e9 / target.dram_bytes_per_ns
        dram[:, engines] = np.ceil(part * ((read + written) * ticks_per_byte)[:, None] - 1e-6)
    return service, dram
