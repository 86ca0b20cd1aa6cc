"""The ONNX backend test suite of the installed onnx through `neuronsim.onnx_backend`, against a stored table.

    python -m tests.onnx_backend.suite            # run all, print what differs from expected.yaml and the device share
    python -m tests.onnx_backend.suite --bless    # write expected.yaml anew; give a reason to every new line
    python -m tests.onnx_backend.suite --only REGEX --jobs 1
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import unittest
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import yaml

from neuronsim import onnx_backend
from tests.onnx_backend import device_share
from tests.onnx_backend.device_share import Seen

EXPECTED = Path(__file__).parent / "expected.yaml"
HEADER = "# onnx's backend tests that fail through neuronsim.onnx_backend, each with the reason.\n"


@dataclass(frozen=True)
class Outcome:
    """One test: what went wrong ("" when it passed), and what ran where if it is about an operator in scope."""

    test: str
    failure: str
    seen: Seen | None


@dataclass(frozen=True)
class Difference:
    """What the table and a run do not agree on, as lines; `passed` counts the tests that passed."""

    new_failures: list[str]
    new_passes: list[str]
    passed: int
    total: int


def cases() -> tuple[dict[str, Any], list[Any]]:
    """Test name ("Node/test_abs_cpu") -> callable, and a list that holds what the last call prepared."""
    from onnx.backend.test import BackendTest

    prepared: list[Any] = []

    def prepare(model: onnx.ModelProto, device: str = "CPU", **options: Any) -> onnx_backend.NeuronRep:
        rep = onnx_backend.prepare(model, device, **options)
        prepared.append((model, rep))
        return rep

    backend = SimpleNamespace(
        prepare=prepare, supports_device=onnx_backend.supports_device, is_compatible=onnx_backend.is_compatible
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, from the making of test data
        classes = BackendTest(backend, "onnx").test_cases
    found = {}
    for kind in classes.values():
        category = kind.__name__.removeprefix("OnnxBackend").removesuffix("Test").removesuffix("Model")
        for name in sorted(n for n in dir(kind) if n.startswith("test_") and n.endswith("_cpu")):
            found[f"{category}/{name}"] = getattr(kind(name), name)
    return found, prepared


_CASES: dict[str, Any] = {}
_PREPARED: list[Any] = []


def _start(folder: str) -> None:
    """Make the tests of this worker process; what onnx unpacks gets a place of its own in `folder`."""
    os.environ["ONNX_HOME"] = str(Path(folder) / str(os.getpid()))
    found, prepared = cases()
    _CASES.update(found)
    globals()["_PREPARED"] = prepared


def _run(name: str) -> Outcome:
    _PREPARED.clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _CASES[name]()
        failure = ""
    except unittest.SkipTest as error:
        failure = f"declined: {error}"
    except Exception as error:  # a test fails in every way there is
        failure = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return Outcome(name, failure, _seen(name))


def _seen(name: str) -> Seen | None:
    """What ran where, of a test that prepared one model about an operator in scope."""
    if len(_PREPARED) != 1 or not name.startswith("Node/"):
        return None
    model, rep = _PREPARED[0]
    op = device_share.operator_in_scope(model)
    on_device = bool(op) and rep.program is not None and device_share.runs_on_device(rep.program, op)
    return Seen(name, op, on_device) if op else None


def run(only: str = "", jobs: int = 2) -> list[Outcome]:
    """Outcomes of the tests whose name holds a match of `only`, in order."""
    names = [n for n in cases()[0] if re.search(only, n)]
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(jobs, get_context("spawn"), _start, (folder,)) as pool,
    ):
        return list(pool.map(_run, names, chunksize=8))


def compare(outcomes: list[Outcome], failures: dict[str, str]) -> Difference:
    """Compare with the table's failures; tests that did not run are left out."""
    failed = {o.test: o.failure for o in outcomes if o.failure}
    ran = {o.test for o in outcomes}
    return Difference(
        [f"{test}: {words}" for test, words in failed.items() if test not in failures],
        [test for test in failures if test in ran and test not in failed],
        len(outcomes) - len(failed),
        len(outcomes),
    )


def expected() -> dict[str, Any]:
    """The stored table: `onnx` (version), `failures` (test -> reason)."""
    return yaml.safe_load(EXPECTED.read_text())


def bless(outcomes: list[Outcome]) -> None:
    """Write the table; known reasons stay, a new failure gets its own words for a reason."""
    known = expected()["failures"] if EXPECTED.exists() else {}
    failures = {o.test: known.get(o.test, o.failure) for o in outcomes if o.failure}
    table = {"onnx": onnx.__version__, "tests": len(outcomes), "failures": failures}
    EXPECTED.write_text(HEADER + yaml.safe_dump(table, sort_keys=False, width=118, allow_unicode=True))


def lines(difference: Difference) -> Iterator[str]:
    """The difference for people."""
    yield f"{difference.passed} of {difference.total} pass"
    yield from (f"fails, and should pass: {text}" for text in difference.new_failures)
    yield from (f"passes, and is listed as failing: {text}" for text in difference.new_passes)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--bless", action="store_true")
    args = parser.parse_args()
    outcomes = run(args.only, args.jobs)
    if args.bless and not args.only:
        bless(outcomes)
    difference = compare(outcomes, expected()["failures"] if EXPECTED.exists() else {})
    sys.stdout.writelines(f"{line}\n" for line in lines(difference))
    sys.stdout.writelines(f"{line}\n" for line in device_share.report([o.seen for o in outcomes if o.seen]))
    return 1 if difference.new_failures or difference.new_passes else 0


if __name__ == "__main__":
    sys.exit(main())
