"""What every refused command has in common, and little ONNX models to be refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from neuronsim.cli import EXIT_BAD_INPUT

Run = Callable[..., tuple[int, set[str], str]]


def model(
    nodes: Sequence[onnx.NodeProto], inputs: dict[str, Sequence[int | str]], outputs: Sequence[str],
    constants: dict[str, np.ndarray] | None = None, opset: int = 17,
) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


node = helper.make_node
RELU = node("Relu", ["x"], ["y"], "r")
SMALL = model([RELU], {"x": [2, 3]}, ["y"])


def refused(result: tuple[int, set[str], str], code: str) -> str:
    exit_code, codes, err = result
    assert (exit_code, codes) == (EXIT_BAD_INPUT, {code}), err
    return err
