"""Expansions of losses: the target class is picked by comparing it with every class."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.expand_reduce import give, wide
from compiler.passes.expansion import Expansion


def _likelihood(graph: Graph, node: Node) -> bool:
    """NegativeLogLikelihoodLoss of log probabilities [N, C, ...]."""
    make = Expansion(graph, node)
    return give(make, _loss(make, wide(make, node.inputs[0])))


def _cross_entropy(graph: Graph, node: Node) -> bool:
    """SoftmaxCrossEntropyLoss of scores [N, C, ...]; its second output is the log probabilities."""
    make = Expansion(graph, node)
    logs = make.unary("LogSoftmax", wide(make, node.inputs[0]), axis=1)
    return give(make, _loss(make, logs), logs if make.used(1) else "")


def _loss(make: Expansion, logs: str) -> str:
    """-weight[target] * logs[target], 0 where the target is ignored, reduced as the node says."""
    node, shape = make.node, make.shape(logs)
    # classes are small numbers: exact in float32
    target = make.cast(make.reshape(node.inputs[1], [shape[0], 1, *shape[2:]]), "float32")
    classes = np.arange(shape[1], dtype=np.float32).reshape([1, -1, *[1] * (len(shape) - 2)])
    hit = make.binary("Equal", target, make.const(classes))
    ignored = node.attrs.get("ignore_index")
    if ignored is not None:
        hit = make.binary("And", hit, make.unary("Not", make.binary("Equal", target, float(ignored))))
    picked = make.reduce("ReduceSum", make.where(hit, logs, make.const(0.0)), [1])
    loss = make.mul(picked, -1.0)
    kind = node.attrs.get("reduction", "mean")
    kind = kind.decode() if isinstance(kind, bytes) else kind
    weight = _weight(make, hit, shape) if node.input(2) or (kind == "mean" and ignored is not None) else ""
    if node.input(2):
        loss = make.mul(loss, weight)
    if kind == "none":
        return loss
    axes = range(len(shape))
    total = make.reduce("ReduceSum" if kind == "sum" or weight else "ReduceMean", loss, axes)
    return make.binary("Div", total, make.reduce("ReduceSum", weight, axes)) if kind == "mean" and weight else total


def _weight(make: Expansion, hit: str, shape: tuple[int, ...]) -> str:
    """The weight of each target's class, 0 where it is ignored."""
    name = make.node.input(2)
    if not name:
        return make.reduce("ReduceMax", make.cast(hit, "float32"), [1])
    vector = make.reshape(wide(make, name), [1, shape[1], *[1] * (len(shape) - 2)])
    return make.reduce("ReduceSum", make.where(hit, vector, make.const(0.0)), [1])


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "NegativeLogLikelihoodLoss": _likelihood,
    "SoftmaxCrossEntropyLoss": _cross_entropy,
}
