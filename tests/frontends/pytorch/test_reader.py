"""Files that are not what they should be: refused with a reason, and never run."""
from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler.errors import CompileError, ModelError
from compiler.frontends import load_files
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from compiler.frontends.pytorch.pickled import Call, Storage, plain
from isa.errors import NeuronError

DATA = Path(__file__).resolve().parents[2] / "data" / "pytorch"
EXPORTED = DATA / "action_export" / "model.pt2"
SCRIPT = DATA / "mobilenet_cls" / "model.pth"
SHAPES = {"x": (2, 3, 8, 16, 16)}


def load(path: Path, kind: str = "pt2", shapes: dict[str, tuple[int, ...]] | None = None):
    return load_files(ModelFiles("pytorch", kind, path), Given(SHAPES if shapes is None else shapes))


def rewritten(path: Path, target: Path, change: Callable[[str, bytes], bytes | None], **more: bytes) -> Path:
    """A copy of an archive with entries changed, left out (None) or added."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = change(info.filename, old.read(info))
            if data is not None:
                new.writestr(info.filename, data)
        for name, data in more.items():
            new.writestr("model/" + name.replace("__", "/"), data)
    return target


def program(path: Path, target: Path, change: Callable[[dict], None]) -> Path:
    """A copy of an exported program with its JSON changed."""

    def changed(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        text = json.loads(data)
        change(text)
        return json.dumps(text).encode()

    return rewritten(path, target, changed)


def payload(marker: Path) -> bytes:
    """A pickle that makes a file when it is opened."""
    return b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."


@pytest.mark.parametrize("entry", [
    "data/sample_inputs/model.pt", "data/weights/weight_0", "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json", "models/model.json",
])  # fmt: skip
def test_payload_in_an_exported_program_is_not_run(entry: str, tmp_path: Path) -> None:
    marker = tmp_path / "run"
    bad = rewritten(EXPORTED, tmp_path / "bad.pt2", lambda n, d: payload(marker) if n.endswith(entry) else d)
    if entry == "data/sample_inputs/model.pt":
        assert load(bad).nodes  # nothing reads the example inputs
    else:
        with pytest.raises(CompileError):
            load(bad)
    assert not marker.exists()


def test_pickled_weights_of_an_exported_program_are_refused(tmp_path: Path) -> None:
    def pickled(name: str, data: bytes) -> bytes:
        return data.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith("config.json") else data

    with pytest.raises(ModelError) as error:
        load(rewritten(EXPORTED, tmp_path / "bad.pt2", pickled))
    assert error.value.code == "PICKLE_REFUSED"


@pytest.mark.parametrize("protocol", [b"\x80\x02", b"\x80\x04"])
def test_bare_pickle(protocol: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.pth"
    path.write_bytes(protocol + payload(tmp_path / "run"))
    for kind in ("pt2", "torchscript"):
        with pytest.raises(ModelError) as error:
            load(path, kind)
        assert error.value.code == "PICKLE_REFUSED"
        assert "torch.export.save" in error.value.help
    assert not (tmp_path / "run").exists()


def test_state_dict_archive(tmp_path: Path) -> None:
    path = tmp_path / "state.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", payload(tmp_path / "run"))
        file.writestr("archive/data/0", b"1234")
    with pytest.raises(ModelError) as error:
        load(path, "torchscript")
    assert error.value.code == "PICKLE_REFUSED"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("call", [
    "torch.save(x, 'p')", "ops.aten.from_file('p', True, 8)", "torch.from_file('p')", "torch . \\\n save(x, 'p')",
    "(torch. # save\n save)(x, 'p')", "ops.inductor._reinterpret_tensor(x, [9], [1])",
    "x : __torch__.torch.classes.c10d.Store"])
def test_script_that_touches_files(call: str, tmp_path: Path) -> None:
    bad = rewritten(SCRIPT, tmp_path / "bad.pt", lambda n, d: d, code__more_py=b"", **{"code__x.py": call.encode()})
    with pytest.raises(ModelError) as error:
        load(bad, "torchscript")
    assert error.value.code == "MODEL_CODE"


@pytest.mark.parametrize("size", [0, 31])
def test_tensor_larger_than_its_data(size: int, tmp_path: Path) -> None:
    bad = rewritten(SCRIPT, tmp_path / "bad.pt", lambda n, d: d[:size] if n.endswith("/data/1") else d)
    with pytest.raises(ModelError) as error:
        load(bad, "torchscript")
    assert error.value.code == "TENSOR_SIZE"
    assert "data/1" in error.value.where


def test_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model/models/model.json", b"0" * (1 << 24))
        file.writestr("model/archive_format", b"pt2")
    with pytest.raises(ModelError) as error:
        load(path)
    assert error.value.code == "ARCHIVE_BOMB"


@pytest.mark.parametrize("sizes", [[1 << 40], [1 << 62, 1 << 62], [-1], [3, 3, 3]])
def test_sizes_that_lie(sizes: list[int], tmp_path: Path) -> None:
    def lying(name: str, data: bytes) -> bytes:
        if not name.endswith("model_weights_config.json"):
            return data
        text = json.loads(data)
        meta = next(iter(text["config"].values()))["tensor_meta"]
        meta["sizes"] = [{"as_int": s} for s in sizes]
        meta["strides"] = [{"as_int": 1} for _ in meta["sizes"]]
        return json.dumps(text).encode()

    with pytest.raises(NeuronError):
        load(rewritten(EXPORTED, tmp_path / "bad.pt2", lying))


def test_every_unknown_operator_is_named(tmp_path: Path) -> None:
    def strange(text: dict) -> None:
        nodes = text["graph_module"]["graph"]["nodes"]
        nodes[0]["target"], nodes[1]["target"] = "torch.ops.aten.frobnicate.default", "torch.ops.mine.own.default"

    with pytest.raises(CompileError) as error:
        load(program(EXPORTED, tmp_path / "bad.pt2", strange))
    assert error.value.code == "UNSUPPORTED_OP"
    assert error.value.actual == "aten.frobnicate.default, mine.own.default"


@pytest.mark.parametrize("argument", [{}, {"as_int": 1 << 40}, {"as_float": 1e300}])
def test_absurd_arguments(argument: dict, tmp_path: Path) -> None:
    def absurd(text: dict) -> None:
        node = text["graph_module"]["graph"]["nodes"][0]
        node["target"], node["inputs"] = "torch.ops.aten.arange.default", [{"name": "end", "arg": argument}]

    with pytest.raises(CompileError):
        load(program(EXPORTED, tmp_path / "bad.pt2", absurd))


def test_version_that_pickles_weights(tmp_path: Path) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("serialized_exported_program.json", b"{}")
        file.writestr("version", b"8.1")
    with pytest.raises(ModelError) as error:
        load(path)
    assert error.value.code == "MODEL_VERSION"


def test_open_leading_size_is_the_batch() -> None:
    graph = load_files(ModelFiles("pytorch", "pt2", EXPORTED), Given(batch=4))
    assert graph.value("x").shape == (4, 3, 8, 16, 16)


def test_names_of_the_users_own_count_by_place() -> None:
    graph = load(EXPORTED, shapes={"clip": (1, 3, 8, 16, 16)})
    assert graph.inputs == ["clip"]
    assert any("x as clip" in note for note in graph.notes)


def mutations() -> list[tuple[int, bytes]]:
    """Places and bytes: flipped, spliced sizes, cut."""
    rng = np.random.default_rng(1)
    size = EXPORTED.stat().st_size
    flips = [(int(p), bytes([int(v)])) for p, v in zip(rng.integers(0, size, 60), rng.integers(0, 256, 60))]
    tail = [(size - int(p), struct.pack("<I", int(v))) for p, v in zip(rng.integers(1, 4000, 60),
                                                                       rng.integers(0, 1 << 32, 60))]
    return flips + tail


def test_mutated_bytes(tmp_path: Path) -> None:
    data = EXPORTED.read_bytes()
    path = tmp_path / "bad.pt2"
    for place, new in mutations():
        path.write_bytes(data[:place] + new + data[place + len(new) :])
        try:
            load(path)
        except NeuronError:
            continue
    for cut in range(0, len(data), len(data) // 20):
        path.write_bytes(data[:cut])
        with pytest.raises(NeuronError):
            load(path)


def test_mutated_program(tmp_path: Path) -> None:
    """Parts of the JSON replaced by others of the wrong sort."""
    rng = np.random.default_rng(2)
    with zipfile.ZipFile(EXPORTED) as file:
        text = file.read("model/models/model.json").decode()
    for _ in range(60):
        nodes = json.loads(text)
        place = nodes["graph_module"]["graph"]["nodes"]
        for _ in range(2):
            at = place[int(rng.integers(len(place)))]
            what = ("inputs", "outputs", "target", "name")[int(rng.integers(4))]
            at[what] = (None, [], {}, "x", 3, [[]], [{"name": "self", "arg": {"as_tensor": {"name": "gone"}}}],
                        [{"as_tensor": {}}])[int(rng.integers(8))]
        bad = program(EXPORTED, tmp_path / "bad.pt2", lambda t, found=nodes: t.update(found))
        try:
            load(bad)
        except NeuronError:
            continue


def test_pickle_of_traced_inputs_is_described_only() -> None:
    data = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x02(X\x01\x00\x00\x00aQK\x00K\x01K\x03\x86tR."
    assert plain(data) == Call("torch._utils._rebuild_tensor_v2", (Storage("a"), 0, (1, 3)))
    for bad in (b"\x80\x02", b"\x80\x02.", b"cos\nsystem\n(S'true'\ntR.", data[:20], b"\x80\x02K\x01R."):
        with pytest.raises(ModelError):
            plain(bad)


def test_archive_entries_are_views_of_the_file() -> None:
    from compiler.frontends.pytorch.archive import Archive

    view = Archive(EXPORTED).view("data/weights/weight_0")
    assert isinstance(view, np.memmap)
    with zipfile.ZipFile(io.BytesIO(EXPORTED.read_bytes())) as file:
        assert view.tobytes() == file.read("model/data/weights/weight_0")
