"""Values whose axes change places between partitions and the free dimension: exact, and not element by element."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, small_target
from tests.compiler.random_operators import floats, node

RNG = np.random.default_rng(14)


def detection_head() -> onnx.ModelProto:
    """Boxes and classes of anchors: [1, A * K, H, W] to [1, A * H * W, K]."""
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Reshape", ["c", "s"], ["r"]),
             node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 4, 2]), node("Reshape", ["t", "z"], ["y"])]
    shapes = {"s": np.array([1, 3, 85, 20, 20]), "z": np.array([1, 1200, 85])}
    return make(nodes, {"x": [1, 16, 20, 20]}, ["y"], {"w": floats(RNG, 255, 16, 1, 1), **shapes})


def two_heads() -> onnx.ModelProto:
    """Anchors of two scales side by side: [1, A * K, H, W] to [1, H * W * A, K]."""
    nodes, weights = [], {}
    for k, (size, anchors) in enumerate([(19, 3), (10, 6)]):
        weights[f"w{k}"] = floats(RNG, anchors * 21, 16, 1, 1)
        weights[f"s{k}"] = np.array([1, size * size * anchors, 21])
        nodes += [node("Conv", [f"x{k}", f"w{k}"], [f"c{k}"]),
                  node("Transpose", [f"c{k}"], [f"t{k}"], perm=[0, 2, 3, 1]),
                  node("Reshape", [f"t{k}", f"s{k}"], [f"r{k}"])]
    nodes.append(node("Concat", ["r0", "r1"], ["y"], axis=1))
    return make(nodes, {"x0": [1, 16, 19, 19], "x1": [1, 16, 10, 10]}, ["y"], weights)


def channels_last() -> onnx.ModelProto:
    """A convolution between images with their channels last."""
    nodes = [node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]), node("Conv", ["a", "w"], ["b"], pads=[1] * 4),
             node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1])]
    return make(nodes, {"x": [1, 40, 40, 32]}, ["y"], {"w": floats(RNG, 24, 32, 3, 3)})


def windows() -> onnx.ModelProto:
    """Windows of an image as batches of tokens."""
    nodes = [node("Relu", ["x"], ["b"]), node("Reshape", ["b", "s"], ["r"]),
             node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 2, 4, 5]), node("Reshape", ["t", "z"], ["q"]),
             node("MatMul", ["q", "m"], ["y"])]
    shapes = {"s": np.array([1, 4, 7, 4, 7, 48]), "z": np.array([16, 49, 48])}
    return make(nodes, {"x": [1, 28, 28, 48]}, ["y"], {"m": floats(RNG, 48, 32), **shapes})


def pixel_shuffle() -> onnx.ModelProto:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("DepthToSpace", ["c"], ["d"], blocksize=2, mode="CRD"),
             node("Conv", ["d", "v"], ["y"])]
    return make(nodes, {"x": [1, 8, 24, 24]}, ["y"], {"w": floats(RNG, 64, 8, 1, 1), "v": floats(RNG, 8, 16, 1, 1)})


def box_sizes() -> onnx.ModelProto:
    """The last two of every anchor's four numbers, as a model output: a slice of channels."""
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Reshape", ["c", "s"], ["r"]),
             node("Transpose", ["r"], ["t"], perm=[0, 2, 3, 1]),
             node("Split", ["t"], ["a", "b"], axis=3, num_outputs=2),
             node("Exp", ["b"], ["e"]), node("Reshape", ["e", "z"], ["y"])]
    weights = {"w": floats(RNG, 4, 16, 1, 1) / 4, "s": np.array([1, 4, 40, 40]), "z": np.array([1, 1600, 2])}
    return make(nodes, {"x": [1, 16, 40, 40]}, ["y"], weights)


def pixel_unshuffle() -> onnx.ModelProto:
    """Every second pixel becomes a channel: rows are put together on chip, a DMA would take them pixel by pixel."""
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Reshape", ["c", "s"], ["r"]),
             node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 5, 2, 4]), node("Reshape", ["t", "z"], ["u"]),
             node("Conv", ["u", "v"], ["y"])]
    shapes = {"s": np.array([1, 16, 16, 2, 16, 2]), "z": np.array([1, 64, 16, 16])}
    weights = {"w": floats(RNG, 16, 8, 1, 1), "v": floats(RNG, 8, 64, 1, 1)}
    return make(nodes, {"x": [1, 8, 32, 32]}, ["y"], {**weights, **shapes})


def padded_rows() -> onnx.ModelProto:
    """A Pad whose result has other axes on partitions than the image it pads."""
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
             node("Pad", ["t", "p"], ["a"]), node("Relu", ["a"], ["y"])]
    weights = {"w": floats(RNG, 16, 8, 1, 1), "p": np.array([0, 1, 1, 0, 0, 1, 1, 0])}
    return make(nodes, {"x": [1, 8, 32, 32]}, ["y"], weights)


def decode_step() -> onnx.ModelProto:
    """The key of one new token behind those of the past, which lie with their tokens on partitions."""
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Reshape", ["m", "s"], ["r"]),
             node("Transpose", ["r"], ["k"], perm=[0, 2, 1, 3]), node("Concat", ["past", "k"], ["y"], axis=2),
             node("Transpose", ["y"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["k", "t"], ["z"])]
    weights = {"w": floats(RNG, 128, 128), "s": np.array([1, 1, 4, 32])}
    return make(nodes, {"x": [1, 1, 128], "past": [1, 4, 255, 32]}, ["y", "z"], weights)


#: microseconds of the device: element by element each takes at least four times as long
LIMITS = {detection_head: 40, two_heads: 100, channels_last: 80, windows: 100, pixel_shuffle: 120, box_sizes: 110,
          pixel_unshuffle: 40, padded_rows: 60, decode_step: 60}


@pytest.mark.parametrize("network", LIMITS, ids=lambda f: f.__name__)
def test_time(network: object) -> None:
    result = compare(network(), limit=2e-5)  # type: ignore[operator]
    assert result.stats["total_time"] * 1e6 < LIMITS[network]  # type: ignore[index]


@pytest.mark.parametrize("network", [detection_head, channels_last], ids=lambda f: f.__name__)
def test_in_parts_and_on_v1(network: object, tmp_path: object) -> None:
    compare(network(), small_target(tmp_path, 24), limit=2e-5)  # type: ignore[operator, arg-type]
    compare(network(), "inf1.xlarge")  # type: ignore[operator]


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8, TensorProto.FLOAT16])
def test_exact(kind: int) -> None:
    """No integer goes through a product that would round it."""
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    top = 2 ** (8 * dtype.itemsize - 1) if dtype.kind != "f" else 60000
    x = RNG.integers(0 if dtype.kind == "u" else -top, top, (1, 40, 12, 13)).astype(dtype)
    bounds = {k: np.array([v]) for k, v in zip("sea", (1, 13, 3), strict=True)}
    nodes = [node("Slice", ["x", "s", "e", "a"], ["c"]), node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1])]
    compare(make(nodes, {"x": [1, 40, 12, 13]}, ["y"], bounds, types={"x": kind, "y": kind}), feeds={"x": x})


def test_float32_through_bf16_products_is_exact() -> None:
    """v1 multiplies no float32: a transpose adds the three bf16 parts of each, the lowest float32 (masks) included."""
    nodes = [node("Relu", ["x"], ["r"]), node("Concat", ["t", "m"], ["y"], axis=0),
             node("Transpose", ["r"], ["t"], perm=[1, 0])]
    model = make([nodes[0], nodes[2], nodes[1]], {"x": [300, 40], "m": [40, 300]}, ["y"])
    x = floats(RNG, 300, 40) * 1e3
    x[::7] = np.finfo(np.float32).max
    feeds = {"x": x, "m": np.full((40, 300), np.finfo(np.float32).min)}
    for target in ("trn1.2xlarge", "inf1.xlarge"):
        result = compare(model, target, feeds=feeds)
        np.testing.assert_array_equal(result.outputs["y"][:40], np.maximum(x, 0).T)
        assert result.stats["total_time"] < 60e-6
