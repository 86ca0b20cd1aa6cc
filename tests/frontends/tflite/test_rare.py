"""Operators that neither the converter nor the interpreter at hand knows: what they compute, by their definitions."""

from __future__ import annotations

import struct
from math import erf

import numpy as np
import pytest

from compiler.frontends.tflite import reader
from compiler.frontends.tflite.custom import FLEX
from compiler.frontends.tflite.reader import Model, Operator, Subgraph, Tensor
from compiler.ir import Graph
from tests.frontends.corpus import _evaluated as evaluated
from tests.frontends.tflite.test_face import CORPUS, constant, convert, tensor

RNG = np.random.default_rng(8)
_SELU = (1.0507009873554805, 1.6732632423543772)
#: what each TensorFlow operator computes, and between which numbers it is tried
_FLEX_WANTED = {
    "Acos": (np.arccos, -1, 1), "Acosh": (np.arccosh, 1, 4), "Asin": (np.arcsin, -1, 1), "Asinh": (np.arcsinh, -3, 3),
    "Atan": (np.arctan, -3, 3), "Atanh": (np.arctanh, -0.9, 0.9), "Cosh": (np.cosh, -2, 2),
    "Erf": (np.vectorize(erf), -2, 2), "Inv": (np.reciprocal, 0.5, 2), "IsInf": (np.isinf, -1, 1),
    "IsNan": (np.isnan, -1, 1), "Reciprocal": (np.reciprocal, -2, -0.5),
    "Selu": (lambda x: _SELU[0] * np.where(x > 0, x, _SELU[1] * np.expm1(x)), -2, 2), "Sinh": (np.sinh, -2, 2),
    "Softplus": (lambda x: np.log1p(np.exp(x)), -3, 3), "Softsign": (lambda x: x / (1 + np.abs(x)), -3, 3),
    "Tan": (np.tan, -1, 1),
}


def single(op: Operator, tensors: list[Tensor], inputs: tuple[int, ...]) -> Graph:
    return convert(Model("", [Subgraph("main", tensors, inputs, op.outputs, [op])]))


@pytest.mark.parametrize("name", FLEX)
def test_functions_of_tensorflow(name: str) -> None:
    function, low, high = _FLEX_WANTED[name]
    x = RNG.uniform(low, high, (2, 3)).astype(np.float32)
    if name in ("IsInf", "IsNan"):
        x[0] = np.inf, np.nan, -np.inf
    wanted = function(x)
    graph = single(Operator(f"Flex{name}", True, (0,), (1,), {}, b"", 1),
                   [tensor("x"), tensor("y", dtype=wanted.dtype.name if wanted.dtype == bool else "float32")], (0,))
    np.testing.assert_allclose(evaluated(graph, {"x": x})["y"], wanted, rtol=1e-5, atol=1e-6)


def scattered(x: np.ndarray, w: np.ndarray, bias: np.ndarray, stride: tuple[int, int], same: bool) -> np.ndarray:
    """A transposed convolution by its definition: every pixel adds its multiple of the kernel.

    Shapes: x (h, w, Cin), w (Cout, kh, kw, Cin). SAME keeps h * stride rows from the middle, one less before.
    """
    (rows, columns, _), (_, high, wide, _) = x.shape, w.shape
    out = np.zeros(((rows - 1) * stride[0] + high, (columns - 1) * stride[1] + wide, w.shape[0]))
    for r in range(rows):
        for c in range(columns):
            top, left = r * stride[0], c * stride[1]
            out[top : top + high, left : left + wide] += np.einsum("i,ohwi->hwo", x[r, c], w)
    if same:
        sizes = [n * s for n, s in zip((rows, columns), stride, strict=True)]
        first = [max(n - s, 0) // 2 for n, s in zip(out.shape, sizes, strict=False)]
        out = out[first[0] : first[0] + sizes[0], first[1] : first[1] + sizes[1]]
    return out + bias


@pytest.mark.parametrize("same", [False, True])
def test_transposed_convolution_of_mediapipe(same: bool) -> None:
    x = RNG.normal(size=(1, 3, 4, 2)).astype(np.float32)
    w, bias = RNG.normal(size=(5, 3, 3, 2)).astype(np.float32), RNG.normal(size=5).astype(np.float32)
    wanted = scattered(x[0], w, bias, (2, 1), same)[None]
    options = struct.pack("<3i", 1 if same else 2, 1, 2)
    graph = single(Operator("Convolution2DTransposeBias", True, (0, 1, 2), (3,), {}, options, 1),
                   [tensor("x", x.shape), constant("w", w), constant("b", bias), tensor("y", wanted.shape)], (0,))
    np.testing.assert_allclose(evaluated(graph, {"x": x})["y"], wanted, rtol=1e-5, atol=1e-5)


def test_pooling_with_places_of_mediapipe() -> None:
    x = RNG.permutation(96).reshape(1, 6, 8, 2).astype(np.float32)
    windows = x.reshape(3, 2, 4, 2, 2).transpose(0, 2, 4, 1, 3).reshape(3, 4, 2, 4)
    row, column = np.divmod(windows.argmax(-1), 2)
    places = (row + 2 * np.arange(3)[:, None, None]) * 8 + column + 2 * np.arange(4)[:, None]
    op = Operator("MaxPoolingWithArgmax2D", True, (0,), (1, 2), {}, struct.pack("<5i", 2, 2, 2, 2, 2), 1)
    graph = single(op, [tensor("x", x.shape), tensor("y", (1, 3, 4, 2)), tensor("at", (1, 3, 4, 2))], (0,))
    found = evaluated(graph, {"x": x})
    np.testing.assert_array_equal(found["y"][0], windows.max(-1))
    np.testing.assert_array_equal(found["at"][0], places)


def test_a_subgraph_that_is_called() -> None:
    main = Subgraph("main", [tensor("x"), tensor("y")], (0,), (1,),
                    [Operator("CALL", False, (0,), (1,), {"subgraph": 1}, b"", 1)])
    inner = Subgraph("inner", [tensor("a"), tensor("b")], (0,), (1,), [Operator("NEG", False, (0,), (1,), {}, b"", 1)])
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(evaluated(convert(Model("", [main, inner])), {"x": x})["y"], -x)


def test_how_many_entries_a_table_has() -> None:
    tensors = [tensor("table", (1,), "resource"), constant("keys", np.int64([4, 7, 9])),
               constant("values", np.int64([1, 2, 3])), tensor("y", (1,), "int64")]
    ops = [Operator("HASHTABLE", False, (), (0,), {"table_id": 1, "value_dtype": 4}, b"", 1),
           Operator("HASHTABLE_IMPORT", False, (0, 1, 2), (), {}, b"", 1),
           Operator("HASHTABLE_SIZE", False, (0,), (3,), {}, b"", 1)]
    found = evaluated(convert(Model("", [Subgraph("main", tensors, (), (3,), ops)])), {})["y"]
    np.testing.assert_array_equal(found, np.int64([3]))


def test_draws_follow_their_weights() -> None:
    tensors = [tensor("x", (2, 3)), constant("count", np.int32(400)), tensor("y", (2, 400), "int32")]
    graph = single(Operator("MULTINOMIAL", False, (0, 1), (2,), {"seed": 5}, b"", 1), tensors, (0,))
    with np.errstate(divide="ignore"):
        x = np.log(np.float32([[0.2, 0.8, 1e-30], [1, 1, 2]]))
    found = evaluated(graph, {"x": x})["y"]
    shares = np.stack([np.bincount(row, minlength=3) for row in found]) / 400
    np.testing.assert_allclose(shares, [[0.2, 0.8, 0], [0.25, 0.25, 0.5]], atol=0.1)


@pytest.mark.parametrize(("crops", "joined"), [([[0, 0], [0, 2]], True), ([[1, 0], [1, 1]], True),
                                               ([[0, 0], [2, 0]], False)])
def test_convolutions_between_blocks_are_dilated(crops: list[list[int]], joined: bool) -> None:
    """The same three operators give the same where a RESHAPE in between keeps them apart."""
    w, bias = RNG.normal(size=(4, 3, 3, 2)).astype(np.float32), RNG.normal(size=4).astype(np.float32)
    x = RNG.normal(size=(2, 7, 9, 2)).astype(np.float32)
    pads = [[2, 1], [1, 2]]  # 10 rows in blocks of 2, 12 columns in blocks of 3
    tensors = [tensor("x", x.shape), constant("sizes", np.int32([2, 3])), constant("pads", np.int32(pads)),
               constant("crops", np.int32(crops)), constant("w", w), constant("b", bias),
               tensor("blocks", (12, 5, 4, 2)), tensor("sums", (12, 3, 2, 4)), tensor("y", (2, 6, 6, 4)),
               constant("same", np.int32([12, 3, 2, 4])), tensor("apart", (12, 3, 2, 4))]
    options = {"padding": 1, "fused_activation_function": 1}
    first = [Operator("SPACE_TO_BATCH_ND", False, (0, 1, 2), (6,), {}, b"", 1),
             Operator("CONV_2D", False, (6, 4, 5), (7,), options, b"", 1)]
    last = Operator("BATCH_TO_SPACE_ND", False, (7, 1, 3), (8,), {}, b"", 1)
    between = Operator("RESHAPE", False, (7, 9), (10,), {}, b"", 1)
    one, other = (convert(Model("", [Subgraph("main", tensors, (0,), (8,), ops)])) for ops in (
        [*first, last], [*first, between, Operator(last.type, False, (10, 1, 3), (8,), {}, b"", 1)]))
    assert ("Pad" not in one.op_counts()) == joined
    found, wanted = (evaluated(g, {"x": x})["y"] for g in (one, other))
    assert found.shape == (2, 6 - sum(crops[0]), 6 - sum(crops[1]), 4)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["deeplab"])
def test_dilated_convolutions_of_a_network(case: str) -> None:
    content = CORPUS.arrays[f"{case}/file/model.tflite"].tobytes()
    graph = convert(reader.parse(memoryview(content), case))
    assert [2, 2] in [node.attrs.get("dilations") for node in graph]
