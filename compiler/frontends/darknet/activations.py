"""Activation functions (darknet's src/activations.h, and those that AlexeyAB added), in operators of the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.darknet.cfg import Section
from compiler.frontends.darknet.net import Net

_Function = Callable[[GraphBuilder, str], str]


def _simple(op: str, **attrs: Any) -> _Function:
    return lambda b, x: b.op(op, [x], **attrs)


def _clip(b: GraphBuilder, x: str, low: float, high: float) -> str:
    return b.op("Clip", [x, np.float32(low), np.float32(high)])


def _times(b: GraphBuilder, x: str, factor: float) -> str:
    return b.op("Mul", [x, np.float32(factor)])


def _ramp(b: GraphBuilder, x: str) -> str:
    return b.op("Add", [b.op("Relu", [x]), _times(b, x, 0.1)])


def _beyond(b: GraphBuilder, x: str, inside: str, slope: float) -> str:
    """What a piecewise linear function adds outside of an interval."""
    return _times(b, b.op("Sub", [x, inside]), slope)


def _plse(b: GraphBuilder, x: str) -> str:
    inside = _clip(b, x, -4, 4)
    middle = b.op("Add", [_times(b, inside, 0.125), np.float32(0.5)])
    return b.op("Add", [middle, _beyond(b, x, inside, 0.01)])


def _lhtan(b: GraphBuilder, x: str) -> str:
    inside = _clip(b, x, 0, 1)
    return b.op("Add", [inside, _beyond(b, x, inside, 0.001)])


def _stair(b: GraphBuilder, x: str) -> str:
    """Flat between even numbers and the odd one after, rising by one from there to the next even one."""
    whole, half = b.op("Floor", [x]), b.op("Floor", [_times(b, x, 0.5)])
    odd = b.op("Sub", [whole, _times(b, half, 2)])
    return b.op("Add", [half, b.op("Mul", [b.op("Sub", [x, whole]), odd])])


def _swish(b: GraphBuilder, x: str) -> str:
    return b.op("Mul", [x, b.op("Sigmoid", [x])])


def _hard_mish(b: GraphBuilder, x: str) -> str:
    below = _clip(b, x, -2, 0)
    curve = b.op("Add", [_times(b, b.op("Mul", [below, below]), 0.5), below])
    return b.op("Add", [b.op("Relu", [x]), curve])


def _share(b: GraphBuilder, x: str) -> str:
    """Each number over the sum of its pixel's channels and 1e-4 (AlexeyAB's src/activations.c)."""
    total = b.op("ReduceSum", [x, np.array([1], np.int64)], keepdims=1)
    return b.op("Div", [x, b.op("Add", [total, np.float32(1e-4)])])


def _channels_max(b: GraphBuilder, x: str) -> str:
    return b.op("Sub", [x, b.op("ReduceMax", [x, np.array([1], np.int64)], keepdims=1)])


FUNCTIONS: dict[str, _Function] = {
    "linear": lambda b, x: x,
    "logistic": _simple("Sigmoid"),
    "loggy": lambda b, x: b.op("Tanh", [_times(b, x, 0.5)]),
    "relu": _simple("Relu"),
    "relu6": lambda b, x: _clip(b, x, 0, 6),
    "relie": _simple("LeakyRelu", alpha=0.01),
    "leaky": _simple("LeakyRelu", alpha=0.1),
    "revleaky": _simple("LeakyRelu", alpha=0.1),
    "ramp": _ramp,
    "tanh": _simple("Tanh"),
    "plse": _plse,
    "elu": _simple("Elu", alpha=1.0),
    "selu": _simple("Selu", alpha=1.6732, gamma=1.0507),
    "gelu": _simple("Gelu", approximate="tanh"),
    "stair": _stair,
    "hardtan": lambda b, x: _clip(b, x, -1, 1),
    "lhtan": _lhtan,
    "swish": _swish,
    "mish": _simple("Mish"),
    "hard_mish": _hard_mish,
    "normalize_channels": lambda b, x: _share(b, b.op("Relu", [x])),
    "normalize_channels_softmax": lambda b, x: _share(b, b.op("Exp", [x])),
    "normalize_channels_softmax_maxval": lambda b, x: _share(b, b.op("Exp", [_channels_max(b, x)])),
}


def activate(net: Net, section: Section, value: str, default: str = "logistic") -> str:
    """The section's activation of a value; which names there are was looked at before the first layer."""
    return FUNCTIONS[section.text("activation", default)](net.b, value)


def named(net: Net, name: str, value: str) -> str:
    """An activation by name."""
    return FUNCTIONS[name](net.b, value)
