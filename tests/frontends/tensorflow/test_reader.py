"""Readers and faces of TensorFlow models: what is chosen, and files and models that cannot be meant."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import frontends
from compiler.errors import ModelError, ShapeError, UnsupportedOp
from compiler.frontends.inputs import Given
from compiler.frontends.tensorflow import saved_model
from compiler.frontends.tensorflow.bundle import Bundle
from compiler.frontends.tensorflow.protos import message
from compiler.frontends.tensorflow.scope import Scope
from compiler.frontends.tensorflow.slices import box, key_of, place_of_text
from compiler.frontends.tensorflow.snappy import decompress
from compiler.ir import Graph
from isa.errors import ErrorList
from tests.compiler.evaluate import run_graph
from tests.frontends.corpus import Corpus

HERE = Path(__file__).parent
DATA = Path(__file__).parents[2] / "data" / "tensorflow"
FLOAT, INT, BOOL = 1, 3, 10


class Nodes:
    """Writes a GraphDef node by node."""

    def __init__(self) -> None:
        self.graph = message("GraphDef")()

    def add(self, op: str, name: str, inputs: Sequence[str] = (), **attrs: Any) -> str:
        """A node; attributes: whole numbers, texts, ("type", n), ("shape", sizes), arrays."""
        node = self.graph.node.add(op=op, name=name, input=list(inputs))
        for key, value in attrs.items():
            slot = node.attr[key]
            if isinstance(value, np.ndarray):
                slot.tensor.dtype = {"f": FLOAT, "i": INT, "b": BOOL}[value.dtype.kind]
                slot.tensor.tensor_content = value.tobytes()
                for size in value.shape:
                    slot.tensor.tensor_shape.dim.add(size=size)
            elif isinstance(value, tuple) and value[0] == "type":
                slot.type = value[1]
            elif isinstance(value, tuple):
                slot.shape.SetInParent()
                for size in value[1]:
                    slot.shape.dim.add(size=size)
            elif isinstance(value, str):
                slot.func.name = value
            else:
                slot.i = value
        return name

    def read(self, folder: Path, **given: Any) -> Graph:
        """The graph of the file."""
        path = folder / "net.pb"
        path.write_bytes(self.graph.SerializeToString())
        return frontends.load(path, Given(**given), "tensorflow")


def placeholder(nodes: Nodes, name: str = "x", shape: Sequence[int] = (2, 3)) -> str:
    return nodes.add("Placeholder", name, dtype=("type", FLOAT), shape=("shape", shape))


def caught(nodes: Nodes, folder: Path, **given: Any) -> Any:
    with pytest.raises((ModelError, ShapeError, UnsupportedOp, ErrorList)) as found:
        nodes.read(folder, **given)
    return found.value


# ---- faces -----------------------------------------------------------------------------------------------------------


def test_results_are_the_nodes_that_nobody_reads(tmp_path: Path) -> None:
    nodes = Nodes()
    placeholder(nodes, "unused")
    nodes.add("Relu", "mid", [placeholder(nodes)])
    nodes.add("Neg", "a", ["mid:0"])
    nodes.add("Exp", "b", ["mid"])
    nodes.add("Assert", "check", ["mid"])
    nodes.add("ScalarSummary", "seen", ["mid"])
    graph = nodes.read(tmp_path)
    assert (graph.inputs, graph.outputs) == (["x"], ["a", "b"])
    assert nodes.read(tmp_path, outputs=("mid:0", "b")).outputs == ["mid:0", "b"]
    error = caught(nodes, tmp_path, outputs=("c",))
    assert error.code == "OUTPUT_NAME" and "a, b" in error.limit


def test_open_sizes_have_to_be_given(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.add("Relu", "y", [placeholder(nodes, shape=(-1, -1))])
    assert caught(nodes, tmp_path).code == "INPUT_SYMBOLIC"
    graph = nodes.read(tmp_path, shapes={"x:0": (4, 5)})
    assert graph.shape("y") == (4, 5)


def test_a_placeholder_with_a_default_is_its_default_unless_named(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.add("Const", "two", value=np.array([2, 2], np.float32), dtype=("type", FLOAT))
    nodes.add("PlaceholderWithDefault", "scale", ["two"], dtype=("type", FLOAT), shape=("shape", (2,)))
    nodes.add("Mul", "y", [placeholder(nodes, shape=(2,)), "scale"])
    x = np.array([1, -3], np.float32)
    graph = nodes.read(tmp_path)
    assert graph.inputs == ["x"] and run_graph(graph, {"x": x})[0].tolist() == [2, -6]
    assert nodes.read(tmp_path, shapes={"scale": (2,)}).inputs == ["x", "scale"]


def test_the_signature_is_the_default_the_only_one_or_the_chosen_one(tmp_path: Path) -> None:
    corpus = Corpus(HERE / "corpus1.npz")
    for name, data in corpus.arrays.items():
        if name.startswith("several_graphs/file/"):
            path = tmp_path / name.split("/", 2)[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.tobytes())
    folder = tmp_path / "model"
    assert [o.name for o in saved_model.read(folder).outputs] == ["y0"]
    assert [o.name for o in saved_model.read(folder, signature="other").outputs] == ["z"]
    assert [o.name for o in saved_model.read(folder, tags=["train"]).outputs] == ["y0"]
    for tags, key, code, limit in (([], "third", "SIGNATURE", "other, serving_default"),
                                   (["gpu"], "", "TAGS", "train; serve")):
        with pytest.raises(ModelError) as found:
            saved_model.read(folder, tags, key)
        assert (found.value.code, found.value.limit) == (code, limit)


def test_a_model_is_cut_behind_what_reads_files(tmp_path: Path) -> None:
    nodes = Nodes()
    placeholder(nodes, "other", (2, 2))
    nodes.add("Placeholder", "bytes", dtype=("type", 7), shape=("shape", ()))
    nodes.add("PartitionedCall", "call", ["bytes"], f="prepare")
    function = nodes.graph.library.function.add()
    function.signature.name = "prepare"
    function.signature.input_arg.add(name="v", type=7)
    function.signature.output_arg.add(name="r", type=FLOAT)
    function.node_def.add(op="DecodeJpeg", name="decode", input=["v"])
    function.node_def.add(op="Relu", name="scaled", input=["decode:image:0"]).attr["T"].type = FLOAT
    function.node_def.add(op="Neg", name="n", input=["scaled:activations:0"])
    function.ret["r"] = "n:y:0"
    nodes.add("Neg", "y", ["call"])
    error = caught(nodes, tmp_path)
    assert error.code == "ELEMENT_TYPE" and "'bytes'" in error.what and "'decode' (DecodeJpeg)" in error.actual
    graph = nodes.read(tmp_path, shapes={"call/scaled:0": (2, 3)})
    x = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)
    assert graph.inputs == ["call/scaled"]
    np.testing.assert_array_equal(run_graph(graph, {"call/scaled": x})[0], x)
    assert caught(nodes, tmp_path, shapes={"scaled": (2, 3)}).code == "INPUT_NAME"
    assert caught(nodes, tmp_path, shapes={"bytes": ()}).code == "ELEMENT_TYPE"


def test_functions_name_the_results_of_nodes() -> None:
    nodes = Nodes()
    nodes.add("SparseFillEmptyRows", "rows")
    nodes.add("Relu", "y")
    scope = Scope({n.name: n for n in nodes.graph.node}, "")
    refs = ("rows:output_values:0", "rows:empty_row_indicator:0", "rows:1", "y:activations:0")
    assert [scope.index(r) for r in refs] == [1, 2, 1, 0]


# ---- what cannot be meant --------------------------------------------------------------------------------------------


def test_all_operators_that_are_not_supported_are_named_at_once(tmp_path: Path) -> None:
    nodes = Nodes()
    x = placeholder(nodes)
    nodes.add("Svd", "a", [x])
    nodes.add("Svd", "b", ["a"])
    nodes.add("RandomStandardNormal", "noise", [x])
    nodes.add("Add", "y", ["b", "noise"])
    error = caught(nodes, tmp_path)
    assert {(e.op, e.nodes) for e in error.errors} == {("Svd", ("a",)), ("RandomStandardNormal", ("noise",))}
    assert "decompositions" in str(error) and "random numbers" in str(error)


def test_variables_without_values(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.add("VariableV2", "w", dtype=("type", FLOAT), shape=("shape", (2, 3)))
    nodes.add("Add", "y", [placeholder(nodes), "w"])
    assert caught(nodes, tmp_path).code == "VARIABLE_MISSING"
    folder = tmp_path / "saved"
    shutil.copytree(DATA / "resnet_savedmodel", folder)
    shutil.rmtree(folder / "variables")
    with pytest.raises(ModelError) as found:
        frontends.load(folder, Given(batch=1))
    assert found.value.code in ("VARIABLE_MISSING", "MODEL_INCOMPLETE")


def test_cycles_and_references_to_nothing(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.add("Add", "a", [placeholder(nodes), "b"])
    nodes.add("Relu", "b", ["a"])
    nodes.add("Neg", "y", ["b"])
    assert "need each other" in caught(nodes, tmp_path).what
    other = Nodes()
    other.add("Relu", "y", ["nobody"])
    assert "'nobody'" in caught(other, tmp_path).what


def test_a_function_that_calls_itself(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.add("PartitionedCall", "y", [placeholder(nodes)], f="again")
    function = nodes.graph.library.function.add()
    function.signature.name = "again"
    function.signature.input_arg.add(name="v", type=FLOAT)
    function.signature.output_arg.add(name="r", type=FLOAT)
    inner = function.node_def.add(op="PartitionedCall", name="call", input=["v"])
    inner.attr["f"].func.name = "again"
    function.ret["r"] = "call:output:0"
    assert "calls itself" in caught(nodes, tmp_path).what


def test_loops_without_end(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.add("While", "y", [placeholder(nodes)], cond="always", body="same")
    for name, result in (("always", "yes:output:0"), ("same", "v")):
        function = nodes.graph.library.function.add()
        function.signature.name = name
        function.signature.input_arg.add(name="v", type=FLOAT)
        function.signature.output_arg.add(name="r", type=FLOAT)
        function.ret["r"] = result
        if name == "always":
            node = function.node_def.add(op="Const", name="yes")
            node.attr["value"].tensor.dtype = BOOL
            node.attr["value"].tensor.bool_val.append(True)
            node.attr["value"].tensor.tensor_shape.SetInParent()
    error = caught(nodes, tmp_path)
    assert error.op == "While" and "too often" in error.what


def test_loops_in_loops_without_end(tmp_path: Path) -> None:
    nodes = Nodes()
    placeholder(nodes)
    for k in range(2000):
        nodes.add("Enter", f"enter{k}", [f"switch{k - 1}:1" if k else "x"])
        nodes.add("Merge", f"merge{k}", [f"enter{k}", f"next{k}"])
        nodes.add("LoopCond", f"more{k}", [f"merge{k}"])
        nodes.add("Switch", f"switch{k}", [f"merge{k}", f"more{k}"])
        nodes.add("NextIteration", f"next{k}", [f"exit{k + 1}"])
        nodes.add("Exit", f"exit{k}", [f"switch{k}"])
    nodes.add("Relu", "y", ["exit0"])
    assert caught(nodes, tmp_path).code == "MODEL_INVALID"


def test_constants_whose_sizes_lie(tmp_path: Path) -> None:
    for shape in ((1 << 40,), (1 << 20, 1 << 20), (-3,)):
        nodes = Nodes()
        nodes.add("Const", "c", value=np.ones(1, np.float32))
        tensor = nodes.graph.node[0].attr["value"].tensor
        tensor.ClearField("tensor_content")
        tensor.float_val.append(1.0)
        del tensor.tensor_shape.dim[:]
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        nodes.add("Add", "y", [placeholder(nodes), "c"])
        assert caught(nodes, tmp_path).code == "MODEL_INVALID"


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_variables_cut_short(part: str, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    shutil.copytree(DATA / "resnet_savedmodel", folder)
    path = folder / "variables" / f"variables.{part}"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError) as found:
        frontends.load(folder, Given(batch=1))
    assert found.value.code == "MODEL_INVALID" and "variables" in found.value.where


# ---- parts of the readers --------------------------------------------------------------------------------------------


def test_snappy() -> None:
    # a literal of four, a copy of six that runs into what it writes, a literal of two
    data = bytes([12, 3 << 2]) + b"abcd" + bytes([(6 - 4) << 2 | 1, 2, 1 << 2]) + b"xy"
    assert decompress(data, 100, "") == b"abcdcdcdcdxy"
    for wrong in (data[:-1], data[:1], bytes([200]) + data[1:], bytes([12, 1, 9])):
        with pytest.raises(ModelError):
            decompress(wrong, 100, "")


def test_keys_of_parts() -> None:
    assert key_of("net/w", ((0, -1),)) == b"\x00net/w\x00\x01\x01\x01\x80\x7f"
    assert key_of("a", ((64, 200),)) == b"\x00a\x00\x01\x01\x01\xc0\x40\xc0\xc8"
    assert place_of_text("6 4 0,3:-", "") == ((0, 3), (0, -1))
    assert box(((0, 3), (0, -1)), (6, 4), "") == (slice(0, 3), slice(0, 4))
    with pytest.raises(ModelError):
        box(((4, 3), (0, -1)), (6, 4), "")


def test_a_bundle_gives_views_of_its_file() -> None:
    bundle = Bundle(DATA / "resnet_savedmodel" / "variables" / "variables")
    array = bundle.array("m/_operations/1/_kernel/.ATTRIBUTES/VARIABLE_VALUE")
    assert array.shape == (7, 7, 3, 12) and not array.flags.owndata and not array.flags.writeable
    with pytest.raises(ModelError) as found:
        bundle.array("nothing")
    assert found.value.code == "VARIABLE_MISSING"
