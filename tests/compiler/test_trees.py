"""Tree ensembles on the device against onnxruntime: every comparison, ties at thresholds, missing values."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler import compile_graph
from compiler.frontends.onnx.export import to_model
from compiler.options import from_keywords
from compiler.partition import cost
from compiler.passes import expand_ensembles, tree_blocks
from compiler.passes.tree_ensemble import MODES, Nodes, terms_of
from compiler.pipeline import optimise
from isa import target as targets
from neuronsim.host_time import segment_seconds
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
    for module in (expand_ensembles, tree_blocks):
        monkeypatch.setattr(module, "BLOCK", 24)
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


@pytest.mark.parametrize("how", ["SUM", "MAX"])
def test_trees_of_one_leaf(how: str) -> None:
    attrs = forest(3, 0, MODES[:1], "target", 2)
    assert set(attrs["nodes_modes"]) == {"LEAF"}
    compare(model_of("TreeEnsembleRegressor", REGRESSION, n_targets=2, aggregate_function=how, **attrs),
            feeds=features())


def test_a_large_tree_is_cut_into_blocks_that_grow_with_its_leaves() -> None:
    attrs = forest(1, 12, MODES[:2], "target", 1, seed=3)
    leaves = attrs["nodes_modes"].count("LEAF")
    assert leaves > 200
    model = model_of("TreeEnsembleRegressor", REGRESSION, n_targets=1, **attrs)
    graph = imported(model)
    plan = expand_ensembles._planned(graph, graph.nodes[0])
    assert isinstance(plan, tree_blocks.Plan) and len(plan.asked) <= leaves / 100 + 1
    compare(model, feeds=features(missing=True), fallback=False)


def test_answers_join_the_products() -> None:
    """Two products and two fused answers for all blocks, whatever the number of trees."""
    attrs = forest(40, 4, MODES[:2], "target", 1)
    graph = imported(model_of("TreeEnsembleRegressor", REGRESSION, n_targets=1, **attrs))
    optimise(graph)
    steps = [n.attrs.get("epilogue") for n in graph.nodes if n.op == "Conv"]
    assert [s and [step[0] for step in s] for s in steps] == [["compare", "as"], ["bias", "act"], None]


def test_the_host_takes_trees_where_it_is_done_sooner() -> None:
    """Few rows through many leaves: a processor walks to one leaf of each tree."""
    attrs = forest(300, 7, MODES[:2], "target", 1)
    for rows, where in ((1, "on_cpu"), (500, "on_device")):
        model = model_of("TreeEnsembleRegressor", REGRESSION, n_targets=1, rows=rows, **attrs)
        report = compile_graph(imported(model), from_keywords({"target": "trn1.2xlarge"})).report
        assert report["operators"][where] == 1, report["cpu_operators"]
        if where == "on_cpu":
            assert "us on the host" in report["cpu_operators"][0]["reason"]
    forced = from_keywords({"target": "trn1.2xlarge", "device_ops": ["ai.onnx.ml::TreeEnsembleRegressor"]})
    model = model_of("TreeEnsembleRegressor", REGRESSION, n_targets=1, rows=1, **attrs)
    assert compile_graph(imported(model), forced).report["operators"]["on_device"] == 1


def test_the_hosts_steps_are_charged_alike_when_choosing_and_when_running() -> None:
    target = targets.load("trn1.2xlarge")
    times = []
    for trees in (1, 20):
        attrs = forest(trees, 5, MODES[:2], "target", 1)
        graph = imported(model_of("TreeEnsembleRegressor", REGRESSION, n_targets=1, rows=400, **attrs))
        choosing = cost.host_ns(graph.nodes, graph, [], graph, target)
        running = segment_seconds(to_model(graph), target) * 1e9
        assert choosing == pytest.approx(running)
        times.append(running)
    assert times[1] > times[0] + 19 * 400 * 64 / target.host_bytes_per_cpu_ns  # a cache line, two leaves at the least


@pytest.mark.parametrize("cores", [2, 4])
def test_trees_over_several_cores(cores: int) -> None:
    attrs = forest(40, 5, MODES[:2], "target", 3, tracks=True)
    model = model_of("TreeEnsembleRegressor", REGRESSION, n_targets=3, **attrs)
    compare(model, "trn1.32xlarge", feeds=features(missing=True), fallback=False, neuroncore_pipeline_cores=cores)


def test_what_is_too_large_is_refused_soon() -> None:
    attrs = forest(4, 3, MODES[:1], "target", 1)
    before = tree_blocks.MOST_BYTES
    graph = imported(model_of("TreeEnsembleRegressor", REGRESSION, n_targets=1, **attrs))
    try:
        tree_blocks.MOST_BYTES = 1
        cyclic = {**attrs, "nodes_truenodeids": [0] * len(attrs["nodes_modes"])}
        graph.nodes[0].attrs.update(cyclic)
        assert "more than 128 leaves" in expand_ensembles.tree_reason(graph, graph.nodes[0])
    finally:
        tree_blocks.MOST_BYTES = before


def test_membership() -> None:
    attrs: dict[str, Any] = dict(
        tree_roots=[0], nodes_featureids=[0, 1, 0], nodes_truenodeids=[1, 0, 1], nodes_falsenodeids=[2, 2, 3],
        nodes_trueleafs=[0, 1, 1], nodes_falseleafs=[0, 1, 1], leaf_targetids=[0, 1, 2, 0], n_targets=3,
        nodes_modes=numpy_helper.from_array(np.array([0, 6, 6], np.uint8)),
        nodes_splits=numpy_helper.from_array(np.array([0.1, np.nan, np.nan], np.float32)),  # a set has no threshold
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
    for number, mode in enumerate(MODES):
        for tracks in (False, True):
            one = Nodes(np.zeros(1, int), np.array([1, -1, -1]), np.array([2, -1, -1]), np.array([number, 0, 0]),
                        np.zeros(3, int), np.ones(3, np.float32), np.array([tracks] * 3),
                        {0: (1.0, 2.0)} if mode == "BRANCH_MEMBER" else {}, np.array([1, 2]), np.zeros(2, int),
                        np.ones(2, np.float32))
            terms = terms_of(one)
            for x in (0.0, 1.0, 2.0, 3.0, np.nan):
                answers = terms.nan if np.isnan(x) else np.float32(x) < terms.threshold
                assert terms.constant[0] + (terms.sign * answers).sum() in (0, 1), (mode, tracks, x)


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
