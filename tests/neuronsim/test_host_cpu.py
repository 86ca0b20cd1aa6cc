"""CPU segments: which runtime, what it is given and gives back, what it costs, whom its errors name."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import neuronsim
from isa import neff
from isa import target as targets
from isa.dtypes import dtype
from isa.errors import ErrorList
from isa.program import TensorInfo
from neuronsim import cli, host_choice, host_runtimes
from neuronsim.api import Neff
from neuronsim.errors import SimulationError
from neuronsim.execution import _as_variable
from neuronsim.host_cpu import CpuSegment, CpuSegmentError, load_all
from tests.neuronsim.host_models import COLUMNS, ROWS, TARGET, cpu_program, model, sandwich, tensor

FLOAT, BF16, INT64 = TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.INT64


def segment(proto: onnx.ModelProto) -> CpuSegment:
    return CpuSegment("cpu/s.onnx", proto.SerializeToString())


def unary(op: str, kind: int = FLOAT) -> onnx.ModelProto:
    return model([helper.make_node(op, ["x"], ["y"])], [tensor("x", kind)], [tensor("y", kind)])


# ---- which runtime


@pytest.mark.parametrize("proto, runtime", [
    (unary("Neg"), "onnxruntime"),
    (unary("Neg", INT64), "onnxruntime"),
    (unary("Max", TensorProto.INT16), "reference"),  # no kernel for that type
    (model([helper.make_node("DFT", ["x"], ["y"])], [tensor("x")], [tensor("y")]), "reference"),
    (model([helper.make_node("ReduceMax", ["x"], ["y"])], [tensor("x")], [tensor("y")]), "onnxruntime"),
    (model([helper.make_node("Identity", ["x"], ["y"])], [tensor("x", TensorProto.INT4)],
           [tensor("y", TensorProto.INT4)], 21), "reference"),
])  # fmt: skip
def test_the_rule_of_choice(proto: onnx.ModelProto, runtime: str) -> None:
    pytest.importorskip("onnxruntime")
    assert segment(proto).load().name == runtime


def test_listed_forms_are_found_in_subgraphs() -> None:
    branch = helper.make_graph([helper.make_node("STFT", ["x", "n"], ["z"])], "b", [], [tensor("z")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "g", [tensor("c", TensorProto.BOOL), tensor("x")], [tensor("y")])
    assert host_choice.deviation(graph).startswith("STFT")


def test_without_onnxruntime_the_evaluator_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    host_runtimes.onnxruntime.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    try:
        made = segment(unary("Abs"))
        assert made.load().name == "reference"
        assert made.run({"x": np.array([-1, 2], np.float32)})["y"].tolist() == [1, 2]
    finally:
        host_runtimes.onnxruntime.cache_clear()


def test_two_runtimes_share_a_segment_that_neither_takes() -> None:
    """`Scatter` has a kernel in ONNX Runtime only, a maximum of int16 in the evaluator only."""
    pytest.importorskip("onnxruntime")
    short, whole = TensorProto.INT16, TensorProto.INT64
    branch = helper.make_graph([helper.make_node("Max", ["m", "m"], ["z"], "inner")], "b", [], [tensor("z", short)])
    nodes = [
        helper.make_node("Max", ["x", "w"], ["m"], "highest"),
        helper.make_node("Cast", ["m"], ["f"], "cast", to=FLOAT),
        helper.make_node("Scatter", ["f", "i", "u"], ["s"], "scatter"),
        helper.make_node("If", ["c"], ["k"], "choice", then_branch=branch, else_branch=branch),
        helper.make_node("Neg", ["s"], ["y"], "minus"),
    ]
    condition = tensor("c", TensorProto.BOOL, [])
    given = [tensor("x", short, [3]), tensor("i", whole, [1]), tensor("u", shape=[1]), condition]
    weights = [helper.make_tensor("w", short, [3], [2, 2, 2])]
    made = segment(model(nodes, given, [tensor("y", shape=[3]), tensor("k", short, [3])], 10, initializer=weights))
    assert made.load().name == "pieces"
    inputs = {"i": np.array([1]), "u": np.array([9], np.float32), "c": np.array(True)}
    result = made.run({"x": np.array([1, 2, 3], np.int16), **inputs})
    assert result["y"].tolist() == [-2, -9, -3]
    assert result["k"].tolist() == [2, 2, 3]


def test_a_segment_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, real, calls = segment(unary("Neg")), host_choice.choose, []
    monkeypatch.setattr("neuronsim.host_cpu.choose", lambda *a: calls.append(a) or real(*a))
    threads = [threading.Thread(target=made.run, args=({"x": np.ones(3, np.float32)},)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


# ---- values


def test_large_arrays_are_handed_over_without_a_copy() -> None:
    pytest.importorskip("onnxruntime")
    proto = model([helper.make_node("Reshape", ["x", "s"], ["y"])], [tensor("x"), tensor("s", INT64)], [tensor("y")])
    x = np.arange(1 << 20, dtype=np.float32)
    made = segment(proto).run({"x": x, "s": np.array([1 << 10, -1])})["y"]
    assert not made.flags.owndata
    np.testing.assert_array_equal(made, x.reshape(1 << 10, -1))


@pytest.mark.parametrize("kind", [BF16, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
def test_types_that_numpy_lacks(kind: int) -> None:
    numpy_type = helper.tensor_dtype_to_np_dtype(kind)
    x = np.array([[1.5, -2.0, 0.5], [0.25, 3.0, 4.0]]).astype(numpy_type)
    made = segment(model([helper.make_node("Identity", ["x"], ["y"])], [tensor("x", kind)], [tensor("y", kind)], 19))
    y = made.run({"x": x.T})["y"]
    assert y.dtype == numpy_type
    np.testing.assert_array_equal(y.astype(np.float32), x.T.astype(np.float32))
    assert made.run({"x": x[:0]})["y"].shape == (0, 3)


def test_bf16_results_outlive_their_run() -> None:
    proto = model([helper.make_node("Cast", ["x"], ["y"], to=BF16)], [tensor("x")], [tensor("y", BF16)], 19)
    made = segment(proto)
    kept = [made.run({"x": np.full(64, k, np.float32)})["y"] for k in range(50)]
    assert [int(y[0]) for y in kept] == list(range(50))


def test_sequences_optionals_and_strings() -> None:
    listed = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    made = segment(model([helper.make_node("SequenceInsert", ["s", "x"], ["t"])],
                         [helper.make_value_info("s", listed), tensor("x")],
                         [helper.make_value_info("t", listed)]))  # fmt: skip
    result = made.run({"s": [np.zeros(2, np.float32)], "x": np.ones((1, 1), np.float32)})["t"]
    assert [r.shape for r in result] == [(2,), (1, 1)]
    optional = helper.make_value_info("o", helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, None)))
    asked = segment(model([helper.make_node("OptionalHasElement", ["o"], ["b"])], [optional],
                          [tensor("b", TensorProto.BOOL)]))  # fmt: skip
    assert not asked.run({"o": None})["b"]
    text = segment(model([helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="UPPER")],
                         [tensor("x", TensorProto.STRING)], [tensor("y", TensorProto.STRING)]))  # fmt: skip
    assert text.run({"x": np.array(["ab"], object)})["y"].tolist() == ["AB"]


def test_scalars_become_arrays() -> None:
    proto = model([helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], [tensor("x", TensorProto.BOOL)],
                  [tensor("y", TensorProto.BOOL)], 20)  # fmt: skip
    y = segment(proto).run({"x": np.zeros(0, np.bool_)})["y"]
    assert isinstance(y, np.ndarray) and y.shape == () and not y


def test_what_the_device_keeps_narrower_is_widened() -> None:
    made = segment(unary("Neg", INT64)).run({"x": np.array([1, 2], np.int32)})["y"]
    assert made.dtype == np.int64


def test_integers_beyond_the_device_are_refused() -> None:
    program = sandwich()
    variable = program.stages[0].variable("h")
    wide = np.full((ROWS, COLUMNS), 1 << 40)
    with pytest.raises(SimulationError) as caught:
        _as_variable(replace(variable, dtype=dtype("int32")), wide)
    assert caught.value.code == "INPUT_RANGE"
    with pytest.raises(SimulationError) as caught:
        _as_variable(variable, wide[:1].astype(np.float32))
    assert caught.value.code == "INTERFACE"


@pytest.mark.parametrize("attributes", [{}, {"seed": 3.0}], ids=str)
def test_random_numbers_repeat_from_load_to_load(attributes: dict[str, float]) -> None:
    draw = [helper.make_node("RandomUniformLike", ["x"], [n], **attributes) for n in ("a", "b")]
    proto = model([*draw, helper.make_node("Concat", ["a", "b"], ["y"], axis=0)], [tensor("x")], [tensor("y")])
    x = np.zeros(16, np.float32)
    first, second = (segment(proto).run({"x": x})["y"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.array_equal(first[:16], first[16:]) == bool(attributes)


# ---- cost


def test_cost_follows_the_stated_model() -> None:
    target = targets.load(TARGET)
    relu = model([helper.make_node("Relu", ["x"], ["y"])], [tensor("x", BF16, [1000, 100])], [tensor("y", BF16)])
    moved = 2 * 2 * 100_000 / target.host_bytes_per_cpu_ns
    assert segment(relu).seconds(target) == pytest.approx((target.host_dispatch_ns + moved) * 1e-9)
    product = model([helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Neg", ["c"], ["y"])],
                    [tensor("a", shape=[512, 256]), tensor("b", shape=[256, 128])], [tensor("y")])  # fmt: skip
    work = 2 * 512 * 256 * 128 / target.host_flops_per_ns + 2 * 4 * 512 * 128 / target.host_bytes_per_cpu_ns
    assert segment(product).seconds(target) == pytest.approx((2 * target.host_dispatch_ns + work) * 1e-9)
    faster = target.with_params({"host.dispatch_ns": 0.0, "host.cpu_bytes_per_ns": float("inf")})
    assert segment(relu).seconds(faster) == 0


@pytest.mark.parametrize("op, inputs, attributes, flops", [
    ("Conv", {"x": [1, 8, 64, 64], "w": [64, 4, 3, 3]}, {"group": 2, "pads": [1, 1, 1, 1]}, 2 * 64 * 64 * 64 * 4 * 9),
    ("ConvTranspose", {"x": [1, 64, 32, 32], "w": [64, 32, 2, 2]}, {"strides": [2, 2]}, 2 * 64 * 32 * 32 * 32 * 4),
    ("Gemm", {"x": [256, 64], "w": [512, 256]}, {"transA": 1, "transB": 1}, 2 * 64 * 512 * 256),
])  # fmt: skip
def test_arithmetic(op: str, inputs: dict[str, list[int]], attributes: dict[str, Any], flops: int) -> None:
    proto = model([helper.make_node(op, list(inputs), ["y"], **attributes)],
                  [tensor(n, shape=s) for n, s in inputs.items()], [tensor("y")])  # fmt: skip
    target = targets.load(TARGET).with_params({"host.dispatch_ns": 0.0, "host.cpu_bytes_per_ns": float("inf")})
    assert segment(proto).seconds(target) == pytest.approx(flops / target.host_flops_per_ns * 1e-9)


# ---- errors


def fails(kind: int) -> onnx.ModelProto:
    """A division after a sum of shapes that do not fit, found only when it runs."""
    nodes = [helper.make_node("Max", ["x"], ["a"], "first"), helper.make_node("Add", ["a", "b"], ["y"], "the_sum")]
    return model(nodes, [tensor("x", kind), tensor("b", kind)], [tensor("y", kind)])


@pytest.mark.parametrize("kind, element, runtime", [
    (FLOAT, np.float32, "onnxruntime"),
    (TensorProto.INT16, np.int16, "reference"),
])  # fmt: skip
def test_the_node_that_fails_is_named(kind: int, element: type, runtime: str) -> None:
    pytest.importorskip("onnxruntime")
    made = segment(fails(kind))
    assert made.load().name == runtime
    with pytest.raises(CpuSegmentError) as caught:
        made.run({"x": np.ones(3, element), "b": np.ones(4, element)})
    assert caught.value.code == "CPU_SEGMENT"
    assert caught.value.where == "cpu/s.onnx, node 'the_sum'"
    assert "Add" in caught.value.what


def test_operators_without_any_kernel_are_all_listed() -> None:
    nodes = [helper.make_node("Nothing", ["x"], ["a"], "n1", domain="far.away"),
             helper.make_node("Nowhere", ["a"], ["y"], "n2", domain="far.away")]  # fmt: skip
    proto = model(nodes, [tensor("x")], [tensor("y")])
    proto.opset_import.append(helper.make_opsetid("far.away", 1))
    with pytest.raises(CpuSegmentError) as caught:
        segment(proto).load()
    assert "far.away::Nothing (n1), far.away::Nowhere (n2)" in caught.value.what
    program = cpu_program(proto, [TensorInfo("x", (1,), "float32")], [TensorInfo("y", (1,), "float32")])
    program.cpu_models = {**program.cpu_models, "cpu/c1.onnx": proto.SerializeToString()}
    with pytest.raises(ErrorList) as several:
        load_all(CpuSegment(name, data) for name, data in program.cpu_models.items())
    assert [e.where for e in several.value.errors] == ["cpu/c0.onnx", "cpu/c1.onnx"]


def test_tensors_of_open_size_only_reach_cpu_segments() -> None:
    program = sandwich()
    program.inputs = [TensorInfo("x", (-1, COLUMNS), "float32")]
    y = Neff(program).run({"x": np.full((ROWS, COLUMNS), 2, np.float32)}).outputs["y"]
    assert (y == 2).all()
    program.nodes = program.nodes[1:]
    program.inputs = [TensorInfo("h", (-1, COLUMNS), "float32")]
    with pytest.raises(ErrorList, match="INTERFACE"):
        Neff(program)


def test_compiling_lists_what_no_kernel_computes() -> None:
    training = {"domain": "ai.onnx.preview.training", "xs": ["w"], "y": "w"}
    nodes = [helper.make_node("Gradient", ["w"], [f"g{k}"], f"gradient{k}", **training) for k in (0, 1)]
    proto = model(nodes, [tensor("w", shape=[2])], [tensor("g0"), tensor("g1")], 20)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.preview.training", 1))
    with pytest.raises(CpuSegmentError) as caught:
        neuronsim.compile(proto.SerializeToString(), target=TARGET)
    assert "Gradient (gradient0)" in caught.value.what and "Gradient (gradient1)" in caught.value.what


def test_inspect_shows_open_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = sandwich()
    program.inputs = [TensorInfo("x", (-1, COLUMNS), "float32"), TensorInfo("z", (), "float32", ranked=False)]
    neff.write(program, tmp_path / "m.neff")
    assert cli.main(["inspect", str(tmp_path / "m.neff")]) == 0
    text = capsys.readouterr().out
    assert f"?x{COLUMNS}" in text and "any" in text
