"""QuantizeLinear and DequantizeLinear with constant scale and zero point, per tensor or per channel."""
from __future__ import annotations

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.ir import Node
from compiler.layout import Tensor
from compiler.lowering.constants import const_like
from compiler.lowering.context import Context
from compiler.lowering.move import apply, like
from compiler.lowering.operand import as_column, operand_like, reference, result
from isa.lang import View


def _parameters(ctx: Context, node: Node, ref: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Scale and zero point (None when zero), shaped to broadcast against the tensor."""
    scale = ctx.graph.const(node.inputs[1])
    zero = ctx.graph.const(node.input(2))
    if scale is None or (zero is None and node.input(2)):
        raise UnsupportedOp(f"{node.op} with parameters computed at run time has no lowering", where=node.name)
    shape = [1] * len(ref.shape)
    if scale.size > 1:
        shape[node.attrs.get("axis", 1) % len(shape)] = -1
    zero = None if zero is None or not zero.any() else zero.astype(np.float32).reshape(shape)
    return scale.astype(np.float32).reshape(shape), zero


def _combine(ctx: Context, dst: View, x: View, op: str, array: np.ndarray, spread: View | None, n: int) -> None:
    """dst = x op parameter: one number, one per partition, or one per element of the free dimension."""
    value = float(array.reshape(-1)[0]) if spread is None else as_column(spread)
    if value is not None:
        engines = ("vector", "scalar") if op in ("mult", "add") else ("vector",)
        ctx.program.tensor_scalar(dst, x, op, value, engine=ctx.pick(engines, n))
    else:
        assert spread is not None
        ctx.program.tensor_tensor(dst, x, spread, op, engine=ctx.pick(("vector",), 2 * n))


def _stage(ctx: Context, out: Tensor, x: Tensor, op: str, key: str, array: np.ndarray) -> None:
    """out = x op parameter, element by element."""
    ins = [x] if array.size == 1 else [x, const_like(ctx, key, array, out)]

    def emit(dst: View, src: list[View], n: int) -> None:
        _combine(ctx, dst, src[0], op, array, src[1] if len(src) > 1 else None, n)

    apply(ctx, out, ins, emit)


def lower_quantize(ctx: Context, node: Node) -> None:
    """y = saturate(round_half_even(x / scale) + zero_point)."""
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    scale, zero = _parameters(ctx, node, out)
    rounded = out if zero is None else like(ctx, out, "int32", "rounded")
    if ctx.divides():
        _stage(ctx, rounded, x, "divide", f"{node.name}.scale", scale)
    else:
        inverse = (1.0 / scale.astype(np.float64)).astype(np.float32)
        _stage(ctx, rounded, x, "mult", f"{node.name}.inverse", inverse)
    if zero is not None:
        _stage(ctx, out, rounded, "add", f"{node.name}.zero", zero)
    ctx.tensors[name] = out


def lower_dequantize(ctx: Context, node: Node) -> None:
    """y = (x - zero_point) * scale."""
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    scale, zero = _parameters(ctx, node, out)
    if zero is not None:
        shifted = like(ctx, out, "fp32", "shifted")
        _stage(ctx, shifted, x, "subtract", f"{node.name}.zero", zero)
        x = shifted
    _stage(ctx, out, x, "mult", f"{node.name}.scale", scale)
    ctx.tensors[name] = out
