"""Models saved by every framework, from their files and from archives, against the outputs their frameworks gave."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import neuronsim
from compiler import frontends
from compiler.frontends.inputs import Given
from compiler.frontends.onnx.export import to_model
from neuronsim.api import Neff
from tests.e2e.fixture_models import (
    CASTS,
    DATA,
    MODELS,
    NAMES,
    Call,
    about,
    calls,
    compiled,
    model_path,
    needs,
    skip_unless_readable,
)

BF16_ERROR = 3e-2  # of the largest expected magnitude
ON_DEVICE = 0.9  # share of the operators, but of trees and support vector machines
EXEMPT = ("xgboost/", "onnx/svm_rbf", "onnx/svr_pipeline")
#: Results of a non-maximum suppression: with bf16 operands detectors are judged by what goes into it.
SUPPRESSED = {"onnx/ssd_det": ["selected"], "mxnet/ssd_gluon": ["ssd0_multiboxdetection0_output"]}
#: Class numbers and the scores they come from.
LABELS = {"onnx/svm_rbf": ("label", "probabilities")}
STYLES = ("flat", "dotslash", "nested", "apple")


def each(second: bool) -> list[object]:
    """A parameter for every model, or every recorded call; slow where a large package has to be imported."""
    cases: list[tuple[object, ...]] = [(n, k) for n in MODELS for k in range(1 + (second and about(n)["second_call"]))]
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(*(c if second else c[:1]), marks=marks[needs(str(c[0])) == "torch"]) for c in cases]


def run(name: str, k: int, target: str) -> tuple[Neff, Call, dict[str, np.ndarray]]:
    skip_unless_readable(name)
    call = calls(name)[k]
    if k == 0:
        neff = compiled(name, target)
    else:
        options = {"auto_cast": CASTS[target], "input_shapes": call.shapes}
        neff = neuronsim.compile(model_path(name), target=target, **options)
    outputs = neff.run(call.inputs, mode="values").outputs
    if name.startswith("pytorch/"):  # its files do not name results: those recorded are in order
        outputs = dict(zip(call.outputs, outputs.values(), strict=True))
    return neff, call, outputs


@pytest.mark.parametrize("name, k", each(second=True))
def test_fp32_meets_the_stated_tolerance(name: str, k: int) -> None:
    neff, call, outputs = run(name, k, "trn1.2xlarge")
    check_share(name, neff)
    assert list(outputs) == list(call.outputs)
    for tensor, expected in call.outputs.items():
        assert outputs[tensor].dtype == expected.dtype
        assert outputs[tensor].shape == expected.shape
        np.testing.assert_allclose(outputs[tensor].astype(np.float64), expected.astype(np.float64), rtol=call.rtol,
                                   atol=call.atol, err_msg=tensor)


@pytest.mark.parametrize("name, k", each(second=True))
def test_bf16_stays_within_three_hundredths(name: str, k: int) -> None:
    neff, call, outputs = run(name, k, "inf1.xlarge")
    check_share(name, neff)
    for tensor, expected in call.outputs.items():
        assert outputs[tensor].shape == expected.shape
        if tensor in SUPPRESSED.get(name, []) or (tensor in LABELS.get(name, ()) and expected.dtype.kind == "i"):
            continue
        limit = BF16_ERROR * np.abs(expected.astype(np.float64)).max()
        if expected.dtype.kind == "i":
            limit = max(limit, call.atol)
        np.testing.assert_allclose(outputs[tensor].astype(np.float64), expected.astype(np.float64), rtol=0, atol=limit,
                                   err_msg=tensor)


def check_share(name: str, neff: Neff) -> None:
    """Enough operators are on the device; those ONNX models that can be are there wholly."""
    operators = neff.report["operators"]
    if name in NAMES:
        assert operators["on_cpu"] == 0
        assert all(node.kind == "neuron_core" for node in neff.program.nodes)
    elif not name.startswith(EXEMPT):
        assert operators["on_device"] >= ON_DEVICE * operators["total"]


CLASSIFIERS = [m for m in MODELS if about(m)["task"].startswith(("Image classification", "Activity recognition"))]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if needs(n) == "torch" else n for n in CLASSIFIERS]
)
def test_bf16_finds_the_same_class_where_fp32_is_sure(name: str) -> None:
    _, call, outputs = run(name, 0, "inf1.xlarge")
    [(tensor, expected)] = call.outputs.items()
    sure = is_sure(expected)
    assert np.array_equal(outputs[tensor].argmax(axis=-1)[sure], expected.argmax(axis=-1)[sure])


@pytest.mark.parametrize("name", LABELS)
def test_bf16_gives_the_same_label_where_fp32_is_sure(name: str) -> None:
    _, call, outputs = run(name, 0, "inf1.xlarge")
    label, scores = LABELS[name]
    sure = is_sure(call.outputs[scores])
    assert sure.any()
    assert np.array_equal(outputs[label][sure], call.outputs[label][sure])


def is_sure(scores: np.ndarray) -> np.ndarray:
    """Where the two best scores of the last axis differ by more than twice what bf16 may be off."""
    ranked = np.sort(scores.astype(np.float64), axis=-1)
    return ranked[..., -1] - ranked[..., -2] > 2 * BF16_ERROR * np.abs(scores.astype(np.float64)).max()


# ---- archives --------------------------------------------------------------------------------------------------------


def members(name: str) -> Iterator[tuple[str, bytes]]:
    for stated in about(name)["files"]:
        path = DATA / name / stated
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield file.relative_to(DATA / name).as_posix(), file.read_bytes()


def archived(name: str, style: str, path: Path) -> Path:
    """Pack a model as artifacts come: names as they are, after "./", in one folder, or with what macOS adds."""
    before = {"dotslash": "./", "nested": "model/"}.get(style, "")
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members(name):
            folder, _, file = member.rpartition("/")
            names = [(before + member, data)]
            if style == "apple":
                names.insert(0, (f"{folder}/._{file}".lstrip("/"), b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(64)))
            for entry, content in names:
                info = tarfile.TarInfo(entry)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def imported(path: Path, call: Call) -> bytes:
    """The graph of a model, in bytes; its name is that of the file."""
    model = to_model(frontends.load(path, Given(call.shapes)))
    model.graph.name = ""
    return model.SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", each(second=False))
def test_an_archive_holds_the_same_model(name: str, tmp_path: Path) -> None:
    skip_unless_readable(name)
    call = calls(name)[0]
    from_files = imported(model_path(name), call)
    for style in STYLES:
        assert imported(archived(name, style, tmp_path / f"{style}.tar.gz"), call) == from_files, style


def test_an_archive_compiles_and_runs(tmp_path: Path) -> None:
    call = calls("darknet/yolov3_tiny")[0]
    path = archived("darknet/yolov3_tiny", "apple", tmp_path / "model.tar.gz")
    neff = neuronsim.compile(path, target="trn1.2xlarge", auto_cast="none")
    outputs = neff.run(call.inputs, mode="values").outputs
    for tensor, expected in call.outputs.items():
        np.testing.assert_allclose(outputs[tensor], expected, rtol=call.rtol, atol=call.atol)


def test_all_are_there() -> None:
    assert len(MODELS) == 36
    assert set(NAMES) < set(MODELS)
