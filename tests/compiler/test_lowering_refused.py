"""What the device cannot do is refused by name, never with an internal error."""
from __future__ import annotations

import onnx
import pytest

from compiler.errors import CompileError, UnsupportedOp
from isa.errors import ErrorList, NeuronError
from tests.compiler.evaluate import make
from tests.compiler.lowering_run import feeds_of, run
from tests.compiler.random_operators import node

REFUSED: dict[str, onnx.ModelProto] = {
    "kernel over four axes": make(
        [node("Conv", ["x", "w"], ["y"])], {"x": [1, 1, 3, 3, 3, 3], "w": [1, 1, 2, 2, 2, 2]}, ["y"]),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused(case: str) -> None:
    with pytest.raises((UnsupportedOp, ErrorList)) as caught:
        run(REFUSED[case], feeds_of(REFUSED[case]))
    assert "UNSUPPORTED_OP" in str(caught.value)
    assert "where" in str(caught.value)


def test_a_tensor_larger_than_sbuf() -> None:
    """One partition cannot hold a row of this: the error names the layer, limit and size."""
    model = make([node("Softmax", ["x"], ["y"])], {"x": [64, 60000]}, ["y"])
    with pytest.raises(CompileError) as caught:
        run(model, {})
    assert isinstance(caught.value, NeuronError)
    assert caught.value.code == "ALLOCATION"
