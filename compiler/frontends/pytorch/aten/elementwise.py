"""Arithmetic, comparisons and logic of several operands, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.functions import trunc
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    Value,
    aten,
    cast,
    is_float,
    promoted,
    result_type,
    tensor,
)

_BINARY = {"mul": "Mul", "multiply": "Mul"}
_COMPARE = {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
            "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater", "greater_equal": "GreaterOrEqual"}
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
_BITS = {"and": ("And", "BitwiseAnd"), "or": ("Or", "BitwiseOr"), "xor": ("Xor", "BitwiseXor")}


def _enter() -> None:
    def binary(op: str) -> Any:
        def convert(b: GraphBuilder, self: Value, other: Value) -> Tensor:
            if result_type(b, self, other) == "bool" and op == "Mul":
                return b.op("And", promoted(b, self, other))
            return b.op(op, promoted(b, self, other))

        return convert

    for name, op in _BINARY.items():
        aten(name)(binary(op))

    def compare(op: str) -> Any:
        def convert(b: GraphBuilder, self: Value, other: Value) -> Tensor:
            x, y = promoted(b, self, other)
            if b.dtype(x) == "bool" and op != "Equal":
                x, y = cast(b, x, "int32"), cast(b, y, "int32")
            return b.op(op, [x, y])

        return convert

    for name, op in _COMPARE.items():
        aten(name)(compare(op))

    def logic(op: str) -> Any:
        return lambda b, self, other: b.op(op, [truth(b, self), truth(b, other)])

    for name, op in _LOGIC.items():
        aten(name)(logic(op))

    def bits(ops: tuple[str, str]) -> Any:
        def convert(b: GraphBuilder, self: Value, other: Value) -> Tensor:
            x, y = promoted(b, self, other)
            return b.op(ops[0] if b.dtype(x) == "bool" else ops[1], [x, y])

        return convert

    for name, ops in _BITS.items():
        aten(f"bitwise_{name}", f"__{name}__")(bits(ops))


_enter()


def truth(b: GraphBuilder, value: Value) -> Tensor:
    """Whether each element is not zero."""
    return tensor(b, value, "bool")


@aten("add")
def add(b: GraphBuilder, self: Value, other: Value, alpha: int | float = 1) -> Tensor:
    x, y = promoted(b, self, other)
    if b.dtype(x) == "bool":
        return b.op("Or", [x, y])
    return b.op("Add", [x, scaled(b, y, alpha)])


@aten("sub", "subtract")
def sub(b: GraphBuilder, self: Value, other: Value, alpha: int | float = 1) -> Tensor:
    x, y = promoted(b, self, other)
    return b.op("Sub", [x, scaled(b, y, alpha)])


@aten("rsub")
def rsub(b: GraphBuilder, self: Value, other: Value, alpha: int | float = 1) -> Tensor:
    return sub(b, other, self, alpha)


def scaled(b: GraphBuilder, value: Tensor, factor: int | float) -> Tensor:
    """The value times a number, in its own type."""
    return value if factor == 1 else b.op("Mul", [value, tensor(b, factor, b.dtype(value))])


@aten("div", "divide", "true_divide")
def div(b: GraphBuilder, self: Value, other: Value, rounding_mode: str | None = None) -> Tensor:
    if rounding_mode is None:
        return b.op("Div", promoted(b, self, other, floating=True))
    x, y = promoted(b, self, other)
    if is_float(b.dtype(x)):
        return b.op("Floor", [b.op("Div", [x, y])]) if rounding_mode == "floor" else trunc(b, b.op("Div", [x, y]))
    if rounding_mode == "trunc":
        return b.op("Div", [x, y])  # ONNX rounds integers towards zero
    # (x - x mod y) / y, where mod has the sign of the divisor
    return b.op("Div", [b.op("Sub", [x, b.op("Mod", [x, y])]), y])


@aten("floor_divide")
def floor_divide(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    return div(b, self, other, "floor")


@aten("remainder")
def remainder(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    x, y = promoted(b, self, other)
    if not is_float(b.dtype(x)):
        return b.op("Mod", [x, y])
    return b.op("Sub", [x, b.op("Mul", [y, b.op("Floor", [b.op("Div", [x, y])])])])


@aten("fmod")
def fmod(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    return b.op("Mod", promoted(b, self, other), fmod=1)


@aten("pow", "float_power")
def power(b: GraphBuilder, self: Value, exponent: Value) -> Tensor:
    if isinstance(self, str) and not isinstance(exponent, str) and is_float(b.dtype(self)):
        if exponent == 2:
            return b.op("Mul", [self, self])
        if exponent in (1, 0.5):
            return self if exponent == 1 else b.op("Sqrt", [self])
        if exponent in (-1, -0.5):
            return b.op("Reciprocal", [self if exponent == -1 else b.op("Sqrt", [self])])
        if exponent == 3:
            return b.op("Mul", [b.op("Mul", [self, self]), self])
    x, y = promoted(b, self, exponent)
    return b.op("Pow", [x, y])


@aten("ne", "not_equal")
def ne(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    return b.op("Not", [b.op("Equal", promoted(b, self, other))])


@aten("logical_not")
def logical_not(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Not", [truth(b, self)])


@aten("bitwise_not")
def bitwise_not(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Not" if b.dtype(self) == "bool" else "BitwiseNot", [self])


@aten("bitwise_left_shift", "__lshift__")
def left_shift(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    x, y = promoted(b, self, other)
    return b.op("Mul", [x, cast(b, b.op("Pow", [tensor(b, 2.0, "float64"), cast(b, y, "float64")]), b.dtype(x))])


@aten("bitwise_right_shift", "__rshift__")
def right_shift(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    x, y = promoted(b, self, other)
    factor = cast(b, b.op("Pow", [tensor(b, 2.0, "float64"), cast(b, y, "float64")]), b.dtype(x))
    return div(b, x, factor, "floor")


@aten("maximum", "max.other")
def maximum(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    return b.op("Max", promoted(b, self, other))


@aten("minimum", "min.other")
def minimum(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    return b.op("Min", promoted(b, self, other))


def _without_nan(b: GraphBuilder, op: str, x: Tensor, y: Tensor) -> Tensor:
    found = b.op(op, [x, y])
    if not is_float(b.dtype(x)):
        return found
    return b.op("Where", [b.op("IsNaN", [x]), y, b.op("Where", [b.op("IsNaN", [y]), x, found])])


@aten("fmax")
def fmax(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    return _without_nan(b, "Max", *promoted(b, self, other))


@aten("fmin")
def fmin(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    return _without_nan(b, "Min", *promoted(b, self, other))


@aten("clamp", "clip")
def clamp(b: GraphBuilder, self: Tensor, min: Value | None = None, max: Value | None = None) -> Tensor:
    dtype = result_type(b, self, *[v for v in (min, max) if v is not None])
    x = cast(b, self, dtype)
    if any(isinstance(v, str) for v in (min, max)):
        x = x if min is None else b.op("Max", [x, tensor(b, min, dtype)])
        return x if max is None else b.op("Min", [x, tensor(b, max, dtype)])
    bounds = ["" if v is None else tensor(b, v, dtype) for v in (min, max)]
    if min is not None and max is not None and min > max:  # type: ignore[operator]
        return b.op("Min", [b.op("Max", [x, bounds[0]]), bounds[1]])
    return b.op("Clip", [x, *bounds]) if any(bounds) else x


@aten("clamp_min")
def clamp_min(b: GraphBuilder, self: Tensor, min: Value) -> Tensor:
    return clamp(b, self, min=min)


@aten("clamp_max")
def clamp_max(b: GraphBuilder, self: Tensor, max: Value) -> Tensor:
    return clamp(b, self, max=max)


@aten("where")
def where(b: GraphBuilder, condition: Tensor, self: Value | None = None, other: Value | None = None) -> Any:
    if self is None or other is None:
        from compiler.frontends.pytorch.aten.indexing import nonzero

        found = nonzero(b, condition)
        return [b.op("Gather", [found, np.int64(k)], axis=1) for k in range(b.rank(condition))]
    return b.op("Where", [truth(b, condition), *promoted(b, self, other)])


@aten("masked_fill")
def masked_fill(b: GraphBuilder, self: Tensor, mask: Tensor, value: Value) -> Tensor:
    return b.op("Where", [truth(b, mask), tensor(b, value, b.dtype(self)), self])


@aten("atan2", "arctan2")
def atan2(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    """The angle of (other, self), by the quadrant."""
    y, x = promoted(b, self, other, floating=True)
    dtype = b.dtype(x)
    zero, pi = tensor(b, 0.0, dtype), tensor(b, float(np.pi), dtype)
    angle = b.op("Atan", [b.op("Div", [y, x])])
    turned = b.op("Where", [b.op("Less", [y, zero]), b.op("Sub", [angle, pi]), b.op("Add", [angle, pi])])
    found = b.op("Where", [b.op("Less", [x, zero]), turned, angle])
    upright = b.op("Mul", [b.op("Sign", [y]), tensor(b, float(np.pi / 2), dtype)])
    return b.op("Where", [b.op("Equal", [x, zero]), upright, found])


@aten("hypot")
def hypot(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    x, y = promoted(b, self, other, floating=True)
    return b.op("Sqrt", [b.op("Add", [b.op("Mul", [x, x]), b.op("Mul", [y, y])])])


@aten("logaddexp")
def logaddexp(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    x, y = promoted(b, self, other, floating=True)
    apart = b.op("Neg", [b.op("Abs", [b.op("Sub", [x, y])])])
    return b.op("Add", [b.op("Max", [x, y]), b.op("Softplus", [apart])])


@aten("xlogy", "special_xlogy")
def xlogy(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    x, y = promoted(b, self, other, floating=True)
    zero = tensor(b, 0.0, b.dtype(x))
    return b.op("Where", [b.op("Equal", [x, zero]), zero, b.op("Mul", [x, b.op("Log", [y])])])


@aten("copysign")
def copysign(b: GraphBuilder, self: Value, other: Value) -> Tensor:
    x, y = promoted(b, self, other, floating=True)
    size = b.op("Abs", [x])
    return b.op("Where", [b.op("Less", [y, tensor(b, 0.0, b.dtype(y))]), b.op("Neg", [size]), size])


@aten("heaviside")
def heaviside(b: GraphBuilder, self: Tensor, values: Tensor) -> Tensor:
    x, at_zero = promoted(b, self, values)
    zero = tensor(b, 0, b.dtype(x))
    step = cast(b, b.op("Greater", [x, zero]), b.dtype(x))
    return b.op("Where", [b.op("Equal", [x, zero]), at_zero, step])


@aten("addcmul")
def addcmul(b: GraphBuilder, self: Tensor, tensor1: Tensor, tensor2: Tensor, value: int | float = 1) -> Tensor:
    x, y, z = promoted(b, self, tensor1, tensor2)
    return b.op("Add", [x, scaled(b, b.op("Mul", [y, z]), value)])


@aten("addcdiv")
def addcdiv(b: GraphBuilder, self: Tensor, tensor1: Tensor, tensor2: Tensor, value: int | float = 1) -> Tensor:
    x, y, z = promoted(b, self, tensor1, tensor2)
    return b.op("Add", [x, scaled(b, b.op("Div", [y, z]), value)])


@aten("lerp")
def lerp(b: GraphBuilder, self: Tensor, end: Tensor, weight: Value) -> Tensor:
    x, y = promoted(b, self, end)
    return b.op("Add", [x, b.op("Mul", [tensor(b, weight, b.dtype(x)), b.op("Sub", [y, x])])])
