"""Non-linear functions of the scalar engine: float64 add, multiply, divide and square root only, rounded once to fp32.

No libm and no numpy transcendental, whose last bits differ between CPUs. The order of operations is part of the
meaning; the compiled twin is `neuronsim/_core/kernels/functions.h`. Every function here takes and gives fp32 arrays;
the float64 value before rounding is within a relative 2e-10 of the true one, so results are within 0.51 ulp (fp32),
subnormal results included, inside the whole fp32 range; `sin` is NaN above 2^20.

Source: polynomials are Taylor series with the argument reductions stated at each; `ERFCX` is a Chebyshev fit of
degree 18 to exp(z^2) erfc(z) (1 + 2z) in t = (z - 3.75) / (z + 3.75), maximum relative error 1e-13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from isa.spec import FUNCTIONS
from neuronsim.insns import alu

F64 = np.float64
Array = np.ndarray

LN2_HI, LN2_LO = float.fromhex("0x1.62e42fefa38p-1"), float.fromhex("0x1.ef35793c7673p-45")
MAGIC = float.fromhex("0x1.8p52")
SQRT_HALF_BITS = np.uint64(0x3FE6A09E667F3BCD)
PI_PARTS = tuple(float.fromhex(x) for x in ("0x1.921fb544p+1", "0x1.0b4611a6p-33", "0x1.3198a2e037073p-68"))

EXP = (
    1.0,
    1.0,
    1.0 / 2,
    1.0 / 6,
    1.0 / 24,
    1.0 / 120,
    1.0 / 720,
    1.0 / 5040,
    1.0 / 40320,
    1.0 / 362880,
    1.0 / 3628800,
    1.0 / 39916800,
)
ATANH = (2.0, *(2.0 / n for n in range(3, 28, 2)))
ERF = (
    1.0,
    -1.0 / 3,
    1.0 / 10,
    -1.0 / 42,
    1.0 / 216,
    -1.0 / 1320,
    1.0 / 9360,
    -1.0 / 75600,
    1.0 / 685440,
    -1.0 / 6894720,
    1.0 / 76204800,
    -1.0 / 918086400,
)
TANH = (1.0, -1.0 / 3, 2.0 / 15, -17.0 / 315, 62.0 / 2835, -1382.0 / 155925)
SIN = (
    1.0,
    -1.0 / 6,
    1.0 / 120,
    -1.0 / 5040,
    1.0 / 362880,
    -1.0 / 39916800,
    1.0 / 6227020800.0,
    -1.0 / 1307674368000.0,
    1.0 / 355687428096000.0,
    -1.0 / 121645100408832000.0,
)
ATAN = tuple((-1.0 if n % 4 == 3 else 1.0) / n for n in range(1, 32, 2))
ERFCX = (
    1.2375126308377937,
    -0.1402405985848992,
    0.003585415492439431,
    0.08227673845044872,
    -0.10880393037451494,
    0.09230432187446842,
    -0.05869339557071301,
    0.02836227155926427,
    -0.00974659951455914,
    0.0017556520728242429,
    0.0002937898629192299,
    -0.00029022379047170056,
    5.147039600108054e-05,
    2.2498527461298323e-05,
    -1.1180703274712747e-05,
    -1.0893030779703113e-06,
    1.509717537551057e-06,
    1.2741706635944363e-08,
    -1.2659590750396315e-07,
)


def horner(coefficients: Sequence[float], x: Array) -> Array:
    """c[0] + c[1] x + ... from the highest power down."""
    p = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        p = p * x + c
    return p


def at_least(x: Array, low: float) -> Array:
    """x, or `low` where it is below; NaN stays."""
    return np.where(x < low, low, x)


def at_most(x: Array, high: float) -> Array:
    """x, or `high` where it is above; NaN stays."""
    return np.where(x > high, high, x)


def exp64(x: Array) -> Array:
    """e^x, |x| clamped to 700: x = n ln 2 + r, Taylor polynomial of degree 11 in r."""
    x = at_least(at_most(x, 700.0), -700.0)
    t = x * 1.4426950408889634 + MAGIC
    n = t - MAGIC
    r = (x - n * LN2_HI) - n * LN2_LO
    return horner(EXP, r) * ((t.view(np.uint64) + np.uint64(1023)) << np.uint64(52)).view(F64)


def atanh2(s: Array) -> Array:
    """2 atanh(s) for |s| <= 1/3."""
    return horner(ATANH, s * s) * s


def log64(x: Array) -> Array:
    """ln x: x = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh((m - 1) / (m + 1))."""
    u = x.view(np.uint64) - SQRT_HALF_BITS
    m = ((u & np.uint64(0xFFFFFFFFFFFFF)) + SQRT_HALF_BITS).view(F64)
    e = (((u >> np.uint64(52)) + np.uint64(1024)) & np.uint64(0xFFF)).astype(F64) - 1024.0
    y = e * LN2_HI + (atanh2((m - 1.0) / (m + 1.0)) + e * LN2_LO)
    y = np.where(x == 0.0, -np.inf, y)
    y = np.where(x == np.inf, x, y)
    return np.where((x < 0.0) | np.isnan(x), np.nan, y)


def erfc_positive(z: Array) -> Array:
    """erfc of z >= 0, clamped at 26 where it is below 1e-295."""
    z = at_most(z, 26.0)
    return horner(ERFCX, (z - 3.75) / (z + 3.75)) / (1.0 + 2.0 * z) * exp64(-(z * z))


def erf64(x: Array) -> Array:
    """Taylor series below 0.75, else 1 - erfc(|x|)."""
    small = horner(ERF, x * x) * x * 1.1283791670955126
    large = 1.0 - erfc_positive(np.abs(x))
    return np.where(np.abs(x) < 0.75, small, np.where(x < 0.0, -large, large))


def tanh64(x: Array) -> Array:
    """Taylor series below 0.125, else 1 - 2 / (e^2x + 1)."""
    small = horner(TANH, x * x) * x
    return np.where(np.abs(x) < 0.125, small, 1.0 - 2.0 / (exp64(2.0 * x) + 1.0))


def sigmoid64(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + exp64(-x))


def gelu64(x: Array) -> Array:
    """x Phi(x); below -40 it is -0 in fp32."""
    c = at_least(x, -40.0)
    b = at_most(c, 40.0)
    half = 0.5 * b * erfc_positive(np.abs(b) * 0.7071067811865476)
    return np.where(c < 0.0, half, c - half)


def gelu_tanh64(x: Array) -> Array:
    """x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    c = at_least(x, -40.0)
    u = 0.7978845608028654 * (c + 0.044715 * (c * c * c))
    return c / (1.0 + exp64(-2.0 * u))


def silu64(x: Array) -> Array:
    """x / (1 + e^-x); below -200 it is -0 in fp32."""
    c = at_least(x, -200.0)
    return c / (1.0 + exp64(-c))


def softplus64(x: Array) -> Array:
    """max(x, 0) + ln(1 + e^-|x|)."""
    u = exp64(-np.abs(x))
    return at_least(x, 0.0) + atanh2(u / (2.0 + u))


def mish64(x: Array) -> Array:
    """x ((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1)."""
    c = at_least(x, -200.0)
    e = exp64(at_most(c, 300.0))
    q = e * e + 2.0 * e
    return c * (q / (q + 2.0))


def sin64(x: Array) -> Array:
    """x = n pi + r with pi in three parts; the sign flips with odd n."""
    t = x * 0.3183098861837907 + MAGIC
    n = t - MAGIC
    r = ((x - n * PI_PARTS[0]) - n * PI_PARTS[1]) - n * PI_PARTS[2]
    y = horner(SIN, r * r) * r
    y = (y.view(np.uint64) ^ (t.view(np.uint64) << np.uint64(63))).view(F64)
    return np.where(np.abs(x) <= 1048576.0, y, np.nan)


def arctan64(x: Array) -> Array:
    """Through 1/a above 1 and (y - 1) / (y + 1) above tan(pi / 8)."""
    a = np.abs(x)
    y = np.where(a > 1.0, 1.0 / a, a)
    far = y > 0.4142135623730951
    z = np.where(far, (y - 1.0) / (y + 1.0), y)
    r = horner(ATAN, z * z) * z
    r = np.where(far, 0.7853981633974483 + r, r)
    r = np.where(a > 1.0, 1.5707963267948966 - r, r)
    return np.where(x < 0.0, -r, r)


def power64(x: Array, y: Array) -> Array:
    """x^y with the special cases of C's pow; NaN for a negative base with a fractional exponent."""
    a, b = np.abs(x), at_least(at_most(y, 4e9), -4e9)
    whole, half = (b + MAGIC) - MAGIC == b, (0.5 * b + MAGIC) - MAGIC
    r = exp64(y * log64(a))
    r = np.where(a == np.inf, np.where(y > 0.0, np.inf, 0.0), r)
    r = np.where(a == 0.0, np.where(y > 0.0, 0.0, np.inf), r)
    r = np.where(a == 1.0, 1.0, r)
    r = np.where(np.signbit(x) & whole & (2.0 * half != b), -r, r)
    r = np.where((x < 0.0) & (x != -np.inf) & ~whole, np.nan, r)
    r = np.where(np.isnan(x) | np.isnan(y), np.nan, r)
    return np.where((x == 1.0) | (y == 0.0), 1.0, r)


def power(x: Array, y: Array) -> Array:
    """ALU power on fp32."""
    return power64(x.astype(F64), np.broadcast_to(y, np.broadcast_shapes(x.shape, y.shape)).astype(F64)).astype(
        np.float32
    )


def rsqrt(x: Array) -> Array:
    """1 / sqrt(x) in float64, rounded to fp32."""
    return (1.0 / np.sqrt(x.astype(F64))).astype(np.float32)


def sign(x: Array) -> Array:
    """-1, +0 or 1."""
    return np.where(np.isnan(x), x, ((x > 0).astype(np.int8) - (x < 0).astype(np.int8)).astype(np.float32))


def _in_float64(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: function(x.astype(F64)).astype(np.float32)


_BY_NAME: dict[str, Callable[[Array], Array]] = {
    "copy": lambda x: x,
    "relu": alu.relu,
    "square": lambda x: x * x,
    "sigmoid": _in_float64(sigmoid64),
    "tanh": _in_float64(tanh64),
    "exp": _in_float64(exp64),
    "log": _in_float64(log64),
    "sqrt": np.sqrt,
    "rsqrt": rsqrt,
    "reciprocal": lambda x: np.float32(1) / x,
    "gelu": _in_float64(gelu64),
    "gelu_tanh": _in_float64(gelu_tanh64),
    "silu": _in_float64(silu64),
    "softplus": _in_float64(softplus64),
    "mish": _in_float64(mish64),
    "erf": _in_float64(erf64),
    "sin": _in_float64(sin64),
    "arctan": _in_float64(arctan64),
    "sign": sign,
    "abs": np.abs,
}
_BY_CODE = {FUNCTIONS[name]: function for name, function in _BY_NAME.items()}


def apply(code: int, x: Array, slope: np.float32) -> Array:
    """Function `code` of an fp32 array; `slope` is the parameter of prelu."""
    with np.errstate(all="ignore"):
        if code == FUNCTIONS["prelu"]:
            return np.where(x < 0, slope * x, x)
        return _BY_CODE[code](x)
