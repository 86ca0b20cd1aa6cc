"""Decision trees as linear algebra: what every spelling of a tree ensemble in ONNX comes down to.

A *test* is x[feature] < threshold, 0 or 1, with a stated answer for NaN. Every comparison of a node is one test, one
minus a test, or a sum of such; every leaf is reached exactly when a sum of tests along its path, each with a sign, is
as large as it can be. All of it is held in flat arrays: ensembles have hundreds of thousands of nodes.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
#: no tree is followed deeper
MOST_LEVELS = 1024
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Nodes:
    """The nodes of all trees, inner ones and leaves numbered together, as a model states them.

    Attributes:
        roots: int64 [trees].
        yes, no: int64 [nodes], children; -1 for leaves.
        mode: int64 [nodes], index into `MODES`; feature: int64; value: float32; tracks: bool, NaN goes to `yes`.
        members: node -> values of a BRANCH_MEMBER.
        leaf, target, weight: for every weight, sorted by leaf: the node, int64; the target, int64; float32.
    """

    roots: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    mode: np.ndarray
    feature: np.ndarray
    value: np.ndarray
    tracks: np.ndarray
    members: Mapping[int, tuple[float, ...]]
    leaf: np.ndarray
    target: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Tests:
    """x[feature] < threshold, each once: int64, float32 and bool (the answer for NaN) [tests]."""

    feature: np.ndarray
    threshold: np.ndarray
    nan: np.ndarray


@dataclass(frozen=True)
class Leaves:
    """The leaves of all trees, tree by tree from left to right, so that neighbours share most of their tests.

    Attributes:
        node: int64 [leaves]. tree: int64 [leaves].
        needed: int64 [leaves], the sum of sign * test that reaches it.
        first: int64 [leaves + 1]; entries first[k] .. first[k + 1] are those of leaf k.
        test, sign: int64 [entries].
        depth: int64 [leaves], how many nodes are above it.
    """

    node: np.ndarray
    tree: np.ndarray
    needed: np.ndarray
    first: np.ndarray
    test: np.ndarray
    sign: np.ndarray
    depth: np.ndarray


class TooLarge(ValueError):
    """Trees with more leaves than asked for."""


# ---- tests -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """What every node's true branch is the sum of: constant [nodes], and arrays of terms, sorted by node."""

    constant: np.ndarray
    node: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    nan: np.ndarray
    sign: np.ndarray


def below(value: np.ndarray, closed: bool) -> np.ndarray:
    """float32 thresholds t for which x < t means x < value, or x <= value.

    Where the next float32 is subnormal, the smallest normal one stands for it: the device takes both for zero.
    """
    value = np.asarray(value, np.float32)
    if not closed:
        return value
    with np.errstate(over="ignore"):
        after = np.nextafter(value, np.float32(np.inf))
    return np.where((after > 0) & (after < _TINY), np.float32(_TINY), after)


def terms_of(nodes: Nodes) -> Terms:
    """The tests in every comparison. NaN differs from everything, and equals nothing but where it is tracked."""
    parts: list[tuple[np.ndarray, ...]] = []
    constant = np.zeros(len(nodes.mode), np.int64)
    inner = nodes.yes >= 0

    def add(at: np.ndarray, values: np.ndarray, closed: bool, nan: np.ndarray | bool, sign: int) -> None:
        parts.append((at, nodes.feature[at], below(values, closed), np.broadcast_to(nan, at.shape),
                      np.full(len(at), sign)))

    for number, mode in enumerate(MODES[:6]):
        at = np.flatnonzero(inner & (nodes.mode == number))
        values, tracks = nodes.value[at], nodes.tracks[at]
        if mode in ("BRANCH_LEQ", "BRANCH_LT"):
            add(at, values, mode == "BRANCH_LEQ", tracks, 1)
        elif mode in ("BRANCH_GT", "BRANCH_GTE"):
            constant[at] = 1
            add(at, values, mode == "BRANCH_GT", ~tracks, -1)
        else:
            equal = mode == "BRANCH_EQ"
            constant[at] = 0 if equal else 1
            add(at, values, True, tracks if equal else False, 1 if equal else -1)
            add(at, values, False, False, -1 if equal else 1)
    for number, members in nodes.members.items():
        for k, member in enumerate(sorted(set(members))):
            at, value = np.array([number]), np.array([member])
            add(at, value, True, bool(nodes.tracks[number]) and k == 0, 1)
            add(at, value, False, False, -1)
    node, feature, threshold, nan, sign = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(node, kind="stable")
    return Terms(constant, node[order], feature[order], threshold[order], nan[order], sign[order])


def distinct(terms: Terms) -> tuple[Tests, np.ndarray]:
    """The tests among terms, each once, and the test of every term."""
    threshold = terms.threshold + np.float32(0)  # zero has one sign
    order = np.lexsort((terms.nan, threshold, terms.feature))
    columns = [terms.feature[order], threshold[order], terms.nan[order]]
    new = np.ones(len(order), bool)
    new[1:] = np.any([c[1:] != c[:-1] for c in columns], axis=0)
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new) - 1
    return Tests(*(c[new] for c in columns)), number


# ---- leaves ----------------------------------------------------------------------------------------------------------


def leaves_of(nodes: Nodes, terms: Terms, number: np.ndarray, most: int) -> Leaves:
    """Every way from a root to a leaf. number: the test of every term. Raises: TooLarge for more than `most` ways."""
    place, parent, branch, levels = _ways(nodes, most)
    left, tree = _order(parent, branch, levels)
    ends = np.flatnonzero(nodes.yes[place] < 0)
    ends = ends[np.lexsort((left[ends], tree[ends]))]
    needed = np.zeros(len(ends), np.int64)
    depth = np.zeros(len(ends), np.int64)
    first = np.concatenate([[0], np.cumsum(np.bincount(terms.node, minlength=len(nodes.yes)))])
    found: list[tuple[np.ndarray, ...]] = []
    leaf, at = np.arange(len(ends)), ends
    while len(leaf):
        up = parent[at] >= 0
        leaf, at = leaf[up], at[up]
        node, yes = place[parent[at]], branch[at]
        needed[leaf] += np.where(yes, 1 - terms.constant[node], terms.constant[node])
        depth[leaf] += 1
        counts = first[node + 1] - first[node]
        term = np.repeat(first[node] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
        sign = terms.sign[term] * np.repeat(np.where(yes, 1, -1), counts)
        found.append((np.repeat(leaf, counts), number[term], sign))
        at = parent[at]
    entry, test, sign = (np.concatenate(column) for column in zip(*found, strict=True))
    entry, test, sign = _summed(entry, test, sign)
    starts = np.searchsorted(entry, np.arange(len(ends) + 1))
    return Leaves(place[ends], tree[ends], needed, starts, test, sign, depth)


def _ways(nodes: Nodes, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Every way down, level by level: its last node, the way it continues (-1), by which branch; where levels start.

    Nodes that several branches lead to are on several ways.
    """
    total, ends, levels = len(nodes.roots), 0, [0]
    places, parents, branches = [nodes.roots], [np.full(total, -1)], [np.zeros(total, bool)]
    while True:
        last = places[-1]
        go = np.flatnonzero(nodes.yes[last] >= 0)
        ends += len(last) - len(go)
        levels.append(total)
        if ends + len(go) > most or len(levels) > MOST_LEVELS:
            raise TooLarge
        if not len(go):
            return np.concatenate(places), np.concatenate(parents), np.concatenate(branches), levels
        places.append(np.stack([nodes.yes[last[go]], nodes.no[last[go]]], 1).reshape(-1))
        parents.append(np.repeat(go + levels[-2], 2))
        branches.append(np.tile([True, False], len(go)))
        total += 2 * len(go)


def _order(parent: np.ndarray, branch: np.ndarray, levels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """For every way: how many leaves of its tree lie left of it, and its tree."""
    inner = np.zeros(len(parent), bool)
    inner[parent[parent >= 0]] = True
    under = (~inner).astype(np.int64)  # leaves of each way
    bounds = list(pairwise(levels))[1:]
    for low, high in reversed(bounds):
        under[parent[low:high:2]] = under[low:high:2] + under[low + 1:high:2]
    left = np.zeros(len(parent), np.int64)
    tree = np.arange(len(parent))
    for low, high in bounds:
        own = np.arange(low, high)
        left[own] = left[parent[own]] + np.where(branch[own], 0, under[own - 1])
        tree[own] = tree[parent[own]]
    return left, tree


def _summed(entry: np.ndarray, test: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same entries, sorted by leaf, with those of one test added up and zeros left out."""
    order = np.lexsort((test, entry))
    entry, test, sign = entry[order], test[order], sign[order]
    new = np.ones(len(entry), bool)
    new[1:] = (entry[1:] != entry[:-1]) | (test[1:] != test[:-1])
    starts = np.flatnonzero(new)
    total = np.add.reduceat(sign, starts) if len(starts) else sign
    kept = total != 0
    return entry[starts][kept], test[starts][kept], total[kept]
