"""Layer normalisation with its scale and shift multiplied out, as TensorFlow and Keras write it."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.frontends.builder import GraphBuilder
from compiler.ir import Graph
from compiler.passes import recognise_layer_norm
from tests.compiler.evaluate import run_graph

RNG = np.random.default_rng(2)


def normalised(form: str, centre: str = "x") -> Graph:
    """x * s + (beta - mean * s), in several spellings; `centre`: what the mean is taken of."""
    b = GraphBuilder("net")
    b.input("x", (2, 3, 8), "float32")
    b.input("other", (2, 3, 8), "float32")
    gamma, beta = (RNG.uniform(0.5, 1, (1, 1, 8)).astype(np.float32) for _ in range(2))
    axes = np.array([-1])
    mean = b.op("ReduceMean", [centre, axes], keepdims=1)
    away = b.op("Sub", ["x", mean])
    variance = b.op("ReduceMean", [b.op("Mul", [away, away]), axes], keepdims=1)
    factor = b.op("Reciprocal", [b.op("Sqrt", [b.op("Add", [variance, np.float32(1e-3)])])])
    if "plain" not in form:
        factor = b.op("Mul", [factor, gamma])
    left = b.op("Mul", ["x", factor])
    if form == "sub":
        shift = b.op("Sub", [beta, b.op("Mul", [mean, factor])])
    else:
        moved = b.op("Mul", [b.op("Neg", [mean]), factor])
        shift = moved if form == "plain" else b.op("Add", [moved, beta])
    b.output(b.op("Add", [left, shift]), "y")
    return b.finish()


@pytest.mark.parametrize("form", ["neg", "sub", "plain"])
def test_it_is_one_operator_that_computes_the_same(form: str) -> None:
    graph = normalised(form)
    inputs = {name: RNG.normal(1, 2, (2, 3, 8)).astype(np.float32) for name in ("x", "other")}
    wanted = run_graph(graph, inputs)[0]
    assert recognise_layer_norm.run(graph) == 1
    assert graph.op_counts() == {"Identity": 1, "LayerNormalization": 1}
    np.testing.assert_allclose(run_graph(graph, inputs)[0], wanted, rtol=1e-4, atol=1e-5)


def test_the_mean_of_something_else_is_none() -> None:
    assert recognise_layer_norm.run(normalised("neg", "other")) == 0
