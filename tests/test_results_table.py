"""The section of docs/results.md on models of every framework: what it judges by, and how it is put in its place."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
META = {"task": "Image classification", "rtol": 1e-3, "atol": 1e-4}


@pytest.fixture
def frameworks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("frameworks", BENCHMARKS / "frameworks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "frameworks", module)
    spec.loader.exec_module(module)
    return module


def test_fp32_is_judged_by_the_models_own_tolerance(frameworks: ModuleType) -> None:
    expected = np.array([[1.0, -2.0]], np.float32)
    assert frameworks._error(expected, expected, META, True) == 0
    off = expected + np.array([[0, 2.1e-3]], np.float32)
    assert frameworks._error(off, expected, META, True) == pytest.approx(1, rel=1e-3)
    assert frameworks._error(expected[0], expected, META, True) == np.inf
    labels = np.array([1, 2])
    assert frameworks._error(labels, labels, {**META, "atol": 0}, True) == 0
    assert frameworks._error(labels + np.array([0, 1]), labels, {**META, "atol": 0}, True) == np.inf


def test_bf16_is_judged_by_the_largest_magnitude_and_the_class(frameworks: ModuleType) -> None:
    expected = np.array([[10.0, 9.9, 0.0]], np.float32)
    assert frameworks._error(expected + 0.15, expected, META, False) == pytest.approx(0.5, rel=1e-5)
    swapped = expected[:, [1, 0, 2]]
    assert frameworks._error(swapped, expected, META, False) < 1  # too close to be sure
    sure = np.array([[10.0, 0.0]], np.float32)
    assert frameworks._error(sure[:, ::-1], sure, META, False) == np.inf


def test_the_section_is_replaced_where_it_stands(frameworks: ModuleType) -> None:
    document = f"# Results\n\ntext\n\n{frameworks.TITLE}\n\nold\n\n## Next\n\nmore\n"
    once = frameworks.replaced(document, [frameworks.TITLE, "", "new"])
    assert once == f"# Results\n\ntext\n\n{frameworks.TITLE}\n\nnew\n\n## Next\n\nmore\n"
    assert frameworks.replaced(once, [frameworks.TITLE, "", "new"]) == once
    assert frameworks.replaced("# Results\n", [frameworks.TITLE, "new"]) == f"# Results\n\n{frameworks.TITLE}\nnew\n"
