"""Commands run in a folder of their own, with a look at what they leave; a small NEFF with every kind of member."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from isa.assembler import assemble_to_neff
from neuronsim.cli import main
from tests.e2e.refusal import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an own folder; returns exit code, error codes and stderr, after looking for left-overs."""
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def invoke(*arguments: str) -> tuple[int, set[str], str]:
        before = {p: p.read_bytes() for p in work.rglob("*") if p.is_file()}
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        err = capsys.readouterr().err
        if code:
            assert {p: p.read_bytes() for p in work.rglob("*") if p.is_file()} == before
        assert not list(temporary.iterdir())
        return code, set(re.findall(r"^error\[([A-Z0-9_]+)\]: ", err, re.MULTILINE)), err

    return invoke


@pytest.fixture
def small(tmp_path: Path) -> bytes:
    """A NEFF of a few kilobytes with every kind of member: y = 2 x + b through DRAM, SBUF and the scalar engine."""
    text = """.variable x input fp32 4x8
.variable y output fp32 4x8
.variable b file fp32 4x1 file=sg00/weights/00003.bin
.debug 1 affine Mul+Add mul,add compute 32
.dma
    copy size=[4,8] src=x@0:fp32 dst=sbuf[0]@0:fp32
    copy size=[4,1] src=b@0:fp32 dst=sbuf[0]@0x200:fp32
    copy size=[4,8] src=sbuf[0]@0x100:fp32 dst=y@0:fp32
.engine sync
    dma_trigger first=0 count=2 post(16+1)
    dma_trigger first=2 count=1 queue=1 wait(3>=1) post(17+1)
.engine scalar
    activation dst=sbuf[0:4]@0x100:fp32[8] src0=sbuf[0:4]@0:fp32[8] scale=2 bias=sbuf[0]@0x200:fp32 wait(16>=16) post(3+1) dbg=1
"""  # noqa: E501
    path = tmp_path / "small.neff"
    assemble_to_neff(text, path, {"sg00/weights/00003.bin": np.arange(4, dtype=np.float32).tobytes()})
    return path.read_bytes()
