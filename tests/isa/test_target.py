from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import yaml

from isa import target as targets
from isa.errors import TargetError

NAMES = targets.names()


@pytest.mark.parametrize("name", targets.GENERATIONS)
def test_every_number_states_its_source(name: str) -> None:
    data = yaml.safe_load((targets.FOLDER / f"{name}.yaml").read_text())
    for key, entry in data["parameters"].items():
        assert "value" in entry, key
        assert bool(entry.get("source")) != bool(entry.get("inferred") and entry.get("reason")), key


def test_generations_have_the_same_parameters() -> None:
    keys = [{k for k in targets.load(g).parameters if ".cycles_per_row." not in k} for g in targets.GENERATIONS]
    assert keys[0] == keys[1] == keys[2]


def test_published_figures() -> None:
    v1, v2, v3 = (targets.load(g) for g in targets.GENERATIONS)
    assert v2.tick_hz == 5_600_000_000
    assert [v2.engines[e].ticks_per_cycle for e in ("tensor", "vector", "scalar", "gpsimd", "sync")] == [2, 5, 4, 4, 4]
    assert v1.tick_hz == 1_000_000_000 and not v1.engines["gpsimd"].present
    assert v3.tick_hz == 4_800_000_000
    assert v2.peak_flops("bf16") == pytest.approx(91.75e12, rel=1e-3)
    assert v2.peak_flops("fp32") * 4 == v2.peak_flops("bf16")
    assert v1.peak_flops("bf16") == pytest.approx(16e12, rel=0.03)
    assert v1.peak_flops("int8") == pytest.approx(32e12, rel=0.03)
    assert v3.peak_flops("bf16") == pytest.approx(79e12, rel=0.01)
    assert (v2.sbuf_partition_bytes * 128, v3.sbuf_partition_bytes * 128) == (24 << 20, 28 << 20)
    assert v2.psum_bank_bytes == 2048 and v2.psum_banks == 8
    assert v2.exclusive_sbuf == (("vector", "gpsimd"),) and v2.exclusive_psum == (("vector", "scalar"),)
    assert v3.exclusive_sbuf == v3.exclusive_psum == ()


def test_dependent_scalar_chain_takes_189_ns() -> None:
    v2 = targets.load("v2")
    cycles = v2["min_ii_cycles"] + v2.engines["scalar"].latency_cycles
    assert cycles == 264
    assert cycles / v2.engines["scalar"].clock_ghz == pytest.approx(189, abs=0.5)


@pytest.mark.parametrize("generation, gb_s", [("v2", 17), ("v3", 23)])
def test_packets_reach_the_sustained_rate(generation: str, gb_s: float) -> None:
    dma = targets.load(generation).dma
    assert dma.packet_bytes / (dma.t0_ns + dma.packet_bytes / dma.bytes_per_ns) == pytest.approx(gb_s, rel=0.01)


@pytest.mark.parametrize("name, chips, cores, price", [
    ("inf1.xlarge", 1, 4, 0.110), ("inf1.24xlarge", 16, 64, 2.269), ("inf2.24xlarge", 6, 12, 2.804),
    ("trn1.32xlarge", 16, 32, 8.197), ("trn2.48xlarge", 16, 128, None),
])
def test_instances(name: str, chips: int, cores: int, price: float | None) -> None:
    t = targets.load(name)
    assert (t.chips, t.cores, t.usd_per_hour) == (chips, cores, price)


@pytest.mark.parametrize("name", NAMES)
def test_every_target_loads(name: str) -> None:
    t = targets.load(name)
    assert t.name == name and t.cores == t.chips * t.cores_per_chip > 0
    for e in t.engines.values():
        assert not e.present or e.ticks_per_cycle * e.clock_ghz * 1e9 == pytest.approx(t.tick_hz)
    assert targets.load(name) is t
    assert all(t.source(p) for p in t.parameters)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(TargetError) as caught:
        targets.load("trn9.huge")
    assert caught.value.code == "TARGET_UNKNOWN" and "trn1.2xlarge" in caught.value.help


def test_users_file_extends(tmp_path: Path) -> None:
    base = tmp_path / "big.yaml"
    base.write_text("extends: trn1.2xlarge\nparameters:\n  sbuf.partition_bytes: 262144\n")
    (tmp_path / "bigger.yml").write_text(
        "extends: big.yaml\nname: lab\nparameters:\n  dma.t0_ns: {value: 50, inferred: true, reason: wish}\n")
    t = targets.load(tmp_path / "bigger.yml")
    assert (t.name, t.generation, t.chips) == ("lab", "v2", 1)
    assert t.sbuf_partition_bytes == 262144 and t.dma.t0_ns == 50
    assert "dma.t0_ns" in t.inferred() and "wish" in t.source("dma.t0_ns")


@pytest.mark.parametrize("text", [
    "parameters: {}", "- 1", "extends: v9", "extends: v2\nparameters: {no.such: 1}",
    "extends: v2\nparameters: {dma.t0_ns: fast}", "extends: v2\nparameters: {dma.t0_ns: -1}",
    "extends: v2\nparameters: {dma.t0_ns: {value: 1, inferred: true}}", "extends: v2\nparameters: {psum.banks: 7}",
    "extends: v2\nparameters: {sbuf.partition_bytes: 1048576}", "extends: me.yaml", "a: [",
    "extends: v2\nparameters: {dma.ops: [teleport]}", "extends: v2\nparameters: 3",
])
def test_bad_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "me.yaml"
    path.write_text(text)
    with pytest.raises(TargetError):
        targets.load(path)


def test_missing_file() -> None:
    with pytest.raises(TargetError):
        targets.load("no/such/file.yaml")


def test_with_params() -> None:
    v2 = targets.load("v2")
    t = v2.with_params({"tensor.clock_ghz": 1.4})
    assert t.engines["tensor"].ticks_per_cycle == t.tick_hz // 1_400_000_000
    assert v2.engines["tensor"].clock_ghz == 2.8
    with pytest.raises(TargetError):
        v2.with_params({"tensor.clok_ghz": 1.4})
    with pytest.raises(TargetError):
        v2.with_params({"vector.clock_ghz": 0})


def test_infinite_resources_cost_nothing() -> None:
    t = targets.load("v2").with_params({"vector.clock_ghz": math.inf, "dma.bytes_per_ns": math.inf})
    assert t.engines["vector"].ticks_per_cycle == 0 and t.dma.bytes_per_ns == math.inf


def test_odd_clocks_keep_the_tick_bounded() -> None:
    t = targets.load("v2").with_params({"tensor.clock_ghz": 2.7182818, "vector.clock_ghz": 1.1415927})
    assert t.tick_hz <= targets.TICK_HZ_MAX
    for e in t.engines.values():
        assert e.ticks_per_cycle * e.clock_ghz * 1e9 == pytest.approx(t.tick_hz, rel=2e-5)


def test_scaled_makes_everything_costlier() -> None:
    v2 = targets.load("v2")
    t = v2.scaled(["dma.t0_ns", "dma.bytes_per_ns", "nop_cycles", "semaphores", "vector.clock_ghz"], 1.5)
    assert t.dma.t0_ns == 135 and t.dma.bytes_per_ns == pytest.approx(27.2 / 1.5)
    assert t["nop_cycles"] == 24 and t.semaphores == v2.semaphores
    assert t.engines["vector"].clock_ghz == pytest.approx(1.12 / 1.5)
    with pytest.raises(TargetError):
        v2.scaled(["dma.t0_ns"], 0)
    assert v2.scaled(v2.inferred(), 1.0).tick_hz == v2.tick_hz


def test_inferred_names_what_no_document_states() -> None:
    assert {"semaphore_latency_ns", "dma.t0_ns"} <= set(targets.load("trn1.2xlarge").inferred())
    assert "dma.start_latency_ns" not in targets.load("trn1.2xlarge").inferred()
    assert "sbuf.partition_bytes" in targets.load("inf1.xlarge").inferred()


def test_loading_is_fast() -> None:
    targets._built_in.cache_clear()
    targets._instances.cache_clear()
    started = time.perf_counter()
    targets.load("trn1.2xlarge")
    assert time.perf_counter() - started < 0.1  # 3 ms alone; the bound leaves room for a busy host


@pytest.mark.parametrize("name", NAMES)
def test_every_machine_states_its_host(name: str) -> None:
    target = targets.load(name)
    assert target.host_dispatch_ns > 0
    assert target.host_bytes_per_cpu_ns > 0
    assert target.host_flops_per_ns > 0
    assert target.host_vcpus == target.parameters["host.vcpus"].value if "host.vcpus" in target.parameters else 1


def test_a_slower_host_takes_longer() -> None:
    slow = targets.load("trn1.2xlarge").scaled(["host.dispatch_ns", "host.cpu_bytes_per_ns", "host.flops_per_ns"], 2)
    assert (slow.host_dispatch_ns, slow.host_bytes_per_cpu_ns, slow.host_flops_per_ns) == (10000, 5, 32)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_written_as_a_file_is_the_same_machine(name: str, tmp_path: Path) -> None:
    target = targets.load(name).with_params({"dram.bytes_per_ns": math.inf, "sbuf.exclusive_pairs": []})
    path = tmp_path / "machine.yaml"
    path.write_text(target.as_yaml(), encoding="utf-8")
    again = targets.load(path)
    assert (again.name, again.generation, again.summary) == (target.name, target.generation, target.summary)
    assert dict(again.parameters) == dict(target.parameters)
    path.write_text(again.with_params({"dma.t0_ns": 1}).as_yaml(), encoding="utf-8")
    assert targets.load(path).dma.t0_ns == 1


@pytest.mark.parametrize("name", ["dma.t0_ns", "semaphores", "host.dispatch_ns", "dma.engines"])
def test_only_rates_can_be_infinite(name: str) -> None:
    with pytest.raises(TargetError):
        targets.load("v2").with_params({name: math.inf})
