"""ALU operators (op0, op1) on fp32, and on 32-bit integers for the bitwise ones.

Values travel between two operators as fp32, or as integers after a bitwise operator. Compiled twin of the fp32 part:
`neuronsim/_core/kernels/alu.h`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isa.spec import ALU_OPS

Array = np.ndarray
Binary = Callable[[Array, Array], Array]

BYPASS = ALU_OPS["bypass"]
BITWISE = {
    ALU_OPS[n]: n for n in ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "shift_left", "shift_right")
}


def maximum(x: Array, y: Array) -> Array:
    """NaN if either is; max(+0, -0) = +0."""
    equal = (x.view(np.uint32) & y.view(np.uint32)).view(np.float32)
    return np.where(np.isnan(x), x, np.where(np.isnan(y), y, np.where(x == y, equal, np.where(x > y, x, y))))


def minimum(x: Array, y: Array) -> Array:
    """NaN if either is; min(+0, -0) = -0."""
    equal = (x.view(np.uint32) | y.view(np.uint32)).view(np.float32)
    return np.where(np.isnan(x), x, np.where(np.isnan(y), y, np.where(x == y, equal, np.where(x < y, x, y))))


def relu(x: Array) -> Array:
    """max(x, 0): NaN stays, -0 becomes +0."""
    return np.where(np.isnan(x) | (x > 0), x, np.float32(0))


def _power(x: Array, y: Array) -> Array:
    from neuronsim.insns import functions  # functions imports this module

    return functions.power(x, y)


def _rsqrt(x: Array, _: Array) -> Array:
    from neuronsim.insns import functions

    return functions.rsqrt(x)


_FLOAT: dict[str, Binary] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "mult": lambda x, y: x * y,
    "max": maximum,
    "min": minimum,
    "is_equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "is_ge": lambda x, y: x >= y,
    "is_gt": lambda x, y: x > y,
    "is_le": lambda x, y: x <= y,
    "is_lt": lambda x, y: x < y,
    "logical_and": lambda x, y: (x != 0) & (y != 0),
    "logical_or": lambda x, y: (x != 0) | (y != 0),
    "logical_xor": lambda x, y: (x != 0) ^ (y != 0),
    "power": _power,
    "abs_max": lambda x, y: maximum(np.abs(x), np.abs(y)),
    "abs_min": lambda x, y: minimum(np.abs(x), np.abs(y)),
    "abs": lambda x, _: np.abs(x),
    "square": lambda x, _: x * x,
    "relu": lambda x, _: relu(x),
    "rsqrt": _rsqrt,
    "reciprocal": lambda x, _: np.float32(1) / x,
    "divide": lambda x, y: x / y,
}
_FLOAT_BY_CODE = {ALU_OPS[name]: f for name, f in _FLOAT.items()}
UNARY = {ALU_OPS[n] for n in ("abs", "square", "relu", "rsqrt", "reciprocal", "bitwise_not")}


def to_integer(x: Array) -> Array:
    """32-bit integers (int32, or uint32 where x is unsigned) of integers or of fp32, which round and saturate."""
    if x.dtype.kind == "u":
        return x.astype(np.uint32)
    if x.dtype.kind == "i":
        return x.astype(np.int32)
    return np.clip(np.rint(np.nan_to_num(x.astype(np.float64), nan=0.0)), -(2.0**31), 2.0**31 - 1).astype(np.int32)


def apply(op: int, x: Array, y: Array, swap: bool = False) -> Array:
    """x op y, or y op x when swapped; bypass and the unary operators look at x only.

    Args:
        x, y: fp32 or integer arrays that broadcast together.
    Returns: fp32, or int32 / uint32 after a bitwise operator.
    """
    if op == BYPASS:
        return x
    if swap and op not in UNARY:
        x, y = y, x
    if op in BITWISE:
        return _bitwise(BITWISE[op], to_integer(x), to_integer(y))
    x, y = np.broadcast_arrays(x.astype(np.float32), y.astype(np.float32))
    with np.errstate(all="ignore"):
        return _FLOAT_BY_CODE[op](np.ascontiguousarray(x), np.ascontiguousarray(y)).astype(np.float32)


def _bitwise(name: str, x: Array, y: Array) -> Array:
    """32-bit; shifts by 32 or more, or by a negative count, give 0, or the sign for signed right shifts."""
    y_bits = y.astype(np.uint32)
    if name == "shift_right":
        return (
            np.right_shift(x, np.minimum(y_bits, 31).astype(x.dtype))
            if x.dtype.kind == "i"
            else np.where(y_bits > 31, np.uint32(0), x >> np.minimum(y_bits, np.uint32(31)))
        )
    u = x.astype(np.uint32)
    results: dict[str, Callable[[], Array]] = {
        "bitwise_and": lambda: u & y_bits,
        "bitwise_or": lambda: u | y_bits,
        "bitwise_xor": lambda: u ^ y_bits,
        "bitwise_not": lambda: ~u,
        "shift_left": lambda: np.where(y_bits > 31, np.uint32(0), u << np.minimum(y_bits, np.uint32(31))),
    }
    return results[name]().astype(x.dtype)


def exact_integer(op: int, x: Array, y: Array) -> Array | None:
    """gpsimd: x op y of integers in int64, or None for operators that do not have an exact integer form."""
    a, b = x.astype(np.int64), y.astype(np.int64)
    name = next(n for n, code in ALU_OPS.items() if code == op)
    results: dict[str, Callable[[], Array]] = {
        "add": lambda: a + b,
        "subtract": lambda: a - b,
        "mult": lambda: a * b,
        "max": lambda: np.maximum(a, b),
        "min": lambda: np.minimum(a, b),
        "is_equal": lambda: a == b,
        "not_equal": lambda: a != b,
        "is_ge": lambda: a >= b,
        "is_gt": lambda: a > b,
        "is_le": lambda: a <= b,
        "is_lt": lambda: a < b,
    }
    return results[name]().astype(np.int64) if name in results else None


def settle(x: Array, *ops: int) -> Array:
    """The value to write after `ops`: integers survive only when a bitwise operator made them (bypass keeps them)."""
    made = [op for op in ops if op != BYPASS]
    return x if made and made[-1] in BITWISE else x.astype(np.float32)
