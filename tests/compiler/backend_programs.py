"""Programs for the backend tests: a seeded random mix of all kinds of instructions, and an independent order
checker."""

from __future__ import annotations

import random

import numpy as np

from isa import target
from isa.dtypes import SIZES
from isa.lang import TileProgram, View
from isa.program import Stage
from isa.target import Target
from isa.word import ENGINES, SBUF_PARTITION_STRIDE

TRIGGER, MATMUL = 0x41, 0x02
Cell = tuple[str, int, int]  # (memory or variable, partition, byte)


def small_target(sbuf: int = 4096) -> Target:
    """A trn1 core with little SBUF, so that addresses are reused often."""
    return target.load("trn1.2xlarge").with_params({"sbuf.partition_bytes": sbuf})


def random_program(seed: int, length: int, machine: Target, weights: int = 0) -> TileProgram:
    """Loads, stores, moves, matmuls and elementwise work on sub-views; every instruction is a layer of its own.

    Each of the first `weights` brings a constant in a tile of its own, filled by one or two loads, that later ones
    may read.
    """
    rng = random.Random(seed)
    p = TileProgram(machine)
    x, y = p.input("x", (4, 64), "fp32"), p.output("y", (64, 64), "fp32")
    tiles: list[View] = []
    fixed: list[View] = []
    for n in range(length):
        with p.layer(str(n)):
            if n < weights:
                fixed.append(_weight(p, rng, n))
            if len(tiles) < 3 or rng.random() < 0.3:
                t = p.sbuf((4, 32 * rng.choice((1, 2, 4))), "fp32")
                p.dma(t[:, :32], x[:, :32]) if rng.random() < 0.6 else p.memset(
                    t, 1.0, engine=rng.choice(("vector", "gpsimd"))
                )
                tiles = [*tiles, t][-6:]
                continue
            _random_step(p, rng, tiles, y, fixed)
    with p.layer("last"):
        p.dma(y[:4, :32], tiles[-1][:, :32])
    return p


def _weight(p: TileProgram, rng: random.Random, number: int) -> View:
    values = np.random.default_rng(number).standard_normal((4, 32 * rng.choice((1, 2, 4)))).astype(np.float32)
    dram = p.constant(f"weight{number}", values)
    tile = p.sbuf(values.shape, "fp32")
    cut = rng.choice((0, values.shape[1] // 2))
    for lo, hi in ((0, cut), (cut, values.shape[1])):
        if lo < hi:
            p.dma(tile[:, lo:hi], dram[:, lo:hi])
    return tile


def _random_step(p: TileProgram, rng: random.Random, tiles: list[View], y: object, fixed: list[View]) -> None:
    pools = tiles, [*tiles, *fixed], [*tiles, *fixed]
    a, b, c = (t[:, k : k + 16] for t, k in ((rng.choice(pool), rng.choice((0, 8, 16))) for pool in pools))
    kind = rng.randrange(6)
    if kind == 0:
        p.tensor_tensor(a, b, c, "add", engine=rng.choice(("vector", "gpsimd")))
    elif kind == 1:
        p.activation(a, b, "relu", bias=c[:, :1])
    elif kind == 2:
        row = rng.randrange(16) * 4
        p.dma(y[row : row + 4, rng.choice((0, 16)) :][:, :16], b)  # type: ignore[index]
    elif kind == 3:
        p.dma(a, b)
    else:
        ps = p.psum((16, 16))
        p.load_stationary(b)
        p.matmul(ps, c, start=True, stop=False)
        p.matmul(ps, b, start=False)
        p.activation(a, ps[:4], "copy")


class Order:
    """Happens-before of the contract, rebuilt from the arrays alone: event -> bit set of events that precede it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.words = [(e, i) for e in ENGINES for i in range(len(stage.stream(e)))]
        events = {
            (kind, w): k for k, (kind, w) in enumerate((kind, w) for w in self.words for kind in ("start", "end"))
        }
        edges: dict[int, set[int]] = {k: set() for k in events.values()}
        posts = self._posts(events, edges)
        for e, i in self.words:
            word = stage.stream(e)[i]
            for sem, value in zip(word["wait_sem"].tolist(), word["wait_val"].tolist()):
                if sem:
                    each = 16 if sem >= 16 else 1
                    assert value % each == 0
                    edges[events["start", (e, i)]].add(posts[sem][value // each - 1])
        self.events = events
        self.before = _closure(edges)

    def _posts(
        self, events: dict[tuple[str, tuple[str, int]], int], edges: dict[int, set[int]]
    ) -> dict[int, list[int]]:
        """Edges inside engines; for each semaphore the events that post to it, in order."""
        posts: dict[int, list[int]] = {}
        for e in ENGINES:
            retired = None
            for i, word in enumerate(self.stage.stream(e)):
                start, end = events["start", (e, i)], events["end", (e, i)]
                edges[end].add(start)
                if i:
                    edges[start].add(events["start", (e, i - 1)])
                if word["opcode"] != TRIGGER:
                    if retired is not None:
                        edges[end].add(retired)
                    retired = end
                if word["post_sem"]:
                    posts.setdefault(int(word["post_sem"]), []).append(end)
        return posts

    def precedes(self, a: tuple[str, int], b: tuple[str, int]) -> bool:
        """The effects of word a are complete when word b starts."""
        return bool(self.before[self.events["start", b]] >> self.events["end", a] & 1)


def _closure(edges: dict[int, set[int]]) -> dict[int, int]:
    out: dict[int, int] = {}
    state: dict[int, int] = {}
    for root in edges:
        stack = [root]
        while stack:
            k = stack[-1]
            todo = [j for j in edges[k] if j not in out]
            if k not in out and todo:
                assert state.get(k, 0) <= len(edges[k]), "the waits form a cycle"
                state[k] = state.get(k, 0) + 1
                stack += todo
                continue
            stack.pop()
            bits = 0
            for j in edges[k]:
                bits |= out[j] | 1 << j
            out[k] = bits
    return out


def cells(stage: Stage, engine: str, index: int) -> tuple[set[Cell], set[Cell]]:
    """(cells read, cells written) by a word, from its encoded fields."""
    word = stage.stream(engine)[index]
    if word["opcode"] == TRIGGER:
        return _transfer_cells(stage.descriptors[word["arg"] : word["arg"] + word["count"]])
    reads, writes = set(), _operand_cells(word["dst"])
    for field in ("src0", "src1"):
        reads |= _operand_cells(word[field])
    for field in ("ptr0", "ptr1"):
        if word[field]["space"]:
            for p in range(word["dst"]["partitions"]):
                reads |= {
                    (str(word[field]["space"]), int(word[field]["partition"]) + p, int(word[field]["start"]) + k)
                    for k in range(4)
                }
    if word["opcode"] == MATMUL and not word["flags"] & 1:
        reads |= writes
    return reads, writes


def _operand_cells(operand: np.void) -> set[Cell]:
    if not operand["space"]:
        return set()
    width = int(SIZES[operand["dtype"]])
    return {
        (str(operand["space"]), int(operand["partition"]) + p, int(operand["start"]) + byte)
        for p in range(operand["partitions"])
        for at in np.ndindex(*operand["size"].tolist())
        for byte in range(
            int(np.dot(at, operand["step"].astype(int))) * width,
            int(np.dot(at, operand["step"].astype(int))) * width + width,
        )
    }


def _transfer_cells(descriptors: np.ndarray) -> tuple[set[Cell], set[Cell]]:
    out: tuple[set[Cell], set[Cell]] = (set(), set())
    for d in descriptors:
        for side, found in (("src", out[0]), ("dst", out[1])):
            width, var = int(SIZES[d[f"{side}_dtype"]]), int(d[f"{side}_var"])
            for at in np.ndindex(*d["size"].tolist()):
                where = int(d[f"{side}_off"]) + int(np.dot(at, d[f"{side}_step"]))
                p, byte = divmod(where, SBUF_PARTITION_STRIDE) if var == 0 else (0, where)
                found |= {("1" if var == 0 else f"dram{var}", p, byte + k) for k in range(width)}
    return out
