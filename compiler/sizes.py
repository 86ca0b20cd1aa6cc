"""Tensors that no machine can hold, refused before anything is made of their shapes; those that the device cannot."""
from __future__ import annotations

from compiler.errors import CompileError, ShapeError
from compiler.frontends.onnx.check import raise_all
from compiler.ir import Graph, Node, Value
from isa.target import Target


def check_sizes(graph: Graph, target: Target) -> None:
    """Check every tensor, and inputs and outputs together, against the device memory.

    Raises: ShapeError TENSOR_TOO_LARGE, naming the node; several as ErrorList.
    """
    limit = target.dram_bytes_per_chip
    errors: list[CompileError] = [_error(graph, v, limit) for v in graph.values.values() if v.nbytes > limit]
    raise_all(errors[:20])
    needed = sum(graph.value(n).nbytes for n in {*graph.inputs, *graph.outputs})
    if needed > limit:
        raise ShapeError("inputs and outputs do not fit the device memory together", code="TENSOR_TOO_LARGE",
                         where=f"model {graph.name!r}", limit=f"{limit} bytes", actual=f"{needed} bytes",
                         help="use a smaller --batch or --input-shape")


def reason(graph: Graph, node: Node, target: Target) -> str:
    """Why the device cannot hold a tensor that a node reads or makes, "" when it can: transfers have elements."""
    for name in filter(None, (*node.inputs, *node.outputs)):
        value = graph.value(name)
        if not value.size and value.const is None:
            return f"tensor {name!r} has no elements"
        if value.nbytes > target.dram_bytes_per_chip:
            return f"tensor {name!r} does not fit the device memory"
    return ""


def _error(graph: Graph, value: Value, limit: int) -> ShapeError:
    node = graph.producer(value.name)
    where = f"node {node.name!r} ({node.op})" if node is not None else f"input {value.name!r}"
    shape = "x".join(map(str, value.shape))
    return ShapeError(f"tensor {value.name!r} does not fit the device memory", code="TENSOR_TOO_LARGE", where=where,
                      limit=f"{limit} bytes", actual=f"{value.nbytes} bytes ({shape} of {value.dtype})",
                      help="use a smaller --batch or --input-shape")
