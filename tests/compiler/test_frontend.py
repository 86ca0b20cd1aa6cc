"""The ONNX frontend: what it refuses and how it says so, shapes and batches, external data, old and new opsets."""
from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.errors import CompileError, ModelError, ShapeError, UnsupportedOp
from compiler.frontends.onnx.file import parse_model
from compiler.frontends.onnx.model import from_file, from_model
from compiler.ir import OPSET
from isa.errors import ErrorList, NeuronError
from tests.compiler.evaluate import assert_close, imported, make, random_feeds, run_graph, run_model

RELU = helper.make_node("Relu", ["x"], ["y"], "r")


def code_of(action: object, *arguments: object, **options: object) -> str:
    with pytest.raises(NeuronError) as caught:
        action(*arguments, **options)  # type: ignore[operator]
    return caught.value.code


# ---- files ------------------------------------------------------------


def test_files_that_are_no_model(tmp_path: Path) -> None:
    good = make([RELU], {"x": [2, 3]}, ["y"]).SerializeToString()
    files = {"MODEL_EMPTY": b"", "MODEL_TRUNCATED": good[:-7], "MODEL_FORMAT": b"\x89PNG\r\n\x1a\n" + bytes(64)}
    for code, data in files.items():
        path = tmp_path / f"{code}.onnx"
        path.write_bytes(data)
        with pytest.raises(ModelError) as caught:
            from_file(path)
        assert caught.value.code == code
        assert str(path) in caught.value.where
    assert code_of(from_file, tmp_path / "none.onnx") == "MODEL_MISSING"
    assert code_of(from_file, tmp_path) == "MODEL_MISSING"


def test_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(ModelError) as caught:
        from_file(path)
    assert "git lfs pull" in caught.value.help


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_any_cut_file_is_an_error_of_ours(tmp_path: Path, cut: int) -> None:
    data = make([RELU], {"x": [2, 3]}, ["y"], {"w": np.ones(3, np.float32)}).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data[:-cut])
    with pytest.raises(NeuronError):
        from_file(path)


# ---- operators ------------------------------------------------------------


def test_all_unknown_operators_are_listed_with_their_nodes() -> None:
    nodes = [helper.make_node("Frobnicate", ["x"], ["a"], "one"), helper.make_node("Frobnicate", ["a"], ["b"], "two"),
             helper.make_node("Warp", ["b"], ["c"], "three", domain="acme"), helper.make_node("Relu", ["c"], ["y"])]
    with pytest.raises(ErrorList) as caught:
        imported(make(nodes, {"x": [2]}, ["y"]))
    found = {e.op: e.nodes for e in caught.value.errors if isinstance(e, UnsupportedOp)}
    assert found == {"Frobnicate": ("one", "two"), "acme::Warp": ("three",)}


def test_unknown_attribute() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], "r", slope=2.0)
    with pytest.raises(ModelError) as caught:
        imported(make([node], {"x": [2]}, ["y"]))
    assert (caught.value.code, caught.value.actual) == ("UNKNOWN_ATTRIBUTE", "slope")


def test_checker_failures_are_reported() -> None:
    model = make([helper.make_node("Add", ["x"], ["y"], "a")], {"x": [2]}, ["y"])
    assert code_of(imported, model) == "MODEL_INVALID"
    undefined = make([helper.make_node("Relu", ["nothing"], ["y"], "r")], {"x": [2]}, ["y"])
    assert code_of(imported, undefined) == "MODEL_INVALID"


def test_shapes_that_do_not_fit_name_the_node() -> None:
    model = make([helper.make_node("MatMul", ["x", "w"], ["y"], "product")], {"x": [2, 3]}, ["y"],
                 {"w": np.ones((4, 5), np.float32)})
    with pytest.raises(ShapeError) as caught:
        imported(model)
    assert caught.value.code == "SHAPE_MISMATCH"
    assert "product" in caught.value.where


def test_shapes_that_depend_on_data_are_the_hosts() -> None:
    model = make([helper.make_node("NonZero", ["x"], ["y"])], {"x": [2, 3]}, ["y"], types={"y": TensorProto.INT64})
    graph = imported(model)
    assert graph.nodes[0].host == "output sizes depend on data"
    assert graph.value("y").host


def test_newer_opset_than_known() -> None:
    assert code_of(imported, make([RELU], {"x": [2]}, ["y"], opset=999)) == "MODEL_OPSET"


# ---- input shapes ------------------------------------------------------------


def test_symbolic_batch_is_one_with_a_note() -> None:
    graph = imported(make([RELU], {"x": ["N", 3]}, ["y"]))
    assert graph.shape("y") == (1, 3)
    assert any("batch of 1" in n for n in graph.notes)


def test_batch_and_input_shape() -> None:
    model = make([RELU], {"x": ["N", 3]}, ["y"])
    assert imported(model, batch=4).shape("y") == (4, 3)
    assert imported(model, input_shapes={"x": (7, 3)}).shape("y") == (7, 3)
    assert imported(make([RELU], {"x": [1, 3]}, ["y"]), batch=5).shape("y") == (5, 3)


def test_a_given_shape_binds_symbols_elsewhere() -> None:
    model = make([helper.make_node("Add", ["x", "z"], ["y"])], {"x": ["N", "len"], "z": ["N", "len"]}, ["y"])
    assert imported(model, input_shapes={"x": (2, 9)}).shape("z") == (2, 9)


@pytest.mark.parametrize("shapes, code", [
    (None, "INPUT_SYMBOLIC"), ({"nope": (1,)}, "INPUT_NAME"), ({"x": (1, 2, 3)}, "INPUT_SHAPE"),
    ({"x": (1, 5, 4)}, "INPUT_SHAPE"), ({"x": (1, -5)}, "INPUT_SHAPE"),
])
def test_wrong_shapes(shapes: dict[str, tuple[int, ...]] | None, code: str) -> None:
    assert code_of(imported, make([RELU], {"x": ["N", "len"]}, ["y"]), input_shapes=shapes) == code


def test_fixed_dimensions_cannot_be_given_away() -> None:
    model = make([RELU], {"x": [1, 3]}, ["y"])
    with pytest.raises(ShapeError) as caught:
        imported(model, input_shapes={"x": (1, 4)})
    assert (caught.value.limit, caught.value.actual) == (3, 4)


# ---- weights ------------------------------------------------------------


def external(tmp_path: Path, location: str, offset: int = 0, length: int | None = 4000) -> Path:
    (tmp_path / "w.bin").write_bytes(np.arange(1000, dtype=np.float32).tobytes())
    model = make([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [1000]}, ["y"], {"w": np.zeros(1000, np.float32)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_is_mapped_not_read(tmp_path: Path) -> None:
    array = from_file(external(tmp_path, "w.bin")).const("w")
    assert array is not None
    np.testing.assert_array_equal(array, np.arange(1000, dtype=np.float32))
    assert not array.flags.writeable


@pytest.mark.parametrize("location, offset, length", [
    ("../w.bin", 0, 4000), ("/etc/hostname", 0, 4000), ("missing.bin", 0, 4000), ("w.bin", 8, 4000),
    ("w.bin", -4, 4000), ("w.bin", 0, 3996), ("", 0, 4000), ("C:\\w.bin", 0, 4000), ("w.bin", 8, None),
])
def test_external_data_that_cannot_be_trusted(tmp_path: Path, location: str, offset: int, length: int | None) -> None:
    assert code_of(from_file, external(tmp_path, location, offset, length)) == "EXTERNAL_DATA"


def test_external_data_through_a_link_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    path = external(inside, "link.bin")
    (tmp_path / "secret.bin").write_bytes(bytes(4000))
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert code_of(from_file, path) == "EXTERNAL_DATA"


def test_tensor_with_missing_bytes() -> None:
    model = make([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [3]}, ["y"], {"w": np.zeros(3, np.float32)})
    model.graph.initializer[0].raw_data = bytes(8)
    assert code_of(imported, model) == "TENSOR_DATA"


def test_ir3_initialisers_are_no_inputs() -> None:
    weights = {"w": np.ones(3, np.float32)}
    model = make([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [3], "w": [3]}, ["y"], weights)
    model.ir_version = 3
    graph = imported(model)
    assert graph.inputs == ["x"]
    assert graph.is_const("w")


def test_repeated_fill_is_not_materialised() -> None:
    model = make([helper.make_node("ConstantOfShape", ["s"], ["w"]), helper.make_node("MatMul", ["x", "w"], ["y"])],
                 {"x": [1, 30000]}, ["y"], {"s": np.array([30000, 20000], np.int64)}, opset=9)
    array = imported(model).const("w")
    assert array is not None
    assert array.strides == (0, 0)


# ---- structure ------------------------------------------------------------


def test_local_functions_are_inlined() -> None:
    body = helper.make_function("acme", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                                [helper.make_opsetid("", 20)])
    model = make([helper.make_node("Twice", ["x"], ["y"], "t", domain="acme")], {"x": [2]}, ["y"], functions=[body])
    model.opset_import.append(helper.make_opsetid("acme", 1))
    assert imported(model).op_counts() == {"Add": 1}


def test_functions_of_an_older_opset_that_mean_the_same() -> None:
    """onnx's converter asserts where functions call each other, and is not needed where no operator changed."""
    ids = [helper.make_opsetid("", 21), helper.make_opsetid("acme", 1)]
    twice = helper.make_function("acme", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], ids)
    nodes = [helper.make_node(op, [i], [o], domain=d) for op, i, o, d in
             (("Twice", "a", "t", "acme"), ("Dropped", "t", "b", "acme"))]
    dropped = helper.make_function("acme", "Dropped", ["a"], ["b"], [helper.make_node("Dropout", ["a"], ["b"])], ids)
    outer = helper.make_function("acme", "Outer", ["a"], ["b"], nodes, ids)
    model = make([helper.make_node("Outer", ["x"], ["y"], "t", domain="acme")], {"x": [2]}, ["y"], opset=22,
                 functions=[twice, dropped, outer])
    model.opset_import.append(helper.make_opsetid("acme", 1))
    assert code_of(imported, model) == "MODEL_INVALID"
    model.functions[1].node[0].op_type = "Neg"
    assert imported(model).op_counts() == {"Add": 1, "Neg": 1}


def test_known_branch_is_taken_and_unknown_is_control_flow() -> None:
    def branch(op: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(op, ["x"], ["z"])], op, [],
                                 [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2])])
    choose = helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch("Exp"), else_branch=branch("Tanh"))
    known = make([choose], {"x": [2]}, ["y"], {"c": np.array(False)})
    taken = imported(known)
    assert taken.op_counts() == {"Identity": 1, "Tanh": 1}
    assert taken.outputs == ["y"]
    unknown = make([choose], {"x": [2], "c": []}, ["y"], types={"c": TensorProto.BOOL})
    node = imported(unknown).nodes[0]
    assert (node.op, node.host, node.inputs) == ("If", "control flow", ["c", "x"])


def test_shape_arithmetic_is_folded() -> None:
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["n"]),
             helper.make_node("Concat", ["n", "rest"], ["t"], axis=0), helper.make_node("Reshape", ["x", "t"], ["y"])]
    graph = imported(make(nodes, {"x": ["N", 3, 4]}, ["y"],
                          {"zero": np.array([0], np.int64), "rest": np.array([-1], np.int64)}), batch=2)
    assert graph.op_counts() == {"Reshape": 1}
    assert graph.shape("y") == (2, 12)


def test_defaults_and_auto_pad_are_explicit() -> None:
    model = make([helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2])],
                 {"x": [1, 2, 6, 7]}, ["y"], {"w": np.ones((3, 2, 3, 3), np.float32)})
    attrs = imported(model).nodes[0].attrs
    assert attrs["pads"] == [0, 1, 1, 1]
    assert (attrs["kernel_shape"], attrs["dilations"], attrs["group"]) == ([3, 3], [1, 1], 1)
    assert "auto_pad" not in attrs


# ---- meaning ------------------------------------------------------------

X = [2, 3, 4, 5]
SCALES = np.array([1, 1, 2, 1.5], np.float32)
CASES = [
    ("Softmax", 11, {"axis": 2}, {}), ("Softmax", 9, {}, {}), ("LogSoftmax", 11, {"axis": 1}, {}),
    ("Hardmax", 11, {"axis": 2}, {}), ("Upsample", 9, {"mode": "nearest"}, {"s": SCALES}),
    ("Upsample", 9, {"mode": "linear"}, {"s": np.array([1, 1, 2, 2], np.float32)}),
    ("Resize", 10, {"mode": "nearest"}, {"s": SCALES}), ("Clip", 6, {"min": -0.5, "max": 0.5}, {}),
    ("ReduceSum", 11, {"axes": [1, -1], "keepdims": 0}, {}), ("ReduceMean", 13, {"axes": [2]}, {}),
    ("Squeeze", 11, {}, {}), ("Unsqueeze", 11, {"axes": [0, 5]}, {}),
    ("Pad", 2, {"pads": [0, 0, 1, 0, 0, 0, 0, 2]}, {}),
    ("Slice", 9, {"axes": [2], "starts": [1], "ends": [-1]}, {}), ("Dropout", 7, {"ratio": 0.3}, {}),
    ("MaxPool", 8, {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, {}),
    ("MaxPool", 12, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, {}),
    ("AveragePool", 11, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 1, 1, 1]}, {}),
    ("AveragePool", 19, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, {}),
    ("ConvTranspose", 11, {"strides": [2, 2], "output_shape": [8, 11]}, {"w": np.ones((3, 2, 3, 3), np.float32)}),
    ("ConvTranspose", 11, {"strides": [2, 3], "auto_pad": "SAME_UPPER"}, {"w": np.ones((3, 2, 3, 3), np.float32)}),
    ("Conv", 9, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"w": np.ones((2, 3, 3, 3), np.float32)}),
    ("BatchNormalization", 7, {}, {k: np.linspace(0.5, 1.5, 3, dtype=np.float32) for k in "abcd"}),
]


@pytest.mark.parametrize("op, opset, attrs, weights", CASES, ids=[f"{c[0]}-{c[1]}-{k}" for k, c in enumerate(CASES)])
def test_old_opsets_keep_their_meaning(op: str, opset: int, attrs: dict[str, object],
                                       weights: dict[str, np.ndarray]) -> None:
    model = make([helper.make_node(op, ["x", *weights], ["y"], **attrs)], {"x": X}, ["y"], weights, opset)
    graph = imported(model)
    feeds = random_feeds(graph, 3)
    assert_close(run_graph(graph, feeds), run_model(model, feeds))


def test_newer_opset_without_changes_needs_no_conversion() -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    model = make(nodes, {"x": [3]}, ["y"], opset=OPSET + 2)
    assert imported(model).op_counts() == {"Add": 1, "Relu": 1}


def test_sources_survive_conversion() -> None:
    model = make([helper.make_node("Clip", ["x"], ["y"], "my clip", min=0.0, max=6.0)], {"x": [3]}, ["y"], opset=6)
    assert imported(model).nodes[-1].sources == ["my clip"]


def test_sparse_and_constant_nodes() -> None:
    dense = np.zeros((2, 3), np.float32)
    dense[1, 2] = 4
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(np.array([4], np.float32), "sp"),
                                       numpy_helper.from_array(np.array([5], np.int64), "sp_i"), [2, 3])
    nodes = [helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0, 3.0]),
             helper.make_node("Add", ["x", "c"], ["a"]), helper.make_node("Mul", ["a", "sp"], ["y"])]
    model = make(nodes, {"x": [2, 3]}, ["y"])
    model.graph.sparse_initializer.append(sparse)
    graph = imported(model)
    np.testing.assert_array_equal(graph.const("sp"), dense)
    np.testing.assert_array_equal(graph.const("c"), np.array([1, 2, 3], np.float32))


def test_kernel_that_contradicts_its_weight() -> None:
    model = make([helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[5, 3])], {"x": [1, 2, 6, 7]}, ["y"],
                 {"w": np.ones((3, 2, 3, 3), np.float32)})
    assert code_of(imported, model) == "SHAPE_MISMATCH"


def test_classic_learners_have_documented_shapes() -> None:
    nodes = [helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0]),
             helper.make_node("SVMRegressor", ["s"], ["y"], domain="ai.onnx.ml", coefficients=[1.0, 2.0], rho=[0.5],
                              kernel_type="LINEAR", kernel_params=[0.0, 0.0, 0.0])]
    model = make(nodes, {"x": ["N", 2]}, ["y"], opset=9)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    graph = imported(model, batch=3)
    assert graph.shape("y") == (3, 1)
    feeds = random_feeds(graph)
    assert_close(run_graph(graph, feeds), run_model(model, feeds))


@pytest.mark.parametrize("entries, indices", [([5], [2]), ([5], []), ([5], [2, 2]), ([3, 5], []), ([2, 3, 5], [2, 1])])
def test_extracted_features_have_documented_shapes(entries: list[int], indices: list[int]) -> None:
    """Of a vector they are one row, and one index counts like a list of one."""
    node = helper.make_node("ArrayFeatureExtractor", ["x", "i"], ["y"], domain="ai.onnx.ml")
    model = make([node], {"x": entries}, ["y"], {"i": np.full(indices, 3)}, opset=20)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    graph = imported(model)
    [want] = run_model(model, {"x": np.arange(np.prod(entries), dtype=np.float32).reshape(entries)})
    assert graph.shape("y") == want.shape


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_raise_errors_of_ours_only(seed: int) -> None:
    data = make([helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4, kernel_shape=[3, 3]),
                 helper.make_node("Clip", ["a"], ["b"], min=0.0),
                 helper.make_node("ReduceMean", ["b"], ["y"], axes=[2])],
                {"x": ["N", 2, 6, 7]}, ["y"], {"w": np.ones((3, 2, 3, 3), np.float32)}, 9).SerializeToString()
    rng = np.random.default_rng(seed)
    for _ in range(50):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 2):
            damaged[position] = rng.integers(0, 256)
        with contextlib.suppress(NeuronError):
            from_model(parse_model(bytes(damaged)))


def test_every_error_is_a_compile_error() -> None:
    assert all(issubclass(e, CompileError) for e in (ModelError, ShapeError, UnsupportedOp))


@pytest.mark.parametrize("op, weight, group", [("Conv", (4, 3, 1, 1), 1), ("Conv", (3, 1, 1, 1), 2),
                                               ("ConvTranspose", (3, 4, 1, 1), 1)])
def test_channels_that_contradict_each_other(op: str, weight: tuple[int, ...], group: int) -> None:
    w = np.ones(weight, np.float32)
    model = make([helper.make_node(op, ["x", "w"], ["y"], "c", group=group)], {"x": (1, 2, 4, 4)}, ["y"], {"w": w})
    with pytest.raises(ShapeError) as caught:
        imported(model)
    assert caught.value.code == "SHAPE_MISMATCH" and "'c'" in caught.value.where


def test_a_constant_without_a_value() -> None:
    model = make([helper.make_node("Constant", [], ["c"], "k"), helper.make_node("Add", ["x", "c"], ["y"])],
                 {"x": (1,)}, ["y"])
    with pytest.raises(CompileError, match="Constant|attribute"):
        imported(model)
