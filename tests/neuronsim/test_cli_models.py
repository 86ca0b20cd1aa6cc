"""The command line on models of any format: archives and folders, what users say of inputs and outputs, its lists."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import neuronsim
from compiler.errors import ModelError
from neuronsim import cli

DATA = Path(__file__).resolve().parents[1] / "data"
TARGET = ["--target", "trn1.2xlarge"]
Say = Callable[..., Any]


def two_heads() -> onnx.ModelProto:
    node = helper.make_node
    faces = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32]),
             helper.make_tensor_value_info("k", TensorProto.INT64, ["n", 32])]  # fmt: skip
    nodes = [node("Tanh", ["x"], ["t"], "tanh"), node("Sigmoid", ["t"], ["a"], "first"),
             node("Mul", ["t", "t"], ["b"], "second"), node("Add", ["k", "k"], ["c"], "third")]  # fmt: skip
    outputs = [helper.make_tensor_value_info(n, t, None) for n, t in (("a", 1), ("b", 1), ("c", 7))]
    graph = helper.make_graph(nodes, "heads", faces, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command in a folder with `m.onnx`; its output, parsed with --json, or its errors when `code` is not 0."""
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(two_heads().SerializeToString())

    def run(*argv: str, code: int = 0) -> Any:
        got = cli.main([str(a) for a in argv])
        captured = capsys.readouterr()
        assert got == code, captured.err
        if code:
            return captured.err
        return json.loads(captured.out) if "--json" in argv else captured.out

    return run


def pack(name: str, *files: Path) -> str:
    with tarfile.open(name, "w:gz") as archive:
        for file in files:
            archive.add(file, file.name)
    return name


def darknet() -> list[Path]:
    return [DATA / "darknet" / "darknet19_cls" / f"darknet.{ending}" for ending in ("cfg", "weights")]


def test_file_folder_and_archive_give_the_same_neff(say: Say) -> None:
    Path("net").mkdir()
    for file in darknet():
        shutil.copy(file, "net")
    report = say("compile", "net", *TARGET, "--json")
    assert (report["output"], report["model"]) == ("net.neff", {"framework": "darknet", "kind": "cfg"})
    assert say("compile", pack("model.tar.gz", *darknet()), *TARGET, "--json")["output"] == "model.neff"
    text = say("compile", "net/darknet.weights", "-o", "third.neff", *TARGET, "--verbose")
    assert "  read as DarkNet (cfg)" in text.splitlines()
    first = Path("net.neff").read_bytes()
    assert first == Path("model.neff").read_bytes() == Path("third.neff").read_bytes()


def test_external_data_in_an_archive_outlive_it(say: Say) -> None:
    weights = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    model = helper.make_model(helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32])], [onnx.numpy_helper.from_array(weights, "w")],
    ), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)  # fmt: skip
    onnx.save_model(model, "e.onnx", save_as_external_data=True, location="e.bin", size_threshold=0)
    found = neuronsim.compile(pack("e.tgz", Path("e.onnx"), Path("e.bin")), target="trn1.2xlarge")
    x = np.ones((1, 64), np.float32)
    np.testing.assert_allclose(found.run({"x": x}).outputs["y"], x @ weights, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "model, output",
    [("a/b.c/net.v2.onnx", "net.v2.neff"), ("m.tar.gz", "m.neff"), ("m.tgz", "m.neff"), ("m.tar", "m.neff"),
     ("m.tar.xz", "m.neff"), ("x.zip", "x.neff"), ("plain", "plain.neff"), (".onnx", "model.neff")],
)  # fmt: skip
def test_the_output_is_called_what_the_model_is(model: str, output: str) -> None:
    from neuronsim.cli.compile import default_output

    assert default_output(Path(model)) == output


def test_the_output_of_a_folder_is_called_what_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neuronsim.cli.compile import default_output

    (tmp_path / "saved.v1").mkdir()
    monkeypatch.chdir(tmp_path / "saved.v1")
    assert default_output(Path("../saved.v1")) == default_output(Path()) == "saved.v1.neff"


def test_a_search_for_cores_reads_archives_with_all_options(say: Say) -> None:
    archive = pack("m.tar.gz", Path("m.onnx"))
    io = '{"inputs": {"x": [[64, 32], "float32"]}, "outputs": ["b", "a"]}'
    report = say("compile", archive, "--target", "inf1.xlarge", "--framework", "ONNX", "--io-config", io,
                 "--neuroncore-pipeline-cores", "auto", "--json")  # fmt: skip
    assert [t["error"] for t in report["auto"]["trials"]] == [""] * len(report["auto"]["trials"])
    found = neuronsim.load("m.neff")
    assert [o.name for o in found.outputs] == ["b", "a"]
    assert {i.name: tuple(i.shape) for i in found.inputs}["x"] == (64, 32)


def test_types_and_outputs_of_an_io_config(say: Say) -> None:
    Path("io.json").write_text('{"inputs": {"x": [[4, 32], "fp32"], "k": [[4, 32], "int64"]}, "outputs": ["c"]}')
    report = say("analyze", "m.onnx", *TARGET, "--io-config", "io.json", "--json")
    assert (report["operators"]["total"], report["model"]["framework"]) == (1, "onnx")
    x = np.ones((4, 32), np.float32)
    found = neuronsim.compile("m.onnx", io_config={"outputs": ["b"]}, input_shapes={"x": x.shape})
    np.testing.assert_allclose(found.run({"x": x}).outputs["b"], np.tanh(x) ** 2, rtol=1e-2)


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["--input-dtype", "x:float16"], "INPUT_DTYPE", "input 'x'"),
        (["--input-dtype", "q:float16"], "INPUT_NAME", "'q'"),
        (["--input-dtype", "x:float17"], "OPTION", "bfloat16"),
        (["--io-config", '{"outputs": ["z"]}'], "OUTPUT_NAME", "'z'"),
        (["--io-config", '{"inputs": {"x": [[4, 33], "float32"]}}'], "INPUT_SHAPE", "x"),
        (["--io-config", '{"inputs": {"x": [[4, 32], "float32"]}}', "--input-shape", "x:4x32"], "OPTION", "twice"),
        (["--io-config", "{"], "OPTION", "--io-config"),
        (["--framework", "tflite"], "MODEL_FORMAT", "--framework onnx"),
        (["--framework", "theano"], "OPTION", "mxnet"),
    ],
)
@pytest.mark.parametrize("command", ["compile", "analyze"])
def test_contradictions_are_errors(say: Say, command: str, arguments: list[str], code: str, words: str) -> None:
    text = say(command, "m.onnx", *TARGET, *arguments, code=cli.EXIT_BAD_INPUT)
    assert text.startswith(f"error[{code}]: ")
    assert words in text
    assert not Path("m.neff").exists()


def test_the_bytes_of_any_one_file_model_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (DATA / "tflite" / "mobilenet_fp32" / "model.tflite").read_bytes()
    found = neuronsim.compile(data, target="trn1.2xlarge")
    assert found.report["model"] == {"framework": "tflite", "kind": "tflite"}
    with pytest.raises(ModelError, match="other half") as caught:
        neuronsim.compile(darknet()[0].read_bytes(), target="trn1.2xlarge")
    assert caught.value.where == "bytes: model"


def test_the_examples_of_the_docs_run(say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = DATA.parents[1]
    monkeypatch.chdir(root)
    text = (root / "docs" / "frameworks" / "README.md").read_text(encoding="utf-8")
    commands = [line.split()[2:] for line in text.splitlines() if line.startswith("$ neuronsim ")]
    assert {c[0] for c in commands} == {"compile", "analyze", "list-operators"}
    for command in commands:
        say(*(str(tmp_path / word) if word.endswith(".neff") else word for word in command))


def test_an_empty_batch_gives_an_empty_answer() -> None:
    found = neuronsim.compile(DATA / "xgboost" / "multi_json" / "model.json", input_shapes={"features": (0, 8)})
    outputs = found.run({"features": np.zeros((0, 8), np.float32)}, mode="values").outputs
    assert {a.shape[0] for a in outputs.values()} == {0}


# ---- lists of operators
@pytest.mark.parametrize("framework", ["TENSORFLOW", "MXNet", "keras", "tflite", "torch", "xgboost", "darknet"])
def test_the_operators_of_every_framework_are_listed(say: Say, framework: str) -> None:
    found = say("list-operators", "--framework", framework, "--json")
    assert found["counts"]["supported"] == sum(o["supported"] for o in found["operators"]) > 0
    assert all(o["supported"] == (not o["reason"]) for o in found["operators"])
    names = [o["operator"] for o in found["operators"]]
    assert names == sorted(set(names))


def test_a_list_of_operators_says_why_not(say: Say) -> None:
    text = say("list-operators", "--framework", "KERAS")
    reasons = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()[:-1]}
    assert reasons["Dense"] == "yes"
    assert reasons["Lambda"].startswith("no: ")
    assert text.splitlines()[-1].startswith("Keras: ")


def test_without_a_framework_or_with_onnx_the_list_is_the_targets(say: Say) -> None:
    assert say("list-operators", *TARGET) == say("list-operators", "--framework", "onnx", *TARGET)
    assert "USAGE" not in say("list-operators", "--framework", "caffe", code=cli.EXIT_BAD_INPUT)
