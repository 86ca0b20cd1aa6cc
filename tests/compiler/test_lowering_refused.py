"""What the device cannot do is refused by name, never with an internal error."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from compiler.errors import CompileError, UnsupportedOp
from isa.errors import ErrorList, NeuronError
from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, feeds_of, run
from tests.compiler.random_operators import floats, node

RNG = np.random.default_rng(10)
INDEX = {"i": TensorProto.INT64}
REFUSED: dict[str, onnx.ModelProto] = {
    "computed kernel": make([node("Conv", ["x", "k"], ["y"])], {"x": [1, 3, 5, 5], "k": [2, 3, 1, 1]}, ["y"]),
    "computed indices along an inner axis": make(
        [node("Gather", ["x", "i"], ["y"], axis=1)], {"x": [4, 5], "i": [2]}, ["y"], types=INDEX),
    "computed indices of elements": make(
        [node("GatherElements", ["x", "i"], ["y"])], {"x": [4, 5], "i": [4, 5]}, ["y"], types=INDEX),
    "computed scale": make(
        [node("QuantizeLinear", ["x", "s"], ["y"])], {"x": [4, 5], "s": []}, ["y"], types={"y": TensorProto.UINT8}),
    "scattered selection": make(
        [node("GatherElements", ["x", "i"], ["y"])], {"x": [500, 40]}, ["y"], {"i": RNG.integers(0, 500, (500, 40))}),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused(case: str) -> None:
    with pytest.raises((UnsupportedOp, ErrorList)) as caught:
        run(REFUSED[case], feeds_of(REFUSED[case]))
    assert "UNSUPPORTED_OP" in str(caught.value)
    assert "where" in str(caught.value)


def test_tables_computed_on_v1() -> None:
    """v1 has no indirect transfer: constant tables become products, computed ones are refused."""
    inputs = {"i": [3], "t": [30, 16]}
    with pytest.raises(UnsupportedOp):
        run(make([node("Gather", ["t", "i"], ["y"])], inputs, ["y"], types=INDEX), {}, "inf1.xlarge")
    table = {"t": floats(RNG, 30, 16)}
    compare(make([node("Gather", ["t", "i"], ["y"])], {"i": [3]}, ["y"], table, types=INDEX), "inf1.xlarge")


def test_a_tensor_larger_than_sbuf() -> None:
    """One partition cannot hold a row of this: the error names the layer, limit and size."""
    model = make([node("Softmax", ["x"], ["y"])], {"x": [2, 100000]}, ["y"])
    with pytest.raises(CompileError) as caught:
        run(model, {})
    assert isinstance(caught.value, NeuronError)
    assert caught.value.code == "ALLOCATION"
