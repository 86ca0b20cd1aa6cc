"""Which framework's model a file, a folder or an archive is; what is said where it is none, half of one, or several."""

from __future__ import annotations

import base64
import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from compiler.errors import ModelError
from compiler.frontends.files import ModelFiles
from compiler.frontends.package import open_model
from tests.e2e.refusal import SMALL

Tree = Mapping[str, bytes]


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    assert len(payload) < 1 << 14
    size = bytes([len(payload) & 127 | 128, len(payload) >> 7])
    return bytes([number << 3 | 2]) + size + payload


def zipped(tree: Tree) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in tree.items():
            archive.writestr(name, data)
    return file.getvalue()


def legacy_xgboost(booster: bytes = b"gbtree") -> bytes:
    names = b"".join(struct.pack("<Q", len(n)) + n for n in (b"binary:logistic", booster))
    return struct.pack("<fI", 0.5, 8) + bytes(128) + names + bytes(64)


NODE = field(1, field(1, b"image" * 40) + field(2, b"Placeholder"))
ONNX = SMALL.SerializeToString()
GRAPH = NODE * 3 + field(4, b"\x08\x10")
SAVED = b"\x08\x01" + field(2, field(1, field(2, NODE)) + field(2, GRAPH))
INDEX = bytes(40) + struct.pack("<Q", 0xDB4775248B80FB57)
FINGERPRINT = b"\x08\x85\x01\x10\x07\x18\x09\x20\x01\x28\x02" + field(6, b"\x08\x02") + field(7, b"0123")
TEXT_GRAPH = b'# frozen\nnode {\n  name: "x"\n  op: "Placeholder"\n}\n'
SYMBOL = json.dumps({"nodes": [{"op": "null", "name": "data", "inputs": []}], "arg_nodes": [0], "heads": [[0, 0, 0]]})
PARAMS = struct.pack("<QQQ", 0x112, 0, 0) + struct.pack("<Q", 0)
CFG = b"; a comment\n\n# another\n[net]\nwidth=8\n\n[softmax]\n"
WEIGHTS = struct.pack("<iiiQ", 0, 2, 5, 32000) + bytes(40)
SCRIPT = zipped({"m/data.pkl": b"", "m/constants.pkl": b"", "m/code/__torch__.py": b"", "m/version": b"3\n"})
STATE_DICT = zipped({"m/data.pkl": b"", "m/data/0": b"", "m/version": b"3\n"})
PT2 = zipped({"m/archive_format": b"pt2", "m/models/model.json": b"{}", "m/data/weights/weight_0": b""})
PT2_FIRST = zipped({"serialized_exported_program.json": b"{}", "serialized_state_dict.pt": b"", "version": b"5"})
KERAS = zipped({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"})
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(64)
TREES = b'{"version":[2,1,0],"learner":{"attributes":{}}}'
UBJ = b"{L\0\0\0\0\0\0\0\x07learner{}"

ONE_FILE = {
    "onnx onnx": (ONNX, SMALL.SerializeToString()[:-9], b"\x08\x07\x12\x07pytorch"),
    "pytorch torchscript": (SCRIPT,),
    "pytorch pt2": (PT2, PT2_FIRST),
    "tensorflow frozen_pb": (GRAPH,),
    "tensorflow frozen_pbtxt": (TEXT_GRAPH, b"node{name: 'x'}", b"versions <\n producer: 1\n>", b"\xef\xbb\xbfnode {"),
    "keras h5": (HDF5,),
    "keras keras": (KERAS,),
    "tflite tflite": (b"\x1c\0\0\0TFL3" + bytes(64),),
    "xgboost model": (
        legacy_xgboost(), b"binf" + legacy_xgboost(b"dart"), b"bs64\t" + base64.b64encode(legacy_xgboost(b"gblinear")),
    ),
    "xgboost json": (TREES, b"\n " + TREES),
    "xgboost ubj": (UBJ, b"{U\x07version[l"),
}  # fmt: skip
PAIRS: dict[str, tuple[Tree, str]] = {
    "mxnet symbol": ({"net-symbol.json": SYMBOL.encode(), "net-0003.params": PARAMS}, "params"),
    "darknet cfg": ({"net.cfg": CFG, "net.weights": WEIGHTS}, "weights"),
}


def written(folder: Path, tree: Tree) -> Path:
    for name, data in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def opened(path: Path, framework: str | None = None) -> ModelFiles:
    with open_model(path, framework) as files:
        assert files.main.exists()
        assert all(p.exists() for p in files.others.values())
        return files


def refused(path: Path, framework: str | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        opened(path, framework)
    return caught.value


# ---- files
@pytest.mark.parametrize(
    "said, data", [pytest.param(k, d, id=f"{k} {i}") for k, all_ in ONE_FILE.items() for i, d in enumerate(all_)]
)
def test_content_says_what_a_file_is_whatever_its_name(tmp_path: Path, said: str, data: bytes) -> None:
    for name in ("m", "model.onnx", "model.pb", "model.pt", "model.json"):
        files = opened(written(tmp_path, {name: data}) / name)
        assert (f"{files.framework} {files.kind}", files.main, dict(files.others)) == (said, tmp_path / name, {})


@pytest.mark.parametrize("said", PAIRS)
def test_either_file_of_a_pair_finds_the_other(tmp_path: Path, said: str) -> None:
    tree, role = PAIRS[said]
    main, second = tree
    written(tmp_path, {**tree, "unrelated.onnx": ONNX, "notes.txt": b"hello"})
    for path in (tmp_path / main, tmp_path / second):
        files = opened(path)
        assert f"{files.framework} {files.kind}" == said
        assert (files.main, dict(files.others)) == (tmp_path / main, {role: tmp_path / second})


def test_pairs_go_by_name_before_content(tmp_path: Path) -> None:
    written(tmp_path, {"a.cfg": CFG, "a.weights": WEIGHTS, "b.cfg": CFG, "b.weights": WEIGHTS, "c.cfg": CFG})
    assert opened(tmp_path / "b.cfg").others["weights"].name == "b.weights"
    assert opened(tmp_path / "a.weights").main.name == "a.cfg"
    error = refused(tmp_path / "c.cfg")  # the weights there are are other networks'
    assert (error.code, "c.cfg" in error.where, ".weights" in str(error.limit)) == ("MODEL_INCOMPLETE", True, True)


def test_a_pair_of_different_names_is_one_when_it_is_the_only_one(tmp_path: Path) -> None:
    written(tmp_path, {"yolo.cfg": CFG, "yolo_final.weights": WEIGHTS})
    assert opened(tmp_path / "yolo.cfg").others["weights"].name == "yolo_final.weights"


def test_several_parameter_files_are_named_and_one_can_be_chosen(tmp_path: Path) -> None:
    written(tmp_path, {"n-symbol.json": SYMBOL.encode(), "n-0001.params": PARAMS, "n-0009.params": PARAMS})
    for path in (tmp_path / "n-symbol.json", tmp_path):
        error = refused(path)
        assert (error.code, error.actual) == ("MODEL_AMBIGUOUS", "n-0001.params, n-0009.params")
    assert opened(tmp_path / "n-0001.params").others["params"].name == "n-0001.params"


def test_a_pair_is_found_among_thousands_of_files(tmp_path: Path) -> None:
    written(tmp_path, {**{f"{i:05}.txt": b"" for i in range(4100)}, **PAIRS["darknet cfg"][0]})
    assert opened(tmp_path / "net.weights").main.name == "net.cfg"
    assert refused(tmp_path).limit == 4096


REFUSED = {
    "MODEL_EMPTY": (b"",),
    "PICKLE_REFUSED": (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", STATE_DICT, b"\x80\x04\x95\x0f\0\0\0\0\0\0\0}\x94.",
        b"csklearn.svm\nSVC\np0\n", b"(dp0\nS'a'\n", b"}q\0(X\1", zlib.compress(b"\x80\x04" * 40),
        gzip.compress(b"\x80\x04" * 40), zipped({"m/.data/extern_modules": b"", "m/m.pkl": b""}),
    ),
    "MODEL_INCOMPLETE": (
        struct.pack("<Q", 20) + b'{"weight":{"dtype":"F32"}}', b"GGUF\3\0\0\0", INDEX,
        b'{"class_name": "Sequential", "config": {}}',
        field(1, field(2, NODE)) + field(2, GRAPH) + field(3, b"\x08\1"),
    ),
    "MODEL_FORMAT": (
        b"version https://git-lfs.github.com/spec/v1\n", b"\n<!-- x --><!DOCTYPE html><html>", b"<html lang=en>",
        b'<?xml version="1.0"?><net name="a" version="11">', b"tree\nversion=v4", b'name: "VGG"\nlayer {\n', b"a\n1\n",
        bytes(64), FINGERPRINT, b"\x93NUMPY", zipped({"a.npy": b"", "b.npy": b""}), b"\x89PNG\r\n\x1a\n",
        b"\x7fELF", b"\x20\0\0\0ORTM",
        b'{"modelTopology": {}}', b'{"hello": 1}', b"ir_version: 8\n", b"[section]\nkey=1\n", b"code\nwords\nmore\n",
        b"ftrt" + bytes(20), b"\x08\x01\xc2\x1f\0",
    ),
    "ARCHIVE_FORMAT": (b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd\0"),
}  # fmt: skip


@pytest.mark.parametrize(
    "code, data", [pytest.param(c, d, id=f"{c} {i}") for c, all_ in REFUSED.items() for i, d in enumerate(all_)]
)
def test_what_no_model_can_be_read_from_is_named(tmp_path: Path, code: str, data: bytes) -> None:
    error = refused(written(tmp_path, {"model.onnx": data}) / "model.onnx")
    assert (error.code, error.where) == (code, str(tmp_path / "model.onnx"))
    assert error.help
    assert refused(tmp_path).code == code  # alone in a folder it is said just as well


def test_the_data_of_a_checkpoint_are_known_by_their_name(tmp_path: Path) -> None:
    written(tmp_path, {"c/model.data-00000-of-00001": bytes(99), "c/checkpoint": b'model_checkpoint_path: "model"\n'})
    for path in sorted((tmp_path / "c").iterdir()):
        assert refused(path).code == "MODEL_INCOMPLETE"


def test_a_compressed_file_is_no_archive(tmp_path: Path) -> None:
    for data in (gzip.compress(b"hello" * 300), bz2.compress(ONNX), lzma.compress(bytes(10))):
        assert refused(written(tmp_path, {"m.onnx.gz": data}) / "m.onnx.gz").code == "ARCHIVE_FORMAT"


@pytest.mark.parametrize(
    "unit", [b"\n", b"#\n", b'{"', b'\\"', b'"', b"{", b"\\", b"<!--", b" <", b"\x08\x01", b"\x0a\x01", b"(dp0\n"]
)
def test_no_head_of_a_file_takes_long_to_look_at(tmp_path: Path, unit: bytes) -> None:
    for start in (b"", b'{"', b'name: "', b"<?xml "):
        path = written(tmp_path, {"m": start + unit * (70_000 // len(unit))}) / "m"
        began = time.process_time()
        with contextlib.suppress(ModelError):
            opened(path)
        assert time.process_time() - began < 2


def test_a_neff_is_compiled_already(tmp_path: Path) -> None:
    data = struct.pack("<QQQ", 2, 1024, 512) + bytes(1000 + 512)
    error = refused(written(tmp_path, {"m.neff": data}) / "m.neff")
    assert (error.code, error.help) == ("MODEL_FORMAT", "neuronsim run m.neff")


def test_a_pickle_says_how_to_export(tmp_path: Path) -> None:
    error = refused(written(tmp_path, {"m.pth": STATE_DICT}) / "m.pth")
    assert "torch.jit.trace" in error.help
    assert "torch.export.save" in error.help


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    written(tmp_path, {"e/._x": b""})
    for name in ("absent", "pipe", "x" * 200, "e"):
        assert refused(tmp_path / name).code == "MODEL_MISSING"


# ---- the user's word
def test_the_user_may_name_the_framework_but_not_against_the_content(tmp_path: Path) -> None:
    written(tmp_path, {"m.pb": GRAPH, "m.h5": HDF5, "odd.pbtxt": b"library of mine", "odd.bin": bytes(9)})
    assert opened(tmp_path / "m.pb", "TensorFlow").kind == "frozen_pb"
    assert opened(tmp_path, "KERAS").kind == "h5"
    assert opened(tmp_path / "odd.pbtxt", "tf").kind == "frozen_pbtxt"  # unknown: the user is believed
    assert opened(tmp_path / "odd.bin", "xgboost").kind == "model"
    error = refused(tmp_path / "m.pb", "keras")
    assert (error.code, error.actual) == ("MODEL_FORMAT", "TensorFlow model")
    assert "--framework tensorflow" in error.help
    assert refused(tmp_path, "darknet").limit == "one .cfg and one .weights file"
    assert refused(tmp_path, "theano").code == "FRAMEWORK"


# ---- folders and archives
PACKAGES: dict[str, Tree] = {
    **{said: {"model" + {"onnx": ".onnx"}.get(said, ""): all_[0]} for said, all_ in ONE_FILE.items()},
    **{said: tree for said, (tree, _) in PAIRS.items()},
    "tensorflow savedmodel": {
        "saved_model.pb": SAVED, "variables/variables.index": INDEX, "variables/variables.data-00000-of-00001": b"",
        "assets/vocabulary.txt": b"a\n", "fingerprint.pb": FINGERPRINT,
        "keras_metadata.pb": field(1, b"\x10\0" + field(3, b"root")),
    },
}  # fmt: skip
LITTER = {"._model": b"\0\5\x16\7", ".DS_Store": b"\0", "__MACOSX/._model": b"\0\5\x16\7", "README.md": b"# A model\n"}


def packed(path: Path, tree: Tree, style: str) -> Path:
    """An archive of one of the styles in which people pack models."""
    prefix = {"dotslash": "./", "nested": "my model/", "deep": "export/Servo/1/"}.get(style, "")
    extras = LITTER if style == "apple" else {}
    if style == "zip":
        path.write_bytes(zipped(tree))
        return path
    modes = {"plain": "w:", "bz2": "w:bz2", "xz": "w:xz"}
    with tarfile.open(path, modes.get(style, "w:gz"), format=tarfile.PAX_FORMAT) as file:  # type: ignore[call-overload]
        for name in ["./"] * (style == "dotslash"):
            folder = tarfile.TarInfo(name)
            folder.type = tarfile.DIRTYPE
            file.addfile(folder)
        for name, data in {**extras, **tree}.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("style", ["flat", "dotslash", "nested", "deep", "apple", "plain", "bz2", "xz", "zip"])
@pytest.mark.parametrize("said", PACKAGES)
def test_every_kind_in_archives_of_every_style(tmp_path: Path, said: str, style: str) -> None:
    archive = packed(tmp_path / "my.model", PACKAGES[said], style)
    with open_model(archive) as files:
        assert (f"{files.framework} {files.kind}", files.notes) == (said, ())
        folder = files.main if files.main.is_dir() else files.main.parent
        found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert {name: found[name] for name in PACKAGES[said]} == PACKAGES[said]
    assert not folder.exists()


def test_a_model_is_found_beside_folders_of_other_things(tmp_path: Path) -> None:
    tree = {"top/saved_model/saved_model.pb": SAVED, "top/checkpoint/ckpt-0.index": INDEX, "top/p.config": b"m\n"}
    written(tmp_path / "a", {**tree, **{f"top/data/{i}.txt": b"" for i in range(4100)}})
    assert opened(tmp_path / "a").main == tmp_path / "a" / "top" / "saved_model"


@pytest.mark.parametrize("said", PACKAGES)
def test_every_kind_as_a_folder(tmp_path: Path, said: str) -> None:
    files = opened(written(tmp_path / "top" / "inner", PACKAGES[said]).parent)
    assert f"{files.framework} {files.kind}" == said
    if said.endswith("savedmodel"):
        assert files.main == tmp_path / "top" / "inner"
        assert {k: p.name for k, p in files.others.items()} == {"graph": "saved_model.pb", "variables": "variables"}
        for name in ("saved_model.pb", "variables", "variables/variables.index"):
            assert opened(files.main / name) == files


WRONG: dict[str, tuple[Tree, str, str]] = {
    "two models": ({"a.onnx": ONNX, "b.tflite": b"\0\0\0\0TFL3"}, "MODEL_AMBIGUOUS", "b.tflite (TensorFlow Lite"),
    "two of a kind": ({"a.pb": GRAPH, "b.pbtxt": TEXT_GRAPH}, "MODEL_AMBIGUOUS", "a.pb"),
    "no params": ({"n-symbol.json": SYMBOL.encode()}, "MODEL_INCOMPLETE", ".params"),
    "no symbol": ({"n-0000.params": PARAMS, "x.json": b"{}"}, "MODEL_INCOMPLETE", "-symbol.json"),
    "no weights": ({"n.cfg": CFG}, "MODEL_INCOMPLETE", ".weights"),
    "no cfg": ({"n.weights": WEIGHTS}, "MODEL_INCOMPLETE", ".cfg"),
    "two weights": ({"n.cfg": CFG, "a.weights": WEIGHTS, "b.weights": WEIGHTS}, "MODEL_AMBIGUOUS", "a.weights, b.w"),
    "variables only": ({"variables/variables.index": b""}, "MODEL_INCOMPLETE", "saved_model.pb"),
    "state dict": ({"m/model.pth": STATE_DICT}, "PICKLE_REFUSED", "torch.jit.trace"),
    "only a text": ({"README.md": b"# Hello\n", "code/inference.py": b"pass"}, "MODEL_FORMAT", "README.md"),
    "models in folders": ({"a/m.onnx": ONNX, "b/m.pb": GRAPH, "c/x": b"1"}, "MODEL_AMBIGUOUS", "a, b"),
    "nothing": ({}, "MODEL_MISSING", "nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("archive", [False, True])
def test_wrong_packages_say_what_is_missing_or_superfluous(tmp_path: Path, case: str, archive: bool) -> None:
    tree, code, words = WRONG[case]
    (tmp_path / "in").mkdir()
    path = packed(tmp_path / "m.tar.gz", tree, "flat") if archive else written(tmp_path / "in", tree)
    error = refused(path)
    assert error.code == code
    assert words in str(error)
    assert error.where.startswith(str(path))  # and not the folder it was unpacked to


def test_the_user_can_choose_among_models_of_several_frameworks(tmp_path: Path) -> None:
    files = opened(packed(tmp_path / "m.tgz", {"a.onnx": ONNX, "b.tflite": b"\0\0\0\0TFL3"}, "flat"), "tflite")
    assert (files.kind, files.notes) == ("tflite", ("beside the model, not read: a.onnx",))


def test_files_beside_the_model_are_noted_when_they_look_like_part_of_one(tmp_path: Path) -> None:
    tree = {"m.onnx": ONNX, "old.pth": REFUSED["PICKLE_REFUSED"][0], "n.params": PARAMS, "data.csv": b"1,2\n"}
    assert opened(written(tmp_path, tree)).notes == ("beside the model, not read: n.params, old.pth",)


def test_an_archive_in_a_folder_is_pointed_at(tmp_path: Path) -> None:
    archive = packed(tmp_path / "m.tar.gz", {"m.onnx": ONNX}, "flat")
    assert str(archive) in refused(tmp_path).help
    assert str(archive) in refused(tmp_path, "onnx").help


def test_errors_of_a_reader_name_the_archive(tmp_path: Path) -> None:
    from compiler import frontends

    archive = packed(tmp_path / "m.tar.gz", {"inner/model.onnx": ONNX[:-9]}, "flat")
    with pytest.raises(ModelError) as caught:
        frontends.load(archive)
    assert (caught.value.code, caught.value.where) == ("MODEL_TRUNCATED", f"{archive}: inner/model.onnx")
