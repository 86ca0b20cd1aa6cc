"""Faults seeded into compiled programs, each as a change of a few fields of one stage."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import numpy as np

from isa.program import Stage
from isa.spec import SPEC
from isa.word import ENGINES, SBUF_PARTITION_STRIDE

MATMUL, NOP, TRIGGER = (SPEC.by_name[n].opcode for n in ("matmul", "nop", "dma_trigger"))
START, STOP = 1, 2


class NoSuchPlace(Exception):
    """The program has nothing this fault could be seeded into."""


def pick(rng: random.Random, stage: Stage, engine: str, chosen: np.ndarray) -> tuple[np.ndarray, int]:
    """A writable copy of the engine's stream, put into the stage, and one of the chosen rows."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        raise NoSuchPlace
    stage.streams[engine] = stage.stream(engine).copy()
    return stage.streams[engine], int(rng.choice(rows.tolist()))


def shifted_address(stage: Stage, rng: random.Random) -> None:
    """A vector or scalar word reads its tile from an address nobody ever writes."""
    engine = rng.choice(("vector", "scalar"))
    stream = stage.stream(engine)
    words, row = pick(rng, stage, engine, (stream["src0"]["space"] == 1) & (stream["src0"]["step"] >= 0).all(axis=1))
    words["src0"]["start"][row] = unused_byte(stage)


def shifted_result(stage: Stage, rng: random.Random) -> None:
    """A transfer puts its tile where nobody looks: whoever reads the tile reads what was never written."""
    loads = first_writers(stage)
    if not loads:
        raise NoSuchPlace
    stage.descriptors = stage.descriptors.copy()
    chosen = rng.choice(loads)
    offset = int(stage.descriptors["dst_off"][chosen])
    stage.descriptors["dst_off"][chosen] = offset - offset % SBUF_PARTITION_STRIDE + unused_byte(stage)


def unwritten_tile(stage: Stage, rng: random.Random) -> None:
    """A load leaves the last partition of its tile out."""
    d = stage.descriptors
    crossing = d["dst_step"] == SBUF_PARTITION_STRIDE
    loads = [(k, int(crossing[k].argmax())) for k in first_writers(stage)]
    loads = [(k, dim) for k, dim in loads if crossing[k, dim] and d["size"][k, dim] > 1]
    if not loads:
        raise NoSuchPlace
    stage.descriptors = d.copy()
    stage.descriptors["size"][rng.choice(loads)] -= 1


def transfer_spans(stage: Stage, side: str) -> dict[int, tuple[int, int]]:
    """Descriptor -> bytes of each partition that it touches in SBUF, first and one past the last."""
    d = stage.descriptors
    rows = np.flatnonzero(d[f"{side}_var"] == 0)
    low = d[f"{side}_off"] % SBUF_PARTITION_STRIDE
    steps = d[f"{side}_step"]
    inside = np.where(np.abs(steps) < SBUF_PARTITION_STRIDE // 2, steps, 0)
    high = low + (inside * (d["size"].astype(np.int64) - 1)).sum(axis=1) + 4
    return {int(k): (int(low[k]), int(high[k])) for k in rows}


def word_spans(stage: Stage, field: str) -> list[tuple[int, int]]:
    """The same of one operand field of all words."""
    operands = np.concatenate([stage.stream(e)[field] for e in ENGINES])
    operands = operands[operands["space"] & 3 == 1]
    reach = (np.maximum(operands["step"], 0).astype(np.int64) * (operands["size"].astype(np.int64) - 1)).sum(axis=1)
    return [(int(o["start"]), int(o["start"]) + 4 * int(r) + 4) for o, r in zip(operands, reach, strict=True)]


def first_writers(stage: Stage) -> list[int]:
    """Descriptors into SBUF whose bytes no other descriptor and no word writes."""
    into, by_words = transfer_spans(stage, "dst"), word_spans(stage, "dst")

    def alone(a: int, b: int) -> bool:
        others = (*into.values(), *by_words)
        return sum(x < b and a < y for x, y in others) == 1

    return [k for k, (a, b) in into.items() if alone(a, b)]


def unused_byte(stage: Stage) -> int:
    """First byte of the largest hole between the bytes that anything touches (operands of v1 and v2 end below it)."""
    spans = [*transfer_spans(stage, "dst").values(), *transfer_spans(stage, "src").values()]
    for field in ("dst", "src0", "src1"):
        spans += word_spans(stage, field)
    end, best = 0, (0, 0)
    for a, b in sorted(spans):
        best = max(best, (a - end, end))
        end = max(end, b)
    return best[1]


def missing_start_bit(stage: Stage, rng: random.Random) -> None:
    words = stage.stream("tensor")
    words, row = pick(rng, stage, "tensor", (words["opcode"] == MATMUL) & (words["flags"] & START != 0))
    words["flags"][row] ^= START


def open_group_read(stage: Stage, rng: random.Random) -> None:
    """The stop bit is missing: the group is still open when its result is read."""
    words = stage.stream("tensor")
    words, row = pick(rng, stage, "tensor", (words["opcode"] == MATMUL) & (words["flags"] & STOP != 0))
    words["flags"][row] ^= STOP


def circular_wait(stage: Stage, rng: random.Random) -> None:
    """Two engines, each of whose first words waits for the other's."""
    for k, engine in enumerate(("vector", "scalar")):
        word = np.zeros(1, dtype=stage.stream(engine).dtype)
        word["opcode"] = NOP
        word["wait_sem"][0, 0], word["wait_val"][0, 0] = (14, 1) if k else (15, 1)
        word["post_sem"], word["post_inc"] = (15, 1) if k else (14, 1)
        stage.streams[engine] = np.concatenate([word, stage.stream(engine)])


def dropped_wait(stage: Stage, rng: random.Random) -> None:
    """All waits of one engine."""
    engine = rng.choice([e for e in ENGINES if stage.stream(e)["wait_sem"].any()])
    stage.streams[engine] = stage.stream(engine).copy()
    stage.streams[engine]["wait_sem"] = stage.streams[engine]["wait_val"] = 0


FAULTS: Mapping[str, tuple[Callable[[Stage, random.Random], None], frozenset[str]]] = {
    "shifted address": (shifted_address, frozenset({"READ_UNWRITTEN"})),
    "shifted result": (shifted_result, frozenset({"READ_UNWRITTEN"})),
    "unwritten tile": (unwritten_tile, frozenset({"READ_UNWRITTEN"})),
    "missing start bit": (missing_start_bit, frozenset({"PSUM_NOT_STARTED", "PSUM_CLOSED"})),
    "open group read": (open_group_read, frozenset({"PSUM_READ_OPEN"})),
    "circular wait": (circular_wait, frozenset({"CIRCULAR_WAIT"})),
    "dropped waits": (
        dropped_wait,
        frozenset({"RACE_WRITE_READ", "RACE_READ_WRITE", "RACE_WRITE_WRITE", "READ_UNWRITTEN"}),
    ),
}
