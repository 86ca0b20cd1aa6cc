"""Random models as a hypothesis strategy: graphs of many operators, some of which only the host can run.

A draw keeps the numbers each node gives (from onnx's reference evaluator), so that every node it adds is valid. Values
whose every bit is defined are told from those that carry a rounding error: steps (Floor, Greater, ArgMax ...) are only
put on the former, since a last bit decides there.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tests.e2e.random_nodes import DEVICE, HOST
from tests.e2e.random_sketch import OPSET, SIZES, Sketch

Draw = Callable[[st.SearchStrategy[Any]], Any]
Feeds = dict[str, np.ndarray]


@st.composite
def models(draw: Draw, least: int = 1, most: int = 12) -> tuple[onnx.ModelProto, Feeds]:
    """A model of about `least` to `most` operators with one or more outputs, and numbers for its inputs.

    Each operator follows from one drawn number and what is there already, so that a failing model shrinks by whole
    operators.
    """
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), min_size=least + 1, max_size=most + 1))
    s = Sketch(np.random.default_rng(seeds[0]))
    for _ in range(s.integer(1, 2)):
        s.input(tuple(s.choose(*SIZES[:9]) for _ in range(s.integer(1, 4))))
    for seed in seeds[1:]:
        s.rng = np.random.default_rng(seed)
        s.choose(*DEVICE, *HOST)(s)
    read = {i for n in s.nodes for i in n.input}
    made = [o for n in s.nodes for o in n.output]
    outputs = [o for o in made if o not in read] or list(s.inputs)[:1]
    return _model(s, outputs), s.inputs


def _model(s: Sketch, outputs: list[str]) -> onnx.ModelProto:
    nodes = list(s.nodes)
    if not nodes:
        nodes = [helper.make_node("Identity", [outputs[0]], ["same"], name="Identity")]
        s.known["same"], outputs = s.known[outputs[0]], ["same"]
    info = {n: helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in {**s.inputs, **{o: s.known[o].array for o in outputs}}.items()}
    used = {i for n in nodes for i in n.input}
    graph = helper.make_graph(nodes, "random", [info[n] for n in s.inputs], [info[o] for o in outputs],
                              [numpy_helper.from_array(a, n) for n, a in s.weights.items() if n in used])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
