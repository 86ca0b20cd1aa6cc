"""Arrivals: rates, seeds, and files that are not trusted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neuronsim.serving import ServingError, constant, parse, poisson, recorded


def test_poisson_is_seeded_and_has_its_rate() -> None:
    a, b, c = poisson(50_000, 200.0, 7), poisson(50_000, 200.0, 7), poisson(50_000, 200.0, 8)
    assert a.arrivals is not None and b.arrivals is not None and c.arrivals is not None
    np.testing.assert_array_equal(a.arrivals, b.arrivals)
    assert (a.arrivals != c.arrivals).any()
    gaps = np.diff(a.arrivals)
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)


def test_constant_is_even() -> None:
    assert constant(10, 250.0).interval_s == pytest.approx(4e-3)


@pytest.mark.parametrize("name", ["times.txt", "times.json", "times.npy"])
def test_recorded_times(tmp_path: Path, name: str) -> None:
    path, times = tmp_path / name, [0.0, 0.25, 0.25, 3]
    if name.endswith("npy"):
        np.save(path, np.array(times))
    else:
        path.write_text(json.dumps(times) if name.endswith("json") else "\n".join(map(str, times)), encoding="utf-8")
    load = recorded(path)
    assert load.arrivals is not None
    assert (load.requests, load.arrivals.tolist()) == (4, times)
    assert recorded(path, 2).requests == 2
    with pytest.raises(ServingError, match="fewer"):
        recorded(path, 5)


@pytest.mark.parametrize("text", ["1\n0.5", "-1\n2", "nan", "inf", "1e9", "1\ntwo", '{"a": 1}'])
def test_bad_times(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ServingError) as caught:
        recorded(path)
    assert str(path) in caught.value.where
    assert "one number a line" in caught.value.help


def test_bad_files(tmp_path: Path) -> None:
    nested, objects, square = tmp_path / "a.json", tmp_path / "b.npy", tmp_path / "c.npy"
    nested.write_text("[" * 100_000, encoding="utf-8")
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    np.save(square, np.zeros((2, 2)))
    for path in (nested, objects, square, tmp_path / "absent.txt", tmp_path):
        with pytest.raises(ServingError):
            recorded(path)


def test_the_command_lines_spelling(tmp_path: Path) -> None:
    assert parse("constant:100", 5).interval_s == pytest.approx(0.01)
    assert parse("poisson:100", 5, seed=3).arrivals is not None
    (tmp_path / "a.txt").write_text("0 1 2", encoding="utf-8")
    assert parse(str(tmp_path / "a.txt"), 0).requests == 3
    for bad in ("poisson:", "poisson:fast", "constant:0", "constant:-3", "poisson:inf", "poisson:nan"):
        with pytest.raises(ServingError):
            parse(bad, 5)
