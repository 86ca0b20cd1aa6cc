"""One spelling for what ONNX can say in several ways, so that later passes and lowerings meet few operators.

Gemm becomes MatMul, a bias becomes an epilogue step, variadic operators become chains of two, global pooling becomes a
reduction with explicit axes, Squeeze, Unsqueeze and Flatten become Reshape, Split becomes Slice, a known second operand
of Sub and Div becomes Add and Mul.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes import canonical_layout as layout
from compiler.passes.canonical_reduce import average_pool, global_pool, reduce
from compiler.passes.rewrite import before, change, is_float, reshape, scalar, settle


def run(graph: Graph) -> int:
    """Rewrite until nothing changes; returns the number of rewrites."""
    return settle(graph, _rewrite)


def _rewrite(graph: Graph, node: Node) -> int:
    rule = RULES.get(node.op) if not node.domain else None
    return int(rule is not None and any(node.outputs) and rule(graph, node))


def _gemm(graph: Graph, node: Node) -> bool:
    a, b = node.inputs[:2]
    c = node.input(2)
    alpha, beta = node.attrs.get("alpha", 1.0), node.attrs.get("beta", 1.0)
    if not is_float(graph, a):
        return False
    a = _transposed(graph, node, a) if node.attrs.get("transA") else a
    b = _transposed(graph, node, b) if node.attrs.get("transB") else b
    b = _scaled(graph, node, b, alpha)
    attrs: dict[str, object] = {}
    bias = _vector(graph, c, graph.shape(node.output)[-1], beta) if c else None
    inputs = [a, b]
    if bias is not None:
        inputs.append(graph.add_const(bias, f"{node.output}_bias"))
        attrs["epilogue"] = [("bias", 2)]
    elif c:
        product = before(graph, node, "MatMul", inputs, graph.shape(node.output), graph.dtype(node.output))
        change(graph, node, "Add", [product, _scaled(graph, node, c, beta)])
        return True
    change(graph, node, "MatMul", inputs, attrs)
    return True


def _transposed(graph: Graph, node: Node, name: str) -> str:
    array = graph.const(name)
    if array is not None:
        return graph.add_const(array.T, f"{name}_t")
    return before(graph, node, "Transpose", [name], graph.shape(name)[::-1], graph.dtype(name), {"perm": [1, 0]})


def _scaled(graph: Graph, node: Node, name: str, factor: float) -> str:
    if factor == 1.0:
        return name
    array = graph.const(name)
    if array is not None:
        return graph.add_const((array.astype(np.float64) * factor).astype(array.dtype), f"{name}_scaled")
    constant = graph.add_const(np.array(factor, graph.dtype(name)), "factor")
    return before(graph, node, "Mul", [name, constant], graph.shape(name), graph.dtype(name))


def _vector(graph: Graph, name: str, length: int, factor: float) -> np.ndarray | None:
    """A constant that is one number for each column, as a vector times `factor`; None for any other."""
    array = graph.const(name)
    if array is None or array.size not in (1, length) or (array.size == length > 1 and array.shape[-1] != length):
        return None
    wide = np.broadcast_to(array.reshape(-1), (length,))
    return wide if factor == 1.0 else (wide.astype(np.float64) * factor).astype(array.dtype)


def _conv(graph: Graph, node: Node) -> bool:
    """The bias input becomes an epilogue step, or an Add when it is computed."""
    bias = node.input(2)
    if not bias or "epilogue" in node.attrs:
        return False
    if graph.is_const(bias):
        node.attrs["epilogue"] = [("bias", 2)]
        return True
    shape = graph.shape(node.output)
    result = before(graph, node, node.op, node.inputs[:2], shape, graph.dtype(node.output), dict(node.attrs))
    column = reshape(graph, node, bias, [shape[1], *([1] * (len(shape) - 2))])
    change(graph, node, "Add", [result, column])
    return True


def _chain(op: str) -> Callable[[Graph, Node], bool]:
    def rule(graph: Graph, node: Node) -> bool:
        if node.op == op and len(node.inputs) <= 2:
            return False
        if len(node.inputs) == 1:
            return bool(change(graph, node, "Identity"))
        total = node.inputs[0]
        for other in node.inputs[1:-1]:
            shape = np.broadcast_shapes(graph.shape(total), graph.shape(other))
            total = before(graph, node, op, [total, other], shape, graph.dtype(total))
        change(graph, node, op, [total, node.inputs[-1]])
        return True
    return rule


def _mean(graph: Graph, node: Node) -> bool:
    count = len(node.inputs)
    summed = before(graph, node, "Sum", node.inputs, graph.shape(node.output), graph.dtype(node.output))
    if graph.dtype(node.output) != "float32":  # a third has too few digits in a narrow type
        change(graph, node, "Div", [summed, graph.add_const(np.array(count, graph.dtype(node.output)), "mean_count")])
        return True
    part = graph.add_const(np.array(1.0 / count, graph.dtype(node.output)), "mean_factor")
    change(graph, node, "Mul", [summed, part])
    return True


def _constant_last(graph: Graph, node: Node) -> bool:
    if len(node.inputs) == 2 and graph.is_const(node.inputs[0]) and not graph.is_const(node.inputs[1]):
        graph.set_inputs(node, node.inputs[::-1])
        return True
    return _chain(node.op)(graph, node) if node.op in ("Max", "Min") else False


def _sub(graph: Graph, node: Node) -> bool:
    array = graph.const(node.inputs[1])
    if array is None or not is_float(graph, node.output) or graph.is_const(node.inputs[0]):
        return False
    change(graph, node, "Add", [node.inputs[0], graph.add_const(-array, f"{node.inputs[1]}_neg")])
    return True


def _div(graph: Graph, node: Node) -> bool:
    """x / c as x * (1/c), at most one unit in the last place away; kept where 1/c is not a normal number."""
    array = graph.const(node.inputs[1])
    if array is None or graph.dtype(node.output) not in ("float32", "float64") or graph.is_const(node.inputs[0]):
        return False
    with np.errstate(all="ignore"):
        inverse = (1.0 / array.astype(np.float64)).astype(array.dtype)
    if not np.isfinite(inverse).all() or (np.abs(inverse) < np.finfo(array.dtype).tiny).any():
        return False
    change(graph, node, "Mul", [node.inputs[0], graph.add_const(inverse, f"{node.inputs[1]}_inv")])
    return True


def _pow(graph: Graph, node: Node) -> bool:
    exponent, x = scalar(graph, node.inputs[1]), node.inputs[0]
    if not is_float(graph, x) or graph.shape(x) != graph.shape(node.output):
        return False
    if exponent == 2.0:
        change(graph, node, "Mul", [x, x])
    elif exponent == 0.5:
        change(graph, node, "Sqrt", [x])
    elif exponent == -1.0:
        change(graph, node, "Reciprocal", [x])
    elif exponent == 3.0 and graph.dtype(x) == "float32":  # a narrow type would be rounded twice
        square = before(graph, node, "Mul", [x, x], graph.shape(x), graph.dtype(x))
        change(graph, node, "Mul", [square, x])
    else:
        return False
    return True


def _neg(graph: Graph, node: Node) -> bool:
    if not is_float(graph, node.output):
        return False
    change(graph, node, "Mul", [node.inputs[0], graph.add_const(np.array(-1, graph.dtype(node.output)), "minus_one")])
    return True


def _clip(graph: Graph, node: Node) -> bool:
    """Clip from 0 without an upper limit is Relu; Clip without limits is nothing."""
    low = scalar(graph, node.input(1)) if node.input(1) else -np.inf
    high = scalar(graph, node.input(2)) if node.input(2) else np.inf
    if not is_float(graph, node.output) or high is None or low is None or high < np.finfo(np.float32).max:
        return False
    if low == 0.0:
        change(graph, node, "Relu", node.inputs[:1])
        return True
    if low <= np.finfo(np.float32).min and np.isinf(low) and np.isinf(high):
        change(graph, node, "Identity", node.inputs[:1])
        return True
    return False


def _prelu(graph: Graph, node: Node) -> bool:
    slope = scalar(graph, node.inputs[1])
    if slope is None or graph.shape(node.inputs[0]) != graph.shape(node.output):
        return False
    change(graph, node, "LeakyRelu", node.inputs[:1], {"alpha": slope})
    return True


def _matmul(graph: Graph, node: Node) -> bool:
    """Vectors become matrices, so that MatMul always has two dimensions on both sides."""
    a, b = (graph.shape(i) for i in node.inputs[:2])
    if len(a) > 1 and len(b) > 1:
        return False
    left = reshape(graph, node, node.inputs[0], [1, *a] if len(a) == 1 else a)
    right = reshape(graph, node, node.inputs[1], [*b, 1] if len(b) == 1 else b)
    shape = (*np.broadcast_shapes(graph.shape(left)[:-2], graph.shape(right)[:-2]), graph.shape(left)[-2],
             graph.shape(right)[-1])
    product = before(graph, node, "MatMul", [left, right], shape, graph.dtype(node.output))
    change(graph, node, "Reshape", [product, graph.add_const(np.array(graph.shape(node.output), np.int64), "shape")],
           {"allowzero": 0})
    return True


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Sum": _chain("Add"),
    "Mean": _mean,
    "Max": _constant_last,
    "Min": _constant_last,
    "Add": _constant_last,
    "Mul": _constant_last,
    "Sub": _sub,
    "Div": _div,
    "Pow": _pow,
    "Neg": _neg,
    "Clip": _clip,
    "PRelu": _prelu,
    "GlobalAveragePool": global_pool("ReduceMean"),
    "GlobalMaxPool": global_pool("ReduceMax"),
    "AveragePool": average_pool,
    "ReduceMean": reduce,
    "ReduceSum": reduce,
    "ReduceMax": reduce,
    "ReduceMin": reduce,
    "ReduceProd": reduce,
    "ReduceL1": reduce,
    "ReduceL2": reduce,
    "ReduceSumSquare": reduce,
    "ReduceLogSum": reduce,
    "ReduceLogSumExp": reduce,
    "Flatten": layout.to_reshape_rule,
    "Squeeze": layout.to_reshape_rule,
    "Unsqueeze": layout.to_reshape_rule,
    "DepthToSpace": layout.depth_to_space,
    "SpaceToDepth": layout.space_to_depth,
    "Reshape": layout.explicit_shape,
    "Split": layout.split,
    "Slice": layout.explicit_slice,
    "Gather": layout.gather_to_slice,
}
