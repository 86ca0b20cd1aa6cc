"""The compute instructions of a tile program, one method per mnemonic, checked when they are written.

Shapes: views are [P, free...]; two views of an instruction agree when their partition counts and their elements per
partition do. `a`, `b`, `scale`, `bias`, `initial` are numbers or [P, 1] views (one value per partition).
Meaning and cost of each mnemonic: `isa/tables/*.yaml`.
"""
from __future__ import annotations

import struct
from collections.abc import Sequence

from isa.dtypes import SIZES
from isa.lang.axes import Ints
from isa.lang.errors import LangError
from isa.lang.instr import Instr
from isa.lang.views import View
from isa.spec import ALU_OPS, FUNCTIONS, SPEC
from isa.word import ENGINES, PSUM, SBUF

Scalar = float | View

_CODE: dict[str, int] = {name: i.opcode for name, i in SPEC.by_name.items()}
_ENGINE: dict[str, dict[str, int]] = {
    name: {e: ENGINES.index(e) for e in i.engines} for name, i in SPEC.by_name.items()
}
_GPSIMD = ENGINES.index("gpsimd")
_TENSOR = ENGINES.index("tensor")
_BANK_DTYPE_BYTES = 4  # PSUM accumulates 4-byte elements; trainium_inferentia2_arch.rst


def _op(table: dict[str, int], name: str, what: str) -> int:
    code = table.get(name)
    if code is None:
        raise LangError(f"unknown {what} {name!r}", code="LANG_OP", help="known: " + ", ".join(table))
    return code


def _agree(dst: View, *others: View) -> None:
    count = dst.pattern()[2]
    for v in others:
        if v.partitions != dst.partitions or v.pattern()[2] != count:
            raise LangError(
                f"{v!r} does not match {dst!r}", code="LANG_SHAPE", limit=f"{dst.partitions} x {count}",
                actual=f"{v.partitions} x {v.pattern()[2]}", help="broadcast repeats a dimension of size 1",
            )


def _column(v: View, dst: View) -> View:
    if v.partitions != dst.partitions or v.pattern()[2] != 1:
        raise LangError(f"{v!r} must hold one element for each partition of {dst!r}", code="LANG_SHAPE",
                        limit=(dst.partitions, 1), actual=v.shape)
    return v


def _width(v: View, count: int) -> View:
    if v.pattern()[2] != count:
        raise LangError(f"{v!r} must hold {count} elements per partition", code="LANG_SHAPE", limit=count, actual=v.count)
    return v


def _not_both_psum(a: View, b: View) -> None:
    if a.tile.space == PSUM and b.tile.space == PSUM:
        raise LangError(f"{a!r} and {b!r} are both in PSUM: one of two inputs must be in SBUF", code="LANG_MEMORY")


class Compute:
    """Mixin of `TileProgram`: needs `instrs`, `_row` (current debug row), `_gpsimd` (present), `_bank_bytes`."""

    instrs: list[Instr]
    _row: int
    _gpsimd: bool
    _bank_bytes: int
    _stationary: View | None

    def _add(self, name: str, engine: str, dst: View, src0: View | None = None, src1: View | None = None, **slots: object) -> None:
        code = _ENGINE[name].get(engine)
        if code is None:
            raise LangError(f"{name} does not run on {engine}", code="LANG_ENGINE", limit=", ".join(_ENGINE[name]), actual=engine)
        if code == _GPSIMD:
            self._check_gpsimd(name, dst, src0, src1)
        self.instrs.append(Instr(_CODE[name], code, self._row, dst, src0, src1, **slots))  # type: ignore[arg-type]

    def _check_gpsimd(self, name: str, *views: View | None) -> None:
        if not self._gpsimd:
            raise LangError(f"{name}: this target has no gpsimd engine", code="LANG_ENGINE")
        for v in views:
            if v is not None and v.tile.space == PSUM:
                raise LangError(f"{name}: gpsimd cannot reach PSUM ({v!r})", code="LANG_MEMORY")

    # ---- tensor engine
    def load_stationary(self, src: View) -> None:
        """Make src [K, M] (SBUF, K, M <= 128) the stationary matrix of the matmuls that follow."""
        if src.tile.space != SBUF or src.pattern()[2] > 128:
            raise LangError(f"{src!r}: a stationary matrix is [K <= 128, M <= 128] in SBUF", code="LANG_SHAPE",
                            limit=128, actual=src.count)
        self._stationary = src
        self.instrs.append(Instr(_CODE["load_stationary"], _TENSOR, self._row, None, src))

    def matmul(self, dst: View, moving: View, *, start: bool = True, stop: bool = True, transpose: bool = False) -> None:
        """dst[M, N] (PSUM) = or += stationary[K, M]^T x moving[K, N]; N <= 512 and inside one PSUM bank.

        start overwrites, otherwise the product is added; stop ends the group. transpose is for accounting only.
        """
        s = self._stationary
        if s is None:
            raise LangError("matmul before any load_stationary", code="LANG_ORDER")
        if moving.tile.space != SBUF or dst.tile.space != PSUM:
            raise LangError(f"matmul reads SBUF and writes PSUM, not {moving!r} to {dst!r}", code="LANG_MEMORY")
        n, m = moving.pattern()[2], s.pattern()[2]
        _, _, count, lo, hi = dst.pattern()
        if dst.partitions != m or count != n or n > 512:
            raise LangError(f"matmul of [{s.partitions}, {m}] and {moving.shape} into {dst!r}", code="LANG_SHAPE",
                            limit=f"{m} x {n}, N <= 512", actual=f"{dst.partitions} x {count}")
        if moving.partitions != s.partitions or moving.partition != s.partition:
            raise LangError(f"{moving!r} must lie on the partitions of the stationary {s!r}", code="LANG_PARTITION",
                            limit=(s.partition, s.partitions), actual=(moving.partition, moving.partitions))
        if lo // self._bank_bytes != (hi - 1) // self._bank_bytes:
            raise LangError(f"{dst!r} crosses a PSUM bank", code="LANG_BANK", limit=self._bank_bytes, actual=f"{lo}..{hi - 1}")
        if SIZES[dst.dtype.code] != _BANK_DTYPE_BYTES:
            raise LangError(f"{dst!r}: matmul accumulates fp32 (int32 for int8)", code="LANG_DTYPE", actual=dst.dtype.name)
        flags = (1 if start else 0) | (2 if stop else 0) | (4 if transpose else 0)
        self.instrs.append(Instr(_CODE["matmul"], _TENSOR, self._row, dst, moving, flags=flags, updates=not start))

    # ---- elementwise
    def tensor_tensor(self, dst: View, a: View, b: View, op: str, engine: str = "vector") -> None:
        """dst = a op b."""
        _agree(dst, a, b)
        _not_both_psum(a, b)
        self._add("tensor_tensor", engine, dst, a, b, op0=_op(ALU_OPS, op, "operation"))

    def tensor_scalar(
        self, dst: View, src: View, op0: str, a: Scalar = 0.0, op1: str = "bypass", b: Scalar = 0.0, *,
        swap0: bool = False, swap1: bool = False, engine: str = "vector",
    ) -> None:
        """dst = (src op0 a) op1 b; swap0, swap1: a op0 src, b op1 (...)."""
        _agree(dst, src)
        imm0, ptr0 = (0.0, _column(a, dst)) if isinstance(a, View) else (a, None)
        imm1, ptr1 = (0.0, _column(b, dst)) if isinstance(b, View) else (b, None)
        self._add("tensor_scalar", engine, dst, src, op0=_op(ALU_OPS, op0, "operation"), op1=_op(ALU_OPS, op1, "operation"),
                  imm0=imm0, imm1=imm1, ptr0=ptr0, ptr1=ptr1, flags=(1 if swap0 else 0) | (2 if swap1 else 0))

    def scalar_tensor_tensor(
        self, dst: View, src: View, op0: str, a: Scalar, op1: str, other: View, *, swap0: bool = False, swap1: bool = False
    ) -> None:
        """dst = (src op0 a) op1 other."""
        _agree(dst, src, other)
        _not_both_psum(src, other)
        imm0, ptr0 = (0.0, _column(a, dst)) if isinstance(a, View) else (a, None)
        self._add("scalar_tensor_tensor", "vector", dst, src, other, op0=_op(ALU_OPS, op0, "operation"),
                  op1=_op(ALU_OPS, op1, "operation"), imm0=imm0, ptr0=ptr0, flags=(1 if swap0 else 0) | (2 if swap1 else 0))

    def tensor_scalar_reduce(
        self, dst: View, src: View, op0: str, a: Scalar, op1: str, reduced: View, *, swap0: bool = False
    ) -> None:
        """dst = src op0 a; reduced[P, 1] = reduce op1 over the free dimensions."""
        _agree(dst, src)
        imm0, ptr0 = (0.0, _column(a, dst)) if isinstance(a, View) else (a, None)
        self._add("tensor_scalar_reduce", "vector", dst, src, dst1=_column(reduced, dst), op0=_op(ALU_OPS, op0, "operation"),
                  op1=_op(ALU_OPS, op1, "operation"), imm0=imm0, ptr0=ptr0, flags=1 if swap0 else 0)

    def tensor_scalar_cumulative(
        self, dst: View, src: View, op0: str, a: Scalar, op1: str, initial: float = 0.0, *, swap0: bool = False
    ) -> None:
        """dst = running op1 along the free dimensions of (src op0 a), beginning with `initial`."""
        _agree(dst, src)
        imm0, ptr0 = (0.0, _column(a, dst)) if isinstance(a, View) else (a, None)
        self._add("tensor_scalar_cumulative", "vector", dst, src, op0=_op(ALU_OPS, op0, "operation"),
                  op1=_op(ALU_OPS, op1, "operation"), imm0=imm0, ptr0=ptr0, imm1=initial, flags=1 if swap0 else 0)

    def tensor_tensor_scan(self, dst: View, a: View, b: View, op0: str, op1: str, initial: Scalar = 0.0) -> None:
        """r[i] = (a[i] op0 r[i-1]) op1 b[i]; r[-1] = initial."""
        _agree(dst, a, b)
        _not_both_psum(a, b)
        imm0, ptr0 = (0.0, _column(initial, dst)) if isinstance(initial, View) else (initial, None)
        self._add("tensor_tensor_scan", "vector", dst, a, b, op0=_op(ALU_OPS, op0, "operation"),
                  op1=_op(ALU_OPS, op1, "operation"), imm0=imm0, ptr0=ptr0)

    def tensor_copy(self, dst: View, src: View, engine: str = "vector") -> None:
        """dst = src, cast to dst's type."""
        _agree(dst, src)
        self._add("tensor_copy", engine, dst, src)

    def tensor_copy_predicated(self, dst: View, src: View, predicate: View) -> None:
        """dst = src where predicate (unsigned int) is not 0; elsewhere dst stays."""
        _agree(dst, src, predicate)
        _not_both_psum(src, predicate)
        if predicate.dtype.name not in ("uint8", "uint16", "uint32") or src.dtype is not dst.dtype:
            raise LangError(f"tensor_copy_predicated: {predicate!r} must be unsigned, src and dst of one type",
                            code="LANG_DTYPE", actual=(dst.dtype.name, src.dtype.name, predicate.dtype.name))
        self._add("tensor_copy_predicated", "vector", dst, src, predicate, updates=True)

    def reciprocal(self, dst: View, src: View) -> None:
        """dst = 1 / src."""
        _agree(dst, src)
        self._add("reciprocal", "vector", dst, src)

    def memset(self, dst: View, value: float = 0.0, engine: str = "vector") -> None:
        """dst = value."""
        dst.pattern()
        self._add("memset", engine, dst, imm0=value)

    def activation(
        self, dst: View, src: View, func: str, scale: Scalar = 1.0, bias: Scalar = 0.0, *, param: float = 0.0,
        reduce: View | None = None,
    ) -> None:
        """dst = func(src * scale + bias) on the scalar engine. `param`: slope of prelu. With `reduce` [P, 1]:
        activation_reduce, which also writes the sum over the free dimensions there."""
        _agree(dst, src)
        imm0, ptr0 = (0.0, _column(scale, dst)) if isinstance(scale, View) else (scale, None)
        imm1, ptr1 = (0.0, _column(bias, dst)) if isinstance(bias, View) else (bias, None)
        code = _op(FUNCTIONS, func, "function")
        arg = _fp32_bits(param) if param else 0
        if reduce is None:
            self._add("activation", "scalar", dst, src, func=code, imm0=imm0, imm1=imm1, ptr0=ptr0, ptr1=ptr1, arg=arg)
        else:
            self._add("activation_reduce", "scalar", dst, src, dst1=_column(reduce, dst), func=code, imm0=imm0, imm1=imm1,
                      ptr0=ptr0, ptr1=ptr1, arg=arg, op0=ALU_OPS["add"])

    def activation_reduce(
        self, dst: View, src: View, func: str, reduce: View, scale: Scalar = 1.0, bias: Scalar = 0.0, *, param: float = 0.0
    ) -> None:
        """`activation`, and reduce[P, 1] = sum over the free dimensions of the results before rounding."""
        self.activation(dst, src, func, scale, bias, param=param, reduce=reduce)

    # ---- reductions and statistics
    def tensor_reduce(self, dst: View, src: View, op: str, axes: int = 1, *, negate: bool = False) -> None:
        """dst = reduce op over the `axes` innermost free dimensions of src (as written, before any merging)."""
        kept = len(src.sizes) - axes
        if not 1 <= axes <= len(src.sizes):
            raise LangError(f"{src!r} has no {axes} free dimensions to reduce", code="LANG_SHAPE", limit=len(src.sizes), actual=axes)
        count = 1
        for n in src.sizes[:kept]:
            count *= n
        if dst.partitions != src.partitions or dst.pattern()[2] != count:
            raise LangError(f"{dst!r} cannot take a reduction of {src!r} over {axes} dimensions", code="LANG_SHAPE",
                            limit=(src.partitions, count), actual=(dst.partitions, dst.count))
        src = src.kept_dims(kept, axes)
        reduced = 1
        for n in src.sizes[kept:]:
            reduced *= n
        inner, dims = 1, 0
        for n in reversed(src.pattern()[1]):  # encoded dimensions that make up the reduced ones
            if inner == reduced and dims:
                break
            inner, dims = inner * n, dims + 1
        self._add("tensor_reduce", "vector", dst, src, op0=_op(ALU_OPS, op, "operation"), axes=dims, flags=1 if negate else 0)

    def bn_stats(self, dst: View, src: View) -> None:
        """dst[P, 6] fp32 = (count, mean, count * variance) of the even, then of the odd elements of src[P, N <= 512]."""
        _agree_partitions(dst, src)
        self._add("bn_stats", "vector", _width(dst, 6), src)

    def bn_aggr(self, dst: View, src: View) -> None:
        """dst[P, 2] = mean and population variance of src[P, 3k] triples."""
        _agree_partitions(dst, src)
        self._add("bn_aggr", "vector", _width(dst, 2), src)

    def max8(self, dst: View, src: View) -> None:
        """dst[P, 8] = the eight largest elements of each partition, descending."""
        _agree_partitions(dst, src)
        self._add("max8", "vector", _width(dst, 8), src)

    def find_index8(self, dst: View, src: View, values: View) -> None:
        """dst[P, 8] (uint32 or uint16) = first index in src of each of values[P, 8]."""
        _agree_partitions(dst, src, values)
        self._add("find_index8", "vector", _width(dst, 8), src, _width(values, 8))

    def match_replace8(self, dst: View, src: View, values: View, fill: float) -> None:
        """dst = src with the first match of each of values[P, 8] replaced by `fill`."""
        _agree(dst, src)
        _agree_partitions(dst, values)
        self._add("match_replace8", "vector", dst, src, _width(values, 8), imm0=fill)

    def transpose(self, dst: View, src: View) -> None:
        """dst[F, P] = src[P, F], both at most 32 x 32, on the vector engine."""
        if dst.partitions != src.count or src.partitions != dst.count or max(dst.partitions, dst.count) > 32:
            raise LangError(f"transpose of {src!r} into {dst!r}", code="LANG_SHAPE", limit="32 x 32, sides exchanged",
                            actual=(src.shape, dst.shape))
        self._add("transpose", "vector", dst, src)

    # ---- gpsimd
    def iota(self, dst: View, steps: Sequence[int], base: int = 0, channel: int = 0) -> None:
        """dst[p, i...] = base + channel * p + sum of steps[d] * i[d]; one step for each free dimension of dst."""
        self._add("iota", "gpsimd", dst.unmerged(), pattern=_steps(dst, steps), arg=base & 0xFFFFFFFF, count=channel & 0xFFFF)

    def affine_select(
        self, dst: View, src: View, steps: Sequence[int], op: str, fill: float, base: int = 0, channel: int = 0
    ) -> None:
        """dst = src where (base + channel * p + sum of steps[d] * i[d]) op 0, else `fill`."""
        _agree(dst, src)
        if src.sizes != dst.sizes:
            raise LangError(f"affine_select: {src!r} and {dst!r} need equal dimensions", code="LANG_SHAPE")
        self._add("affine_select", "gpsimd", dst.unmerged(), src.unmerged(), pattern=_steps(dst, steps),
                  op0=_op(ALU_OPS, op, "operation"), imm0=fill, arg=base & 0xFFFFFFFF, count=channel & 0xFFFF)

    def partition_reduce(self, dst: View, src: View, op: str) -> None:
        """dst[1, N] = reduce op over the partitions of src[P, N]."""
        if dst.partitions != 1 or dst.count != src.count:
            raise LangError(f"partition_reduce of {src!r} into {dst!r}", code="LANG_SHAPE", limit=(1, src.count), actual=dst.shape)
        self._add("partition_reduce", "gpsimd", dst, src, op0=_op(ALU_OPS, op, "operation"))

    def nop(self, engine: str) -> None:
        """Occupy an engine for one instruction without effect."""
        self.instrs.append(Instr(_CODE["nop"], _ENGINE["nop"][engine], self._row))


def _agree_partitions(dst: View, *others: View) -> None:
    for v in others:
        if v.partitions != dst.partitions:
            raise LangError(f"{v!r} and {dst!r} differ in partitions", code="LANG_SHAPE", limit=dst.partitions, actual=v.partitions)


def _steps(dst: View, steps: Sequence[int]) -> Ints:
    if len(steps) != len(dst.sizes):
        raise LangError(f"one step for each free dimension of {dst!r}", code="LANG_SHAPE", limit=len(dst.sizes), actual=len(steps))
    return (0,) * (4 - len(steps)) + tuple(steps)


def _fp32_bits(value: float) -> int:


    return int(struct.unpack("<I", struct.pack("<f", value))[0])


__all__ = ["Compute", "Scalar"]
