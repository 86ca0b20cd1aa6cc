"""Activation functions and softmax."""

from __future__ import annotations

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    Value,
    aten,
    axis,
    cast,
    floating,
    is_float,
    narrow,
    reshape,
    tensor,
    unsupported,
)
from compiler.frontends.pytorch.program import Dtype


def _number(b: GraphBuilder, value: Value, like: Tensor) -> Tensor:
    return tensor(b, value, b.dtype(like))


@aten("relu")
def relu(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Relu", [self]) if is_float(b.dtype(self)) else b.op("Max", [self, _number(b, 0, self)])


@aten("relu6")
def relu6(b: GraphBuilder, self: Tensor) -> Tensor:
    return hardtanh(b, self, 0.0, 6.0)


@aten("hardtanh")
def hardtanh(b: GraphBuilder, self: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    return b.op("Clip", [self, _number(b, min_val, self), _number(b, max_val, self)])


@aten("leaky_relu")
def leaky_relu(b: GraphBuilder, self: Tensor, negative_slope: float = 0.01) -> Tensor:
    return b.op("LeakyRelu", [self], alpha=float(negative_slope))


@aten("rrelu")
def rrelu(b: GraphBuilder, self: Tensor, lower: float = 0.125, upper: float = 1 / 3, training: bool = False,
          generator: object = None) -> Tensor:
    if training:
        raise unsupported("random slopes of training mode", help="call model.eval() before exporting")
    return leaky_relu(b, self, (lower + upper) / 2)


@aten("prelu", "_prelu_kernel")
def prelu(b: GraphBuilder, self: Tensor, weight: Tensor) -> Tensor:
    rank, count = b.rank(self), b.shape(weight)
    if b.rank(weight) == rank and rank:
        return b.op("PRelu", [self, weight])
    if rank > 2 and count and count[0] > 1:
        weight = reshape(b, weight, [count[0], *[1] * (rank - 2)])
    return b.op("PRelu", [self, weight])


@aten("elu")
def elu(b: GraphBuilder, self: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    if scale == 1 and input_scale == 1:
        return b.op("Elu", [self], alpha=float(alpha))
    if input_scale == 1:
        return b.op("Selu", [self], alpha=float(alpha), gamma=float(scale))
    raise unsupported("elu with an input scale", input_scale)


@aten("selu")
def selu(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Selu", [self], alpha=1.6732632423543772, gamma=1.0507009873554805)


@aten("celu")
def celu(b: GraphBuilder, self: Tensor, alpha: float = 1.0) -> Tensor:
    return b.op("Celu", [self], alpha=float(alpha))


@aten("gelu")
def gelu(b: GraphBuilder, self: Tensor, approximate: str = "none") -> Tensor:
    return b.op("Gelu", [self], approximate=approximate)


@aten("silu")
def silu(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Mul", [self, b.op("Sigmoid", [self])])


@aten("mish")
def mish(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Mish", [self])


@aten("hardswish")
def hardswish(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("HardSwish", [self])


@aten("hardsigmoid")
def hardsigmoid(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("HardSigmoid", [self], alpha=1 / 6, beta=0.5)


@aten("softplus")
def softplus(b: GraphBuilder, self: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    if beta == 1 and threshold >= 20:
        return b.op("Softplus", [self])
    factor = _number(b, beta, self)
    x = b.op("Mul", [self, factor])
    found = b.op("Div", [b.op("Softplus", [x]), factor])
    return b.op("Where", [b.op("Greater", [x, _number(b, threshold, self)]), self, found])


@aten("log_sigmoid", "log_sigmoid_forward")
def log_sigmoid(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Neg", [b.op("Softplus", [b.op("Neg", [self])])])


@aten("softsign")
def softsign(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Softsign", [self])


@aten("softshrink")
def softshrink(b: GraphBuilder, self: Tensor, lambd: float = 0.5) -> Tensor:
    return b.op("Shrink", [self], bias=float(lambd), lambd=float(lambd))


@aten("hardshrink")
def hardshrink(b: GraphBuilder, self: Tensor, lambd: float = 0.5) -> Tensor:
    return b.op("Shrink", [self], bias=0.0, lambd=float(lambd))


@aten("threshold")
def threshold(b: GraphBuilder, self: Tensor, threshold: float, value: float) -> Tensor:
    over = b.op("Greater", [self, _number(b, threshold, self)])
    return b.op("Where", [over, self, _number(b, value, self)])


@aten("glu")
def glu(b: GraphBuilder, self: Tensor, dim: int = -1) -> Tensor:
    place = axis(b, self, dim)
    half = b.shape(self)[place] // 2
    gate = b.op("Sigmoid", [narrow(b, self, place, half, 2 * half)])
    return b.op("Mul", [narrow(b, self, place, 0, half), gate])


def _float_in(b: GraphBuilder, value: Tensor, dtype: Dtype | None) -> Tensor:
    return cast(b, value, dtype.name) if dtype else floating(b, value)


@aten("softmax", "special_softmax")
def softmax(b: GraphBuilder, self: Tensor, dim: int, dtype: Dtype | None = None) -> Tensor:
    x = _float_in(b, self, dtype)
    return b.op("Softmax", [x], axis=axis(b, x, dim)) if b.rank(x) else b.op("Div", [x, x])


@aten("log_softmax", "special_log_softmax")
def log_softmax(b: GraphBuilder, self: Tensor, dim: int, dtype: Dtype | None = None) -> Tensor:
    x = _float_in(b, self, dtype)
    return b.op("LogSoftmax", [x], axis=axis(b, x, dim)) if b.rank(x) else b.op("Sub", [x, x])


@aten("_softmax", "_safe_softmax")
def core_softmax(b: GraphBuilder, self: Tensor, dim: int, half_to_float: bool = False,
                 dtype: Dtype | None = None) -> Tensor:
    return softmax(b, self, dim, Dtype("float32") if half_to_float else dtype)


@aten("_log_softmax")
def core_log_softmax(b: GraphBuilder, self: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    return log_softmax(b, self, dim, Dtype("float32") if half_to_float else None)
