"""Small programs as word arrays for the timing tests, written by hand so that every tick can be computed by hand."""
from __future__ import annotations

from typing import Any

import numpy as np

from isa.dtypes import BY_NAME
from isa.program import Stage
from isa.spec import SPEC
from isa.word import DESCRIPTOR, PSUM, SBUF, SBUF_PARTITION_STRIDE, WORD

FP32, BF16 = BY_NAME["fp32"].code, BY_NAME["bf16"].code


def operand(start: int, n: int = 1, *, space: int = SBUF, partitions: int = 128, dtype: int = FP32, partition: int = 0,
            step: int = 1) -> tuple[Any, ...]:
    """[partitions, n] access pattern at byte `start`."""
    return (start, partition, partitions, dtype, space, (0, 0, 0, step), (1, 1, 1, n))


def word(mnemonic: str, *, wait: tuple[tuple[int, int], ...] = (), post: tuple[int, int] = (0, 0),
         **fields: Any) -> np.ndarray:
    """One WORD [1]; `wait` up to two (semaphore, value), `post` (semaphore, increment)."""
    out = np.zeros(1, dtype=WORD)
    out["opcode"] = SPEC.by_name[mnemonic].opcode
    for k, (semaphore, value) in enumerate(wait):
        out["wait_sem"][0, k], out["wait_val"][0, k] = semaphore, value
    out["post_sem"], out["post_inc"] = post
    for name, value in fields.items():
        out[name] = np.array(value, dtype=WORD[name]) if isinstance(value, tuple) else value
    return out


def activation(dst: int, src: int, n: int = 1, **fields: Any) -> np.ndarray:
    return word("activation", dst=operand(dst, n), src0=operand(src, n), **fields)


def copy(dst: int, src: int, n: int = 1, *, space: int = SBUF, **fields: Any) -> np.ndarray:
    return word("tensor_copy", dst=operand(dst, n, space=space), src0=operand(src, n, space=space), **fields)


def load(src: int = 0, columns: int = 128, *, dtype: int = BF16, **fields: Any) -> np.ndarray:
    return word("load_stationary", src0=operand(src, columns, dtype=dtype), **fields)


def matmul(n: int = 512, *, dtype: int = BF16, m: int = 128, **fields: Any) -> np.ndarray:
    result = operand(0, n, space=PSUM, partitions=m)
    return word("matmul", dst=result, src0=operand(65536, n, dtype=dtype), flags=1, **fields)


def trigger(first: int, count: int = 1, queue: int = 0, semaphore: int = 16, **fields: Any) -> np.ndarray:
    return word("dma_trigger", arg=first, count=count, op0=queue, post=(semaphore, 1 if semaphore else 0), **fields)


def dram_to_sbuf(partitions: int, bytes_per_partition: int, *, first_partition: int = 0) -> np.ndarray:
    """One DESCRIPTOR [1]: variable 1, rows of fp32, to consecutive partitions."""
    out = np.zeros(1, dtype=DESCRIPTOR)
    out["src_dtype"] = out["dst_dtype"] = FP32
    out["src_var"] = 1
    out["dst_off"] = first_partition * SBUF_PARTITION_STRIDE
    out["size"] = (1, 1, partitions, bytes_per_partition // 4)
    out["src_step"] = (0, 0, bytes_per_partition, 4)
    out["dst_step"] = (0, 0, SBUF_PARTITION_STRIDE, 4)
    return out


def stage(descriptors: list[np.ndarray] | None = None, **streams: list[np.ndarray]) -> Stage:
    out = Stage(streams={engine: np.concatenate(words) for engine, words in streams.items() if words})
    if descriptors:
        out.descriptors = np.concatenate(descriptors)
    return out
