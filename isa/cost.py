"""Prices of whole instruction streams and descriptor lists, from the cost rules of the tables and the target's numbers.

The scheduler, the stage balancer and the timing model use these same functions.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isa import word
from isa.dtypes import BY_NAME, SIZES
from isa.errors import IllegalInstruction
from isa.program import IN_SBUF, Stage
from isa.spec import ALU_OPS, SPEC
from isa.target import Target
from isa.word import DMA_ADD, DMA_GATHER, DMA_SCATTER, DMA_TRANSPOSE, ENGINES, PSUM, SBUF

_PARTITION_SHIFT = word.SBUF_PARTITION_STRIDE.bit_length() - 1
_FLOAT16 = (BY_NAME["bf16"].code, BY_NAME["fp16"].code)


def cycles(stream: np.ndarray, engine: str, target: Target) -> np.ndarray:
    """Start-to-start cycles of the engine's clock for each word: int64 [n], independent of its neighbours.

    Args:
        stream: [n] of `isa.word.WORD`.
        engine: one of `isa.word.ENGINES`.

    Raises: IllegalInstruction for an opcode the engine does not have.
    """
    if engine not in ENGINES:
        raise IllegalInstruction(f"unknown engine {engine!r}", help="known: " + ", ".join(ENGINES))
    out = np.zeros(len(stream), dtype=np.int64)
    opcodes = np.ascontiguousarray(stream["opcode"])
    for opcode in np.flatnonzero(np.bincount(opcodes, minlength=1)):
        rows = np.flatnonzero(opcodes == opcode)
        found = SPEC.by_opcode.get(int(opcode))
        if found is None or engine not in found.engines:
            raise IllegalInstruction(f"the {engine} engine has no opcode {opcode:#04x}", where=f"{engine}[{rows[0]}]")
        facts = _Facts(stream, rows, target)
        price = found.cost(engine, target.generation).evaluate(facts)
        out[rows] = np.ceil(np.asarray(price, dtype=np.float64) - 1e-9).astype(np.int64)
    return out


def ticks(stream: np.ndarray, engine: str, target: Target) -> np.ndarray:
    """`cycles` in ticks of the target: int64 [n]."""
    return cycles(stream, engine, target) * target.engines[engine].ticks_per_cycle


class _Facts:
    """What a cost rule may read about the words `rows` of a stream, computed when first asked for."""

    def __init__(self, stream: np.ndarray, rows: np.ndarray, target: Target) -> None:
        self._stream, self._rows, self._target = stream, rows, target
        self._known: dict[str, Any] = {
            "MIN_II": target["min_ii_cycles"], "START": target["gpsimd.start_cycles"], "NOP": target["nop_cycles"],
            "LOAD_SPEEDUP": target["tensor.load_speedup"], **ALU_OPS,
        }
        self._operands: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._make(name)
        return self._known[name]

    def _make(self, name: str) -> Any:
        if "." in name:
            operand, fact = name.split(".")
            return getattr(self, f"_{fact}")(operand)
        if name == "N":
            return np.maximum(self["src0.N"], self["dst.N"])
        if name == "ROW":
            return _row_cycles(self._target)[self._operand("src0")["dtype"]]
        return np.ascontiguousarray(self._stream[name])[self._rows]

    def _operand(self, operand: str) -> np.ndarray:
        if operand not in self._operands:
            field = self._stream[operand]
            self._operands[operand] = field[self._rows] if len(self._rows) < len(field) else field.copy()
        return self._operands[operand]

    def _elements(self, operand: str) -> np.ndarray:
        size = self._operand(operand)["size"]
        return (size[:, 0] * size[:, 1].astype(np.int64)) * (size[:, 2] * size[:, 3].astype(np.int64))

    def _innermost(self, operand: str) -> np.ndarray:
        """Step in elements of the innermost dimension that has more than one element; 1 when none has."""
        key = f"{operand} innermost"
        if key not in self._known:
            fields = self._operand(operand)
            step, size = fields["step"], fields["size"]
            out = np.where(size[:, 3] > 1, step[:, 3], 1)
            rows = np.flatnonzero(size[:, 3] <= 1)
            if len(rows):
                later = np.ones(len(rows), dtype=np.int16)
                for d in range(3):
                    later = np.where(size[rows, d] > 1, step[rows, d], later)
                out[rows] = later
            self._known[key] = out
        return self._known[key]

    def _N(self, operand: str) -> np.ndarray:
        """Streamed elements per partition: a step above the threshold halves the rate of the memory port."""
        wide = np.abs(self._innermost(operand).astype(np.int32)) * SIZES[self._operand(operand)["dtype"]]
        return self[f"{operand}.elements"] << (wide > self._target["stride_threshold_bytes"])

    def _unit(self, operand: str) -> np.ndarray:
        return self._innermost(operand) == 1

    def _partitions(self, operand: str) -> np.ndarray:
        return self._operand(operand)["partitions"].astype(np.int64)

    def _sbuf(self, operand: str) -> np.ndarray:
        return (self._operand(operand)["space"] & 3) == SBUF

    def _psum(self, operand: str) -> np.ndarray:
        return (self._operand(operand)["space"] & 3) == PSUM

    def _bf16(self, operand: str) -> np.ndarray:
        return self._operand(operand)["dtype"] == BY_NAME["bf16"].code

    def _fp32(self, operand: str) -> np.ndarray:
        return self._operand(operand)["dtype"] == BY_NAME["fp32"].code

    def _float16(self, operand: str) -> np.ndarray:
        dtype = self._operand(operand)["dtype"]
        return (dtype == _FLOAT16[0]) | (dtype == _FLOAT16[1])


def _row_cycles(target: Target) -> np.ndarray:
    """PE cycles per row by dtype code; a dtype the PE does not take (the validator refuses it) costs as its slowest."""
    table = np.full(256, max(target.cycles_per_row.values()), dtype=np.float64)
    for name, value in target.cycles_per_row.items():
        table[BY_NAME[name].code] = value
    return table


# ---- DMA
def sbuf_variables(stage: Stage) -> list[int]:
    """Ids of the variables that pipeline stages hand over in SBUF; all others are in DRAM."""
    return [v.id for v in stage.variables if v.space == IN_SBUF]


def dma_bytes(descriptors: np.ndarray, elsewhere: Sequence[int] = ()) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes of each descriptor: (read from DRAM, written to DRAM, delivered to the destination), int64 [m] each.

    `add` reads its destination too. `elsewhere`: ids of the variables that are not in that DRAM, as `sbuf_variables`.
    """
    elements = descriptors["size"].prod(axis=1, dtype=np.int64)
    read = elements * SIZES[descriptors["src_dtype"]]
    written = elements * SIZES[descriptors["dst_dtype"]]
    outside = [word.SBUF_VARIABLE, *elsewhere]
    to_dram = ~np.isin(descriptors["dst_var"], outside)
    accumulated = np.where((descriptors["op"] == DMA_ADD) & to_dram, written, 0)
    return (np.where(~np.isin(descriptors["src_var"], outside), read, 0) + accumulated,
            np.where(to_dram, written, 0), written)


def dma_shares(descriptors: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Packets and bytes each DMA engine handles of each descriptor: int64 [m, engines] each.

    A packet is a run contiguous on both sides, cut at `packet_bytes`. The SBUF partition decides the engine, the
    destination's when both sides are SBUF. Packets from DRAM to DRAM are dealt round robin over the whole list.
    Source: nki/get-started/about/nki-dma-overview.rst.
    """
    d = descriptors
    run, merged = _runs(d)
    run_bytes = run * np.maximum(SIZES[d["src_dtype"]], SIZES[d["dst_dtype"]])
    sizes = np.where(merged, 1, d["size"].astype(np.int64))
    in_sbuf = (d["src_var"] == word.SBUF_VARIABLE) | (d["dst_var"] == word.SBUF_VARIABLE)
    packets = np.zeros((len(d), target.dma.engines), dtype=np.int64)
    moved = np.zeros_like(packets)
    rows = np.flatnonzero(in_sbuf)
    if len(rows):
        runs = _runs_per_engine(d[rows], sizes[rows], target)
        packets[rows] = runs * _cut(run_bytes[rows], target)[:, None]
        moved[rows] = runs * run_bytes[rows][:, None]
    rows = np.flatnonzero(~in_sbuf)
    if len(rows):
        packets[rows], moved[rows] = _dealt(sizes[rows].prod(axis=1), run_bytes[rows], target)
    rows = np.flatnonzero(d["op"] == DMA_TRANSPOSE)  # moved in blocks: its packets do not follow the runs
    packets[rows] = _cut(moved[rows], target)
    return packets, moved


def dma_ticks(descriptors: np.ndarray, target: Target) -> np.ndarray:
    """Service ticks of each DMA engine for each descriptor: int64 [m, engines], 0 for an engine with no share."""
    packets, moved = dma_shares(descriptors, target)
    dma, op = target.dma, descriptors["op"]
    both_sbuf = (descriptors["src_var"] == word.SBUF_VARIABLE) & (descriptors["dst_var"] == word.SBUF_VARIABLE)
    transpose = np.where(both_sbuf, dma.transpose_efficiency_sbuf, dma.transpose_efficiency)
    efficiency = np.where(op == DMA_TRANSPOSE, transpose, np.where(op == DMA_ADD, dma.add_efficiency, 1.0))
    ns = packets * dma.t0_ns + moved / (dma.bytes_per_ns * efficiency)[:, None]
    return np.ceil(ns * (target.tick_hz / 1e9) - 1e-6).astype(np.int64)


def _cut(run_bytes: np.ndarray, target: Target) -> np.ndarray:
    return -(-run_bytes // target.dma.packet_bytes)


def _partition_steps(steps: np.ndarray) -> np.ndarray:
    """Partitions a step of SBUF address units crosses; bytes inside the partition may go either way."""
    return (steps + (1 << (_PARTITION_SHIFT - 1))) >> _PARTITION_SHIFT


def _runs(d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elements of one contiguous run (int64 [m]) and which dimensions it swallows (bool [m, 4])."""
    src, dst = SIZES[d["src_dtype"]], SIZES[d["dst_dtype"]]
    run = np.ones(len(d), dtype=np.int64)
    open_ = np.ones(len(d), dtype=bool)
    merged = np.zeros((len(d), 4), dtype=bool)
    indexed = (d["op"] == DMA_GATHER) | (d["op"] == DMA_SCATTER)
    for k in (3, 2, 1, 0):
        size = d["size"][:, k].astype(np.int64)
        fits = (d["src_step"][:, k] == src * run) & (d["dst_step"][:, k] == dst * run)
        for side in ("src", "dst"):
            fits &= (d[f"{side}_var"] != word.SBUF_VARIABLE) | (_partition_steps(d[f"{side}_step"][:, k]) == 0)
        if k == 0:
            fits &= ~indexed
        take = open_ & fits & (size > 1)
        merged[:, k] = take
        run = np.where(take, run * size, run)
        open_ &= take | (size == 1)
    return run, merged


def _runs_per_engine(d: np.ndarray, sizes: np.ndarray, target: Target) -> np.ndarray:
    """Runs each engine handles of descriptors with an SBUF side: int64 [m, engines]. `sizes` [m, 4] count the runs."""
    to_sbuf = d["dst_var"] == word.SBUF_VARIABLE
    start = np.where(to_sbuf, d["dst_off"], d["src_off"]).astype(np.int64) >> _PARTITION_SHIFT
    steps = _partition_steps(np.where(to_sbuf[:, None], d["dst_step"], d["src_step"]))
    steps = np.where(sizes > 1, steps, 0)
    crossing = steps != 0
    counts = np.where(crossing, sizes, 1)
    other = np.where(crossing, 1, sizes).prod(axis=1)
    plain = (crossing.sum(axis=1) <= 1) & (np.abs(steps).max(axis=1) <= 1)
    out = np.empty((len(d), target.dma.engines), dtype=np.int64)
    rows = np.flatnonzero(plain)
    out[rows] = _consecutive(start[rows], counts[rows].prod(axis=1), steps[rows].sum(axis=1), target)
    rows = np.flatnonzero(~plain)
    if len(rows):
        out[rows] = _enumerated(start[rows], counts[rows], steps[rows], target)
    return out * other[:, None]


def _consecutive(start: np.ndarray, count: np.ndarray, step: np.ndarray, target: Target) -> np.ndarray:
    """Partitions of a consecutive range that each engine owns."""
    low = np.where(step < 0, start - count + 1, start)[:, None]
    first = np.arange(target.dma.engines) * target.dma.partitions_per_engine
    last = first + target.dma.partitions_per_engine
    last[-1] = word.PARTITIONS
    return np.maximum(np.minimum(low + count[:, None], last) - np.maximum(low, first), 0)


def _enumerated(start: np.ndarray, counts: np.ndarray, steps: np.ndarray, target: Target) -> np.ndarray:
    """The same for any pattern of partitions, by listing them."""
    total = counts.prod(axis=1)
    row = np.repeat(np.arange(len(start)), total)
    rest = np.arange(len(row)) - np.repeat(np.cumsum(total) - total, total)
    partition = start[row]
    for k in (3, 2, 1, 0):
        partition = partition + steps[row, k] * (rest % counts[row, k])
        rest = rest // counts[row, k]
    engines = target.dma.engines
    engine = np.clip(partition // target.dma.partitions_per_engine, 0, engines - 1)
    return np.bincount(row * engines + engine, minlength=len(start) * engines).reshape(len(start), engines)


def _dealt(runs: np.ndarray, run_bytes: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Packets and bytes per engine when packets are dealt round robin, continuing from descriptor to descriptor."""
    engines, packet = target.dma.engines, target.dma.packet_bytes
    per_run = _cut(run_bytes, target)
    total = runs * per_run
    first = (np.cumsum(total) - total) % engines
    turn = (np.arange(engines) - first[:, None]) % engines
    packets = total[:, None] // engines + (turn < (total % engines)[:, None])
    moved = packets * packet
    missing = per_run * packet - run_bytes  # the last packet of a run is short
    row = np.arange(len(runs))
    for c in range(engines):
        tails = np.maximum((runs - c + engines - 1) // engines, 0)
        moved[row, (first + c * per_run + per_run - 1) % engines] -= tails * missing
    return packets, moved
