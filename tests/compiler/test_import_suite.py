"""onnx's backend tests through import and export alone: each model becomes a graph, and that one CPU model again."""
from __future__ import annotations

import unittest
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test import BackendTest

from compiler.frontends.onnx.export import to_model
from compiler.frontends.onnx.model import from_model
from compiler.ir import Graph
from compiler.verify import verify
from neuronsim.host_cpu import CpuSegment

#: Part of a test's name -> why no runtime of the host gives what is stored.
KNOWN = {
    "bernoulli": "the numbers drawn are those of one generator",
    "gradient_of_add": "no runtime has a kernel for Gradient",
    "loop16_seq_none": "the stored data is of no type that the test can compare",
    "convinteger_with_padding": "ONNX Runtime has no zero point for each channel",
}


class Round(BackendRep):  # type: ignore[misc]  # onnx is not typed
    """A model imported for the shapes of the inputs at hand and written back."""

    def __init__(self, model: onnx.ModelProto) -> None:
        fixed = {t.name for t in model.graph.initializer}
        self.model = model
        self.inputs = [i for i in model.graph.input if i.name not in fixed]

    def run(self, inputs: Sequence[Any], **options: Any) -> list[Any]:
        feeds = {i.name: np.asarray(v) if isinstance(v, np.generic) else v
                 for i, v in zip(self.inputs, inputs, strict=False)}
        shapes = {i.name: feeds[i.name].shape for i in self.inputs if i.name in feeds and _is_open(i)}
        found = CpuSegment("whole", to_model(self._graph(shapes)).SerializeToString()).run(feeds)
        return [found[o.name] for o in self.model.graph.output]

    def _graph(self, shapes: dict[str, Any]) -> Graph:
        twin = onnx.ModelProto()
        twin.CopyFrom(self.model)
        graph = from_model(twin, input_shapes=shapes)
        verify(graph)
        return graph


class Whole(Backend):  # type: ignore[misc]  # onnx is not typed
    """Takes every model."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> Round:
        return Round(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


def _is_open(info: onnx.ValueInfoProto) -> bool:
    tensor = info.type.tensor_type
    return (tensor.elem_type not in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING)
            and any(not d.HasField("dim_value") for d in tensor.shape.dim))


@pytest.mark.slow
def test_every_model_is_imported_and_written_back() -> None:
    result = unittest.TestResult()
    BackendTest(Whole, __name__).test_suite.run(result)
    failed = {str(test).split()[0]: words for test, words in (*result.failures, *result.errors)}
    unknown = {name: words for name, words in failed.items() if not any(part in name for part in KNOWN)}
    assert not unknown, "\n\n".join(f"{name}\n{words}" for name, words in sorted(unknown.items()))
    assert result.testsRun - len(result.skipped) > 2000
