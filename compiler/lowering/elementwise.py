"""Pointwise operators: arithmetic, comparison, logic, functions, casts, selection, per-channel affine maps."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.interval_rules import EXACT, Range
from compiler.ir import Node
from compiler.layout import Run, Tensor
from compiler.lowering.arithmetic import NARROW, Operation, operation, wrapping_sign
from compiler.lowering.casts import cast_emit
from compiler.lowering.constants import const_like
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.dram import dram_value
from compiler.lowering.epilogue import Epilogue, residual_inputs
from compiler.lowering.functions import COMPOSED
from compiler.lowering.lanes import BLOCK, Lanes
from compiler.lowering.move import Emit, apply, cast, copy
from compiler.lowering.operand import as_column, inverted, operand_like, reference, result
from compiler.precision import STORAGE
from compiler.ranges import ranges
from isa.lang import View

#: scalar-engine functions by operator
FUNCTIONS = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Erf": "erf",
    "Abs": "abs", "Softplus": "softplus", "Mish": "mish", "Sin": "sin", "Atan": "arctan", "Sign": "sign",
    "Silu": "silu",
}
BINARY = {
    "Add": "add", "Sub": "subtract", "Mul": "mult", "Max": "max", "Min": "min", "And": "logical_and",
    "Or": "logical_or", "Xor": "logical_xor", "Equal": "is_equal", "Greater": "is_gt", "Less": "is_lt",
    "GreaterOrEqual": "is_ge", "LessOrEqual": "is_le", "Pow": "power", "Div": "divide", "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor",
}
COMMUTES = {
    "add", "mult", "max", "min", "logical_and", "logical_or", "logical_xor", "is_equal", "bitwise_and", "bitwise_or",
    "bitwise_xor",
}


def _finish(ctx: Context, node: Node, out: Tensor, ins: list[Tensor], emit: Emit) -> None:
    """Run `emit` over the result."""
    apply(ctx, out, ins, emit)
    ctx.tensors[node.output] = out


def _tail(ctx: Context, node: Node) -> tuple[str, dict[str, object]] | None:
    """The activation when the whole epilogue is one, else None."""
    steps = node.attrs.get("epilogue", ())
    return (steps[0][1], steps[0][2] or {}) if len(steps) == 1 and steps[0][0] == "act" else None


def lower_unary(ctx: Context, node: Node) -> None:
    """One operand: a scalar-engine function, a vector operation, or several of them."""
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    emit, most = cast_emit(ctx, node) if node.op == "Cast" else _unary(ctx, node)
    apply(ctx, out, [x], emit, most or MOST_FREE["sbuf"])
    ctx.tensors[name] = out


def _unary(ctx: Context, node: Node) -> tuple[Emit, int | None]:
    """How a block is computed, and the most elements it may have (None: any number)."""
    p, op, attrs = ctx.program, node.op, node.attrs
    kind = ctx.graph.dtype(node.output)

    def act(func: str, param: float = 0.0) -> Emit:
        def emit(dst: View, src: list[View], n: int) -> None:
            ctx.charge("scalar", n / ctx.target.engines["scalar"].clock_ghz)
            p.activation(dst, src[0], func, param=param)

        return emit

    def vec(op0: str, a: float = 0.0, op1: str = "bypass", b: float = 0.0) -> Emit:
        def emit(dst: View, src: list[View], n: int) -> None:
            p.tensor_scalar(dst, src[0], op0, a, op1, b, engine=ctx.pick(("vector",), n))

        return emit

    if op in COMPOSED:
        return _stepwise(ctx, COMPOSED[op], attrs), BLOCK
    if op in ("Neg", "Abs") and kind in NARROW:  # the least number has no opposite: it stays
        return _stepwise(ctx, partial(wrapping_sign, op=op, kind=kind), attrs), BLOCK
    if op == "Gelu":
        return act("gelu_tanh" if attrs.get("approximate") == "tanh" else "gelu"), None
    if op == "LeakyRelu":
        return act("prelu", float(attrs.get("alpha", 0.01))), None
    if op in FUNCTIONS:
        return act(FUNCTIONS[op]), None
    if op == "Neg":
        return vec("mult", -1.0), None
    if op == "Not":
        return vec("is_equal", 0.0), None
    if op == "BitwiseNot":
        return vec("bitwise_not"), None
    if op == "Clip":
        return vec("max", _bound(ctx, node, 1, -np.inf), "min", _bound(ctx, node, 2, np.inf)), None
    if op == "IsNaN":
        return lambda dst, src, n: p.tensor_tensor(
            dst, src[0], src[0], "not_equal", engine=ctx.pick(("vector",), 2 * n)
        ), None
    if op == "Reciprocal":
        return lambda dst, src, n: p.reciprocal(dst, src[0]), None
    raise UnsupportedOp(f"operator {op} has no lowering", where=node.name)


def _stepwise(ctx: Context, compute: Callable[..., object], attrs: Mapping[str, Any]) -> Emit:
    """A computation of several steps on each block."""
    def emit(dst: View, src: list[View], n: int) -> None:
        compute(Lanes(ctx, dst, n), dst, *src, attrs)

    return emit


def _bound(ctx: Context, node: Node, index: int, default: float) -> float:
    """A constant bound of Clip; computed ones were rewritten to Max and Min."""
    array = ctx.graph.const(node.input(index))
    return default if array is None else float(array.reshape(-1)[0])


def lower_identity(ctx: Context, node: Node) -> None:
    """The same elements (and, for BitCast, the same bits of another type) under another name."""
    name, source = node.output, node.inputs[0]
    if node.op == "BitCast":
        if any(ctx.storage(v) != STORAGE[ctx.graph.dtype(v)] for v in (name, source)):
            raise UnsupportedOp("the bits of a value that --auto-cast narrows are not its own", where=node.name)
        ctx.dram[name] = dram_value(ctx, source).bitcast(ctx.storage(name))
    elif source in ctx.tensors:
        ctx.tensors[name] = ctx.tensors[source]
    else:
        ctx.dram[name] = dram_value(ctx, source)


def lower_pair(ctx: Context, node: Node, compute: Operation) -> None:
    """Two operands, several engine operations."""
    name = node.output
    ref = reference(ctx, node.inputs[:2], ctx.window_shape(name), name)
    out = result(ctx, name, ref)
    x, y = (operand_like(ctx, i, ref) for i in node.inputs[:2])
    apply(ctx, out, [x, y], _stepwise(ctx, compute, node.attrs), BLOCK)
    ctx.tensors[name] = out


def _ranges(ctx: Context) -> dict[str, Range]:
    """Proven bounds of the graph's integers, computed once."""
    if "ranges" not in ctx.cache:
        ctx.cache["ranges"] = ranges(ctx.graph)
    found: dict[str, Range] = ctx.cache["ranges"]
    return found


def lower_binary(ctx: Context, node: Node) -> None:
    """Two or more operands combined pairwise with broadcasting."""
    composed = operation(ctx.graph, node, lambda: _ranges(ctx))
    if composed is not None:
        lower_pair(ctx, node, composed)
        return
    name, op = node.output, BINARY[node.op]
    tail = _tail(ctx, node)
    names = list(node.inputs[: len(node.inputs) - len(residual_inputs(node))])
    ref = reference(ctx, names, ctx.window_shape(name), name)
    out = result(ctx, name, ref)
    first = names[0]
    if ctx.graph.const(first) is not None and op in COMMUTES and len(names) > 1:
        names[0], names[1] = names[1], names[0]
    current = operand_like(ctx, names[0], ref)
    for k, other in enumerate(names[1:]):
        last = k == len(names) - 2
        target = out if last else _scratch(ctx, out)
        _combine(ctx, node, target, current, other, op, tail if last else None)
        current = target
    if len(names) == 1:
        copy(ctx, out, current)
    if node.attrs.get("epilogue") and tail is None:
        _apply_tail(ctx, node, out)
    ctx.tensors[name] = out


def _scratch(ctx: Context, out: Tensor) -> Tensor:
    return ctx.alloc(
        out.shape, out.p_axes(), "fp32", pmap=out.pmap.reshape([out.shape[a] for a in out.p_axes()]), origin=out.origin
    )


def _combine(
    ctx: Context, node: Node, out: Tensor, a: Tensor, name: str, op: str, tail: tuple[str, dict[str, object]] | None
) -> None:
    array = ctx.graph.const(name)
    scalar = float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
    if scalar is not None and op.startswith("bitwise") and abs(scalar) > EXACT:
        scalar = None  # a number in the instruction is fp32
    b = None if scalar is not None else operand_like(ctx, name, out)
    p = ctx.program
    only_vector = op not in ("add", "mult")

    if op == "divide" and not ctx.divides():
        op, only_vector = "mult", False
        if scalar is not None:
            scalar = float(np.float32(1.0 / scalar)) if scalar else float(np.copysign(np.inf, scalar))
        else:
            assert b is not None
            b = inverted(ctx, b)

    def emit(dst: View, src: list[View], n: int) -> None:
        value = scalar if scalar is not None else as_column(src[1])
        mid = dst if tail is None else _mid(ctx, dst, n)
        if value is not None:
            engines = ("vector",) if only_vector else ("vector", "scalar")
            p.tensor_scalar(mid, src[0], op, value, engine=ctx.pick(engines, n))
        else:
            p.tensor_tensor(mid, src[0], src[1], op, engine=ctx.pick(("vector",), 2 * n))
        if tail is not None:
            p.activation(dst, mid, tail[0], param=float(tail[1].get("alpha", 0.0)))  # type: ignore[arg-type]

    _finish(ctx, node, out, [a] if b is None else [a, b], emit)


def _mid(ctx: Context, dst: View, n: int) -> View:
    rows = dst.partition + dst.partitions
    return ctx.program.sbuf((rows, n), "fp32", name="mid").ap(
        0, [1], [n], partition=dst.partition, partitions=dst.partitions
    )


def _apply_tail(ctx: Context, node: Node, out: Tensor) -> None:
    """An epilogue of several steps on a pointwise result, in place."""
    residuals = {i: operand_like(ctx, node.inputs[i], out) for i in residual_inputs(node)}
    tail = Epilogue.of(ctx, node, out, 1, residuals)
    extra = [s.residual for s in tail.steps if s.residual is not None]
    places = [k for k, s in enumerate(tail.steps) if s.residual is not None]
    def emit(dst: View, src: list[View], n: int) -> None:
        tile = next(k for k, t in enumerate(out.tiles) if t.tile is dst.tile)
        tail.apply(src[0], dst, Run(0, tile, dst.partition, dst.partitions), dict(zip(places, src[1:], strict=True)), n)

    apply(ctx, out, [out, *extra], emit)


def lower_affine(ctx: Context, node: Node) -> None:
    """y = x * scale[c] + shift[c], then the epilogue; one instruction when that is at most an activation."""
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    shape = [1] * len(ref.shape)
    shape[1] = -1
    scale, shift = (operand_from(ctx, f"{node.name}.{k}", ctx.graph.const(node.inputs[i]), shape, out)
                    for k, i in (("scale", 1), ("shift", 2)))
    tail = _tail(ctx, node)
    func = tail[0] if tail else "copy"
    slope = float(tail[1].get("alpha", 0.0)) if tail else 0.0  # type: ignore[arg-type]
    p = ctx.program

    def emit(dst: View, src: list[View], n: int) -> None:
        a, b = as_column(src[1]), as_column(src[2])
        if a is None or b is None:
            mid = _mid(ctx, dst, n)
            p.tensor_tensor(mid, src[0], src[1], "mult")
            p.tensor_tensor(mid, mid, src[2], "add")
            p.activation(dst, mid, func, param=slope)
        elif func == "copy" and ctx.pick(("vector", "scalar"), n) == "vector":
            p.tensor_scalar(dst, src[0], "mult", a, "add", b)
        else:
            p.activation(dst, src[0], func, a, b, param=slope)

    _finish(ctx, node, out, [x, scale, shift], emit)
    if node.attrs.get("epilogue") and tail is None:
        _apply_tail(ctx, node, out)


def operand_from(ctx: Context, name: str, array: np.ndarray | None, shape: list[int], ref: Tensor) -> Tensor:
    """A constant given this shape (one -1 allowed) and broadcast to `ref`, at its partitions."""
    assert array is not None
    return const_like(ctx, name, array.reshape(shape), ref)


def lower_where(ctx: Context, node: Node) -> None:
    """out = x where condition, else y."""
    name = node.output
    cond, x, y = node.inputs
    ref = reference(ctx, [y, x, cond], ctx.window_shape(name), name)
    out = result(ctx, name, ref)
    kind = out.dtype
    c = operand_like(ctx, cond, out)
    a = operand_like(ctx, x, out, kind)
    b = operand_like(ctx, y, out, kind)
    if a.dtype != kind:  # the predicated copy does not convert
        a = cast(ctx, a, kind)
    p = ctx.program

    def emit(dst: View, src: list[View], n: int) -> None:
        p.tensor_copy(dst, src[2], engine=ctx.pick(("vector", "scalar"), n))
        ctx.charge("vector", 2 * n / ctx.target.engines["vector"].clock_ghz)
        p.tensor_copy_predicated(dst, src[1], src[0])

    _finish(ctx, node, out, [c, a, b], emit)
