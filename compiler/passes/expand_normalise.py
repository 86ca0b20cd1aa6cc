"""Expansions of normalisations and softmax's relatives, by the moments of the data and a scale and a shift."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes import expand_losses
from compiler.passes.expand_reduce import give, norm, wide
from compiler.passes.expansion import Expansion
from compiler.passes.fuse_affine import batch_norm


def _per_channel(make: Expansion, name: str, rank: int) -> str:
    """A vector of channels in float32 as [1, C, 1, ...]."""
    return make.reshape(make.cast(name, "float32"), [1, *make.shape(name), *[1] * (rank - 2)])


def _moments(make: Expansion, x: str, axes: Sequence[int], groups: int = 0) -> tuple[str, str]:
    """Mean and population variance, float32, axes kept with size 1."""
    graph, name = make.graph, make.node.name
    shape = [1 if a in axes else n for a, n in enumerate(make.shape(x))]
    mean, variance = (graph.add_value(graph.fresh_name(f"{name}_{what}"), shape, "float32")
                      for what in ("mean", "variance"))
    graph.insert_before(make.node, "Moments", [x], [mean, variance], {"axes": list(axes), "groups": groups})
    return mean, variance


def _scaled(make: Expansion, x: str, moments: tuple[str, str], scale: str, bias: str) -> str:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, in one pass over x."""
    mean, variance = moments
    deviation = make.unary("Sqrt", make.add(variance, make.node.attrs.get("epsilon", 1e-5)))
    factor = make.mul(make.unary("Reciprocal", deviation), scale)
    shift = make.sub(bias, make.mul(mean, factor))
    return make.op("ScaleShift", [x, factor, shift], make.shape(x))


def _batch_norm(graph: Graph, node: Node) -> bool:
    """With known parameters an Affine, else a scale and a shift computed at run time; training uses the batch's own."""
    rank = len(graph.shape(node.inputs[0]))
    if rank < 2:
        return False
    if not node.attrs.get("training_mode"):
        return bool(batch_norm(graph, node)) or _inference(graph, node, rank)
    make = Expansion(graph, node)
    x, scale, bias, *running = node.inputs
    moments = _moments(make, x, [a for a in range(rank) if a != 1])
    momentum = float(node.attrs.get("momentum", 0.9))
    updated = []
    for old, new in zip(running, moments, strict=True):
        kept = make.mul(make.cast(old, "float32"), momentum)
        updated.append(make.add(kept, make.mul(make.reshape(new, make.shape(old)), 1.0 - momentum)))
    result = _scaled(make, x, moments, *(_per_channel(make, i, rank) for i in (scale, bias)))
    return give(make, *(r if make.used(k) else "" for k, r in enumerate((result, *updated))))


def _inference(graph: Graph, node: Node, rank: int) -> bool:
    make = Expansion(graph, node)
    scale, bias, mean, variance = (_per_channel(make, i, rank) for i in node.inputs[1:5])
    return give(make, _scaled(make, node.inputs[0], (mean, variance), scale, bias))


def _group_norm(graph: Graph, node: Node) -> bool:
    """GroupNormalization, and InstanceNormalization as groups of one channel."""
    x, scale, bias = node.inputs[:3]
    shape = graph.shape(x)
    groups = int(node.attrs.get("num_groups", shape[1]))
    if graph.shape(scale) != (shape[1],):  # before version 21 it was one number for each group
        return False
    make = Expansion(graph, node)
    rank = max(3, len(shape))
    x = make.reshape(x, [*shape, *[1] * (rank - len(shape))])
    moments = _moments(make, x, range(2, rank), 0 if groups == shape[1] else groups)
    return give(make, _scaled(make, x, moments, *(_per_channel(make, i, rank) for i in (scale, bias))))


def _mean_variance(graph: Graph, node: Node) -> bool:
    """(x - mean) / (deviation + 1e-9)."""
    rank = len(graph.shape(node.inputs[0]))
    axes = sorted({a % rank for a in node.attrs.get("axes", [0, 2, 3])})
    make = Expansion(graph, node)
    x = wide(make, node.inputs[0])
    mean, variance = _moments(make, x, axes)
    inverse = make.unary("Reciprocal", make.add(make.unary("Sqrt", variance), 1e-9))
    return give(make, make.mul(make.sub(x, mean), inverse))


def _lp(graph: Graph, node: Node) -> bool:
    """x / norm along one axis; 0 where the norm is 0."""
    rank = len(graph.shape(node.inputs[0]))
    if not rank:
        return False
    make = Expansion(graph, node)
    x = wide(make, node.inputs[0])
    length = norm(make, x, [node.attrs.get("axis", -1) % rank], node.attrs.get("p", 2))
    one = make.const(1.0, make.dtype(x))
    return give(make, make.binary("Div", x, make.where(make.binary("Equal", length, 0.0), one, length)))


def _hardmax(graph: Graph, node: Node) -> bool:
    """1 at the first largest element along an axis, else 0."""
    shape = graph.shape(node.inputs[0])
    if not shape:
        return False
    axis = node.attrs.get("axis", -1) % len(shape)
    make = Expansion(graph, node)
    kept = [1 if a == axis else n for a, n in enumerate(shape)]
    first = make.op("ArgMax", [node.inputs[0]], kept, "int64", axis=axis, keepdims=1, select_last_index=0)
    index = np.arange(shape[axis], dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return give(make, make.binary("Equal", make.cast(first, "float32"), make.const(index)))


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "Hardmax": _hardmax,
    "InstanceNormalization": _group_norm,
    "LpNormalization": _lp,
    "MeanVarianceNormalization": _mean_variance,
    **expand_losses.RULES,
}
