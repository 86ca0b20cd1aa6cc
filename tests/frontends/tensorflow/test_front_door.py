"""`neuronsim.tensorflow`: compile a SavedModel into a folder, load it, call it; nothing of TensorFlow is needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from isa.errors import NeuronError
from neuronsim import tensorflow as tfn

DATA = Path(__file__).parents[2] / "data" / "tensorflow"
RESNET = DATA / "resnet_savedmodel"


def arrays(name: str = "resnet_savedmodel") -> dict[str, np.ndarray]:
    return dict(np.load(DATA / name / "io.npz"))


def test_a_compiled_model_is_called_by_its_signature(tmp_path: Path) -> None:
    io = arrays()
    report = tfn.compile(RESNET, tmp_path / "new", batch_size=2, target="trn1.2xlarge", compiler_workdir=tmp_path / "w")
    assert report["OnNeuronRatio"] == 1.0 and report["operators_on_cpu"] == []
    assert report["operators_in_model"] > report["operators_after_folding"] == report["operators_on_neuron"] > 30
    assert json.loads((tmp_path / "w" / "report.json").read_text())["operators"]["on_cpu"] == 0
    model = tfn.load(tmp_path / "new")
    for results in (model(image=io["in_0"]), model(io["in_0"]), model({"image": io["in_0"]}),
                    model.signatures["serving_default"](image=io["in_0"])):
        np.testing.assert_allclose(results["out_0"], io["out_0"], rtol=1e-3, atol=1e-4)
    with pytest.raises(tfn.SignatureError) as caught:
        model(picture=io["in_0"])
    assert caught.value.limit == "image" and caught.value.actual == "picture"
    assert "tensorflow" not in sys.modules


def test_any_batch_size_runs_in_pieces(tmp_path: Path) -> None:
    io = arrays()
    tfn.compile(RESNET, tmp_path / "new", batch_size=2, target="trn1.2xlarge", dynamic_batch_size=True)
    image = np.concatenate([io["in_0"], io["b_in_0"]])
    found = tfn.load(tmp_path / "new")(image=image)["out_0"]
    np.testing.assert_allclose(found, np.concatenate([io["out_0"], io["b_out_0"]]), rtol=1e-3, atol=1e-4)


def test_nodes_can_be_kept_on_the_cpu(tmp_path: Path) -> None:
    io = arrays()
    name = "resnet_1/logits_1/MatMul"
    report = tfn.compile(RESNET, tmp_path / "new", model_feed_dict={"image": io["in_0"]}, target="trn1.2xlarge",
                         no_fuse_ops=[name], compiler_args="--fp32-cast matmult")
    assert name in [o["name"] for o in report["operators_on_cpu"]] and 0.8 < report["OnNeuronRatio"] < 1
    assert next(o["op"] for o in report["operators_on_cpu"] if o["name"] == name) == "MatMul"
    with pytest.raises(tfn.SignatureError, match="does not have"):
        tfn.compile(RESNET, tmp_path / "other", batch_size=2, no_fuse_ops=["nobody"])


def test_analysis_counts_operators_by_type() -> None:
    found = tfn.analyze_model(DATA / "encoder_savedmodel", batch_size=2, target="trn1.2xlarge",
                              model_shape_feed_dict={"input_ids": [2, 12], "position_ids": [2, 12]})
    assert found["percent_supported"] > 95 and found["total_count"] == sum(found["operator_count"].values())
    assert "Softmax" in found["supported_operators"] and found["operator_count"]["Softmax"] == 2


def test_folders_and_keys_that_cannot_be_meant(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for call in (lambda: tfn.compile(RESNET, tmp_path / "full"), lambda: tfn.load(tmp_path / "full"),
                 lambda: tfn.compile(RESNET, tmp_path / "a", signature_def_key="none"),
                 lambda: tfn.compile(RESNET, tmp_path / "a", tags="train"),
                 lambda: tfn.compile(RESNET, tmp_path / "a", compiler_args=["--nonsense"])):
        with pytest.raises(NeuronError) as caught:
            call()
        assert caught.value.code in ("OUTPUT_EXISTS", "SIGNATURE", "TAGS", "COMPILER_FLAG")
    assert not (tmp_path / "a").exists()
    (tmp_path / "full" / "neuron.json").write_text("[1]")
    with pytest.raises(tfn.SignatureError, match="damaged"):
        tfn.load(tmp_path / "full")
