"""The readers of symbol and params files: spellings of old releases, storage types, and files that lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from compiler.errors import CompileError, ModelError, UnsupportedOp
from compiler.frontends.inputs import Given
from compiler.frontends.mxnet.call import REGISTRY, Call, Registered
from compiler.frontends.mxnet.model import from_symbol
from compiler.frontends.mxnet.params import parse_params, read_params
from compiler.frontends.mxnet.symbol import Symbol, parse_symbol
from compiler.ir import Graph
from isa.errors import ErrorList

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA


def listed(array: bytes, count: int = 1, name: bytes = b"arg:w") -> np.ndarray:
    data = struct.pack("<QQQ", 0x112, 0, count) + array + struct.pack("<QQ", 1, len(name)) + name
    return np.frombuffer(data, np.uint8)


def dense(magic: int = V2, shape: tuple[int, ...] = (2,), flag: int = 0, data: bytes = bytes(8)) -> bytes:
    storage = b"" if magic == V1 else struct.pack("<i", 0)
    dims = struct.pack(f"<i{len(shape)}q", len(shape), *shape)
    return struct.pack("<I", magic) + storage + dims + struct.pack("<iii", 1, 0, flag) + data


def text(*nodes: dict[str, object], heads: object = None, **more: object) -> str:
    return json.dumps({"nodes": nodes, "heads": heads or [[len(nodes) - 1, 0, 0]], **more})


DATA: dict[str, object] = {"op": "null", "name": "data", "inputs": []}


def relu(**more: object) -> Symbol:
    return parse_symbol(text(DATA, {"op": "Activation", "name": "a", "inputs": [[0, 0, 0]], **more}))


# ---- params ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("magic", [V1, V2, V3])
def test_dense_arrays_of_every_version(magic: int) -> None:
    [(name, array)] = parse_params(listed(dense(magic, (1, 2), data=struct.pack("<ff", 1, 2))))
    assert name == "arg:w"
    assert array.tolist() == [[1, 2]] and array.dtype == np.float32


def test_arrays_from_before_versions_had_numbers() -> None:
    old = struct.pack("<III", 2, 1, 2) + struct.pack("<iii", 1, 0, 3) + bytes([7, 9])
    assert parse_params(listed(old))[0][1].tolist() == [[7, 9]]


def test_a_shape_without_dimensions_is_one_element_since_numpy_shapes_and_nothing_before() -> None:
    assert parse_params(listed(dense(V3, (), data=struct.pack("<f", 5))))[0][1] == 5
    assert parse_params(listed(struct.pack("<Iii", V2, 0, 0))) == []
    assert parse_params(listed(struct.pack("<Iii", V3, 0, -1))) == []


@pytest.mark.parametrize(("flag", "dtype"), [(1, "float64"), (2, "float16"), (4, "int32"), (6, "int64"), (7, "bool"),
                                             (8, "int16"), (12, "bfloat16")])
def test_element_types(flag: int, dtype: str) -> None:
    size = {"float64": 8, "int64": 8, "int32": 4, "bool": 1}.get(dtype, 2)
    assert parse_params(listed(dense(flag=flag, data=bytes(2 * size))))[0][1].dtype.name == dtype


def test_arrays_are_views_of_the_file() -> None:
    array = parse_params(listed(dense()))[0][1]
    assert not array.flags.owndata and not array.flags.writeable


def sparse(storage: int, shape: tuple[int, ...], indices: list[list[int]], values: list[float],
           stored: tuple[int, ...]) -> bytes:
    made = struct.pack("<Ii", V2, storage)
    made += b"".join(struct.pack(f"<i{len(s)}q", len(s), *s) for s in (stored, shape)) + struct.pack("<iii", 1, 0, 0)
    made += b"".join(struct.pack("<iiq", 6, 1, len(i)) for i in indices)
    made += struct.pack(f"<{len(values)}f", *values)
    return made + b"".join(struct.pack(f"<{len(i)}q", *i) for i in indices)


def test_sparse_arrays_become_dense() -> None:
    rows = sparse(1, (4, 2), [[1, 3]], [1, 2, 3, 4], (2, 2))
    assert parse_params(listed(rows))[0][1].tolist() == [[0, 0], [1, 2], [0, 0], [3, 4]]
    csr = sparse(2, (2, 3), [[0, 1, 3], [2, 0, 1]], [5, 6, 7], (3,))
    assert parse_params(listed(csr))[0][1].tolist() == [[0, 0, 5], [6, 7, 0]]


@pytest.mark.parametrize("data", [
    listed(sparse(1, (4, 2), [[1, 9]], [1, 2, 3, 4], (2, 2))),  # a row that is not there
    listed(sparse(2, (2, 3), [[0, 9, 3], [2, 0, 1]], [5, 6, 7], (3,))),
    listed(sparse(1, (1 << 46, 2), [[1]], [1, 2], (1, 2))),  # a dense form beyond all memory
    listed(dense(shape=(1 << 40,))),  # more than the file has
    listed(dense(shape=(-3,))),
    listed(dense(flag=77)),
    listed(dense(), count=1 << 60),
    listed(struct.pack("<Ii", V2, 9) + bytes(40)),
    listed(struct.pack("<I", 1 << 20) + bytes(40)),
    listed(dense(), name=b"\xff\xfe"),
    listed(dense())[:-3],
    listed(dense())[:20],
    np.concatenate([listed(dense()), np.zeros(4, np.uint8)]),
    np.zeros(64, np.uint8),
    np.empty(0, np.uint8),
])  # fmt: skip
def test_params_files_that_lie(data: np.ndarray) -> None:
    with pytest.raises(ModelError) as error:
        parse_params(data)
    assert error.value.code == "PARAMS_INVALID"


def test_names_lose_their_prefix_and_are_given_once(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(listed(dense()).tobytes())
    assert list(read_params(tmp_path / "p")) == ["w"]
    twice = struct.pack("<QQQ", 0x112, 0, 2) + dense() * 2 + struct.pack("<Q", 2)
    twice += struct.pack("<Q", 5) + b"arg:w" + struct.pack("<Q", 5) + b"aux:w"
    (tmp_path / "p").write_bytes(twice)
    with pytest.raises(ModelError, match="twice"):
        read_params(tmp_path / "p")


# ---- symbols -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
def test_attributes_in_every_spelling(key: str) -> None:
    assert relu(**{key: {"act_type": "tanh"}}).nodes[1].attrs["act_type"] == "tanh"


def test_the_version_is_read_where_it_is_stated() -> None:
    assert relu().version == 0
    assert parse_symbol(text(DATA, attrs={"mxnet_version": ["int", 10901]})).version == 10901


@pytest.mark.parametrize("data", [
    "", "[]", "{}", "nonsense", "[" * 100000, text(DATA, heads=[[3, 0, 0]]), text(DATA, heads="x"),
    text({"op": "null", "name": "data", "inputs": [[0, 0, 0]]}), text({"op": 3, "name": "data", "inputs": []}),
    text({"op": "null", "name": "data", "inputs": [[-1, 0, 0]]}), text({"op": "null", "name": "data", "inputs": 5}),
    text({"op": "null", "name": "data", "attrs": {"a": 3}}), '{"nodes": [1], "heads": [[0, 0, 0]]}', b"\xff\xfe{",
    '{"nodes": [], "heads": [[' + "9" * 5000 + ", 0]]}",
])  # fmt: skip
def test_symbol_files_that_are_none(data: str) -> None:
    with pytest.raises(ModelError) as error:
        parse_symbol(data)
    assert error.value.code == "MODEL_INVALID"


def test_bodies_of_control_flow_nest_within_a_bound() -> None:
    body = json.loads(text(DATA))
    for _ in range(20):
        body = {"nodes": [{"op": "_foreach", "name": "f", "inputs": [], "subgraphs": [body]}], "heads": [[0, 0, 0]]}
    with pytest.raises(ModelError, match="nested too deeply"):
        parse_symbol(json.dumps(body))


# ---- from both to a graph ------------------------------------------------------------------------------------------


def loaded(*nodes: dict[str, object], shape: tuple[int, ...] = (2, 3), params: dict[str, np.ndarray] | None = None,
           ) -> Graph:
    return from_symbol(parse_symbol(text(DATA, *nodes)), params or {}, Given({"data": shape}), "net-symbol.json")


def node(op: str, inputs: int = 1, **attrs: str) -> dict[str, object]:
    return {"op": op, "name": op.lower(), "attrs": attrs, "inputs": [[0, 0, 0]] * inputs}


def test_unknown_operators_are_named_all_at_once_with_their_reasons() -> None:
    second = {**node("_sg_mkldnn_selfatt_qk"), "inputs": [[1, 0, 0]]}
    with pytest.raises(ErrorList) as error:
        loaded(node("Custom"), second)
    found = {e.op: e.what for e in error.value.errors if isinstance(e, UnsupportedOp)}
    assert set(found) == {"Custom", "_sg_mkldnn_selfatt_qk"}
    assert "Python" in found["Custom"] and "MKLDNN" in found["_sg_mkldnn_selfatt_qk"]


@pytest.mark.parametrize(("made", "code"), [
    (node("Activation", act_type="nonsense"), "ATTRIBUTE_VALUE"),
    (node("Activation"), "ATTRIBUTE_VALUE"),
    (node("transpose", axes="(0, 5)"), "ATTRIBUTE_VALUE"),
    (node("Reshape", shape="(0, 5)"), "SHAPE_MISMATCH"),
    (node("clip", a_min="much", a_max="1"), "ATTRIBUTE_VALUE"),
    (node("broadcast_add"), "MODEL_INVALID"),
    (node("one_hot", depth="99999999999"), "TABLE_SIZE"),
    (node("Pooling", kernel="(9, 9)"), "MODEL_INVALID"),
    (node("tile", reps="(x, 1)"), "ATTRIBUTE_VALUE"),
    (node("norm", ord="7"), "UNSUPPORTED_OP"),
    (node("broadcast_to", shape="(99999999999, 3)"), "SHAPE_MISMATCH"),
    (node("tile", reps="(9e30, 1)"), "ATTRIBUTE_VALUE"),
    (node("_sg_mkldnn_conv", quantized="true"), "UNSUPPORTED_OP"),
    (node("_contrib_AdaptiveAvgPooling2D", output_size="2"), "OPERATOR_OPERANDS"),
])
def test_attributes_that_cannot_be_meant(made: dict[str, object], code: str) -> None:
    with pytest.raises(CompileError) as error:
        loaded(made, shape=(1, 3, 4, 4) if made["op"] == "Pooling" else (2, 3))
    assert error.value.code == code
    assert str(made["name"]) in error.value.where


def test_a_defect_of_a_converter_is_not_blamed_on_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(call: Call) -> str:
        return {}["no such key"]

    monkeypatch.setitem(REGISTRY, "relu", Registered(broken))
    with pytest.raises(KeyError):
        loaded(node("relu"))


def test_an_input_with_other_channels_than_the_weights() -> None:
    weight = {"op": "null", "name": "w", "inputs": []}
    conv = {"op": "Convolution", "name": "conv", "attrs": {"kernel": "(1, 1)", "num_filter": "2", "no_bias": "True"},
            "inputs": [[0, 0, 0], [1, 0, 0]]}
    with pytest.raises(CompileError) as error:
        loaded(weight, conv, shape=(1, 4, 5, 5), params={"w": np.zeros((2, 3, 1, 1), np.float32)})
    assert (error.value.code, error.value.limit) == ("SHAPE_MISMATCH", "3 channels")


@pytest.mark.parametrize(("name", "expected"), [("0.weight", "save_parameters"), ("other_weight", "arg:fc_weight")])
def test_parameters_without_a_value(name: str, expected: str) -> None:
    made: list[dict[str, object]] = [{"op": "null", "name": n, "inputs": []} for n in ("fc_weight", "fc_bias")]
    layer = {**node("FullyConnected", num_hidden="2"), "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]}
    with pytest.raises(ModelError) as error:
        loaded(*made, layer, params={name: np.zeros((2, 3), np.float32)})
    assert (error.value.code, error.value.actual) == ("PARAMS_MISSING", "fc_weight, fc_bias")
    assert expected in error.value.help


def test_superfluous_arrays_are_noted() -> None:
    graph = loaded(node("relu"), params={"other": np.zeros(3, np.float32)})
    assert any("other" in note for note in graph.notes)


def test_a_variable_may_state_its_shape_and_type() -> None:
    data = {**DATA, "attrs": {"__shape__": "(2, 3)", "__dtype__": "4"}}
    graph = from_symbol(parse_symbol(text(data, node("abs"))), {}, Given(), "net")
    assert (graph.shape("data"), graph.dtype("data")) == ((2, 3), "int32")
