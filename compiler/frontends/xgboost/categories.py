"""Splits by category: whether a feature's category is in a node's set becomes a column of its own, 0 or 1.

The node then asks that column, which costs the trees nothing: a set of a hundred categories is one comparison. A
category is the whole part of a feature. One that is in no set goes left; up to release 1.6, one that is negative or
beyond the set's bits goes where a missing one goes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.xgboost.learner import Forest

_FIRST_LENIENT = (1, 7)
_WORD = 32  # categories in a word of a set's bits
#: Elements of the tables of one model.
_MOST_ELEMENTS = 1 << 27


def as_columns(b: GraphBuilder, features: str, forest: Forest, version: tuple[int, ...]) -> tuple[str, Forest]:
    """The features with a column added for every set that some node asks for, and trees of thresholds alone."""
    count = b.shape(features)[1]
    sets: dict[int, dict[bytes, list[int]]] = {}
    for node, mine in forest.categories.items():
        sets.setdefault(int(forest.feature[node]), {}).setdefault(mine.tobytes(), []).append(node)
    asked, threshold = forest.feature.copy(), forest.threshold.copy()
    columns, elements = [features], 0
    for feature in sorted(sets):
        nodes = list(sets[feature].values())
        members = [forest.categories[same[0]] for same in nodes]
        borders, signs = _borders(members)
        elements += signs.size
        if elements > _MOST_ELEMENTS:
            raise ModelError("the sets of categories are too many and too large", code="XGBOOST_CATEGORIES",
                             where=b.where, limit=_MOST_ELEMENTS)
        columns.append(_column(b, features, feature, borders, signs, members, version < _FIRST_LENIENT))
        for k, same in enumerate(nodes):
            asked[same], threshold[same] = count + k, 0.5
        count += len(nodes)
    return b.op("Concat", columns, axis=1), replace(forest, feature=asked, threshold=threshold, categories={})


def _borders(members: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers where a set begins or ends, float32 [borders], and what "x < border" counts in each set [borders, sets].

    A set is the sum of its runs of whole numbers, and x is in a run when it is below its end and not below its begin.
    """
    wanted = []
    for mine in members:
        known = np.concatenate([[False], np.diff(mine) == 1]) if len(mine) else np.zeros(0, bool)
        last = np.concatenate([~known[1:], [True]]) if len(mine) else known
        wanted.append((mine[~known], mine[last] + 1))
    borders = np.unique(np.concatenate([np.zeros(0, np.int64), *(a for pair in wanted for a in pair)]))
    signs = np.zeros((len(borders), len(members)), np.float32)
    for k, (begin, end) in enumerate(wanted):
        signs[np.searchsorted(borders, begin), k] -= 1
        signs[np.searchsorted(borders, end), k] += 1
    return borders.astype(np.float32), signs


def _column(b: GraphBuilder, features: str, feature: int, borders: np.ndarray, signs: np.ndarray,
            members: list[np.ndarray], strict: bool) -> str:
    """float32 [rows, sets]: 1 where the category is in a set, 0 where it is not, NaN where it counts as missing."""
    x = b.op("Slice", [features, np.array([feature]), np.array([feature + 1]), np.array([1])])
    if not len(borders):
        inside = b.op("Mul", [b.op("Expand", [x, np.array([1, len(members)])]), np.float32(0)])
    else:
        inside = b.op("MatMul", [b.op("Cast", [b.op("Less", [x, borders[None, :]])], to=1), signs])
    missing = b.op("IsNaN", [x])
    if strict:
        ends = [(int(m[-1]) // _WORD + 1) * _WORD if len(m) else 0 for m in members]
        beyond = b.op("GreaterOrEqual", [x, np.array([ends], np.float32)])
        missing = b.op("Or", [missing, b.op("Or", [b.op("Less", [x, np.float32(0)]), beyond])])
    return b.op("Where", [missing, np.float32(np.nan), inside])
