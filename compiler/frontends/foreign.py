"""Files that are known for what they are and cannot be compiled: why, and what to do instead."""

from __future__ import annotations

import re

from compiler.frontends.formats import Refused

EXPORT = ("save a traced module, torch.jit.trace(module.eval(), example_inputs).save('model.pt'), or an exported "
          "program, torch.export.save(torch.export.export(module.eval(), example_inputs), 'model.pt2')")  # fmt: skip
TORCH_PICKLE = Refused("the file was pickled by torch.save (a state dict or a module): unpickling may run any program",
                       EXPORT, "PICKLE_REFUSED")  # fmt: skip
PICKLE = Refused("the file is a Python pickle: unpickling may run any program",
                 "save the model in its framework's own format: XGBoost's save_model, torch.jit.save, skl2onnx for "
                 "scikit-learn", "PICKLE_REFUSED")  # fmt: skip
CHECKPOINT = Refused("the file is part of a TensorFlow checkpoint, which has weights but no graph to run",
                     "export a SavedModel (tf.saved_model.save), or freeze the graph into one .pb", "MODEL_INCOMPLETE")
TEXT_ONNX = Refused("the file is an ONNX model in text form", "save it in binary form: onnx.save(model, 'model.onnx')")
#: Not even a tar inside.
COMPRESSED = Refused("the file is compressed, and no tar archive", "unpack it first: gunzip, bunzip2 or unxz",
                     "ARCHIVE_FORMAT")  # fmt: skip


def other_model(what: str) -> Refused:
    """A model of a framework that has no frontend here."""
    return Refused(f"the file is {what}, which cannot be read", "export the model to ONNX first")


def no_model(what: str, help: str = "give the model's own file") -> Refused:
    """A file that is no model at all."""
    return Refused(f"the file is {what}, no model", help)


def only_weights(what: str) -> Refused:
    """Weights without a graph."""
    return Refused(f"the file holds weights ({what}) but no graph to run", EXPORT, "MODEL_INCOMPLETE")


#: What a file starts with -> what it is.
MAGIC: list[tuple[re.Pattern[bytes], Refused]] = [(re.compile(pattern, re.DOTALL), found) for pattern, found in (
    (rb"version https://git-lfs", no_model("a Git LFS pointer", "fetch the real file: git lfs pull")),
    (rb"(?i)\s*(<!--.{0,4000}?-->\s*)?<(!doctype html|html|head)",
     no_model("a web page", "download the model itself: the link led to a page about it, or to a log-in")),
    (rb"\s*(<\?xml[^>]*>\s*)?<net\s", other_model("an OpenVINO model")),
    (rb"\s*(<\?xml[^>]*>\s*)?<PMML", other_model("a PMML model")),
    (rb".{6}\0\0\{\s*\"", only_weights("safetensors")),
    (rb"GGUF", only_weights("GGUF")),
    (rb"\x93NUMPY", no_model("a numpy array")),
    (rb".{4}ORTM", other_model("an ONNX Runtime model (.ort)")),
    (rb".{4}ET\d\d", other_model("an ExecuTorch program")),
    (rb"7767517\s", other_model("an ncnn network")),
    (rb"[fp]trt", other_model("a TensorRT engine")),
    (rb"CBM1", other_model("a CatBoost model")),
    (rb"tree\r?\nversion=v\d", other_model("a LightGBM model")),
    (rb"(name\s*:\s*\"[^\"]{0,200}\"\s*)?(input|input_shape|input_dim|layers?)\s*[:{]", other_model("a Caffe network")),
    (rb"booster\[\d+\]:", Refused("the file is a text dump of an XGBoost model, which lacks its parameters",
                                  "save the model itself: booster.save_model('model.json')")),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", no_model("an image")),
    (rb"%PDF", no_model("a document")),
    (rb"model_checkpoint_path:", CHECKPOINT),
    (rb"\x7fELF|MZ", no_model("a program")),
    (rb"7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", Refused("the file is packed in a way that is not read (7z, rar, zstd)",
                                               "pack the model as .tar.gz or .zip", "ARCHIVE_FORMAT")),
)]  # fmt: skip
