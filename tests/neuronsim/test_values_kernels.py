"""Compiled kernels agree with the numpy meanings bit for bit: all mnemonics, types, special operands, CPU levels."""
from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from isa.dtypes import BY_NAME
from isa.spec import SPEC
from neuronsim._core import values
from tests.neuronsim import values_runs

LEVELS = ("baseline", "avx2", "avx512")


@cache
def cases_by_name() -> dict[str, list[values_runs.Case]]:
    found: dict[str, list[values_runs.Case]] = {}
    for case in values_runs.all_cases():
        found.setdefault(case.name, []).append(case)
    return found


def test_every_mnemonic_has_a_case() -> None:
    loaded_by_matmul = {"load_stationary"}
    assert set(SPEC.by_name) == set(cases_by_name()) | loaded_by_matmul


def test_every_operand_and_pointer_has_every_dtype() -> None:
    seen = set()
    for case in values_runs.all_cases():
        for word in case.words:
            found = SPEC.by_opcode[int(word["opcode"])]
            seen |= {(found.mnemonic, s.name, int(word[s.field]["dtype"])) for s in found.slots.values()
                     if s.kind in ("operand", "scalar")}
    allowed = {(i.mnemonic, s.name, BY_NAME[d].code) for i in SPEC.by_name.values() for s in i.slots.values()
               if s.kind in ("operand", "scalar") for d in s.dtypes}
    assert not allowed - seen


@pytest.mark.parametrize("name", sorted(set(SPEC.by_name) - {"load_stationary"}))
def test_kernel_equals_meaning(name: str) -> None:
    for case in cases_by_name()[name]:
        got, expected = values_runs.run_kernel(case), values_runs.run_meaning(case)
        assert not values_runs.differences(got, expected), (case.words, case.descriptors)


@cache
def digest(which: str, **environment: str) -> str:
    script = Path(__file__).with_name("values_runs.py")
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-W", "ignore", str(script), which], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": paths, **environment})
    if "lacks it" in done.stderr:
        pytest.skip(f"this host cannot run {environment}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("level", LEVELS)
def test_one_result_on_all_cpu_levels(level: str) -> None:
    assert digest("kernels", NEURONSIM_CPU=level) == digest("kernels")


def test_numpy_meaning_does_not_depend_on_the_cpu() -> None:
    off = "AVX2 FMA3 AVX512F AVX512_SKX X86_V3 X86_V4"
    assert digest("meanings", NPY_DISABLE_CPU_FEATURES=off) == digest("kernels")


def test_unknown_level_is_refused() -> None:
    done = subprocess.run([sys.executable, "-c", "from neuronsim._core.values import cpu_level; cpu_level()"],
                          env={**os.environ, "NEURONSIM_CPU": "z80"}, capture_output=True, text=True,
                          cwd=Path(__file__).parents[2])
    assert done.returncode and "NEURONSIM_CPU=z80" in done.stderr


def test_level_in_use() -> None:
    assert values.cpu_level() in LEVELS


def test_records_mirror() -> None:
    assert values_runs.ACTION.itemsize == 24
    assert np.dtype(values_runs.ACTION).names == ("op", "kind", "a", "b", "slot", "sample")
