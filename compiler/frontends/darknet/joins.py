"""Layers that take several layers, or only pass one on: route, shortcut, scale_channels, sam, implicit, history ..."""

from __future__ import annotations

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.darknet.activations import activate
from compiler.frontends.darknet.cfg import Section
from compiler.frontends.darknet.net import MOST_CHANNELS, Layer, Net, layer, unfit


@layer("route")
def _route(net: Net, section: Section, before: Layer) -> Layer:
    """Channels of several images one after the other, or rows of numbers where the images differ in size."""
    sources = [net.at(section, k) for k in section.integers("layers")]
    groups = section.integer("groups", 1, 1, MOST_CHANNELS)
    group = section.integer("group_id", 0, 0, groups - 1)
    sizes = {None if s.image is None else s.image[1:] for s in sources}
    if len(sizes) > 1 or None in sizes or any(s.image and s.image[0] % groups for s in sources):
        return net.flat(net.concat([_part(net, net.row(s), s.size, groups, group) for s in sources], 1), section)
    if len(sources) == 1 and groups == 1:
        return sources[0]
    parts = []
    for source in sources:
        value, c, _, _ = net.pixels(source, section)
        parts.append(_part(net, value, c, groups, group))
    return net.image(net.concat(parts, 1), section)


def _part(net: Net, value: str, size: int, groups: int, group: int) -> str:
    return net.slice(value, 1, size // groups * group, size // groups * (group + 1))


@layer("shortcut")
def _shortcut(net: Net, section: Section, before: Layer) -> Layer:
    value, c, h, w = net.pixels(before, section)
    sources = [net.pixels(net.at(section, k), section) for k in section.integers("from")]
    factors = _factors(net, section, len(sources) + 1, c)
    if factors is not None:
        value = net.b.op("Mul", [value, factors[0]])
    for k, (other, *image) in enumerate(sources):
        if factors is not None:
            _same(section, tuple(image), (c, h, w))
            other = net.b.op("Mul", [other, factors[k + 1]])
        value = _added(net, section, value, other, (c, h, w), (image[0], image[1], image[2]))
    return net.image(activate(net, section, value, "linear"), section)


def _added(net: Net, section: Section, value: str, other: str, to: tuple[int, int, int],
           of: tuple[int, int, int]) -> str:
    """alpha * value + beta * other, where `other` has numbers; what it has none for stays (shortcut_cpu in blas.c).

    A larger image gives every stride-th pixel, those of a smaller one are spread out.
    """
    alpha, beta = section.real("alpha", 1), section.real("beta", 1)
    other = net.scaled(other, beta)
    if to == of:
        return net.b.op("Add", [net.scaled(value, alpha), other])
    stride, sample = of[2] // to[2], to[2] // of[2]
    if stride != of[1] // to[1] or sample != to[1] // of[1]:
        raise unfit(section, "heights and widths of the images have different ratios", to, of)
    c, rows, columns = (min(a, b) for a, b in zip(to, of, strict=True))
    stride, sample = max(stride, 1), max(sample, 1)
    other = net.slice(other, 1, 0, c)
    for axis, count in ((2, rows), (3, columns)):
        other = net.slice(other, axis, 0, (count - 1) * stride + 1, stride)
    touched = np.zeros((1, *to), np.float32) if alpha != 1 else None
    if touched is not None:
        touched[:, :c, : rows * sample : sample, : columns * sample : sample] = alpha - 1
        value = net.b.op("Mul", [value, touched + 1])
    return net.b.op("Add", [value, _spread(net, other, to, (c, rows, columns), sample)])


def _spread(net: Net, value: str, to: tuple[int, int, int], of: tuple[int, int, int], sample: int) -> str:
    """Pixels `sample` apart, with zeros between them and after them up to the size `to`."""
    c, h, w = of
    if sample > 1:
        value = net.reshape(value, net.rows, c, h, 1, w, 1)
        value = net.b.op("Pad", [value, np.array([0] * 9 + [sample - 1, 0, sample - 1], np.int64)])
        h, w = h * sample, w * sample
        value = net.reshape(value, net.rows, c, h, w)
    pads = [0] * 5 + [to[0] - c, to[1] - h, to[2] - w]
    return net.b.op("Pad", [value, np.array(pads, np.int64)]) if any(pads) else value


def _factors(net: Net, section: Section, count: int, c: int) -> list[np.ndarray] | None:
    """What AlexeyAB's `weights_type` multiplies the images with: numbers, or one per channel [c, 1, 1]."""
    kind = section.text("weights_type", "none")
    if kind == "none":
        return None
    if kind not in ("per_feature", "per_layer", "per_channel"):
        raise ModelError("unknown weights of a shortcut", code="CFG_VALUE", where=section.where, actual=kind,
                         limit="none, per_feature, per_layer, per_channel")
    width = c if kind == "per_channel" else 1
    weights = net.weights.take(section.name, "weights", count, width)
    rule = section.text("weights_normalization", "none")
    if rule in ("relu", "avg_relu"):
        weights = np.maximum(weights, 0)
    elif rule == "softmax":
        weights = np.exp(weights - weights.max(axis=0))
    if rule != "none":
        weights = weights / (weights.sum(axis=0) + np.float32(1e-4))
    return [w.reshape(-1, 1, 1) for w in weights]


@layer("scale_channels")
def _scale_channels(net: Net, section: Section, before: Layer) -> Layer:
    """Another layer's image times one number per channel, or per pixel with `scale_wh`."""
    value, c, h, w = net.pixels(before, section)
    other, *image = net.pixels(net.at(section, section.integers("from")[0]), section)
    if section.integer("scale_wh", 0):
        _same(section, (1, *image[1:]), (c, h, w))
    else:
        _same(section, (image[0], 1, 1), (c, h, w))
    return net.image(activate(net, section, net.b.op("Mul", [other, value]), "linear"), section)


@layer("sam")
def _sam(net: Net, section: Section, before: Layer) -> Layer:
    value, *image = net.pixels(before, section)
    other, *of = net.pixels(net.at(section, section.integers("from")[0]), section)
    _same(section, tuple(of), tuple(image))
    return net.image(activate(net, section, net.b.op("Mul", [value, other]), "linear"), section)


def _same(section: Section, expected: tuple[int, ...], actual: tuple[int, ...]) -> None:
    if expected != actual:
        raise unfit(section, "the images of two layers do not fit each other", expected, actual)


@layer("implicit")
def _implicit(net: Net, section: Section, before: Layer) -> Layer:
    """Numbers of the file, the same for every input: an image [filters, atoms, 1]."""
    shape = (section.integer("filters", 128, 1, MOST_CHANNELS), section.integer("atoms", 1, 1, MOST_CHANNELS), 1)
    weights = net.weights.take(section.name, "weights", *shape)
    return net.image(net.b.op("Expand", [weights[None], np.array([net.rows, *shape], np.int64)]), section)


@layer("history")
def _history(net: Net, section: Section, before: Layer) -> Layer:
    """The image of this step and those of the steps before, newest first; zeros before the first step."""
    value, c, h, w = net.pixels(before, section)
    size = section.integer("history_size", 4, 1, 1 << 10)
    net.check(section, c * size, h, w)
    batch = net.rows // net.steps
    parts = [value]
    for age in range(1, size):
        absent = min(age, net.steps) * batch
        kept = [net.slice(value, 0, 0, net.rows - absent)] if absent < net.rows else []
        parts.append(net.concat([net.zeros(absent, c, h, w), *kept], 0))
    return net.image(net.concat(parts, 1), section)


@layer("dropout", "cost", "contrastive", "empty")
def _passes(net: Net, section: Section, before: Layer) -> Layer:
    """What matters in training only."""
    return before
