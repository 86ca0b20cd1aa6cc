"""Long vectors: computed in rows on all partitions, joined and cut in DRAM; nothing of them falls to the CPU."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler.passes.flat_rows import rows_of
from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, feeds_of

node = helper.make_node
N = 60000


def flat(*nodes: onnx.NodeProto, size: int = N, lead: int = 1, **constants: np.ndarray) -> onnx.ModelProto:
    return make(list(nodes), {"x": [lead, size]}, ["y"], {k: np.asarray(v) for k, v in constants.items()}, opset=18)


def heads(batch: int, width: int) -> onnx.ModelProto:
    """Maps of different sizes, each flattened as (row, column, anchor, number), all joined: SSD's predictions."""
    sizes = ((38, 4), (19, 6), (10, 6), (1, 4))
    nodes, inputs = [], {}
    for k, (side, anchors) in enumerate(sizes):
        inputs[f"x{k}"] = [batch, anchors * width, side, side]
        nodes += [node("Transpose", [f"x{k}"], [f"t{k}"], perm=[0, 2, 3, 1]), node("Flatten", [f"t{k}"], [f"f{k}"])]
    nodes.append(node("Concat", [f"f{k}" for k in range(len(sizes))], ["c"], axis=1))
    nodes += [node("Reshape", ["c", "shape"], ["r"]), node("Softmax", ["r"], ["y"], axis=2)]
    return make(nodes, inputs, ["y", "c"], {"shape": np.array([batch, -1, width])}, opset=18)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("target", ["trn1.2xlarge", "inf1.xlarge"])
def test_heads_are_joined_on_the_device(batch: int, target: str) -> None:
    compare(heads(batch, 11), target)


LAST = np.array([1])
CASES = {
    "pointwise": flat(node("Exp", ["x"], ["a"]), node("Add", ["a", "c"], ["b"]), node("Sigmoid", ["b"], ["y"]),
                      c=np.linspace(-1, 1, N, dtype=np.float32)[None]),
    "two operands": flat(node("Neg", ["x"], ["a"]), node("Mul", ["a", "x"], ["y"]), lead=3),
    "where": flat(node("Greater", ["x", "zero"], ["m"]), node("Where", ["m", "x", "zero"], ["y"]), zero=np.float32(0)),
    "scale of each": flat(node("Mul", ["x", "s"], ["a"]), node("Add", ["a", "s"], ["b"]), node("Relu", ["b"], ["y"]),
                          s=np.linspace(-1, 1, N, dtype=np.float32)),
    "standardised": flat(node("ReduceMean", ["x", "last"], ["m"]), node("Sub", ["x", "m"], ["d"]),
                         node("Mul", ["d", "d"], ["q"]), node("ReduceSum", ["q", "last"], ["v"]),
                         node("Sqrt", ["v"], ["r"]), node("Div", ["d", "r"], ["y"]), last=LAST),
    "softmax": flat(node("Softmax", ["x"], ["y"], axis=1), size=70000),
    "log softmax": flat(node("LogSoftmax", ["x"], ["y"], axis=-1), lead=2),
    "slice": flat(node("Relu", ["x"], ["a"]), node("Slice", ["a", "low", "high", "last"], ["b"]),
                  node("Exp", ["b"], ["y"]), low=np.array([10001]), high=np.array([-7999]), last=LAST),
    "slices of two": flat(node("Slice", ["x", "low", "high", "last"], ["b"]), node("Exp", ["b"], ["y"]),
                          low=np.array([4]), high=np.array([N - 4]), last=LAST, lead=2),
    "split": flat(node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), node("Add", ["a", "b"], ["y"])),
    "join of odd lengths": flat(node("Concat", ["x", "x", "c"], ["y"], axis=1), c=np.ones((1, 7), np.float32)),
    "flattened": make([node("Flatten", ["x"], ["f"]), node("Exp", ["f"], ["g"]), node("MatMul", ["g", "w"], ["y"])],
                      {"x": [1, 32, 16, 18]}, ["y"], {"w": np.full((9216, 3), 1e-3, np.float32)}, opset=18),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    model = CASES[name]
    compare(model, feeds=feeds_of(model), limit=2e-5)


def test_a_vector_of_the_whole_sbuf_takes_no_longer_than_its_transfers() -> None:
    assert compare(CASES["pointwise"]).time_ns < 80e3  # 60000 elements in one partition: 63 us an operator


@pytest.mark.parametrize(("shape", "rows"), [
    ((1, 120000), (1, 125, 960)),
    ((4, 8192), (4, 32, 256)),
    ((1, 8191), None),  # not long
    ((64, 65536), None),  # on many partitions already
    ((1, 60013), None),  # prime
])
def test_rows(shape: tuple[int, ...], rows: tuple[int, int, int] | None) -> None:
    assert rows_of(shape) == rows


def test_counts_are_exact() -> None:
    model = make([node("Cast", ["x"], ["i"], to=TensorProto.INT32), node("ReduceSum", ["i", "last"], ["y"])],
                 {"x": [1, N]}, ["y"], {"last": LAST}, opset=18,
                 types={"x": TensorProto.BOOL, "y": TensorProto.INT32})
    compare(model)


def test_short_joins_of_maps_go_through_dram_too() -> None:
    sizes = ((8, 16), (4, 24))
    nodes, inputs = [], {}
    for k, (side, channels) in enumerate(sizes):
        inputs[f"x{k}"] = [1, channels, side, side]
        nodes += [node("Relu", [f"x{k}"], [f"r{k}"]), node("Transpose", [f"r{k}"], [f"t{k}"], perm=[0, 2, 3, 1]),
                  node("Flatten", [f"t{k}"], [f"f{k}"])]
    model = make([*nodes, node("Concat", ["f0", "f1"], ["c"], axis=1), node("Reshape", ["c", "shape"], ["r"]),
                  node("Softmax", ["r"], ["y"], axis=2)], inputs, ["y"], {"shape": np.array([1, -1, 4])}, opset=18)
    assert compare(model).time_ns < 18e3  # 24.5 us where one partition holds all of it
