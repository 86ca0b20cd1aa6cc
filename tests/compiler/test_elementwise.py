"""Pointwise operators over their whole domain against numpy in float64 (and Python for what numpy has not)."""
from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from compiler import compile_graph
from compiler.ir import Graph
from compiler.lowering import CONDITIONS
from compiler.options import from_keywords
from isa import target as targets
from neuronsim.api import Neff
from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, run, small_target
from tests.compiler.random_operators import node

#: relative error of a composed function: a few roundings to fp32, some of arguments of a logarithm
RELATIVE = 5e-6
SIZES = np.concatenate([np.geomspace(1e-30, 1e18, 97), [0.5, 1.0, 2.0, np.pi / 2, np.pi, 10.0]])
EVERYWHERE = np.concatenate([-SIZES, [0.0, np.inf, -np.inf, np.nan], SIZES]).astype(np.float32)
ANGLES = np.concatenate([np.linspace(-40, 40, 201), [1e-20, -1e-5, 12345.678, np.pi / 2, 7.853982]]).astype(np.float32)
UNIT = np.concatenate([np.linspace(-1, 1, 101), [1e-20, -1e-7, 1 - 6e-8, 1.5, -np.inf, np.nan]]).astype(np.float32)
HALVES = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 4194304.5, -8388609.0, 3e9, -0.2, 7.0, np.inf, np.nan], np.float32)

Oracle = Callable[[np.ndarray], Any]


def elu(x: np.ndarray, alpha: float = 1.0, gamma: float = 1.0, scale: float = 1.0) -> np.ndarray:
    return gamma * (np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) * scale))


def hard_swish(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x / 6 + 0.5, 0, 1)


FUNCTIONS: dict[str, tuple[Oracle, np.ndarray, dict[str, Any]]] = {
    "Acos": (np.arccos, UNIT, {}),
    "Acosh": (np.arccosh, EVERYWHERE, {}),
    "Asin": (np.arcsin, UNIT, {}),
    "Asinh": (np.arcsinh, EVERYWHERE, {}),
    "Atan": (np.arctan, EVERYWHERE, {}),
    "Atanh": (np.arctanh, UNIT, {}),
    "Ceil": (np.ceil, HALVES, {}),
    "Celu": (lambda x: elu(x, 2.0, 1.0, 0.5), EVERYWHERE, {"alpha": 2.0}),
    "Cos": (np.cos, ANGLES, {}),
    "Cosh": (np.cosh, EVERYWHERE, {}),
    "Elu": (lambda x: elu(x, 1.5), EVERYWHERE, {"alpha": 1.5}),
    "Floor": (np.floor, HALVES, {}),
    "HardSwish": (hard_swish, ANGLES, {}),
    "Round": (np.rint, HALVES, {}),
    "Selu": (lambda x: elu(x, 1.6732631921768188, 1.0507010221481323), EVERYWHERE, {}),
    "Shrink": (lambda x: np.where(x < -2, x + 1, np.where(x > 2, x - 1, 0)), EVERYWHERE, {"lambd": 2.0, "bias": 1.0}),
    "Sinh": (np.sinh, EVERYWHERE, {}),
    "Softsign": (lambda x: x / (1 + np.abs(x)), EVERYWHERE, {}),
    "Tan": (np.tan, ANGLES, {}),
    "ThresholdedRelu": (lambda x: np.where(x > 1.5, x, 0), EVERYWHERE, {"alpha": 1.5}),
}


def device(op: str, arrays: list[np.ndarray], result: np.dtype | type, constants: dict[int, np.ndarray] | None = None,
           target: str = "trn1.2xlarge", **attrs: Any) -> np.ndarray:
    """One operator of run-time (and by position constant) operands, run with values and without findings."""
    types = {f"x{k}": helper.np_dtype_to_tensor_dtype(a.dtype) for k, a in enumerate(arrays)}
    types["y"] = helper.np_dtype_to_tensor_dtype(np.dtype(result))
    fixed = {f"x{k}": a for k, a in (constants or {}).items()}
    names = [f"x{k}" for k in range(len(arrays))]
    inputs = {n: list(a.shape) for n, a in zip(names, arrays, strict=True) if n not in fixed}
    model = make([node(op, names, ["y"], **attrs)], inputs, ["y"], fixed, types=types)
    found = run(model, {n: a for n, a in zip(names, arrays, strict=True) if n in inputs}, target)
    assert not found.findings, found.findings[0]
    return found.outputs["y"]


@pytest.mark.parametrize("op", sorted(FUNCTIONS))
def test_functions_are_accurate_everywhere(op: str) -> None:
    oracle, x, attrs = FUNCTIONS[op]
    with np.errstate(all="ignore"):
        want: Any = np.asarray(oracle(x.astype(np.float64))).astype(np.float32)
    np.testing.assert_allclose(device(op, [x], np.float32, **attrs), want, rtol=RELATIVE, atol=1e-37)


@pytest.mark.parametrize("op", ["Acosh", "Asin", "Floor", "Sinh", "Softsign", "Tan"])
def test_functions_of_half_precision_round_once(op: str) -> None:
    oracle, _, attrs = FUNCTIONS[op]
    x = np.linspace(-3, 3, 61).astype(np.float16)
    with np.errstate(all="ignore"):
        want: Any = np.asarray(oracle(x.astype(np.float64))).astype(np.float16)
    np.testing.assert_allclose(device(op, [x], np.float16, **attrs), want, rtol=1e-3)


@pytest.mark.parametrize("op", ["Acos", "Atanh", "Cos", "Softsign"])
def test_functions_without_a_divider(op: str) -> None:
    """The first generation multiplies by reciprocals, and inputs arrive as they are."""
    oracle, _, attrs = FUNCTIONS[op]
    x = np.linspace(-0.9, 0.9, 19).astype(np.float32)
    got = device(op, [x], np.float32, target="inf1.xlarge", **attrs)
    np.testing.assert_allclose(got, oracle(x.astype(np.float64)), rtol=1e-5)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_infinities_are_told_apart(up: int, down: int) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, 3e38], np.float32)
    got = device("IsInf", [x], np.bool_, detect_positive=up, detect_negative=down)
    np.testing.assert_array_equal(got, [bool(up), bool(down), False, False, False])


NARROW = [np.int8, np.uint8, np.int16, np.uint16]


@pytest.mark.parametrize("kind", NARROW)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Less", "Neg", "Abs"])
def test_narrow_integers_wrap(op: str, kind: type) -> None:
    """Every result is numpy's, which keeps the low bits; quotients go towards zero."""
    if op == "Neg" and np.dtype(kind).kind == "u":
        return
    rng = np.random.default_rng(3)
    info: Any = np.iinfo(kind)
    x: Any = rng.integers(info.min, info.max, (6, 50), dtype=kind, endpoint=True)
    y: Any = rng.integers(info.min, info.max, (6, 50), dtype=kind, endpoint=True)
    x[0, :4], y[0, :4] = info.min, info.max
    y[y == 0] = 1
    y[(x == info.min) & (y == kind(-1) if info.min else False)] = 1
    functions: dict[str, Callable[..., Any]] = {
        "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Mod": np.mod, "Max": np.maximum, "Less": np.less,
        "Div": lambda a, b: np.trunc(a / b).astype(kind),
    }
    if op in ("Neg", "Abs"):
        np.testing.assert_array_equal(device(op, [x], kind), -x if op == "Neg" else np.abs(x))
        return
    got = device(op, [x, y], np.bool_ if op == "Less" else kind)
    np.testing.assert_array_equal(got, functions[op](x, y))


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("op", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Max", "Min", "Clip"])
def test_comparisons_of_all_32_bits(op: str, kind: type) -> None:
    """Exact where fp32 is not: neighbours far from 0, and the ends of the type."""
    info: Any = np.iinfo(np.int32 if kind is np.int64 else kind)
    far = [0, 1, 2**24, 2**24 + 1, 2**30, 2**30 + 1, 65535, 65536, info.max, info.max - 1, info.min, info.min + 1]
    x: Any = np.array(far, kind)[:, None]
    y: Any = np.array(far, kind)
    functions: dict[str, Callable[..., Any]] = {
        "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal, "Max": np.maximum, "Min": np.minimum,
    }
    if op == "Clip":
        bounds: Any = [np.array(far[2] + 1, kind), np.array(far[5], kind)]
        got = device(op, [x, *bounds], kind, dict(enumerate(bounds, 1)))
        np.testing.assert_array_equal(got, np.clip(x, *bounds))
        return
    want = functions[op](x, y)
    np.testing.assert_array_equal(device(op, [x, y], want.dtype), want)
    np.testing.assert_array_equal(device(op, [x, y[:6]], want.dtype, {1: y[:6]}), want[:, :6])


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint32, np.int32])
@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"])
def test_bits(op: str, kind: type) -> None:
    info: Any = np.iinfo(kind)
    x: Any = np.array([[info.min], [info.max], [5]], kind)
    y: Any = np.array([info.max, 3, 0x55], kind)
    if op == "BitwiseNot":
        np.testing.assert_array_equal(device(op, [x], kind), ~x)
        return
    want = {"BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor}[op](x, y)
    np.testing.assert_array_equal(device(op, [x, y], kind), want)
    np.testing.assert_array_equal(device(op, [x, y], kind, {1: y}), want)
    np.testing.assert_array_equal(device(op, [x, y[:1]], kind, {1: y[:1]}), want[:, :1])


def test_remainders_of_floats_are_exact() -> None:
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.standard_normal(300) * 10.0 ** rng.integers(-3, 8, 300), [5, -5, 5, -5, 0.0, np.inf, 1]])
    y = np.concatenate([rng.standard_normal(300) + 2.1, [np.inf, np.inf, 2.5, 2.5, 3, 1, 0]])
    a, b = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(device("Mod", [a, b], np.float32, fmod=1), np.fmod(a, b))


@pytest.mark.parametrize("sign", [1, -1])
def test_remainders_take_the_divisors_sign(sign: int) -> None:
    x = np.array([7.5, -7.5, 7.5, -7.5, 6.0], np.float32)
    y = np.float32(sign) * np.array([2, 2, 2.5, np.inf, 3], np.float32)
    fmod = [math.fmod(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    want = [r + b if r * b < 0 else r for r, b in zip(fmod, y.tolist(), strict=True)]
    model = make([helper.make_node("Mod", ["x", "z"], ["y"], fmod=1)], {"x": [5], "z": [5]}, ["y"])
    np.testing.assert_array_equal(run(model, {"x": x, "z": y}).outputs["y"], np.array(fmod, np.float32))
    np.testing.assert_array_equal(direct("Mod", [x, y], "float32", fmod=0), np.array(want, np.float32))


def direct(op: str, arrays: list[np.ndarray], result: str, **attrs: Any) -> np.ndarray:
    """An operator in a form that only newer opsets than onnxruntime's have: the graph says it."""
    graph = Graph()
    for k, array in enumerate(arrays):
        graph.add_input(f"x{k}", array.shape, array.dtype.name)
    graph.add_value("y", arrays[0].shape, result)
    graph.add_node(op, list(graph.inputs), ["y"], attrs, sources=["m"])
    graph.outputs = ["y"]
    program = compile_graph(graph, from_keywords({"target": "trn1.2xlarge", "auto_cast": "none", "fallback": False}))
    return Neff(program).run({f"x{k}": a for k, a in enumerate(arrays)}, check=True).outputs["y"]


def test_bounds_and_slopes_known_at_run_time() -> None:
    rng = np.random.default_rng(9)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    low, high = np.array(-0.5, np.float32), np.array(0.25, np.float32)
    np.testing.assert_array_equal(device("Clip", [x, low, high], np.float32), np.clip(x, low, high))
    for shape in [(5,), (3, 1, 1), (1, 3, 4, 1), (1,)]:
        slope = rng.standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(device("PRelu", [x, slope], np.float32), np.where(x < 0, slope * x, x), rtol=1e-6)
    whole = (x * 50).astype(np.int8)
    bounds = [np.array(-20, np.int8), np.array(30, np.int8)]
    np.testing.assert_array_equal(device("Clip", [whole, *bounds], np.int8), np.clip(whole, *bounds))


CASTS = [
    (np.int32, np.int8), (np.int32, np.uint8), (np.int16, np.uint8), (np.int8, np.uint16), (np.int8, np.uint32),
    (np.int64, np.int16), (np.uint32, np.int32), (np.int32, np.uint32), (np.int32, np.float32), (np.uint8, np.int64),
    (np.int32, np.bool_), (np.bool_, np.float16), (np.int32, np.int64),
]


@pytest.mark.parametrize(("source", "target"), CASTS)
def test_casts_of_integers_keep_the_low_bits(source: type, target: type) -> None:
    if source is np.bool_:
        x = np.array([True, False])
    else:
        info = np.iinfo(np.int32 if source is np.int64 else source)
        x = np.array([0, 1, 127, info.max, info.min, info.max // 3, 200 % (info.max + 1)], source)
    got = device("Cast", [x], target, to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))
    np.testing.assert_array_equal(got, x.astype(target))


@pytest.mark.parametrize("to", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
@pytest.mark.parametrize("saturate", [0, 1])
def test_casts_to_eight_bit_floats(to: int, saturate: int) -> None:
    """Out of range: the largest number, or without `saturate` what the type overflows to; NaN stays."""
    kind = helper.tensor_dtype_to_np_dtype(to)
    x = np.array([0.3, -1.7, 1e6, -1e6, np.inf, np.nan, 1e-9, 448.0, 465.0], np.float32)
    largest = 448.0 if to == TensorProto.FLOAT8E4M3FN else 57344.0
    want = (np.clip(x, -largest, largest) if saturate else x).astype(kind)
    got = device("Cast", [x], kind, to=to, saturate=saturate)
    np.testing.assert_array_equal(got.astype(np.float32), want.astype(np.float32))


def test_bits_as_another_type() -> None:
    x = np.array([1.0, -2.5, np.inf, 3e-41], np.float32)
    np.testing.assert_array_equal(direct("BitCast", [x], "int32", to=int(TensorProto.INT32)), x.view(np.int32))
    bits = x.view(np.int32)
    np.testing.assert_array_equal(direct("BitCast", [bits], "float32", to=int(TensorProto.FLOAT)), x)
    assert "64 bits" in refused("BitCast", "int64", "uint64")


def test_gates() -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.standard_normal((3, 40)).astype(np.float32) for _ in range(2))
    swish = x / (1 + np.exp(-1.5 * x.astype(np.float64)))
    np.testing.assert_allclose(direct("SwiGLU", [x, y], "float32", alpha=1.5), swish * y, rtol=RELATIVE)
    np.testing.assert_allclose(direct("Swish", [x], "float32", alpha=1.5), swish, rtol=RELATIVE)


def test_rows_of_images_are_computed_apart(tmp_path: Path) -> None:
    """Between convolutions whose activations do not fit, functions of several steps follow the windows."""
    rng = np.random.default_rng(4)
    weights = {"w": rng.standard_normal((8, 8, 3, 3)).astype(np.float32) / 8, "s": np.linspace(-1, 1, 8)[:, None, None]}
    weights["s"] = weights["s"].astype(np.float32)
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [node("Conv", ["x", "w"], ["a"], **conv), node("PRelu", ["a", "s"], ["b"]), node("HardSwish", ["b"], ["c"]),
             node("Elu", ["c"], ["d"]), node("Conv", ["d", "w"], ["y"], **conv)]
    compare(make(nodes, {"x": [1, 8, 64, 64]}, ["y"], weights), small_target(tmp_path, 48))


def refused(op: str, operand: str, result: str, target: str = "trn1.2xlarge") -> str:
    """The reason why a node with two operands of this type has no lowering."""
    graph = Graph()
    graph.add_input("x", (3,), operand)
    graph.add_value("y", (3,), result)
    return CONDITIONS[op](graph, graph.add_node(op, ["x", "x"], ["y"]), targets.load(target))


def test_refusals() -> None:
    assert "quotient" in refused("Div", "int8", "int8", "inf1.xlarge")
    assert "quotient" in refused("Mod", "float32", "float32", "inf1.xlarge")
    assert refused("Div", "float32", "float32", "inf1.xlarge") == refused("Div", "int8", "int8") == ""
    assert "Shrink" in refused("Shrink", "int8", "int8") and refused("Shrink", "float16", "float16") == ""
