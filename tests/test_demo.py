"""The newcomer's first command, as they run it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

pytest.importorskip("onnxruntime")


@pytest.mark.slow
def test_demo_compiles_runs_and_agrees_with_onnx_runtime() -> None:
    started = time.monotonic()
    command = [sys.executable, "-m", "neuronsim", "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 180
    document = json.loads(done.stdout)
    assert document["comparison"]["same_first_class"]
    assert document["comparison"]["relative_error"] < 0.05
    assert document["report"]["operators"]["on_cpu"] == 0
    # ResNet-50 at 224 x 224: 4.1e9 multiply-accumulates (He et al. 2015, arXiv:1512.03385, table 1: 3.8e9 without v1.5)
    # model work counts every kernel tap; those that only meet padding are not executed in the packed first layer
    model, hardware = document["stats"]["model_flops"], document["stats"]["hardware_flops"]
    assert 7.5e9 < model < 9.5e9
    assert 0.99 * model < hardware < 9.5e9
