"""Expansions of reductions and running sums: norms and logarithms of sums around the reductions that the device has."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion
from compiler.passes.rewrite import is_float

#: reductions that are nothing else, so that over no axes they are nothing
PLAIN = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
#: float types that sums are not accumulated in
NARROW = ("float16", "bfloat16")
LARGEST = float(np.finfo(np.float32).max)


#: (expansion, operand, axes) -> result, in which the axes have size 1
Reduction = Callable[[Expansion, str, list[int]], str]


def _rule(formula: Reduction, floats: bool) -> Callable[[Graph, Node], bool]:
    """The rule of an operator that is `formula`; `floats`: not for integers."""
    def rule(graph: Graph, node: Node) -> bool:
        axes, open_ = known_axes(graph, node), _open_axes(graph, node)
        if (axes is None and not open_) or (floats and not is_float(graph, node.output)):
            return False
        make = Expansion(graph, node)
        x = wide(make, node.inputs[0])
        return give(make, _choice(make, formula, x, open_) if axes is None else formula(make, x, axes))
    return rule


def _open_axes(graph: Graph, node: Node) -> list[int]:
    """The choices for a single axis that is computed at run time, by the shapes; [] when it is no such reduction."""
    shape, given = graph.shape(node.inputs[0]), node.input(1)
    if not given or graph.is_const(given) or graph.shape(given) != (1,) or node.attrs.get("keepdims", 1):
        return []
    return [a for a in range(len(shape)) if shape[:a] + shape[a + 1:] == graph.shape(node.output)]


def _choice(make: Expansion, formula: Reduction, x: str, axes: list[int]) -> str:
    """The reduction over each of some axes, all of one shape, and of these the one over the axis of run time."""
    rank, shape = make.rank(x), make.shape(make.node.output)
    axis = make.cast(make.reshape(make.node.inputs[1], [1] * max(1, len(shape))), "float32")
    result = ""
    for a in axes:
        one = make.reshape(formula(make, x, [a]), shape)
        this = make.binary("Or", make.binary("Equal", axis, float(a)), make.binary("Equal", axis, float(a - rank)))
        result = make.where(this, one, result) if result else one
    return result


def wide(make: Expansion, x: str) -> str:
    """`x` in a type that sums may be accumulated in."""
    return make.cast(x, "float32") if make.dtype(x) in NARROW else x


def give(make: Expansion, *results: str) -> bool:
    """`finish` with results in the outputs' own types and shapes."""
    outputs = make.node.outputs
    return make.finish([r and make.reshape(make.cast(r, make.dtype(o)), make.shape(o))
                        for r, o in zip(results, outputs, strict=False)])


def reduce(make: Expansion, op: str, x: str, axes: Sequence[int]) -> str:
    """A reduction over known axes, which stay with size 1; over none of them, `x`."""
    return make.reduce(op, x, axes) if axes else x


def norm(make: Expansion, x: str, axes: list[int], p: int) -> str:
    """Sum of |x| (p = 1), or the root of the sum of x * x (p = 2); axes stay with size 1."""
    if p == 1:
        return reduce(make, "ReduceSum", make.unary("Abs", x), axes)
    return make.unary("Sqrt", reduce(make, "ReduceSum", make.mul(x, x), axes))


def _log_sum_exp(make: Expansion, x: str, axes: list[int]) -> str:
    """log(sum of exp(x - m)) + m, where m is the largest element, bounded so that inf - inf is not met."""
    top = make.clip(reduce(make, "ReduceMax", x, axes), -LARGEST, LARGEST)
    total = reduce(make, "ReduceSum", make.unary("Exp", make.sub(x, top)), axes)
    return make.add(make.unary("Log", total), top)


def known_axes(graph: Graph, node: Node) -> list[int] | None:
    """The non-negative, ascending axes of a reduction; [] reduces nothing. None when they cannot be told.

    Axes that are computed at run time are told by the shapes where only one choice leads from one to the other. What
    an empty list with `noop_with_empty_axes` means to operators that are more than a reduction has changed over time:
    None.
    """
    shape, given = graph.shape(node.inputs[0]), node.input(1)
    array = graph.const(given)
    keeps = bool(node.attrs.get("noop_with_empty_axes")) and node.op not in PLAIN
    if given and array is None:
        axes = _axes_between(shape, graph.shape(node.output), bool(node.attrs.get("keepdims", 1)))
        return None if keeps and not axes else axes
    listed = [int(a) for a in array.reshape(-1)] if array is not None else []
    if not listed and keeps:
        return None
    return sorted({a % len(shape) for a in listed}) or list(range(len(shape)))


def _axes_between(shape: tuple[int, ...], reduced: tuple[int, ...], keepdims: bool) -> list[int] | None:
    """The only set of axes longer than 1 whose reduction takes one shape to the other; None when there are others."""
    long = [a for a, n in enumerate(shape) if n > 1]
    found = [list(axes) for count in range(len(long) + 1) for axes in combinations(long, count)
             if _reduces(shape, reduced, axes, keepdims)]
    return found[0] if len(found) == 1 else None


def _reduces(shape: tuple[int, ...], reduced: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> bool:
    if keepdims:
        return reduced == tuple(1 if a in axes else n for a, n in enumerate(shape))
    left = [n for a, n in enumerate(shape) if a not in axes and n > 1]
    return left == [n for n in reduced if n > 1]


def _plain(graph: Graph, node: Node) -> bool:
    """A reduction that is one already, where its axes become known."""
    if not node.input(1) or graph.is_const(node.inputs[1]):
        return False
    op = node.op
    return _rule(lambda make, x, axes: reduce(make, op, x, axes), floats=False)(graph, node)


def _running(graph: Graph, node: Node) -> bool:
    """A vector has one axis only, whatever is computed at run time."""
    if len(graph.shape(node.inputs[0])) != 1 or graph.is_const(node.inputs[1]):
        return False
    graph.set_input(node, 1, graph.add_const(np.array(0, np.int64), f"{node.output}_axis"))
    return True


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "CumProd": _running,
    "CumSum": _running,
    "ReduceL1": _rule(lambda make, x, axes: norm(make, x, axes, 1), floats=False),
    "ReduceL2": _rule(lambda make, x, axes: norm(make, x, axes, 2), floats=True),
    "ReduceLogSum": _rule(lambda make, x, axes: make.unary("Log", reduce(make, "ReduceSum", x, axes)), floats=True),
    "ReduceLogSumExp": _rule(_log_sum_exp, floats=True),
    **dict.fromkeys(PLAIN, _plain),
    "ReduceSumSquare": _rule(lambda make, x, axes: reduce(make, "ReduceSum", make.mul(x, x), axes), floats=False),
}
