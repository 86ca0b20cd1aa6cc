"""Files that cannot be meant: an error that says where, before any memory is taken."""

from __future__ import annotations

import base64
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.inputs import Given
from compiler.frontends.xgboost import ubjson
from compiler.frontends.xgboost.learner import Forest
from compiler.frontends.xgboost.model import graph_of, read
from isa.errors import NeuronError

DATA = Path(__file__).resolve().parents[2] / "data" / "xgboost"
BINARY = (DATA / "binary_model" / "model.model").read_bytes()
JSON = (DATA / "binary_json" / "model.json").read_bytes()
UBJ = (DATA / "regression_ubj" / "model.ubj").read_bytes()


def fails(data: bytes, code: str) -> NeuronError:
    """Reading raises an error of this code without taking memory worth mentioning."""
    tracemalloc.start()
    try:
        with pytest.raises(NeuronError) as found:
            graph_of(read(data, "m"), "m", "m", Given(batch=2))
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data) + (1 << 22)
    finally:
        tracemalloc.stop()
    assert found.value.code == code, str(found.value)
    return found.value


def edited(change: Callable[[dict[str, Any]], None], tree: int = 0) -> bytes:
    """The JSON model with its learner changed."""
    document = json.loads(JSON)
    change(document["learner"])
    return json.dumps(document).encode()


def in_tree(name: str, value: Any) -> bytes:
    def change(learner: dict[str, Any]) -> None:
        found = learner["gradient_booster"]["model"]["trees"][0][name]
        learner["gradient_booster"]["model"]["trees"][0][name] = value(found) if callable(value) else value

    return edited(change)


def put(place: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda entries: [*entries[:place], value, *entries[place + 1 :]]


# ---- trees


@pytest.mark.parametrize(("name", "value", "what"), [
    ("left_children", put(0, 0), "child"),
    ("left_children", put(0, 10**9), "child"),
    ("left_children", put(0, -7), "child"),
    ("right_children", put(1, 2), "two parents"),
    ("right_children", put(4, 1), "two parents"),
    ("split_indices", put(0, 8), "feature"),
    ("split_indices", put(0, -1), "feature"),
    ("split_conditions", put(0, float("nan")), "threshold"),
    ("split_conditions", put(3, float("inf")), "leaf"),
])
def test_trees_that_are_none(name: str, value: Any, what: str) -> None:
    error = fails(in_tree(name, value), "XGBOOST_TREE")
    assert what in error.what and error.where.startswith("m")


def test_a_circle_that_hangs_on_nothing_is_left_out() -> None:
    """Pruned nodes stay in files and are reached by no row."""
    document = json.loads(JSON)
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    whole = read(JSON, "m").model
    count = len(tree["left_children"])
    for name in ("left_children", "right_children"):
        tree[name] += [count + 1, -1] if name == "left_children" else [count, -1]
    for name in ("split_conditions", "split_indices", "default_left", "split_type"):
        tree[name] += [tree[name][0]] * 2
    cut = read(json.dumps(document).encode(), "m").model
    assert isinstance(whole, Forest) and isinstance(cut, Forest)
    for name in ("starts", "left", "right", "feature", "threshold", "values"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


def test_a_tree_as_deep_as_it_has_nodes() -> None:
    """A chain of 100000 splits, in the compact form."""
    splits = 100_000
    nodes = np.zeros(2 * splits + 1, [("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"),
                                      ("value", "<f4")])
    inner = np.arange(splits) * 2
    nodes["left"] = nodes["right"] = -1
    nodes["left"][inner], nodes["right"][inner] = inner + 1, inner + 2
    error = fails(binary_model(nodes), "XGBOOST_TREE")
    assert "deep" in error.what and error.actual == splits


def binary_model(nodes: np.ndarray, claimed: int | None = None, trees: int = 1) -> bytes:
    """A binary model of release 0.90 with one tree."""
    head = struct.pack("<fIi31i", 0.5, 8, 0, *[0] * 31)
    names = b"".join(struct.pack("<Q", len(n)) + n for n in (b"reg:linear", b"gbtree"))
    count = len(nodes) if claimed is None else claimed
    tree = struct.pack("<37i", 1, count, 0, 0, 8, 0, *[0] * 31) + nodes.tobytes() + bytes(16 * len(nodes))
    return head + names + struct.pack("<40i", trees, *[0] * 39) + tree + struct.pack("<i", 0)


# ---- sizes


def test_sizes_that_lie() -> None:
    leaf = np.array([(0, -1, -1, 0, 1.0)], [("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"),
                                           ("value", "<f4")])
    assert isinstance(read(binary_model(leaf), "m").model, Forest)
    for claimed in (10**9, -1, 2**31 - 1):
        fails(binary_model(leaf, claimed), "XGBOOST_BINARY")
    fails(binary_model(leaf, trees=2**31 - 1), "XGBOOST_BINARY")
    fails(binary_model(leaf, 0), "XGBOOST_TREE")
    big = struct.pack(">q", 1 << 40)
    negative = struct.pack(">q", -1)
    for text in (b"[$d#L" + big, b"[#L" + big, b"SL" + big, b"{#L" + big, b"[$T#L" + big, b"[$d#L" + negative):
        with pytest.raises(ModelError) as found:
            ubjson.loads(text, "m")
        assert found.value.code == "UBJSON"


@pytest.mark.parametrize("data", [BINARY, JSON, UBJ], ids=["model", "json", "ubj"])
def test_truncated_anywhere(data: bytes) -> None:
    for end in (*range(0, 200, 7), *range(200, len(data) - 1, max(1, len(data) // 40))):
        with pytest.raises(NeuronError):
            graph_of(read(data[:end], "m"), "m", "m", Given(batch=1))


@pytest.mark.parametrize("deep", [b"[" * 10**6, b'{"a":' * 10**6, b'{"learner":' + b"[" * 10**6])
def test_depth_bombs(deep: bytes) -> None:
    with pytest.raises(ModelError):
        read(b'{"learner":' + deep, "m")
    with pytest.raises(ModelError) as found:
        ubjson.loads(b"[" * 10**6, "m")
    assert "nested" in found.value.what


# ---- fields


@pytest.mark.parametrize(("change", "code"), [
    (lambda m: m.pop("gradient_booster"), "XGBOOST_FIELD"),
    (lambda m: m["learner_model_param"].update(num_feature="x"), "XGBOOST_FIELD"),
    (lambda m: m["learner_model_param"].update(num_feature="-3"), "XGBOOST_FIELD"),
    (lambda m: m["learner_model_param"].update(num_class="4000000000"), "XGBOOST_FIELD"),
    (lambda m: m["learner_model_param"].update(base_score="[1,2,3]"), "XGBOOST_FIELD"),
    (lambda m: m["learner_model_param"].update(base_score="[[[["), "XGBOOST_FIELD"),
    (lambda m: m["learner_model_param"].update(base_score="2E0"), "XGBOOST_BASE_SCORE"),
    (lambda m: m["learner_model_param"].update(base_score="nan"), "XGBOOST_FIELD"),
    (lambda m: m["gradient_booster"].update(name="gbforest"), "XGBOOST_FIELD"),
    (lambda m: m["gradient_booster"]["model"].update(tree_info=[0]), "XGBOOST_FIELD"),
    (lambda m: m["gradient_booster"]["model"].update(tree_info=[7] * 15), "XGBOOST_TREE"),
    (lambda m: m["gradient_booster"]["model"].update(trees={}), "XGBOOST_FIELD"),
    (lambda m: m["gradient_booster"]["model"]["trees"][0].update(left_children=[[1], 2]), "XGBOOST_FIELD"),
    (lambda m: m["gradient_booster"]["model"]["trees"][0].update(left_children=["1"]), "XGBOOST_FIELD"),
    (lambda m: m["gradient_booster"]["model"]["trees"][0].update(split_type=[1] * 23), "XGBOOST_FIELD"),
])
def test_fields_that_cannot_be_meant(change: Callable[[dict[str, Any]], None], code: str) -> None:
    fails(edited(change), code)


def test_unknown_objectives_are_named() -> None:
    with pytest.raises(UnsupportedOp) as found:
        graph_of(read(edited(lambda m: m["objective"].update(name="reg:mine")), "m"), "m", "m", Given())
    assert "reg:mine" in str(found.value) and found.value.op == "objective reg:mine"


def test_pickles_are_not_opened() -> None:
    error = fails(b"\x80\x04\x95" + bytes(40), "PICKLE")
    assert "save_model" in error.help


# ---- spellings


def test_prefixes_of_old_binary_files() -> None:
    plain = read(BINARY, "m").model
    assert isinstance(plain, Forest)
    for data in (b"binf" + BINARY, b"bs64\t" + base64.encodebytes(BINARY)):
        found = read(data, "m").model
        assert isinstance(found, Forest)
        np.testing.assert_array_equal(found.values, plain.values)
    fails(b"bs64\t" + b"A", "XGBOOST_BINARY")


def test_metrics_that_are_announced_only() -> None:
    """Release 1.2 keeps metrics among the attributes, and still says that a list of them follows."""
    leaf = np.array([(0, -1, -1, 0, 1.0)], [("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"),
                                           ("value", "<f4")])
    data = bytearray(binary_model(leaf))
    attribute = b"".join(struct.pack("<Q", len(t)) + t for t in (b"metrics", b"auc;"))
    data[12:28] = struct.pack("<4i", 1, 1, 1, 2)  # attributes, metrics, release
    assert isinstance(read(bytes(data) + struct.pack("<Q", 1) + attribute, "m").model, Forest)


def test_ubjson_values() -> None:
    def length(n: int) -> bytes:
        return b"U" + bytes([n])

    assert ubjson.loads(b"{" + length(1) + b"aT" + length(1) + b"bZ}", "m") == {"a": True, "b": None}
    assert ubjson.loads(b"[i\xffI\x01\x00D" + struct.pack(">d", 0.5) + b"S" + length(2) + b"hiCx]N", "m") == [
        -1, 256, 0.5, "hi", "x"]
    assert ubjson.loads(b"{#" + length(1) + length(1) + b"k[#" + length(2) + b"TF", "m") == {"k": [True, False]}
    np.testing.assert_array_equal(ubjson.loads(b"[$l#" + length(2) + struct.pack(">2i", 1, -2), "m"), [1, -2])
    for bad in (b"", b"?", b"[$d]", b"{$dU", b"[1", b"S" + length(1) + b"\xff", b"TT", b"{" + b"d"):
        with pytest.raises(ModelError):
            ubjson.loads(bad, "m")
