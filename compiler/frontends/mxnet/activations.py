"""Activations, softmax and the heads that training's losses leave behind at inference."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.mxnet.call import LABEL, Call, operator

_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}


@operator("Activation", "_npx_activation")
def _activation(c: Call) -> str:
    return c.do(_ACTIVATIONS[c.text("act_type", None, tuple(_ACTIVATIONS))], c.x)


@operator("LeakyReLU", "_npx_leaky_relu", roles=("data", "gamma"), outputs=("output", "mask"))
def _leaky_relu(c: Call) -> str:
    kind = c.text("act_type", "leaky", ("leaky", "prelu", "elu", "selu", "gelu", "rrelu"))
    slope = c.real("slope", 0.25)
    if kind == "rrelu":  # inference takes the middle of the slopes that training draws from
        slope = (c.real("lower_bound", 0.125) + c.real("upper_bound", 0.334)) / 2
    if kind == "prelu":
        gamma, rank = c[1], c.rank()
        lined_up = c.rank(gamma) == 1 and rank > 1
        return c.do("PRelu", c.x, c.reshape(gamma, [-1, *[1] * (rank - 2)]) if lined_up else gamma)
    if kind == "elu":
        return c.do("Elu", c.x, alpha=slope)
    if kind in ("selu", "gelu"):
        return c.do(kind.capitalize(), c.x)
    return c.do("LeakyRelu", c.x, alpha=slope)


@operator("hard_sigmoid")
def _hard_sigmoid(c: Call) -> str:
    return c.do("HardSigmoid", c.x, alpha=c.real("alpha", 0.2), beta=c.real("beta", 0.5))


@operator("smooth_l1", "_npx_smooth_l1")
def smooth_l1(c: Call) -> str:
    """0.5 (s x)^2 where |x| < 1 / s^2, |x| - 0.5 / s^2 elsewhere."""
    square = c.real("scalar", 1.0) ** 2
    size = c.do("Abs", c.x)
    inner = c.do("Mul", c.do("Mul", c.x, c.x), c.like(c.x, 0.5 * square))
    outer = c.do("Sub", size, c.like(c.x, 0.5 / square))
    return c.do("Where", c.do("Less", size, c.like(c.x, 1 / square)), inner, outer)


@operator("_contrib_quadratic")
def _quadratic(c: Call) -> str:
    inner = c.do("Add", c.do("Mul", c.x, c.like(c.x, c.real("a", 0.0))), c.like(c.x, c.real("b", 0.0)))
    return c.do("Add", c.do("Mul", inner, c.x), c.like(c.x, c.real("c", 0.0)))


@operator("_contrib_div_sqrt_dim")
def _div_sqrt_dim(c: Call) -> str:
    return c.do("Mul", c.x, c.like(c.x, 1 / math.sqrt(c.shape()[-1])))


# ---- softmax -----------------------------------------------------------------------------------------------------


@operator("softmax", "log_softmax", "softmin", "_npx_softmax", "_npx_log_softmax")
def _softmax(c: Call) -> str:
    x, axis = c.x, c.axis("axis", -1)
    if c.op == "softmin":
        x = c.do("Neg", x)
    temperature = 1.0 if c.is_none("temperature") else c.real("temperature")
    if temperature != 1:
        x = c.do("Div", x, c.like(x, temperature))
    kind = "LogSoftmax" if "log" in c.op else "Softmax"
    if len(c) > 1 and c.flag("use_length"):
        found = _up_to_length(c, x, axis, kind)
    else:
        found = c.do(kind, x, axis=axis)
    return found if c.is_none("dtype") else c.cast(found, c.type("dtype", "float32"))


def _up_to_length(c: Call, x: str, axis: int, kind: str) -> str:
    """Softmax of the first elements along an axis, as many as `length` says for each row; 0 behind them."""
    lengths = list(c.shape(c[1]))
    valid = c.do("Less", np.arange(c.shape(x)[axis]).reshape([-1] + [1] * (c.rank(x) - 1 - axis)),
                 c.reshape(c.cast(c[1], "int64"), [*lengths[:axis], 1, *lengths[axis:]]))
    lowest = c.like(x, np.finfo(np.float16).min if c.dtype(x) == "float16" else -1e30)
    found = c.do(kind, c.do("Where", valid, x, lowest), axis=axis)
    return c.do("Where", valid, found, c.like(x, 0))


@operator("SoftmaxActivation")
def _softmax_activation(c: Call) -> str:
    if c.text("mode", "instance", ("instance", "channel")) == "channel":
        return c.do("Softmax", c.x, axis=1)
    return c.do("Softmax", c.x, axis=-1)


def _over_rest(c: Call) -> str:
    """Softmax over everything but the batch."""
    if c.rank() <= 2:
        return c.do("Softmax", c.x, axis=-1)
    return c.reshape(c.do("Softmax", c.do("Flatten", c.x, axis=1), axis=-1), c.shape())


# ---- heads of Module networks, whose labels inference does not read --------------------------------------------------

_HEAD = ("data", LABEL)


@operator("SoftmaxOutput", "Softmax", roles=_HEAD, outputs=("output",))
def _softmax_output(c: Call) -> str:
    if c.flag("multi_output"):
        return c.do("Softmax", c.x, axis=1)
    return c.do("Softmax", c.x, axis=-1) if c.flag("preserve_shape") else _over_rest(c)


@operator("LinearRegressionOutput", "MAERegressionOutput", "SVMOutput", "_sparse_LinearRegressionOutput",
          "_sparse_MAERegressionOutput", roles=_HEAD, outputs=("output",))
def _linear_output(c: Call) -> str:
    return c.x


@operator("LogisticRegressionOutput", "_sparse_LogisticRegressionOutput", roles=_HEAD, outputs=("output",))
def _logistic_output(c: Call) -> str:
    return c.do("Sigmoid", c.x)
