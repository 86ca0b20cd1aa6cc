"""Random words for the value tests, by mnemonic, operation and types; no tests here (they run in `values_runs.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isa import dtypes
from isa.spec import ALU_OPS, FUNCTIONS, SPEC
from isa.word import DESCRIPTOR, PSUM, SBUF, SBUF_PARTITION_STRIDE, WORD
from tests.neuronsim.values_memory import PSUM_BYTES, SBUF_BYTES, SPECIAL

FLOATS = ("fp32", "bf16", "fp16", "tf32", "fp8_e4m3", "fp8_e5m2")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
FLOAT_ALU = [n for n, c in ALU_OPS.items() if c < 32]
BITWISE_ALU = [n for n, c in ALU_OPS.items() if c >= 32]


@dataclass
class Case:
    """A word of an engine, or descriptors, and the seed of the memory it runs on."""

    name: str
    engine: str
    words: np.ndarray
    seed: int
    descriptors: np.ndarray | None = None


def operand(
    rng: np.random.Generator,
    dtype: str,
    sizes: tuple[int, ...],
    partitions: int,
    third: int,
    space: int = SBUF,
    steps: tuple[int, ...] | None = None,
) -> np.ndarray:
    """A random operand inside one third of the memory, with random inner stride and permuted dimensions."""
    o = np.zeros((), WORD["dst"])
    d = dtypes.BY_NAME[dtype]
    region = (SBUF_BYTES if space == SBUF else PSUM_BYTES) // 3 // 4 * 4
    if steps is None:
        inner = int(rng.integers(1, 3))
        order = rng.permutation(len(sizes)) if rng.random() < 0.3 else range(len(sizes) - 1, -1, -1)
        made, step = {}, inner
        for k in order:
            made[k] = step
            step *= sizes[k]
        steps = tuple(made[k] for k in range(len(sizes)))
    span = (sum((n - 1) * s for n, s in zip(sizes, steps, strict=True)) + 1) * d.size
    assert span <= region, (dtype, sizes, steps)
    o["start"] = third * region + int(rng.integers(0, (region - span) // d.size + 1)) * d.size
    o["partitions"], o["dtype"], o["space"] = partitions, d.code, space
    o["partition"] = int(rng.integers(0, 128 - partitions + 1))
    o["size"], o["step"] = 1, 0
    o["size"][4 - len(sizes) :] = sizes
    o["step"][4 - len(sizes) :] = steps
    return o


def pointer(rng: np.random.Generator, partitions: int) -> np.ndarray:
    p = np.zeros((), WORD["ptr0"])
    p["dtype"] = dtypes.BY_NAME[str(rng.choice(["fp32", "bf16"]))].code
    p["start"] = SBUF_BYTES // 3 + int(rng.integers(0, SBUF_BYTES // 64)) * 4  # among src0, away from results
    p["partition"], p["space"] = int(rng.integers(0, 128 - partitions + 1)), SBUF
    return p


def base(name: str, rng: np.random.Generator) -> np.ndarray:
    w = np.zeros(1, WORD)
    w["opcode"] = SPEC.by_name[name].opcode
    w["imm0"], w["imm1"] = rng.choice([0.5, -1.25, 2.0, 0.0]), rng.choice([1.0, 0.25, -3.0])
    return w


def shape(rng: np.random.Generator) -> tuple[int, ...]:
    return (
        tuple(int(n) for n in rng.integers(1, 6, int(rng.integers(1, 5))))
        if rng.random() < 0.7
        else (int(rng.integers(30, 600)),)
    )


def pick(rng: np.random.Generator, integers: bool = True) -> str:
    return str(rng.choice(FLOATS + INTEGERS + ("bool",) if integers else FLOATS))


def pointwise(name: str, rng: np.random.Generator, operands: int) -> np.ndarray:
    w, s, p = base(name, rng), shape(rng), int(rng.integers(1, 129))
    for third, slot in enumerate(("dst", "src0", "src1")[:operands]):
        w[slot][0] = operand(rng, pick(rng), s, p, third)
    if name in ("tensor_scalar", "scalar_tensor_tensor", "activation", "activation_reduce", "tensor_scalar_reduce"):
        for slot in ("ptr0", "ptr1"):
            if rng.random() < 0.4:
                w[slot][0] = pointer(rng, p)
    return w


def second_result(w: np.ndarray, rng: np.random.Generator) -> None:
    w["src1"][0] = operand(rng, "fp32", (1,), int(w["dst"]["partitions"][0]), 2)


def alu_word(name: str, op0: str, op1: str, rng: np.random.Generator) -> np.ndarray:
    w = pointwise(name, rng, 3 if name in ("tensor_tensor", "scalar_tensor_tensor") else 2)
    w["op0"], w["op1"], w["flags"] = ALU_OPS[op0], ALU_OPS[op1], int(rng.integers(0, 4))
    for op in (op0, op1):
        if ALU_OPS[op] >= 32:
            for slot in ("dst", "src0", "src1"):
                if w[slot]["space"][0]:
                    s = tuple(int(n) for n in w[slot]["size"][0])
                    w[slot][0] = operand(
                        rng,
                        str(rng.choice(INTEGERS)),
                        s,
                        int(w[slot]["partitions"][0]),
                        ("dst", "src0", "src1").index(slot),
                    )
    if name == "tensor_scalar_reduce":
        second_result(w, rng)
    return w


def alu_cases(rng: np.random.Generator) -> Iterator[tuple[str, str, np.ndarray]]:
    for op in FLOAT_ALU + BITWISE_ALU:
        yield "tensor_tensor", "vector", alu_word("tensor_tensor", op, "bypass", rng)
        other = str(rng.choice(FLOAT_ALU))
        yield "tensor_scalar", "vector", alu_word("tensor_scalar", op, other, rng)
        yield "tensor_scalar", "vector", alu_word("tensor_scalar", other, op, rng)
        yield "scalar_tensor_tensor", "vector", alu_word("scalar_tensor_tensor", op, other, rng)
    for op in ("add", "subtract", "mult", "max", "min", "is_equal", "is_lt"):
        w = alu_word("tensor_tensor", op, "bypass", rng)
        for third, slot in enumerate(("dst", "src0", "src1")):
            w[slot][0] = operand(rng, str(rng.choice(INTEGERS)), (30,), 100, third)
        yield "tensor_tensor", "gpsimd", w
    for op in ("add", "mult", "max", "min", "subtract", "logical_and", "logical_or", "logical_xor"):
        yield "tensor_scalar_reduce", "vector", alu_word("tensor_scalar_reduce", "mult", op, rng)
        w = base("tensor_reduce", rng)
        sizes, axes = (3, 2, 5, 37), int(rng.integers(1, 5))
        w["op0"], w["axes"], w["flags"] = ALU_OPS[op], axes, int(rng.integers(0, 2))
        w["src0"][0] = operand(rng, "bf16", sizes, 77, 1)
        w["dst"][0] = operand(rng, pick(rng), sizes[: 4 - axes] or (1,), 77, 0)
        yield "tensor_reduce", "vector", w
        if op != "subtract":
            w = base("partition_reduce", rng)
            w["op0"] = ALU_OPS[op]
            w["src0"][0], w["dst"][0] = operand(rng, "fp32", (50,), 99, 1), operand(rng, "fp32", (50,), 1, 0)
            yield "partition_reduce", "gpsimd", w


def activation_cases(rng: np.random.Generator) -> Iterator[tuple[str, str, np.ndarray]]:
    for name, code in FUNCTIONS.items():
        for mnemonic in ("activation", "activation_reduce"):
            w = pointwise(mnemonic, rng, 2)
            if name == "prelu":
                w["arg"] = np.float32(0.125).view(np.uint32)
            w["func"], w["op0"] = code, ALU_OPS["add"]
            if mnemonic == "activation_reduce":
                second_result(w, rng)
            yield mnemonic, "scalar", w


def copy_cases(rng: np.random.Generator) -> Iterator[tuple[str, str, np.ndarray]]:
    for src in FLOATS + INTEGERS + ("bool",):
        for dst in FLOATS + INTEGERS + ("bool",):
            w, s = base("tensor_copy", rng), shape(rng)
            w["src0"][0], w["dst"][0] = operand(rng, src, s, 60, 1), operand(rng, dst, s, 60, 0)
            yield "tensor_copy", "vector", w
    for dtype in FLOATS + INTEGERS:
        w, s = base("tensor_copy_predicated", rng), shape(rng)
        w["src0"][0], w["dst"][0] = operand(rng, dtype, s, 60, 1), operand(rng, dtype, s, 60, 0)
        w["src1"][0] = operand(rng, str(rng.choice(["uint8", "uint16", "uint32"])), s, 60, 2)
        yield "tensor_copy_predicated", "vector", w
        yield "reciprocal", "vector", pointwise("reciprocal", rng, 2)
        w = pointwise("memset", rng, 1)
        w["imm0"] = rng.choice(SPECIAL)
        yield "memset", "vector", w


def other_cases(rng: np.random.Generator) -> Iterator[tuple[str, str, np.ndarray]]:
    for n in (1, 2, 33, 512):
        w = base("bn_stats", rng)
        w["src0"][0], w["dst"][0] = operand(rng, "bf16", (n,), 128, 1), operand(rng, "fp32", (6,), 128, 0)
        yield "bn_stats", "vector", w
    for k in (1, 2, 400):
        w = base("bn_aggr", rng)
        w["src0"][0] = operand(rng, "fp32", (3 * k,), 128, 1, steps=(1,))
        w["dst"][0] = operand(rng, "fp32", (2,), 128, 0)
        yield "bn_aggr", "vector", w
    for name, dst, dst_n in (("max8", "fp32", 8), ("find_index8", "uint32", 8), ("match_replace8", "fp32", 40)):
        w = base(name, rng)
        w["src0"][0], w["dst"][0] = operand(rng, "bf16", (40,), 31, 1), operand(rng, dst, (dst_n,), 31, 0)
        if name != "max8":
            w["src1"][0] = operand(rng, "bf16", (8,), 31, 1)
        yield name, "vector", w
    w = base("transpose", rng)
    w["src0"][0], w["dst"][0] = operand(rng, "bf16", (20,), 32, 1), operand(rng, "fp16", (32,), 20, 0)
    yield "transpose", "vector", w
    for name in ("tensor_tensor_scan", "tensor_scalar_cumulative"):
        w = base(name, rng)
        w["op0"], w["op1"] = ALU_OPS["mult"], ALU_OPS["add"]
        w["src0"][0], w["dst"][0] = operand(rng, "bf16", (40,), 31, 1), operand(rng, "fp32", (40,), 31, 0)
        if name == "tensor_tensor_scan":
            w["src1"][0] = operand(rng, "bf16", (40,), 31, 2)
        yield name, "vector", w
    for name in ("iota", "affine_select"):
        w = base(name, rng)
        w["arg"], w["count"] = np.int32(-7).view(np.uint32), np.int16(-3).view(np.uint16)
        w["op0"] = ALU_OPS["is_ge"]
        w["dst"][0] = operand(rng, "int32" if name == "iota" else "fp32", (3, 5), 40, 0)
        slot = "src0" if name == "iota" else "src1"
        w[slot]["step"][0] = [0, 0, 7, -2]
        if name == "affine_select":
            w["src0"][0] = operand(rng, "bf16", (3, 5), 40, 1)
        yield name, "gpsimd", w
    yield "nop", "sync", base("nop", rng)


def matmul_words(rng: np.random.Generator, dtype: str, k: int, m: int, n: tuple[int, ...]) -> np.ndarray:
    words = np.concatenate([base("load_stationary", rng), base("matmul", rng), base("matmul", rng)])
    words["src0"][0] = operand(rng, dtype, (m,), k, int(rng.choice([0, 2])))
    for i in (1, 2):
        words["src0"][i] = operand(rng, dtype, n, k, 0 if i == 1 else 2)
        words["src0"]["partition"][i] = words["src0"]["partition"][0]
        out = "int32" if dtype == "int8" else "fp32"
        words["dst"][i] = words["dst"][1] if i == 2 else operand(rng, out, n, m, 0, PSUM)
    words["flags"][1] = 1
    return words


def matmul_cases(rng: np.random.Generator) -> Iterator[tuple[str, str, np.ndarray]]:
    for dtype in (*FLOATS, "int8"):
        for k, m, n in ((1, 1, (1,)), (128, 128, (7, 9)), (50, 37, (100,)), (128, 13, (2, 3, 11)), (3, 128, (300,))):
            yield "matmul", "tensor", matmul_words(rng, dtype, k, m, n)


def descriptor(rng: np.random.Generator, op: int, src: str, dst: str, to_sbuf: bool) -> np.ndarray:
    """DRAM variable 1 -> SBUF or SBUF -> variable 2, partitions in dimension 0, free dimensions swapped on one side."""
    d = np.zeros(1, DESCRIPTOR)
    a, b = (dtypes.BY_NAME[x] for x in (src, dst))
    n = [int(x) for x in (rng.integers(1, 30), 1, rng.integers(1, 20), rng.integers(1, 20))]
    d["op"], d["src_dtype"], d["dst_dtype"], d["size"] = op, a.code, b.code, n
    for side, t, sbuf in (("src", a, not to_sbuf), ("dst", b, to_sbuf)):
        inner = [n[3] * t.size, t.size] if rng.random() < 0.5 else [t.size, n[2] * t.size]
        outer = SBUF_PARTITION_STRIDE if sbuf else n[2] * n[3] * t.size
        d[f"{side}_step"] = [outer, 0, *inner]
        d[f"{side}_var"] = 0 if sbuf else (1 if side == "src" else 2)
        row = int(rng.integers(0, 90)) * (SBUF_PARTITION_STRIDE if sbuf else 8)
        d[f"{side}_off"] = row + int(rng.integers(0, 50)) * 8
    if op in (3, 4):
        d["index_off"], d["index_step"], d["index_limit"] = 4096, 4, n[0]
    return d


def dma_cases(rng: np.random.Generator) -> Iterator[np.ndarray]:
    names = [d.name for d in dtypes.DTYPES]
    for op in (0, 2, 3, 4):
        for dtype in ("fp32", "bf16", "int8", "int64"):
            yield descriptor(rng, op, dtype, dtype, bool(rng.integers(0, 2)))
    for src in names:
        for dst in names:
            yield descriptor(rng, 1, src, dst, bool(rng.integers(0, 2)))
    for dtype in ("fp32", "bf16", "int32"):
        yield descriptor(rng, 5, "bf16", dtype, bool(rng.integers(0, 2)))
