"""What a model says of its own values: counted only where inference has nothing to say."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx


class Claims:
    """Types by name of value, as the model states them.

    Args:
        graph: of the model as it was read.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._types = {v.name: v.type.SerializeToString() for v in (*graph.value_info, *graph.output)}
        self._bound: dict[str, int] = {}
        self._replaced = False

    def bind(self, inputs: Iterable[onnx.ValueInfoProto], shapes: Mapping[str, Sequence[int] | None]) -> None:
        """Say which shapes the inputs, as the model states them, are compiled for."""
        for info in inputs:
            for dim, size in zip(info.type.tensor_type.shape.dim, shapes.get(info.name) or (), strict=False):
                self._bound.setdefault(dim.dim_param, size)
                fixed = dim.HasField("dim_value") and dim.dim_value > 0
                self._replaced = self._replaced or (fixed and dim.dim_value != size)

    def get(self, name: str) -> onnx.TypeProto | None:
        """The type of a value with the input shapes' symbols bound, None when the model says nothing.

        Where a size that the model fixes was replaced, its other sizes are not believed.
        """
        stated = self._types.get(name)
        if stated is None:
            return None
        found = onnx.TypeProto.FromString(stated)
        for dim in found.tensor_type.shape.dim if found.HasField("tensor_type") else ():
            if dim.dim_param and dim.dim_param in self._bound:
                dim.dim_value = self._bound[dim.dim_param]
            elif self._replaced:
                dim.Clear()
        return found
