"""What sort of model file some bytes are: the kinds that `ModelFiles.kind` can have, by framework."""

from __future__ import annotations

#: framework -> kinds of its main file. Companions go by role in `ModelFiles.others`, given after the kind.
KINDS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx",),
    "pytorch": ("torchscript", "pt2"),
    "tensorflow": ("savedmodel", "frozen_pb", "frozen_pbtxt"),  # savedmodel: main is the folder
    "keras": ("h5", "keras"),
    "tflite": ("tflite",),
    "mxnet": ("symbol",),  # others: params
    "xgboost": ("model", "json", "ubj"),  # model: the legacy binary form
    "darknet": ("cfg",),  # others: weights
}
