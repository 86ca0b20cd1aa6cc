"""Classifiers whose labels are texts: the same classifier with the labels' positions instead.

Everything but the last step, the look-up of a text, is then arithmetic, which the device may do.
"""
from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

_TEXTS = "classlabels_strings"
#: Classifiers of ai.onnx.ml, whose first output is the label -> the attribute of integer labels.
_NUMBERS = {"LinearClassifier": "classlabels_ints", "SVMClassifier": "classlabels_ints",
            "TreeEnsembleClassifier": "classlabels_int64s"}


def numbered(proto: onnx.NodeProto) -> tuple[onnx.NodeProto, np.ndarray] | None:
    """A copy of a classifier with labels 0, 1 ... in the place of texts, and the texts; None for any other node."""
    if proto.domain != "ai.onnx.ml" or proto.op_type not in _NUMBERS:
        return None
    texts = next((list(a.strings) for a in proto.attribute if a.name == _TEXTS), [])
    numbers = _NUMBERS[proto.op_type]
    if not texts or any(a.name == numbers for a in proto.attribute):
        return None
    twin = onnx.NodeProto()
    twin.CopyFrom(proto)
    del twin.attribute[:]
    twin.attribute.extend(a for a in proto.attribute if a.name != _TEXTS)
    twin.attribute.append(helper.make_attribute(numbers, list(range(len(texts)))))
    return twin, np.array([t.decode("utf-8", "surrogateescape") for t in texts], object)
