"""Whole models as TensorFlow saved them, with what TensorFlow computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compiler import frontends
from compiler.frontends.inputs import Given
from tests.compiler.evaluate import run_graph

DATA = Path(__file__).parents[2] / "data" / "tensorflow"


@pytest.mark.parametrize("name", sorted(p.name for p in DATA.iterdir()))
def test_a_saved_model_computes_what_tensorflow_did(name: str) -> None:
    folder = DATA / name
    meta, arrays = json.loads((folder / "meta.json").read_text()), np.load(folder / "io.npz")
    main = folder if meta["model_format"] == "savedmodel" else folder / meta["files"][0]
    graph = frontends.load(main, Given({i["name"]: i["shape"] for i in meta["inputs"]}))
    assert graph.outputs == [o["name"] for o in meta["outputs"]]
    found = run_graph(graph, {i["name"]: arrays[i["key"]] for i in meta["inputs"]})
    for output, array in zip(meta["outputs"], found, strict=True):
        np.testing.assert_allclose(array, arrays[output["key"]], rtol=meta["rtol"], atol=meta["atol"])
