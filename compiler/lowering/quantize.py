"""QuantizeLinear and DequantizeLinear: parameters known or computed at run time, per tensor, axis or block.

Scale and zero point have ONNX's shape or, as the expansions leave them, the operand's rank and then broadcast.
`attrs["multiply"]` makes the scale a factor instead of a divisor.
"""
from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from compiler.ir import Node, numpy_dtype
from compiler.layout import Tensor
from compiler.lowering.constants import const_like
from compiler.lowering.context import Context
from compiler.lowering.move import apply, copy, like
from compiler.lowering.operand import as_column, inverted, operand_like, reference, result
from compiler.precision import STORAGE
from isa.lang import View

#: numbers of onnx.TensorProto.DataType that the attribute `precision` may have
PRECISIONS = {1: "float32", 10: "float16", 16: "bfloat16"}


@dataclass(frozen=True)
class Parameter:
    """A scale or zero point: one number, or a tensor broadcast to the shape of the operand."""

    number: float | None
    tensor: Tensor | None


def _parameter(ctx: Context, node: Node, index: int, key: str, out: Tensor) -> Parameter | None:
    """The operand at `index`; None when it is absent or known to be zero."""
    name = node.input(index)
    if not name:
        return None
    array = ctx.graph.const(name)
    if array is None:
        return Parameter(None, operand_like(ctx, name, out))
    array = array.astype(np.float32)
    if not array.any():
        return None
    if array.size == 1:
        return Parameter(float(array.reshape(-1)[0]), None)
    return Parameter(None, const_like(ctx, f"{node.name}.{key}", _spread(node, array, len(out.shape)), out))


def _spread(node: Node, array: np.ndarray, rank: int) -> np.ndarray:
    """A vector along the node's axis, as an array of the operand's rank."""
    if array.ndim == rank:
        return array
    shape = [1] * rank
    shape[node.attrs.get("axis", 1) % rank] = -1
    return array.reshape(shape)


def _stage(ctx: Context, out: Tensor, x: Tensor, op: str, parameter: Parameter) -> None:
    """out = x op parameter, element by element."""
    p, ins = ctx.program, [x] if parameter.tensor is None else [x, parameter.tensor]

    def emit(dst: View, src: list[View], n: int) -> None:
        value = parameter.number if len(src) == 1 else as_column(src[1])
        if value is not None:
            engines = ("vector", "scalar") if op in ("mult", "add") else ("vector",)
            p.tensor_scalar(dst, src[0], op, value, engine=ctx.pick(engines, n))
        else:
            p.tensor_tensor(dst, src[0], src[1], op, engine=ctx.pick(("vector",), 2 * n))

    apply(ctx, out, ins, emit)


def _scale(ctx: Context, node: Node, out: Tensor, x: Tensor) -> None:
    """out = x / scale, or x * scale for a node that multiplies."""
    divides, array = not node.attrs.get("multiply"), ctx.graph.const(node.inputs[1])
    if divides and array is not None and not ctx.divides():
        inverse = (1.0 / array.astype(np.float64)).astype(np.float32)
        if array.size == 1:
            parameter = Parameter(float(inverse.reshape(-1)[0]), None)
        else:
            spread = _spread(node, inverse, len(out.shape))
            parameter = Parameter(None, const_like(ctx, f"{node.name}.inverse", spread, out))
        _stage(ctx, out, x, "mult", parameter)
        return
    scale = _parameter(ctx, node, 1, "scale", out) or Parameter(0.0, None)
    if divides and not ctx.divides():
        assert scale.tensor is not None
        scale = Parameter(None, inverted(ctx, scale.tensor))
    _stage(ctx, out, x, "divide" if divides and ctx.divides() else "mult", scale)


def lower_quantize(ctx: Context, node: Node) -> None:
    """y = saturate(round_half_even(x / scale) + zero_point); to an 8-bit float saturate(x / scale)."""
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    kind = numpy_dtype(ctx.graph.dtype(name))
    narrow = _quotient_type(ctx, node)
    if kind.kind not in "iu":
        quotient = like(ctx, out, narrow or "fp32", "quotient")
        _scale(ctx, node, quotient, x)
        _to_float8(ctx, node, out, quotient)
    else:
        zero = _parameter(ctx, node, 2, "zero", out)
        rounded = out if zero is None else like(ctx, out, "int32", "rounded")
        quotient = rounded if narrow is None else like(ctx, out, narrow, "quotient")
        _scale(ctx, node, quotient, x)
        if quotient is not rounded:
            copy(ctx, rounded, quotient)
        if zero is not None:
            _stage(ctx, out, rounded, "add", zero)
    ctx.tensors[name] = out


def _quotient_type(ctx: Context, node: Node) -> str | None:
    """The 16-bit type a division is made in, None for fp32: `precision`, else the type of the scale."""
    if node.attrs.get("multiply"):
        return None
    kind = PRECISIONS.get(node.attrs.get("precision", 0)) or ctx.graph.dtype(node.inputs[1])
    return STORAGE[kind] if kind in ("float16", "bfloat16") else None


def _to_float8(ctx: Context, node: Node, out: Tensor, x: Tensor) -> None:
    """out = x rounded to an 8-bit float; beyond its largest number that number, unless `saturate` is 0."""
    largest = float(ml_dtypes.finfo(numpy_dtype(ctx.graph.dtype(node.output))).max)
    p = ctx.program

    def emit(dst: View, src: list[View], n: int) -> None:
        if node.attrs.get("saturate", 1):
            p.tensor_scalar(dst, src[0], "max", -largest, "min", largest, engine=ctx.pick(("vector",), n))
        else:
            p.tensor_copy(dst, src[0], engine=ctx.pick(("vector", "scalar"), n))

    apply(ctx, out, [x], emit)


def lower_dequantize(ctx: Context, node: Node) -> None:
    """y = (x - zero_point) * scale."""
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    zero = _parameter(ctx, node, 2, "zero", out)
    scale = _parameter(ctx, node, 1, "scale", out) or Parameter(0.0, None)
    if zero is not None and zero.number is not None and scale.number is not None:
        _shift_and_scale(ctx, out, x, zero.number, scale.number)
    elif zero is not None:
        shifted = like(ctx, out, "fp32", "shifted")
        _stage(ctx, shifted, x, "subtract", zero)
        _stage(ctx, out, shifted, "mult", scale)
    else:
        _stage(ctx, out, x, "mult", scale)
    ctx.tensors[name] = out


def _shift_and_scale(ctx: Context, out: Tensor, x: Tensor, zero: float, scale: float) -> None:
    """out = (x - zero) * scale: one instruction, which keeps the difference in fp32, where it is exact."""
    p, more = ctx.program, () if scale == 1.0 else ("mult", scale)

    def emit(dst: View, src: list[View], n: int) -> None:
        engines = ("vector",) if more else ("vector", "scalar")
        p.tensor_scalar(dst, src[0], "add", -zero, *more, engine=ctx.pick(engines, n))

    apply(ctx, out, [x], emit)
