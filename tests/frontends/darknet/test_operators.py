"""Networks of one layer and whole ones, against what the two darknets computed of them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from compiler.frontends.darknet.model import load
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from compiler.frontends.onnx.export import to_model
from tests.frontends.corpus import Corpus

CORPUS = Corpus(Path(__file__).parent / "corpus.npz")
#: One of every family, and the whole networks with the most kinds of layers.
ON_DEVICE = ["activation_stair", "activation_normalize_channels_softmax_maxval", "conv_groups", "conv_xnor",
             "deconv_normalised", "local", "maxpool_padding", "maxpool_depth", "normalization", "shortcut_larger",
             "reorg", "reorg3d_reverse", "yolo_scaled", "region_background", "rnn_shortcut", "gru",
             "conv_lstm_peephole", "history", "yolov1", "yolov2", "yolov4", "enet"]  # fmt: skip
NET = "[net]\nchannels=3\nheight=4\nwidth=5\n"


@pytest.mark.parametrize("case", CORPUS.cases)
def test_computes_what_darknet_does(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path)


@pytest.mark.parametrize("case", ON_DEVICE)
def test_wholly_on_the_device(case: str, tmp_path: Path) -> None:
    report = CORPUS.check(case, tmp_path, target="trn1.2xlarge")
    assert report["operators"]["on_cpu"] == 0


def computed(folder: Path, cfg: str, floats: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The one result of a network with these weights."""
    (folder / "a.cfg").write_text(cfg)
    (folder / "a.weights").write_bytes(struct.pack("<3iq", 0, 2, 0, 0) + floats.astype("<f4").tobytes())
    files = ModelFiles("darknet", "cfg", folder / "a.cfg", {"weights": folder / "a.weights"})
    graph = load(files, Given({"data": x.shape}))
    session = onnxruntime.InferenceSession(to_model(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"data": x})[0]


def image(c: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (1, c, 4, 5)).astype(np.float32)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# ---- what the libraries do not compute, or not on a CPU: by definition -----------------------------------------------


def test_iseg(tmp_path: Path) -> None:
    x = image(3)
    found = computed(tmp_path, NET + "[iseg]\nclasses=2\nids=1\n", np.zeros(0), x)
    np.testing.assert_allclose(found, np.concatenate([logistic(x[:, :2]), x[:, 2:]], 1), rtol=1e-5)


def test_relu6(tmp_path: Path) -> None:
    x = 8 * image(3)
    found = computed(tmp_path, NET + "[activation]\nactivation=relu6\n", np.zeros(0), x)
    np.testing.assert_array_equal(found, np.clip(x, 0, 6))


def test_binary_weights_are_signs_times_their_mean(tmp_path: Path) -> None:
    x, weights = image(3), np.random.default_rng(1).normal(0, 1, (2, 3))
    cfg = NET + "[conv]\nfilters=2\nsize=1\nbinary=1\nactivation=linear\n"
    found = computed(tmp_path, cfg, np.concatenate([[0, 0], weights.ravel()]), x)
    signs = np.where(weights > 0, 1, -1) * np.abs(weights).mean(1, keepdims=True)
    np.testing.assert_allclose(found, np.einsum("nchw,fc->nfhw", x, signs), rtol=1e-4, atol=1e-5)


def test_scales_that_are_not_loaded(tmp_path: Path) -> None:
    x = 1e-6 * image(3)
    cfg = NET + "[conv]\nfilters=1\nsize=1\nbatch_normalize=1\ndontloadscales=1\nactivation=linear\n"
    found = computed(tmp_path, cfg, np.array([0.5, 1, 2, 3]), x)
    np.testing.assert_allclose(found[:, 0], 0.5 + np.einsum("nchw,c->nhw", x, [1, 2, 3]) / 1e-6, rtol=1e-4, atol=1e-4)


def test_spatial_softmax(tmp_path: Path) -> None:
    x = image(3)
    found = computed(tmp_path, NET + "[softmax]\nspatial=1\ntemperature=2\n", np.zeros(0), x)
    wanted = np.exp(x / 2) / np.exp(x / 2).sum(1, keepdims=True)
    np.testing.assert_allclose(found, wanted.reshape(1, -1), rtol=1e-5)


@pytest.mark.parametrize("kind, weights", [(1, np.outer([1, 2, 1], [1, 2, 1]) / 16), (2, np.full((2, 2), 0.25))])
def test_antialiasing(kind: int, weights: np.ndarray, tmp_path: Path) -> None:
    x = image(3)
    cfg = NET + f"[maxpool]\nsize=1\nstride=2\nantialiasing={kind}\n"
    found = computed(tmp_path, cfg, np.zeros(0), x)
    side = len(weights)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]) if kind == 1 else x
    for i in range(found.shape[2]):
        for j in range(found.shape[3]):
            window = padded[0, :, 2 * i : 2 * i + side, 2 * j : 2 * j + side]
            np.testing.assert_allclose(found[0, :, i, j], (window * weights).sum((1, 2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", ["[softmax]\n", "[region]\nclasses=5\ncoords=4\nnum=1\n"])
def test_tree_of_classes(head: str, tmp_path: Path) -> None:
    (tmp_path / "t.tree").write_text("a -1\nb -1\nc 0\nd 0\ne 0\n")
    region = "region" in head
    x = image(10 if region else 5)
    net = NET.replace("=3", f"={x.shape[1]}") if region else "[net]\ninputs=5\n"
    x = x if region else x[:, :, 0, 0]
    found = computed(tmp_path, net + head + "tree=data/t.tree\n", np.zeros(0), x)
    start = 5 if region else 0
    for group in (slice(start, start + 2), slice(start + 2, start + 5)):
        wanted = np.exp(x[:, group]) / np.exp(x[:, group]).sum(1, keepdims=True)
        np.testing.assert_allclose(found[:, group], wanted, rtol=1e-5)
    if region:
        np.testing.assert_array_equal(found[:, 2:4], x[:, 2:4])
        np.testing.assert_allclose(found[:, [0, 1, 4]], logistic(x[:, [0, 1, 4]]), rtol=1e-5)


def test_history_of_one_step(tmp_path: Path) -> None:
    x = image(3)
    found = computed(tmp_path, NET + "[history]\nhistory_size=2\n", np.zeros(0), x)
    np.testing.assert_array_equal(found, np.concatenate([x, np.zeros_like(x)], 1))
