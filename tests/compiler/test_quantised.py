"""Quantised operators against ONNX Runtime: every kind of parameter, known and computed at run time, exact sums."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from compiler.lowering.integer import integer_condition
from compiler.pipeline import optimise
from isa import target as targets
from tests.compiler.evaluate import imported, make
from tests.compiler.lowering_run import compare, run, small_target

RNG = np.random.default_rng(3)
Arrays = dict[str, np.ndarray]


def integers(kind: str, *shape: int) -> np.ndarray:
    """Seeded integers over the whole range of a type."""
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(kind)


def close_to_one(*shape: int) -> np.ndarray:
    return (RNG.random(shape, np.float32) + 0.5).astype(np.float32)


def check(op: str, arrays: Arrays, out: int, constant: tuple[str, ...] = (), target: str = "trn1.2xlarge",
          limit: float | None = None, **attrs: Any) -> None:
    """One node whose inputs are `arrays` in order; those named in `constant` are known when it is compiled."""
    feeds = {k: np.asarray(v) for k, v in arrays.items() if k not in constant}
    types = {k: helper.np_dtype_to_tensor_dtype(v.dtype) for k, v in feeds.items()} | {"out": out}
    known = {k: np.asarray(v) for k, v in arrays.items() if k in constant}
    node = helper.make_node(op, list(arrays), ["out"], **attrs)
    model = make([node], {k: v.shape for k, v in feeds.items()}, ["out"], known, opset=21, types=types)
    model.ir_version = 10
    compare(model, target, feeds=feeds, limit=limit)


KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int16": TensorProto.INT16, "uint16": TensorProto.UINT16}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [(), (5,)])
@pytest.mark.parametrize("constant", [(), ("s",), ("z",)])
def test_quantise_and_back(kind: str, scale: tuple[int, ...], constant: tuple[str, ...]) -> None:
    x = RNG.normal(0, 3000 if "16" in kind else 60, (3, 5, 4)).astype(np.float32)
    s, z = close_to_one(*scale), integers(kind, *scale)
    check("QuantizeLinear", {"x": x, "s": s, "z": z}, KINDS[kind], constant)
    check("DequantizeLinear", {"q": integers(kind, 3, 5, 4), "s": s, "z": z}, TensorProto.FLOAT, constant)


def test_ties_and_extremes() -> None:
    """Halves go to the even neighbour, before the zero point is added; what does not fit saturates."""
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, 254.5, 3.0, np.inf]], np.float32)
    for zero in (0, 3, 128):
        check("QuantizeLinear", {"x": x, "s": np.float32(1.0), "z": np.array(zero, np.uint8)},
              TensorProto.UINT8)


@pytest.mark.parametrize("constant", [(), ("s", "z")])
@pytest.mark.parametrize("size", [6, 5])
def test_blocks(size: int, constant: tuple[str, ...]) -> None:
    x, s, z = RNG.normal(0, 50, (4, size, 3)).astype(np.float32), close_to_one(4, 2, 3), integers("int8", 4, 2, 3)
    check("QuantizeLinear", {"x": x, "s": s, "z": z}, TensorProto.INT8, constant, axis=1, block_size=3)
    check("DequantizeLinear", {"q": integers("int8", 4, size, 3), "s": s, "z": z}, TensorProto.FLOAT, constant, axis=1,
          block_size=3)


@pytest.mark.parametrize("x", [RNG.normal(0, 2, (7, 30)), np.zeros((2, 2)), np.full((3, 3), 2.5), -np.ones((4,))])
def test_dynamic(x: np.ndarray) -> None:
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    types = {"y": TensorProto.UINT8, "z": TensorProto.UINT8}
    compare(make([node], {"x": x.shape}, ["y", "s", "z"], types=types), feeds={"x": x.astype(np.float32)})


#: kinds of a and b, their shapes, shapes of the zero points (None: absent)
PRODUCTS = {
    "plain": ("uint8", "uint8", (3, 5), (5, 4), None, None),
    "mixed": ("uint8", "int8", (2, 3, 40), (40, 7), (), ()),
    "columns": ("int8", "int8", (4, 9), (9, 5), (), (5,)),
    "batches": ("uint8", "int8", (2, 4, 9), (2, 9, 5), (), (2, 1, 5)),
    "vector": ("uint8", "uint8", (9,), (9, 5), (), ()),
    "long": ("uint8", "uint8", (3, 1200), (1200, 4), (), None),
}


@pytest.mark.parametrize("constant", [(), ("b",), ("b", "zb"), ("za", "zb")])
@pytest.mark.parametrize("case", PRODUCTS)
def test_matmul_integer(case: str, constant: tuple[str, ...]) -> None:
    a_kind, b_kind, a, b, za, zb = PRODUCTS[case]
    arrays = {"a": integers(a_kind, *a), "b": integers(b_kind, *b)}
    if za is not None:
        arrays["za"] = integers(a_kind, *za)
    if zb is not None:
        arrays["zb"] = integers(b_kind, *zb)
    check("MatMulInteger", arrays, TensorProto.INT32, tuple(c for c in constant if c in arrays))


@pytest.mark.parametrize("rows", [(4,), (2, 4, 1)])
def test_zero_point_for_each_row(rows: tuple[int, ...]) -> None:
    """ONNX Runtime refuses these: against the definition."""
    feeds = {"a": integers("uint8", 2, 4, 9), "b": integers("uint8", 9, 3), "za": integers("uint8", *rows)}
    types = dict.fromkeys(feeds, TensorProto.UINT8) | {"y": TensorProto.INT32}
    node = helper.make_node("MatMulInteger", ["a", "b", "za"], ["y"])
    model = make([node], {k: v.shape for k, v in feeds.items()}, ["y"], types=types)
    difference = feeds["a"].astype(np.int64) - feeds["za"].reshape(-1, 4, 1)
    np.testing.assert_array_equal(run(model, feeds).outputs["y"], difference @ feeds["b"])


def test_sums_beyond_fp32_are_exact() -> None:
    """Every product is the largest there is: the sum is odd and far beyond 2^24."""
    a, b = np.full((2, 1001), 255, np.uint8), np.full((1001, 3), 255, np.uint8)
    check("MatMulInteger", {"a": a, "b": b}, TensorProto.INT32)
    x, w = np.full((1, 301, 3, 3), 255, np.uint8), np.full((2, 301, 1, 1), 255, np.uint8)
    check("ConvInteger", {"x": x, "w": w}, TensorProto.INT32)


def test_refused_where_no_engine_adds_integers() -> None:
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    types = {"a": TensorProto.UINT8, "b": TensorProto.UINT8, "y": TensorProto.INT32}
    graph = optimise(imported(make([node], {"a": (2, 1000), "b": (1000, 3)}, ["y"], types=types)))
    last = graph.producer("y")
    assert last is not None
    assert "2^24" in integer_condition(graph, last, targets.load("inf1.xlarge"))
    assert not integer_condition(graph, last, targets.load("trn1.2xlarge"))


@pytest.mark.parametrize("target", ["trn1.2xlarge", "inf1.xlarge"])
@pytest.mark.parametrize("group", [1, 4])
def test_conv_integer(group: int, target: str) -> None:
    arrays = {"x": integers("uint8", 2, 8, 5, 6), "w": integers("uint8", 12, 8 // group, 3, 2),
              "zx": integers("uint8"), "zw": integers("uint8")}
    for constant in ((), ("w", "zw"), ("zx",)):
        check("ConvInteger", arrays, TensorProto.INT32, constant, target, group=group, pads=[1, 0, 2, 1],
              strides=[1, 2])


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("constant", [(), ("sx", "zx", "w", "sw", "zw", "sy", "zy", "b")])
def test_qlinear_conv(kind: str, constant: tuple[str, ...]) -> None:
    """A scale for each channel, a bias that fp32 does not hold exactly, padding with the zero point."""
    zero = np.array(17, kind)
    arrays = {"x": integers(kind, 1, 6, 7, 5), "sx": np.float32(0.02), "zx": zero,
              "w": integers("int8", 9, 6, 3, 3), "sw": close_to_one(9) / 20, "zw": np.zeros(9, np.int8),
              "sy": np.float32(3.7), "zy": zero, "b": RNG.integers(-2**25, 2**25, 9).astype(np.int32)}
    arrays["b"][:4] //= 1 << 14
    check("QLinearConv", arrays, KINDS[kind], constant, pads=[1, 1, 1, 1])


def test_qlinear_conv_of_many_channels() -> None:
    """Constant weights: blocks follow from the weights themselves, and fill the PE."""
    arrays = {"x": integers("uint8", 1, 300, 3, 3), "sx": np.float32(0.1), "zx": np.array(3, np.uint8),
              "w": integers("int8", 5, 300, 3, 3), "sw": np.float32(0.1), "zw": np.array(0, np.int8),
              "sy": np.float32(900), "zy": np.array(128, np.uint8)}
    check("QLinearConv", arrays, TensorProto.UINT8, tuple(list(arrays)[1:]), pads=[1, 1, 1, 1])


@pytest.mark.parametrize("constant", [(), ("sa", "za", "b", "sb", "zb", "sy", "zy")])
def test_qlinear_matmul(constant: tuple[str, ...]) -> None:
    arrays = {"a": integers("uint8", 2, 3, 300), "sa": np.float32(0.02), "za": np.array(120, np.uint8),
              "b": integers("int8", 300, 6), "sb": close_to_one(6) / 20, "zb": integers("int8", 6),
              "sy": np.float32(2.0), "zy": np.array(130, np.uint8)}
    check("QLinearMatMul", arrays, TensorProto.UINT8, constant)


def test_integer_convolutions_in_windows(tmp_path: Path) -> None:
    """Activations that exceed SBUF are computed by rows, their exact sums too."""
    kernels = {"w": integers("int8", 24, 3, 3, 3), "v": integers("int8", 8, 24, 3, 3)}
    scalars = {"s": np.array(0.02, np.float32), "t": np.array(12.0, np.float32), "z": np.array(9, np.uint8),
               "o": np.array(0, np.int8), "b": RNG.integers(-2**20, 2**20, 24).astype(np.int32)}
    nodes = [helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "o", "s", "z", "b"], ["m"], pads=[1] * 4),
             helper.make_node("MaxPool", ["m"], ["p"], kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4),
             helper.make_node("QLinearConv", ["p", "s", "z", "v", "t", "o", "t", "z"], ["y"], pads=[1] * 4)]
    byte = dict.fromkeys("xy", TensorProto.UINT8)
    model = make(nodes, {"x": (1, 3, 96, 64)}, ["y"], kernels | scalars, types=byte)
    result = compare(model, small_target(tmp_path, 40), feeds={"x": integers("uint8", 1, 3, 96, 64)})
    assert len(np.unique(result.outputs["y"])) > 50


@pytest.mark.parametrize("bias", [5000, 1 << 25])
def test_known_biases_of_integer_convolutions(bias: int) -> None:
    """Where the sum stays exact the convolution's own tail adds a bias, else an addition of integers does."""
    arrays = {"x": integers("uint8", 1, 4, 5, 6), "xs": np.float32(0.02), "xz": np.uint8(7),
              "w": integers("int8", 3, 4, 2, 2), "ws": np.float32(0.01), "wz": np.int8(0), "ys": np.float32(bias / 500),
              "yz": np.uint8(9), "b": np.array([bias, -bias, bias // 2], np.int32)}
    check("QLinearConv", arrays, TensorProto.UINT8, tuple(arrays)[1:], limit=1)
