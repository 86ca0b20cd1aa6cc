"""Models that keep channels last: the layout changes around windowed operators move behind what lies between them.

Frontends put a Transpose to channels first in front of every windowed operator and one to channels last behind it. Here
the ones behind (rows of `perm` 0, 2 .. n-1, 1) move down over operators that work element by element, join or reduce,
until they meet the next one in front, where `remove-identities` cancels both. The ones in front move up over a Pad,
which can then be folded into the windowed operator.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import before, change, int_const, reshape, settle

_UNARY = frozenset({
    "Abs", "Cast", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Silu",
    "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
})
_BROADCAST = frozenset({
    "Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "Where", "Equal", "Less", "LessOrEqual", "Greater",
    "GreaterOrEqual", "And", "Or", "Xor", "Mod",
})
_REDUCE = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"})
_QUANTISE = frozenset({"QuantizeLinear", "DequantizeLinear"})
#: Operators whose results have channels first; only behind these is the ambiguous (0, 2, 1) a layout change.
_WINDOWED = frozenset({"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "MaxPool", "Resize"})


def run(graph: Graph) -> int:
    """Rewrite until nothing changes; returns the number of rewrites."""
    return settle(graph, _rewrite)


def _rewrite(graph: Graph, node: Node) -> int:
    if node.domain or node.host or len(node.outputs) != 1 or not node.outputs[0]:
        return 0
    if node.op == "Transpose":
        return int(_lift_over_pad(graph, node))
    if node.op == "MatMul" and _into_weights(graph, node):
        return 1
    perm = next((p for i in node.inputs if (p := _to_last(graph, i)) is not None), None)
    if perm is None:
        return 0
    sink = _sink_of(node.op)
    return int(sink is not None and sink(graph, node, perm))


def _to_last(graph: Graph, name: str) -> list[int] | None:
    """The permutation to channels last that makes a value, if one does."""
    node = graph.producer(name) if name else None
    if node is None or node.op not in ("Transpose", "Reshape") or node.host:
        return None
    n = len(graph.shape(name))
    perm: list[int] = node.attrs["perm"] if node.op == "Transpose" else _of_single_pixels(graph, node)
    if n < 3 or perm != [0, *range(2, n), 1]:
        return None
    return perm if n > 3 or _behind_window(graph, node.inputs[0]) else None


def _of_single_pixels(graph: Graph, node: Node) -> list[int]:
    """The permutation that a Reshape of images of one pixel stands for, as `remove-identities` writes it, or []."""
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    n = len(after)
    moved = n > 3 and len(before) == n and before[1] > 1 and after == (before[0], *before[2:], before[1])
    return [0, *range(2, n), 1] if moved and set(before[2:]) == {1} else []


def _behind_window(graph: Graph, name: str) -> bool:
    """Whether a value comes from a windowed operator over operators that this pass moves a Transpose over."""
    for _ in range(32):
        node = graph.producer(name)
        if node is None or node.domain:
            return False
        if node.op in _WINDOWED:
            return True
        if _sink_of(node.op) is None:
            return False
        name = next((i for i in node.inputs if i and not graph.is_const(i)), "")
    return False


# ---- one rule for each kind of operator ------------------------------------------------------------------------------


def _elementwise(graph: Graph, node: Node, perm: list[int]) -> bool:
    shape = graph.shape(node.output)
    if len(shape) != len(perm):
        return False
    return _all_turned(graph, node, perm)


def _first_only(graph: Graph, node: Node, perm: list[int]) -> bool:
    """Operators whose further inputs are scalars or vectors that keep their meaning."""
    if _to_last(graph, node.inputs[0]) is None:
        return False
    if node.op in _QUANTISE and graph.value(node.inputs[1]).size > 1:
        if node.attrs.get("block_size") or len(graph.shape(node.inputs[1])) != 1:
            return False
        axis = node.attrs.get("axis", 1) % len(perm)
        node.attrs["axis"] = perm[axis]
    return _sunk(graph, node, perm, [_below(graph, node.inputs[0]), *node.inputs[1:]])


def _concat(graph: Graph, node: Node, perm: list[int]) -> bool:
    if not all(_to_last(graph, i) == perm or graph.is_const(i) for i in node.inputs):
        return False
    axis = node.attrs["axis"] % len(perm)
    node.attrs["axis"] = perm[axis]
    return _all_turned(graph, node, perm)


def _reduce(graph: Graph, node: Node, perm: list[int]) -> bool:
    """Reductions over pixels; one over channels alone stays where they are last."""
    axes = graph.const(node.input(1))
    if axes is None or not node.attrs.get("keepdims", 1) or not axes.size:
        return False
    mapped = sorted(perm[int(a) % len(perm)] for a in axes)
    if mapped == [1]:
        return False
    return _sunk(graph, node, perm, [_below(graph, node.inputs[0]), int_const(graph, mapped, f"{node.output}_axes")])


def _slice(graph: Graph, node: Node, perm: list[int]) -> bool:
    axes = graph.const(node.input(3))
    if axes is None or _to_last(graph, node.inputs[0]) is None:
        return False
    mapped = [perm[int(a) % len(perm)] for a in axes]
    order = np.argsort(mapped, kind="stable")
    rest = [graph.const(node.input(k)) for k in (1, 2, 4)]
    if any(r is None for r in rest):
        return False
    starts, ends, steps = ([int(r[k]) for k in order] for r in rest if r is not None)
    values = (starts, ends, sorted(mapped), steps)
    return _sunk(graph, node, perm, [_below(graph, node.inputs[0]),
                                     *(int_const(graph, v, f"{node.output}_part") for v in values)])


def _pad(graph: Graph, node: Node, perm: list[int]) -> bool:
    pads = _all_pads(graph, node)
    if pads is None or _to_last(graph, node.inputs[0]) is None:
        return False
    amounts = int_const(graph, pads[:, np.argsort(perm)].reshape(-1).tolist(), f"{node.output}_pads")
    return _sunk(graph, node, perm, [_below(graph, node.inputs[0]), amounts, *node.inputs[2:3]])


def _all_pads(graph: Graph, node: Node) -> np.ndarray | None:
    """(2, rank): elements in front of and behind every dimension, where they are known and all listed."""
    given = graph.const(node.input(1))
    return None if given is None or node.input(3) else given.reshape(2, -1)


_SINKS: dict[str, Callable[[Graph, Node, list[int]], bool]] = {"Concat": _concat, "Slice": _slice, "Pad": _pad}


def _sink_of(op: str) -> Callable[[Graph, Node, list[int]], bool] | None:
    if op in _BROADCAST:
        return _elementwise
    if op in _UNARY or op in _QUANTISE:
        return _first_only
    return _reduce if op in _REDUCE else _SINKS.get(op)


# ---- moving ----------------------------------------------------------------------------------------------------------


def _below(graph: Graph, name: str) -> str:
    """What the Transpose that makes a value reads."""
    node = graph.producer(name)
    assert node is not None
    return node.inputs[0]


def _all_turned(graph: Graph, node: Node, perm: list[int]) -> bool:
    """Move a node in front of the layout change if all its operands can be had without another one."""
    if not all(_turnable(graph, i, perm) for i in node.inputs):
        return False
    return _sunk(graph, node, perm, [_turned(graph, node, i, perm) for i in node.inputs])


def _turnable(graph: Graph, name: str, perm: list[int]) -> bool:
    """Whether an operand is behind the same Transpose, a constant, or of so few dimensions that a Reshape turns it."""
    if not name or graph.is_const(name) or _to_last(graph, name) == perm:
        return True
    if graph.value(name).host:
        return False
    full = _full(graph.shape(name), perm)
    moved = [k for k in np.argsort(perm) if full[k] != 1]
    return moved == sorted(moved)


def _turned(graph: Graph, node: Node, name: str, perm: list[int]) -> str:
    """An operand as it is with channels first."""
    if not name or (graph.value(name).size == 1 and len(graph.shape(name)) <= 1):
        return name
    if _to_last(graph, name) == perm:
        return _below(graph, name)
    array, full, inverse = graph.const(name), _full(graph.shape(name), perm), [int(k) for k in np.argsort(perm)]
    if array is not None:
        return graph.add_const(np.ascontiguousarray(array.reshape(full).transpose(inverse)), f"{name}_first")
    return reshape(graph, node, name, [full[k] for k in inverse])


def _full(shape: tuple[int, ...], perm: list[int]) -> tuple[int, ...]:
    """A shape with as many dimensions as what it broadcasts to."""
    return (1,) * (len(perm) - len(shape)) + shape


def _sunk(graph: Graph, node: Node, perm: list[int], inputs: list[str]) -> bool:
    """Let a node read operands of the other layout, and put the Transpose behind it."""
    value = graph.value(node.output)
    shape = [value.shape[int(k)] for k in np.argsort(perm)]
    inner = graph.add_value(graph.fresh_name(f"{value.name}_first"), shape, value.dtype)
    graph.set_inputs(node, inputs)
    graph.set_outputs(node, [inner])
    graph.insert_after(node, "Transpose", [inner], [value.name], {"perm": list(perm)})
    return True


def _lift_over_pad(graph: Graph, node: Node) -> bool:
    """Transpose(Pad(x)) -> Pad(Transpose(x)) on the way to channels first."""
    perm: list[int] = node.attrs["perm"]
    n = len(perm)
    pad = graph.producer(node.inputs[0])
    if n < 4 or perm != [0, n - 1, *range(1, n - 1)] or pad is None or pad.op != "Pad" or pad.host \
            or graph.only_consumer(pad.output) is not node:
        return False
    pads = _all_pads(graph, pad)
    if pads is None:
        return False
    source = pad.inputs[0]
    turned = before(graph, node, "Transpose", [source], [graph.shape(source)[p] for p in perm], graph.dtype(source),
                    {"perm": list(perm)})
    amounts = int_const(graph, pads[:, perm].reshape(-1).tolist(), f"{pad.output}_pads")
    mode = pad.attrs.get("mode", "constant")
    node.sources = pad.sources + [s for s in node.sources if s not in pad.sources]
    change(graph, node, "Pad", [turned, amounts, *pad.inputs[2:3]], {"mode": mode})
    return True


def _into_weights(graph: Graph, node: Node) -> bool:
    """MatMul(Reshape(Transpose(x)), w) -> MatMul(Reshape(x), w with its rows in the other order): pixels flattened."""
    flat, weight = graph.producer(node.inputs[0]), graph.const(node.inputs[1])
    if flat is None or flat.op != "Reshape" or weight is None or weight.ndim != 2 \
            or graph.only_consumer(flat.output) is not node:
        return False
    perm = _to_last(graph, flat.inputs[0])
    shape = graph.shape(flat.inputs[0])
    if perm is None or graph.shape(flat.output) != (shape[0], weight.shape[0]):
        return False
    rows = weight.reshape(*shape[1:], -1)
    order = [k - 1 for k in np.argsort(perm)[1:]]
    turned = rows.transpose(*order, rows.ndim - 1).reshape(weight.shape)
    graph.set_input(flat, 0, _below(graph, flat.inputs[0]))
    graph.set_input(node, 1, graph.add_const(np.ascontiguousarray(turned), f"{node.inputs[1]}_first"))
    return True
