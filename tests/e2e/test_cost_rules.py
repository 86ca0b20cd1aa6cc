"""Documented costs, measured: assembled from text, written to a NEFF, loaded, run, read from the trace."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuronsim
from isa.assembler import assemble_to_neff
from isa.spec import SPEC
from isa.trace import Trace
from isa.word import ENGINES
from tests.e2e.cost_oracle import CLOCK_HZ, Rule, exact_cycles, rules

RULES = list(rules())
# priced by inference (the tables say so) or with no v2 formula of its own
NOT_DOCUMENTED = {"nop", "dma_trigger", "partition_reduce", "tensor_scalar_cumulative"}


def trace_of(listing: str, path: Path) -> Trace:
    assemble_to_neff(listing, path)
    return neuronsim.load(path).run(mode="timing").trace


def starts(trace: Trace, engine: str, mnemonic: str) -> np.ndarray:
    rows = trace.instructions
    chosen = (rows["engine"] == ENGINES.index(engine)) & (rows["opcode"] == SPEC.by_name[mnemonic].opcode)
    return rows["start"][chosen]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_hundred_independent_instructions_start_the_documented_cost_apart(rule: Rule, tmp_path: Path) -> None:
    assert len(rule.sizes) >= 3
    for n in rule.sizes:
        trace = trace_of(rule.listing(n), tmp_path / f"{n}.neff")
        apart = np.diff(starts(trace, rule.engine, rule.mnemonic))
        assert len(apart) == 99
        measured = {exact_cycles(int(t), trace.tick_hz, rule.engine) for t in apart}
        assert measured == {rule.cycles(n)}, f"N = {n}"


def test_every_priced_instruction_is_measured() -> None:
    assert {r.mnemonic for r in RULES} | NOT_DOCUMENTED == set(SPEC.by_name)


@pytest.mark.parametrize("partitions", [1, 32, 128])
def test_cost_does_not_depend_on_partitions(partitions: int, tmp_path: Path) -> None:
    side = f"sbuf[0:{partitions}]"
    line = f"activation dst={side}@8192:fp32[300] src0={side}@0:fp32[300] func=exp scale=1"
    trace = trace_of(f".engine scalar\n.repeat 100\n{line}\n.endr\n", tmp_path / "p.neff")
    assert {exact_cycles(int(t), trace.tick_hz, "scalar") for t in np.diff(trace.instructions["start"])} == {300}


@pytest.mark.parametrize("dtype, factor", [("bf16", 1), ("fp32", 4)])
@pytest.mark.parametrize("n", [16, 64, 100, 512])
def test_background_loads_sustain_the_larger_of_load_and_matmul(
    dtype: str, factor: int, n: int, tmp_path: Path
) -> None:
    """max(LS, MM) with LS = 128 / 4 and MM = max(64, N); source: trainium_inferentia2_arch.rst."""
    listing = f""".engine tensor
.repeat 100 k
    load_stationary src0=sbuf[0:128]@{{k % 2 * 512}}:{dtype}[128]
    matmul dst=psum[0:128]@{{k % 8 * 2048}}:fp32[{n}] src0=sbuf[0:128]@4096:{dtype}[{n}] start stop
.endr
"""
    trace = trace_of(listing, tmp_path / "pairs.neff")
    apart = np.diff(starts(trace, "tensor", "matmul"))
    expected = max(factor * 128 // 4, factor * max(64, n))
    assert {exact_cycles(int(t), trace.tick_hz, "tensor") for t in apart} == {expected}


def test_dependent_scalar_chain_takes_the_documented_time(tmp_path: Path) -> None:
    """One element, each instruction reads the last result: 189 ns; source: nki/deep-dives/nki_perf_guide.rst."""
    line = "activation dst=sbuf[0:1]@{k * 4 + 4}:fp32[1] src0=sbuf[0:1]@{k * 4}:fp32[1] func=copy scale=1"
    trace = trace_of(f".engine scalar\n.repeat 100 k\n{line}\n.endr\n", tmp_path / "chain.neff")
    apart_ns = np.diff(trace.instructions["start"]) / trace.tick_hz * 1e9
    assert len(apart_ns) == 99
    np.testing.assert_allclose(apart_ns, 189, rtol=0.1)


def dma_program(target: str, partitions: int, bytes_each: int) -> str:
    return f""".target {target}
.variable x input uint8 {partitions}x{bytes_each}
.semaphore ready 3
.dma
load: copy size=[{partitions},{bytes_each}] src=x@0:uint8 dst=sbuf[0]@0:uint8
.engine scalar
    activation dst=sbuf[0:1]@160004:fp32[1] src0=sbuf[0:1]@160000:fp32[1] func=copy scale=1 post(ready+1)
.engine sync
    dma_trigger first=load count=1 wait(ready>=1) post(17+1)
"""


@pytest.mark.parametrize("target", ["trn1.2xlarge", "trn2.48xlarge"])
def test_dma_start_latency(target: str, tmp_path: Path) -> None:
    """Semaphore of another engine to first byte: about 1300 ns; source: nki/deep-dives/nki-dma-bandwidth-guide.rst."""
    trace = trace_of(dma_program(target, 8, 4096), tmp_path / "dma.neff")
    (posted,) = trace.instructions["retire"][trace.instructions["engine"] == ENGINES.index("scalar")]
    (first_byte,) = trace.transfers["start"]
    assert (first_byte - posted) / trace.tick_hz * 1e9 == pytest.approx(1300, rel=0.1)


def test_dma_moves_32_kib_on_one_engine_in_the_documented_time(tmp_path: Path) -> None:
    """v3, one engine (8 partitions): 1416 ns of data movement; source: nki/get-started/about/nki-dma-overview.rst."""
    trace = trace_of(dma_program("trn2.48xlarge", 8, 4096), tmp_path / "dma.neff")
    moved_ns = (trace.transfers["end"] - trace.transfers["start"])[0] / trace.tick_hz * 1e9
    assert trace.transfers["bytes"][0] == 32768
    assert moved_ns == pytest.approx(1416, rel=0.1)


@pytest.mark.parametrize("target, practical", [("trn1.2xlarge", 17), ("trn2.48xlarge", 23)])
def test_dma_sustains_the_practical_rate_of_an_engine(target: str, practical: float, tmp_path: Path) -> None:
    """17 and 23 GB/s an engine; source: nki/deep-dives/nki-dma-bandwidth-guide.rst."""
    trace = trace_of(dma_program(target, 128, 65536), tmp_path / "dma.neff")
    seconds = (trace.transfers["end"] - trace.transfers["start"])[0] / trace.tick_hz
    assert 128 * 65536 / seconds / 16 == pytest.approx(practical * 1e9, rel=0.1)


# ---- never faster than the roofline: peaks as published, work counted from the listing
PEAK_MACS = {"bf16": 128 * 128 * 2.8e9, "fp32": 128 * 128 * 2.8e9 / 4}
DRAM_BYTES, DMA_BYTES, LANES = 820e9, 16 * 27.2e9, 128


def random_listing(rng: random.Random, length: int) -> tuple[str, dict[str, float]]:
    """Matmuls, elementwise work and transfers without any waiting, and the least seconds each resource needs."""
    least = dict.fromkeys(("tensor", "vector", "scalar", "gpsimd", "dram", "dma"), 0.0)
    streams: dict[str, list[str]] = {e: [] for e in ENGINES}
    transfers = []
    for k in range(length):
        kind, n = rng.choice(("matmul", "vector", "scalar", "gpsimd", "dma")), rng.choice((1, 17, 64, 200, 512))
        if kind == "matmul":
            m, dtype = rng.choice((1, 32, 128)), rng.choice(("bf16", "fp32"))
            streams["tensor"] += [
                f"load_stationary src0=sbuf[0:128]@0:{dtype}[{m}]",
                f"matmul dst=psum[0:{m}]@{k % 8 * 2048}:fp32[{n}] src0=sbuf[0:128]@4096:{dtype}[{n}] start stop",
            ]
            least["tensor"] += 128 * m * n / PEAK_MACS[dtype]
        elif kind == "dma":
            rows, width = rng.choice((1, 8, 128)), rng.choice((1, 256, 4096, 16384))
            transfers.append(f"copy size=[{rows},{width}] src=x@0:uint8 dst=sbuf[0]@{32768 + k % 8 * 16384}:uint8")
            streams[rng.choice(("sync", "scalar"))].append(
                f"dma_trigger first={len(transfers) - 1} count=1 queue={k % 16}"
            )
            least["dram"] += rows * width / DRAM_BYTES
            least["dma"] += rows * width / DMA_BYTES
        else:
            step = rng.choice((1, 5))
            streams[kind].append(
                f"tensor_copy dst=sbuf[0:128]@{8192 + k % 4 * 2048}:fp32[{n}] src0=sbuf[0:128]@0:fp32[{n}:{step}]"
            )
            least[kind] += n / CLOCK_HZ[kind]
    parts = [".target trn1.2xlarge", ".variable x input uint8 128x16384", ".dma", *transfers]
    for engine, lines in streams.items():
        parts += [f".engine {engine}", *lines]
    return "\n".join(parts) + "\n", least


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), length=st.integers(1, 80))
def test_never_faster_than_the_roofline(seed: int, length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    listing, least = random_listing(random.Random(seed), length)
    trace = trace_of(listing, tmp_path_factory.getbasetemp() / "roofline.neff")
    assert trace.total_ticks / trace.tick_hz >= max(least.values())
