"""The elementwise instructions of a tile program, one method per mnemonic, checked when they are written.

Shapes: views are [P, free...]; two views of an instruction agree when their partition counts and their elements per
partition do. `a`, `b`, `scale`, `bias`, `initial` are numbers or [P, 1] views (one value per partition).
Meaning and cost of each mnemonic: `isa/tables/vector.yaml`, `isa/tables/scalar.yaml`.
"""

from __future__ import annotations

import struct

from isa.lang.emitter import Emitter, Scalar, agree, column, not_both_psum, op_code
from isa.lang.errors import LangError
from isa.lang.views import View
from isa.spec import ALU_OPS, FUNCTIONS


class Elementwise(Emitter):
    """Mixin of `TileProgram`."""

    def tensor_tensor(self, dst: View, a: View, b: View, op: str, engine: str = "vector") -> None:
        """dst = a op b."""
        agree(dst, a, b)
        not_both_psum(a, b)
        self._add("tensor_tensor", engine, dst, a, b, op0=op_code(ALU_OPS, op, "operation"))

    def tensor_scalar(
        self,
        dst: View,
        src: View,
        op0: str,
        a: Scalar = 0.0,
        op1: str = "bypass",
        b: Scalar = 0.0,
        *,
        swap0: bool = False,
        swap1: bool = False,
        engine: str = "vector",
    ) -> None:
        """dst = (src op0 a) op1 b; swap0, swap1: a op0 src, b op1 (...)."""
        agree(dst, src)
        imm0, ptr0 = (0.0, column(a, dst)) if isinstance(a, View) else (a, None)
        imm1, ptr1 = (0.0, column(b, dst)) if isinstance(b, View) else (b, None)
        self._add(
            "tensor_scalar",
            engine,
            dst,
            src,
            op0=op_code(ALU_OPS, op0, "operation"),
            op1=op_code(ALU_OPS, op1, "operation"),
            imm0=imm0,
            imm1=imm1,
            ptr0=ptr0,
            ptr1=ptr1,
            flags=(1 if swap0 else 0) | (2 if swap1 else 0),
        )

    def scalar_tensor_tensor(
        self,
        dst: View,
        src: View,
        op0: str,
        a: Scalar,
        op1: str,
        other: View,
        *,
        swap0: bool = False,
        swap1: bool = False,
    ) -> None:
        """dst = (src op0 a) op1 other."""
        agree(dst, src, other)
        not_both_psum(src, other)
        imm0, ptr0 = (0.0, column(a, dst)) if isinstance(a, View) else (a, None)
        self._add(
            "scalar_tensor_tensor",
            "vector",
            dst,
            src,
            other,
            op0=op_code(ALU_OPS, op0, "operation"),
            op1=op_code(ALU_OPS, op1, "operation"),
            imm0=imm0,
            ptr0=ptr0,
            flags=(1 if swap0 else 0) | (2 if swap1 else 0),
        )

    def tensor_scalar_reduce(
        self, dst: View, src: View, op0: str, a: Scalar, op1: str, reduced: View, *, swap0: bool = False
    ) -> None:
        """dst = src op0 a; reduced[P, 1] = reduce op1 over the free dimensions."""
        agree(dst, src)
        imm0, ptr0 = (0.0, column(a, dst)) if isinstance(a, View) else (a, None)
        self._add(
            "tensor_scalar_reduce",
            "vector",
            dst,
            src,
            dst1=column(reduced, dst),
            op0=op_code(ALU_OPS, op0, "operation"),
            op1=op_code(ALU_OPS, op1, "operation"),
            imm0=imm0,
            ptr0=ptr0,
            flags=1 if swap0 else 0,
        )

    def tensor_scalar_cumulative(
        self, dst: View, src: View, op0: str, a: Scalar, op1: str, initial: float = 0.0, *, swap0: bool = False
    ) -> None:
        """dst = running op1 along the free dimensions of (src op0 a), beginning with `initial`."""
        agree(dst, src)
        imm0, ptr0 = (0.0, column(a, dst)) if isinstance(a, View) else (a, None)
        self._add(
            "tensor_scalar_cumulative",
            "vector",
            dst,
            src,
            op0=op_code(ALU_OPS, op0, "operation"),
            op1=op_code(ALU_OPS, op1, "operation"),
            imm0=imm0,
            ptr0=ptr0,
            imm1=initial,
            flags=1 if swap0 else 0,
        )

    def tensor_tensor_scan(self, dst: View, a: View, b: View, op0: str, op1: str, initial: Scalar = 0.0) -> None:
        """r[i] = (a[i] op0 r[i-1]) op1 b[i]; r[-1] = initial."""
        agree(dst, a, b)
        not_both_psum(a, b)
        imm0, ptr0 = (0.0, column(initial, dst)) if isinstance(initial, View) else (initial, None)
        self._add(
            "tensor_tensor_scan",
            "vector",
            dst,
            a,
            b,
            op0=op_code(ALU_OPS, op0, "operation"),
            op1=op_code(ALU_OPS, op1, "operation"),
            imm0=imm0,
            ptr0=ptr0,
        )

    def tensor_copy(self, dst: View, src: View, engine: str = "vector") -> None:
        """dst = src, cast to dst's type."""
        agree(dst, src)
        self._add("tensor_copy", engine, dst, src)

    def tensor_copy_predicated(self, dst: View, src: View, predicate: View) -> None:
        """dst = src where predicate (unsigned int) is not 0; elsewhere dst stays."""
        agree(dst, src, predicate)
        not_both_psum(src, predicate)
        if predicate.dtype.name not in ("uint8", "uint16", "uint32") or src.dtype is not dst.dtype:
            raise LangError(
                f"tensor_copy_predicated: {predicate!r} must be unsigned, src and dst of one type",
                code="LANG_DTYPE",
                actual=(dst.dtype.name, src.dtype.name, predicate.dtype.name),
            )
        self._add("tensor_copy_predicated", "vector", dst, src, predicate, updates=True)

    def reciprocal(self, dst: View, src: View) -> None:
        """dst = 1 / src."""
        agree(dst, src)
        self._add("reciprocal", "vector", dst, src)

    def memset(self, dst: View, value: float = 0.0, engine: str = "vector") -> None:
        """dst = value."""
        dst.pattern()
        self._add("memset", engine, dst, imm0=value)

    def activation(
        self,
        dst: View,
        src: View,
        func: str,
        scale: Scalar = 1.0,
        bias: Scalar = 0.0,
        *,
        param: float = 0.0,
        reduce: View | None = None,
    ) -> None:
        """dst = func(src * scale + bias) on the scalar engine. `param`: slope of prelu. With `reduce` [P, 1]:
        activation_reduce, which also writes the sum over the free dimensions there."""
        agree(dst, src)
        imm0, ptr0 = (0.0, column(scale, dst)) if isinstance(scale, View) else (scale, None)
        imm1, ptr1 = (0.0, column(bias, dst)) if isinstance(bias, View) else (bias, None)
        code = op_code(FUNCTIONS, func, "function")
        arg = _fp32_bits(param) if param else 0
        if reduce is None:
            self._add("activation", "scalar", dst, src, func=code, imm0=imm0, imm1=imm1, ptr0=ptr0, ptr1=ptr1, arg=arg)
        else:
            self._add(
                "activation_reduce",
                "scalar",
                dst,
                src,
                dst1=column(reduce, dst),
                func=code,
                imm0=imm0,
                imm1=imm1,
                ptr0=ptr0,
                ptr1=ptr1,
                arg=arg,
                op0=ALU_OPS["add"],
            )

    def activation_reduce(
        self,
        dst: View,
        src: View,
        func: str,
        reduce: View,
        scale: Scalar = 1.0,
        bias: Scalar = 0.0,
        *,
        param: float = 0.0,
    ) -> None:
        """`activation`, and reduce[P, 1] = sum over the free dimensions of the results before rounding."""
        self.activation(dst, src, func, scale, bias, param=param, reduce=reduce)


def _fp32_bits(value: float) -> int:

    return int(struct.unpack("<I", struct.pack("<f", value))[0])
