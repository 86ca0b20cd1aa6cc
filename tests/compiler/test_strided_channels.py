"""Slices of every s-th pixel, joined as channels and convolved, become one strided convolution of the image."""
from __future__ import annotations

import numpy as np
import onnx
import pytest

from compiler.pipeline import GRAPH_PASSES, load_pass
from compiler.verify import verify
from tests.compiler.evaluate import assert_close, imported, make, random_feeds, run_graph, run_model
from tests.compiler.lowering_run import compare
from tests.compiler.random_operators import floats, node

RNG = np.random.default_rng(31)


def focus(
    phases: list[tuple[int, int]], size: tuple[int, int] = (24, 36), steps: tuple[int, int] = (2, 2),
    end: int = 1 << 31, **conv: list[int],
) -> onnx.ModelProto:
    """Each phase by a Slice for its rows and one for its columns; a kernel of 3 x 5."""
    nodes, weights = [], {"w": floats(RNG, 7, 3 * len(phases), 3, 5), "end": np.array([end])}
    for axis, step in enumerate(steps):
        weights |= {f"axis{axis}": np.array([2 + axis]), f"step{axis}": np.array([step])}
    for k, (row, column) in enumerate(phases):
        weights |= {f"row{k}": np.array([row]), f"column{k}": np.array([column])}
        nodes += [node("Slice", ["x", f"row{k}", "end", "axis0", "step0"], [f"rows{k}"]),
                  node("Slice", [f"rows{k}", f"column{k}", "end", "axis1", "step1"], [f"part{k}"])]
    nodes += [node("Concat", [f"part{k}" for k in range(len(phases))], ["c"], axis=1),
              node("Conv", ["c", "w"], ["y"], **conv)]
    return make(nodes, {"x": [2, 3, *size]}, ["y"], weights)


def after(model: onnx.ModelProto) -> list[str]:
    """Operators that the passes leave; the meaning is that of the model."""
    graph = imported(model)
    feeds = random_feeds(graph, 5)
    for name, _ in GRAPH_PASSES:
        load_pass(name)(graph)
        verify(graph, after=name)
    assert_close(run_graph(graph, feeds), run_model(model, feeds), 2e-6)
    return [n.op for n in graph.nodes]


SQUARE = [(0, 0), (1, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize("model", [
    focus(SQUARE, pads=[1, 2, 1, 2]),
    focus(SQUARE[::-1], pads=[1, 0, 0, 3], strides=[2, 1]),
    focus([(r, c) for r in range(3) for c in range(2)], steps=(3, 2), pads=[1] * 4),
    focus([(0, 1), (0, 0)], steps=(1, 2)),
], ids=["square", "strided", "three by two", "columns"])
def test_every_pixel_once(model: onnx.ModelProto) -> None:
    assert after(model) == ["Conv"]


@pytest.mark.parametrize("model", [
    focus(SQUARE[:3]), focus([*SQUARE[:3], (0, 0)]), focus(SQUARE, dilations=[1, 2]),
    focus(SQUARE, (26, 24), end=24),
], ids=["a phase is missing", "a phase twice", "dilated", "pixels left over"])
def test_other_selections_stay(model: onnx.ModelProto) -> None:
    assert after(model).count("Slice") >= 3


def test_on_the_device() -> None:
    """A "focus" of a large image in the time of a convolution; pixel by pixel it would be milliseconds."""
    result = compare(focus(SQUARE, (128, 128), pads=[1, 2, 1, 2]))
    assert result.stats["total_time"] < 300e-6
