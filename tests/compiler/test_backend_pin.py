"""Weights that stay in SBUF: which ones, where they lie, how much traffic is left; values do not change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.backend import build
from compiler.errors import AllocationError, PinError
from compiler.options import CompileOptions
from isa import validator
from isa.lang import TileProgram, View
from isa.program import Stage
from isa.target import Target
from isa.word import ENGINES
from neuronsim.check import check
from neuronsim.timing import simulate
from neuronsim.values import Core
from tests.compiler.backend_programs import Cell, cells, random_program, small_target
from tests.compiler.test_backend import unordered

SBUF = "1"  # memory of a cell
HANDOVER = 256
ROOM = 7168  # bytes per partition: all tiles that random programs need at once, but not all their weights


def _touched(stage: Stage) -> tuple[set[Cell], set[Cell]]:
    """SBUF cells (read, written) by the streams."""
    read: set[Cell] = set()
    written: set[Cell] = set()
    for e in ENGINES:
        for i in range(len(stage.stream(e))):
            r, w = cells(stage, e, i)
            read |= {c for c in r if c[0] == SBUF}
            written |= {c for c in w if c[0] == SBUF}
    return read, written


def _run(stage: Stage, machine: Target) -> np.ndarray:
    x = stage.variable("x")
    values = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    core, timeline = Core(stage, machine), simulate(stage, machine)
    first = core.run(timeline, {"x": values})["y"].copy()
    assert core.run(timeline, {"x": values})["y"].tobytes() == first.tobytes()  # what stays, stays
    return first


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), length=st.integers(4, 40), weights=st.integers(0, 30), double_buffer=st.booleans())
def test_what_stays_is_apart_and_counted(seed: int, length: int, weights: int, double_buffer: bool) -> None:
    machine = small_target(ROOM)
    program = random_program(seed, length, machine, weights)
    stage = build(program, CompileOptions(double_buffer=double_buffer), pin=True, handover_bytes=HANDOVER)
    assert check(stage, machine) == []
    for part in (stage, stage.loading):
        validator.validate(part, machine)
        assert unordered(part) == []
    (read, written), (_, kept) = _touched(stage), _touched(stage.loading)
    assert not written & kept
    assert read <= written | kept
    assert max(byte for _, _, byte in read | written | kept) < machine.sbuf_partition_bytes - HANDOVER
    info = stage.info
    assert info["handover_bytes"] == HANDOVER
    assert len(kept) == info["pinned_bytes"]  # nothing here is loaded to more places than one
    assert info["pinned_bytes"] + info["streamed_bytes"] >= info["weights_bytes"]  # type: ignore[operator]
    if not info["spill_bytes"]:
        assert info["pinned_bytes"] + info["streamed_bytes"] == info["weights_bytes"]  # type: ignore[operator]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), length=st.integers(4, 60), weights=st.integers(1, 40))
def test_pinning_does_not_change_values(seed: int, length: int, weights: int) -> None:
    machine = small_target(ROOM)
    program = random_program(seed, length, machine, weights)
    pinned = build(program, pin=True, handover_bytes=HANDOVER)
    assert _run(pinned, machine).tobytes() == _run(build(program), machine).tobytes()


def _layers(sizes: Sequence[int], machine: Target, rows: int = 128) -> TileProgram:
    """y = the sum of x and one weight [rows, size / 4] fp32 for each of `sizes`, added one by one."""
    p = TileProgram(machine)
    x, y = p.input("x", (rows, max(sizes) // 4), "fp32"), p.output("y", (rows, max(sizes) // 4), "fp32")
    total = p.sbuf(x.shape, "fp32")
    p.dma(total, x)
    for k, size in enumerate(sizes):
        with p.layer(f"layer{k}", "Add"):
            values = np.random.default_rng(k).standard_normal((rows, size // 4)).astype(np.float32)
            tile = p.sbuf(values.shape, "fp32")
            p.dma(tile, p.constant(f"w{k}", values))
            part = total[:, : size // 4]
            p.tensor_tensor(part, part, tile, "add")
    p.dma(y, total)
    return p


def test_a_run_fetches_no_weight_that_stays() -> None:
    machine = small_target(65536)
    program = _layers([2048] * 8, machine)
    stage = build(program, pin=True)
    assert simulate(stage, machine).dram_read_bytes == 128 * 2048  # x
    assert simulate(stage.loading, machine).dram_read_bytes == 8 * 128 * 2048
    assert (stage.info["pinned_bytes"], stage.info["streamed_bytes"]) == (8 * 128 * 2048, 0)
    assert stage.sbuf_peak_bytes == 9 * 2048
    assert stage.info["estimated_ns"] < build(program).info["estimated_ns"]  # type: ignore[operator]
    assert {v.name for v in stage.variables} == {"x", "y", *(f"w{k}" for k in range(8))}


def test_as_much_stays_as_leaves_room_for_the_rest() -> None:
    machine = small_target(8192)
    program = _layers([1024] * 12, machine)
    stage = build(program, pin=True)
    pinned = stage.info["pinned_bytes"]
    assert pinned + stage.info["streamed_bytes"] == 12 * 128 * 1024  # type: ignore[operator]
    assert 3 * 128 * 1024 <= pinned <= 6 * 128 * 1024  # type: ignore[operator]  # x and one weight need 2 of 8 KiB
    assert stage.info["spill_bytes"] == 0
    tighter = build(program, pin=True, handover_bytes=4096)
    assert tighter.info["pinned_bytes"] < pinned  # type: ignore[operator]
    assert tighter.sbuf_peak_bytes <= 8192
    assert _run(tighter, machine).tobytes() == _run(build(program), machine).tobytes()


def test_tall_weights_stay_before_flat_ones() -> None:
    machine = small_target(8192)
    p = _layers([1024] * 4, machine)
    y = p.output("z", (4, 1024), "fp32")
    for k in range(4):  # as many bytes of every partition, 1/32 of the traffic
        flat = p.sbuf((4, 256), "fp32")
        p.dma(flat, p.constant(f"flat{k}", np.full((4, 256), k, dtype=np.float32)))
        p.dma(y[:, 256 * k :][:, :256], flat)
    stage = build(p, pin=True)
    loads = [stage.descriptors[w["arg"] : w["arg"] + w["count"]] for w in stage.init["sync"]]
    names = {stage.variables[v - 1].name for v in np.concatenate(loads)["src_var"]}
    assert {"w0", "w1", "w2", "w3"} <= names < {v.name for v in stage.variables}


def test_tiles_filled_alike_are_one_weight() -> None:
    machine = small_target(65536)
    p = TileProgram(machine)
    w = p.constant("w", np.arange(128 * 64, dtype=np.float32).reshape(128, 64))
    y = p.output("y", (3, 128, 64), "fp32")
    p.input("x", (1,), "fp32")
    for k in range(3):
        tile = p.sbuf((128, 64), "fp32")
        p.dma(tile, w)
        out = p.sbuf((128, 64), "fp32")
        p.tensor_scalar(out, tile, "mult", float(k + 1))
        p.dma(y[k], out)
    stage = build(p, pin=True)
    assert (stage.info["pinned_bytes"], stage.info["streamed_bytes"]) == (w.count * 4, 0)
    assert np.array_equal(_run(stage, machine)[2], 3 * np.arange(128 * 64).reshape(128, 64))


def _overwritten(p: TileProgram, tile: View, far: View, out: View) -> None:
    p.tensor_tensor(tile, tile, tile, "add")


def _loaded_again(p: TileProgram, tile: View, far: View, out: View) -> None:
    p.tensor_tensor(out, tile, tile, "add")
    p.dma(tile, far[1])


def _added_to(p: TileProgram, tile: View, far: View, out: View) -> None:
    p.dma(tile, far[1], accumulate=True)


@pytest.mark.parametrize("change", [_overwritten, _loaded_again, _added_to])
def test_a_tile_that_changes_does_not_stay(change: object) -> None:
    machine = small_target(65536)
    p = TileProgram(machine)
    far = p.constant("w", np.arange(2 * 128 * 64, dtype=np.float32).reshape(2, 128, 64))
    p.input("x", (1,), "fp32")
    y = p.output("y", (128, 64), "fp32")
    tile, out = p.sbuf((128, 64), "fp32"), p.sbuf((128, 64), "fp32")
    p.dma(tile, far[0])
    change(p, tile, far, out)  # type: ignore[operator]
    p.tensor_tensor(out, tile, tile, "mult")
    p.dma(y, out)
    stage = build(p, pin=True)
    assert stage.init == {}
    assert stage.info["pinned_bytes"] == 0
    assert stage.info["streamed_bytes"] > 0  # type: ignore[operator]


def test_nothing_to_pin() -> None:
    program = random_program(5, 20, small_target())
    plain, stage = build(program), build(program, pin=True)
    assert stage.init == {}
    assert {e: w.tobytes() for e, w in stage.streams.items()} == {e: w.tobytes() for e, w in plain.streams.items()}
    assert stage.info == {
        **plain.info, "estimated_ns": stage.info["estimated_ns"],
        "pinned_bytes": 0, "streamed_bytes": 0, "handover_bytes": 0,
    }  # fmt: skip


def test_weights_that_have_to_stay_but_do_not_fit() -> None:
    machine = small_target(8192)
    program = _layers([1024, 2048, 2048, 2048, 2048, 1024], machine)
    with pytest.raises(PinError) as caught:
        build(program, CompileOptions(neuroncore_pipeline_cores=1, require_pinned=True), pin=True, handover_bytes=1024)
    error = caught.value
    assert error.actual == 128 * 10240
    assert error.limit == 128 * (8192 - 1024 - 2048)  # but for the handover and x
    assert error.code == "PIN"
    assert error.layers and set(error.layers) < {f"layer{k}" for k in range(6)}
    sizes = [program.tiles[1 + int(name[-1])].bytes for name in error.layers]
    assert sizes == sorted(sizes, reverse=True)


def test_a_handover_that_leaves_no_room() -> None:
    program = _layers([1024], small_target(4096))
    with pytest.raises(AllocationError):
        build(program, pin=True, handover_bytes=4096)
    with pytest.raises(AllocationError):
        build(program, handover_bytes=3072)
    assert build(program, handover_bytes=2048).sbuf_peak_bytes == 4096


def test_what_is_handed_over_takes_no_device_memory() -> None:
    machine = small_target(65536).with_params({"dram.bytes_per_ns": 1})

    def copied(space: str) -> Stage:
        p = TileProgram(machine)
        x, y = p.input("x", (128, 4096), "fp32", space=space), p.output("y", (128, 4096), "fp32", space=space)
        tile = p.sbuf(x.shape, "fp32")
        p.dma(tile, x)
        p.dma(y, tile)
        return build(p)

    assert [v.space for v in copied("sbuf").variables] == ["sbuf", "sbuf"]
    assert copied("sbuf").info["estimated_ns"] < 0.1 * copied("dram").info["estimated_ns"]  # type: ignore[operator]
