"""Activation functions."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import CONVERTERS, Converter, converter

_PLAIN = {"Relu": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Softplus": "Softplus", "Softsign": "Softsign"}


def _plain(onnx_op: str) -> Converter:
    return lambda c: c.op(onnx_op, [c.x()])


CONVERTERS.update({op: _plain(to) for op, to in _PLAIN.items()})


@converter("Relu6")
def relu6(c: Call) -> str:
    """Between 0 and 6."""
    return c.op("Clip", [c.x(), c.number(0, c.x()), c.number(6, c.x())])


@converter("LeakyRelu")
def leaky_relu(c: Call) -> str:
    """x, or alpha x below zero."""
    return c.op("LeakyRelu", [c.x()], alpha=c.real("alpha", 0.2))


@converter("Elu")
def elu(c: Call) -> str:
    """x, or exp(x) - 1 below zero."""
    return c.op("Elu", [c.x()], alpha=1.0)


@converter("Selu")
def selu(c: Call) -> str:
    """A scaled Elu; the constants are those of Klambauer et al., Self-Normalizing Neural Networks."""
    return c.op("Selu", [c.x()], alpha=1.6732632423543772, gamma=1.0507009873554805)


@converter("Softmax", "LogSoftmax")
def softmax(c: Call) -> str:
    """Over the last dimension."""
    return c.op(c.node.op, [c.x()], axis=-1)


@converter("FakeQuantWithMinMaxArgs")
def fake_quant_args(c: Call) -> str:
    """Rounded to a grid between two numbers."""
    return _fake_quant(c, np.float32(c.real("min", -6.0)), np.float32(c.real("max", 6.0)))


@converter("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")
def fake_quant_vars(c: Call) -> str:
    """Rounded to a grid between bounds that are operands: one pair, or one for each channel."""
    return _fake_quant(c, c.const(1), c.const(2))


def _fake_quant(c: Call, low: np.ndarray | np.float32, high: np.ndarray | np.float32) -> str:
    """The bounds are moved so that zero is on the grid (fake_quant_ops_functor.h, Nudge)."""
    first = 1.0 if c.flag("narrow_range") else 0.0
    last = float(2 ** c.whole("num_bits", 8) - 1)
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    scale = ((high - low) / np.float32(last - first)).astype(np.float32)
    if not (scale > 0).all():
        raise c.refuse("its upper bound is not above the lower one")
    zero = np.clip(np.floor(np.float32(first) - low / scale + np.float32(0.5)), first, last)
    least, most = ((first - zero) * scale).astype(np.float32), ((last - zero) * scale).astype(np.float32)
    clipped = c.op("Max", [c.op("Min", [c.x(), most]), least])
    steps = c.op("Div", [c.op("Sub", [clipped, least]), scale])
    rounded = c.op("Floor", [c.op("Add", [steps, np.float32(0.5)])])
    return c.op("Add", [c.op("Mul", [rounded, scale]), least])
