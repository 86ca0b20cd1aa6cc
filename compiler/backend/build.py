"""From a tile program to a `Stage`: schedule, allocate (spill), synchronise, emit. Each step is one file of this
folder."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from compiler.backend import emit
from compiler.backend.estimate import TRIGGER
from compiler.backend.fit import analysed, fitted
from compiler.backend.pin import Split
from compiler.backend.plan import Scheduled, encoded_for, schedule
from compiler.backend.room import Pinned, Pinner, above
from compiler.backend.synchronise import Synchroniser
from compiler.errors import AllocationError
from compiler.options import CompileOptions
from isa import cost
from isa.lang import TileProgram
from isa.program import SCRATCH, WEIGHT, Stage, Variable
from isa.target import Target
from isa.word import SBUF


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the search for cyclic garbage: the backend makes none, but millions of records that would be searched."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_collector_paused()
def build(
    program: TileProgram, options: CompileOptions | None = None, pin: bool = False, handover_bytes: int = 0
) -> Stage:
    """Compile a tile program for its target.

    Options used: `double_buffer` (prefetch of loads), `opt_level` (0: program order as written), `require_pinned`.
    `Stage.info`: weights_bytes, spill_bytes, sbuf_peak_bytes, psum_peak_bytes (per partition), estimated_ns and
    instructions of one run.

    Args:
        pin: weights stay in SBUF as far as they fit, at the bottom of every partition; `Stage.init` brings them.
            `Stage.info` then has pinned_bytes (brought once), streamed_bytes (weights that one run fetches) and
            handover_bytes.
        handover_bytes: bytes at the top of every SBUF partition that are left free, counted in sbuf_peak_bytes.
    Raises: AllocationError when the tiles do not fit even after spilling; PinError when not all weights can stay
        though they are required to.
    """
    options = options or CompileOptions()
    target = program.target
    if handover_bytes >= target.sbuf_partition_bytes:
        raise AllocationError("sbuf", handover_bytes, target.sbuf_partition_bytes)
    room = above(target, handover_bytes)
    code = analysed(program.instrs, program.tiles, program.tensors, program.debug)
    if pin:
        stage = _pinned(Pinner(code, room, options).best(), target)
        stage.info["handover_bytes"] = handover_bytes
    else:
        code, spilled = fitted(code, room)
        done = schedule(code, room, options)
        stage = _stage(done, *done.encoded.place(done.plan.allocation.offsets), spilled, target)
    stage.sbuf_peak_bytes += handover_bytes
    stage.info["sbuf_peak_bytes"] = stage.sbuf_peak_bytes
    return stage


def _pinned(found: Pinned, target: Target) -> Stage:
    """The stage of a program of which some weights stay; the others' addresses move above theirs."""
    split, done = found.split, found.rest
    offsets = done.plan.allocation.offsets.copy()
    for tile in done.code.tiles:
        if tile.space == SBUF:
            offsets[tile.id] = split.offsets.get(tile.id, offsets[tile.id] + split.size)
    stage = _stage(done, *done.encoded.place(offsets), found.spilled, target)
    stage.sbuf_peak_bytes += split.size
    weights = [v.id for v in stage.variables if v.kind == WEIGHT]
    stage.info["streamed_bytes"] = _fetched(stage.descriptors, weights)
    if split.loads:
        stage.init, loads = _loading(split, done, offsets, target)
        stage.descriptors = np.concatenate([stage.descriptors, loads])
        stage.info["pinned_bytes"] = _fetched(loads, weights)
    else:
        stage.info["pinned_bytes"] = 0
    return stage


def _loading(
    split: Split, done: Scheduled, offsets: np.ndarray, target: Target
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(streams that bring the weights that stay, their descriptors, which follow those of the runs)."""
    encoded, engines = encoded_for(split.loads, target)
    words, descriptors = encoded.place(offsets)
    rows = words["opcode"] == TRIGGER
    words["arg"][rows] += len(done.encoded.descriptors)
    accesses = analysed(split.loads, done.code.tiles, done.code.tensors, done.code.debug).accesses
    order = range(len(split.loads))
    sync = Synchroniser(split.loads, accesses, engines, offsets, target.semaphores).run(order, {})
    return emit.streams(words, order, engines, sync), descriptors


def _fetched(descriptors: np.ndarray, weights: list[int]) -> int:
    """Bytes these descriptors read of these variables."""
    return int(cost.dma_bytes(descriptors)[0][np.isin(descriptors["src_var"], weights)].sum())


def _stage(done: Scheduled, words: np.ndarray, descriptors: np.ndarray, spilled: int, target: Target) -> Stage:
    """The stage of a scheduled program whose rows have addresses."""
    code, plan = done.code, done.plan
    streams = emit.streams(words, plan.order, done.engines, plan.sync)
    variables = [Variable(t.id, t.name, t.kind, t.dtype, t.shape, t.data, t.space) for t in code.tensors]
    peaks = plan.allocation.sbuf_peak, plan.allocation.psum_peak
    info: dict[str, object] = {
        "weights_bytes": sum(v.size_bytes for v in variables if v.kind == WEIGHT),
        "scratch_bytes": sum(v.size_bytes for v in variables if v.kind == SCRATCH),
        "spill_bytes": spilled,
        "sbuf_peak_bytes": peaks[0],
        "psum_peak_bytes": peaks[1],
        "estimated_ns": target.ticks_to_ns(plan.ticks),
        "instructions": sum(len(s) for s in streams.values()),
    }
    return Stage(streams, descriptors, variables, list(code.debug), peaks[0], peaks[1], info)
