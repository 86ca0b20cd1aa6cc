"""The oracle of the graph tests: what onnxruntime says of a model and of a graph written back as one."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from compiler.frontends.onnx.export import to_model
from compiler.frontends.onnx.model import from_model
from compiler.ir import Graph

Feeds = Mapping[str, np.ndarray]


def run_model(model: onnx.ModelProto, feeds: Feeds) -> list[np.ndarray]:
    """Outputs of a model without any optimisation of the runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    return session.run(None, {k: v for k, v in feeds.items() if k in wanted})


def run_graph(graph: Graph, feeds: Feeds) -> list[np.ndarray]:
    """Outputs of a graph, in its order."""
    return run_model(to_model(graph), feeds)


def make(nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Sequence[Any]], outputs: Sequence[str],
         weights: Mapping[str, np.ndarray] | None = None, opset: int = 20,
         types: Mapping[str, int] | None = None, **more: Any) -> onnx.ModelProto:
    """A model of these nodes; inputs and outputs are float32 unless `types` says otherwise."""
    kinds = types or {}
    graph = helper.make_graph(
        list(nodes), "test",
        [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), None) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def imported(model: onnx.ModelProto, **options: Any) -> Graph:
    """Import a copy of a model."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    return from_model(twin, **options)


def random_feeds(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded normal numbers (integers 0..3, booleans) for every input."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for name in graph.inputs:
        shape, dtype = graph.shape(name), np.dtype(graph.dtype(name))
        integers = rng.integers(0, 2 if dtype.kind == "b" else 4, shape)
        values = rng.standard_normal(shape) if dtype.kind == "f" else integers
        feeds[name] = np.asarray(values).astype(dtype)
    return feeds


def assert_close(got: Sequence[np.ndarray], want: Sequence[np.ndarray], limit: float = 2e-6) -> None:
    """Equal shapes and types; floats within `limit` of the largest magnitude, NaN where NaN; the rest exactly."""
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if b.dtype.kind != "f":
            np.testing.assert_array_equal(a, b)
            continue
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        finite = np.isfinite(b)
        np.testing.assert_array_equal(a[~finite], b[~finite])
        scale = np.abs(b[finite]).max(initial=1e-30)
        assert np.abs(a[finite].astype(np.float64) - b[finite]).max(initial=0.0) <= limit * scale
