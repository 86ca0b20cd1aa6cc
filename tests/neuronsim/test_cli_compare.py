"""`neuronsim run --compare` with a model that is no ONNX file: layers against what its frontend understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuronsim.cli import main

DATA = Path(__file__).parents[1] / "data" / "tflite"


def test_layers_of_another_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(DATA / "unet_fp32" / "model.tflite")
    assert main(["compile", model, "-o", "m.neff", "--target", "trn1.2xlarge"]) == 0
    capsys.readouterr()
    assert main(["run", "m.neff", "--compare", model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["comparison"]
    assert found["first_divergence"] == ""
    assert {layer["tensor"] for layer in found["outputs"]} == {"Identity"}
    # results of convolutions that no longer have channels last, as in the file, are left out
    assert any(layer["op_type"] == "Conv" for layer in found["layers"])
