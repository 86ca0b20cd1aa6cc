"""Non-linear functions: within 0.51 ulp (fp32) of a float64 reference, special values, limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from isa.spec import FUNCTIONS
from neuronsim.insns import functions

INF = math.inf


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


REFERENCE: dict[str, tuple[Callable[[float], float], float, float]] = {
    "sigmoid": (_sigmoid, -104, 100),
    "tanh": (math.tanh, -12, 12),
    "exp": (math.exp, -103, 88.7),
    "log": (math.log, 1e-44, 3e38),
    "sqrt": (math.sqrt, 0, 3e38),
    "rsqrt": (lambda x: 1 / math.sqrt(x), 1e-44, 3e38),
    "gelu": (lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2)), -14, 30),
    "gelu_tanh": (lambda x: x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)), -10, 30),
    "silu": (lambda x: x * _sigmoid(x), -100, 100),
    "softplus": (_softplus, -100, 100),
    "mish": (lambda x: x * math.tanh(_softplus(x)), -90, 100),
    "erf": (math.erf, -6, 6),
    "sin": (math.sin, -1000, 1000),
    "arctan": (math.atan, -1e4, 1e4),
}


def points(low: float, high: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    near = np.concatenate([s * np.geomspace(1e-44, 1e38, 800) for s in (1, -1)])
    x = np.concatenate([rng.uniform(max(low, -1e6), min(high, 1e6), 3000), near, rng.normal(0, 1, 1000)])
    return x[(x >= low) & (x <= high)].astype(np.float32)


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_within_a_little_more_than_half_an_ulp(name: str) -> None:
    reference, low, high = REFERENCE[name]
    x = points(low, high)
    exact = np.array([reference(float(v)) for v in x])
    got = functions.apply(FUNCTIONS[name], x, np.float32(0)).astype(np.float64)
    ulp = np.spacing(np.maximum(np.abs(exact), 2.0**-126).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(got - exact) / ulp) < 0.51


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("exp", -INF, 0.0),
        ("exp", INF, INF),
        ("exp", 89.0, INF),
        ("log", 0.0, -INF),
        ("log", INF, INF),
        ("log", 1.0, 0.0),
        ("sigmoid", -INF, 0.0),
        ("sigmoid", INF, 1.0),
        ("tanh", -INF, -1.0),
        ("gelu", -INF, -0.0),
        ("gelu", INF, INF),
        ("gelu_tanh", -INF, -0.0),
        ("gelu_tanh", INF, INF),
        ("silu", -INF, -0.0),
        ("silu", INF, INF),
        ("mish", -INF, -0.0),
        ("mish", INF, INF),
        ("softplus", -INF, 0.0),
        ("softplus", INF, INF),
        ("erf", INF, 1.0),
        ("arctan", -INF, -1.5707964),
        ("rsqrt", 0.0, INF),
        ("reciprocal", -0.0, -INF),
        ("sign", -0.0, 0.0),
        ("sign", -INF, -1.0),
        ("relu", -INF, 0.0),
    ],
)
def test_limits(name: str, x: float, expected: float) -> None:
    got = functions.apply(FUNCTIONS[name], np.float32([x]), np.float32(0))[0]
    assert got == np.float32(expected)
    assert np.signbit(got) == np.signbit(np.float32(expected))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_nan_stays(name: str) -> None:
    assert np.isnan(functions.apply(FUNCTIONS[name], np.float32([np.nan]), np.float32(2))[0])


@pytest.mark.parametrize(("name", "x"), [("log", -1.0), ("sqrt", -1.0), ("sin", INF), ("sin", 2e6)])
def test_outside_the_domain(name: str, x: float) -> None:
    assert np.isnan(functions.apply(FUNCTIONS[name], np.float32([x]), np.float32(0))[0])


def test_prelu_slope() -> None:
    got = functions.apply(FUNCTIONS["prelu"], np.float32([-2, 3]), np.float32(0.25))
    assert got.tolist() == [-0.5, 3.0]


def test_prelu_keeps_zeros_and_nan_for_any_slope() -> None:
    """Only x < 0 is multiplied: the sign of a zero stays, and an infinite slope makes no NaN of it."""
    for slope in (-2.0, 0.0, 0.25, INF):
        got = functions.apply(FUNCTIONS["prelu"], np.float32([0.0, -0.0, np.nan]), np.float32(slope))
        assert got[:2].view(np.uint32).tolist() == [0, 0x80000000]
        assert np.isnan(got[2])


def test_power_as_c_defines_it() -> None:
    special = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, INF, -INF, 1e-40, 16777217.0]
    x, y = (a.ravel().astype(np.float32) for a in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
        got = functions.power(x, y)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(expected[~np.isnan(got)]))
