"""Functions of one operand that take several engine operations, written so that no step cancels or overflows early.

Each formula holds to a few units in the last place of fp32 over the function's whole domain, near its zeros included.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compiler.lowering.lanes import Lanes
from isa.lang import View

Attributes = Mapping[str, Any]
Function = Callable[[Lanes, View, View, Attributes], object]


def _asin(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    """2 atan(x / (1 + sqrt((1 - x)(1 + x))))."""
    left = lanes.scalar(x, "mult", -1.0, "add", 1.0)
    root = lanes.act(lanes.triple(x, "add", 1.0, "mult", left), "sqrt")
    half = lanes.act(lanes.divide(x, lanes.scalar(root, "add", 1.0)), "arctan")
    lanes.scalar(half, "mult", 2.0, out=out)


def _acos(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    """2 atan(sqrt((1 - x) / (1 + x)))."""
    tangent = lanes.divide(lanes.scalar(x, "mult", -1.0, "add", 1.0), lanes.scalar(x, "add", 1.0))
    half = lanes.act(lanes.act(tangent, "sqrt"), "arctan")
    lanes.scalar(half, "mult", 2.0, out=out)


def _asinh_positive(lanes: Lanes, a: View) -> View:
    """ln(1 + u) with u = a + sqrt(1 + a^2) - 1 = a (1 + 1 / (r + sqrt(1 + r^2))), r = 1 / a; softplus is ln(1 + e^x).

    The logarithm of u is a sum, so that nothing overflows, and small a keep their digits.
    """
    r = lanes.inverse(a)
    root = lanes.act(lanes.pair(r, r, "mult"), "sqrt", bias=1.0)
    share = lanes.inverse(lanes.pair(r, root, "add"))
    log = lanes.pair(lanes.act(a, "log"), lanes.act(share, "log", bias=1.0), "add")
    return lanes.act(log, "softplus")


def _asinh(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    lanes.signed(_asinh_positive(lanes, lanes.scalar(x, "abs")), x, out=out)


def _acosh(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    """2 asinh(sqrt((x - 1) / 2))."""
    lanes.scalar(_asinh_positive(lanes, lanes.act(x, "sqrt", 0.5, -0.5)), "mult", 2.0, out=out)


def _atanh(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    """ln(1 + 2a / (1 - a)) / 2 for a = |x|; softplus(ln u) is ln(1 + u)."""
    a = lanes.scalar(x, "abs")
    u = lanes.divide(lanes.scalar(a, "mult", 2.0), lanes.scalar(a, "mult", -1.0, "add", 1.0))
    size = lanes.act(lanes.act(u, "log"), "softplus")
    lanes.signed(lanes.scalar(size, "mult", 0.5), x, out=out)


def _half_squared(lanes: Lanes, a: View, scale: float) -> View:
    """e^(2 scale a) / 2 as e^(scale a) twice: finite as long as the result is."""
    root = lanes.act(a, "exp", scale)
    return lanes.triple(root, "mult", 0.5, "mult", root)


def _cosh(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    a = lanes.scalar(x, "abs")
    lanes.pair(_half_squared(lanes, a, 0.5), _half_squared(lanes, a, -0.5), "add", out=out)


def _sinh(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    """tanh(x) cosh(x)."""
    cosh = lanes.tile()
    _cosh(lanes, cosh, x, attrs)
    lanes.pair(lanes.act(x, "tanh"), cosh, "mult", out=out)


def _cos(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    """sin(2x) / (2 sin(x)), at 0 (both sides get 1) 1: exact digits near the zeros, where pi / 2 + x has few."""
    double = lanes.triple(x, "is_equal", 0.0, "add", lanes.act(x, "sin", 2.0))
    twice = lanes.scalar(lanes.act(x, "sin"), "mult", 2.0)
    lanes.divide(double, lanes.triple(x, "is_equal", 0.0, "add", twice), out=out)


def _tan(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    """sin(x) * (2 sin(x) / sin(2x)), at 0 0: exact digits near the poles."""
    sine = lanes.act(x, "sin")
    double = lanes.triple(x, "is_equal", 0.0, "add", lanes.act(x, "sin", 2.0))
    lanes.pair(lanes.divide(lanes.scalar(sine, "mult", 2.0), double), sine, "mult", out=out)


def _exponential_unit(lanes: Lanes, out: View, x: View, alpha: float, gamma: float, scale: float) -> None:
    """gamma (max(x, 0) + alpha (e^(x scale) - 1) below 0), with e^t - 1 = tanh(t / 2)(e^t + 1)."""
    low = lanes.scalar(x, "min", 0.0)
    tanh = lanes.act(low, "tanh", 0.5 * scale)
    grown = lanes.triple(lanes.act(low, "exp", scale), "add", 1.0, "mult", tanh)
    high = lanes.scalar(x, "max", 0.0, "mult", gamma)
    lanes.triple(grown, "mult", alpha * gamma, "add", high, out=out)


def _elu(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    _exponential_unit(lanes, out, x, float(attrs.get("alpha", 1.0)), 1.0, 1.0)


def _celu(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    alpha = float(attrs.get("alpha", 1.0))
    _exponential_unit(lanes, out, x, alpha, 1.0, 1.0 / alpha)


def _selu(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    alpha = float(attrs.get("alpha", 1.6732631921768188))
    _exponential_unit(lanes, out, x, alpha, float(attrs.get("gamma", 1.0507010221481323)), 1.0)


def _softsign(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    lanes.divide(x, lanes.scalar(x, "abs", 0.0, "add", 1.0), out=out)


def _hard_sigmoid(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    line = lanes.scalar(x, "mult", float(attrs.get("alpha", 0.2)), "add", float(attrs.get("beta", 0.5)))
    lanes.scalar(line, "max", 0.0, "min", 1.0, out=out)


def _hard_swish(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    gate = lanes.tile()
    _hard_sigmoid(lanes, gate, x, {"alpha": 1 / 6, "beta": 0.5})
    lanes.pair(gate, x, "mult", out=out)


def _swish(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    lanes.pair(lanes.act(x, "sigmoid", float(attrs.get("alpha", 1.0))), x, "mult", out=out)


def _shrink(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    """x + bias below -lambd, x - bias above lambd, else 0."""
    edge, bias = float(attrs.get("lambd", 0.5)), float(attrs.get("bias", 0.0))
    low = lanes.choose(lanes.mask(x, "is_lt", -edge), lanes.scalar(x, "add", bias), lanes.fill(0.0))
    lanes.copy(lanes.choose(lanes.mask(x, "is_gt", edge), lanes.scalar(x, "subtract", bias), low), out=out)


def _thresholded_relu(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    above = lanes.mask(x, "is_gt", float(attrs.get("alpha", 1.0)))
    lanes.copy(lanes.choose(above, lanes.copy(x), lanes.fill(0.0)), out=out)


def _is_inf(lanes: Lanes, out: View, x: View, attrs: Attributes) -> None:
    up, down = attrs.get("detect_positive", 1), attrs.get("detect_negative", 1)
    if up and down:
        lanes.scalar(x, "abs", 0.0, "is_equal", float("inf"), out=out)
    else:
        lanes.scalar(x, "is_equal", float("inf" if up else "-inf") if up or down else float("nan"), out=out)


COMPOSED: dict[str, Function] = {
    "Acos": _acos,
    "Acosh": _acosh,
    "Asin": _asin,
    "Asinh": _asinh,
    "Atanh": _atanh,
    "Ceil": lambda lanes, out, x, attrs: lanes.ceil(x, out=out),
    "Celu": _celu,
    "Cos": _cos,
    "Cosh": _cosh,
    "Elu": _elu,
    "Floor": lambda lanes, out, x, attrs: lanes.floor(x, out=out),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "IsInf": _is_inf,
    "Round": lambda lanes, out, x, attrs: lanes.copy(lanes.nearest(x), out=out),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sinh": _sinh,
    "Softsign": _softsign,
    "Swish": _swish,
    "Tan": _tan,
    "ThresholdedRelu": _thresholded_relu,
}
