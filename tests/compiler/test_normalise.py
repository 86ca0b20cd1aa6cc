"""Normalisations, softmax's relatives and losses on the device, against onnxruntime and onnx's reference."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node as node
from onnx.reference import ReferenceEvaluator

from isa.errors import NeuronError
from tests.compiler.evaluate import Feeds, make
from tests.compiler.lowering_run import compare, feeds_of, run


def against_reference(model: onnx.ModelProto, feeds: Feeds | None = None, limit: float = 1e-5) -> None:
    """`compare` for operators that onnxruntime lacks, or has wrong for a type."""
    feeds = feeds_of(model) if feeds is None else feeds
    result = run(model, feeds)
    assert not result.findings
    for info, want in zip(model.graph.output, ReferenceEvaluator(model).run(None, dict(feeds)), strict=True):
        got = result.outputs[info.name]
        assert (got.shape, got.dtype) == (np.shape(want), np.asarray(want).dtype)
        np.testing.assert_allclose(got.astype(np.float64), np.asarray(want, np.float64), rtol=limit,
                                   atol=limit * float(np.abs(want).max()))


def layer_norm(shape: Sequence[int], axis: int, outputs: Sequence[str] = ("y",), **attrs: Any) -> onnx.ModelProto:
    """LayerNormalization with scale and bias of run time."""
    row = shape[axis:]
    return make([node("LayerNormalization", ["x", "g", "b"], outputs, axis=axis, **attrs)],
                {"x": shape, "g": row, "b": row}, [o for o in outputs if o])


@pytest.mark.parametrize(("shape", "axis"), [((4, 600), -1), ((2, 3, 40, 5), 1), ((2, 3, 40, 5), 2), ((3, 4), 0),
                                             ((130, 7), 1), ((1, 50), 1)])
def test_layer_norm_with_parameters_of_run_time(shape: Sequence[int], axis: int) -> None:
    compare(layer_norm(shape, axis, ("y", "m", "s"), epsilon=1e-2))


def test_layer_norm_gives_its_moments_apart() -> None:
    compare(layer_norm((6, 40), 1, ("y", "", "s")))
    compare(layer_norm((6, 40), 1, ("y", "m")))


@pytest.mark.parametrize("bias", [False, True])
def test_layer_norm_with_known_parameters(bias: bool) -> None:
    weights = {"g": np.ones(600, np.float32)} | ({"b": np.linspace(-1, 1, 600, dtype=np.float32)} if bias else {})
    compare(make([node("LayerNormalization", ["x", *weights], ["y"])], {"x": (5, 600)}, ["y"], weights))


def test_layer_norm_far_from_zero() -> None:
    feeds = feeds_of(layer_norm((8, 700), 1))
    feeds["x"] = feeds["x"] + np.float32(100)
    compare(layer_norm((8, 700), 1), feeds=feeds)


def test_layer_norm_of_half_precision_is_computed_in_full() -> None:
    half = TensorProto.FLOAT16
    model = make([node("LayerNormalization", ["x", "g", "b"], ["y"])], {"x": (6, 300), "g": (300,), "b": (300,)}, ["y"],
                 types=dict.fromkeys("xgby", half))
    against_reference(model, limit=2e-3)


@pytest.mark.parametrize(("shape", "axis"), [((4, 600), -1), ((2, 3, 4, 5), 1), ((130, 7), 1)])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_rms_norm(shape: Sequence[int], axis: int, kind: int) -> None:
    model = make([node("RMSNormalization", ["x", "g"], ["y"], axis=axis)], {"x": shape, "g": shape[axis:]}, ["y"],
                 opset=23, types=dict.fromkeys("xgy", kind))
    against_reference(model, limit=1e-5 if kind == TensorProto.FLOAT else 2e-3)


def test_normalising_a_tile_of_tokens_takes_few_instructions() -> None:
    wide = {"g": np.linspace(0.5, 2, 768, dtype=np.float32), "b": np.linspace(-1, 1, 768, dtype=np.float32)}
    layer = make([node("LayerNormalization", ["x", "g", "b"], ["y"])], {"x": (128, 768)}, ["y"], wide)
    rms = make([node("RMSNormalization", ["x", "g"], ["y"])], {"x": (128, 768)}, ["y"], {"g": wide["g"]}, opset=23)
    soft = make([node("Softmax", ["x"], ["y"])], {"x": (128, 768)}, ["y"])
    for model, most in ((layer, 25), (rms, 14), (soft, 10)):
        result = run(model, feeds_of(model))
        assert result.stats["simulated_instructions"] <= most, model.graph.node[0].op_type


CHANNELS = {"g": (6,), "b": (6,)}


@pytest.mark.parametrize("shape", [(2, 6, 5, 7), (1, 6, 40), (3, 6, 2, 3, 4)])
@pytest.mark.parametrize("target", ["trn1.2xlarge", "inf1.xlarge"])
def test_instance_norm(shape: Sequence[int], target: str) -> None:
    compare(make([node("InstanceNormalization", ["x", "g", "b"], ["y"], epsilon=1e-3)], {"x": shape, **CHANNELS},
                 ["y"]), target)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(2, 6, 5, 7), (3, 6), (1, 6, 40)])
def test_group_norm(shape: Sequence[int], groups: int) -> None:
    model = make([node("GroupNormalization", ["x", "g", "b"], ["y"], num_groups=groups)], {"x": shape, **CHANNELS},
                 ["y"], opset=21)
    if len(shape) > 2:
        compare(model)
    else:
        against_reference(model)


def test_group_norm_of_more_channels_than_partitions() -> None:
    compare(make([node("GroupNormalization", ["x", "g", "b"], ["y"], num_groups=32)],
                 {"x": (2, 320, 6, 6), "g": (320,), "b": (320,)}, ["y"], opset=21))


@pytest.mark.parametrize("shape", [(2, 6, 5, 7), (40, 6), (1, 6, 40)])
def test_batch_norm_with_parameters_of_run_time(shape: Sequence[int]) -> None:
    names = dict.fromkeys("gbmv", (6,))
    model = make([node("BatchNormalization", list("xgbmv"), ["y"])], {"x": shape, **names}, ["y"])
    feeds = feeds_of(model)
    feeds["v"] = np.abs(feeds["v"]) + np.float32(0.1)
    compare(model, feeds=feeds)


def test_batch_norm_in_training() -> None:
    names = dict.fromkeys("gbmv", (6,))
    model = make([node("BatchNormalization", list("xgbmv"), ["y", "rm", "rv"], training_mode=1, momentum=0.8)],
                 {"x": (4, 6, 5, 7), **names}, ["y", "rm", "rv"])
    against_reference(model)


@pytest.mark.parametrize("axes", [None, [1, 2], [-1]])
def test_mean_variance_normalisation(axes: list[int] | None) -> None:
    attrs = {} if axes is None else {"axes": axes}
    compare(make([node("MeanVarianceNormalization", ["x"], ["y"], **attrs)], {"x": (3, 4, 5, 6)}, ["y"]))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [0, -1])
def test_lp_normalisation_of_rows_some_of_which_are_zero(axis: int, p: int) -> None:
    model = make([node("LpNormalization", ["x"], ["y"], axis=axis, p=p)], {"x": (5, 40)}, ["y"])
    x = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    x[2], x[:, 7] = 0, 0
    compare(model, feeds={"x": x})


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("op", ["Hardmax", "Softmax", "LogSoftmax"])
def test_softmax_and_its_relatives_along_any_axis(op: str, axis: int) -> None:
    model = make([node(op, ["x"], ["y"], axis=axis)], {"x": (3, 40, 5)}, ["y"])
    x = np.random.default_rng(0).integers(-3, 3, (3, 40, 5)).astype(np.float32)
    compare(model, feeds={"x": x})


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_of_half_precision(op: str) -> None:
    types = dict.fromkeys("xy", TensorProto.FLOAT16)
    against_reference(make([node(op, ["x"], ["y"])], {"x": (5, 90)}, ["y"], types=types), limit=2e-3)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("shape", [(2, 7, 3, 4), (2, 7), (2, 7, 9)])
def test_local_response_normalisation_of_any_rank(shape: Sequence[int], size: int) -> None:
    model = make([node("LRN", ["x"], ["y"], size=size, alpha=0.3)], {"x": shape}, ["y"])
    x = feeds_of(model)["x"]
    sums = [sum(x[:, k] ** 2 for k in range(max(0, c - (size - 1) // 2), min(shape[1], c + size // 2 + 1)))
            for c in range(shape[1])]
    want = x / (1 + 0.3 / size * np.stack(sums, axis=1)) ** 0.75
    np.testing.assert_allclose(run(model, {"x": x}).outputs["y"], want, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [None, 2, -7])
@pytest.mark.parametrize("op", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
def test_losses(op: str, ignored: int | None, weighted: bool, reduction: str) -> None:
    attrs: dict[str, Any] = {"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored})
    outputs = ["y", "p"] if op.startswith("Soft") else ["y"]
    weight = {"w": (5,)} if weighted else {}
    model = make([node(op, ["x", "t", *weight], outputs, **attrs)], {"x": (4, 5, 6), "t": (4, 6), **weight}, outputs,
                 types={"t": TensorProto.INT64})
    feeds = feeds_of(model)
    feeds["t"][0, 0] = 2 if ignored is None else ignored
    compare(model, feeds=feeds)


def test_a_row_beyond_the_reach_of_an_engine_is_refused_with_its_length() -> None:
    model = make([node("RMSNormalization", ["x", "g"], ["y"])], {"x": (2, 70_000), "g": (70_000,)}, ["y"], opset=23,
                 types=dict.fromkeys("xgy", TensorProto.FLOAT16))
    with pytest.raises(NeuronError, match="70000"):
        run(model, feeds_of(model), fallback=False)
