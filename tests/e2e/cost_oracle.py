"""The documented costs of NeuronCore-v2 as plain Python, written from the public pages and not from our tables.

Source of every formula, unless a rule says otherwise: general/nki/api/nki/isa/__init__.py of the AWS Neuron docs
at commit 49ee15c5 (SDK 2.26); of the common rules: nki/guides/architecture/trainium_inferentia2_arch.rst. Where a page
prints N alone, the common rule "least start interval about 64 cycles" (nki/api/nki.api.shared.rst) holds too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

MIN_II = 64
GPSIMD_START = 150
CLOCK_HZ = {"tensor": 2_800_000_000, "vector": 1_120_000_000, "scalar": 1_400_000_000, "gpsimd": 1_400_000_000}

# around the floor of 64 cycles, of N, 2N, N/2, 8N and 13N/3, and well above
SIZES = (2, 8, 16, 30, 32, 34, 62, 64, 66, 126, 128, 130, 300, 512, 1000)


def one(n: int) -> int:
    return max(MIN_II, n)


def two(n: int) -> int:
    return max(MIN_II, 2 * n)


def half(n: int) -> int:
    return max(MIN_II, n // 2)


@dataclass(frozen=True)
class Rule:
    """One documented formula, or one side of its condition.

    Attributes:
        name, engine: for the test's name; the stream.
        line: listing line of the repeated instruction; `N` stands for the elements per partition.
        cycles: N -> start-to-start cycles of the engine's clock.
        sizes: N to measure, even numbers (N/2 of an odd N is not a number of cycles).
        before: lines in front of the repeated ones.
    """

    name: str
    engine: str
    line: str
    cycles: Callable[[int], int]
    sizes: tuple[int, ...] = SIZES
    before: tuple[str, ...] = field(default=())

    @property
    def mnemonic(self) -> str:
        return self.line.split()[0]

    def listing(self, n: int, count: int = 100) -> str:
        lines = [*self.before, f".repeat {count} k", self.line, ".endr"]
        return f".target trn1.2xlarge\n.define N {n}\n.engine {self.engine}\n" + "\n".join(lines) + "\n"


# Operands. Sources are never written and destinations never read: the instructions are independent.
def source(dtype: str = "fp32", step: str = "", memory: str = "sbuf", byte: int = 0) -> str:
    return f"src0={memory}[0:128]@{byte}:{dtype}[{{N}}{step}]"


def second(dtype: str = "fp32", step: str = "", memory: str = "sbuf") -> str:
    return f"src1={memory}[0:128]@{40960 if memory == 'sbuf' else 4096}:{dtype}[{{N}}{step}]"


def result(dtype: str = "fp32", step: str = "", memory: str = "sbuf") -> str:
    return f"dst={memory}[0:128]@{{{81920 if memory == 'sbuf' else 8192} + k * 32 % 4096}}:{dtype}[{{N}}{step}]"


BF, STRIDED, WIDE = "bf16", ":2", ":5"  # a step of five 4-byte elements is over 16 bytes
COLUMN = "sbuf[0]@180000:fp32"


def rules() -> Iterator[Rule]:
    yield from tensor_rules()
    yield from scalar_rules()
    yield from tensor_tensor_rules()
    yield from vector_rules()
    yield from reduction_rules()
    yield from gpsimd_rules()
    yield from stride_rules()


def tensor_rules() -> Iterator[Rule]:
    """`max(min(64, M), N)`, fp32 x4; a transpose is `max(P, min(64, F))`; a load takes a quarter of its free size."""
    sizes = (1, 16, 31, 32, 33, 63, 64, 65, 128, 300, 512)
    for dtype, factor in (("bf16", 1), ("fp16", 1), ("fp8_e4m3", 1), ("tf32", 1), ("fp32", 4)):
        for m in (1, 32, 64, 128):
            load = f"load_stationary src0=sbuf[0:128]@0:{dtype}[{m}]"
            move = (
                f"matmul dst=psum[0:{m}]@{{k % 8 * 2048}}:fp32[{{N}}] src0=sbuf[0:128]@4096:{dtype}[{{N}}] start stop"
            )
            yield Rule(
                f"matmul {dtype} M={m}", "tensor", move, lambda n, m=m, f=factor: f * max(min(64, m), n), sizes, (load,)
            )
        line = f"load_stationary src0=sbuf[0:128]@0:{dtype}[{{N}}]"
        yield Rule(f"load_stationary {dtype}", "tensor", line, lambda n, f=factor: f * n // 4, (4, 32, 64, 100, 128))
    for f in (16, 64, 128):
        load = f"load_stationary src0=sbuf[0:{{N}}]@0:bf16[{f}]"
        identity = "src0=sbuf[0:{N}]@4096:bf16[{N}]"
        move = f"matmul dst=psum[0:{f}]@{{k % 8 * 2048}}:fp32[{{N}}] {identity} start stop transpose"
        yield Rule(
            f"PE transpose F={f}", "tensor", move, lambda n, f=f: max(n, min(64, f)), (1, 16, 63, 64, 65, 128), (load,)
        )


def scalar_rules() -> Iterator[Rule]:
    """`max(MIN_II, N)`; scale and bias are free, columns too; the accumulator costs MIN_II more."""
    for memory in ("sbuf", "psum"):
        for name, extra in (("plain", "scale=1"), ("columns", f"scale={COLUMN} bias={COLUMN}")):
            for func in ("copy", "gelu"):
                line = f"activation {result()} {source(memory=memory)} func={func} {extra}"
                yield Rule(f"activation {func} {memory} {name}", "scalar", line, one)
    reduced = "dst1=sbuf[0:128]@180064:fp32[1] op=add func=exp scale=1"
    yield Rule(
        "activation_reduce",
        "scalar",
        f"activation_reduce {result()} {source()} {reduced}",
        lambda n: max(MIN_II, n) + MIN_II,
    )
    yield Rule("tensor_copy scalar", "scalar", f"tensor_copy {result(BF)} {source()}", one)
    yield Rule("tensor_scalar scalar", "scalar", f"tensor_scalar {result()} {source()} op0=mult a=2 op1=add b=1", one)


def tensor_tensor_rules() -> Iterator[Rule]:
    """N with one input in PSUM, or all bf16, unit stride, add, mult or subtract, in SBUF; else 2N."""
    bf16 = (result(BF), source(BF), second(BF))
    yield Rule("tensor_tensor fp32", "vector", f"tensor_tensor {result()} {source()} {second()} op=add", two)
    for op in ("add", "mult", "subtract"):
        yield Rule(f"tensor_tensor bf16 {op}", "vector", f"tensor_tensor {' '.join(bf16)} op={op}", one)
    for op in ("max", "is_equal", "divide"):
        yield Rule(f"tensor_tensor bf16 {op}", "vector", f"tensor_tensor {' '.join(bf16)} op={op}", two)
    broken = {
        "dst fp32": (result(), bf16[1], bf16[2]),
        "src0 fp32": (bf16[0], source(), bf16[2]),
        "src1 fp16": (bf16[0], bf16[1], second("fp16")),
        "dst strided": (result(BF, STRIDED), bf16[1], bf16[2]),
        "src0 strided": (bf16[0], source(BF, STRIDED), bf16[2]),
        "src1 strided": (*bf16[:2], second(BF, STRIDED)),
    }
    for name, operands in broken.items():
        yield Rule(f"tensor_tensor bf16 {name}", "vector", f"tensor_tensor {' '.join(operands)} op=add", two)
    for name, a, b in (("psum sbuf", "psum", "sbuf"), ("sbuf psum", "sbuf", "psum")):
        line = f"tensor_tensor {result()} {source(memory=a)} {second(memory=b)} op=max"
        yield Rule(f"tensor_tensor {name}", "vector", line, one)


def vector_rules() -> Iterator[Rule]:
    """One file line of the documentation each, conditions on both sides."""
    yield Rule("tensor_scalar", "vector", f"tensor_scalar {result()} {source()} op0=add a=1", one)
    yield Rule(
        "tensor_scalar second operation free",
        "vector",
        f"tensor_scalar {result()} {source()} op0=subtract a={COLUMN} op1=max b=0",
        one,
    )
    fast = f"{result(BF)} {source(BF)} {second(BF)} op0=subtract a=1 op1=mult"
    yield Rule("scalar_tensor_tensor bf16 subtract mult", "vector", f"scalar_tensor_tensor {fast}", one)
    for name, line in {
        "other operations": fast.replace("op1=mult", "op1=add"),
        "fp32": fast.replace("bf16", "fp32"),
        "dst fp32": fast.replace("bf16", "fp32", 1),
    }.items():
        yield Rule(f"scalar_tensor_tensor {name}", "vector", f"scalar_tensor_tensor {line}", two)
    yield Rule("scalar_tensor_tensor bf16 odd", "vector", f"scalar_tensor_tensor {fast}", two, (33, 65, 129, 1001))
    yield Rule(
        "tensor_tensor_scan",
        "vector",
        f"tensor_tensor_scan {result()} {source()} {second()} op0=mult op1=add initial=0",
        two,
    )
    yield Rule("tensor_copy", "vector", f"tensor_copy {result(BF)} {source()}", one)
    yield Rule("tensor_copy bf16", "vector", f"tensor_copy {result(BF)} {source(BF)}", one)
    apart, few = "dst=sbuf[0:128]@{81920 + k * N * 4}:fp32[{N}]", tuple(n for n in SIZES if n < 280)  # dst is read too
    predicate = "src1={}[0:128]@{}:uint8[{{N}}]"
    sbuf, psum = predicate.format("sbuf", 40960), predicate.format("psum", 4096)
    yield Rule(
        "tensor_copy_predicated both SBUF", "vector", f"tensor_copy_predicated {apart} {source()} {sbuf}", two, few
    )
    yield Rule(
        "tensor_copy_predicated data PSUM",
        "vector",
        f"tensor_copy_predicated {apart} {source(memory='psum')} {sbuf}",
        one,
        few,
    )
    yield Rule(
        "tensor_copy_predicated predicate PSUM", "vector", f"tensor_copy_predicated {apart} {source()} {psum}", one, few
    )
    # nki/api/nki.api.shared.rst
    yield Rule(
        "reciprocal",
        "vector",
        f"reciprocal {result()} {source()}",
        lambda n: max(MIN_II, 8 * n),
        (2, 6, 8, 10, 64, 500),
    )
    for dtype, value, cycles in (
        ("bf16", "0", half),
        ("fp16", "0", half),
        ("fp32", "0", one),
        ("bf16", "1.5", one),
        ("int16", "0", one),
    ):
        yield Rule(f"memset {dtype} {value}", "vector", f"memset {result(dtype)} value={value}", cycles)
    tile = "transpose dst=sbuf[0:{N}]@{81920 + k * 128}:fp32[32] src0=sbuf[0:32]@0:fp32[{N}]"
    yield Rule("transpose", "vector", tile, one, (1, 8, 31, 32))


def reduction_rules() -> Iterator[Rule]:
    """Reductions and the instructions with eight results."""
    reduced = "dst1=sbuf[0:128]@180064:fp32[1]"
    yield Rule(
        "tensor_scalar_reduce",
        "vector",
        f"tensor_scalar_reduce {result()} {source()} op0=mult a=2 op1=add {reduced}",
        lambda n: max(MIN_II, n) + MIN_II,
    )
    for op, to, of, cycles in (
        ("add", BF, BF, half),
        ("max", BF, BF, half),
        ("mult", BF, BF, one),
        ("min", BF, BF, one),
        ("add", "fp32", BF, one),
        ("add", BF, "fp32", one),
        ("max", "fp32", "fp32", one),
        ("add", "fp16", "fp16", one),
    ):
        line = f"tensor_reduce dst=sbuf[0:128]@180064:{to}[1] {source(of)} op={op} axes=1"
        yield Rule(f"tensor_reduce {op} {of} to {to}", "vector", line, cycles)
    yield Rule(
        "bn_stats", "vector", f"bn_stats dst=sbuf[0:128]@180064:fp32[6] {source()}", one, (2, 62, 64, 66, 300, 512)
    )
    yield Rule(
        "bn_aggr",
        "vector",
        f"bn_aggr dst=sbuf[0:128]@180064:fp32[2] {source()}",
        lambda n: max(MIN_II, 13 * n // 3),
        (3, 12, 15, 18, 96, 300, 999),
    )
    large = (8, 62, 64, 66, 500, 2000, 9000)
    eight = "src1=sbuf[0:128]@180000:fp32[8]"
    yield Rule("max8", "vector", f"max8 dst=sbuf[0:128]@180064:fp32[8] {source()}", one, large)
    yield Rule("find_index8", "vector", f"find_index8 dst=sbuf[0:128]@180064:uint32[8] {source()} {eight}", one, large)
    yield Rule("match_replace8", "vector", f"match_replace8 {result()} {source()} {eight} value=0", one, large)


def gpsimd_rules() -> Iterator[Rule]:
    """`150 + N` for the two index instructions; copies, fills and int32 arithmetic as printed for every engine."""
    start: Callable[[int], int] = lambda n: GPSIMD_START + n  # noqa: E731
    yield Rule("iota", "gpsimd", f"iota {result('int32')} pattern=(1) base=3 channel=2", start)
    yield Rule(
        "affine_select",
        "gpsimd",
        f"affine_select {result()} {source()} pattern=(1) op=is_ge base=0 channel=-1 fill=0",
        start,
    )
    yield Rule("tensor_copy gpsimd", "gpsimd", f"tensor_copy {result(BF)} {source()}", one)
    # nki/api/nki.api.shared.rst: four times the scalar engine's time
    yield Rule(
        "tensor_scalar gpsimd rsqrt",
        "gpsimd",
        f"tensor_scalar {result()} {source()} op0=rsqrt",
        lambda n: 4 * max(MIN_II, n),
    )
    yield Rule("memset gpsimd", "gpsimd", f"memset {result()} value=1.5", one)
    for op, dtype in (("add", "int32"), ("power", "fp32")):
        line = f"tensor_tensor {result(dtype)} {source(dtype)} {second(dtype)} op={op}"
        yield Rule(f"tensor_tensor gpsimd {op} {dtype}", "gpsimd", line, two)


def stride_rules() -> Iterator[Rule]:
    """An innermost step above 16 bytes halves the rate of that port: about twice the cycles."""

    def four(n: int) -> int:
        return max(MIN_II, 4 * n)

    for dtype, at, over in (("fp32", 4, 5), ("bf16", 8, 9), ("int8", 16, 17)):
        for step, cycles in ((at, one), (over, two), (-at, one), (-over, two)):
            byte = 40000 if step < 0 else 0
            line = f"tensor_copy {result()} {source(dtype, f':{step}', byte=byte)}"
            yield Rule(f"source step {step} {dtype}", "vector", line, cycles)
    yield Rule("destination step 5", "vector", f"tensor_copy {result(step=WIDE)} {source()}", two)
    yield Rule("destination step 4", "vector", f"tensor_copy {result(step=':4')} {source()}", one)
    yield Rule("activation step 5", "scalar", f"activation {result()} {source(step=WIDE)} func=copy scale=1", two)
    yield Rule("memset step 5", "vector", f"memset {result(step=WIDE)} value=1", two)
    yield Rule(
        "tensor_tensor both steps 5",
        "vector",
        f"tensor_tensor {result()} {source(step=WIDE)} {second(step=WIDE)} op=add",
        four,
    )


def exact_cycles(ticks: int, tick_hz: int, engine: str) -> Fraction:
    """Ticks of a trace as cycles of the documented clock."""
    return Fraction(ticks, tick_hz) * CLOCK_HZ[engine]
