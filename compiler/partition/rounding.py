"""Operators that ONNX defines as several steps, each rounded to a 16-bit type, where the device rounds at the end only.

The device's results are the more precise, and differ from the definition's in the last bits. `strict_rounding` leaves
such operators to the host.
"""
from __future__ import annotations

from compiler.ir import Graph, Node

#: operator -> element types in which its steps are rounded
STEPWISE: dict[str, tuple[str, ...]] = {
    "Attention": ("bfloat16",),
    "LogSoftmax": ("bfloat16", "float16"),
    "Softmax": ("bfloat16", "float16"),
}


def rounding_reason(graph: Graph, node: Node) -> str:
    """Why the device rounds otherwise than the operator's definition, "" when it does not."""
    dtype = graph.dtype(node.inputs[0]) if node.inputs and node.inputs[0] else ""
    if node.domain or dtype not in STEPWISE.get(node.op, ()):
        return ""
    return f"its {dtype} steps would be rounded once, at their end (strict_rounding)"
