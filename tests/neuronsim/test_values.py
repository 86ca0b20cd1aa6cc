"""The executor: order of effects from the timeline, early samples, threads, bounds, inputs, first NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import dtypes, target
from isa.program import INPUT, OUTPUT, WEIGHT, Stage, Variable
from isa.spec import ALU_OPS, FUNCTIONS, SPEC
from isa.word import DESCRIPTOR, ENGINES, PSUM, SBUF, SBUF_PARTITION_STRIDE, WORD
from neuronsim.errors import InputError, MemoryFault, SimulationError
from neuronsim.timing import Timeline
from neuronsim.values import Core

TARGET = target.load("trn1.2xlarge")
FP32 = dtypes.BY_NAME["fp32"]


def tile(start: int, n: int, partitions: int = 128, space: int = SBUF, dtype: str = "fp32") -> np.ndarray:
    o = np.zeros((), WORD["dst"])
    o["start"], o["partitions"], o["dtype"], o["space"] = start, partitions, dtypes.BY_NAME[dtype].code, space
    o["size"], o["step"] = [1, 1, 1, n], [0, 0, 0, 1]
    return o


def word(name: str, **fields: object) -> np.ndarray:
    w = np.zeros(1, WORD)
    w["opcode"], w["imm0"] = SPEC.by_name[name].opcode, 1.0
    for field, value in fields.items():
        w[field] = value
    return w


def copy(variable: int, sbuf: int, n: int, store: bool = False, partitions: int = 128) -> np.ndarray:
    d = np.zeros(1, DESCRIPTOR)
    d["src_dtype"] = d["dst_dtype"] = FP32.code
    d["size"] = [1, 1, partitions, n]
    dram, chip = ("dst", "src") if store else ("src", "dst")
    d[f"{dram}_var"], d[f"{dram}_step"] = variable, [0, 0, 4 * n, 4]
    d[f"{chip}_off"], d[f"{chip}_step"] = sbuf, [0, 0, SBUF_PARTITION_STRIDE, 4]
    return d


def stage_of(
    streams: dict[str, list[np.ndarray]], descriptors: list[np.ndarray], n: int, weight: np.ndarray | None = None
) -> Stage:
    variables = [Variable(1, "x", INPUT, FP32, (128, n)), Variable(2, "y", OUTPUT, FP32, (128, n))]
    if weight is not None:
        variables.append(Variable(3, "w", WEIGHT, FP32, weight.shape, np.frombuffer(weight.tobytes(), np.uint8)))
    return Stage({e: np.concatenate(w) for e, w in streams.items() if w}, np.concatenate(descriptors), variables)


def timeline(times: dict[str, list[tuple[int, int]]], streams: dict[str, list[np.ndarray]]) -> Timeline:
    """Times by engine; those of a dma_trigger are its transfer's."""
    spans = [span for e in ENGINES for span in times.get(e, [])]
    words = [w for e in ENGINES for w in streams.get(e, [])]
    start, end = (np.array(c, np.int64) for c in zip(*spans, strict=True))
    ops = np.array([i for i, w in enumerate(words) if w["opcode"] == 0x41], np.int64)
    empty = np.zeros(len(start), np.int64)
    return Timeline(
        engine=empty,
        index=empty,
        debug=empty,
        opcode=empty,
        wait_start=empty,
        start=start,
        end=end,
        retire=end,
        cause=empty,
        cause_id=empty,
        cause_op=empty,
        transfer_op=ops,
        transfer_engine=empty[: len(ops)],
        transfer_index=empty[: len(ops)],
        transfer_queue=empty[: len(ops)],
        transfer_debug=empty[: len(ops)],
        transfer_enqueue=start[ops],
        transfer_start=start[ops],
        transfer_end=end[ops],
        transfer_dram_wait=empty[: len(ops)],
        transfer_link_wait=empty[: len(ops)],
        transfer_bytes=empty[: len(ops)],
        transfer_read=empty[: len(ops)],
        transfer_written=empty[: len(ops)],
        transfer_link_bytes=empty[: len(ops)],
        engine_busy=np.zeros(5),
        dma_busy=np.zeros(16),
        dram_read_bytes=0,
        dram_written_bytes=0,
        total_ticks=int(end.max()),
        tick_hz=1,
    )


def load_store(n: int) -> list[np.ndarray]:
    return [copy(1, 0, n), copy(2, 4 * n, n, store=True)]


def triggers() -> list[np.ndarray]:
    return [word("dma_trigger", arg=0, count=1), word("dma_trigger", arg=1, count=1)]


def run_add_and_relu(vector: tuple[int, int], scalar: tuple[int, int]) -> np.ndarray:
    """x at 0; the vector engine adds 1 in place, the scalar engine copies 0 to the output tile."""
    n = 4
    streams = {
        "vector": [word("tensor_scalar", dst=tile(0, n), src0=tile(0, n), op0=ALU_OPS["add"])],
        "scalar": [word("activation", dst=tile(4 * n, n), src0=tile(0, n), func=FUNCTIONS["relu"])],
        "sync": triggers(),
    }
    times = {"vector": [vector], "scalar": [scalar], "sync": [(0, 10), (100, 110)]}
    core = Core(stage_of(streams, load_store(n), n), TARGET)
    return core.run(timeline(times, streams), {"x": np.full((128, n), 5, np.float32)})["y"]


def test_result_is_seen_from_its_end_on() -> None:
    assert (run_add_and_relu((10, 20), (20, 30)) == 6).all()


def test_read_samples_at_its_start() -> None:
    assert (run_add_and_relu((10, 20), (19, 30)) == 5).all()


def test_write_that_starts_later_and_ends_earlier_is_not_seen() -> None:
    assert (run_add_and_relu((12, 18), (11, 40)) == 5).all()


def test_write_after_the_read_ended_is_not_seen() -> None:
    assert (run_add_and_relu((30, 40), (10, 20)) == 5).all()


def test_transfer_samples_at_its_start() -> None:
    n = 4
    streams = {
        "vector": [word("memset", dst=tile(4 * n, n), imm0=3), word("memset", dst=tile(4 * n, n), imm0=9)],
        "sync": triggers(),
    }
    core = Core(stage_of(streams, load_store(n), n), TARGET)
    for second, expected in (((40, 50), 3), ((40, 49), 9)):
        times = {"vector": [(10, 20), second], "sync": [(0, 10), (49, 90)]}
        y = core.run(timeline(times, streams), {"x": np.zeros((128, n), np.float32)})["y"]
        assert (y == expected).all()


def test_shifted_overlap_reads_before_it_writes() -> None:
    n = 8
    streams = {
        "vector": [word("tensor_scalar", dst=tile(4 * n, n), src0=tile(4, n), op0=ALU_OPS["add"], imm0=0)],
        "sync": triggers(),
    }
    x = np.arange(128 * n, dtype=np.float32).reshape(128, n)
    streams["vector"].append(
        word("tensor_scalar", dst=tile(4 * n + 4, n - 1), src0=tile(4 * n, n - 1), op0=ALU_OPS["add"])
    )
    times = {"vector": [(10, 20), (20, 30)], "sync": [(0, 10), (50, 60)]}
    y = Core(stage_of(streams, load_store(n), n), TARGET).run(timeline(times, streams), {"x": x})["y"]
    first = np.concatenate([x[:, 1:], np.zeros((128, 1), np.float32)], axis=1)
    np.testing.assert_array_equal(y, np.concatenate([first[:, :1], first[:, :-1] + 1], axis=1))


def test_stationary_is_sampled_by_its_load() -> None:
    """The stationary tile changes after load_stationary has started; matmul uses what the load saw."""
    n = 4
    weight = np.eye(128, dtype=np.float32) * 2
    load = np.zeros(1, DESCRIPTOR)
    load["src_dtype"] = load["dst_dtype"] = FP32.code
    load["size"], load["src_var"], load["dst_off"] = [1, 1, 128, 128], 3, 4096
    load["src_step"], load["dst_step"] = [0, 0, 512, 4], [0, 0, SBUF_PARTITION_STRIDE, 4]
    streams = {
        "tensor": [
            word("load_stationary", src0=tile(4096, 128)),
            word("matmul", dst=tile(0, n, space=PSUM), src0=tile(0, n), flags=1),
        ],
        "vector": [
            word("memset", dst=tile(4096, 128), imm0=0),
            word("tensor_copy", dst=tile(4 * n, n), src0=tile(0, n, space=PSUM)),
        ],
        "sync": [*triggers(), word("dma_trigger", arg=2, count=1)],
    }
    times = {"tensor": [(20, 40), (40, 50)], "vector": [(15, 21), (50, 60)], "sync": [(0, 10), (70, 80), (0, 10)]}
    x = np.random.default_rng(0).normal(size=(128, n)).astype(np.float32)
    stage = stage_of(streams, [*load_store(n), load], n, weight)
    y = Core(stage, TARGET).run(timeline(times, streams), {"x": x})["y"]
    np.testing.assert_array_equal(y, 2 * x)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_threads_do_not_change_results(seed: int) -> None:
    """Random, also racing, programs on a small region of memory."""
    rng = np.random.default_rng(seed)
    n, streams, times = 512, {e: [] for e in ENGINES}, {e: [] for e in ENGINES}
    clock = dict.fromkeys(ENGINES, 10)
    for _ in range(40):
        engine = str(rng.choice(["tensor", "vector", "scalar"]))
        a, b, c = (int(v) * 2048 for v in rng.integers(0, 4, 3))
        if engine == "tensor":
            w = [
                word("load_stationary", src0=tile(a, 128)),
                word("matmul", dst=tile(b, n, space=PSUM), src0=tile(c, n), flags=int(rng.integers(0, 2))),
            ]
        elif engine == "vector":
            w = [word("tensor_tensor", dst=tile(a, n), src0=tile(b, n), src1=tile(c, n), op0=ALU_OPS["max"])]
        else:
            w = [word("activation", dst=tile(a, n), src0=tile(b, n, space=PSUM), func=FUNCTIONS["tanh"])]
        for each in w:
            start = clock[engine] + int(rng.integers(0, 30))
            streams[engine].append(each)
            times[engine].append((start, start + int(rng.integers(5, 40))))
            clock[engine] = start + 5
    streams["sync"] = triggers()
    times["sync"] = [(0, 10), (max(clock.values()) + 100, max(clock.values()) + 110)]
    times["tensor"] = [(s, s + 20) for s, _ in times["tensor"]]
    core = Core(stage_of(streams, load_store(n), n), TARGET)
    x = rng.normal(size=(128, n)).astype(np.float32)
    one = core.run(timeline(times, streams), {"x": x})["y"]
    for threads in (2, 3):
        np.testing.assert_array_equal(core.run(timeline(times, streams), {"x": x}, threads=threads)["y"], one)


def test_first_nonfinite_word_is_found() -> None:
    n = 4
    streams = {
        "vector": [
            word("memset", dst=tile(0, n), imm0=0),
            word("reciprocal", dst=tile(4 * n, n), src0=tile(0, n)),
            word("tensor_copy", dst=tile(64, n), src0=tile(4 * n, n)),
        ],
        "sync": triggers(),
    }
    times = {"vector": [(20, 30), (30, 40), (40, 50)], "sync": [(0, 10), (60, 70)]}
    core = Core(stage_of(streams, load_store(n), n), TARGET)
    core.run(timeline(times, streams), {"x": np.zeros((128, n), np.float32)}, find_nonfinite=True)
    assert core.first_nonfinite == 1


def test_word_outside_its_partition_is_refused() -> None:
    limit = TARGET.sbuf_partition_bytes
    stage = stage_of({"vector": [word("memset", dst=tile(limit - 8, 3))]}, load_store(4), 4)
    with pytest.raises(MemoryFault) as caught:
        Core(stage, TARGET)
    assert caught.value.actual == limit + 4
    assert "vector[0]" in caught.value.where


def test_descriptor_outside_its_variable_is_refused() -> None:
    with pytest.raises(MemoryFault, match="descriptor outside its memory"):
        Core(stage_of({"sync": triggers()}, [copy(1, 0, 5), copy(2, 0, 4, store=True)], 4), TARGET)


def test_descriptor_may_not_write_a_weight() -> None:
    weight = np.zeros((128, 4), np.float32)
    with pytest.raises(MemoryFault, match="writes a weight"):
        Core(stage_of({"sync": triggers()}, [copy(1, 0, 4), copy(3, 0, 4, store=True)], 4, weight), TARGET)


def test_wrong_inputs_are_refused() -> None:
    streams = {"sync": triggers()}
    core = Core(stage_of(streams, load_store(4), 4), TARGET)
    line = timeline({"sync": [(0, 10), (20, 30)]}, streams)
    with pytest.raises(InputError):
        core.run(line, {})
    with pytest.raises(InputError):
        core.run(line, {"x": np.zeros((128, 4), np.float64)})


def test_matmul_without_load_is_refused() -> None:
    streams = {"tensor": [word("matmul", dst=tile(0, 4, space=PSUM), src0=tile(0, 4), flags=1)], "sync": triggers()}
    core = Core(stage_of(streams, load_store(4), 4), TARGET)
    line = timeline({"tensor": [(10, 20)], "sync": [(0, 10), (20, 30)]}, streams)
    with pytest.raises(SimulationError, match="before any load_stationary"):
        core.run(replace(line), {"x": np.zeros((128, 4), np.float32)})
