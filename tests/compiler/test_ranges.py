"""Bounds of integers hold for every value numpy computes, and say which arithmetic is exact."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ir import Graph, Node
from compiler.ranges import integer_reason, ranges

LIMIT = 1 << 24


def graph_of(op: str, inputs: dict[str, Any], shape: Sequence[int], dtype: str, **attrs: Any) -> tuple[Graph, Node]:
    """One node; an input is an array (a constant) or (shape, dtype)."""
    graph = Graph()
    for name, given_as in inputs.items():
        if isinstance(given_as, np.ndarray):
            graph.add_value(name, given_as.shape, given_as.dtype.name, given_as)
        else:
            graph.add_input(name, *given_as)
    graph.add_value("y", shape, dtype)
    node = graph.add_node(op, list(inputs), ["y"], attrs)
    graph.outputs = ["y"]
    return graph, node


def bounds_of(
    op: str, inputs: dict[str, Any], shape: Sequence[int], dtype: str, **attrs: Any
) -> tuple[int, int] | None:
    graph, _ = graph_of(op, inputs, shape, dtype, **attrs)
    return ranges(graph).get("y")


def reason(op: str, inputs: dict[str, Any], shape: Sequence[int], dtype: str, **attrs: Any) -> str:
    graph, node = graph_of(op, inputs, shape, dtype, **attrs)
    return integer_reason(graph, node, ranges(graph))


def truncated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.trunc(a / b).astype(np.int64)


BINARY: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Add": (np.add, {}), "Sub": (np.subtract, {}), "Mul": (np.multiply, {}), "Max": (np.maximum, {}),
    "Min": (np.minimum, {}), "Div": (truncated, {}), "Mod": (np.mod, {}), "BitwiseAnd": (np.bitwise_and, {}),
    "BitwiseOr": (np.bitwise_or, {}), "BitwiseXor": (np.bitwise_xor, {}), "Pow": (np.power, {}),
    "BitShift": (np.left_shift, {"direction": "LEFT"}),
}
SMALL = st.integers(-9, 9)


@pytest.mark.parametrize("op", sorted(BINARY))
@settings(max_examples=60, deadline=None)
@given(a=st.lists(SMALL, min_size=1, max_size=4), b=st.lists(SMALL, min_size=1, max_size=4))
def test_pairs_of_constants(op: str, a: list[int], b: list[int]) -> None:
    """Every pair of numbers within the bounds of the operands gives a result within those of the result."""
    function, attrs = BINARY[op]
    x, y = np.array(a), np.array(b)
    found = bounds_of(op, {"x": x, "z": y}, (len(a), len(b)), "int64", **attrs)
    if found is None:
        assert op.startswith("Bit") or op == "Pow"
        return
    divisors = np.arange(y.min(), y.max() + 1)
    pairs = np.meshgrid(np.arange(x.min(), x.max() + 1), divisors[divisors != 0] if op in ("Div", "Mod") else divisors)
    if not pairs[0].size:
        return
    values = function(*pairs)
    assert found[0] <= values.min() and values.max() <= found[1]


def test_sums_count_what_they_pass_through() -> None:
    inputs = {"x": ((4, 100), "int8"), "axes": np.array([1])}
    graph, _ = graph_of("ReduceMax", inputs, (4, 1), "int8")
    assert "y" in ranges(graph)
    wide = graph.add_value("w", (4, 100), "int32")
    graph.add_node("Cast", ["x"], [wide])
    graph.add_value("s", (4, 1), "int32")
    total = graph.add_node("ReduceSum", [wide, "axes"], ["s"])
    known = ranges(graph)
    assert known["w"] == (-128, 127) and known["s"] == (-12800, 12700)
    assert integer_reason(graph, total, known) == ""


def test_positions_and_choices() -> None:
    assert bounds_of("ArgMax", {"x": ((3, 50), "float32")}, (3, 1), "int64", axis=-1) == (0, 49)
    assert bounds_of("Shape", {"x": ((3, 50), "float32")}, (2,), "int64") == (0, 150)
    assert bounds_of("Where", {"c": ((2,), "bool"), "a": np.array([5]), "b": np.array([-3])}, (2,), "int64") == (-3, 5)
    assert bounds_of("Clip", {"x": ((2,), "int64"), "l": np.array(0), "h": np.array(7)}, (2,), "int64") == (0, 7)
    assert bounds_of("Pad", {"x": ((2,), "uint8"), "p": np.array([1, 1])}, (4,), "uint8") == (0, 255)
    assert bounds_of("Cast", {"x": ((2,), "float32")}, (2,), "int64") is None


def test_what_wraps_has_no_bounds() -> None:
    assert bounds_of("Add", {"x": ((2,), "int8"), "z": ((2,), "int8")}, (2,), "int8") is None
    assert bounds_of("Cast", {"x": ((2,), "int32")}, (2,), "int8") is None
    assert reason("Add", {"x": ((2,), "int8"), "z": ((2,), "int8")}, (2,), "int8") == ""


def test_reasons() -> None:
    wide, small = ((2,), "int64"), np.array([3])
    assert "2^24" in reason("Add", {"x": wide, "z": small}, (2,), "int64")
    assert reason("Equal", {"x": wide, "z": wide}, (2,), "bool") == ""
    assert reason("Less", {"x": wide, "z": small}, (2,), "bool") == ""
    assert reason("Max", {"x": wide, "z": wide}, (2,), "int64") == ""
    assert "2^24" in reason("Sub", {"x": np.array([LIMIT]), "z": np.array([-1])}, (1,), "int64")
    assert reason("Gather", {"x": wide, "z": wide}, (2,), "int64", axis=0) == ""
    assert "2^24" in reason("ArgMax", {"x": wide}, (1,), "int64", axis=0)
    assert reason("TopK", {"x": ((2,), "float32"), "k": small}, (2,), "float32") == ""
    assert reason("Mul", {"x": np.array([1 << 12]), "z": np.array([1 << 12])}, (1,), "int64") == ""
    assert "2^24" in reason("Mul", {"x": np.array([1 << 12]), "z": np.array([(1 << 12) + 1])}, (1,), "int64")
    assert "32" in reason("BitShift", {"x": ((2,), "uint64"), "z": ((2,), "uint64")}, (2,), "uint64", direction="LEFT")
    assert reason("BitShift", {"x": ((2,), "uint64"), "z": ((2,), "uint64")}, (2,), "uint64", direction="RIGHT") == ""
    assert "32" in reason("BitwiseNot", {"x": ((2,), "uint64")}, (2,), "uint64")


def test_results_of_the_host_say_nothing() -> None:
    graph, node = graph_of("Abs", {"x": np.array([1, 2])}, (2,), "int64")
    node.host = "only an example"
    assert "y" not in ranges(graph)
