from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import cost, word
from isa.dtypes import BY_NAME
from isa.errors import IllegalInstruction
from isa.program import Stage, Variable
from isa.spec import SPEC
from isa.target import Target, load
from tests.isa.words import descriptor, load_tile, make, operand

V1, V2, V3 = load("v1"), load("v2"), load("v3")
PARTITION = word.SBUF_PARTITION_STRIDE


def price(mnemonic: str, engine: str = "vector", target: Target = V2, **fields: Any) -> int:
    return int(cost.cycles(make(mnemonic, **fields), engine, target)[0])


def both(n: int, dtype: str = "fp32", **extra: Any) -> dict[str, Any]:
    return {"dst": operand((n,), dtype), "src0": operand((n,), dtype), **extra}


@pytest.mark.parametrize("target, dtype, m, n, cycles", [
    (V2, "bf16", 128, 512, 512), (V2, "bf16", 128, 16, 64), (V2, "bf16", 32, 16, 32), (V2, "fp32", 128, 512, 2048),
    (V2, "fp32", 128, 16, 256), (V2, "tf32", 128, 512, 512), (V2, "fp8_e4m3", 128, 512, 512),
    (V1, "bf16", 128, 512, 1024), (V1, "int8", 128, 512, 512), (V3, "bf16", 128, 512, 512),
])
def test_matmul(target: Target, dtype: str, m: int, n: int, cycles: int) -> None:
    dst = operand((n,), "fp32", "psum", partitions=m)
    assert price("matmul", "tensor", target, dst=dst, src0=operand((n,), dtype)) == cycles


@pytest.mark.parametrize("target, dtype, m, cycles", [
    (V2, "bf16", 128, 32), (V2, "bf16", 126, 32), (V2, "fp32", 128, 128), (V1, "bf16", 128, 64), (V2, "bf16", 1, 1),
])
def test_load_stationary(target: Target, dtype: str, m: int, cycles: int) -> None:
    assert price("load_stationary", "tensor", target, src0=operand((m,), dtype)) == cycles


def test_tensor_tensor_rules() -> None:
    two = both(500, src1=operand((500,)))
    assert price("tensor_tensor", **two) == 1000
    assert price("tensor_tensor", **{**two, "src1": operand((500,), space="psum")}) == 500
    fast = both(500, "bf16", src1=operand((500,), "bf16"))
    assert price("tensor_tensor", **fast) == 500
    assert price("tensor_tensor", op0="mult", **fast) == 500
    assert price("tensor_tensor", op0="max", **fast) == 1000
    strided = operand((500,), "bf16", steps=(2,))
    assert price("tensor_tensor", **{**fast, "src1": strided}) == 1000
    assert price("tensor_tensor", target=V3, op0="max", **{**fast, "src1": strided}) == 500
    assert price("tensor_tensor", **both(10, src1=operand((10,)))) == 64
    assert price("tensor_tensor", "gpsimd", **two) == 1000


@pytest.mark.parametrize("mnemonic, cycles", [
    ("tensor_scalar", 600), ("tensor_copy", 600), ("tensor_scalar_reduce", 664), ("reciprocal", 4800),
    ("tensor_scalar_cumulative", 600), ("match_replace8", 600), ("memset", 600), ("transpose", 600),
])
def test_one_stream_rules(mnemonic: str, cycles: int) -> None:
    assert price(mnemonic, imm0=1.0, **both(600)) == cycles


@pytest.mark.parametrize("mnemonic, n, cycles", [
    ("bn_stats", 512, 512), ("bn_aggr", 6, 64), ("bn_aggr", 30, 130), ("max8", 4000, 4000), ("find_index8", 8, 64),
])
def test_small_destination_rules(mnemonic: str, n: int, cycles: int) -> None:
    assert price(mnemonic, dst=operand((8,)), src0=operand((n,)), src1=operand((8,))) == cycles


def test_tensor_reduce_is_twice_as_fast_in_bf16() -> None:
    for op, dtype, cycles in (("add", "bf16", 256), ("max", "bf16", 256), ("mult", "bf16", 512), ("add", "fp32", 512)):
        fields = {"dst": operand((1,), dtype), "src0": operand((512,), dtype)}
        assert price("tensor_reduce", op0=op, **fields) == cycles


def test_memset_of_zero() -> None:
    assert price("memset", dst=operand((512,), "bf16")) == 256
    assert price("memset", dst=operand((512,), "bf16"), imm0=1.0) == 512
    assert price("memset", dst=operand((512,))) == 512


def test_predicated_copy() -> None:
    predicate = operand((500,), "uint8", "psum")
    assert price("tensor_copy_predicated", **both(500), src1=predicate) == 500
    assert price("tensor_copy_predicated", **both(500), src1=operand((500,), "uint8")) == 1000


def test_scalar_tensor_tensor() -> None:
    fields = both(500, "bf16", src1=operand((500,), "bf16"))
    assert price("scalar_tensor_tensor", op0="subtract", op1="mult", **fields) == 500
    assert price("scalar_tensor_tensor", op0="add", op1="mult", **fields) == 1000
    odd = both(501, "bf16", src1=operand((501,), "bf16"))
    assert price("scalar_tensor_tensor", op0="subtract", op1="mult", **odd) == 1002
    assert price("tensor_tensor_scan", **both(500), src1=operand((500,))) == 1000


def test_scalar_and_gpsimd_engines() -> None:
    assert price("activation", "scalar", func="exp", **both(300)) == 300
    assert price("activation", "scalar", **both(1)) == 64
    assert price("activation_reduce", "scalar", src1=operand((1,)), **both(300)) == 364
    assert price("iota", "gpsimd", dst=operand((100,), "int32")) == 250
    assert price("affine_select", "gpsimd", **both(100)) == 250
    assert price("nop", "sync") == 16 and price("dma_trigger", "sync") == 64


def test_v3_fast_modes() -> None:
    for mnemonic in ("tensor_copy", "tensor_scalar"):
        assert price(mnemonic, target=V3, **both(1024, "bf16")) == 256
        assert price(mnemonic, target=V3, **both(1024)) == 1024
        psum = {**both(1024, "bf16"), "src0": operand((1024,), "bf16", "psum")}
        assert price(mnemonic, target=V3, **psum) == 512
        strided = {**both(1024, "fp16"), "src0": operand((1024,), "fp16", steps=(3,))}
        assert price(mnemonic, target=V3, **strided) == 512
        assert price(mnemonic, "scalar", V3, **both(1024, "bf16")) == 1024
        assert price(mnemonic, target=V2, **both(1024, "bf16")) == 1024


@pytest.mark.parametrize("dtype, step, factor", [
    ("fp32", 4, 1), ("fp32", 5, 2), ("fp32", -5, 2), ("bf16", 8, 1), ("bf16", 9, 2), ("int8", 16, 1), ("fp32", 0, 1),
])
def test_wide_strides_halve_the_rate(dtype: str, step: int, factor: int) -> None:
    src = operand((256,), dtype, steps=(step,), start=8192)
    assert price("tensor_copy", dst=operand((256,), dtype), src0=src) == 256 * factor
    assert price("tensor_copy", dst=src, src0=operand((256,), dtype)) == 256 * factor


def test_only_the_innermost_real_dimension_counts() -> None:
    wide_outer = operand((16, 16), steps=(1000, 1))
    wide_inner_of_one = operand((256, 1), steps=(1, 1000))
    narrow_last_of_one = operand((256, 1), steps=(1000, 1))
    for src, cycles in ((wide_outer, 256), (wide_inner_of_one, 256), (narrow_last_of_one, 512)):
        assert price("tensor_copy", dst=operand((256,)), src0=src) == cycles


def test_sizes_do_not_overflow() -> None:
    assert price("reciprocal", dst=operand((60000, 1000)), src0=operand((60000, 1000), steps=(0, 0))) == 480_000_000


def test_mixed_streams_equal_single_words() -> None:
    words = [make("memset", dst=operand((n,))) if n % 3 else make("tensor_copy", **both(n)) for n in range(1, 200)]
    stream = np.concatenate(words)
    together = cost.cycles(stream, "vector", V2)
    assert together.dtype == np.int64
    assert together.tolist() == [int(cost.cycles(w, "vector", V2)[0]) for w in words]
    assert (cost.ticks(stream, "vector", V2) == together * 5).all()
    assert cost.cycles(stream[:0], "vector", V2).shape == (0,)


def test_parameters_reach_the_rules() -> None:
    slow = V2.with_params({"min_ii_cycles": 100, "gpsimd.start_cycles": 10})
    assert price("tensor_copy", target=slow, **both(8)) == 100
    assert price("iota", "gpsimd", slow, dst=operand((8,))) == 18


def test_foreign_opcodes_are_refused() -> None:
    with pytest.raises(IllegalInstruction):
        cost.cycles(make("matmul"), "vector", V2)
    with pytest.raises(IllegalInstruction):
        cost.cycles(make("nop"), "host", V2)


def test_every_instruction_has_a_price_everywhere() -> None:
    for i in SPEC:
        for engine in i.engines:
            for target in (V1, V2, V3):
                assert price(i.mnemonic, engine, target, **both(64)) > 0


# ---- DMA
def shares(target: Target = V2, **fields: Any) -> tuple[list[int], list[int]]:
    packets, moved = cost.dma_shares(descriptor(**fields), target)
    return packets[0].tolist(), moved[0].tolist()


def test_tile_load_uses_every_engine() -> None:
    packets, moved = shares(**load_tile())
    assert packets == [8] * 16 and moved == [8 * 4096] * 16
    ticks = cost.dma_ticks(descriptor(**load_tile()), V2)
    assert ticks.shape == (1, 16) and ticks.dtype == np.int64
    assert ticks[0, 0] == pytest.approx((8 * 90 + 32768 / 27.2) * 5.6, abs=1)


def test_documented_32_kib_example() -> None:
    """1416 ns for 32 KiB on one engine of v3: nki/get-started/about/nki-dma-overview.rst."""
    one_engine = descriptor(**load_tile(size=(1, 1, 8, 1024)))
    assert cost.dma_ticks(one_engine, V3)[0, 0] / 4.8 == pytest.approx(1416, rel=0.005)


def test_four_partitions_use_one_engine() -> None:
    packets, _ = shares(**load_tile(size=(1, 1, 4, 1024), dst_off=64 * PARTITION))
    assert packets == [0] * 8 + [4] + [0] * 7


def test_store_follows_the_source_partition() -> None:
    packets, _ = shares(**load_tile(src_var=0, dst_var=1, src_step=(0, 0, PARTITION, 4), dst_step=(0, 0, 4096, 4),
                                    size=(1, 1, 16, 1024), src_off=12 * PARTITION))
    assert packets == [0, 4, 8, 4] + [0] * 12


def test_sbuf_to_sbuf_follows_the_destination() -> None:
    packets, _ = shares(**load_tile(src_var=0, size=(1, 1, 8, 1024), src_step=(0, 0, PARTITION, 4),
                                    dst_off=120 * PARTITION))
    assert packets == [0] * 15 + [8]


def test_long_runs_are_cut_and_short_ones_are_not_joined() -> None:
    assert shares(**load_tile(size=(1, 1, 8, 1025), src_step=(0, 0, 4100, 4)))[0][0] == 16
    element_wise = load_tile(size=(1, 1, 8, 1024), src_step=(0, 0, 4, 512))
    assert shares(**element_wise)[0][0] == 8 * 1024
    split = load_tile(size=(1, 8, 32, 32), src_step=(0, 4096, 128, 4), dst_step=(0, PARTITION, 128, 4))
    assert shares(**split)[0][0] == 8


def test_dram_to_dram_is_dealt_round_robin() -> None:
    fields = load_tile(dst_var=2, size=(1, 1, 3, 1500), src_step=(0, 0, 8000, 4), dst_step=(0, 0, 8000, 4))
    packets, moved = cost.dma_shares(np.concatenate([descriptor(**fields)] * 3), V2)
    assert packets.sum(axis=1).tolist() == [6, 6, 6] and moved.sum(axis=1).tolist() == [18000] * 3
    assert packets.sum(axis=0).tolist() == [2, 2] + [1] * 14
    assert moved[0, :6].tolist() == [4096, 1904] * 3


def test_bytes() -> None:
    d = np.concatenate([
        descriptor(**load_tile()), descriptor(**load_tile(src_var=0, dst_var=1)),
        descriptor(**load_tile(dst_var=2)), descriptor(**load_tile(dst_var=2, op=word.DMA_ADD)),
        descriptor(**load_tile(op=word.DMA_CAST, dst_dtype=2)),
    ])
    n = 128 * 1024
    read, written, moved = cost.dma_bytes(d)
    assert read.tolist() == [4 * n, 0, 4 * n, 8 * n, 4 * n]
    assert written.tolist() == [0, 4 * n, 4 * n, 4 * n, 0]
    assert moved.tolist() == [4 * n] * 4 + [2 * n]


def test_variables_elsewhere_take_no_dram() -> None:
    d = np.concatenate([descriptor(**load_tile()), descriptor(**load_tile(src_var=0, dst_var=2)),
                        descriptor(**load_tile(dst_var=2)), descriptor(**load_tile(dst_var=2, op=word.DMA_ADD))])
    fp32, n = BY_NAME["fp32"], 4 * 128 * 1024
    spaces = ((1, "dram"), (2, "sbuf"))
    stage = Stage(descriptors=d, variables=[Variable(k, str(k), "input", fp32, (1,), space=s) for k, s in spaces])
    assert cost.sbuf_variables(stage) == [2]
    read, written, moved = cost.dma_bytes(d, cost.sbuf_variables(stage))
    assert read.tolist() == [n, 0, n, n] and written.tolist() == [0] * 4 and moved.tolist() == [n] * 4
    read, written, _ = cost.dma_bytes(d, [1])
    assert read.tolist() == [0, 0, 0, n] and written.tolist() == [0, n, n, n]


def _by_hand(d: np.void, target: Target) -> tuple[list[int], list[int]]:
    """Packets and bytes per engine, element by element: consecutive elements join while both sides are contiguous."""
    packets, moved = [0] * 16, [0] * 16
    last: tuple[int, int] | None = None
    run = 0
    runs: list[tuple[int, int]] = []
    engine = 0
    for index in np.ndindex(*d["size"]):
        src = int(d["src_off"]) + sum(int(i * s) for i, s in zip(index, d["src_step"]))
        dst = int(d["dst_off"]) + sum(int(i * s) for i, s in zip(index, d["dst_step"]))
        if last is None or (src, dst) != last:
            if run:
                runs.append((engine, run))
            run, engine = 0, dst // PARTITION // 8
        run += 4
        last = (src + 4, dst + 4)
    runs.append((engine, run))
    for engine, run in runs:
        packets[engine] += -(-run // target.dma.packet_bytes)
        moved[engine] += run
    return packets, moved


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)),
       st.permutations(range(4)), st.sampled_from([1, 2, 3]))
def test_shares_equal_counting_elements(first: int, size: tuple[int, ...], order: list[int], spread: int) -> None:
    """Any order of the source dimensions, two partition dimensions on the SBUF side."""
    src = [0] * 4
    width = 4
    for k in reversed(order):
        src[k] = width
        width *= size[k]
    dst = (PARTITION * spread * size[1], PARTITION * spread, 4 * size[3], 4)
    d = descriptor(**load_tile(size=size, src_step=src, dst_step=dst, dst_off=first * PARTITION + 64))
    packets, moved = cost.dma_shares(d, V2)
    assert moved.sum() == 4 * np.prod(size)
    if _single_runs(src, size):
        assert (packets[0].tolist(), moved[0].tolist()) == _by_hand(d[0], V2)


def _single_runs(src: list[int], size: tuple[int, ...]) -> bool:
    """Whether contiguity by dimension and by element mean the same: no outer dimension continues a broken inner one."""
    return src[3] == 4 or size[3] == 1


def test_costing_is_fast() -> None:
    names = ("tensor_tensor", "tensor_copy", "tensor_scalar", "tensor_reduce", "memset")
    stream = np.tile(np.concatenate([make(m, **both(512), src1=operand((512,))) for m in names]), 40_000)
    tiles = np.tile(descriptor(**load_tile()), 5000)
    started = time.perf_counter()
    cost.cycles(stream, "vector", V2)
    middle = time.perf_counter()
    cost.dma_ticks(tiles, V2)
    ended = time.perf_counter()
    assert middle - started < 0.5 and ended - middle < 0.1  # 40 ms and 3 ms alone; room for a busy host
