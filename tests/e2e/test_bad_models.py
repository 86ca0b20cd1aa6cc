"""Models that cannot be compiled: an error of its own each, nothing left on disk, nothing large ever allocated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.e2e.refusal import RELU, SMALL, Run, model, node, refused


# ---- model files
@pytest.mark.parametrize(
    "content, code",
    [
        (None, "MODEL_MISSING"),
        (b"", "MODEL_EMPTY"),
        (SMALL.SerializeToString()[:-9], "MODEL_TRUNCATED"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "MODEL_FORMAT"),
        (b"version https://git-lfs.github.com/spec/v1\n", "MODEL_FORMAT"),
    ],
)
def test_files_that_are_no_model(run: Run, content: bytes | None, code: str) -> None:
    if content is not None:
        Path("m.onnx").write_bytes(content)
    assert "m.onnx" in refused(run("compile", "m.onnx", "-o", "out.neff", "--report", "r.json"), code)


def test_a_directory_is_no_model(run: Run) -> None:
    Path("folder").mkdir()
    refused(run("compile", "folder"), "MODEL_MISSING")


MODELS: dict[str, tuple[onnx.ModelProto, str, str]] = {
    "failing checker": (model([node("Add", ["x"], ["y"], "a")], {"x": [2]}, ["y"]), "MODEL_INVALID", ""),
    "undefined input": (model([node("Relu", ["z"], ["y"], "a")], {"x": [2]}, ["y"]), "MODEL_INVALID", ""),
    "unknown operator": (model([node("Frob", ["x"], ["y"], "f1")], {"x": [2]}, ["y"]), "UNSUPPORTED_OP", "f1"),
    "unknown attribute": (model([node("Relu", ["x"], ["y"], "r", slope=2.0)], {"x": [2]}, ["y"]), "UNKNOWN_ATTRIBUTE",
                          "slope"),
    "symbolic shape": (model([RELU], {"x": ["N", 3, "h"]}, ["y"]), "INPUT_SYMBOLIC", "--input-shape x:1x3xN"),
    "shapes that do not fit": (model([node("MatMul", ["x", "w"], ["y"], "mm")], {"x": [2, 3]}, ["y"],
                                     {"w": np.ones((4, 5), np.float32)}), "SHAPE_MISMATCH", "mm"),
    "newer opset": (model([RELU], {"x": [2]}, ["y"], opset=999), "MODEL_OPSET", "999"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_be_compiled(run: Run, name: str) -> None:
    proto, code, words = MODELS[name]
    Path("m.onnx").write_bytes(proto.SerializeToString())
    assert words in refused(run("compile", "m.onnx", "-o", "out.neff"), code)


def test_all_unknown_operators_are_reported_at_once(run: Run) -> None:
    nodes = [node("Frob", ["x"], ["a"], "f1"), node("Warp", ["a"], ["y"], "w1")]
    onnx.save(model(nodes, {"x": [2]}, ["y"]), "m.onnx")
    err = refused(run("compile", "m.onnx"), "UNSUPPORTED_OP")
    assert err.count("error[") == 2


def test_reshape_that_fixes_the_batch_names_node_and_shapes(run: Run) -> None:
    nodes = [node("Reshape", ["x", "s"], ["y"], "flat")]
    onnx.save(model(nodes, {"x": [1, 2048, 1, 1]}, ["y"], {"s": np.array([1, 2048])}), "m.onnx")
    err = refused(run("compile", "m.onnx", "--input-shape", "x:8x2048x1x1"), "SHAPE_MISMATCH")
    for words in ("'flat'", "[8, 2048, 1, 1]", "[1, 2048]"):
        assert words in err


@pytest.mark.parametrize(
    "flags, code",
    [
        (["--input-shape", "z:2x3"], "INPUT_NAME"),
        (["--input-shape", "x:2x3x4"], "INPUT_SHAPE"),
        (["--input-shape", "x:2xthree"], "OPTION"),
        (["--input-shape", "x:2x3", "--input-shape", "x:2x3"], "OPTION"),
        (["--batch", "0"], "OPTION"),
        (["--target", "trn9.huge"], "TARGET_UNKNOWN"),
        (["--print-after", "no-such-pass"], "PASS_NAME"),
    ],
)
def test_options_that_cannot_be_meant(run: Run, flags: list[str], code: str) -> None:
    onnx.save(SMALL, "m.onnx")
    refused(run("compile", "m.onnx", "-o", "out.neff", *flags), code)


# ---- little files that promise much
def tensor(dims: Sequence[int], values: Sequence[float] = ()) -> onnx.TensorProto:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims)
    if values:
        made.float_data.extend(values)
    else:
        made.raw_data = b""
    return made


def with_weight(weight: onnx.TensorProto) -> onnx.ModelProto:
    made = model([node("Add", ["x", "w"], ["y"], "a")], {"x": [1]}, ["y"])
    made.graph.initializer.append(weight)
    return made


HUGE = 10**6
BOMBS: dict[str, tuple[onnx.ModelProto, str]] = {
    "input": (model([RELU], {"x": [1, 3, HUGE, HUGE]}, ["y"]), "TENSOR_TOO_LARGE"),
    "input past 64 bits": (model([RELU], {"x": [2**32, 2**32]}, ["y"]), "TENSOR_TOO_LARGE"),
    "constant fill": (model([node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])], {"x": [1]}, ["y"],
                            {"s": np.array([HUGE, HUGE])}), "TENSOR_TOO_LARGE"),
    "constant expand": (model([node("Expand", ["c", "s"], ["e"]), node("Add", ["x", "e"], ["y"])], {"x": [1]}, ["y"],
                              {"s": np.array([HUGE, HUGE]), "c": np.float32([1])}), "TENSOR_TOO_LARGE"),
    "constant outer product": (model([node("Mul", ["a", "b"], ["e"]), node("Add", ["x", "e"], ["y"])], {"x": [1]},
                                     ["y"], {"a": np.ones((HUGE, 1), np.float32), "b": np.ones((1, HUGE), np.float32)}),
                               "TENSOR_TOO_LARGE"),
    "range": (model([node("Range", ["a", "b", "c"], ["e"]), node("Add", ["x", "e"], ["y"])], {"x": [1]}, ["y"],
                    {"a": np.float32(0), "b": np.float32(1e12), "c": np.float32(1)}), "TENSOR_TOO_LARGE"),
    "pad": (model([node("Pad", ["x", "p"], ["y"])], {"x": [1, 4]}, ["y"], {"p": np.array([0, 0, 0, 10**12])}),
            "TENSOR_TOO_LARGE"),
    "tile": (model([node("Tile", ["x", "t"], ["y"])], {"x": [4]}, ["y"], {"t": np.array([10**12])}),
             "TENSOR_TOO_LARGE"),
    "convolution padding": (model([node("Conv", ["x", "w"], ["y"], pads=[HUGE] * 4)], {"x": [1, 1, 4, 4]}, ["y"],
                                  {"w": np.ones((1, 1, 3, 3), np.float32)}), "TENSOR_TOO_LARGE"),
    "resize": (model([node("Resize", ["x", "", "s"], ["y"])], {"x": [1, 1, 4, 4]}, ["y"],
                     {"s": np.float32([1, 1, 1e6, 1e6])}), "TENSOR_TOO_LARGE"),
    "weight without data": (with_weight(tensor([2**32, 2**32])), "TENSOR_DATA"),
    "weight with little data": (with_weight(tensor([HUGE, HUGE], [1.0])), "TENSOR_DATA"),
    "empty weight with a huge side": (with_weight(tensor([0, 2**62])), "TENSOR_DATA"),
    "all of the memory together": (model([node("Concat", ["x"] * 4, ["y"], axis=0)], {"x": [2**29]}, ["y"]),
                                   "TENSOR_TOO_LARGE"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_huge_shapes_in_a_small_model(run: Run, name: str) -> None:
    """Refused by arithmetic: nothing of that size is ever allocated (some of these exceed any address space)."""
    proto, code = BOMBS[name]
    Path("m.onnx").write_bytes(proto.SerializeToString())
    refused(run("compile", "m.onnx", "-o", "out.neff"), code)
