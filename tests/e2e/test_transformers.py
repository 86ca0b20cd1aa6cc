"""Transformers exported by torch, on the device, against torch's own outputs."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronsim

torch = pytest.importorskip("torch", reason="make test-slow installs the `models` extra")
pytest.importorskip("transformers", reason="make test-slow installs the `models` extra")

from tests.e2e.transformer_models import MODELS, Arrays, export  # noqa: E402

#: largest difference over the largest magnitude, by target
LIMITS = {"trn1.2xlarge": 1e-5, "inf1.xlarge": 3e-2}
#: operators on the device
SHARE = 0.95

Exported = tuple[Path, Arrays, Arrays]


@pytest.fixture(scope="module", params=sorted(MODELS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("transformers") / f"{request.param}.onnx"
    return path, *export(request.param, path)


@pytest.mark.slow
@pytest.mark.parametrize("target", sorted(LIMITS))
def test_transformer(exported: Exported, target: str) -> None:
    path, inputs, expected = exported
    options: dict[str, Any] = {"auto_cast": "none"} if target.startswith("trn") else {}
    neff = neuronsim.compile(path, target=target, **options)
    counts = neff.report["operators"]
    assert counts["on_device"] >= SHARE * counts["total"], neff.report["cpu_operators"]
    outputs = neff.run(inputs).outputs
    for name, want in expected.items():
        error = float(np.abs(outputs[name] - want).max() / np.abs(want).max())
        assert error <= LIMITS[target], f"{name}: {error:.3g}"
