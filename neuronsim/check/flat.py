"""The words of one core as flat arrays: all engines concatenated in engine order."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isa.program import Stage
from isa.word import ENGINES, WORD

DMA_TRIGGER = 0x41  # opcode; source: instruction table, docs/architecture.md


@dataclass(frozen=True)
class Flat:
    """Words of a stage by op number (position in the concatenation; a transfer has the op of its `dma_trigger`).

    Attributes:
        words: [n] `isa.word.WORD`.
        offsets: int64[6], first op of each engine and n.
        engine: int32[n] engine number of each op.
        transfer: int32[n] number of the transfer the op triggers, -1 for other words.
        transfers: how many transfers there are.
        wait_sem, wait_val: int32[n, 2] and int64[n, 2]; semaphore 0 means no wait.
        post_sem, post_inc: int32[n] and int64[n]; a transfer posts one per DMA engine.
        prefix: of engine names, "init." for what runs when a stage is loaded.
    """

    words: np.ndarray
    offsets: np.ndarray
    engine: np.ndarray
    transfer: np.ndarray
    transfers: int
    wait_sem: np.ndarray
    wait_val: np.ndarray
    post_sem: np.ndarray
    post_inc: np.ndarray
    prefix: str = ""

    def place(self, op: int) -> tuple[str, int]:
        """Engine name and index in its stream of an op."""
        e = int(self.engine[op])
        return self.prefix + ENGINES[e], int(op - self.offsets[e])

    def op(self, engine: str, index: int) -> int:
        return int(self.offsets[ENGINES.index(engine.removeprefix(self.prefix))]) + index

    def without_wait(self, op: int, slot: int) -> Flat:
        """The same program with one wait removed."""
        wait_sem, wait_val = self.wait_sem.copy(), self.wait_val.copy()
        wait_sem[op, slot] = wait_val[op, slot] = 0
        return replace(self, wait_sem=wait_sem, wait_val=wait_val)


def flatten(stage: Stage, dma_engines: int, prefix: str = "") -> Flat:
    """Return the flat form of a stage; `dma_engines` is how many posts a transfer makes."""
    streams = [np.asarray(stage.stream(e)) for e in ENGINES]
    words = np.concatenate(streams) if any(len(s) for s in streams) else np.zeros(0, dtype=WORD)
    lengths = np.array([len(s) for s in streams], dtype=np.int64)
    is_transfer = words["opcode"] == DMA_TRIGGER
    transfers = int(np.count_nonzero(is_transfer))
    transfer = np.full(len(words), -1, dtype=np.int32)
    transfer[is_transfer] = np.arange(transfers, dtype=np.int32)
    posts = words["post_sem"].astype(np.int32)
    return Flat(
        words=words,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        engine=np.repeat(np.arange(len(ENGINES), dtype=np.int32), lengths),
        transfer=transfer,
        transfers=transfers,
        wait_sem=words["wait_sem"].astype(np.int32),
        wait_val=words["wait_val"].astype(np.int64),
        post_sem=posts,
        post_inc=np.where(is_transfer, dma_engines, words["post_inc"]).astype(np.int64) * (posts != 0),
        prefix=prefix,
    )
