"""What a stage asks of the machine, read from its words and descriptors: flops, bytes, counts. No times here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isa import cost, dtypes, word
from isa.program import IN_DRAM, INPUT, OUTPUT, WEIGHT, Stage
from isa.spec import SPEC
from isa.target import Target


@dataclass(frozen=True)
class Triggers:
    """Every `dma_trigger` of a stage: debug row, bytes moved, bytes at the DRAM and SBUF sides; [n] int64 each."""

    debug: np.ndarray
    moved: np.ndarray
    read: np.ndarray
    written: np.ndarray
    sbuf_read: np.ndarray
    sbuf_written: np.ndarray


def opcode(mnemonic: str) -> int:
    """The opcode of a mnemonic."""
    return int(SPEC.by_name[mnemonic].opcode)


def matmul_flops(stage: Stage, transposes: bool = False) -> dict[str, int]:
    """Operations issued to the PE by operand dtype: 2 x rows x columns x elements of each, or of transposes."""
    words = _matmuls(stage)
    if transposes:
        words = words[_transposing(words)]
    flops = _flops(words)
    codes = words["src0"]["dtype"]
    return {dtypes.dtype(int(c)).name: int(flops[codes == c].sum()) for c in np.unique(codes)}


def transpose_flops(stage: Stage) -> int:
    """The part of `matmul_flops` that only transposes."""
    words = _matmuls(stage)
    return int(_flops(words)[_transposing(words)].sum())


def matmul_work(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """Debug row and operations of each matmul, [n] int64 each."""
    words = _matmuls(stage)
    return words["debug"].astype(np.int64), _flops(words)


def count(stage: Stage, engine: str, *mnemonics: str) -> int:
    """How many words of those mnemonics an engine's stream holds; all words where none is named."""
    stream = stage.stream(engine)
    if not mnemonics:
        return len(stream)
    return int(np.isin(stream["opcode"], [opcode(m) for m in mnemonics]).sum())


def triggers(stage: Stage) -> Triggers:
    """DMA work by trigger, engines in order."""
    dram_read, dram_written, moved = cost.dma_bytes(stage.descriptors, cost.sbuf_variables(stage))
    from_sbuf = np.where(stage.descriptors["src_var"] == word.SBUF_VARIABLE, moved, 0)
    to_sbuf = np.where(stage.descriptors["dst_var"] == word.SBUF_VARIABLE, moved, 0)
    words = np.concatenate([_only(stage.stream(e), "dma_trigger") for e in word.ENGINES])
    first = words["arg"].astype(np.int64)
    last = first + words["count"]
    debug = words["debug"].astype(np.int64)
    sums = (np.concatenate(([0], np.cumsum(c))) for c in (moved, dram_read, dram_written, from_sbuf, to_sbuf))
    return Triggers(debug, *(s[last] - s[first] for s in sums))


def started(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """Debug row of the trigger and row of every descriptor that a run starts, each as often as it does."""
    words = np.concatenate([_only(stage.stream(e), "dma_trigger") for e in word.ENGINES])
    count = words["count"].astype(np.int64)
    rows = np.repeat(words["arg"].astype(np.int64) - np.cumsum(count) + count, count) + np.arange(count.sum())
    return np.repeat(words["debug"].astype(np.int64), count), rows


def packets(stage: Stage, target: Target) -> tuple[int, int]:
    """DMA packets of a run, and ticks of the target that the DMA engines need for all of them."""
    _, rows = started(stage)
    if not len(rows):
        return 0, 0
    count, _ = cost.dma_shares(stage.descriptors, target)
    return int(count.sum(axis=1)[rows].sum()), int(cost.dma_ticks(stage.descriptors, target).sum(axis=1)[rows].sum())


def queue_bytes(stage: Stage, kind: str) -> int:
    """Bytes that a run moves from, and for outputs to, variables of a kind."""
    _, rows = started(stage)
    d = stage.descriptors[rows]
    ids = [v.id for v in stage.variables if v.kind == kind]
    moved = cost.dma_bytes(d)[2]
    return int(moved[np.isin(d["dst_var" if kind == OUTPUT else "src_var"], ids)].sum())


def least_read_bytes(stage: Stage) -> int:
    """Inputs and weights in DRAM that a run reads, each once; pinned weights are not among them."""
    _, rows = started(stage)
    read = set(np.unique(stage.descriptors["src_var"][rows]).tolist())
    kinds = (INPUT, WEIGHT)
    return sum(v.size_bytes for v in stage.variables if v.kind in kinds and v.space == IN_DRAM and v.id in read)


def evacuations(stage: Stage) -> tuple[int, int]:
    """Instructions that read PSUM and write SBUF, and the bytes they write."""
    count = total = 0
    for stream in stage.streams.values():
        from_psum = np.logical_or.reduce([(stream[s]["space"] & 3) == word.PSUM for s in ("src0", "src1")])
        rows = from_psum & ((stream["dst"]["space"] & 3) == word.SBUF)
        count += int(rows.sum())
        total += int(_operand_bytes(stream["dst"][rows]).sum())
    return count, total


def memory_bytes(stage: Stage) -> dict[str, int]:
    """Bytes that instructions and DMA read and write: keys `sbuf_read_bytes`, `psum_write_bytes` and so on."""
    totals = {f"{m}_{way}_bytes": 0 for m in ("sbuf", "psum") for way in ("read", "write")}
    found = triggers(stage)
    totals["sbuf_read_bytes"] += int(found.sbuf_read.sum())
    totals["sbuf_write_bytes"] += int(found.sbuf_written.sum())
    second_result = [i.opcode for i in SPEC if any(s.field == "src1" and s.role == "write" for s in i.operands)]
    for stream in stage.streams.values():
        for slot in ("dst", "src0", "src1"):
            writes = np.isin(stream["opcode"], second_result) if slot == "src1" else np.full(len(stream), slot == "dst")
            for memory, name in word.SPACE_NAMES.items():
                size = np.where(stream[slot]["space"] & 3 == memory, _operand_bytes(stream[slot]), 0)
                totals[f"{name}_write_bytes"] += int(size[writes].sum())
                totals[f"{name}_read_bytes"] += int(size[~writes].sum())
    return totals


def variable_bytes(stage: Stage) -> dict[str, int]:
    """Sizes of inputs, outputs and weights in DRAM."""
    return {kind: sum(v.size_bytes for v in stage.variables if v.kind == kind) for kind in (INPUT, OUTPUT, WEIGHT)}


def model_macs(stage: Stage) -> int:
    """Useful multiply-accumulates of the model in this stage."""
    return sum(d.macs for d in stage.debug)


def _only(stream: np.ndarray, mnemonic: str) -> np.ndarray:
    return stream[stream["opcode"] == opcode(mnemonic)]


def _matmuls(stage: Stage) -> np.ndarray:
    return _only(stage.stream("tensor"), "matmul")


def _transposing(words: np.ndarray) -> np.ndarray:
    return words["flags"] & SPEC.by_name["matmul"].flags["transpose"] != 0


def _flops(words: np.ndarray) -> np.ndarray:
    elements = np.prod(words["src0"]["size"].astype(np.int64), axis=1)
    return 2 * words["src0"]["partitions"].astype(np.int64) * words["dst"]["partitions"] * elements


def _operand_bytes(operand: np.ndarray) -> np.ndarray:
    elements = np.prod(operand["size"].astype(np.int64), axis=1) * operand["partitions"]
    return elements * dtypes.SIZES[operand["dtype"]]
