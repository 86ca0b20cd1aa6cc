"""What has no static form is imported for the host; every graph is written back as a model that computes the same."""
from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from compiler import compile_graph
from compiler.errors import CompileError, UnsupportedOp
from compiler.frontends.onnx import export as onnx_export
from compiler.frontends.onnx import importer as onnx_import
from compiler.frontends.onnx import runtime as onnx_runtime
from compiler.frontends.onnx import types as onnx_types
from compiler.frontends.onnx.export import to_model
from compiler.frontends.onnx.faces import tensor_info
from compiler.frontends.onnx.file import parse_model
from compiler.frontends.onnx.model import from_model
from compiler.ir import Graph
from compiler.options import from_keywords
from compiler.verify import verify
from isa.errors import ErrorList, NeuronError
from neuronsim.api import Neff
from tests.compiler.evaluate import imported, make, run_model

X = np.array([[1.0, -2.0, 0.0], [0.5, 0.0, 3.0]], np.float32)


def info(name: str, kind: int = TensorProto.FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def body(name: str, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto],
         outputs: list[onnx.ValueInfoProto], weights: dict[str, np.ndarray] | None = None) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, inputs, outputs,
                             [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()])


def evaluated(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    found: list[Any] = ReferenceEvaluator(model).run(None, feeds)
    return found


def checked(model: onnx.ModelProto) -> None:
    """onnx's checker, which insists on a shape of every tensor that enters or leaves."""
    strict = onnx.ModelProto.FromString(model.SerializeToString())
    for value in (*strict.graph.input, *strict.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(strict)


def same(model: onnx.ModelProto, feeds: dict[str, Any]) -> Graph:
    """Import, verify, write back, and compare both models in onnx's evaluator."""
    graph = imported(model)
    verify(graph)
    back = to_model(graph)
    checked(back)
    for got, want in zip(evaluated(back, feeds), evaluated(model, feeds), strict=True):
        np.testing.assert_equal(got, want)
    return graph


def loop() -> onnx.NodeProto:
    """Adds the outer `step` to a carried value; its body shadows the outer name `hidden`."""
    steps = [helper.make_node("Add", ["carried", "step"], ["hidden"]),
             helper.make_node("Identity", ["going"], ["still"])]
    inner = body("body", steps, [info("k", TensorProto.INT64, []), info("going", TensorProto.BOOL, []),
                                 info("carried", shape=[2, 3])],
                 [info("still", TensorProto.BOOL, []), info("hidden", shape=[2, 3])])
    return helper.make_node("Loop", ["count", "", "x"], ["y"], "turns", body=inner)


def test_a_loop_keeps_its_body_and_lists_what_it_captures() -> None:
    model = make([helper.make_node("Abs", ["x"], ["step"]), loop()], {"x": [2, 3], "count": []}, ["y"],
                 types={"count": TensorProto.INT64}, opset=19)
    graph = same(model, {"x": X, "count": np.array(3)})
    node = graph.nodes[-1]
    assert (node.host, node.inputs, node.version) == ("control flow", ["count", "", "x", "step"], 19)
    assert graph.value("y").host  # a carried value may change its shape from turn to turn


def test_captures_follow_the_names_that_passes_give() -> None:
    model = make([helper.make_node("Abs", ["x"], ["step"]), loop()], {"x": [2, 3], "count": []}, ["y"],
                 types={"count": TensorProto.INT64}, opset=19)
    graph = imported(model)
    node = graph.nodes[-1]
    graph.add_value("hidden", (2, 3), "float32")  # the body defines this name too
    graph.insert_before(node, "Identity", ["step"], ["hidden"])
    graph.set_inputs(node, ["hidden" if i == "step" else i for i in node.inputs])
    verify(graph)
    feeds = {"x": X, "count": np.array(2)}
    np.testing.assert_array_equal(evaluated(to_model(graph), feeds)[0], evaluated(model, feeds)[0])


def test_a_branch_inside_a_branch_that_is_known() -> None:
    def side(op: str) -> onnx.GraphProto:
        return body(op, [helper.make_node(op, ["a"], ["z"])], [], [info("z", shape=[2, 3])])
    unknown = helper.make_node("If", ["c"], ["y"], then_branch=side("Exp"), else_branch=side("Neg"))
    outer = helper.make_node("If", ["yes"], ["y"], then_branch=body(
        "taken", [helper.make_node("Abs", ["x"], ["a"]), unknown], [], [info("y", shape=[2, 3])]),
        else_branch=body("not", [helper.make_node("Neg", ["x"], ["n"])], [], [info("n", shape=[2, 3])]))
    model = make([outer], {"x": [2, 3], "c": []}, ["y"], {"yes": np.array(True)}, types={"c": TensorProto.BOOL})
    graph = same(model, {"x": X, "c": np.array(False)})
    assert [n.op for n in graph.nodes] == ["Abs", "If", "Identity"]
    assert graph.outputs == ["y"]


def test_sequences_optionals_and_strings_as_inputs() -> None:
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    nodes = [helper.make_node("ConcatFromSequence", ["s"], ["joined"], axis=0),
             helper.make_node("OptionalHasElement", ["o"], ["has"]),
             helper.make_node("StringConcat", ["t", "suffix"], ["texts"])]
    model = helper.make_model(helper.make_graph(
        nodes, "hosts",
        [helper.make_value_info("s", sequence), helper.make_value_info("o", helper.make_optional_type_proto(sequence)),
         info("t", TensorProto.STRING, ["N"])],
        [info("joined"), info("has", TensorProto.BOOL), info("texts", TensorProto.STRING)],
        [numpy_helper.from_array(np.array(["!"], object), "suffix")]), opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9)
    texts = np.array(["a", "b"], object)
    graph = same(model, {"s": [X, X], "o": [X], "t": texts})
    assert {n.op: n.host for n in graph.nodes} == {
        "ConcatFromSequence": "a sequence", "OptionalHasElement": "an optional value", "StringConcat": "strings"}
    assert all(graph.value(n).host for n in graph.inputs)
    assert not graph.value("has").host  # one boolean, whatever goes in


@pytest.mark.parametrize("batch, given, rows", [
    (3, {}, 3), (None, {"t": (3, 1), "x": (3, 2)}, 3), (None, {"x": (3, 2)}, 3), (None, {}, 1)])
def test_strings_have_the_batch_of_the_numbers_beside_them(batch: int | None, given: dict[str, Any], rows: int) -> None:
    """So that what is made of both, here codes beside features, has known sizes."""
    nodes = [helper.make_node("LabelEncoder", ["t"], ["codes"], domain="ai.onnx.ml", keys_strings=["a", "b"],
                              values_floats=[1.0, 2.0]),
             helper.make_node("Concat", ["codes", "x"], ["y"], axis=1)]
    model = make(nodes, {"t": ["N", 1], "x": ["N", 2]}, ["y"], types={"t": TensorProto.STRING}, opset=20)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    graph = imported(model, input_shapes=given, batch=batch)
    assert graph.shape("y") == (rows, 3)


def test_strings_alone_come_in_any_number_unless_it_is_stated() -> None:
    node = helper.make_node("StringNormalizer", ["t"], ["y"], case_change_action="UPPER")
    model = make([node], {"t": ["N"]}, ["y"], types={"t": TensorProto.STRING, "y": TensorProto.STRING}, opset=20)
    for batch, sizes in ((None, (-1,)), (2, (2,))):
        assert tensor_info(imported(model, batch=batch).value("t")).shape == sizes


def test_shapes_are_static_again_behind_what_depends_on_data() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Cast", ["places"], ["f"], to=1),
             helper.make_node("ReduceSum", ["f", "last"], ["sums"], keepdims=0),
             helper.make_node("Exp", ["sums"], ["y"])]
    model = make(nodes, {"x": [2, 3]}, ["y"], {"last": np.array([1])})
    graph = same(model, {"x": X})
    assert [n.host for n in graph.nodes] == [
        "output sizes depend on data", "input sizes depend on data", "input sizes depend on data", ""]
    assert graph.shape("sums") == graph.shape("y") == (2,)


@pytest.mark.parametrize("kind, reason", [
    (TensorProto.DOUBLE, "float64"), (TensorProto.COMPLEX64, "complex64 has no equivalent on the device"),
    (TensorProto.INT4, "int4 has no equivalent on the device")])
def test_element_types_the_device_lacks(kind: int, reason: str) -> None:
    model = make([helper.make_node("Transpose", ["x"], ["y"])], {"x": [2, 3]}, ["y"], types={"x": kind, "y": kind},
                 opset=21)
    graph = same(model, {"x": X.astype(helper.tensor_dtype_to_np_dtype(kind))})
    assert graph.nodes[0].host == reason


def test_operators_of_other_domains() -> None:
    node = helper.make_node("Momentum", ["r", "t", "x", "g", "v"], ["a", "b"], domain="ai.onnx.preview.training",
                            alpha=0.9, beta=0.5, mode="standard", norm_coefficient=0.1)
    faces: dict[str, list[int]] = {"r": [], "t": [], "x": [2, 3], "g": [2, 3], "v": [2, 3]}
    model = make([node], faces, ["a", "b"], types={"t": TensorProto.INT64})
    model.opset_import.append(helper.make_opsetid("ai.onnx.preview.training", 1))
    feeds = {"r": np.float32(0.1), "t": np.int64(3), "x": X, "g": X, "v": X}
    graph = same(model, {k: np.asarray(v) for k, v in feeds.items()})
    assert graph.shape("a") == (2, 3)


def contrib(claim: list[Any] | None) -> onnx.ModelProto:
    nodes = [helper.make_node("QuickGelu", ["x"], ["g"], domain="com.microsoft", alpha=1.5),
             helper.make_node("Relu", ["g"], ["y"])]
    model = make(nodes, {"x": ["N", 3]}, ["y"])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    if claim is not None:
        model.graph.value_info.append(info("g", shape=claim))
    return model


def test_operators_only_a_runtime_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime as ort
    graph = imported(contrib(None), batch=2)
    assert [n.host for n in graph.nodes] == ["only ONNX Runtime knows the operator", ""]
    assert graph.shape("y") == (2, 3)
    session = ort.InferenceSession(to_model(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    want = np.maximum(X / (1 + np.exp(-1.5 * X)), 0)
    np.testing.assert_allclose(session.run(None, {"x": X})[0], want, rtol=1e-6)
    monkeypatch.setattr(onnx_runtime, "_operators", frozenset)
    with pytest.raises(UnsupportedOp) as caught:
        imported(contrib(None))
    assert caught.value.op == "com.microsoft::QuickGelu"


def test_results_of_a_runtimes_quantised_operators_have_types() -> None:
    """The runtime itself infers them, so that what follows may run anywhere."""
    nodes = [helper.make_node("QLinearAdd", ["x", "s", "z", "x", "s", "z", "s", "z"], ["q"], domain="com.microsoft"),
             helper.make_node("QLinearSigmoid", ["q", "s", "z", "s", "z"], ["r"], domain="com.microsoft"),
             helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"])]
    model = make(nodes, {"x": [2, 3]}, ["y"], {"s": np.array(0.1, np.float32), "z": np.array(3, np.uint8)},
                 types={"x": TensorProto.UINT8})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    graph = imported(model)
    assert [(v.dtype, v.shape) for v in map(graph.value, ("q", "r"))] == [("uint8", (2, 3))] * 2
    assert not graph.nodes[2].host
    feeds = {"x": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    options = from_keywords({"target": "trn1.2xlarge", "minimum_segment_size": 1})
    result = Neff(compile_graph(graph, options)).run(feeds)
    np.testing.assert_allclose(result.outputs["y"], run_model(model, feeds)[0], rtol=1e-6)


def test_claims_of_the_model_count_where_nothing_else_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_import, "runtime_types", lambda proto, versions, values: [onnx_types.UNKNOWN])
    graph = imported(contrib(None), batch=2)
    assert graph.nodes[1].host == "nothing is known of its inputs"
    graph = imported(contrib(["N", 3]), batch=2)
    assert graph.shape("g") == (2, 3)
    assert not graph.nodes[1].host
    fixed = contrib([1, 3])
    fixed.graph.input[0].CopyFrom(info("x", shape=[1, 3]))
    assert imported(fixed).shape("g") == (1, 3)
    assert imported(fixed, batch=2).value("g").host  # the claim was made for another batch


def test_claims_of_sizes_that_parameters_decide() -> None:
    model = make([helper.make_node("TopK", ["x", "k"], ["y", "i"])], {"x": [2, 3], "k": [1]}, ["y", "i"],
                 types={"k": TensorProto.INT64, "i": TensorProto.INT64})
    assert imported(model).nodes[0].host == "output sizes depend on data"
    for value in model.graph.output:
        value.CopyFrom(info(value.name, value.type.tensor_type.elem_type, [2, 1]))
    graph = imported(model)
    assert graph.shape("y") == graph.shape("i") == (2, 1)
    assert not graph.nodes[0].host


def test_sizes_of_a_resize_are_those_of_its_result() -> None:
    node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], axes=[2, 3])
    model = make([node], {"x": [1, 1, 2, 3], "s": [2]}, ["y"], types={"s": TensorProto.INT64}, opset=19)
    model.graph.output[0].CopyFrom(info("y", shape=[1, 1, 4, 6]))
    graph = imported(model)
    np.testing.assert_array_equal(graph.const(graph.nodes[0].inputs[3]), np.array([4, 6]))
    assert graph.inputs == ["x", "s"]


def test_claims_of_sizes_that_data_decide_do_not_count() -> None:
    model = make([helper.make_node("NonZero", ["x"], ["y"])], {"x": [2, 3]}, ["y"])
    model.graph.output[0].CopyFrom(info("y", TensorProto.INT64, [2, 4]))
    assert imported(model).nodes[0].host == "output sizes depend on data"


def test_unknown_operators_in_subgraphs_are_listed_too() -> None:
    inner = body("side", [helper.make_node("Warp", ["x"], ["z"], "deep", domain="acme")], [], [info("z")])
    nodes = [helper.make_node("If", ["c"], ["a"], then_branch=inner, else_branch=inner),
             helper.make_node("Frobnicate", ["a"], ["y"], "shallow", domain="acme")]
    model = make(nodes, {"x": [2], "c": []}, ["y"], types={"c": TensorProto.BOOL})
    model.opset_import.append(helper.make_opsetid("acme", 1))
    with pytest.raises(ErrorList) as caught:
        imported(model)
    assert {e.op for e in caught.value.errors if isinstance(e, UnsupportedOp)} == {"acme::Frobnicate", "acme::Warp"}


def test_functions_written_for_another_opset() -> None:
    function = helper.make_function("acme", "F", ["a"], ["b"], [helper.make_node("Softmax", ["a"], ["b"])],
                                    [helper.make_opsetid("", 22)])
    model = make([helper.make_node("F", ["x"], ["y"], domain="acme")], {"x": [2, 3]}, ["y"], functions=[function],
                 opset=13)
    model.opset_import.append(helper.make_opsetid("acme", 1))
    assert imported(model).op_counts() == {"Softmax": 1}


def test_too_many_constants_for_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = imported(make([node], {"x": [3]}, ["y"], {"w": np.ones(3, np.float32)}))
    monkeypatch.setattr(onnx_export, "_MOST_BYTES", 12)
    with pytest.raises(CompileError) as caught:
        to_model(graph)
    assert caught.value.code == "MODEL_TOO_LARGE"


@pytest.mark.parametrize("seed", range(3))
def test_damaged_subgraphs_raise_errors_of_ours_only(seed: int) -> None:
    data = make([helper.make_node("Abs", ["x"], ["step"]), loop()], {"x": [2, 3], "count": []}, ["y"],
                types={"count": TensorProto.INT64}, opset=19).SerializeToString()
    rng = np.random.default_rng(seed)
    for _ in range(60):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 2):
            damaged[position] = rng.integers(0, 256)
        with contextlib.suppress(NeuronError):
            to_model(from_model(parse_model(bytes(damaged))))
