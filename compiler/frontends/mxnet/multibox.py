"""SSD's operators: prior boxes, and detections out of class scores and box offsets."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.mxnet.boxes import Ranked, columns, in_order, kept, packed
from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.pieces import cut, joined


@operator("_contrib_MultiBoxPrior", "_npx_multibox_prior")
def multibox_prior(c: Call) -> str:
    """Boxes of every size and ratio at every place of a map, (1, places x boxes, 4) as left, top, right, bottom.

    Constants: they depend on the map's shape alone (src/operator/contrib/multibox_prior.cc).
    """
    rows, columns = c.shape()[2:]
    sizes, ratios = c.floats("sizes", (1.0,)), c.floats("ratios", (1.0,))
    steps, offsets = c.floats("steps", (-1.0, -1.0)), c.floats("offsets", (0.5, 0.5))
    step_y, step_x = (1 / n if s <= 0 else s for n, s in zip((rows, columns), steps, strict=True))
    first = math.sqrt(ratios[0])
    forms = [(s, first) for s in sizes] + [(sizes[0], math.sqrt(r)) for r in ratios[1:]]
    half = np.array([(s * rows / columns * r / 2, s / r / 2) for s, r in forms])
    y, x = ((np.arange(n) + o) * s for n, o, s in zip((rows, columns), offsets, (step_y, step_x), strict=True))
    centre = np.stack(np.meshgrid(x, y), axis=-1)[:, :, None]
    boxes = np.concatenate([centre - half, centre + half], axis=-1).reshape(1, -1, 4)
    return c.b.add(c.like(c.x, np.clip(boxes, 0, 1) if c.flag("clip") else boxes))


@operator("_contrib_MultiBoxDetection", "_npx_multibox_detection")
def multibox_detection(c: Call) -> str:
    """(batch, anchors, 6): class, score, box; class -1 where suppressed (src/operator/contrib/multibox_detection.cc).

    Detections come in the order of anchors and are then sorted by score, the first `nms_topk` of them; behind those
    the order stays that of anchors, without a class. Rows without a detection are -1 throughout.
    """
    scores = cut(c, c[0], [1], [c.shape(0)[1]], [1])  # class 0 is the background
    batch, classes, anchors = c.shape(scores)
    score = c.do("ReduceMax", scores, np.array([1]), keepdims=0)
    label = c.do("ArgMax", scores, axis=1, keepdims=0)
    found = c.do("GreaterOrEqual", score, c.like(score, c.real("threshold", 0.01)))
    boxes = _located(c, c.reshape(c[1], [batch, anchors, 4]), c[2])
    apart = [c.reshape(v, [batch, anchors, 1]) for v in (c.cast(label, c.dtype(score)), score)]
    rows = c.do("Concat", *apart, boxes, axis=2)
    threshold, topk = c.real("nms_threshold", 0.5), c.integer("nms_topk", -1)
    suppress = 0 < threshold <= 1
    count = (min(topk, anchors) if topk > 0 else anchors) if suppress else 0
    parts = [_suppressed(c, rows, found, count, classes, threshold)] if count else []
    if count < anchors:
        rest = cut(c, _listed(c, rows, found), [count], [anchors], [1])
        parts.append(_without_class(c, rest) if suppress else rest)
    return joined(c, parts, 1)


def _listed(c: Call, rows: str, found: str) -> str:
    """The rows that are detections, in the order of anchors, then rows of -1."""
    batch, anchors = c.shape(found)
    return packed(c, c.do("Where", c.reshape(found, [batch, anchors, 1]), rows, c.like(rows, -1)), found)


def _without_class(c: Call, rows: str) -> str:
    batch, count, width = c.shape(rows)
    return c.do("Concat", np.full((batch, count, 1), c.like(rows, -1)), columns(c, rows, 1, width), axis=2)


def _suppressed(c: Call, rows: str, found: str, count: int, classes: int, threshold: float) -> str:
    """The best `count` detections sorted by score; class -1 where a better one of the class overlaps."""
    batch, empty, lowest = c.shape(found)[0], c.like(rows, -1), c.like(rows, -2)
    score = c.do("Where", found, columns(c, rows, 1), lowest)
    best, order = c.b.ops("TopK", [score, np.array([count])], 2, axis=1)
    there, rows = c.do("Greater", best, lowest), in_order(c, rows, order)
    kinds = None if c.flag("force_suppress") else columns(c, rows, 0)
    # suppressed from this overlap on: that is, above the next smaller number
    overlap = float(np.nextafter(np.float32(threshold), np.float32(0)))
    stays = kept(c, Ranked(columns(c, rows, 2, 6), there, kinds, classes), overlap)
    marked = c.do("Where", c.reshape(stays, [batch, count, 1]), columns(c, rows, 0, 1), empty)
    rest = c.do("Where", c.reshape(there, [batch, count, 1]), columns(c, rows, 1, 6), empty)
    return c.do("Concat", marked, rest, axis=2)


def _located(c: Call, offsets: str, anchors: str) -> str:
    """Boxes (batch, anchors, 4) from what the network predicts relative to its anchors."""
    variances = c.floats("variances", (0.1, 0.1, 0.2, 0.2))
    lower, upper = columns(c, anchors, 0, 2), columns(c, anchors, 2, 4)
    size, centre = c.do("Sub", upper, lower), c.do("Mul", c.do("Add", lower, upper), c.like(lower, 0.5))
    scaled = c.do("Mul", offsets, c.like(offsets, variances))
    moved, grown = columns(c, scaled, 0, 2), columns(c, scaled, 2, 4)
    middle = c.do("Add", c.do("Mul", moved, size), centre)
    half = c.do("Mul", c.do("Exp", grown), c.do("Mul", size, c.like(size, 0.5)))
    found = c.do("Concat", c.do("Sub", middle, half), c.do("Add", middle, half), axis=2)
    return c.do("Clip", found, c.like(found, 0), c.like(found, 1)) if c.flag("clip", True) else found
