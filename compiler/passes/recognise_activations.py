"""Gelu (erf and tanh form), Silu, HardSwish and Mish from the operators they are exported as.

`Silu` is x * sigmoid(x), a form of our own (ONNX has it as Swish from opset 24 on).
"""
from __future__ import annotations

import math

from compiler.ir import Graph, Node
from compiler.passes.patterns import Product, near, plus_one, product, same_const
from compiler.passes.rewrite import change, scalar


def run(graph: Graph) -> int:
    """Returns the number of activations found."""
    found = 0
    for node in graph:
        if node.op == "Swish" and node.attrs.get("alpha", 1.0) == 1.0:
            change(graph, node, "Silu")
            found += 1
        elif node.op in ("Mul", "Div") and not node.domain and any(node.outputs):
            found += _match(graph, node)
            graph.remove_dead()
    return found


def _match(graph: Graph, node: Node) -> int:
    tree = product(graph, node.output)
    if len(tree.leaves) != 2:
        return 0
    for x, gate in (tree.leaves, tree.leaves[::-1]):
        if graph.shape(x) != graph.shape(node.output):
            continue
        found = _gated(graph, tree.factor, x, gate)
        if found is None:
            continue
        op, attrs, extra = found
        sources = [s for n in reversed([*tree.nodes, *extra]) for s in n.sources]
        change(graph, node, op, [x], attrs)
        node.sources = list(dict.fromkeys(sources))
        return 1
    return 0


def _gated(graph: Graph, factor: float, x: str, gate: str) -> tuple[str, dict[str, object], list[Node]] | None:
    """What factor * x * gate is, with the further nodes it covers."""
    if near(factor, 0.5):
        erf, tanh = plus_one(graph, gate, "Erf"), plus_one(graph, gate, "Tanh")
        if erf is not None and _is_scaled(product(graph, erf.inputs[0]), math.sqrt(0.5), x):
            return "Gelu", {"approximate": "none"}, _below(graph, gate, x)
        if tanh is not None and _is_gelu_argument(graph, tanh.inputs[0], x):
            return "Gelu", {"approximate": "tanh"}, _below(graph, gate, x)
    node = graph.producer(gate)
    if node is None:
        return None
    if near(factor, 1.0):
        if node.op == "Sigmoid" and node.inputs[0] == x:
            return "Silu", {}, [node]
        if node.op == "HardSigmoid" and node.inputs[0] == x and near(node.attrs["alpha"], 1 / 6) \
                and near(node.attrs["beta"], 0.5):
            return "HardSwish", {}, [node]
        inner = graph.producer(node.inputs[0])
        if node.op == "Tanh" and inner is not None and inner.op == "Softplus" and inner.inputs[0] == x:
            return "Mish", {}, [node, inner]
    if near(factor, 1 / 6) and _is_shifted_relu6(graph, node, x):
        return "HardSwish", {}, _below(graph, gate, x)
    return None


def _is_scaled(tree: Product, factor: float, x: str) -> bool:
    return tree.leaves == [x] and near(tree.factor, factor)


def _is_gelu_argument(graph: Graph, name: str, x: str) -> bool:
    """sqrt(2/pi) * (x + 0.044715 x^3), or x * (sqrt(2/pi) * (1 + 0.044715 x^2))."""
    outer = product(graph, name)
    if not near(outer.factor, math.sqrt(2 / math.pi)):
        return False
    leaves = list(outer.leaves)
    power = 2 if x in leaves and len(leaves) == 2 else 3
    if power == 2:
        leaves.remove(x)
    total = graph.producer(leaves[0]) if len(leaves) == 1 else None
    if total is None or total.op != "Add":
        return False
    for plain, cubic in (total.inputs, total.inputs[::-1]):
        tree = product(graph, cubic)
        first = plain == x if power == 3 else same_const(graph, plain, 1.0)
        if first and tree.leaves == [x] * power and near(tree.factor, 0.044715):
            return True
    return False


def _is_shifted_relu6(graph: Graph, node: Node, x: str) -> bool:
    if node.op != "Clip" or scalar(graph, node.input(1)) != 0.0 or scalar(graph, node.input(2)) != 6.0:
        return False
    shifted = graph.producer(node.inputs[0])
    return shifted is not None and shifted.op == "Add" and x in shifted.inputs and any(
        scalar(graph, i) == 3.0 for i in shifted.inputs)


def _below(graph: Graph, name: str, stop: str) -> list[Node]:
    """Nodes between `stop` (exclusive) and `name`."""
    found: list[Node] = []
    stack = [name]
    while stack:
        current = stack.pop()
        node = graph.producer(current)
        if current != stop and node is not None and node not in found:
            found.append(node)
            stack += [i for i in node.inputs if i]
    return sorted(found, key=graph.nodes.index, reverse=True)
