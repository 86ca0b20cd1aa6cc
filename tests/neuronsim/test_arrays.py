"""npz files of inputs and outputs: every kind of value, there and back, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from isa import neff
from isa.program import TensorInfo
from neuronsim import cli
from neuronsim.cli import arrays
from tests.neuronsim.host_models import cpu_program, model, tensor

EXOTIC = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "int4", "uint4",
          "float4_e2m1fn")  # fmt: skip


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


@pytest.mark.parametrize("name", EXOTIC)
def test_types_that_numpy_lacks(tmp_path: Path, name: str) -> None:
    value = np.array([[0, 1, -2], [3, 4, 6]]).clip(0 if name == "uint4" else -2, 6).astype(getattr(ml_dtypes, name))
    arrays.save_arrays(tmp_path / "a.npz", {"x": value, "y": value.reshape(6)[2:3].reshape(())})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert all(file[key].dtype.kind == "u" for key in file.files)
    loaded = arrays.load_arrays(tmp_path / "a.npz")
    assert equal(loaded["x"], value)
    assert loaded["y"].shape == ()


INFOS = [
    TensorInfo("words", (2,), "string"),
    TensorInfo("list", (), "seq(tensor(float))"),
    TensorInfo("none", (), "seq(tensor(float))"),
    TensorInfo("maybe", (), "optional(seq(tensor(bfloat16)))"),
    TensorInfo("absent", (), "optional(tensor(float))"),
    TensorInfo("labels", (), "seq(map(int64,tensor(float)))"),
    TensorInfo("named", (), "map(string,tensor(float))"),
    TensorInfo("plain.len", (), "int64"),
]


def test_strings_sequences_optionals_and_maps(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "words": np.array(["grün", ""], object),
        "list": [np.zeros((2, 3), np.float32), np.ones(0, np.float32)],
        "none": [],
        "maybe": [np.ones(2, ml_dtypes.bfloat16)],
        "absent": None,
        "labels": [{0: np.float32(0.25), 7: np.float32(0.75)}],
        "named": {"a": np.float32(1), "b": np.float32(2)},
        "plain.len": np.array(5),
    }
    path = tmp_path / "v.npz"
    arrays.save_arrays(path, values)
    with np.load(path, allow_pickle=False) as file:
        assert {"words", "list.len", "list.0", "list.1", "none.len", "maybe.0::bf16", "labels.0.keys"} <= {*file.files}
    loaded = arrays.load_arrays(path, INFOS)
    assert set(loaded) == set(values) - {"absent"}
    assert all(equal(values[name], loaded[name]) for name in loaded)


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", **{"list.len": np.array(2), "list.0": np.zeros(1, np.float32)})
    with pytest.raises(arrays.ArrayFileError, match=r"list\.1"):
        arrays.load_arrays(tmp_path / "v.npz", INFOS)


def test_texts_that_the_format_would_cut_are_refused(tmp_path: Path) -> None:
    with pytest.raises(arrays.ArrayFileError, match="zero"):
        arrays.save_arrays(tmp_path / "v.npz", {"x": np.array(["a\0"], object)})


def test_values_go_through_the_command_line(tmp_path: Path) -> None:
    """The list and the strings of one run's outputs are the next run's inputs."""
    kind = helper.make_tensor_type_proto(TensorProto.BFLOAT16, None)
    words, listed = tensor("w", TensorProto.STRING, ["n"]), helper.make_sequence_type_proto(kind)
    segment = model(
        [helper.make_node("Identity", ["w"], ["v"]), helper.make_node("Identity", ["s"], ["t"])],
        [words, helper.make_value_info("s", listed)],
        [tensor("v", TensorProto.STRING, ["n"]), helper.make_value_info("t", listed)],
    )
    types = [((-1,), "string"), ((), "seq(tensor(bfloat16))")]
    program = cpu_program(
        segment,
        [TensorInfo(n, *t) for n, t in zip("ws", types, strict=True)],
        [TensorInfo(n, *t) for n, t in zip("vt", types, strict=True)],
    )
    neff.write(program, tmp_path / "m.neff")
    given = {"w": np.array(["ja", "nein"], object), "s": [np.arange(3).astype(ml_dtypes.bfloat16)]}
    arrays.save_arrays(tmp_path / "in.npz", given)
    files = ["--inputs", str(tmp_path / "in.npz"), "--outputs", str(tmp_path / "out.npz")]
    assert cli.main(["run", str(tmp_path / "m.neff"), *files]) == 0
    made = arrays.load_arrays(tmp_path / "out.npz", program.outputs)
    assert equal(list(made.values()), list(given.values()))


def test_npz_round_trip_of_every_kind(tmp_path: Path) -> None:
    given = {
        "a/b:0": np.arange(6, dtype=np.float32).reshape(2, 3),
        "file": np.array(3, dtype=np.int64),
        "half": np.array([1.5, -2.0], dtype=ml_dtypes.bfloat16),
        "eighth": np.array([1.5, -2.0], dtype=ml_dtypes.float8_e4m3fn),
        "flags": np.array([True, False]),
    }
    path = tmp_path / "out.npz"
    arrays.save_arrays(path, given)
    loaded = arrays.load_arrays(path)
    assert list(loaded) == list(given)
    for name, array in given.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].tobytes() == array.tobytes()
    first = path.read_bytes()
    arrays.save_arrays(path, given)
    assert path.read_bytes() == first


def test_npz_without_pickle(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(arrays.ArrayFileError):
        arrays.load_arrays(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(arrays.ArrayFileError):
        arrays.load_arrays(path)
