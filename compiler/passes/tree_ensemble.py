"""Decision trees as linear algebra: what every spelling of a tree ensemble in ONNX comes down to.

A *test* is x[feature] < threshold or <= threshold, 0 or 1, with a stated answer for NaN. Every comparison of a node is
one test, one minus a test, or a sum of such; every leaf is reached exactly when a sum of tests along its path, each
with a sign, is as large as it can be.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
LEAF = "LEAF"


@dataclass(frozen=True, order=True)
class Test:
    """x[feature] <= threshold (`closed`) or < threshold; NaN answers `nan`."""

    feature: int
    threshold: float
    closed: bool
    nan: bool


@dataclass(frozen=True)
class Sum:
    """constant + the sum of sign * test: a value that is 0 or 1 for every x."""

    constant: int
    terms: tuple[tuple[Test, int], ...]

    def negated(self) -> Sum:
        """1 - this."""
        return Sum(1 - self.constant, tuple((t, -s) for t, s in self.terms))


@dataclass
class Leaf:
    """Reached when the sum of sign * test is `needed`; then it adds a weight to some targets."""

    signs: dict[Test, int]
    needed: int
    weights: dict[int, float]


@dataclass
class Tree:
    """The leaves of one tree."""

    leaves: list[Leaf] = field(default_factory=list)

    def tests(self) -> list[Test]:
        """Every test on a path, each once, sorted."""
        return sorted({t for leaf in self.leaves for t in leaf.signs})


def decision(mode: str, feature: int, value: float, tracks: bool, members: tuple[float, ...] = ()) -> Sum:
    """The true branch of a node as a sum of tests; `tracks`: NaN takes the true branch."""
    def test(at: float, closed: bool, nan: bool) -> Test:
        return Test(feature, at, closed, nan)

    if mode in ("BRANCH_LEQ", "BRANCH_LT"):
        return Sum(0, ((test(value, mode == "BRANCH_LEQ", tracks), 1),))
    if mode in ("BRANCH_GT", "BRANCH_GTE"):
        return Sum(0, ((test(value, mode == "BRANCH_GT", not tracks), 1),)).negated()
    if mode == "BRANCH_NEQ":  # NaN differs from everything
        return Sum(0, ((test(value, True, False), 1), (test(value, False, False), -1))).negated()
    values = (value,) if mode == "BRANCH_EQ" else members
    terms: list[tuple[Test, int]] = []
    for k, member in enumerate(sorted(set(values))):
        terms += [(test(member, True, tracks and k == 0), 1), (test(member, False, False), -1)]
    return Sum(0, tuple(terms))


Branch = tuple[Sum, Any, Any]


def walk(root: Any, branches: Mapping[Any, Branch], weights: Mapping[Any, dict[int, float]]) -> Tree:
    """The tree under `root`: inner nodes in `branches` as (decision, true child, false child), leaves in `weights`."""
    tree = Tree()
    stack: list[tuple[Any, tuple[Sum, ...]]] = [(root, ())]
    while stack:
        at, path = stack.pop()
        if at in branches:
            sums, yes, no = branches[at]
            stack += [(no, (*path, sums.negated())), (yes, (*path, sums))]
        else:
            tree.leaves.append(_leaf(path, weights.get(at, {})))
    return tree


def _leaf(path: tuple[Sum, ...], weights: dict[int, float]) -> Leaf:
    signs: dict[Test, int] = {}
    for step in path:
        for test, sign in step.terms:
            signs[test] = signs.get(test, 0) + sign
    return Leaf({t: s for t, s in signs.items() if s}, len(path) - sum(s.constant for s in path), weights)


# ---- spellings -------------------------------------------------------------------------------------------------------


def classic(attrs: Mapping[str, Any], what: str) -> list[Tree]:
    """Trees of TreeEnsembleClassifier (`what` "class") and TreeEnsembleRegressor ("target").

    Raises: ValueError for a mode that does not exist.
    """
    keys = list(zip(attrs["nodes_treeids"], attrs["nodes_nodeids"], strict=True))
    values = _floats(attrs, "nodes_values")
    tracks = list(attrs.get("nodes_missing_value_tracks_true") or [0] * len(keys))
    branches: dict[Any, Branch] = {}
    for k, (tree, _) in enumerate(keys):
        mode = attrs["nodes_modes"][k]
        if mode == LEAF:
            continue
        if mode not in MODES[:6]:
            raise ValueError(f"the node mode {mode!r}")
        sums = decision(mode, int(attrs["nodes_featureids"][k]), float(values[k]), bool(tracks[k]))
        branches[keys[k]] = (sums, (tree, attrs["nodes_truenodeids"][k]), (tree, attrs["nodes_falsenodeids"][k]))
    weights: dict[Any, dict[int, float]] = {}
    for tree, at, target, weight in zip(attrs[f"{what}_treeids"], attrs[f"{what}_nodeids"], attrs[f"{what}_ids"],
                                        _floats(attrs, f"{what}_weights"), strict=True):
        mine = weights.setdefault((tree, at), {})
        mine[int(target)] = mine.get(int(target), 0.0) + float(weight)
    roots = {tree: key for key in reversed(keys) for tree in key[:1]}
    return [walk(roots[tree], branches, weights) for tree in sorted(roots)]


def modern(attrs: Mapping[str, Any]) -> list[Tree]:
    """Trees of TreeEnsemble."""
    splits, modes = np.asarray(attrs["nodes_splits"]), np.asarray(attrs["nodes_modes"])
    tracks = list(attrs.get("nodes_missing_value_tracks_true") or [0] * len(modes))
    members = _members(attrs)
    branches: dict[Any, Branch] = {}
    for k, mode in enumerate(modes.tolist()):
        own = next(members) if MODES[mode] == "BRANCH_MEMBER" else ()
        sums = decision(MODES[mode], int(attrs["nodes_featureids"][k]), float(splits[k]), bool(tracks[k]), own)
        ends = ((bool(attrs[f"nodes_{side}leafs"][k]), int(attrs[f"nodes_{side}nodeids"][k]))
                for side in ("true", "false"))
        branches[(False, k)] = (sums, *ends)  # type: ignore[assignment]
    weights = {(True, k): {int(target): float(weight)} for k, (target, weight) in
               enumerate(zip(attrs["leaf_targetids"], np.asarray(attrs["leaf_weights"]).tolist(), strict=True))}
    return [walk((False, int(root)), branches, weights) for root in attrs["tree_roots"]]


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
    """A list of floats, or the tensor that newer versions have beside it."""
    tensor = attrs.get(f"{name}_as_tensor")
    return np.asarray(tensor if tensor is not None else attrs.get(name) or [])
