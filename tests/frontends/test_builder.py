"""The builder that frontends share: constants fold, shapes are known at once, faces resolve, mistakes say where."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.errors import ModelError, ShapeError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.outputs import select
from compiler.verify import verify
from isa.errors import ErrorList
from tests.compiler.evaluate import run_graph


def builder(shape: tuple[int, ...] = (2, 3)) -> GraphBuilder:
    b = GraphBuilder("net", "net.bin")
    b.input("x", shape, "float32")
    return b


def test_shapes_and_constants_are_known_as_soon_as_an_operator_is_added() -> None:
    b = builder()
    size = b.op("Gather", [b.op("Shape", ["x"]), np.int64(1)], axis=0)
    assert b.const(size) == 3
    y = b.op("Reshape", ["x", b.op("Concat", [np.array([-1]), b.op("Mul", [size, np.array([2])])], axis=0)])
    assert b.shape(y) == (1, 6)
    assert b.dtype(y) == "float32"


def test_a_built_graph_computes_what_its_operators_say() -> None:
    b = builder()
    with b.layer("dense"):
        y = b.op("Relu", [b.op("MatMul", ["x", np.full((3, 2), 0.5, np.float32)])])
    assert b.output(y, "dense") == "dense"
    graph = b.finish()
    verify(graph)
    x = np.array([[1, 2, 3], [-4, 0, 1]], np.float32)
    assert run_graph(graph, {"x": x})[0].tolist() == [[3, 3], [0, 0]]
    assert {s for n in graph.nodes for s in n.sources} == {"dense"}


def test_several_results_and_absent_operands() -> None:
    b = builder((1, 2, 4, 4))
    a, c = b.ops("Split", ["x"], 2, axis=1, num_outputs=2)
    clipped = b.op("Clip", [a, "", np.float32(1)])
    assert b.shape(clipped) == b.shape(c) == (1, 1, 4, 4)


def test_equal_small_constants_are_stored_once() -> None:
    b = builder()
    assert b.add(np.float32(1)) == b.add(np.float32(1))
    assert b.add(np.float32(1)) != b.add(np.float64(1))
    assert b.add(np.float32(0.0)) != b.add(np.float32(-0.0))


def test_layouts_undo_each_other() -> None:
    b = builder((1, 5, 6, 3))
    first = channels_first(b, "x")
    assert b.shape(first) == (1, 3, 5, 6)
    assert channels_last(b, first) == "x"
    relu = b.op("Relu", [first])
    assert channels_first(b, channels_last(b, relu)) == relu


def test_an_operator_that_does_not_fit_names_file_and_layer() -> None:
    b = builder()
    with b.layer("block/dense"), pytest.raises(ShapeError) as caught:
        b.op("MatMul", ["x", "x"])
    assert "net.bin" in caught.value.where and "block/dense" in caught.value.where


def test_mistakes_are_collected_until_the_end() -> None:
    b = builder()
    for name in ("a", "b"):
        with b.layer(name):
            b.fail(ModelError("no"))
    with pytest.raises(ErrorList) as caught:
        b.finish()
    assert [e.where for e in caught.value.errors] == ["net.bin: layer 'a'", "net.bin: layer 'b'"]


def test_a_size_that_depends_on_data_is_no_shape() -> None:
    b = builder()
    found = b.op("NonZero", ["x"])
    assert not b.is_static(found)
    with pytest.raises(ModelError, match="depends on data"):
        b.shape(found)


def test_a_nested_body_makes_a_loop() -> None:
    b = builder()
    body = b.nested([("i", (), "int64"), ("go", (), "bool"), ("state", (2, 3), "float32")])
    body.output(body.op("Identity", ["go"]), "go_on")
    body.output(body.op("Add", ["state", np.float32(1)]), "next")
    b.output(b.op("Loop", [np.int64(4), "", "x"], body=body.body()), "y")
    x = np.zeros((2, 3), np.float32)
    assert (run_graph(b.finish(), {"x": x})[0] == 4).all()


def test_inputs_take_what_the_file_and_the_user_state() -> None:
    b = GraphBuilder("net")
    declared = [Declared("ids", ("batch", None), "int32"), Declared("mask", ("batch", 4), "", "float32")]
    names = b.inputs(declared, Given({"ids": (2, 7)}))
    assert names == ["ids", "mask"]
    assert (b.shape("ids"), b.shape("mask")) == ((2, 7), (2, 4))
    assert (b.dtype("ids"), b.dtype("mask")) == ("int32", "float32")


def test_every_input_that_lacks_something_is_named_at_once() -> None:
    declared = [Declared("a", None, "float32"), Declared("b", (1, 2), ""), Declared("c", (1,), "int64")]
    with pytest.raises(ErrorList) as caught:
        GraphBuilder("net").inputs(declared, Given(dtypes={"c": "float32", "d": "int8"}))
    assert sorted(e.code for e in caught.value.errors) == ["INPUT_DTYPE", "INPUT_DTYPE", "INPUT_NAME", "INPUT_SYMBOLIC"]
    assert all(e.help or e.limit for e in caught.value.errors)


def test_results_can_be_chosen() -> None:
    b = builder()
    y = b.op("Relu", ["x"])
    b.output(b.op("Neg", [y]), "neg")
    graph = b.finish()
    select(graph, [y])
    assert graph.outputs == [y] and graph.op_counts() == {"Relu": 1}
    with pytest.raises(ShapeError, match="no result 'z'"):
        select(graph, ["z"])
