"""Heads of detectors. What comes out is what the library's own layer holds, before boxes are made of it."""

from __future__ import annotations

import numpy as np

from compiler.frontends.darknet.cfg import Section
from compiler.frontends.darknet.net import MOST_CHANNELS, Layer, Net, layer, unfit
from compiler.frontends.darknet.norms import softmax_parts
from compiler.frontends.darknet.tree import read_tree

#: Layers that are results of a model, wherever they stand.
HEADS = ("yolo", "Gaussian_yolo", "region", "detection", "iseg")


@layer("yolo")
def _yolo(net: Net, section: Section, before: Layer) -> Layer:
    """By anchor: x, y, w, h, objectness, classes. Logistic on all but w and h; none with `new_coords`."""
    logistic = [True, True, False, False, True] + [True] * _classes(section)
    if section.integer("new_coords", 0):
        logistic = [False] * len(logistic)
    return _anchors(net, section, before, _boxes(section), logistic, [True, True])


@layer("Gaussian_yolo")
def _gaussian_yolo(net: Net, section: Section, before: Layer) -> Layer:
    """By anchor: mean and deviation of x, y, w, h, then objectness, classes. Logistic on all but the means of w, h."""
    logistic = [True] * 4 + [False, True, False, True, True] + [True] * _classes(section)
    return _anchors(net, section, before, _boxes(section), logistic, [True, False, True])


def _classes(section: Section) -> int:
    return section.integer("classes", 20, 1, MOST_CHANNELS)


def _boxes(section: Section) -> int:
    """Anchors of a head: those of its mask, or all."""
    return len(section.integers("mask")) if section.has("mask") else section.integer("num", 1, 1, MOST_CHANNELS)


def _anchors(net: Net, section: Section, before: Layer, count: int, logistic: list[bool], scaled: list[bool]) -> Layer:
    """Logistic on some entries of every anchor, then `scale_x_y` on those that `scaled` begins with."""
    value, c, _, _ = net.pixels(before, section)
    if c != count * len(logistic):
        raise unfit(section, "filters= of the layer before do not fit classes= and mask= (or num=)",
                    f"{count} x {len(logistic)} channels", c)
    if all(logistic):
        value = net.b.op("Sigmoid", [value])
    elif any(logistic):
        chosen = np.tile(logistic, count).reshape(1, c, 1, 1)
        value = net.b.op("Where", [chosen, net.b.op("Sigmoid", [value]), value])
    scale = section.real("scale_x_y", 1)
    if scale != 1:
        of = np.tile([*scaled, *[False] * (len(logistic) - len(scaled))], count).reshape(1, c, 1, 1)
        value = net.b.op("Mul", [value, np.where(of, scale, 1).astype(np.float32)])
        value = net.b.op("Add", [value, np.where(of, (1 - scale) / 2, 0).astype(np.float32)])
    return net.image(value, section)


@layer("region")
def _region(net: Net, section: Section, before: Layer) -> Layer:
    """By anchor: x, y, further coordinates, objectness, classes. Logistic on x, y, objectness, and on classes unless
    they go through a softmax. With `background` the objectness is a class of the softmax."""
    value, c, h, w = net.pixels(before, section)
    count, coords = section.integer("num", 1, 1, MOST_CHANNELS), section.integer("coords", 4, 2, MOST_CHANNELS)
    classes = _classes(section)
    entries = coords + 1 + classes
    if c != count * entries:
        raise unfit(section, "filters= of the layer before do not fit classes=, coords= and num=",
                    f"{count} x {entries} channels", c)
    value = net.reshape(value, net.rows, count, entries, h * w)
    background = bool(section.integer("background", 0))
    place = net.b.op("Sigmoid", [net.slice(value, 2, 0, 2)])
    parts = [place, net.slice(value, 2, 2, coords)] if coords > 2 else [place]
    objectness = net.slice(value, 2, coords, coords + 1)
    rest = net.slice(value, 2, coords + 1, entries)
    if section.has("tree"):
        sizes = read_tree(net.weights.path.parent, section, classes)
        parts += [_unless(net, background, objectness), softmax_parts(net, rest, sizes, 2)]
    elif section.integer("softmax", 0):
        both = net.slice(value, 2, coords, entries)
        parts += ([net.b.op("Softmax", [both], axis=2)] if background else
                  [net.b.op("Sigmoid", [objectness]), net.b.op("Softmax", [rest], axis=2)])  # fmt: skip
    else:
        parts += [_unless(net, background, objectness), net.b.op("Sigmoid", [rest])]
    return net.image(net.reshape(net.concat(parts, 2), net.rows, c, h, w), section)


def _unless(net: Net, plain: bool, value: str) -> str:
    return value if plain else net.b.op("Sigmoid", [value])


@layer("detection")
def _detection(net: Net, section: Section, before: Layer) -> Layer:
    """Of the first YOLO: side * side * classes probabilities, then objectness, then boxes."""
    side, classes = section.integer("side", 7, 1, 1 << 15), section.integer("classes", 1, 1, MOST_CHANNELS)
    count, coords = section.integer("num", 1, 1, MOST_CHANNELS), section.integer("coords", 1, 1, MOST_CHANNELS)
    size = side * side * ((1 + coords) * count + classes)
    if size != before.size:
        raise unfit(section, "the layer before does not fit side=, num=, coords= and classes=", size, before.size)
    value = net.row(before)
    if section.integer("softmax", 0):
        end = side * side * classes
        rows = net.reshape(net.slice(value, 1, 0, end), net.rows * side * side, classes)
        classes_of = net.reshape(net.b.op("Softmax", [rows], axis=1), net.rows, end)
        value = net.concat([classes_of, net.slice(value, 1, end, size)], 1)
    return net.flat(value, section)


@layer("iseg")
def _iseg(net: Net, section: Section, before: Layer) -> Layer:
    """Logistic on the classes; the numbers that tell instances apart stay."""
    value, c, _, _ = net.pixels(before, section)
    classes, ids = _classes(section), section.integer("ids", 32, 0, MOST_CHANNELS)
    if c != classes + ids:
        raise unfit(section, "filters= of the layer before do not fit classes= and ids=", classes + ids, c)
    found = net.b.op("Sigmoid", [net.slice(value, 1, 0, classes)])
    return net.image(net.concat([found, net.slice(value, 1, classes, c)] if ids else [found], 1), section)
