"""Whole models of the fixtures, which TensorFlow's converter wrote, against its reference kernels' results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import neuronsim
from compiler import frontends
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given

DATA = Path(__file__).resolve().parents[2] / "data" / "tflite"


def loaded(name: str, given: Given | None = None):
    return frontends.load_files(ModelFiles("tflite", "tflite", DATA / name / "model.tflite"), given or Given())


@pytest.mark.parametrize("name", ["mobilenet_fp32", "mobilenet_int8", "unet_fp32"])
def test_fixture_on_the_device(name: str) -> None:
    meta = json.loads((DATA / name / "meta.json").read_text())
    with np.load(DATA / name / "io.npz") as io:
        arrays = dict(io)
    neff = neuronsim.compile(loaded(name), target="trn1.2xlarge")
    found = neff.run({i["name"]: arrays[i["key"]] for i in meta["inputs"]}, mode="values").outputs
    for output in meta["outputs"]:
        got, wanted = found[output["name"]], arrays[output["key"]]
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got.astype(float), wanted.astype(float), rtol=meta["rtol"], atol=meta["atol"])


def test_another_batch_than_the_files() -> None:
    graph = loaded("mobilenet_fp32", Given(batch=3))
    assert graph.shape("Identity") == (3, 10)


def test_layers_are_named_after_results() -> None:
    sources = {s for node in loaded("mobilenet_fp32").nodes for s in node.sources}
    assert {"mobilenet_1/re_lu_13_1/Relu6", "Identity"} <= sources
    assert len(sources) == 10  # the file's operators


def test_integer_convolutions_stay_integers() -> None:
    ops = [node.op for node in loaded("mobilenet_int8").nodes]
    assert ops.count("QLinearConv") == 7


def test_integers_are_about_as_fast_as_reals() -> None:
    """The same network in both; what integers gain in products they spend on scaling in one so small.

    An image of real numbers is read in windows where it lies; one of integers is scaled first, which takes some 4 us.
    """
    runs = {}
    for name in ("mobilenet_fp32", "mobilenet_int8"):
        neff = neuronsim.compile(loaded(name), target="trn1.2xlarge")
        runs[name] = neff.run(mode="timing").time_ns
    assert runs["mobilenet_int8"] - 4_000 < 1.1 * runs["mobilenet_fp32"]
