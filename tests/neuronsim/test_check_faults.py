"""Each kind of fault in a hand-made program is found, and the program without it is clean."""
from __future__ import annotations

import numpy as np
import pytest

from isa.program import INPUT, SCRATCH
from isa.word import DMA_GATHER, PSUM, SBUF_PARTITION_STRIDE
from neuronsim.check import Finding, check
from tests.neuronsim.check_programs import BANK, TARGET, At, Builder, bank, pipeline


def found(b: Builder) -> list[tuple[str, str]]:
    return [(f.kind, f.code) for f in check(b.stage(), TARGET)]


def layer(psum_start: bool = True, stop: bool = True, wait: bool = True, read_at: int = 0,
          write: bool = True) -> Builder:
    """Two tiles, a group of two matmuls, and a copy out; each argument can break it."""
    b = Builder()
    b.memset("vector", At(0, 128), post=(2, 1))
    if write:
        b.memset("vector", At(4096, 16), post=(2, 1))
    b.word("tensor", "load_stationary", ((2, 1),), src0=At(0, 128))
    ready = ((2, 2),) if write else ()
    b.matmul(bank(0, 16), At(4096, 16), psum_start, False, ready)
    b.matmul(bank(0, 16), At(4096, 16), False, stop, (), (1, 1))
    b.copy("scalar", At(8192, 16), At(read_at, 16, space=PSUM), ((1, 1),) if wait else (), (3, 1))
    return b


def test_clean_programs_are_clean() -> None:
    assert check(layer().stage(), TARGET) == []
    assert check(pipeline(7), TARGET) == []
    assert check(pipeline(9, depth=3), TARGET) == []


def test_dropped_wait() -> None:
    findings = check(layer(wait=False).stage(), TARGET)
    race = next(f for f in findings if f.kind == "race")
    assert {(race.engine, race.index), (race.other_engine, race.other_index)} & {("scalar", 0)}
    assert race.memory == "psum" and race.bytes == (0, 64) and race.partitions == (0, 128)
    assert race.layer == "layer1"
    assert "nothing orders" in race.message


def test_advice_names_the_wait_that_orders() -> None:
    b = Builder()
    b.word("vector", "nop", post=(2, 3))
    b.memset("vector", At(0))
    b.word("vector", "nop", post=(2, 2))
    b.copy("scalar", At(64), At(0))
    race = check(b.stage(), TARGET)[0]
    assert race.help == "let scalar[0] wait for semaphore 2 >= 5"


def test_shifted_address() -> None:
    kinds = found(layer(read_at=32))
    assert kinds == [("uninitialised", "READ_UNWRITTEN")]
    finding = check(layer(read_at=32).stage(), TARGET)[0]
    assert (finding.engine, finding.index, finding.memory, finding.bytes) == ("scalar", 0, "psum", (64, 96))


def test_unwritten_tile() -> None:
    finding = check(layer(write=False).stage(), TARGET)[0]
    assert (finding.kind, finding.engine, finding.index) == ("uninitialised", "tensor", 1)
    assert finding.memory == "sbuf" and finding.bytes == (4096, 4160) and finding.partitions == (0, 128)


def test_partly_written_tile_names_the_missing_partitions() -> None:
    b = Builder()
    b.memset("vector", At(0, 8, 64))
    b.copy("vector", At(64, 8), At(0, 8))
    finding = check(b.stage(), TARGET)[0]
    assert finding.partitions == (64, 128) and finding.bytes == (0, 32)


def test_strided_reads_of_strided_writes() -> None:
    b = Builder()
    b.memset("vector", At(0, 8, step=2))
    b.copy("vector", At(256, 8), At(0, 8, step=2))
    assert found(b) == []
    b.copy("vector", At(256, 8), At(4, 8, step=2))
    assert found(b) == [("uninitialised", "READ_UNWRITTEN")]


def test_missing_psum_start_bit() -> None:
    assert ("psum", "PSUM_NOT_STARTED") in found(layer(psum_start=False))


def test_accumulating_onto_a_stopped_group() -> None:
    b = layer()
    b.matmul(bank(0, 16), At(4096, 16), False, True, ((3, 1),))
    assert found(b) == [("psum", "PSUM_CLOSED")]


def test_read_of_an_open_group() -> None:
    assert found(layer(stop=False)) == [("psum", "PSUM_READ_OPEN")]


def test_write_into_an_open_group_and_accumulation_onto_it() -> None:
    b = layer(stop=False)
    b.words["scalar"].clear()
    b.memset("vector", bank(0, 16), ((1, 1),), (2, 1))
    assert found(b) == [("psum", "PSUM_WRITE_OPEN")]
    b.matmul(bank(0, 16), At(4096, 16), False, True, ((2, 3),))
    assert found(b) == [("psum", "PSUM_WRITE_OPEN"), ("psum", "PSUM_FOREIGN")]


def test_group_overlapped_by_another() -> None:
    b = layer(stop=False)
    b.words["scalar"].clear()
    b.matmul(At(32, 16, space=PSUM), At(4096, 16), True, True)
    assert found(b) == [("psum", "PSUM_START_OPEN")]


def test_accumulation_across_two_groups() -> None:
    b = layer(stop=False)
    b.words["scalar"].clear()
    b.matmul(At(64, 16, space=PSUM), At(4096, 16), True, False)
    b.matmul(At(32, 16, space=PSUM), At(4096, 16), False, True)
    assert found(b) == [("psum", "PSUM_TWO_GROUPS")]


def test_groups_in_other_partitions_of_the_same_bytes_are_independent() -> None:
    b = Builder()
    b.memset("vector", At(0, 64))
    b.word("vector", "nop", post=(2, 1))
    b.word("tensor", "load_stationary", ((2, 1),), src0=At(0, 64))
    low, high = At(0, 16, 64, 0, PSUM), At(0, 16, 64, 64, PSUM)
    b.matmul(low, At(0, 16), True, False)
    b.matmul(high, At(0, 16), True, False)
    b.matmul(low, At(0, 16), False, True)
    b.matmul(high, At(0, 16), False, True)
    b.word("tensor", "nop", post=(1, 1))
    b.copy("scalar", At(1024, 16), At(0, 16, 128, 0, PSUM), ((1, 1),))
    assert found(b) == []


def test_stop_on_a_part_ends_the_whole_group() -> None:
    b = layer(stop=False)
    b.words["scalar"].clear()
    b.matmul(bank(0, 4), At(4096, 4), False, True, (), (1, 1))
    b.copy("scalar", At(8192, 16), bank(0, 16), ((1, 2),))
    assert found(b) == []


def test_circular_wait_and_its_graph() -> None:
    b = Builder()
    b.word("tensor", "nop", ((3, 1),), (1, 1))
    b.word("vector", "nop", ((1, 1),), (2, 1))
    b.word("scalar", "nop", ((2, 1),), (3, 1))
    findings = check(b.stage(), TARGET)
    assert {(f.engine, f.code) for f in findings} == {(e, "CIRCULAR_WAIT") for e in ("tensor", "vector", "scalar")}
    assert findings[0].data["graph"] == {
        "tensor": [("scalar", 0)], "vector": [("tensor", 0)], "scalar": [("vector", 0)]}


def test_wait_that_nothing_can_satisfy() -> None:
    b = Builder()
    b.word("tensor", "nop", post=(1, 2))
    b.word("vector", "nop", ((1, 3),), (2, 1))
    b.word("scalar", "nop", ((2, 1),))
    findings = {f.engine: f for f in check(b.stage(), TARGET)}
    assert findings["vector"].code == "WAIT_UNREACHABLE" and "stays at 2" in findings["vector"].message
    assert findings["scalar"].code == "WAIT_BLOCKED" and findings["scalar"].other_engine == "vector"


def test_wait_for_a_later_word_of_the_same_engine() -> None:
    b = Builder()
    b.word("vector", "nop", ((2, 1),))
    b.word("vector", "nop", post=(2, 1))
    assert found(b) == [("deadlock", "CIRCULAR_WAIT")]


@pytest.mark.parametrize("at,code", [
    (At(TARGET.sbuf_partition_bytes - 16), "OUT_OF_BOUNDS"), (At(0, partition=8), "PARTITIONS"),
    (At(4, step=-2), "OUT_OF_BOUNDS"), (At(8 * BANK - 4, space=PSUM), "OUT_OF_BOUNDS"),
])
def test_out_of_range(at: At, code: str) -> None:
    b = Builder()
    b.memset("vector", at)
    assert found(b) == [("range", code)]


def test_out_of_range_transfers() -> None:
    b = Builder()
    x = b.variable(INPUT, 128 * 8)
    b.dma("sync", At(0), (x, 4))
    b.dma("sync", At(0), (7, 0))
    b.dma("sync", At(TARGET.sbuf_partition_bytes - 4), (x, 0))
    b.words["sync"][1]["count"] = 9
    codes = sorted(code for kind, code in found(b) if kind == "range")
    assert codes == ["NO_DESCRIPTOR", "OUT_OF_BOUNDS", "OUT_OF_BOUNDS", "OUT_OF_BOUNDS", "UNKNOWN_VARIABLE"]


def test_absurd_descriptors_are_reported_not_expanded() -> None:
    b = Builder()
    x = b.variable(INPUT, 128 * 8)
    b.dma("sync", At(0), (x, 0))
    d = b.descriptors[0]
    d["size"], d["dst_step"] = (2**32 - 1,) * 4, (2**62, -(2**62), SBUF_PARTITION_STRIDE + 4, 1)
    d["src_off"] = 2**64 - 1
    assert {kind for kind, _ in found(b)} == {"range"}


def transfer(wait: int | None, self_wait: bool = True) -> Builder:
    """Compute, store to scratch, load back, compute."""
    b = Builder()
    t = b.variable(SCRATCH, 128 * 8)
    b.memset("vector", At(0), post=(2, 1))
    b.dma("vector", (t, 0), At(0), ((2, 1),) if self_wait else (), 16)
    b.dma("sync", At(64), (t, 0), () if wait is None else ((16, wait),), 17)
    b.copy("scalar", At(128), At(64), ((17, 16),))
    return b


def test_spill_and_reload() -> None:
    assert found(transfer(16)) == []
    for wait in (None, 15):
        finding = next(f for f in check(transfer(wait).stage(), TARGET) if f.kind == "race")
        assert finding.memory == "tmp-buf0" and finding.code == "RACE_WRITE_READ"


def test_a_trigger_must_wait_for_its_own_engine() -> None:
    finding = check(transfer(16, self_wait=False).stage(), TARGET)[0]
    assert (finding.kind, finding.engine, finding.index, finding.other_index) == ("race", "vector", 1, 0)
    assert finding.help == "let vector[1] wait for semaphore 2 >= 1"


def test_reload_of_a_scratch_never_spilled() -> None:
    b = Builder()
    t = b.variable(SCRATCH, 128 * 8)
    b.dma("sync", At(64), (t, 0), (), 16)
    assert found(b) == [("uninitialised", "READ_UNWRITTEN")]


def test_disjoint_strided_stores_do_not_race() -> None:
    """Two transfers interleave their elements in one variable."""
    for shift, faults in ((4, 0), (8, 1)):
        b = Builder()
        y = b.variable(SCRATCH, 128 * 16)
        b.memset("vector", At(0), post=(2, 1))
        for k, engine in enumerate(("sync", "gpsimd")):
            b.dma(engine, (y, k * shift), At(0), ((2, 1),), 16 + k)
            b.descriptors[-1]["dst_step"] = (0, 0, 4 * 16, 8)
            b.descriptors[-1]["size"][3] = 7
        assert len(check(b.stage(), TARGET)) == faults


def test_gather_reads_its_indices_and_any_row() -> None:
    b = Builder()
    t = b.variable(SCRATCH, 128 * 8)
    b.dma("sync", At(0, 8), (t, 0), (), 16)
    d = b.descriptors[0]
    d["op"], d["size"] = DMA_GATHER, (4, 1, 1, 8)
    d["src_step"], d["dst_step"] = (32, 0, 0, 4), (SBUF_PARTITION_STRIDE, 0, 0, 4)
    d["index_off"], d["index_step"], d["index_limit"] = 1024, 4, 128
    unwritten = {f.memory: f.bytes for f in check(b.stage(), TARGET)}
    assert unwritten == {"tmp-buf0": (0, 4096), "sbuf": (1024, 1040)}


def test_diagonal_and_partition_strided_transfers() -> None:
    b = Builder()
    x = b.variable(INPUT, 128 * 8)
    b.dma("sync", At(0), (x, 0), (), 16)
    b.descriptors[0]["size"] = (1, 1, 8, 1)
    b.descriptors[0]["dst_step"] = (0, 0, SBUF_PARTITION_STRIDE + 4, 4)  # element k of partition k
    for k in range(8):
        b.copy("vector", At(256 + 4 * k, 1, 1), At(4 * k, 1, 1, k), ((16, 16),))
    assert found(b) == []
    b.copy("vector", At(512, 1, 1), At(4, 1, 1, 0))
    assert found(b) == [("uninitialised", "READ_UNWRITTEN")]


def test_predicated_copy_keeps_what_was_unwritten() -> None:
    b = Builder()
    b.memset("vector", At(0))
    b.word("vector", "tensor_copy_predicated", dst=At(64), src0=At(0), src1=At(0))
    b.copy("vector", At(128), At(64))
    assert found(b) == [("uninitialised", "READ_UNWRITTEN")]


def test_finding_prints_everything() -> None:
    text = str(Finding("race", "RACE_WRITE_READ", "message", "scalar", 3, "tensor", 4, "conv1", "conv2", "psum",
                       (0, 64), (0, 2048), "do this"))
    for part in ("race[RACE_WRITE_READ]", "scalar[3]", "tensor[4]", "conv1", "conv2", "0..63", "0..2047", "do this"):
        assert part in text


def test_findings_are_limited() -> None:
    b = Builder()
    for _ in range(50):
        b.memset("vector", At(0))
        b.memset("gpsimd", At(0))
    assert len(check(b.stage(), TARGET, limit=7)) == 7
    assert np.all([f.kind == "race" for f in check(b.stage(), TARGET)])
