"""Leaves cut into blocks the size of the PE. Leaves beside each other share most of their tests, so that the blocks of
a tree of many leaves grow with their number, and not with its square."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.passes.split_products import PARTS
from compiler.passes.tree_ensemble import Leaves, Nodes, Tests, TooLarge, distinct, leaves_of, terms_of

#: leaves, and tests, of one block: the rows and columns of the PE
BLOCK = 128
#: most bytes of the matrices of one ensemble
MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class Plan:
    """An ensemble cut into blocks of at most BLOCK leaves that ask at most BLOCK tests.

    Attributes:
        tests: those of all blocks.
        leaves: of all blocks, in the blocks' order. nodes: what they are nodes of.
        block: int64 [leaves], which block each is in. slot: int64 [leaves], its place there.
        asked: int64 [blocks, BLOCK], the test at every place, -1 at places left over.
        row: int64 [entries of `leaves`], the place of the entry's test.
    """

    nodes: Nodes
    tests: Tests
    leaves: Leaves
    block: np.ndarray
    slot: np.ndarray
    asked: np.ndarray
    row: np.ndarray


def blocks_of(nodes: Nodes, features: int) -> Plan | str:
    """The leaves in their order, as many to a block as it takes; or why that is too much for the device.

    Args:
        features: columns that a test may ask.
    """
    column = BLOCK * (2 * PARTS * features + BLOCK) * 2  # bytes of a block's matrices at the most
    most = max(1, MOST_BYTES // column) * BLOCK
    try:
        if np.count_nonzero(nodes.yes < 0) > most:
            raise TooLarge
        terms = terms_of(nodes)
        tests, number = distinct(terms)
        leaves = leaves_of(nodes, terms, number, most)
    except TooLarge:
        return f"it has more than {most} leaves, whose matrices would exceed {MOST_BYTES >> 20} MiB"
    counts = np.diff(leaves.first)
    if counts.max(initial=0) > BLOCK:
        return f"a leaf depends on {int(counts.max())} comparisons, more than {BLOCK}"
    block, slot = np.empty(len(counts), np.int64), np.empty(len(counts), np.int64)
    row: list[np.ndarray] = []
    asked: list[np.ndarray] = []
    low = 0
    while low < len(counts):
        high, own, places = _next(leaves, low)
        block[low:high], slot[low:high] = len(asked), np.arange(high - low)
        asked.append(np.concatenate([own, np.full(BLOCK - len(own), -1)]))
        row.append(places)
        low = high
    return Plan(nodes, tests, leaves, block, slot, np.array(asked), np.concatenate(row))


def _next(leaves: Leaves, low: int) -> tuple[int, np.ndarray, np.ndarray]:
    """The end of a block that begins with leaf `low`, its tests, and the place among them of every entry."""
    high = min(low + BLOCK, len(leaves.node))
    begin = int(leaves.first[low])
    asked, seen, places = np.unique(leaves.test[begin:leaves.first[high]], return_index=True, return_inverse=True)
    if len(asked) > BLOCK:
        high = int(np.searchsorted(leaves.first, begin + np.sort(seen)[BLOCK], "right")) - 1
        asked, places = np.unique(leaves.test[begin:leaves.first[high]], return_inverse=True)
    return high, asked, places.reshape(-1)
