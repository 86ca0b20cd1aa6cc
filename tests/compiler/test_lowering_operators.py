"""Every lowering against onnxruntime: seeded draws from each family of operators, and one named case per operator."""
from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tests.compiler.evaluate import make, run_model
from tests.compiler.lowering_run import compare, feeds_of
from tests.compiler.random_operators import FAMILIES, floats, node

DRAWS = 12
BLOCKS = 4
RNG = np.random.default_rng(7)


def draws(family: str, block: int) -> list[tuple[int, object]]:
    seeds = range(block * DRAWS, (block + 1) * DRAWS)
    return [(s, m) for s in seeds if (m := FAMILIES[family](np.random.default_rng(s))) is not None]


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_family(family: str, block: int) -> None:
    for seed, model in draws(family, block):
        try:
            compare(model)
        except Exception as error:
            error.add_note(f"{family}, seed {seed}")
            raise


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_family_on_v1(family: str) -> None:
    for seed, model in draws(family, BLOCKS):
        if family == "gather" and {i.name for i in model.graph.input} == {"i", "t"}:
            continue  # v1 has no indirect transfer: refused, see test_lowering_refused
        try:
            compare(model, "inf1.xlarge")
        except Exception as error:
            error.add_note(f"{family}, seed {seed}")
            raise


# operators that the passes replace on the way, or that no family draws: lowered from a graph that was only imported
NAMED = {
    "Affine": [node("Mul", ["x", "s"], ["m"]), node("Add", ["m", "b"], ["y"])],
    "Silu": [node("Sigmoid", ["x"], ["m"]), node("Mul", ["x", "m"], ["y"])],
    "Swish": [node("Sigmoid", ["x"], ["m"]), node("Mul", ["m", "x"], ["y"])],
    "Flatten": [node("Flatten", ["x"], ["y"], axis=-1)],
    "Squeeze": [node("ReduceMax", ["x"], ["m"], keepdims=1), node("Squeeze", ["m"], ["y"])],
    "Unsqueeze": [node("Unsqueeze", ["x", "axes"], ["y"])],
}


@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("op", sorted(NAMED))
def test_named(op: str, fusion: bool) -> None:
    weights = {"s": floats(RNG, 1, 5, 1, 1), "b": floats(RNG, 1, 5, 1, 1), "axes": np.array([0, -1])}
    used = {name for n in NAMED[op] for name in n.input}
    model = make(NAMED[op], {"x": [2, 5, 4, 3]}, ["y"], {k: v for k, v in weights.items() if k in used})
    compare(model, fusion=fusion)


def test_faces_without_axes() -> None:
    """Scalars in and out of a program have shape (), not (1,)."""
    result = compare(make([node("Tanh", ["x"], ["y"])], {"x": []}, ["y"]))
    assert result.outputs["y"].shape == ()


@pytest.mark.parametrize("to", [TensorProto.INT32, TensorProto.INT64, TensorProto.INT8])
def test_casts_to_integers_truncate(to: int) -> None:
    """ONNX rounds towards zero; an engine's conversion alone would round to even."""
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.7, 3.0, -4.0, 0.0, 2.9999], np.float32)
    model = make([node("Cast", ["x"], ["y"], to=to)], {"x": [10]}, ["y"], types={"y": to})
    compare(model, feeds={"x": x})


def test_resize_ties_and_equal_sizes() -> None:
    """Ties of nearest fall as in float32; a scale that leaves a size alone still resamples."""
    sizes = make([node("Resize", ["x", "", "", "z"], ["y"], mode="nearest", nearest_mode="ceil")],
                 {"x": [1, 3, 7]}, ["y"], {"z": np.array([1, 3, 17])})
    scales = make([node("Resize", ["x", "", "s"], ["y"], mode="linear")], {"x": [1, 1, 3, 3]}, ["y"],
                  {"s": np.array([1, 1, 1.2, 2], np.float32)})
    compare(sizes)
    compare(scales)


def test_long_rows_of_softmax_and_norm() -> None:
    """Rows of thousands of elements, and statistics over several axes that are not one run in memory."""
    compare(make([node("Softmax", ["x"], ["y"])], {"x": [3, 5000]}, ["y"]))
    weights = {"g": floats(RNG, 1300), "b": floats(RNG, 1300)}
    compare(make([node("LayerNormalization", ["x", "g", "b"], ["y"])], {"x": [5, 1300]}, ["y"], weights))
    turned = [node("Transpose", ["x"], ["t"], perm=[0, 3, 2, 1]), node("LayerNormalization", ["t", "g"], ["y"], axis=2)]
    compare(make(turned, {"x": [2, 6, 4, 3]}, ["y"], {"g": floats(RNG, 4, 6)}))


def test_oracle_is_asked_for_the_same_inputs() -> None:
    model = make([node("Relu", ["x"], ["y"])], {"x": [4]}, ["y"])
    feeds = feeds_of(model)
    np.testing.assert_array_equal(run_model(model, feeds)[0], np.maximum(feeds["x"], 0))
