"""The stored models of every framework (`tests/data`), with the inputs and outputs their own framework gave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronsim
from neuronsim.api import Neff

DATA = Path(__file__).parents[1] / "data"
#: Every model, as "framework/name".
MODELS = tuple(sorted(p.parent.relative_to(DATA).as_posix() for p in DATA.glob("*/*/meta.json")))
#: Those saved as ONNX that run wholly on the device.
NAMES = tuple(f"onnx/{n}" for n in ("action_r3d", "bert_encoder2", "mobilenet_qdq_int8", "pose_deconv", "resnet_cls",
                                    "unet_seg", "vit_cls"))  # fmt: skip
TARGETS = ("trn1.2xlarge", "inf1.xlarge")
# fp32 on v2; on v1, whose PE has no fp32, the default: bf16 operands
CASTS = {"trn1.2xlarge": "none", "inf1.xlarge": "matmult"}
#: What a model needs to be read beside what every installation has: by framework, or by model.
_NEEDS = {"pytorch/mobilenet_cls": "torch", "pytorch/script_seg": "torch", "tflite": "tflite",
          "tensorflow": "tensorboard"}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One recorded call of a model: arrays by tensor name; tolerances of its fp32 outputs."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    rtol: float
    atol: float

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: a.shape for name, a in self.inputs.items()}

    @property
    def shape_flags(self) -> list[str]:
        """The command-line spelling of `shapes`."""
        pairs = (f"{name}:{'x'.join(map(str, shape))}" for name, shape in self.shapes.items())
        return [flag for pair in pairs for flag in ("--input-shape", pair)]


def about(name: str) -> dict[str, Any]:
    """What was recorded of a model: task, files, tensors."""
    found: dict[str, Any] = json.loads((DATA / name / "meta.json").read_text())
    return found


def needs(name: str) -> str:
    """The optional package without which a model cannot be read, or ""."""
    return _NEEDS.get(name) or _NEEDS.get(name.split("/")[0], "")


def skip_unless_readable(name: str) -> None:
    """Skip the test when the package that reads the model's files is not installed."""
    if needs(name):
        pytest.importorskip(needs(name))


def model_path(name: str) -> Path:
    """What a user would name: the one file, the first of a pair, or the folder of a SavedModel."""
    files = about(name)["files"]
    if "saved_model.pb" in files:
        return DATA / name
    return DATA / name / next((f for f in files if f.endswith((".cfg", "symbol.json"))), files[0])


def calls(name: str) -> list[Call]:
    """One or two calls; the second has another batch or size."""
    meta = about(name)
    with np.load(DATA / name / "io.npz", allow_pickle=False) as file:
        arrays = dict(file)
    keys = [("inputs", "outputs")] + ([("second_inputs", "second_outputs")] if meta["second_call"] else [])
    return [
        Call(
            {i["name"]: arrays[i["key"]] for i in meta[given]},
            {o["name"]: arrays[o["key"]] for o in meta[wanted]},
            meta["rtol"],
            meta["atol"],
        )
        for given, wanted in keys
    ]


@cache
def compiled(name: str, target: str) -> Neff:
    """The model compiled in memory for its first call."""
    shapes = calls(name)[0].shapes
    return neuronsim.compile(model_path(name), target=target, auto_cast=CASTS[target], input_shapes=shapes)
