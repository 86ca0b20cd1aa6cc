"""XGBoost models on the device, with the face of `Booster.predict`.

    model = neuronsim.xgboost.compile("model.ubj", target="trn1.2xlarge", batch=256)
    model.predict(rows)

A file needs no xgboost package; a `Booster`, or a model of XGBoost's scikit-learn classes, may be given as it is. All
trees count, as in `Booster.predict`; for fewer give a slice, `booster[:booster.best_iteration + 1]`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from isa import neff as container
from neuronsim import api
from neuronsim.api import Neff, NonFiniteWarning, RunError

FEATURES, PREDICTION, MARGIN = "features", "prediction", "margin"


def compile(
    model: Any, output: str | Path | None = None, target: str = "inf1.xlarge", batch: int = 64, **options: Any
) -> Model:
    """Compile a model for `target`.

    Args:
        model: path of a file (binary, JSON, UBJSON) or archive, the bytes of a file, a `Booster`, or a fitted
            `XGBClassifier`, `XGBRegressor` ...
        output: where to write the NEFF; None keeps the program in memory.
        target: instance name or path of a target description.
        batch: rows that go through the device at once.
        options: fields of `compiler.options.CompileOptions`.
    Raises: as `neuronsim.compile`; RunError for what is no model.
    """
    options.setdefault("framework", "xgboost")
    given = model if isinstance(model, (str, Path)) else _bytes(model)
    return Model(api.compile(given, output, target, batch=batch, **options))


def load(path: str | Path) -> Model:
    """A model that `compile` or `Model.save` wrote. Raises: as `neuronsim.load`; RunError for another NEFF."""
    return Model(api.load(path))


def _bytes(model: Any) -> bytes:
    """A live model as the bytes of a file."""
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    if not hasattr(booster, "save_raw"):
        raise RunError("this is no XGBoost model", code="RUN_MODEL", actual=type(model).__name__,
                       limit="a path, bytes, a Booster, or a model of XGBoost's scikit-learn classes")
    try:
        return bytes(booster.save_raw("ubj"))
    except TypeError:  # before 1.6 there is one format, and no choice
        return bytes(booster.save_raw())


class Model:
    """A compiled model.

    Attributes:
        neff: the program, with everything `neuronsim.Neff` offers. Its report says what runs on the device.
        batch: rows of one run. features: columns of a row.

    Raises: RunError for a NEFF that was made of something else.
    """

    def __init__(self, neff: Neff) -> None:
        inputs = {t.name: t for t in neff.inputs}
        if list(inputs) != [FEATURES] or [t.name for t in neff.outputs] != [PREDICTION, MARGIN]:
            raise RunError("the NEFF was not compiled from an XGBoost model", code="RUN_MODEL",
                           limit=f"{FEATURES} to {PREDICTION}, {MARGIN}", actual=repr(neff))
        self.neff = neff
        self.batch, self.features = (int(n) for n in inputs[FEATURES].shape)

    def __repr__(self) -> str:
        return f"<XGBoost model of {self.features} features, {self.batch} rows at once: {self.neff!r}>"

    def predict(self, data: Any, output_margin: bool = False, missing: float = np.nan) -> np.ndarray:
        """Predictions as `Booster.predict` gives them: float32 [rows], or [rows, outputs].

        Args:
            data: any number of rows: an array [rows, features], a data frame, a `DMatrix`, or a SciPy sparse matrix,
                of which entries that are not stored are missing.
            output_margin: the sums of leaves before the objective's transform.
            missing: the number that stands for a missing feature, besides NaN.
        Raises: RunError for rows of another width; as `Neff.run`.
        """
        rows = self._rows(data, missing)
        wanted = MARGIN if output_margin else PREDICTION
        padded = np.zeros((max(1, -(-len(rows) // self.batch)) * self.batch, self.features), np.float32)
        padded[: len(rows)] = rows
        parts = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NonFiniteWarning)  # missing features are no accident
            for part in padded.reshape(-1, self.batch, self.features):
                parts.append(self.neff.run({FEATURES: part}, mode="values").outputs[wanted])
        return np.concatenate(parts)[: len(rows)]

    def save(self, path: str | Path) -> None:
        """Write the NEFF."""
        container.write(self.neff.program, path)

    def _rows(self, data: Any, missing: float) -> np.ndarray:
        """float32 [rows, features], NaN where a feature is missing."""
        if hasattr(data, "get_data"):  # a DMatrix
            data = data.get_data()
        try:
            rows = _dense(data) if hasattr(data, "tocsr") else np.array(data, np.float32)
        except (TypeError, ValueError) as error:
            raise RunError(f"the rows are no numbers: {error}", code="RUN_ROWS") from None
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise RunError("the rows do not fit the model", code="RUN_ROWS", limit=f"[rows, {self.features}]",
                           actual=list(rows.shape))
        if not np.isnan(missing):
            rows[rows == np.float32(missing)] = np.nan
        return rows


def _dense(matrix: Any) -> np.ndarray:
    """A sparse matrix with NaN where nothing is stored."""
    stored = matrix.tocoo()
    rows = np.full(stored.shape, np.nan, np.float32)
    rows[stored.row, stored.col] = stored.data
    return rows
