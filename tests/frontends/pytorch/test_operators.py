"""Every operator's case: the imported graph against torch's own outputs, and a spread of them on the device."""
from __future__ import annotations

from pathlib import Path

import pytest

from compiler.frontends import operators
from compiler.frontends.pytorch.convert import known
from tests.frontends.corpus import Corpus

HERE = Path(__file__).resolve().parent
CORPUS = Corpus(HERE / "corpus.npz")
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
    listed = operators("pytorch")
    missing = [o for o in core if not known(o) and o != "aten.atan2.out"]  # that one writes into a given tensor
    assert [o for o in missing if not listed.get(o.rsplit(".", 1)[0])] == []


def test_listed() -> None:
    listed = operators("pytorch")
    assert listed["aten.conv2d"] == ""
    assert len([name for name, reason in listed.items() if not reason]) > 400
