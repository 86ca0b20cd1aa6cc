"""The same program computes the same bits however it is scheduled, allocated and spilled; the example runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.backend import build
from compiler.options import CompileOptions
from isa.lang import TileProgram
from isa.target import Target
from neuronsim.timing import simulate
from neuronsim.values import Core
from tests.compiler.backend_programs import random_program, small_target
from tests.compiler.test_backend import crowded


def _run(p: TileProgram, machine: Target, **options: object) -> np.ndarray:
    stage = build(p, CompileOptions(**options))  # type: ignore[arg-type]
    x = stage.variable("x")
    values = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    return Core(stage, machine).run(simulate(stage, machine), {"x": values})["y"]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), length=st.integers(5, 80), double_buffer=st.booleans())
def test_order_and_addresses_do_not_change_values(seed: int, length: int, double_buffer: bool) -> None:
    roomy, tight = small_target(196608), small_target(4096)
    plain = _run(random_program(seed, length, roomy), roomy, opt_level=0)
    fast = _run(random_program(seed, length, tight), tight, double_buffer=double_buffer)
    assert plain.tobytes() == fast.tobytes()


def test_spilling_does_not_change_values() -> None:
    roomy = crowded(small_target(196608))
    tight = crowded(small_target(4096))
    assert build(roomy).info["spill_bytes"] == 0
    assert build(tight).info["spill_bytes"] > 0  # type: ignore[operator]
    assert _run(roomy, roomy.target).tobytes() == _run(tight, tight.target).tobytes()


def test_example_agrees_with_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "tiled_matmul.py"))
    assert example["main"]() == 0
    assert "largest difference" in capsys.readouterr().out
