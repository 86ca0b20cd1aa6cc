"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    along,
    aten,
    ints,
    numpy_type,
    pair,
    squeeze,
    unsqueeze,
    unsupported,
)

Ints = int | Sequence[int]


def _batched(b: GraphBuilder, value: Tensor, count: int) -> tuple[Tensor, bool]:
    """With a batch dimension, and whether it is new."""
    alone = b.rank(value) == count + 1
    return (unsqueeze(b, value, 0) if alone else value), alone


def _max_pool(b: GraphBuilder, x: Tensor, count: int, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints,
              ceil: bool, indices: bool) -> list[Tensor]:
    x, alone = _batched(b, x, count)
    window = pair(kernel, count)
    step = pair(stride, count) if isinstance(stride, int) or stride else window
    found = b.ops("MaxPool", [x], 2 if indices else 1, kernel_shape=window, strides=step,
                  pads=pair(padding, count) * 2, dilations=pair(dilation, count), ceil_mode=int(ceil))
    if indices:  # ONNX counts over the whole tensor, PyTorch within one channel
        plane = int(np.prod(b.shape(x)[2:]))
        found[1] = b.op("Mod", [found[1], np.int64(plane)])
    return [squeeze(b, f, 0) for f in found] if alone else found


def _enter_pools() -> None:
    def max_pool(count: int, indices: bool) -> Any:
        def convert(b: GraphBuilder, self: Tensor, kernel_size: Ints, stride: Ints = (), padding: Ints = 0,
                    dilation: Ints = 1, ceil_mode: bool = False) -> Any:
            found = _max_pool(b, self, count, kernel_size, stride, padding, dilation, ceil_mode, indices)
            return found if indices else found[0]

        return convert

    def avg_pool(count: int) -> Any:
        def convert(b: GraphBuilder, self: Tensor, kernel_size: Ints, stride: Ints = (), padding: Ints = 0,
                    ceil_mode: bool = False, count_include_pad: bool = True,
                    divisor_override: int | None = None) -> Tensor:
            x, alone = _batched(b, self, count)
            window = pair(kernel_size, count)
            step = pair(stride, count) if isinstance(stride, int) or stride else window
            found = b.op("AveragePool", [x], kernel_shape=window, strides=step, pads=pair(padding, count) * 2,
                         ceil_mode=int(ceil_mode), count_include_pad=int(count_include_pad or bool(divisor_override)))
            if divisor_override:
                if ceil_mode:
                    raise unsupported("an average with a divisor of its own where windows are cut off")
                found = b.op("Mul", [found, np.asarray(np.prod(window) / divisor_override, numpy_type(b.dtype(x)))])
            return squeeze(b, found, 0) if alone else found

        return convert

    def adaptive(count: int, op: str, indices: bool) -> Any:
        def convert(b: GraphBuilder, self: Tensor, output_size: Sequence[int | None]) -> Any:
            found = _adaptive(b, self, count, op, output_size, indices)
            return found if indices else found[0]

        return convert

    for count in (1, 2, 3):
        aten(f"max_pool{count}d")(max_pool(count, False))
        aten(f"max_pool{count}d_with_indices")(max_pool(count, True))
        aten(f"avg_pool{count}d")(avg_pool(count))
        aten(f"adaptive_avg_pool{count}d", f"_adaptive_avg_pool{count}d")(adaptive(count, "AveragePool", False))
        aten(f"adaptive_max_pool{count}d")(adaptive(count, "MaxPool", True))


def _adaptive(b: GraphBuilder, value: Tensor, count: int, op: str, sizes: Sequence[int | None],
              indices: bool) -> list[Tensor]:
    """Pooling to a size: window k of n goes from floor(k size / n) to ceil((k + 1) size / n)."""
    x, alone = _batched(b, value, count)
    before = list(b.shape(x)[2:])
    after = [n if s is None else s for n, s in zip(before, pair(sizes, count))]  # type: ignore[arg-type]
    if all(s == 1 for s in after) and not indices:
        found = [b.op("GlobalAveragePool" if op == "AveragePool" else "GlobalMaxPool", [x])]
    elif all(s and n % s == 0 for n, s in zip(before, after)):
        window = [n // s for n, s in zip(before, after)]
        if indices:
            found = _max_pool(b, x, count, window, window, 0, 1, False, True)
        else:
            found = [b.op(op, [x], kernel_shape=window, strides=window)] if any(w > 1 for w in window) else [x]
    elif indices and op == "MaxPool" and b.const(x) is None:
        found = [_uneven(b, x, before, after, op), ""]
    else:
        found = [_uneven(b, x, before, after, op)]
    return [squeeze(b, f, 0) if f and alone else f for f in found]


def _uneven(b: GraphBuilder, x: Tensor, before: Sequence[int], after: Sequence[int], op: str) -> Tensor:
    """Windows of different sizes, dimension by dimension: a matrix product for means, a gather for maxima."""
    for place, (size, count) in enumerate(zip(before, after), 2):
        starts = [k * size // count for k in range(count)]
        ends = [-(-(k + 1) * size // count) for k in range(count)]
        if op == "AveragePool":
            share = np.zeros((size, count), numpy_type(b.dtype(x)))
            for k, (s, e) in enumerate(zip(starts, ends)):
                share[s:e, k] = 1 / (e - s)
            x = along(b, x, place, share)
        else:
            longest = max(e - s for s, e in zip(starts, ends))
            reach = [[min(s + j, e - 1) for j in range(longest)] for s, e in zip(starts, ends)]
            x = b.op("ReduceMax", [b.op("Gather", [x, np.asarray(reach)], axis=place), ints(place + 1)], keepdims=0)
    return x


_enter_pools()
