"""Activations by name, and the layers that are nothing else.

Formulas: `keras.activations` of Keras 3 and, where it differs, of Keras 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.frontends.keras.call import Call
from compiler.frontends.keras.config import Config, plain
from compiler.frontends.keras.network import Layer
from compiler.frontends.keras.registry import TABLES, layer

Activation = Callable[[Call, str, Config], str]
TABLE: dict[str, Activation] = {}


def _named(*names: str) -> Callable[[Activation], Activation]:
    def register(function: Activation) -> Activation:
        for name in names:
            TABLE[name] = function
        return function

    return register


def activate(c: Call, x: str, saved: Any) -> str:
    """Apply an activation as a configuration states it: a name, a function, or a layer. Raises: UnsupportedOp."""
    settings = Config({}, c.where)
    if isinstance(saved, dict):
        inside = saved.get("config")
        if isinstance(inside, dict) and saved.get("class_name") in TABLES.layers:
            inner = Layer(saved["class_name"], saved["class_name"], c.layer.path, Config(inside, c.where))
            return str(c.run.apply(inner, [type(c.first)(x)]).value)
        name = inside if isinstance(inside, str) else saved.get("class_name")
        settings = Config(inside, c.where) if isinstance(inside, dict) else settings
    else:
        name = "linear" if saved is None else saved
    if not isinstance(name, str) or name not in TABLE:
        raise c.refuse(f"the activation {str(name)[:60]!r} is not one of Keras's own",
                       "use an activation of keras.activations")
    return TABLE[name](c, x, settings)


def softmax(c: Call, x: str, axis: int = -1, op: str = "Softmax") -> str:
    """Softmax (or LogSoftmax) along one axis; of a vector along it, as Keras means a tensor of one dimension."""
    return c.op(op, [x], axis=axis)


def relu(c: Call, x: str, slope: float = 0.0, top: float | None = None, threshold: float = 0.0) -> str:
    """max(x, 0) and its generalisations: x above the threshold, slope * (x - threshold) below, at most `top`."""
    if not slope and not threshold:
        return c.op("Relu", [x]) if top is None else c.op("Clip", [x, c.like(0, x), c.like(top, x)])
    if not threshold and top is None:
        return c.op("LeakyRelu", [x], alpha=slope)
    upper = x if top is None else c.op("Min", [x, c.like(top, x)])
    below = c.like(0, x) if not slope else c.op("Mul", [c.op("Sub", [x, c.like(threshold, x)]), c.like(slope, x)])
    return c.op("Where", [c.op("Greater", [x, c.like(threshold, x)]), upper, below])


def _simple(op: str, **attrs: float) -> Activation:
    return lambda c, x, _: c.op(op, [x], **attrs)


TABLE.update({
    "linear": lambda c, x, _: x,
    "relu": lambda c, x, s: relu(c, x, s.real("negative_slope", 0), _top(s), s.real("threshold", 0)),
    "relu6": lambda c, x, _: relu(c, x, top=6.0),
    "tanh": _simple("Tanh"),
    "sigmoid": _simple("Sigmoid"),
    "selu": _simple("Selu"),
    "softplus": _simple("Softplus"),
    "softsign": _simple("Softsign"),
    "exponential": _simple("Exp"),
    "mish": _simple("Mish"),
    "softmax": lambda c, x, s: softmax(c, x, s.integer("axis", -1)),
    "log_softmax": lambda c, x, s: softmax(c, x, s.integer("axis", -1), "LogSoftmax"),
    "elu": lambda c, x, s: c.op("Elu", [x], alpha=s.real("alpha", 1)),
    "celu": lambda c, x, s: c.op("Celu", [x], alpha=s.real("alpha", 1)),
    "leaky_relu": lambda c, x, s: c.op("LeakyRelu", [x], alpha=s.real("negative_slope", 0.2)),
    "hard_tanh": lambda c, x, _: c.op("Clip", [x, c.like(-1, x), c.like(1, x)]),
    "tanh_shrink": lambda c, x, _: c.op("Sub", [x, c.op("Tanh", [x])]),
    "log_sigmoid": lambda c, x, _: c.op("Neg", [c.op("Softplus", [c.op("Neg", [x])])]),
    "sparse_sigmoid": lambda c, x, _: c.op("HardSigmoid", [x], alpha=0.5, beta=0.5),
    "hard_shrink": lambda c, x, s: c.op("Shrink", [x], lambd=s.real("threshold", 0.5), bias=0.0),
    "soft_shrink": lambda c, x, s: c.op("Shrink", [x], lambd=(t := s.real("threshold", 0.5)), bias=t),
    "gelu": lambda c, x, s: c.op("Gelu", [x], approximate="tanh" if s.flag("approximate") else "none"),
})


def _top(settings: Config) -> float | None:
    return settings.real("max_value") if "max_value" in settings else None


@_named("swish", "silu")
def _silu(c: Call, x: str, settings: Config) -> str:
    return c.op("Mul", [x, c.op("Sigmoid", [x])])


@_named("hard_sigmoid")
def _hard_sigmoid(c: Call, x: str, settings: Config) -> str:
    return c.op("HardSigmoid", [x], alpha=1 / 6 if c.modern else 0.2, beta=0.5)


@_named("hard_silu", "hard_swish")
def _hard_silu(c: Call, x: str, settings: Config) -> str:
    return c.op("HardSwish", [x])


@_named("squareplus")
def _squareplus(c: Call, x: str, settings: Config) -> str:
    root = c.op("Sqrt", [c.op("Add", [c.op("Mul", [x, x]), c.like(settings.real("b", 4), x)])])
    return c.op("Mul", [c.op("Add", [x, root]), c.like(0.5, x)])


@_named("sparse_plus")
def _sparse_plus(c: Call, x: str, settings: Config) -> str:
    half = c.op("Mul", [c.op("Add", [c.op("Clip", [x, c.like(-1, x), c.like(1, x)]), c.like(1, x)]), c.like(0.5, x)])
    over = c.op("Relu", [c.op("Sub", [x, c.like(1, x)])])  # ((x + 1) / 2)^2 up to 1, x above: continuous in between
    return c.op("Add", [c.op("Mul", [half, half]), over])


@_named("threshold")
def _threshold(c: Call, x: str, settings: Config) -> str:
    above = c.op("Greater", [x, c.like(settings.real("threshold"), x)])
    return c.op("Where", [above, x, c.like(settings.real("default_value", settings.real("default", 0.0)), x)])


@_named("glu")
def _glu(c: Call, x: str, settings: Config) -> str:
    a, b = c.b.ops("Split", [x], 2, axis=settings.integer("axis", -1), num_outputs=2)
    return c.op("Mul", [a, c.op("Sigmoid", [b])])


@_named("sparsemax")
def _sparsemax(c: Call, x: str, settings: Config) -> str:
    """Sparsemax as Keras computes it.

    Martins and Astudillo (2016), algorithm 1, take the last running sum of the support; Keras takes the sum
    of all running sums in it, which differs where the support has more than one value.
    """
    axis = c.positive(settings.integer("axis", -1), c.b.rank(x))
    width = c.b.shape(x)[axis]
    ordered, _ = c.b.ops("TopK", [x, np.array([width])], 2, axis=axis)
    sums = c.op("Sub", [c.op("CumSum", [ordered, np.int64(axis)]), c.like(1, x)])
    counts = c.like(np.arange(1, width + 1).reshape([-1] + [1] * (c.b.rank(x) - 1 - axis)), x)
    inside = c.op("Cast", [c.op("Greater", [c.op("Mul", [ordered, counts]), sums])], to=_tensor_type(c, x))
    total = c.op("ReduceSum", [inside, np.array([axis])], keepdims=1)
    running = c.op("Add", [sums, c.like(1, x)])
    within = c.op("ReduceSum", [c.op("Mul", [running, inside]), np.array([axis])], keepdims=1)
    best = c.op("Sub", [within, c.like(1, x)])
    return c.op("Relu", [c.op("Sub", [x, c.op("Div", [best, total])])])


def _tensor_type(c: Call, x: str) -> int:
    from compiler.frontends.onnx.types import tensor_type

    return tensor_type(c.b.dtype(x))


# ---- layers --------------------------------------------------------------------------------------------------------


@layer("Activation", masks=True)
def _activation(c: Call) -> str:
    return activate(c, c.x, c.config.get("activation"))


@layer("ReLU", masks=True)
def _relu(c: Call) -> str:
    slope = c.config.real("negative_slope", 0)
    return relu(c, c.x, slope, _top(c.config), c.config.real("threshold", 0))


@layer("LeakyReLU", masks=True)
def _leaky_relu(c: Call) -> str:
    return c.op("LeakyRelu", [c.x], alpha=c.config.real("negative_slope", c.config.real("alpha", 0.3)))


@layer("ELU", masks=True)
def _elu(c: Call) -> str:
    return c.op("Elu", [c.x], alpha=c.config.real("alpha", 1))


@layer("ThresholdedReLU", masks=True)
def _thresholded_relu(c: Call) -> str:
    return c.op("ThresholdedRelu", [c.x], alpha=c.config.real("theta", 1))


@layer("PReLU", variables="alpha", masks=True)
def _prelu(c: Call) -> str:
    return c.op("PRelu", [c.x, c.weight("alpha", *(1 if plain(s) == 1 else -1 for s in c.shape[1:]))])


@layer("Softmax", masks=True)
def _softmax(c: Call) -> str:
    axis = c.config.get("axis", -1)
    axes = sorted(c.positive(a) for a in (axis if isinstance(axis, list) else [axis]) if isinstance(a, int))
    x = c.x
    mask = c.kwargs.get("mask") or (c.args[1] if len(c.args) > 1 else None)
    if mask is None and c.first.mask:
        mask = type(c.first)(c.first.mask)
    if mask is not None:
        x = masked_scores(c, x, mask.value)
    if len(axes) == 1:
        y = softmax(c, x, axes[0])
    else:
        y = c.op("Exp", [c.op("Sub", [x, c.op("ReduceLogSumExp", [x, np.array(axes)], keepdims=1)])])
    # Keras 3 has no share for what is masked, even where all is
    return c.op("Where", [mask.value, y, c.like(0, y)]) if mask is not None and c.modern else y


def masked_scores(c: Call, scores: str, mask: str) -> str:
    """Scores with what is masked (false) so low that its share is nothing: -1e9 is added, as Keras does."""
    return c.op("Add", [scores, c.op("Where", [mask, c.like(0, scores), c.like(-1e9, scores)])])
