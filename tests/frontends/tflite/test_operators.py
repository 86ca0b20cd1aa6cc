"""Every operator that TensorFlow's converter or a hand writes, against TensorFlow Lite's reference kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frontends.corpus import Corpus

CORPUS = Corpus(Path(__file__).with_name("corpus.npz"))
#: files of TensorFlow 1.15's converter
TOCO = Corpus(Path(__file__).with_name("toco.npz"))
ON_THE_DEVICE = [
    "add_int8", "average_pool_same_int8", "batch_matmul_adjoint", "concatenation_uint8", "conv_3d", "conv_dilated",
    "conv_uint8_relu6", "deeplab", "dense_int4", "dense_sparse", "depthwise_multiplier_int8", "detection", "encoder",
    "gather_batch", "inception_int8", "lstm_coupled", "lstm_norm", "mobilenet_v2_int8", "mobilenet_v2_int16x8",
    "resize_bilinear_half_12_int8", "rfft2d_parts", "space_to_batch", "text_both", "transpose_conv_gap", "unet_up_int8",
    "unsorted_segment_sum", "while_known",
]


@pytest.mark.parametrize("case", CORPUS.cases)
def test_graph(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path)


@pytest.mark.parametrize("case", ON_THE_DEVICE)
def test_on_the_device(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path, "trn1.2xlarge")


@pytest.mark.parametrize("target", [None, "trn1.2xlarge"])
@pytest.mark.parametrize("case", TOCO.cases)
def test_early_converter(case: str, target: str | None, tmp_path: Path) -> None:
    TOCO.check(case, tmp_path, target)


@pytest.mark.parametrize("case", ["mobilenet_v3_int8", "text_both", "unet_up_int8"])
def test_share_on_the_device(case: str, tmp_path: Path) -> None:
    counts = CORPUS.check(case, tmp_path, "inf1.xlarge")["operators"]
    assert counts["on_device"] >= 0.9 * counts["total"]
