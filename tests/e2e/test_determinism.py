"""Same model, flags and version give the same file; same file and inputs give the same outputs, cycles and trace."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuronsim
from isa.trace import INSTRUCTIONS, TRANSFERS, Trace
from tests.e2e.fixture_models import CASTS, TARGETS, calls, compiled, model_path

MODELS = ("onnx/bert_encoder2", "onnx/resnet_cls", "onnx/unet_seg")
ROOT = Path(__file__).parents[2]

COMPILE = """
import sys
from neuronsim.cli import main
raise SystemExit(main(["compile", *sys.argv[1:]]))
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same_trace(a: Trace, b: Trace) -> bool:
    return a.total_ticks == b.total_ticks and all(
        np.array_equal(getattr(a, table)[column], getattr(b, table)[column])
        for table, columns in (("instructions", INSTRUCTIONS), ("transfers", TRANSFERS))
        for column in columns
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_two_compilations_give_identical_bytes(name: str, target: str, tmp_path: Path) -> None:
    call = calls(name)[0]
    files = [tmp_path / f"{k}.neff" for k in range(2)]
    for file in files:
        options = {"auto_cast": CASTS[target], "input_shapes": call.shapes}
        neuronsim.compile(model_path(name), file, target=target, **options)
    assert digest(files[0]) == digest(files[1])


@pytest.mark.parametrize("name", MODELS)
def test_bytes_do_not_depend_on_process_hash_seed_or_folder(name: str, tmp_path: Path) -> None:
    """Set and dictionary orders differ between these processes, and so do working folder, time and environment."""
    files = []
    for seed in ("0", "1", "4242"):
        folder = tmp_path / f"folder{seed}"
        folder.mkdir()
        files.append(folder / "out.neff")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": f"UTC+{len(files)}"}
        arguments = [str(model_path(name)), "-o", str(files[-1]), *calls(name)[0].shape_flags]
        done = subprocess.run([sys.executable, "-c", COMPILE, *arguments], cwd=folder, env=environment,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert len({digest(f) for f in files}) == 1


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_runs_and_thread_counts_agree_in_every_bit(name: str, target: str) -> None:
    neff, call = compiled(name, target), calls(name)[0]
    first, again, two = (neff.run(call.inputs, threads=threads) for threads in (1, 1, 2))
    for other in (again, two):
        assert same_trace(first.trace, other.trace)
        assert first.time_ns == other.time_ns
        assert list(first.outputs) == list(other.outputs)
        for tensor, array in first.outputs.items():
            assert array.tobytes() == other.outputs[tensor].tobytes(), tensor


@pytest.mark.parametrize("name", MODELS)
def test_a_fresh_load_and_a_time_only_run_give_the_same_trace(name: str, tmp_path: Path) -> None:
    call = calls(name)[0]
    neuronsim.compile(model_path(name), tmp_path / "m.neff", target="trn1.2xlarge", input_shapes=call.shapes)
    both = neuronsim.load(tmp_path / "m.neff").run(call.inputs)
    timing = neuronsim.load(tmp_path / "m.neff").run(mode="timing")
    assert same_trace(both.trace, timing.trace)
    both.trace.save(tmp_path / "a.npz")
    timing.trace.save(tmp_path / "b.npz")
    assert digest(tmp_path / "a.npz") == digest(tmp_path / "b.npz")


def test_the_comparison_of_traces_sees_one_tick() -> None:
    a = compiled("onnx/resnet_cls", "trn1.2xlarge").run(mode="timing").trace
    b = compiled("onnx/resnet_cls", "trn1.2xlarge").run(mode="timing").trace
    assert same_trace(a, b)
    b.instructions["end"] = b.instructions["end"].copy()
    b.instructions["end"][7] += 1
    assert not same_trace(a, b)
