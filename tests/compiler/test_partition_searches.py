"""Sorting: the device passes over a row again for every eight results; the host takes it where that is far longer."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler import compile_graph
from compiler.frontends.onnx.export import to_model
from compiler.options import from_keywords
from compiler.partition import cost, partition
from isa import target as targets
from isa.program import Program
from neuronsim.api import Neff
from neuronsim.host_time import segment_seconds
from tests.compiler.evaluate import imported, make, run_model
from tests.compiler.lowering_run import feeds_of

node = helper.make_node
TARGET = "trn1.2xlarge"
RNG = np.random.default_rng(3)


def detector(count: int, side: int = 48) -> onnx.ModelProto:
    """Scores of every place of a map, the `count` best of them, and what the map says there."""
    weights = {f"w{k}": RNG.standard_normal(s).astype(np.float32) / 8
               for k, s in enumerate([(48, 3, 3, 3), (48, 48, 3, 3), (1, 48, 3, 3)])}
    nodes = [node("Conv", ["x", "w0"], ["a"], pads=[1] * 4), node("Relu", ["a"], ["b"]),
             node("Conv", ["b", "w1"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["d"]),
             node("Conv", ["d", "w2"], ["e"], pads=[1] * 4), node("Reshape", ["e", "row"], ["scores"]),
             node("TopK", ["scores", "k"], ["best", "where"], "best", axis=-1),
             node("GatherElements", ["scores", "where"], ["found"], axis=1), node("Exp", ["found"], ["y"])]
    return make(nodes, {"x": [1, 3, side, side]}, ["y"],
                {**weights, "row": np.array([1, -1]), "k": np.array([count])}, opset=18)


def compiled(model: onnx.ModelProto, **options: object) -> Program:
    return compile_graph(imported(model), from_keywords({"target": TARGET, "auto_cast": "none", **options}))


def on_cpu(program: Program) -> dict[str, str]:
    return {n["name"]: n["reason"] for n in program.report["cpu_operators"]}  # type: ignore[attr-defined]


def test_a_long_sort_goes_to_the_host_alone() -> None:
    model = detector(1200)
    program = compiled(model)
    reason = on_cpu(program)["best"]
    assert reason.startswith("its passes over all elements take ") and reason.endswith(" us on the host")
    assert sum(n.kind == "neuron_core" for n in program.nodes) >= 1
    feeds = feeds_of(model)
    result = Neff(program).run(feeds, check=True, threads=1)
    np.testing.assert_allclose(result.outputs["y"], run_model(model, feeds)[0], rtol=1e-4, atol=1e-5)
    forced = Neff(compiled(model, device_ops=["TopK"])).run(feeds, threads=1)
    assert 2 * result.time_ns < forced.time_ns


@pytest.mark.parametrize("options", [{"device_ops": ["TopK"]}, {"fallback": False}, {"transfer_cost": False}])
def test_asked_for_it_stays(options: dict[str, object]) -> None:
    assert not on_cpu(compiled(detector(1200), **options))


def test_a_few_of_many_stay_on_the_device() -> None:
    assert not on_cpu(compiled(detector(16)))


def test_a_sort_of_little_else_goes_with_it() -> None:
    model = make([node("Relu", ["x"], ["r"]), node("TopK", ["r", "k"], ["y", "at"])], {"x": [1, 8000]}, ["y", "at"],
                 {"k": np.array([8000])}, opset=18, types={"at": TensorProto.INT64})
    assert [n.kind for n in compiled(model).nodes] == ["cpu"]


@pytest.mark.parametrize(("rows", "width", "count", "axis"), [(1, 8000, 8000, -1), (7, 300, 20, 1), (300, 7, 20, 0)])
def test_choosing_and_running_charge_the_same(rows: int, width: int, count: int, axis: int) -> None:
    target = targets.load(TARGET)
    graph = imported(make([node("TopK", ["x", "k"], ["y", "at"], axis=axis)], {"x": [rows, width]}, ["y", "at"],
                          {"k": np.array([count])}, opset=18, types={"at": TensorProto.INT64}))
    assert cost.host_ns(graph.nodes, graph, [], graph, target) == pytest.approx(
        segment_seconds(to_model(graph), target) * 1e9, rel=0.01)


def test_the_device_is_estimated_as_it_runs() -> None:
    model = make([node("TopK", ["x", "k"], ["y", "at"])], {"x": [200, 500]}, ["y", "at"], {"k": np.array([100])},
                 opset=18, types={"at": TensorProto.INT64})
    graph, target = imported(model), targets.load(TARGET)
    assert len(partition(graph, target, from_keywords({"target": TARGET, "fallback": False})).segments) == 1
    taken = compiled(model, fallback=False).stages[0].info["estimated_ns"]
    assert cost.device_ns(graph, graph.nodes, target) == pytest.approx(taken, rel=0.3)
