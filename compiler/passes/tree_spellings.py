"""The two ways in which ONNX writes trees down, read into the same arrays."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from compiler.passes.tree_ensemble import MODES, Nodes

LEAF = "LEAF"


def classic(attrs: Mapping[str, Any], what: str) -> Nodes:
    """Trees of TreeEnsembleClassifier (`what` "class") and TreeEnsembleRegressor ("target").

    Raises: ValueError for a mode that does not exist.
    """
    trees, ids = (np.asarray(attrs[f"nodes_{n}"], np.int64) for n in ("treeids", "nodeids"))
    modes = np.asarray(attrs["nodes_modes"])
    kinds, mode = np.unique(modes, return_inverse=True)
    numbers = {**{m: k for k, m in enumerate(MODES[:6])}, LEAF: -1}
    if unknown := [str(k) for k in kinds if str(k) not in numbers]:
        raise ValueError(f"the node mode {unknown[0]!r}")
    mode = np.array([numbers[str(k)] for k in kinds], np.int64)[mode.reshape(-1)]
    find = _Finder(trees, ids)
    inner = np.flatnonzero(mode >= 0)
    yes, no = np.full(len(ids), -1), np.full(len(ids), -1)
    for side, name in ((yes, "true"), (no, "false")):
        side[inner] = find(trees[inner], np.asarray(attrs[f"nodes_{name}nodeids"], np.int64)[inner])
    tracks = np.asarray(attrs.get("nodes_missing_value_tracks_true") or [0] * len(ids), bool)
    leaf = find(*(np.asarray(attrs[f"{what}_{n}"], np.int64) for n in ("treeids", "nodeids")))
    order = np.argsort(leaf, kind="stable")
    first = np.unique(trees, return_index=True)[1]
    return Nodes(first, yes, no, mode, np.asarray(attrs["nodes_featureids"], np.int64), _floats(attrs, "nodes_values"),
                 tracks, {}, leaf[order], np.asarray(attrs[f"{what}_ids"], np.int64)[order],
                 _floats(attrs, f"{what}_weights")[order])


class _Finder:
    """Positions of nodes by (tree, number). Raises: ValueError for one that does not exist."""

    def __init__(self, trees: np.ndarray, ids: np.ndarray) -> None:
        self.order = np.lexsort((ids, trees))
        self.width = int(ids.max(initial=0)) + 1
        self.keys = trees[self.order] * self.width + ids[self.order]

    def __call__(self, trees: np.ndarray, ids: np.ndarray) -> np.ndarray:
        wanted = trees * self.width + ids
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        if np.any(self.keys[at] != wanted) or np.any((ids < 0) | (ids >= self.width)):
            raise ValueError("a node that does not exist")
        found: np.ndarray = self.order[at]
        return found


def modern(attrs: Mapping[str, Any]) -> Nodes:
    """Trees of TreeEnsemble: leaves are numbered after the inner nodes."""
    mode = np.asarray(attrs["nodes_modes"]).astype(np.int64)
    inner, count = len(mode), len(attrs["leaf_targetids"])
    yes, no = np.full(inner + count, -1), np.full(inner + count, -1)
    for side, name in ((yes, "true"), (no, "false")):
        numbers = np.asarray(attrs[f"nodes_{name}nodeids"], np.int64)
        side[:inner] = numbers + np.where(np.asarray(attrs[f"nodes_{name}leafs"], bool), inner, 0)
    tracks = np.asarray(attrs.get("nodes_missing_value_tracks_true") or [0] * inner, bool)
    sets = _members(attrs)
    members = {int(k): next(sets) for k in np.flatnonzero(mode == MODES.index("BRANCH_MEMBER"))}

    def wide(values: Any, kind: Any) -> np.ndarray:
        return np.concatenate([np.asarray(values).astype(kind), np.zeros(count, kind)])

    return Nodes(np.asarray(attrs["tree_roots"], np.int64), yes, no, wide(mode, np.int64),
                 wide(attrs["nodes_featureids"], np.int64), wide(attrs["nodes_splits"], np.float32), wide(tracks, bool),
                 members, inner + np.arange(count), np.asarray(attrs["leaf_targetids"], np.int64),
                 np.asarray(attrs["leaf_weights"]).astype(np.float32))


def _members(attrs: Mapping[str, Any]) -> Iterator[tuple[float, ...]]:
    """Sets of the membership nodes, in the nodes' order; each ends with NaN."""
    mine: list[float] = []
    for value in np.asarray(attrs.get("membership_values", ())).reshape(-1).tolist():
        if np.isnan(value):
            yield tuple(mine)
            mine = []
        else:
            mine.append(value)


def _floats(attrs: Mapping[str, Any], name: str) -> np.ndarray:
    """float32: a list of floats, or the tensor that newer versions have beside it."""
    tensor = attrs.get(f"{name}_as_tensor")
    return np.asarray(tensor if tensor is not None else attrs.get(name) or [], np.float32).reshape(-1)
