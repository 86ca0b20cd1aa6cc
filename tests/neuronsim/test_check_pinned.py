"""The checker on stages that are loaded once: `init` is checked, counts as written, and is only read by runs."""
from __future__ import annotations

from dataclasses import replace

import pytest

from isa import target
from isa.assembler import assemble
from isa.program import Stage
from neuronsim.check import Finding, check
from tests.neuronsim.pinned_programs import product

TARGET = target.load("trn1.2xlarge")


def seen(stage: Stage) -> list[tuple[str, str, int]]:
    return [(f.code, f.engine, f.index) for f in check(stage, TARGET)]


@pytest.mark.parametrize("space", ["", "space=sbuf"])
@pytest.mark.parametrize("pinned", [True, False])
def test_loaded_weights_and_handed_values_count_as_written(pinned: bool, space: str) -> None:
    assert check(product(pinned, space=space), TARGET) == []


def test_without_loading_the_weights_are_not_there() -> None:
    assert seen(replace(product(pinned=True), init={})) == [("READ_UNWRITTEN", "tensor", 0)]


def test_weights_loaded_in_part() -> None:
    stage = product(pinned=True)
    stage.descriptors = stage.descriptors.copy()
    stage.descriptors["size"][1] = [1, 1, 100, 128]
    (finding,) = check(stage, TARGET)
    assert (finding.code, finding.partitions) == ("READ_UNWRITTEN", (100, 128))


def only(finding: list[Finding]) -> Finding:
    assert len(finding) == 1, [str(f) for f in finding]
    return finding[0]


def test_a_run_that_writes_what_stays() -> None:
    over = "memset dst=sbuf[32:64]@{start}:fp32[{size}] value=7 wait(stored>=16)"
    finding = only(check(product(pinned=True, after=over.format(start=0xFFC, size=3)), TARGET))
    assert (finding.kind, finding.code) == ("pinned", "WRITE_PINNED")
    assert (finding.engine, finding.index, finding.other_engine, finding.other_index) == ("vector", 0, "init.sync", 0)
    assert (finding.memory, finding.partitions, finding.bytes) == ("sbuf", (32, 64), (0x1000, 0x1008))
    assert "transfer init.sync[0]" in finding.message and "next run" in finding.message
    assert check(product(pinned=True, after=over.format(start=0xFF8, size=2)), TARGET) == []
    assert check(product(pinned=True, after=over.format(start=0x1200, size=2)), TARGET) == []


INTERLEAVED = """
.variable w file fp32 64x8
.dma
    copy size=[64,8] src=w@0:fp32 dst=sbuf[0]@0:fp32(1p,8)
.init sync
    dma_trigger first=0 count=1
.engine vector
    memset dst=sbuf[64:128]@0:fp32[16] value=1
    memset dst=sbuf[0:64]@4:fp32[8:2] value=1
    {bad}
"""


def test_neighbours_of_what_stays_are_free() -> None:
    """Other partitions of the same bytes, and the gaps of a strided tile."""
    assert check(assemble(INTERLEAVED.format(bad="")).stages[0], TARGET) == []
    bad = "memset dst=sbuf[0:64]@8:fp32[1] value=1\nmemset dst=sbuf[0:64]@0:fp32[16] value=1"
    stage = assemble(INTERLEAVED.format(bad=bad)).stages[0]
    assert seen(stage) == [("WRITE_PINNED", "vector", 2), ("WRITE_PINNED", "vector", 3)]
    assert len(check(stage, TARGET, limit=1)) == 1


def test_transfers_write_too() -> None:
    stage = product(pinned=True, descriptors="copy size=[128,4] src=x@0:fp32 dst=sbuf[0]@0x1000:fp32",
                    after=".engine sync\n dma_trigger first=3 count=1 wait(stored>=16)")
    assert seen(stage) == [("WRITE_PINNED", "sync", 2)]


def test_loading_is_a_program_of_its_own() -> None:
    race = ".init vector\n memset dst=sbuf[0:128]@0x1000:fp32[4] value=1\n"
    finding = only(check(product(pinned=True, init=race), TARGET))
    assert finding.kind == "race" and {finding.engine, finding.other_engine} == {"init.vector", "init.sync"}
    assert "init." in finding.help
    ordered = race.replace("value=1", "value=1 wait(16>=16)")  # a run posts to the same semaphore, from zero again
    assert check(product(pinned=True, init=ordered), TARGET) == []
    stuck = only(check(product(pinned=True, init=".init scalar\n nop wait(30>=1)\n"), TARGET))
    assert (stuck.code, stuck.engine) == ("WAIT_UNREACHABLE", "init.scalar")
    unwritten = ".init vector\n tensor_copy dst=sbuf[0:128]@0x9000:fp32[4] src0=sbuf[0:128]@0x8000:fp32[4]\n"
    assert seen(product(pinned=True, init=unwritten)) == [("READ_UNWRITTEN", "init.vector", 0)]


def test_scratch_of_loading_is_not_there_in_a_run() -> None:
    stage = assemble("""
.variable w file fp32 128x4
.variable t tmp-buf fp32 128x4
.dma
    copy size=[128,4] src=w@0:fp32 dst=t@0:fp32
    copy size=[128,4] src=t@0:fp32 dst=sbuf[0]@0:fp32
.init sync
    dma_trigger first=0 count=1
.engine sync
    dma_trigger first=1 count=1
""").stages[0]
    assert seen(stage) == [("READ_UNWRITTEN", "sync", 0)]
