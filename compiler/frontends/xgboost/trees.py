"""Trees as ONNX's TreeEnsembleRegressor: sums of leaves [rows, outputs]."""

from __future__ import annotations

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.xgboost.learner import Forest


def margins(b: GraphBuilder, features: str, forest: Forest, base: np.ndarray) -> str:
    """float32 [rows, outputs]: `base` float32 [outputs] and the leaves that each row of `features` comes to.

    A split is "x < threshold" and a missing feature takes the side its node states: both as XGBoost has it.
    """
    outputs = len(base)
    if len(forest.starts) == 1:
        return b.op("Expand", [base[None, :], np.array([b.shape(features)[0], outputs])])
    count = len(forest.left)
    trees = np.repeat(np.arange(len(forest.starts) - 1), np.diff(forest.starts))
    numbers = np.arange(count) - forest.starts[trees]
    leaf = forest.left == -1
    leaves = np.flatnonzero(leaf)
    values = forest.values * forest.weights[trees][:, None]
    targets = np.arange(outputs)[None, :] if values.shape[1] > 1 else forest.groups[trees[leaves]][:, None]
    wide = values.shape[1]
    return b.op(
        "TreeEnsembleRegressor", [features], domain="ai.onnx.ml", n_targets=outputs, aggregate_function="SUM",
        base_values=base.tolist(),
        nodes_treeids=trees.tolist(), nodes_nodeids=numbers.tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LT").tolist(),
        nodes_featureids=np.where(leaf, 0, forest.feature).tolist(),
        nodes_values=np.where(leaf, np.float32(0), forest.threshold).tolist(),
        nodes_truenodeids=np.where(leaf, 0, forest.left).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, forest.right).tolist(),
        nodes_missing_value_tracks_true=(forest.default_left & ~leaf).astype(np.int64).tolist(),
        target_treeids=np.repeat(trees[leaves], wide).tolist(),
        target_nodeids=np.repeat(numbers[leaves], wide).tolist(),
        target_ids=np.broadcast_to(targets, (len(leaves), wide)).reshape(-1).tolist(),
        target_weights=values[leaves].reshape(-1).tolist(),
    )
