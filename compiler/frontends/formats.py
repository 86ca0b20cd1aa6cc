"""What sort of model file some bytes are: the kinds that `ModelFiles.kind` can have, and what is known but not read."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.errors import ModelError

#: framework -> kinds of its main file. Companions go by role in `ModelFiles.others`, given after the kind.
KINDS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx",),
    "pytorch": ("torchscript", "pt2"),
    "tensorflow": ("savedmodel", "frozen_pb", "frozen_pbtxt"),  # savedmodel: main is the folder; others: graph
    "keras": ("h5", "keras"),
    "tflite": ("tflite",),
    "mxnet": ("symbol",),  # others: params
    "xgboost": ("model", "json", "ubj"),  # model: the legacy binary form
    "darknet": ("cfg",),  # others: weights
}
#: framework -> role of the second file that its model consists of.
COMPANIONS: dict[str, str] = {"mxnet": "params", "darknet": "weights"}
#: How people call the frameworks.
TITLES: dict[str, str] = {
    "onnx": "ONNX", "pytorch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras", "tflite": "TensorFlow Lite",
    "mxnet": "MXNet", "xgboost": "XGBoost", "darknet": "DarkNet",
}  # fmt: skip
#: What to look for where a file is missing, and what a package of Neo's holds, by framework.
WANTED: dict[str, str] = {
    "onnx": "one .onnx file",
    "pytorch": "one TorchScript file (.pt or .pth) or one exported program (.pt2)",
    "tensorflow": "one frozen graph (.pb or .pbtxt), or saved_model.pb with its variables folder",
    "keras": "one .h5 or .keras file",
    "tflite": "one .tflite file",
    "mxnet": "one symbol file (PREFIX-symbol.json) and one parameter file (PREFIX-0000.params)",
    "xgboost": "one model file (binary, JSON or UBJSON)",
    "darknet": "one .cfg and one .weights file",
}
#: Other spellings of a framework's name.
_ALIASES = {
    "torch": "pytorch", "tf": "tensorflow", "tensorflow-lite": "tflite", "tensorflowlite": "tflite", "litert": "tflite",
    "xgb": "xgboost",
}  # fmt: skip
#: How kinds and roles are called where "model" is not precise enough.
_PARTS = {
    "savedmodel": "SavedModel", "symbol": "symbol file", "params": "parameter file", "cfg": "configuration",
    "weights": "weights file",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a file is: a model's main file of a `kind`, or with `role` the second file of a model."""

    framework: str
    kind: str = ""
    role: str = ""

    def __str__(self) -> str:
        return f"{TITLES[self.framework]} {_PARTS.get(self.role or self.kind, 'model')}"


@dataclass(frozen=True)
class Refused:
    """A file that is known for what it is, and is no model to compile: why, and what to do instead."""

    what: str
    help: str
    code: str = "MODEL_FORMAT"

    def error(self, where: str) -> ModelError:
        """The error about such a file."""
        return ModelError(self.what, code=self.code, where=where, help=self.help)


def canonical(framework: str) -> str:
    """A framework as `KINDS` spells it: any case, with usual short names; unknown ones come back in lower case."""
    name = framework.strip().lower().replace("_", "-")
    return _ALIASES.get(name, name)


def readable() -> str:
    """What can be read, for help texts: a line for each framework."""
    return "what can be read:" + "".join(f"\n    {TITLES[name]}: {text}" for name, text in WANTED.items())
