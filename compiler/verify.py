"""Checks that a graph does not contradict itself; run after every pass.

Structure (names, order, index, constants) and, for operators whose result shape is cheap to say, shapes and types.
A failure is a defect of the pass named in it, never of the user's model.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compiler.errors import VerifyError
from compiler.ir import Graph, Node, numpy_dtype

_UNARY = frozenset({
    "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Erf", "Softmax", "LogSoftmax", "Gelu", "Silu",
    "HardSwish", "HardSigmoid", "Mish", "LeakyRelu", "PRelu", "Elu", "Selu", "Softplus", "Clip", "LRN", "Identity",
    "Affine", "LayerNormalization", "BatchNormalization", "Reciprocal", "Floor", "Ceil",
})
_BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"})
#: Operators that may carry `attrs["epilogue"]`.
EPILOGUE_OPS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "MatMul", "Affine", "Add"})


def verify(graph: Graph, after: str = "") -> None:
    """Check a graph. Raises: VerifyError naming the pass `after` and what is wrong."""
    for problem in _problems(graph):
        raise VerifyError(problem, where=f"after pass {after!r}" if after else f"graph {graph.name!r}",
                          help="this is a defect of the compiler; --print-after shows the graph of each pass")


def _problems(graph: Graph) -> Iterator[str]:
    yield from _values(graph)
    yield from _order(graph)
    yield from _index(graph)
    for node in graph.nodes:
        yield from _node(graph, node)


def _values(graph: Graph) -> Iterator[str]:
    for name, value in graph.values.items():
        if name != value.name or not name:
            yield f"value {value.name!r} is registered as {name!r}"
        if value.host and (value.const is not None or value.shape):
            yield f"value {name!r} of the host has a shape or is constant"
        if any(not isinstance(d, int) or d < 0 for d in value.shape):
            yield f"value {name!r} has no static shape: {value.shape}"
        array = value.const
        if array is not None and (array.shape != value.shape or array.dtype != numpy_dtype(value.dtype)):
            yield (f"constant {name!r} is declared {value.dtype}{list(value.shape)} "
                   f"but holds {array.dtype}{list(array.shape)}")
    for name in graph.inputs:
        if name not in graph.values or graph.is_const(name):
            yield f"input {name!r} is undefined or constant"
    if len(set(graph.outputs)) != len(graph.outputs):
        yield "an output is listed twice"


def _order(graph: Graph) -> Iterator[str]:
    known = set(graph.inputs) | {v.name for v in graph.constants()}
    for node in graph.nodes:
        for name in node.inputs:
            if name and name not in known:
                state = "computed later" if name in graph.values else "undefined"
                yield f"node {node.name!r} ({node.op}) reads {name!r}, which is {state}"
        for name in filter(None, node.outputs):
            if name in known:
                yield f"value {name!r} is computed twice, or is an input or constant"
            if name not in graph.values:
                yield f"node {node.name!r} computes undefined value {name!r}"
            known.add(name)
    for name in graph.outputs:
        if name not in known:
            yield f"output {name!r} is never computed"


def _index(graph: Graph) -> Iterator[str]:
    if len({n.name for n in graph.nodes}) != len(graph.nodes):
        yield "two nodes have one name"
    uses: dict[str, set[int]] = {}
    for node in graph.nodes:
        for name in filter(None, node.inputs):
            uses.setdefault(name, set()).add(id(node))
        for name in filter(None, node.outputs):
            if graph.producer(name) is not node:
                yield f"the index does not know that {node.name!r} computes {name!r}"
    for name in graph.values:
        if {id(n) for n in graph.consumers(name)} != uses.get(name, set()):
            yield f"the index of readers of {name!r} is wrong"


def _node(graph: Graph, node: Node) -> Iterator[str]:
    if not any(node.outputs):
        yield f"node {node.name!r} computes nothing"
        return
    touched = [graph.values[n] for n in (*node.inputs, *node.outputs) if n in graph.values]
    if node.host or any(v.host for v in touched):
        if not node.host:
            yield f"node {node.name!r} ({node.op}) touches a value of the host but names no reason to run there"
        return
    if "epilogue" in node.attrs:
        yield from _epilogue(graph, node)
    expected = _expected(graph, node)
    if expected is not None and node.output and expected != graph.shape(node.output):
        shapes = ", ".join(str(list(graph.shape(i))) for i in node.inputs if i)
        yield f"node {node.name!r} ({node.op}) of {shapes} gives {list(expected)}, not {list(graph.shape(node.output))}"


def _expected(graph: Graph, node: Node) -> tuple[int, ...] | None:
    """Shape of the first output, or None when nothing cheap can be said."""
    rule = _RULES.get(node.op) if not node.domain else None
    if rule is None and (node.domain or node.op not in _UNARY | _BINARY):
        return None
    try:
        if rule is not None:
            return rule(graph, node)
        if node.op in _UNARY:
            return graph.shape(node.inputs[0])
        # after the second input of the others come residuals of the epilogue
        operands = node.inputs if node.op in ("Max", "Min") else node.inputs[:2]
        return np.broadcast_shapes(*(graph.shape(i) for i in operands))
    except (ValueError, IndexError, KeyError) as error:
        raise VerifyError(f"node {node.name!r} ({node.op}) is malformed: {error!r}") from None


def _conv(graph: Graph, node: Node) -> tuple[int, ...]:
    x, w, a = graph.shape(node.inputs[0]), graph.shape(node.inputs[1]), node.attrs
    n = len(x) - 2
    if x[1] != w[1] * a["group"]:
        raise ValueError(f"{x[1]} channels for a weight of {list(w)} in {a['group']} groups")
    return (x[0], w[0], *((x[2 + k] + a["pads"][k] + a["pads"][n + k] - (w[2 + k] - 1) * a["dilations"][k] - 1)
                          // a["strides"][k] + 1 for k in range(n)))


def _conv_transpose(graph: Graph, node: Node) -> tuple[int, ...]:
    x, w, a = graph.shape(node.inputs[0]), graph.shape(node.inputs[1]), node.attrs
    n = len(x) - 2
    return (x[0], w[1] * a["group"], *(
        (x[2 + k] - 1) * a["strides"][k] + a["output_padding"][k] + (w[2 + k] - 1) * a["dilations"][k] + 1
        - a["pads"][k] - a["pads"][n + k] for k in range(n)))


def _matmul(graph: Graph, node: Node) -> tuple[int, ...] | None:
    a, b = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    if len(a) < 2 or len(b) < 2:
        return None
    if a[-1] != b[-2]:
        raise ValueError(f"{list(a)} x {list(b)}")
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def _reshape(graph: Graph, node: Node) -> tuple[int, ...]:
    out = graph.value(node.output)
    if out.size != graph.value(node.inputs[0]).size:
        raise ValueError(f"{list(graph.shape(node.inputs[0]))} cannot become {list(out.shape)}")
    return out.shape


def _concat(graph: Graph, node: Node) -> tuple[int, ...]:
    shapes, axis = [graph.shape(i) for i in node.inputs], node.attrs["axis"]
    if len({s[:axis] + s[axis + 1:] for s in shapes}) != 1:
        raise ValueError(f"shapes {shapes} along {axis}")
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1:])


_RULES: dict[str, Callable[[Graph, Node], tuple[int, ...] | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Concat": _concat,
    "Transpose": lambda g, n: tuple(g.shape(n.inputs[0])[p] for p in n.attrs["perm"]),
    "Where": lambda g, n: np.broadcast_shapes(*(g.shape(i) for i in n.inputs)),
}


def channels(graph: Graph, node: Node) -> int:
    """Length of a per-channel vector of a node's result: axis 1, the last axis of a MatMul."""
    shape = graph.shape(node.output)
    return shape[-1] if node.op == "MatMul" else shape[1]


def _epilogue(graph: Graph, node: Node) -> Iterator[str]:
    if node.op not in EPILOGUE_OPS:
        yield f"node {node.name!r} ({node.op}) cannot carry an epilogue"
        return
    for step in node.attrs["epilogue"]:
        problem = _step(graph, node, step)
        if problem:
            yield f"epilogue {step} of {node.name!r} ({node.op}): {problem}"


def _step(graph: Graph, node: Node, step: tuple[Any, ...]) -> str:
    kind = step[0]
    if kind in ("bias", "add", "compare"):
        name = node.input(step[1])
        if not name:
            return "no such input"
        want = graph.shape(node.output) if kind == "add" else (channels(graph, node),)
        if graph.shape(name) != want or (kind != "add" and not graph.is_const(name)):
            return f"operand of shape {list(graph.shape(name))}, wanted {list(want)}"
        return ""
    return "" if (kind in ("act", "clip") and len(step) == 3) or (kind == "as" and len(step) == 2) else "unknown step"
