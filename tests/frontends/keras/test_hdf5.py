"""The HDF5 reader against h5py: every form that files take, and what damage to their structure costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from compiler.errors import ModelError
from compiler.frontends.keras.hdf5 import opened

#: How h5py may be told to write: older and newer structures, members in order, other bytes before the file.
FORMS: list[dict[str, Any]] = [
    {}, {"libver": "v108"}, {"libver": "latest"}, {"track_order": True}, {"userblock_size": 1024},
    {"libver": "latest", "track_order": True, "userblock_size": 512},
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_groups_small_and_large(form: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", **form) as file:
        for count in (0, 1, 9, 300):
            group = file.create_group(f"of {count}")
            for k in range(count):
                group[f"layer_{k}/kernel:0"] = np.full((2, 3), k, np.float32)
    found = opened(path, "a.h5")
    assert found.children("/") == ["of 0", "of 1", "of 300", "of 9"]
    for count in (0, 1, 9, 300):
        assert found.children(f"of {count}") == sorted(f"layer_{k}" for k in range(count))
    assert found.array("of 300/layer_217/kernel:0").tolist() == [[217] * 3] * 2
    assert found.has("of 9/layer_8") and not found.has("of 9/layer_9") and not found.has("of 9/layer_8/kernel:0/x")


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_attributes(form: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", **form) as file:
        file.attrs["model_config"] = "ü{}" * 50_000
        file.attrs["backend"] = np.bytes_(b"tensorflow")
        file.attrs["names"] = [b"a", b"bcd", b""]
        file.attrs["texts"] = ["", "ab", "c"]
        file.attrs["number"] = 3
        file.attrs["empty"] = h5py.Empty("f4")
        for k in range(30):
            file.attrs[f"layer_names{k}"] = np.array([f"{k}.{j}".encode() for j in range(40)])
        if form.get("libver") == "latest":
            file.attrs["huge"] = np.array([b"q" * 70_000, b"r"])
    found = opened(path, "a.h5")
    assert found.text("/", "model_config") == "ü{}" * 50_000
    assert found.text("/", "backend") == "tensorflow"
    assert found.names("/", "names") == ["a", "bcd", ""]
    assert found.names("/", "texts") == ["", "ab", "c"]
    assert found.text("/", "number") is None and found.text("/", "empty") is None and found.text("/", "none") is None
    assert found.names("/", "layer_names") == [f"{k}.{j}" for k in range(30) for j in range(40)]
    if form.get("libver") == "latest":
        assert found.names("/", "huge") == ["q" * 70_000, "r"]


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "u1", ">i2", "u4", "i8", "bool"])
def test_types(libver: str, dtype: str, tmp_path: Path) -> None:
    data = (np.random.default_rng(0).normal(size=(3, 4)) * 9).astype(dtype)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["x"], file["scalar"], file["none"] = data, data[0, 0], data[:0]
    found = opened(path, "a.h5")
    for name, want in (("x", data), ("scalar", data[0, 0]), ("none", data[:0])):
        assert found.array(name).dtype == data.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found.array(name), want, strict=False)
        assert found.array(name).shape == want.shape


def test_bfloat16(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.array([0x3F80, 0xC000], "<u2").view("V2")
        file["x"].attrs["dtype"] = "bfloat16"
        file["unnamed"] = np.array([0x3F80], "<u2").view("V2")
    found = opened(tmp_path / "a.h5", "a.h5")
    assert found.array("x").tolist() == [1.0, -2.0]
    with pytest.raises(ModelError, match="no array of numbers"):
        found.array("unnamed")


@pytest.mark.parametrize(
    "storage",
    [{"compression": "gzip"}, {"compression": "gzip", "shuffle": True, "fletcher32": True}, {"fletcher32": True},
     {"chunks": (7, 5, 3)}, {"chunks": (1, 1, 7), "shuffle": True}, {"maxshape": (None, 33, 7)}],
    ids=str,
)  # fmt: skip
def test_chunks(storage: dict[str, Any], tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(50, 33, 7)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=data, **storage)
    np.testing.assert_array_equal(opened(tmp_path / "a.h5", "a.h5").array("x"), data)


def test_data_in_the_header(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_layout(h5py.h5d.COMPACT)
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((3,)), how)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, 2, 3], np.float32))
    assert opened(tmp_path / "a.h5", "a.h5").array("x").tolist() == [1, 2, 3]


def test_forms_that_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.create_dataset("chunks", data=np.zeros(4), chunks=(2,))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("lzf", data=np.arange(9.0), compression="lzf")
    for name, said in (("chunks", "layout 2 of version 4"), ("lzf", "filter 32000")):
        with pytest.raises(ModelError, match=said):
            opened(tmp_path / ("a.h5" if name == "chunks" else "b.h5"), name).array(name)


def test_a_group_in_itself_and_a_tree_in_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("g")
        group["g"] = group
        for k in range(300):
            file.create_group(f"member {k}")
    assert opened(path, "a.h5").children("g/g/g/g") == ["g"]
    data = bytearray(path.read_bytes())
    root = next(k for k in range(len(data)) if data[k : k + 6] == b"TREE\x00\x01")
    data[root + 32 : root + 40] = root.to_bytes(8, "little")  # its first child is itself
    with pytest.raises(ModelError, match="tree"):
        opened(bytes(data), "a.h5").children("/")


def test_cut_anywhere(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["names"] = ["a", "b"]
        file["g/x"] = np.arange(3)
    data = (tmp_path / "a.h5").read_bytes()
    for end in range(0, len(data), 97):
        with pytest.raises(ModelError):
            opened(data[:end], "a.h5")
