"""The seven stored ONNX models (`tests/data/onnx`), with the inputs and outputs their own framework gave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import neuronsim
from neuronsim.api import Neff

DATA = Path(__file__).parents[1] / "data" / "onnx"
NAMES = ("action_r3d", "bert_encoder2", "mobilenet_qdq_int8", "pose_deconv", "resnet_cls", "unet_seg", "vit_cls")
TARGETS = ("trn1.2xlarge", "inf1.xlarge")
# fp32 on v2; on v1, whose PE has no fp32, the default: bf16 operands
CASTS = {"trn1.2xlarge": "none", "inf1.xlarge": "matmult"}


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


def model_path(name: str) -> Path:
    return DATA / name / "model.onnx"


def calls(name: str) -> list[Call]:
    """One or two calls; the second has another batch or size."""
    meta = json.loads((DATA / name / "meta.json").read_text())
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
