"""Every operator of the corpus computes what MXNet computed; MXNet's whole registry is accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.frontends.mxnet import model, reasons
from tests.frontends.corpus import Corpus

HERE = Path(__file__).parent
CORPUS = Corpus(HERE / "corpus.npz")
#: one of each family
ON_DEVICE = (
    "Convolution stride", "Deconvolution adj", "DeformableConvolution", "Pooling avg full", "AdaptiveAvgPooling2D",
    "FullyConnected rows", "linalg_gemm", "BatchNorm axis", "GroupNorm", "LRN", "LeakyReLU prelu", "softmax length",
    "SoftmaxOutput multi_output", "RNN lstm 2", "RNN gru 1", "SequenceReverse", "selfatt_valatt", "encdec_qk",
    "MultiBoxDetection topk", "box_iou corner", "UpSampling bilinear", "BilinearResize2D size", "SpatialTransformer",
    "broadcast_mod", "smooth_l1", "argmax", "norm 2", "Reshape split", "SliceChannel squeeze", "Pad reflect",
    "Embedding", "pick wrap", "topk both", "np einsum", "im2col", "Concat maps",
)


@pytest.mark.parametrize("case", CORPUS.cases)
def test_graph_computes_what_mxnet_does(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path)


@pytest.mark.parametrize("case", ON_DEVICE)
def test_device_computes_what_mxnet_does(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path, "trn1.2xlarge")


def test_every_registered_operator_has_a_converter_or_a_reason() -> None:
    registered = (HERE / "registry.txt").read_text().split()
    known = model.operators()
    unclear = [op for op in registered if known.get(op, reasons.reason(op)) == reasons.NO_CONVERTER]
    assert not unclear
    assert sum(known.get(op) == "" for op in registered) > 590


def test_nothing_is_both_supported_and_refused() -> None:
    assert not {op for op in reasons.named() if model.operators()[op] == ""}


@pytest.mark.parametrize("case", [c for c in CORPUS.cases if c.startswith("net ")])
def test_networks_run_on_the_device(case: str, tmp_path: Path) -> None:
    report = CORPUS.check(case, tmp_path, "trn1.2xlarge")
    kept = {o["name"] for o in report["cpu_operators"]}
    assert report["operators"]["on_device"] >= 0.9 * report["operators"]["total"]
    assert all("nms" in name or name == "detection" for name in kept), kept
