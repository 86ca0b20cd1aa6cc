"""Speed of the value kernels on this host: bare tile kernel against the matmul instruction, other words, threads.

Run with `python benchmarks/kernels.py`; NEURONSIM_CPU chooses the level. Nothing in the tests
depends on it: hosts differ.
"""

from __future__ import annotations

import time

import numpy as np

from isa import dtypes
from isa.spec import ALU_OPS, FUNCTIONS, SPEC
from isa.word import DESCRIPTOR, ENGINES, PSUM, SBUF, WORD
from neuronsim._core.values import Executor, bare_tile_flops, cpu_level
from neuronsim.insns.memory import new_memory
from neuronsim.replay import ACTION, EXECUTE, LOAD

SBUF_BYTES, PSUM_BYTES = 192 << 10, 16 << 10  # source: nki/guides/architecture/trainium_inferentia2_arch.rst


def tile(start: int, sizes: tuple[int, ...], dtype: str, partitions: int = 128, space: int = SBUF) -> np.ndarray:
    """A contiguous operand."""
    o = np.zeros((), WORD["dst"])
    o["start"], o["partitions"], o["dtype"], o["space"], o["size"] = (
        start,
        partitions,
        dtypes.BY_NAME[dtype].code,
        space,
        1,
    )
    o["size"][4 - len(sizes) :] = sizes
    o["step"][4 - len(sizes) :] = [int(np.prod(sizes[i + 1 :])) for i in range(len(sizes))]
    return o


def word(name: str, **fields: object) -> np.ndarray:
    """One word with the given fields."""
    w = np.zeros(1, WORD)
    w["opcode"], w["imm0"] = SPEC.by_name[name].opcode, 1.0
    for field, value in fields.items():
        w[field] = value
    return w


def seconds(words: np.ndarray, repeats: int) -> float:
    """CPU seconds of one execution of `words`, best of five runs of `repeats`; other load on the host counts little."""
    memory = new_memory(SBUF_BYTES, PSUM_BYTES)
    streams = [words] + [np.zeros(0, WORD)] * (len(ENGINES) - 1)
    executor = Executor(memory.sbuf, memory.psum, streams, np.zeros(1, DESCRIPTOR), [], lambda op, sample: None)
    actions = np.zeros(len(words), ACTION)
    actions["op"], actions["sample"] = np.arange(len(words)), -1
    actions["kind"] = np.where(words["opcode"] == SPEC.by_name["load_stationary"].opcode, LOAD, EXECUTE)
    executor.set_actions(np.tile(actions, repeats), 0, 1)
    best = np.inf
    for _ in range(5):
        started = time.process_time()
        executor.run()
        best = min(best, time.process_time() - started)
    return best / repeats


def bare() -> float:
    """GFLOP/s of the tile kernel on panels in the first-level cache."""
    best = 0.0
    for _ in range(5):
        started = time.process_time()
        flops, _sum = bare_tile_flops(128, 20000)
        best = max(best, flops / (time.process_time() - started) / 1e9)
    return best


def main() -> None:
    """Print one line per measurement."""
    light = bare()
    print(f"level {cpu_level()}: bare tile kernel {light:.0f} GFLOP/s")
    flops = 2 * 128 * 128 * 512
    for dtype in ("bf16", "fp32", "fp16", "fp8_e4m3"):
        load = word("load_stationary", src0=tile(0, (128,), dtype))
        matmul = word("matmul", dst=tile(0, (512,), "fp32", space=PSUM), src0=tile(4096, (512,), dtype), flags=1)
        alone, pair = (
            seconds(np.concatenate([load, *[matmul] * 20]), 10) / 20,
            seconds(np.concatenate([load, matmul]), 100),
        )
        print(
            f"matmul 128x128x512 {dtype:9}: {alone * 1e6:6.1f} us {flops / alone / 1e9:5.0f} GFLOP/s "
            f"({flops / alone / 1e9 / light:.0%} of bare); with its load {flops / pair / 1e9:5.0f} GFLOP/s"
        )
    window = tile(4096, (14, 14), "bf16")
    window["step"][2:] = [30, 2]
    t = (
        seconds(
            np.concatenate(
                [
                    word("load_stationary", src0=tile(0, (128,), "bf16")),
                    *[word("matmul", dst=tile(0, (196,), "fp32", space=PSUM), src0=window, flags=1)] * 20,
                ]
            ),
            10,
        )
        / 20
    )
    print(f"matmul 128x128x(14x14, stride 2) bf16: {t * 1e6:6.1f} us {2 * 128 * 128 * 196 / t / 1e9:5.0f} GFLOP/s")
    a, b = tile(0, (512,), "bf16"), tile(8192, (512,), "bf16")
    psum = tile(0, (512,), "fp32", space=PSUM)
    others = {
        "activation relu PSUM -> bf16": word("activation", dst=a, src0=psum, func=FUNCTIONS["relu"]),
        "activation gelu PSUM -> bf16": word("activation", dst=a, src0=psum, func=FUNCTIONS["gelu"]),
        "activation exp PSUM -> bf16": word("activation", dst=a, src0=psum, func=FUNCTIONS["exp"]),
        "tensor_tensor add bf16": word("tensor_tensor", dst=a, src0=a, src1=b, op0=ALU_OPS["add"]),
        "tensor_scalar mult add bf16": word("tensor_scalar", dst=a, src0=b, op0=ALU_OPS["mult"], op1=ALU_OPS["add"]),
        "tensor_copy bf16": word("tensor_copy", dst=a, src0=b),
        "tensor_reduce max bf16": word("tensor_reduce", dst=tile(0, (1,), "fp32"), src0=b, op0=ALU_OPS["max"], axes=4),
    }
    for name, w in others.items():
        t = seconds(w, 200)
        print(f"{name:30} 128x512: {t * 1e6:6.2f} us {128 * 512 / t / 1e9:6.1f} G elements/s")
    tiny = seconds(
        np.concatenate([word("tensor_copy", dst=tile(0, (1,), "fp32", 1), src0=tile(64, (1,), "fp32", 1))] * 100), 100
    )
    print(f"overhead per word (tensor_copy of one element): {tiny / 100 * 1e9:.0f} ns")


if __name__ == "__main__":
    main()
