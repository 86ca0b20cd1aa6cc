"""Boxes: overlap, coding, and non-maximum suppression in the forms that MXNet has.

Suppression is ONNX's NonMaxSuppression, which the host runs: it takes boxes in the order of their scores, of equal
scores the earlier one first, and drops those that overlap a kept one of their class by more than a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.pieces import joined


@dataclass(frozen=True)
class Ranked:
    """Boxes in the order in which suppression takes them.

    Attributes:
        corners: (batch, n, 4) left, top, right, bottom.
        valid: (batch, n) bool, which there are.
        kinds: (batch, n) class of each as a real number, None where classes do not matter.
        classes: how many there are, numbered from 0; None where any number may be a class.
    """

    corners: str
    valid: str
    kinds: str | None = None
    classes: int | None = None


def columns(c: Call, rows: str, first: int, end: int | None = None) -> str:
    """Columns of (batch, n, width); a single one, without `end`, as (batch, n)."""
    if end is None:
        return c.do("Gather", rows, np.int64(first), axis=2)
    return c.do("Slice", rows, np.array([first]), np.array([end]), np.array([2]))


def in_order(c: Call, rows: str, order: str) -> str:
    """Rows (batch, n, width) in another order (batch, m)."""
    return c.do("GatherND", rows, c.reshape(order, [*c.shape(order), 1]), batch_dims=1)


def packed(c: Call, rows: str, chosen: str) -> str:
    """Rows (batch, n, width) with those `chosen` (batch, n) first, each part in its order. A sort would take longer."""
    batch, count, width = c.shape(rows)
    before = c.do("CumSum", c.cast(chosen, "float32"), np.int64(1))  # exact up to 2^24 rows
    many = c.do("ReduceSum", c.cast(chosen, "float32"), np.array([1]))
    behind = c.do("Add", c.do("Sub", np.arange(1, count + 1, dtype=np.float32).reshape(1, -1), before), many)
    place = c.cast(c.do("Sub", c.do("Where", chosen, before, behind), np.float32(1)), "int64")
    flat = c.do("Add", place, (np.arange(batch) * count).reshape(-1, 1))
    empty = np.zeros((batch * count, width), c.like(rows, 0).dtype)
    found = c.do("ScatterND", empty, c.reshape(flat, [-1, 1]), c.reshape(rows, [-1, width]))
    return c.reshape(found, [batch, count, width])


def kept(c: Call, boxes: Ranked, threshold: float) -> str:
    """Which boxes stay, (batch, n) bool. `threshold`: overlap above which a box goes.

    The operator gets scores (batch, classes, n) that fall with the rank, 0 for a box of another class.
    """
    batch, count = c.shape(boxes.valid)
    rank = np.arange(count, 0, -1, dtype=np.float32).reshape(1, 1, count)
    chosen = c.reshape(boxes.valid, [batch, 1, count])
    if boxes.kinds is not None:
        if boxes.classes is None:
            known = c.do("Unsqueeze", c.do("Unique", boxes.kinds, sorted=1), np.array([0, 2]))
        else:
            known = c.b.add(c.like(boxes.kinds, np.arange(boxes.classes).reshape(1, -1, 1)))
        chosen = c.do("And", chosen, c.do("Equal", c.reshape(boxes.kinds, [batch, 1, count]), known))
    scores = c.do("Where", chosen, rank, np.float32(0))
    picked = c.do("NonMaxSuppression", c.cast(boxes.corners, "float32"), scores, np.array([count]),
                  np.array([threshold], np.float32), np.array([0.5], np.float32))
    places = c.do("Gather", picked, np.array([0, 2]), axis=1)
    ones = c.do("Greater", c.do("Gather", picked, np.int64(2), axis=1), np.int64(-1))
    return c.do("ScatterND", np.zeros((batch, count), bool), places, ones)


def to_corners(c: Call, boxes: str) -> str:
    """(batch, n, 4) centre and size as left, top, right, bottom."""
    centre, half = columns(c, boxes, 0, 2), c.do("Mul", columns(c, boxes, 2, 4), c.like(boxes, 0.5))
    return c.do("Concat", c.do("Sub", centre, half), c.do("Add", centre, half), axis=2)


def to_centre(c: Call, boxes: str) -> str:
    """The reverse of `to_corners`."""
    lower, upper = columns(c, boxes, 0, 2), columns(c, boxes, 2, 4)
    return c.do("Concat", c.do("Mul", c.do("Add", lower, upper), c.like(boxes, 0.5)), c.do("Sub", upper, lower),
                axis=2)


@operator("_contrib_box_nms", "_contrib_box_non_maximum_suppression", outputs=("output0", "output1"))
def box_nms(c: Call) -> str:
    """Rows that stay in the order of their scores, then rows of -1 (src/operator/contrib/bounding_box-inl.h)."""
    shape = c.shape()
    x = c.reshape(c.x, [-1, *shape[-2:]])
    batch, count, width = c.shape(x)
    first, kind = c.integer("coord_start", 2), c.integer("id_index", -1)
    score = columns(c, x, c.integer("score_index", 1))
    valid = c.do("Greater", score, c.like(x, c.real("valid_thresh", 0.0)))
    background = c.integer("background_id", -1)
    if kind >= 0 and background >= 0:
        valid = c.do("And", valid, c.do("Not", c.do("Equal", columns(c, x, kind), c.like(x, background))))
    topk = c.integer("topk", -1)
    taken = min(topk, count) if topk > 0 else count
    lowest = c.like(x, np.finfo(np.float16).min)
    best, order = c.b.ops("TopK", [c.do("Where", valid, score, lowest), np.array([taken])], 2, axis=1)
    rows = in_order(c, x, order)
    boxes = columns(c, rows, first, first + 4)
    formats = [c.text(k, "corner", ("corner", "center")) for k in ("in_format", "out_format")]
    corners = boxes if formats[0] == "corner" else to_corners(c, boxes)
    by_class = kind >= 0 and not c.flag("force_suppress")
    there = c.do("Greater", best, lowest)
    candidates = Ranked(corners, there, columns(c, rows, kind) if by_class else None)
    stays = kept(c, candidates, c.real("overlap_thresh", 0.5))
    if formats[0] != formats[1]:
        # MXNet takes a negative first number for the mark of an empty row, which it leaves as it is
        marked = c.do("Less", columns(c, boxes, 0, 1), c.like(boxes, 0))
        boxes = c.do("Where", marked, boxes, corners if formats[1] == "corner" else to_centre(c, boxes))
        rows = joined(c, [columns(c, rows, 0, first), boxes, columns(c, rows, first + 4, width)], 2)
    # what stays moves to the front, in order; the rest is -1
    found = packed(c, c.do("Where", c.reshape(stays, [batch, taken, 1]), rows, c.like(x, -1)), stays)
    if taken < count:
        found = c.do("Concat", found, np.full((batch, count - taken, width), c.like(x, -1)), axis=1)
    return c.reshape(found, shape)


@operator("_contrib_box_iou")
def box_iou(c: Call) -> str:
    """Overlap of every box of the left with every box of the right."""
    left, right = c.shape(0), c.shape(1)
    a, b = c.reshape(c[0], [1, -1, 4]), c.reshape(c[1], [1, -1, 4])
    if c.text("format", "corner", ("corner", "center")) == "center":
        a, b = to_corners(c, a), to_corners(c, b)
    a, b = c.reshape(a, [-1, 1, 4]), c.reshape(b, [1, -1, 4])

    def area(lower: str, upper: str) -> str:
        sides = c.do("Relu", c.do("Sub", upper, lower))
        return c.do("Mul", columns(c, sides, 0), columns(c, sides, 1))

    (a_low, a_high), (b_low, b_high) = ((columns(c, v, 0, 2), columns(c, v, 2, 4)) for v in (a, b))
    common = area(c.do("Max", a_low, b_low), c.do("Min", a_high, b_high))
    union = c.do("Sub", c.do("Add", area(a_low, a_high), area(b_low, b_high)), common)
    zero = c.like(common, 0)
    found = c.do("Where", c.do("Greater", common, zero), c.do("Div", common, union), zero)
    return c.reshape(found, [*left[:-1], *right[:-1]])


@operator("_contrib_box_decode")
def box_decode(c: Call) -> str:
    """Boxes (batch, n, 4) of offsets relative to anchors, as corners; sizes cut at `clip` before the exponential."""
    anchors = c[1] if c.text("format", "center", ("corner", "center")) == "center" else to_centre(c, c[1])
    scale = c.like(c.x, [c.real(f"std{k}", 1.0) for k in range(4)])
    scaled = c.do("Mul", c.x, scale)
    centre, size = columns(c, anchors, 0, 2), columns(c, anchors, 2, 4)
    middle = c.do("Add", c.do("Mul", columns(c, scaled, 0, 2), size), centre)
    grown = columns(c, scaled, 2, 4)
    if c.real("clip", -1.0) > 0:
        grown = c.do("Min", grown, c.like(grown, c.real("clip")))
    half = c.do("Mul", c.do("Mul", c.do("Exp", grown), size), c.like(size, 0.5))
    return c.do("Concat", c.do("Sub", middle, half), c.do("Add", middle, half), axis=2)
