"""Non-maximum suppression."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.filling import filled
from compiler.frontends.tensorflow.registry import converter


@converter("NonMaxSuppression", "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4",
           "NonMaxSuppressionV5")
def non_max_suppression(c: Call) -> list[str]:
    """Which boxes (y1, x1, y2, x2) are kept, best first; V4 and V5 may fill up with zeros, V5 adds their scores."""
    version = c.node.op[-2:]
    boxes, scores = c.xs(0, 2)
    overlap = c.x(3) if len(c) > 3 else np.float32(c.real("iou_threshold", 0.5))
    if version == "V5" and (c.known(5) is None or float(c.scalar(5))):
        raise c.refuse("a sigma that lowers scores instead of dropping boxes")
    given = [c.op("Unsqueeze", [boxes, np.array([0])]), c.op("Unsqueeze", [scores, np.array([0, 1])]),
             c.cast(c.x(2), "int64"), overlap]
    found = c.op("NonMaxSuppression", given + ([c.x(4)] if len(c) > 4 else []))
    kept = c.cast(c.op("Gather", [found, np.int64(2)], axis=1), "int32")
    if version not in ("V4", "V5"):
        return [kept]
    count = c.cast(c.op("Size", [kept]), "int32")
    chosen = [kept] + ([c.op("Gather", [scores, kept], axis=0)] if version == "V5" else [])
    if c.flag("pad_to_max_output_size"):
        chosen = [filled(c, x, c.number(0, x), int(c.scalar(2))) for x in chosen]
    return [*chosen, count]


@converter("CombinedNonMaxSuppression")
def combined(c: Call) -> list[str]:
    """Suppression by class, then the best of all classes for each image.

    The suppression itself marks what is kept; everything behind it has known sizes.
    """
    images, boxes, sets = c.shape(0)[:3]
    classes = c.shape(1)[2]
    per_class, total = int(c.scalar(2)), int(c.scalar(3))
    if c.flag("pad_per_class"):
        total = min(total, per_class * classes)
    corners = c.transpose(c.x(0), [0, 2, 1, 3])  # images, sets, boxes, 4
    scores = c.transpose(c.x(1), [0, 2, 1])  # images, classes, boxes
    own = sets == classes and sets > 1
    outer, inner = (images * classes, 1) if own else (images, classes)
    flat_scores = c.reshape(scores, [outer, inner, boxes])
    found = c.op("NonMaxSuppression", [c.reshape(corners, [outer, boxes, 4]), flat_scores, np.int64(per_class), c.x(4),
                                       c.x(5)])
    marks = c.op("Equal", [c.op("Gather", [found, np.int64(0)], axis=1),
                           c.op("Gather", [found, np.int64(0)], axis=1)])
    kept = c.op("ScatterND", [np.zeros((outer, inner, boxes), bool), found, marks])
    least = np.float32(np.finfo(np.float32).min)
    ranked = c.reshape(c.op("Where", [kept, flat_scores, least]), [images, classes * boxes])
    k = min(total, classes * boxes)
    best, places = c.b.ops("TopK", [ranked, np.array([k])], 2, axis=1)
    valid = c.op("Greater", [best, least])
    number = c.op("Div", [places, np.int64(boxes)])
    rows = places if own else c.op("Mod", [places, np.int64(boxes)])
    step = np.arange(images).reshape(-1, 1) * (sets * boxes if own else boxes)
    chosen = c.op("Gather", [c.reshape(corners, [-1, 4]), c.op("Add", [rows, step])], axis=0)
    if c.flag("clip_boxes", True):
        chosen = c.op("Clip", [chosen, np.float32(0), np.float32(1)])
    zero = np.float32(0)
    results = [c.op("Where", [c.op("Unsqueeze", [valid, np.array([2])]), chosen, zero]),
               c.op("Where", [valid, best, zero]), c.op("Where", [valid, c.cast(number, "float32"), zero])]
    if k < total:
        results = [c.op("Pad", [r, np.array([0] * (c.b.rank(r) + 1) + [total - k] + [0] * (c.b.rank(r) - 2))])
                   for r in results]
    return [*results, c.op("ReduceSum", [c.cast(valid, "int32"), np.array([1])], keepdims=0)]
