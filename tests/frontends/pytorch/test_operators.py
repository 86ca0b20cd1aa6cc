"""Every operator's case: the imported graph against torch's own outputs, and a spread of them on the device."""
from __future__ import annotations

from pathlib import Path

import pytest

from compiler.frontends import operators
from compiler.frontends.pytorch.convert import known
from tests.frontends.corpus import Corpus

HERE = Path(__file__).resolve().parent
CORPUS = Corpus(HERE / "corpus.npz")
#: Core operators that no model in evaluation mode calls, or that have no meaning outside torch, and the rest's reason.
WITHOUT = {
    "_adaptive_avg_pool2d_backward.default": "training", "avg_pool2d_backward.default": "training",
    "convolution_backward.default": "training", "embedding_dense_backward.default": "training",
    "max_pool2d_with_indices_backward.default": "training", "native_group_norm_backward.default": "training",
    "native_layer_norm_backward.default": "training",
    "_fft_c2r.default": "complex numbers", "_fft_r2c.default": "complex numbers",
    "as_strided.default": "addresses of memory", "resize_.default": "addresses of memory",
    "sym_is_contiguous.default": "addresses of memory", "sym_storage_offset.default": "addresses of memory",
    "sym_stride.int": "addresses of memory", "atan2.out": "addresses of memory",
    "_pdist_forward.default": "distances of all pairs of one set",
    "masked_scatter.default": "as many as data decides",
}
DEVICE = ("binary_add", "conv2d", "conv2d.core", "linear_3d", "batch_norm2d", "attention_bool", "lstm_bi", "max_pools",
          "adaptive_odd", "resize_bilinear", "written", "encoder", "index_puts", "spread", "softmax", "unfold",
          "conv_transpose2d", "results", "gru", "layer_norm")


@pytest.mark.parametrize("case", CORPUS.cases)
def test_operator(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path)


@pytest.mark.parametrize("case", DEVICE)
def test_on_device(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path, target="trn1.2xlarge")


def test_core_operators() -> None:
    """What torch calls its core set is converted, but for what is listed with a reason."""
    core = (HERE / "operators.txt").read_text().split()
    assert len(core) > 150
    missing = {o.removeprefix("aten.") for o in core if not known(o)}
    assert missing == set(WITHOUT)


def test_listed() -> None:
    listed = operators("pytorch")
    assert listed["aten.conv2d"] == ""
    assert len([name for name, reason in listed.items() if not reason]) > 400
