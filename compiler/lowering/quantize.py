"""QuantizeLinear and DequantizeLinear with constant scale and zero point, per tensor or per channel."""
from __future__ import annotations

import numpy as np

from compiler.ir import Node
from compiler.layout import Tensor
from compiler.lowering.constants import const_like
from compiler.lowering.context import Context
from compiler.lowering.elementwise import _finish
from compiler.lowering.operand import as_column, operand_like, reference, result
from isa.lang import View


def _parameters(ctx: Context, node: Node, ref: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Scale and zero point (None when zero), shaped to broadcast against the tensor."""
    scale = ctx.graph.const(node.inputs[1])
    zero = ctx.graph.const(node.input(2))
    assert scale is not None
    shape = [1] * len(ref.shape)
    if scale.size > 1:
        shape[node.attrs.get("axis", 1) % len(shape)] = -1
    zero = None if zero is None or not zero.any() else zero.astype(np.float32).reshape(shape)
    return scale.astype(np.float32).reshape(shape), zero


def _value(array: np.ndarray, view: View | None) -> float | View:
    if array.size == 1:
        return float(array.reshape(-1)[0])
    assert view is not None
    column = as_column(view)
    assert column is not None, "quantisation parameters vary along the partition axis"
    return column


def lower_quantize(ctx: Context, node: Node) -> None:
    """y = saturate(round_half_even(x / scale) + zero_point)."""
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    scale, zero = _parameters(ctx, node, ref)
    op = "divide" if ctx.divides() else "mult"
    by = scale if op == "divide" else (1.0 / scale.astype(np.float64)).astype(np.float32)
    ins = [x] if scale.size == 1 else [x, const_like(ctx, f"{node.name}.scale", by, ref)]
    rounded = out if zero is None else _rounded(ctx, out)
    p = ctx.program

    def divide(dst: View, src: list[View], n: int) -> None:
        p.tensor_scalar(dst, src[0], op, _value(by, src[1] if len(src) > 1 else None), engine=ctx.pick(("vector",), n))

    _finish(ctx, node, rounded, ins, divide)
    if zero is not None:
        zeros = [rounded] if zero.size == 1 else [rounded, const_like(ctx, f"{node.name}.zero", zero, ref)]

        def shift(dst: View, src: list[View], n: int) -> None:
            p.tensor_scalar(
                dst, src[0], "add", _value(zero, src[1] if len(src) > 1 else None), engine=ctx.pick(("vector",), n)
            )

        _finish(ctx, node, out, zeros, shift)
    ctx.tensors[name] = out


def _rounded(ctx: Context, out: Tensor) -> Tensor:
    pmap = out.pmap.reshape([out.shape[a] for a in out.p_axes()])
    return ctx.alloc(out.shape, out.p_axes(), "int32", pmap=pmap, origin=out.origin, name="rounded")


def lower_dequantize(ctx: Context, node: Node) -> None:
    """y = (x - zero_point) * scale."""
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    scale, zero = _parameters(ctx, node, ref)
    ins = [x]
    if scale.size > 1:
        ins.append(const_like(ctx, f"{node.name}.scale", scale, ref))
    if zero is not None and zero.size > 1:
        ins.append(const_like(ctx, f"{node.name}.zero", zero, ref))
    p = ctx.program

    def emit(dst: View, src: list[View], n: int) -> None:
        rest = list(src[1:])
        by = _value(scale, rest.pop(0) if scale.size > 1 else None)
        if zero is None:
            p.tensor_scalar(dst, src[0], "mult", by, engine=ctx.pick(("vector", "scalar"), n))
        else:
            p.tensor_scalar(dst, src[0], "subtract", _value(zero, rest[0] if rest else None), "mult", by,
                            engine=ctx.pick(("vector",), n))

    _finish(ctx, node, out, ins, emit)


