"""Every kind of broken graph is refused, with the name of the pass that broke it."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler.errors import VerifyError
from compiler.ir import Graph
from compiler.verify import verify


def small() -> Graph:
    graph = Graph("small")
    graph.add_input("x", (1, 2, 4, 4), "float32")
    graph.add_value("a", (1, 3, 4, 4), "float32")
    graph.add_value("y", (1, 3, 4, 4), "float32")
    weight = graph.add_const(np.ones((3, 2, 1, 1), np.float32), "w")
    graph.add_node("Conv", ["x", weight], ["a"], {"pads": [0] * 4, "strides": [1, 1], "dilations": [1, 1], "group": 1,
                                                  "kernel_shape": [1, 1]}, name="conv")
    graph.add_node("Relu", ["a"], ["y"], name="relu")
    graph.outputs.append("y")
    return graph


def undefined(graph: Graph) -> None:
    graph.set_input(graph.nodes[1], 0, "nothing")


def late(graph: Graph) -> None:
    graph.nodes.reverse()


def around_the_index(graph: Graph) -> None:
    graph.nodes[1].inputs = ["x"]


def wrong_shape(graph: Graph) -> None:
    graph.value("y").shape = (1, 3, 4, 5)
    graph.value("a").shape = (1, 3, 4, 5)


def wrong_pads(graph: Graph) -> None:
    graph.nodes[0].attrs["pads"] = [1, 1, 1, 1]


def const_shape(graph: Graph) -> None:
    graph.value("w").const = np.ones((3, 2), np.float32)


def const_dtype(graph: Graph) -> None:
    graph.value("w").const = np.ones((3, 2, 1, 1), np.float64)


def same_name(graph: Graph) -> None:
    graph.nodes[1].name = "conv"


def twice(graph: Graph) -> None:
    graph.add_node("Relu", ["a"], ["y"])


def lost_output(graph: Graph) -> None:
    graph.remove(graph.nodes[1])


def epilogue_on_relu(graph: Graph) -> None:
    graph.nodes[1].attrs["epilogue"] = [("act", "relu", {})]


def bias_length(graph: Graph) -> None:
    graph.nodes[0].attrs["epilogue"] = [("bias", 2)]
    graph.set_input(graph.nodes[0], 2, graph.add_const(np.ones(4, np.float32), "b"))


def residual_missing(graph: Graph) -> None:
    graph.nodes[0].attrs["epilogue"] = [("add", 2)]


def unknown_step(graph: Graph) -> None:
    graph.nodes[0].attrs["epilogue"] = [("twist", 2)]


@pytest.mark.parametrize("damage", [
    undefined, late, around_the_index, wrong_shape, wrong_pads, const_shape, const_dtype, same_name, twice, lost_output,
    epilogue_on_relu, bias_length, residual_missing, unknown_step])
def test_damage_is_found(damage: Callable[[Graph], None]) -> None:
    graph = small()
    verify(graph)
    damage(graph)
    with pytest.raises(VerifyError) as caught:
        verify(graph, after="some-pass")
    if "malformed" not in caught.value.what:
        assert "some-pass" in caught.value.where
