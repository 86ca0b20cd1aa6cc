"""Rounding against ml_dtypes and numpy: every 8- and 16-bit code, every rounding boundary of the float types."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa import dtypes
from neuronsim.insns import rounding
from neuronsim.insns.matmul import fma

SMALL = ("bf16", "fp16", "fp8_e4m3", "fp8_e5m2")


def every_code(name: str) -> np.ndarray:
    d = dtypes.BY_NAME[name]
    return np.arange(256**d.size, dtype=f"u{d.size}").view(d.numpy)


@pytest.mark.parametrize("name", SMALL)
def test_every_code_reads_exactly_and_writes_back(name: str) -> None:
    d = dtypes.BY_NAME[name]
    codes = every_code(name)
    x = rounding.to_float32(codes, d)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(x, codes.astype(np.float64).astype(np.float32))
    back = rounding.from_float32(x, d)
    bits = f"u{d.size}"
    finite = ~np.isnan(x)
    np.testing.assert_array_equal(back.view(bits)[finite], codes.view(bits)[finite])
    assert set(back.view(bits)[~finite].tolist()) == {rounding.CANONICAL_NAN[name]}


@pytest.mark.parametrize("name", SMALL)
def test_boundaries_round_as_ml_dtypes(name: str) -> None:
    d = dtypes.BY_NAME[name]
    codes = every_code(name)
    x = np.sort(codes.astype(np.float32).astype(np.float64))
    x = x[np.isfinite(x)]
    middle = ((x[1:] + x[:-1]) / 2).astype(np.float32)
    points = np.concatenate(
        [
            middle,
            np.nextafter(middle, np.float32(np.inf)),
            np.nextafter(middle, np.float32(-np.inf)),
            np.float32([3e38, 65519.9, 65520, 464, 465, 57344, 61440, 1e-45, -1e-45, np.inf, -np.inf]),
        ]
    )
    with np.errstate(over="ignore"):
        expected = points.astype(d.numpy)
    got = rounding.from_float32(points, d)
    np.testing.assert_array_equal(got.astype(np.float32), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        (
            "int8",
            [0.5, 1.5, -0.5, -1.5, 127.4, 127.5, 1e9, -1e9, np.nan, np.inf],
            [0, 2, 0, -2, 127, 127, 127, -128, 0, 127],
        ),
        ("uint8", [-1, 255.5, 254.5, np.nan, 3e38], [0, 255, 254, 0, 255]),
        (
            "int32",
            [2147483520, 2147483648, -2147483648, 3e9, -np.inf],
            [2147483520, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31)],
        ),
        ("uint32", [4294967040, 4294967296, -0.6], [4294967040, 2**32 - 1, 0]),
        ("bool", [0.0, -0.0, 0.1, np.nan], [False, False, True, True]),
    ],
)
def test_integers_saturate(name: str, values: list[float], expected: list[int]) -> None:
    got = rounding.from_float32(np.array(values, np.float32), dtypes.BY_NAME[name])
    assert got.tolist() == expected


def test_tf32_keeps_ten_bits() -> None:
    x = np.float32([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-10, np.inf, np.finfo(np.float32).max])
    got = rounding.from_float32(x, dtypes.BY_NAME["tf32"])
    assert got.tolist() == [1.0, 1 + 2**-9, 1 + 2**-10, np.inf, np.inf]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integer_casts_are_exact_and_saturate(numbers: list[int]) -> None:
    x = np.array(numbers, np.int64)
    for name in ("int8", "uint16", "int32", "uint32", "uint64"):
        d = dtypes.BY_NAME[name]
        info = np.iinfo(d.numpy)
        expected = [min(max(n, int(info.min)), int(info.max)) for n in numbers]
        assert rounding.cast(x, dtypes.BY_NAME["int64"], d).tolist() == expected


@given(
    st.tuples(
        *[st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**50), max_value=2.0**50)] * 3
    )
)
def test_fma_is_rounded_once(numbers: tuple[float, float, float]) -> None:
    """Against exact rational arithmetic, rounded by comparing with both float neighbours."""
    from fractions import Fraction

    a, b, c = (np.float32([n]) for n in numbers)
    got = float(fma(a, b, c)[0])
    exact = Fraction(numbers[0]) * Fraction(numbers[1]) + Fraction(numbers[2])
    error = abs(Fraction(got) - exact)
    for direction in (np.inf, -np.inf):
        other = float(np.nextafter(np.float32(got), np.float32(direction)))
        if np.isfinite(other):
            assert error <= abs(Fraction(other) - exact)


def test_fma_where_float64_rounds_twice() -> None:
    a, b, c = np.float32([1 + 2**-12]), np.float32([1 + 2**-12]), np.float32([2.0**-60])
    assert fma(a, b, c)[0] == np.float32(np.float32(1 + 2**-11) + np.float32(2**-23))
    assert fma(a, b, -c)[0] == np.float32(1 + 2**-11)
