"""A model as XGBoost stores it, whatever the format: plain arrays, checked, no graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from compiler.errors import ModelError

#: Trees deeper than this are refused: the host's evaluator of trees calls itself once for each level.
MOST_DEPTH = 4096


@dataclass(frozen=True)
class Forest:
    """Decision trees, one after the other in flat arrays of `nodes` entries.

    Attributes:
        starts: int64 [trees + 1], where each tree begins; its root is its first node.
        left, right: int32, children as numbers within the tree, -1 in both of a leaf.
        feature: int64, what a split looks at.
        threshold: float32; a feature below it goes left.
        default_left: bool, where a missing feature goes.
        values: float32 [nodes, outputs], of the leaves; elsewhere without meaning.
        groups: int64 [trees], the output a tree adds to; without meaning where leaves have several outputs.
        weights: float32 [trees], what the leaves of a tree are multiplied with (1 but for the booster dart).
        categories: node -> categories (whole numbers) that go right; such a node has no threshold.
    """

    starts: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    default_left: np.ndarray
    values: np.ndarray
    groups: np.ndarray
    weights: np.ndarray
    categories: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Linear:
    """Booster gblinear: `weights` float32 [features, outputs] and `bias` float32 [outputs]."""

    weights: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Learner:
    """What `Booster.predict` needs.

    Attributes:
        booster: "gbtree", "dart" or "gblinear".
        objective: as the file spells it.
        features: columns of the input.
        outputs: numbers that trees or weights add up to for each row: classes, targets, or 1.
        base_score: float32 [1] or [outputs].
        base_is_margin: whether `base_score` is added as it is; before release 1.0 files held it like that.
        model: the trees or weights.
        version: release that wrote the file, (0, 90) where it does not say.
    """

    booster: str
    objective: str
    features: int
    outputs: int
    base_score: np.ndarray
    base_is_margin: bool
    model: Forest | Linear
    version: tuple[int, ...]


def checked(forest: Forest, features: int, outputs: int, where: str) -> Forest:
    """The same trees without the nodes that no row can reach (pruned ones stay in files).

    Raises: ModelError XGBOOST_TREE for children, features or outputs that do not exist, nodes with two parents,
        thresholds that are no number, and trees too deep.
    """
    def fail(node: int, what: str, limit: object = None, actual: object = None) -> NoReturn:
        tree = int(np.searchsorted(forest.starts, node, "right")) - 1
        place = f"{where}: tree {tree}, node {node - int(forest.starts[tree])}"
        raise ModelError(what, code="XGBOOST_TREE", where=place, limit=limit, actual=actual)

    sizes = np.diff(forest.starts)
    if np.any(sizes < 1):
        raise ModelError("a tree has no node", code="XGBOOST_TREE", where=f"{where}: tree {int(np.argmin(sizes))}")
    if len(forest.groups) and not np.all((forest.groups >= 0) & (forest.groups < outputs)):
        raise ModelError("a tree adds to an output that does not exist", code="XGBOOST_TREE", where=where,
                         limit=outputs, actual=int(forest.groups[np.argmax((forest.groups < 0)
                                                                           | (forest.groups >= outputs))]))
    first = np.repeat(forest.starts[:-1], sizes)
    size = np.repeat(sizes, sizes)
    inner = forest.left != -1
    if np.any(bad := ~inner & (forest.right != -1)):
        fail(int(np.argmax(bad)), "a node has one child")
    for child in (forest.left, forest.right):
        if np.any(bad := inner & ((child <= 0) | (child >= size))):
            at = int(np.argmax(bad))
            fail(at, "a child does not exist", f"1..{int(size[at]) - 1}", int(child[at]))
    reached = _reached(forest, first, inner, fail)
    split = reached & inner
    if np.any(bad := split & ((forest.feature < 0) | (forest.feature >= features))):
        at = int(np.argmax(bad))
        fail(at, "a split looks at a feature that does not exist", features, int(forest.feature[at]))
    ordered = split.copy()
    ordered[list(forest.categories)] = False
    if np.any(bad := ordered & np.isnan(forest.threshold)):
        fail(int(np.argmax(bad)), "a threshold is not a number")
    if not np.all(np.isfinite(forest.values[reached & ~inner])) or not np.all(np.isfinite(forest.weights)):
        raise ModelError("a leaf's value is not a finite number", code="XGBOOST_TREE", where=where)
    return forest if np.all(reached) else _without(forest, reached, first)


def _reached(forest: Forest, first: np.ndarray, inner: np.ndarray, fail: Callable[..., NoReturn]) -> np.ndarray:
    """bool [nodes]: whether the root is an ancestor, found by doubling the steps that every node looks up."""
    nodes = len(forest.left)
    numbers = np.arange(nodes)
    parents = np.concatenate([numbers[inner]] * 2)
    children = np.concatenate([(first + forest.left)[inner], (first + forest.right)[inner]])
    counts = np.bincount(children, minlength=nodes)
    if np.any(counts > 1):
        fail(int(np.argmax(counts > 1)), "a node has two parents")
    up = numbers.copy()
    up[children] = parents
    depth = (up != numbers).astype(np.int64)
    for _ in range(max(1, int(np.diff(forest.starts).max(initial=1)).bit_length())):
        depth = depth + depth[up]
        up = up[up]
    reached: np.ndarray = up == first
    deepest = int(depth[reached].max(initial=0))
    if deepest > MOST_DEPTH:
        fail(int(np.argmax(np.where(reached, depth, 0))), "a tree is too deep", MOST_DEPTH, deepest)
    return reached


def _without(forest: Forest, kept: np.ndarray, first: np.ndarray) -> Forest:
    """The trees with some nodes taken out, which no kept node has as a child."""
    place = np.cumsum(kept) - 1
    starts = np.concatenate([[0], np.cumsum(np.add.reduceat(kept.astype(np.int64), forest.starts[:-1]))])
    moved = np.repeat(starts[:-1], np.diff(forest.starts))

    def renumbered(child: np.ndarray) -> np.ndarray:
        inner = child != -1
        out = np.where(inner, place[np.where(inner, first + child, 0)] - moved, -1)
        return out[kept].astype(np.int32)

    return Forest(starts, renumbered(forest.left), renumbered(forest.right), forest.feature[kept],
                  forest.threshold[kept], forest.default_left[kept], forest.values[kept], forest.groups,
                  forest.weights, {int(place[n]): c for n, c in forest.categories.items() if kept[n]})
