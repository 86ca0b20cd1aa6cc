"""Suppression of overlapping boxes, and the custom operator that ends detectors of TensorFlow's model zoo."""

from __future__ import annotations

import numpy as np

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.tflite.convert import Call, converter, custom
from compiler.frontends.tflite.flexible import options
from compiler.frontends.tflite.moving import int64, reshaped


def suppressed(b: GraphBuilder, boxes: str, scores: str, most: int, overlap: float, least: float) -> str:
    """Rows (batch 0, class, box) that stay, best first within a class.

    Args:
        boxes: (n, 4), two corners (y, x). scores: (classes, n). most: of each class.
        overlap: the largest that two boxes may have. least: scores have to be above it.
    """
    count = b.shape(boxes)[0]
    whole = b.op("Reshape", [boxes, int64([1, count, 4])])
    ranks = b.op("Reshape", [scores, int64([1, *b.shape(scores)])])
    limits = [np.array([v], np.float32) for v in (overlap, least)]
    return b.op("NonMaxSuppression", [whole, ranks, int64([most]), *limits])


def first(b: GraphBuilder, x: str, count: int, fill: float | int = 0) -> str:
    """The first `count` elements of a vector whose length depends on data, filled up with `fill`."""
    padding = np.full(count, fill, b.dtype(x))
    cut = b.op("Slice", [b.op("Concat", [x, padding], axis=0), int64([0]), int64([count]), int64([0])])
    return b.op("Reshape", [cut, int64([count])])


def length(b: GraphBuilder, rows: str) -> str:
    """How many rows there are, a scalar int64."""
    return b.op("Squeeze", [b.op("Shape", [rows], start=0, end=1)])


@converter("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")
def _non_max_suppression(c: Call) -> None:
    """Operands: boxes, scores, most, overlap, least score, and for V5 the width of soft suppression.

    Results are as long as `most`: numbers of boxes, for V5 their scores, and how many are meant.
    """
    soft = c.op.type.endswith("V5")
    if soft and float(c.known(5, "the width of soft suppression").reshape(-1)[0]):
        error = UnsupportedOp("NON_MAX_SUPPRESSION_V5: soft suppression, which lowers scores, has no form here",
                              help="convert the model with soft_nms_sigma = 0")
        error.op = c.op.type
        raise error
    b, count = c.b, c.shape(1)[0]
    most = c.ints(2, "the number of boxes wanted")[0]
    overlap, least = (float(c.known(k, "a limit of suppression").reshape(-1)[0]) for k in (3, 4))
    rows = suppressed(b, c.real(0), reshaped(c, c.real(1), [1, count]), most, overlap, least)
    kept = b.op("Gather", [rows, np.array(2, np.int64)], axis=1)
    c.store(b.op("Cast", [first(b, kept, most)], to=6))
    if soft:
        c.store(first(b, b.op("Gather", [c.real(1), kept], axis=0), most), 1)
    c.store(b.op("Cast", [length(b, kept)], to=6), 2 if soft else 1)


@custom("TFLite_Detection_PostProcess")
def _postprocess(c: Call) -> None:
    """Operands: box codes (1, n, 4), scores (1, n, classes), anchors (n, 4); results: boxes, classes, scores, count."""
    found = options(c.op.custom_options)

    def option(name: str, default: float) -> float:
        return float(found.get(name, default))

    b, (_, count, columns) = c.b, c.shape(1)
    classes, most = int(option("num_classes", columns)), int(option("max_detections", 0))
    if most < 1 or not 0 < classes <= columns:
        raise ModelError("options of TFLite_Detection_PostProcess do not fit its operands", code="TFLITE_OPTIONS",
                         limit=f"{columns} classes", actual=f"{classes} classes, {most} detections")
    boxes = _decoded(c, [option(f"{axis}_scale", 1.0) for axis in "yxhw"])
    scores = reshaped(c, c.real(1), [count, columns])
    if classes < columns:  # the first are background
        scores = b.op("Slice", [scores, int64([columns - classes]), int64([columns]), int64([1])])
    limits = (option("nms_iou_threshold", 0.0), option("nms_score_threshold", 0.0))
    if found.get("use_regular_nms", False):
        each = int(option("detections_per_class", 100))
        results = _each_class(b, boxes, scores, most, each, *limits)
    else:
        results = _best_class(b, boxes, scores, most, int(option("max_classes_per_detection", 1)), *limits)
    for k, (value, shape) in enumerate(zip(results, ([1, -1, 4], [1, -1], [1, -1], [1]), strict=True)):
        if c.wants(k):
            c.store(b.op("Reshape", [value, int64(shape)]), k)


def _decoded(c: Call, scales: list[float]) -> str:
    """(n, 4) corners (ymin, xmin, ymax, xmax) of codes relative to anchors (both: centre y, x, height, width)."""
    b, count = c.b, c.shape(2)[0]
    codes = reshaped(c, c.real(0), [count, c.shape(0)[-1]])
    if c.shape(0)[-1] > 4:  # key points follow the box
        codes = b.op("Slice", [codes, int64([0]), int64([4]), int64([1])])
    codes = b.op("Mul", [codes, np.array([1 / s for s in scales], np.float32)])
    centre, size = b.ops("Split", [codes, int64([2, 2])], 2, axis=1)
    anchor, extent = b.ops("Split", [c.real(2), int64([2, 2])], 2, axis=1)
    centre = b.op("Add", [b.op("Mul", [centre, extent]), anchor])
    half = b.op("Mul", [b.op("Mul", [b.op("Exp", [size]), extent]), np.float32(0.5)])
    return b.op("Concat", [b.op("Sub", [centre, half]), b.op("Add", [centre, half])], axis=1)


def _best_class(b: GraphBuilder, boxes: str, scores: str, most: int, per_box: int, overlap: float,
                least: float) -> tuple[str, str, str, str]:
    """Boxes suppress each other whatever their classes; each that stays is given with its best classes.

    The count is of boxes, not of boxes with classes.
    """
    count, classes = b.shape(scores)
    per_box = min(per_box, classes)
    top, numbers = b.ops("TopK", [scores, int64([per_box])], 2, axis=1, largest=1, sorted=1)
    best = b.op("Reshape", [b.op("Slice", [top, int64([0]), int64([1]), int64([1])]), int64([1, count])])
    kept = b.op("Gather", [suppressed(b, boxes, best, most, overlap, least), np.array(2, np.int64)], axis=1)
    rows = b.op("Gather", [boxes, kept], axis=0)
    if per_box > 1:
        rows = b.op("Reshape", [b.op("Expand", [b.op("Unsqueeze", [rows, int64([1])]), int64([1, per_box, 1])]),
                                int64([-1, 4])])
    found, ranks = (b.op("Reshape", [b.op("Gather", [v, kept], axis=0), int64([-1])]) for v in (numbers, top))
    return _padded(b, rows, found, ranks, length(b, kept), most * per_box)


def _each_class(b: GraphBuilder, boxes: str, scores: str, most: int, each: int, overlap: float,
                least: float) -> tuple[str, str, str, str]:
    """Boxes suppress each other within a class; the best of all that stay are given."""
    by_class = b.op("Transpose", [scores], perm=[1, 0])
    kept = suppressed(b, boxes, by_class, each, overlap, least)
    classes, places = (b.op("Gather", [kept, np.array(k, np.int64)], axis=1) for k in (1, 2))
    ranks = b.op("GatherND", [by_class, b.op("Slice", [kept, int64([1]), int64([3]), int64([1])])])
    total = b.op("Min", [length(b, kept), np.array(most, np.int64)])
    top, order = b.ops("TopK", [ranks, b.op("Reshape", [total, int64([1])])], 2, axis=0, largest=1, sorted=1)
    rows = b.op("Gather", [boxes, b.op("Gather", [places, order], axis=0)], axis=0)
    return _padded(b, rows, b.op("Gather", [classes, order], axis=0), top, total, most)


def _padded(b: GraphBuilder, rows: str, classes: str, scores: str, number: str,
            total: int) -> tuple[str, str, str, str]:
    """Results of fixed size: what is not found is 0."""
    flat = first(b, b.op("Reshape", [rows, int64([-1])]), 4 * total)
    return (flat, first(b, b.op("Cast", [classes], to=1), total), first(b, scores, total),
            b.op("Cast", [number], to=1))
