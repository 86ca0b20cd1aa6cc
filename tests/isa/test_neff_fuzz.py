"""Damage to a NEFF file: every flipped bit and every cut is a ContainerError, at open or at first use of a weight."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isa import neff, word
from isa.dtypes import dtype
from isa.errors import ContainerError
from isa.neff import archive
from isa.program import Node, Program, Stage, TensorInfo, Variable

FLIPS = 3000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("neff") / "small.neff"
    variables = [Variable(1, "x", "input", dtype("fp32"), (2, 3)),
                 Variable(2, "w", "file", dtype("bf16"), (600,), np.arange(600, dtype=np.uint16).view(np.uint8))]
    stage = Stage({"scalar": np.zeros(2, dtype=word.WORD)}, np.zeros(1, dtype=word.DESCRIPTOR), variables)
    node = Node("s0", "neuron_core", ("x",), ("x",), 0)
    tensors = [TensorInfo("x", (2, 3), "float32")]
    neff.write(Program("small", "inf1.xlarge", "v1", tensors, tensors, [node], [stage]), path)
    return path.read_bytes()


def use_everything(path: Path) -> None:
    """Do what a run with values does: read, then touch each weight."""
    for stage in neff.read(path).stages:
        for variable in stage.variables:
            if variable.kind == "file":
                neff.weight_bytes(variable)


def assert_refused(path: Path, raw: bytes) -> str:
    path.write_bytes(raw)
    with pytest.raises(ContainerError) as error:
        use_everything(path)
    assert error.value.code.startswith("NEFF_")
    return error.value.code


def test_flipped_bits(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped.neff"
    path.write_bytes(small)
    use_everything(path)
    codes = set()
    for bit in np.random.default_rng(3).choice(len(small) * 8, FLIPS, replace=False).tolist():
        raw = bytearray(small)
        raw[bit // 8] ^= 1 << bit % 8
        codes.add(assert_refused(path, bytes(raw)))
    assert {"NEFF_HASH", "NEFF_PADDING", "NEFF_MEMBER_HEADER"} <= codes


def test_every_byte_of_the_header_counts(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "header.neff"
    for offset in range(1024):
        raw = bytearray(small)
        raw[offset] ^= 0x10
        assert_refused(path, bytes(raw))


def test_cuts_at_every_boundary(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.neff"
    members = archive.members(memoryview(small))
    edges = {0, 1, 1023, 1024, len(small) - 512, len(small) - 1}
    for member in members:
        end = member.offset + member.size
        edges |= {member.offset - 512, member.offset - 1, member.offset, member.offset + 1, end - 1, end}
    for size in sorted(edges):
        assert assert_refused(path, small[:size]) in ("NEFF_EMPTY", "NEFF_TRUNCATED")


def test_cuts_with_a_matching_data_size(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.neff"
    for size in range(1024, len(small), 256):
        raw = bytearray(small[:size])
        raw[16:24] = (size - 1024).to_bytes(8, "little")
        assert_refused(path, bytes(raw))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=4096), keep=st.integers(0, 8192))
def test_arbitrary_bytes(small: bytes, tmp_path: Path, data: bytes, keep: int) -> None:
    raw = small[:keep] + data
    if raw != small:
        assert_refused(tmp_path / "random.neff", raw)
