"""Tree ensembles on the device against onnxruntime: every comparison, ties at thresholds, missing values."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.passes import expand_ensembles
from compiler.passes.tree_ensemble import MODES, decision
from tests.compiler.evaluate import imported
from tests.compiler.lowering_run import compare, run

ML = "ai.onnx.ml"
FEATURES, ROWS = 5, 40
GRID = np.array([-2.5, -1.0, 0.0, 0.1, 1.0, 3.75], np.float32)


def forest(trees: int, depth: int, modes: tuple[str, ...], what: str, targets: int, seed: int = 0,
           tracks: bool = False, positive: bool = False, every: bool = True) -> dict[str, Any]:
    """Attributes of random complete-ish trees whose thresholds are on the grid that features are also taken from."""
    rng = np.random.default_rng(seed)
    a: dict[str, list[Any]] = {k: [] for k in (
        "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values", "nodes_truenodeids",
        "nodes_falsenodeids", "nodes_missing_value_tracks_true", f"{what}_treeids", f"{what}_nodeids", f"{what}_ids",
        f"{what}_weights")}
    for tree in range(trees):
        levels, count = [(0, 0)], 1
        while levels:
            at, level = levels.pop(0)
            leaf = level == depth or (level > 1 and rng.random() < 0.2)
            a["nodes_treeids"].append(tree)
            a["nodes_nodeids"].append(at)
            a["nodes_featureids"].append(0 if leaf else int(rng.integers(FEATURES)))
            a["nodes_modes"].append("LEAF" if leaf else str(rng.choice(modes)))
            a["nodes_values"].append(0.0 if leaf else float(rng.choice(GRID)))
            a["nodes_missing_value_tracks_true"].append(int(tracks and not leaf and rng.random() < 0.5))
            a["nodes_truenodeids"].append(0 if leaf else count)
            a["nodes_falsenodeids"].append(0 if leaf else count + 1)
            if not leaf:
                levels += [(count, level + 1), (count + 1, level + 1)]
                count += 2
                continue
            for target in range(targets) if every else [int(rng.integers(targets))]:
                weight = float(np.float32(rng.random() if positive else rng.standard_normal()))
                for key, value in (("treeids", tree), ("nodeids", at), ("ids", target), ("weights", weight)):
                    a[f"{what}_{key}"].append(value)
    return a


def model_of(op: str, outputs: dict[str, int], rows: int = ROWS, version: int = 3, **attrs: Any) -> onnx.ModelProto:
    node = helper.make_node(op, ["x"], list(outputs), domain=ML, **attrs)
    graph = helper.make_graph([node], "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, FEATURES])],
                              [helper.make_tensor_value_info(n, t, None) for n, t in outputs.items()])
    ids = [helper.make_opsetid("", 20), helper.make_opsetid(ML, version)]
    return helper.make_model(graph, opset_imports=ids, ir_version=9)


def features(missing: bool = False, rows: int = ROWS) -> dict[str, np.ndarray]:
    """Half of the features tie with a threshold; neighbours of the thresholds, huge, infinite and missing ones."""
    rng = np.random.default_rng(1)
    x = np.where(rng.random((rows, FEATURES)) < 0.5, rng.choice(GRID, (rows, FEATURES)),
                 rng.standard_normal((rows, FEATURES)).astype(np.float32) * 3).astype(np.float32)
    near = rng.random(x.shape) < 0.2
    x[near] = np.nextafter(x[near], np.float32(rng.choice([-9, 9])), dtype=np.float32)
    x[0, :3] = [np.inf, -np.inf, 3e38]
    if missing:
        x[rng.random(x.shape) < 0.2] = np.nan
    return {"x": x}


REGRESSION = {"y": TensorProto.FLOAT}


@pytest.mark.parametrize("mode", MODES[:6])
@pytest.mark.parametrize("tracks", [False, True])
def test_every_comparison_with_ties_and_missing_values(mode: str, tracks: bool) -> None:
    model = model_of("TreeEnsembleRegressor", REGRESSION, n_targets=2,
                     **forest(6, 4, (mode,), "target", 2, tracks=tracks))
    compare(model, feeds=features(missing=True), fallback=False)


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_GT"])
@pytest.mark.parametrize("tracks", [False, True])
def test_thresholds_of_infinity_ask_whether_a_feature_is_there(mode: str, tracks: bool) -> None:
    """As trees do that were trained on missing values."""
    attrs = forest(6, 4, (mode,), "target", 2, tracks=tracks)
    values = attrs["nodes_values"]
    attrs["nodes_values"] = [np.inf if k % 3 == 0 else v for k, v in enumerate(values)]
    model = model_of("TreeEnsembleRegressor", REGRESSION, n_targets=2, **attrs)
    compare(model, feeds=features(missing=True), fallback=False)


def test_mixed_comparisons_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand_ensembles, "BLOCK", 24)
    base: dict[str, Any] = {"base_values": [0.5, -1.0, 2.0]}
    for every, more in ((False, {}), (True, base)):
        model = model_of("TreeEnsembleRegressor", REGRESSION, n_targets=3, **more,
                         **forest(9, 5, MODES[:6], "target", 3, tracks=True, every=every))
        compare(model, feeds=features(missing=True), fallback=False)


@pytest.mark.parametrize("how", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_aggregates(how: str) -> None:
    model = model_of("TreeEnsembleRegressor", REGRESSION, n_targets=2, aggregate_function=how,
                     **forest(5, 3, MODES[:1], "target", 2))
    compare(model, feeds=features(), fallback=False)


def test_picking_features_is_exact_where_products_round_to_bfloat16() -> None:
    attrs = forest(6, 4, MODES[:2], "target", 1)
    policies: list[dict[str, Any]] = [{"target": "inf1.xlarge"}, {"auto_cast": "matmult"}]
    for more in policies:
        compare(model_of("TreeEnsembleRegressor", REGRESSION, n_targets=1, **attrs), feeds=features(), fallback=False,
                limit=1e-6, **more)


@pytest.mark.parametrize(("labels", "ids", "positive", "transform"), [
    ([0, 1, 2], 3, False, "NONE"), ([7, -3, 12], 3, True, "SOFTMAX"), ([0, 1, 2], 3, True, "LOGISTIC"),
    ([0, 1], 1, True, "NONE"), ([4, 9], 1, False, "NONE"), ([4, 9], 1, True, "LOGISTIC"),
    ([0, 1], 1, False, "LOGISTIC"),
])
def test_classifiers(labels: list[int], ids: int, positive: bool, transform: str) -> None:
    scale = 0.2 if positive else 1.0
    attrs = forest(5, 4, MODES[:1], "class", ids, positive=positive)
    attrs["class_weights"] = [w * scale for w in attrs["class_weights"]]
    model = model_of("TreeEnsembleClassifier", {"label": TensorProto.INT64, "scores": TensorProto.FLOAT},
                     classlabels_int64s=labels, post_transform=transform, **attrs)
    compare(model, feeds=features(), fallback=False)


def test_membership() -> None:
    attrs: dict[str, Any] = dict(
        tree_roots=[0], nodes_featureids=[0, 1, 0], nodes_truenodeids=[1, 0, 1], nodes_falsenodeids=[2, 2, 3],
        nodes_trueleafs=[0, 1, 1], nodes_falseleafs=[0, 1, 1], leaf_targetids=[0, 1, 2, 0], n_targets=3,
        nodes_modes=numpy_helper.from_array(np.array([0, 6, 6], np.uint8)),
        nodes_splits=numpy_helper.from_array(np.array([0.1, 0, 0], np.float32)),
        membership_values=numpy_helper.from_array(np.array([1.0, -1, np.nan, 3.75, 1, np.nan], np.float32)),
        leaf_weights=numpy_helper.from_array(np.array([1, 2, 3, 4], np.float32)))
    model = model_of("TreeEnsemble", REGRESSION, version=5, **attrs)
    feeds = features()
    x = feeds["x"]
    inner = np.where(np.isin(x[:, 1], [1, -1]), 0, 2), np.where(np.isin(x[:, 0], [3.75, 1]), 1, 3)
    leaf = np.where(x[:, 0] <= np.float32(0.1), inner[0], inner[1])
    want = np.zeros((ROWS, 3), np.float32)
    want[np.arange(ROWS), np.array([0, 1, 2, 0])[leaf]] = np.array([1, 2, 3, 4], np.float32)[leaf]
    np.testing.assert_array_equal(run(model, feeds, fallback=False).outputs["y"], want)


def test_decisions_are_zero_or_one() -> None:
    for mode in MODES:
        for tracks in (False, True):
            sums = decision(mode, 0, 1.0, tracks, (1.0, 2.0))
            for x in (0.0, 1.0, 2.0, 3.0, np.nan):
                value = sums.constant + sum(
                    s * (t.nan if np.isnan(x) else x <= t.threshold if t.closed else x < t.threshold)
                    for t, s in sums.terms)
                assert value in (0, 1), (mode, tracks, x)


def test_refusals_name_the_cause() -> None:
    def why(op: str, outputs: dict[str, int], **attrs: Any) -> str:
        graph = imported(model_of(op, outputs, **attrs))
        return expand_ensembles.tree_reason(graph, graph.nodes[0])

    small = forest(2, 2, MODES[:1], "target", 1)
    assert why("TreeEnsembleRegressor", REGRESSION, n_targets=1, **small) == ""
    assert "PROBIT" in why("TreeEnsembleRegressor", REGRESSION, n_targets=1, post_transform="PROBIT", **small)
    huge = {**small, "nodes_values": [3e38] * len(small["nodes_values"])}
    assert "threshold" in why("TreeEnsembleRegressor", REGRESSION, n_targets=1, **huge)
    strict = {**small, "nodes_values": [np.inf] * len(small["nodes_values"]),
              "nodes_modes": [m.replace("LEQ", "LT") for m in small["nodes_modes"]]}
    assert "threshold" in why("TreeEnsembleRegressor", REGRESSION, n_targets=1, **strict)
