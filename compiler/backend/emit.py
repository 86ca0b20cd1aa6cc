"""Rows in scheduled order to engine streams: each engine's words, waits and posts filled in, spare waits on nops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.backend.synchronise import Waits
from isa.spec import SPEC
from isa.word import ENGINES, WORD

WAITS = 2  # fields of a word
_NOP = SPEC.by_name["nop"].opcode


def streams(words: np.ndarray, order: Sequence[int], engines: Sequence[int], sync: Waits) -> dict[str, np.ndarray]:
    """Engine name -> [n] `WORD`, for engines that have instructions.

    Args: words: [n] rows in program order with final addresses. sync: waits and posts by position in `order`.
    """
    rows: list[list[int]] = [[] for _ in ENGINES]  # row, or -1 - (row the nop stands before)
    waits: list[list[tuple[int, int, int, int]]] = [[] for _ in ENGINES]
    posts: list[list[tuple[int, int]]] = [[] for _ in ENGINES]
    for at, i in enumerate(order):
        e, need = engines[i], sync.waits[at]
        while len(need) > WAITS:
            rows[e].append(-1 - i)
            waits[e].append((*need[0], *need[1]))
            posts[e].append((0, 0))
            need = need[WAITS:]
        rows[e].append(i)
        waits[e].append(_two(need))
        posts[e].append(sync.posts[at])
    return {name: _stream(words, rows[e], waits[e], posts[e]) for e, name in enumerate(ENGINES) if rows[e]}


def _two(need: Sequence[tuple[int, int]]) -> tuple[int, int, int, int]:
    a = need[0] if need else (0, 0)
    b = need[1] if len(need) > 1 else (0, 0)
    return *a, *b


def _stream(
    words: np.ndarray, rows: list[int], waits: list[tuple[int, int, int, int]], posts: list[tuple[int, int]]
) -> np.ndarray:
    index = np.array(rows, dtype=np.int64)
    nop = index < 0
    out = words[np.where(nop, -1 - index, index)]
    if nop.any():
        debug = out["debug"][nop]
        out[nop] = np.zeros(1, dtype=WORD)
        out["opcode"][nop] = _NOP
        out["debug"][nop] = debug
    table = np.array(waits, dtype=np.int64).reshape(-1, 2 * WAITS)
    out["wait_sem"], out["wait_val"] = table[:, 0::2], table[:, 1::2]
    post = np.array(posts, dtype=np.int64).reshape(-1, 2)
    out["post_sem"], out["post_inc"] = post[:, 0], post[:, 1]
    return out
