"""Every layer and variant of the corpora against what Keras computed, and a spread of them on the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frontends.corpus import Corpus

HERE = Path(__file__).parent
CORPORA = {which: Corpus(HERE / f"corpus_{which}.npz.xz") for which in ("keras2", "keras3", "tf1", "tf_keras")}
CASES = [(which, case) for which, corpus in CORPORA.items() for case in corpus.cases]
#: One of every family, and networks of the usual tasks, spread over the versions.
ON_DEVICE = [
    ("keras2", "local2d"), ("keras2", "up2d_bilinear"), ("keras2", "lstm_last"), ("keras2", "gru_before"),
    ("keras2", "model_frozen"), ("keras2", "masked_bidirectional"), ("keras3", "activations"),
    ("keras3", "adaptive_average2"), ("keras3", "attention_masked"), ("keras3", "category_count"),
    ("keras3", "conv2d_transpose_same_3_2"), ("keras3", "conv_lstm2d"), ("keras3", "heads_cross"),
    ("keras3", "heads_masked"), ("keras3", "lookup"), ("keras3", "net_detect"), ("keras3", "net_encoder"),
    ("keras3", "net_gestures"), ("keras3", "net_segment"), ("keras3", "normalization_adapted"), ("keras3", "ops_two"),
    ("keras3", "rnn_stacked"), ("tf1", "model_siamese"),
    ("tf_keras", "groupnorm"), ("tf_keras", "net_action"), ("tf_keras", "net_convnext"),
    ("tf_keras", "net_mobile"), ("tf_keras", "net_pose"), ("tf_keras", "net_sound"), ("tf_keras", "tf_resize"),
    ("tf_keras", "time_conv"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "case"), CASES, ids=[f"{w}-{c}" for w, c in CASES])
def test_computes_what_keras_does(which: str, case: str, tmp_path: Path) -> None:
    CORPORA[which].check(case, tmp_path)


@pytest.mark.parametrize(("which", "case"), ON_DEVICE, ids=[f"{w}-{c}" for w, c in ON_DEVICE])
def test_wholly_on_the_device(which: str, case: str, tmp_path: Path) -> None:
    report = CORPORA[which].check(case, tmp_path, target="trn1.2xlarge")
    assert report["operators"]["on_cpu"] == 0
