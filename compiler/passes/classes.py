"""What classifiers share: their label, and what becomes of their scores."""
from __future__ import annotations

import numpy as np

from compiler.passes.expansion import Expansion

SUPPORTED = ("NONE", "SOFTMAX", "LOGISTIC")


def post_transform_reason(name: str) -> str:
    """Why scores cannot be transformed like this on the device, "" when they can."""
    return "" if name in SUPPORTED else f"the device has no post_transform {name}"


def post_transform(f: Expansion, scores: str, name: str) -> str:
    """Scores [rows, classes] as they are, as a softmax, or each as a logistic function."""
    if name == "SOFTMAX":
        return f.softmax(scores)
    return f.unary("Sigmoid", scores) if name == "LOGISTIC" else scores


def label(f: Expansion, scores: str, labels: list[int], threshold: float) -> str:
    """int64 [rows]: the label of the largest score, the first of equals; of one column, whether it is above a limit."""
    rows, columns = f.shape(scores)
    if columns == 1:
        above = f.binary("Greater", f.reshape(scores, [rows]), threshold)
        return f.where(above, f.const(np.array(labels[1], np.int64)), f.const(np.array(labels[0], np.int64)))
    index = f.op("ArgMax", [scores], [rows], "int64", axis=1, keepdims=0, select_last_index=0)
    if labels == list(range(columns)):
        return index
    return f.gather(f.const(np.array(labels, np.int64)), index)


__all__ = ["label", "post_transform", "post_transform_reason"]
