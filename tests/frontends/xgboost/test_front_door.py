"""`neuronsim.xgboost`: any number of rows, live models, missing features, saving and loading."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import neuronsim
from neuronsim.api import RunError

DATA = Path(__file__).resolve().parents[2] / "data" / "xgboost"


def stored(name: str) -> tuple[Path, dict[str, np.ndarray]]:
    folder = DATA / name
    with np.load(folder / "io.npz") as arrays:
        return next(folder.glob("model.*")), dict(arrays)


class Booster:
    """What is used of a live booster: old ones take no format."""

    def __init__(self, raw: bytes, old: bool) -> None:
        self.raw, self.old = raw, old

    def save_raw(self, *formats: str) -> bytearray:
        if self.old and formats:
            raise TypeError("save_raw() takes 1 positional argument but 2 were given")
        assert self.old or formats == ("ubj",)
        return bytearray(self.raw)


@pytest.mark.parametrize("batch", [16, 64])
def test_any_number_of_rows(batch: int) -> None:
    path, io = stored("multi_json")
    model = neuronsim.xgboost.compile(path, target="trn1.2xlarge", batch=batch)
    assert (model.batch, model.features) == (batch, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (1, 17, 40):
            found = model.predict(io["in_0"][:rows])
            np.testing.assert_allclose(found, io["out_0"][:rows], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.predict(io["in_0"], output_margin=True), io["out_1"], rtol=1e-4, atol=1e-5)
    assert model.predict(io["in_0"][:0]).shape == (0, 3)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("name", "old"), [("regression_ubj", False), ("binary_model", True)])
def test_live_models(name: str, old: bool, wrapped: bool) -> None:
    path, io = stored(name)
    booster = Booster(path.read_bytes(), old)
    given: Any = SimpleNamespace(get_booster=lambda: booster) if wrapped else booster
    model = neuronsim.xgboost.compile(given, target="trn1.2xlarge", batch=40)
    np.testing.assert_allclose(model.predict(io["in_0"]), io["out_0"], rtol=1e-4, atol=1e-5)


def test_missing_features_of_every_spelling() -> None:
    path, io = stored("binary_json")
    x, want = io["in_0"], io["out_0"]
    assert np.isnan(x).any()
    model = neuronsim.xgboost.compile(path.read_bytes(), target="trn1.2xlarge", batch=40)
    near = dict(rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict(np.nan_to_num(x, nan=-999.0), missing=-999.0), want, **near)
    row, col = np.nonzero(~np.isnan(x))
    entries = SimpleNamespace(shape=x.shape, row=row, col=col, data=x[row, col])
    sparse = SimpleNamespace(tocsr=None, tocoo=lambda: entries)
    np.testing.assert_allclose(model.predict(sparse), want, **near)
    np.testing.assert_allclose(model.predict(SimpleNamespace(get_data=lambda: sparse)), want, **near)
    given = x.copy()
    model.predict(given, missing=0.0)
    np.testing.assert_array_equal(given, x)  # the caller's rows stay as they are


def test_save_and_load(tmp_path: Path) -> None:
    path, io = stored("regression_model")
    model = neuronsim.xgboost.compile(path, tmp_path / "a.neff", target="trn1.2xlarge", batch=8)
    model.save(tmp_path / "b.neff")
    for name in ("a.neff", "b.neff"):
        again = neuronsim.xgboost.load(tmp_path / name)
        np.testing.assert_array_equal(again.predict(io["in_0"]), model.predict(io["in_0"]))


def test_what_is_not_meant() -> None:
    path, _ = stored("regression_model")
    model = neuronsim.xgboost.compile(path, target="trn1.2xlarge", batch=8)
    for rows in (np.zeros((2, 7)), np.zeros(8), [["a"] * 8]):
        with pytest.raises(RunError) as found:
            model.predict(rows)
        assert found.value.code == "RUN_ROWS"
    with pytest.raises(RunError) as found:
        neuronsim.xgboost.compile(object())
    assert found.value.code == "RUN_MODEL"
    other = Path(__file__).resolve().parents[2] / "data" / "onnx"
    neff = neuronsim.compile(next(iter(sorted(other.rglob("*.onnx")))), target="trn1.2xlarge")
    with pytest.raises(RunError) as found:
        neuronsim.xgboost.Model(neff)
    assert found.value.code == "RUN_MODEL"
