"""A convolution of pixels made channels (every s-th pixel by each of s x s slices) is one of the image itself.

Its kernel is s times as large and steps s times as far. Detectors begin this way ("focus"); taking every second pixel
of an image apart would cost more than the convolution.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import adopt


@dataclass(frozen=True)
class Phase:
    """The pixels starts[a], starts[a] + steps[a], ... of the image `source`, to its end; a per spatial axis."""

    source: str
    starts: tuple[int, ...]
    steps: tuple[int, ...]


def run(graph: Graph) -> int:
    """Returns the number of convolutions that read the image itself afterwards."""
    folded = sum(_fold(graph, node) for node in graph if node.op == "Conv" and not node.domain)
    if folded:
        graph.remove_dead()
    return folded


def _fold(graph: Graph, node: Node) -> int:
    concat, weight = graph.producer(node.inputs[0]), graph.const(node.inputs[1])
    if concat is None or concat.op != "Concat" or weight is None or graph.only_consumer(concat.output) is not node:
        return 0
    if node.attrs.get("group", 1) != 1 or any(d != 1 for d in node.attrs["dilations"]):
        return 0
    phases = [p for name in concat.inputs if (p := _phase(graph, name)) is not None]
    steps = phases[0].steps if phases else ()
    joined = concat.attrs["axis"] % weight.ndim == 1 and len(phases) == len(concat.inputs) == prod(steps)
    if not joined or len(set(phases)) < len(phases) or len({(p.source, p.steps) for p in phases}) > 1:
        return 0  # every pixel has to be there once
    if prod(steps) == 1:
        return 0
    source = phases[0].source
    whole = np.zeros((weight.shape[0], graph.shape(source)[1], *np.multiply(weight.shape[2:], steps)), weight.dtype)
    for phase, part in zip(phases, np.split(weight, len(phases), axis=1), strict=True):
        every = tuple(slice(lo, None, step) for lo, step in zip(phase.starts, steps, strict=True))
        whole[(slice(None), slice(None), *every)] = part
    node.attrs["kernel_shape"] = list(whole.shape[2:])
    node.attrs["strides"] = [int(a * s) for a, s in zip(node.attrs["strides"], steps, strict=True)]
    node.attrs["pads"] = [int(a * s) for a, s in zip(node.attrs["pads"], steps * 2, strict=True)]
    adopt(node, *(n for name in concat.inputs for n in _slices(graph, name)), concat)
    graph.set_input(node, 1, graph.add_const(whole, node.inputs[1]))
    graph.set_input(node, 0, source)
    return 1


def _slices(graph: Graph, name: str) -> list[Node]:
    """The Slices one after the other that make a value, the first one first."""
    found: list[Node] = []
    while (node := graph.producer(name)) is not None and node.op == "Slice" and not node.domain:
        found.insert(0, node)
        name = node.inputs[0]
    return found


def _phase(graph: Graph, name: str) -> Phase | None:
    """What Slices by constants leave of an image, None when that is no phase of all its pixels."""
    slices = _slices(graph, name)
    if not slices:
        return None
    source = slices[0].inputs[0]
    left = [range(n) for n in graph.shape(source)]
    for node in slices:
        given = [graph.const(i) for i in node.inputs[1:]]
        if any(g is None for g in given):
            return None
        starts, ends = (g.tolist() for g in given[:2] if g is not None)
        axes = given[2].tolist() if len(given) > 2 and given[2] is not None else range(len(starts))
        steps = given[3].tolist() if len(given) > 3 and given[3] is not None else [1] * len(starts)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            if step < 1:
                return None
            left[axis % len(left)] = left[axis % len(left)][start:end:step]
    sizes = graph.shape(source)
    complete = all(
        r.start < r.step and len(r) * r.step == n and (a > 1 or r.step == 1)
        for a, (r, n) in enumerate(zip(left, sizes, strict=True))
    )
    return Phase(source, tuple(r.start for r in left[2:]), tuple(r.step for r in left[2:])) if complete else None
