"""Layers that normalise or bend what comes in: activation, logistic, softmax, l2norm, normalization."""

from __future__ import annotations

import numpy as np

from compiler.frontends.darknet.activations import activate
from compiler.frontends.darknet.cfg import Section
from compiler.frontends.darknet.net import Layer, Net, layer, unfit
from compiler.frontends.darknet.tree import read_tree

_MOST_NORMALISED = 4096  # channels of [normalization], whose windows are written as a square matrix


@layer("activation")
def _activation(net: Net, section: Section, before: Layer) -> Layer:
    return net.like(before, activate(net, section, before.value, "linear"))


@layer("logistic")
def _logistic(net: Net, section: Section, before: Layer) -> Layer:
    return net.like(before, net.b.op("Sigmoid", [before.value]))


@layer("l2norm")
def _l2norm(net: Net, section: Section, before: Layer) -> Layer:
    """Every pixel over the length of its channels."""
    value = net.pixels(before, section)[0]
    return net.image(net.b.op("Div", [value, net.b.op("ReduceL2", [value, np.array([1], np.int64)])]), section)


@layer("softmax")
def _softmax(net: Net, section: Section, before: Layer) -> Layer:
    """Over all numbers, over those of each of some groups or branches of a tree, or over the channels of each pixel.

    `spatial` is what the library does on GPUs; on CPUs it leaves the option out.
    """
    factor = 1 / (section.real("temperature", 1) or 1)
    if section.has("tree"):
        sizes = read_tree(net.weights.path.parent, section, before.size)
        return net.flat(softmax_parts(net, net.scaled(net.row(before), factor), sizes, 1), section)
    if section.real("spatial", 0):
        value = net.scaled(net.pixels(before, section)[0], factor)
        y = net.b.op("Softmax", [value], axis=1)
        return net.flat(net.reshape(y, net.rows, before.size), section)
    groups = section.integer("groups", 1, 1)
    if before.size % groups:
        raise unfit(section, "the groups do not divide what comes in", before.size, groups)
    rows = net.reshape(net.scaled(net.row(before), factor), net.rows * groups, before.size // groups)
    return net.flat(net.reshape(net.b.op("Softmax", [rows], axis=1), net.rows, before.size), section)


def softmax_parts(net: Net, value: str, sizes: list[int], axis: int) -> str:
    """A softmax for each of the parts that lie one after the other along an axis.

    A tree has thousands of parts and few sizes: parts of one size are brought together and computed at once.
    """
    order = np.argsort(sizes, kind="stable")
    starts = np.cumsum([0, *sizes])
    moved = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in order])
    straight = bool((moved == np.arange(len(moved))).all())
    value = value if straight else net.b.op("Gather", [value, moved], axis=axis)
    before, after = net.b.shape(value)[:axis], net.b.shape(value)[axis + 1 :]
    done, start = [], 0
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        part = net.slice(value, axis, start, start + int(size * count))
        y = net.b.op("Softmax", [net.reshape(part, *before, int(count), int(size), *after)], axis=axis + 1)
        done.append(net.reshape(y, *before, int(size * count), *after))
        start += int(size * count)
    whole = net.concat(done, axis)
    return whole if straight else net.b.op("Gather", [whole, np.argsort(moved)], axis=axis)


@layer("normalization")
def _normalization(net: Net, section: Section, before: Layer) -> Layer:
    """Local response normalisation as the library computes it: x * (kappa + alpha * sum of squares)^-beta.

    The sum is over channels k - (size - 1) / 2 to k + size / 2. The library keeps it as a running sum and leaves out
    the square of channel size / 2 when it starts, so every sum lacks that one (forward_normalization_layer).
    """
    value, c, _, _ = net.pixels(before, section)
    size = section.integer("size", 5, 1, 2 * c + 1)
    if c > _MOST_NORMALISED:
        raise unfit(section, "too many channels to normalise", _MOST_NORMALISED, c)
    out, of = np.arange(c)[:, None], np.arange(c)[None, :]
    inside = (of >= out - (size - 1) // 2) & (of <= out + size // 2)
    sums = (inside.astype(np.float32) - (of == size // 2)) * np.float32(section.real("alpha", 0.0001))
    kappa = np.full(c, section.real("kappa", 1), np.float32)
    b = net.b
    squares = b.op("Mul", [value, value])
    norms = b.op("Conv", [squares, sums.astype(np.float32).reshape(c, c, 1, 1), kappa], kernel_shape=[1, 1])
    return net.image(b.op("Mul", [value, b.op("Pow", [norms, np.float32(-section.real("beta", 0.75))])]), section)
