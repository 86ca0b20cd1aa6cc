"""Support vector machines, linear models and feature preparation on the device, against onnxruntime."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler import compile_graph
from compiler.options import from_keywords
from compiler.passes import expand_encoders, expand_svm
from neuronsim.api import Neff
from tests.compiler.evaluate import imported, make, run_model
from tests.compiler.lowering_run import compare

ML, FEATURES, ROWS = "ai.onnx.ml", 5, 20
VALUES = {"y": TensorProto.FLOAT}
CLASSES = {"label": TensorProto.INT64, "scores": TensorProto.FLOAT}
RNG = np.random.default_rng(11)


def model_of(op: str, outputs: dict[str, int], inputs: tuple[str, ...] = ("x",), **attrs: Any) -> onnx.ModelProto:
    node = helper.make_node(op, inputs, list(outputs), domain=ML, **attrs)
    graph = helper.make_graph(
        [node], "test", [helper.make_tensor_value_info(i, TensorProto.FLOAT, [ROWS, FEATURES]) for i in inputs],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs.items()])
    ids = [helper.make_opsetid("", 20), helper.make_opsetid(ML, 3)]
    return helper.make_model(graph, opset_imports=ids, ir_version=9)


def check(op: str, outputs: dict[str, int], limit: float | None = None, target: str = "trn1.2xlarge",
          **attrs: Any) -> None:
    x = RNG.standard_normal((ROWS, FEATURES)).astype(np.float32)
    x[3], x[4], x[5, 2] = 0, -np.abs(x[4]), 0.3
    compare(model_of(op, outputs, **attrs), feeds={"x": x}, fallback=False, limit=limit, target=target)


def normal(count: int) -> list[float]:
    return [float(v) for v in RNG.standard_normal(count).astype(np.float32)]


def machine(kernel: str, vectors: int) -> dict[str, Any]:
    return {"kernel_type": kernel, "kernel_params": [0.3, 0.5, 3.0], "support_vectors": normal(vectors * FEATURES)}


@pytest.mark.parametrize("kernel", expand_svm.KERNELS)
def test_support_vector_regression(kernel: str) -> None:
    for one_class in (0, 1):
        check("SVMRegressor", VALUES, n_supports=7, coefficients=normal(7), rho=[0.2], one_class=one_class,
              **machine(kernel, 7))


def test_regression_without_support_vectors() -> None:
    check("SVMRegressor", VALUES, coefficients=normal(FEATURES), rho=[0.2], kernel_type="LINEAR",
          kernel_params=[0.0, 0.0, 0.0])


@pytest.mark.parametrize("kernel", expand_svm.KERNELS)
def test_support_vector_classification(kernel: str) -> None:
    check("SVMClassifier", CLASSES, coefficients=normal(14), rho=[0.2, -0.1, 0.3], vectors_per_class=[2, 3, 2],
          classlabels_ints=[5, 1, 2], **machine(kernel, 7))
    check("SVMClassifier", CLASSES, coefficients=normal(7), rho=[0.2], vectors_per_class=[4, 3],
          classlabels_ints=[5, 9], **machine(kernel, 7))


def test_distances_by_products_far_from_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and vectors near (100, .., 100): without centring float32 would keep three digits of the distances."""
    monkeypatch.setattr(expand_svm, "MOST_DIFFERENCES", 0)
    model = model_of("SVMRegressor", VALUES, n_supports=9, coefficients=normal(9), rho=[0.2], kernel_type="RBF",
                     kernel_params=[0.3, 0.0, 0.0], support_vectors=[100 + v for v in normal(9 * FEATURES)])
    x = 100 + RNG.standard_normal((ROWS, FEATURES)).astype(np.float32)
    compare(model, feeds={"x": x}, fallback=False, limit=2e-5)


def test_products_are_accurate_where_the_pe_multiplies_bfloat16() -> None:
    for kernel in expand_svm.KERNELS:
        check("SVMRegressor", VALUES, n_supports=7, coefficients=normal(7), rho=[0.2], target="inf1.xlarge", limit=1e-4,
              **machine(kernel, 7))


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("labels", [[3, 1, 2], [4, 0]])
def test_linear_classification(labels: list[int], transform: str) -> None:
    check("LinearClassifier", CLASSES, coefficients=normal(len(labels) * FEATURES), intercepts=normal(len(labels)),
          classlabels_ints=labels, post_transform=transform)


def test_linear_regression() -> None:
    check("LinearRegressor", VALUES, targets=3, coefficients=normal(3 * FEATURES), intercepts=[1.0, 2.0, 3.0])
    check("LinearRegressor", VALUES, coefficients=normal(FEATURES))


@pytest.mark.parametrize(("op", "attrs"), [
    ("Normalizer", {"norm": "MAX"}), ("Normalizer", {"norm": "L1"}), ("Normalizer", {"norm": "L2"}),
    ("Scaler", {"offset": [1.0, 2, 3, 4, 5], "scale": [0.5, 1, 2, 3, 4]}),
    ("Scaler", {"offset": [1.0], "scale": [2.0]}),
    ("Imputer", {"imputed_value_floats": [1.0, 2, 3, 4, 5], "replaced_value_float": 0.0}),
    ("Binarizer", {"threshold": 0.3}),
])
def test_preparation(op: str, attrs: dict[str, Any]) -> None:
    check(op, VALUES, **attrs)


def test_missing_values_are_imputed() -> None:
    x = RNG.standard_normal((ROWS, FEATURES)).astype(np.float32)
    x[RNG.random(x.shape) < 0.3] = np.nan
    model = model_of("Imputer", VALUES, imputed_value_floats=[7.0], replaced_value_float=float("nan"))
    compare(model, feeds={"x": x}, fallback=False)


def test_scaling_what_follows_keeps_the_accuracy() -> None:
    """Scores that the model scales: the factor must not be folded into a part of the constant."""
    model = model_of("LinearRegressor", VALUES, targets=3, coefficients=normal(3 * FEATURES))
    model.graph.node.append(helper.make_node("Mul", ["y", "factor"], ["z"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0.3, 1.7, 0.9], np.float32), "factor"))
    model.graph.output[0].name = "z"
    compare(model, fallback=False)


def test_features_side_by_side() -> None:
    compare(model_of("FeatureVectorizer", VALUES, inputs=("a", "b", "c"), inputdimensions=[3, 5, 7]), fallback=False)


def test_refusals_name_the_cause() -> None:
    def why(**attrs: Any) -> str:
        graph = imported(model_of("SVMRegressor", VALUES, coefficients=normal(3), rho=[0.0], n_supports=3, **attrs))
        return expand_svm.svm_reason(graph, graph.nodes[0])

    assert why(**machine("RBF", 3)) == ""
    assert "degree" in why(**{**machine("POLY", 3), "kernel_params": [1.0, 0.0, 2.5]})
    assert "PROBIT" in why(post_transform="PROBIT", **machine("RBF", 3))


@pytest.mark.parametrize(("op", "attrs"), [
    ("LinearClassifier", {"coefficients": normal(3 * FEATURES), "intercepts": [0.1, -0.2, 0.3]}),
    ("SVMClassifier", {"coefficients": normal(14), "rho": [0.2, -0.1, 0.3], "vectors_per_class": [2, 3, 2],
                       **machine("RBF", 7)}),
    ("TreeEnsembleClassifier", {
        "nodes_treeids": [0] * 5, "nodes_nodeids": [0, 1, 2, 3, 4], "nodes_featureids": [1, 0, 2, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.1, 0, -0.2, 0, 0],
        "nodes_truenodeids": [1, 0, 3, 0, 0], "nodes_falsenodeids": [2, 0, 4, 0, 0], "class_treeids": [0] * 3,
        "class_nodeids": [1, 3, 4], "class_ids": [0, 1, 2], "class_weights": [0.5, 1.0, 2.0]})])
def test_only_the_look_up_of_labels_that_are_texts_is_left_to_the_host(op: str, attrs: dict[str, Any]) -> None:
    faces = {"label": TensorProto.STRING, "scores": TensorProto.FLOAT}
    model = model_of(op, faces, classlabels_strings=["one", "zwei", "trois"], **attrs)
    feeds = {"x": np.random.default_rng(2).standard_normal((ROWS, FEATURES)).astype(np.float32)}
    options = from_keywords({"target": "trn1.2xlarge", "minimum_segment_size": 1, "transfer_cost": False})
    neff = Neff(compile_graph(imported(model), options))
    assert [(c["op_type"], c["reason"]) for c in neff.report["cpu_operators"]] == [("Gather", "strings")]
    label, scores = run_model(model, feeds)
    got = neff.run(feeds, check=True)
    assert not got.findings
    assert got.outputs["label"].tolist() == label.tolist()
    np.testing.assert_allclose(got.outputs["scores"], scores, rtol=1e-5, atol=1e-5)


def test_scores_of_a_classifier_whose_textual_labels_nobody_reads() -> None:
    model = model_of("LinearClassifier", CLASSES, classlabels_strings=["a", "b"],
                     coefficients=normal(2 * FEATURES), intercepts=[0.1, 0.2])
    del model.graph.output[0]
    compare(model, fallback=False)


@pytest.mark.parametrize("transposed", [0, 1])
def test_distances_to_centres_are_accurate_where_the_pe_multiplies_bfloat16(transposed: int) -> None:
    """Rows a thousandth from a centre of length 6: in bfloat16 half of the squared distances would be negative."""
    centres = np.random.default_rng(3).standard_normal((8, FEATURES)).astype(np.float32) + 3
    nodes = [helper.make_node("ReduceSumSquare", ["x", "last"], ["own"], keepdims=1),
             helper.make_node("Mul", ["own", "zero"], ["nothing"]),
             helper.make_node("Gemm", ["x", "c", "nothing"], ["products"], alpha=-2.0, transB=transposed),
             helper.make_node("Add", ["own", "products"], ["part"]),
             helper.make_node("Add", ["lengths", "part"], ["squared"]),
             helper.make_node("ArgMin", ["squared"], ["label"], axis=1, keepdims=0)]
    weights = {"last": np.array([1]), "zero": np.zeros(1, np.float32), "c": centres if transposed else centres.T,
               "lengths": (centres**2).sum(1)}
    model = make(nodes, {"x": [8, FEATURES]}, ["label", "squared"], weights, types={"label": TensorProto.INT64})
    x = centres + np.float32(1e-3) * np.random.default_rng(4).standard_normal(centres.shape).astype(np.float32)
    compare(model, "inf1.xlarge", feeds={"x": x}, limit=1e-5)


@pytest.mark.parametrize(("op", "kind", "attrs"), [
    ("OneHotEncoder", TensorProto.FLOAT, {"cats_int64s": [3, 0, 7]}),
    ("LabelEncoder", TensorProto.FLOAT, {"keys_int64s": [3, 0, 7], "values_floats": [0.1, 1e-8, -3e8],
                                         "default_float": 0.3}),
    ("LabelEncoder", TensorProto.INT64, {"keys_int64s": [3, 0, 7], "values_int64s": [2**24, -1, 5]})])
def test_encoders_of_whole_numbers(op: str, kind: int, attrs: dict[str, Any]) -> None:
    """Behind an ArgMax, whose range is known; some of its numbers are no keys."""
    nodes = [helper.make_node("ArgMax", ["x"], ["i"], axis=1), helper.make_node(op, ["i"], ["y"], domain=ML, **attrs)]
    model = make(nodes, {"x": [ROWS, 9]}, ["y"], types={"y": kind})
    model.opset_import.append(helper.make_opsetid(ML, 3))
    for target in ("trn1.2xlarge", "inf1.xlarge"):
        compare(model, target, limit=1e-7)


@pytest.mark.parametrize(("op", "kind", "attrs", "why"), [
    ("OneHotEncoder", TensorProto.INT64, {"cats_int64s": [1], "zeros": 0}, "fail"),
    ("OneHotEncoder", TensorProto.FLOAT, {"cats_int64s": [1]}, "whole"),
    ("LabelEncoder", TensorProto.INT64, {"keys_int64s": [1], "values_int64s": [2**24 + 1]}, "2^24"),
    ("LabelEncoder", TensorProto.INT64, {"keys_int64s": [1, 1], "values_floats": [1.0, 2.0]}, "several"),
    ("LabelEncoder", TensorProto.INT64, {"keys_int64s": [1], "values_floats": [np.inf]}, "finite")])
def test_encoders_the_host_keeps(op: str, kind: int, attrs: dict[str, Any], why: str) -> None:
    model = make([helper.make_node(op, ["x"], ["y"], domain=ML, **attrs)], {"x": [3]}, ["y"],
                 types={"x": kind, "y": TensorProto.INT64 if "values_int64s" in attrs else TensorProto.FLOAT})
    model.opset_import.append(helper.make_opsetid(ML, 3))
    graph = imported(model)
    assert why in expand_encoders.encoder_reason(graph, graph.nodes[0])
