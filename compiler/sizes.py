"""Refuses graphs whose tensors no device could hold, before anything is made of their shapes."""
from __future__ import annotations

from compiler.errors import ShapeError
from compiler.frontends.onnx_check import raise_all
from compiler.ir import Graph, Value
from isa.target import Target


def check_sizes(graph: Graph, target: Target) -> None:
    """Check every tensor against the device memory, and that those computed at run time have elements at all.

    Raises: ShapeError TENSOR_TOO_LARGE or TENSOR_EMPTY, naming the node; several as ErrorList.
    """
    limit = target.dram_bytes_per_chip
    errors = [_error(graph, v, limit) for v in graph.values.values() if v.nbytes > limit or _empty(graph, v)]
    raise_all(list(errors[:20]))
    needed = sum(graph.value(n).nbytes for n in {*graph.inputs, *graph.outputs})
    if needed > limit:
        raise ShapeError("inputs and outputs do not fit the device memory together", code="TENSOR_TOO_LARGE",
                         where=f"model {graph.name!r}", limit=f"{limit} bytes", actual=f"{needed} bytes",
                         help="use a smaller --batch or --input-shape")


def _empty(graph: Graph, value: Value) -> bool:
    used = value.name in graph.inputs or value.name in graph.outputs or bool(graph.consumers(value.name))
    return value.const is None and value.size == 0 and used


def _error(graph: Graph, value: Value, limit: int) -> ShapeError:
    node = graph.producer(value.name)
    where = f"node {node.name!r} ({node.op})" if node is not None else f"input {value.name!r}"
    shape = "x".join(map(str, value.shape))
    if not value.size:
        return ShapeError(f"tensor {value.name!r} has no elements", code="TENSOR_EMPTY", where=where, limit=">= 1",
                          actual=shape, help="give sizes of at least 1 with --batch or --input-shape")
    return ShapeError(f"tensor {value.name!r} does not fit the device memory", code="TENSOR_TOO_LARGE", where=where,
                      limit=f"{limit} bytes", actual=f"{value.nbytes} bytes ({shape} of {value.dtype})",
                      help="use a smaller --batch or --input-shape")
