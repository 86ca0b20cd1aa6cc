"""Interpolation and sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.creation import filled
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    along,
    aten,
    ints,
    numpy_type,
    squeeze,
    unsqueeze,
    unsupported,
)

_GRID_MODES = ("linear", "nearest", "cubic")
_GRID_EDGES = ("zeros", "border", "reflection")


def resize(b: GraphBuilder, value: Tensor, size: Sequence[int] | None, scales: Sequence[float | None], mode: str,
           corners: bool = False, exact: bool = False, antialias: bool = False) -> Tensor:
    """Interpolation of the spatial dimensions. A given scale, and not the ratio of sizes, decides where samples lie."""
    before = b.shape(value)[2:]
    known = [s for s in scales if s is not None]
    if size is None:
        size = [int(np.floor(n * s)) for n, s in zip(before, known)]
    by_scale = len(known) == len(before) and not corners and [int(np.floor(n * s)) for n, s in zip(before, known)] == [
        int(s) for s in size]
    if antialias:
        return _smoothed(b, value, size, known if by_scale else [], mode, corners)
    attributes: dict[str, Any] = {"mode": mode}
    if mode == "nearest":
        attributes |= {"coordinate_transformation_mode": "half_pixel" if exact else "asymmetric",
                       "nearest_mode": "round_prefer_ceil" if exact else "floor"}
    else:
        attributes["coordinate_transformation_mode"] = "align_corners" if corners else "half_pixel"
    if mode == "cubic":
        attributes["cubic_coeff_a"] = -0.75
    if by_scale:
        return b.op("Resize", [value, "", np.asarray([1, 1, *known], np.float32)], **attributes)
    return b.op("Resize", [value, "", "", ints(*b.shape(value)[:2], *size)], **attributes)


def _smoothed(b: GraphBuilder, value: Tensor, size: Sequence[int], scales: Sequence[float], mode: str,
              corners: bool) -> Tensor:
    """Interpolation whose filter grows with the step: one matrix for each dimension.

    Source: ATen/native/cpu/UpSampleKernel.cpp.
    """
    for place, count in enumerate(size, 2):
        length = b.shape(value)[place]
        step = 1 / scales[place - 2] if scales else length / count
        if corners:
            step = (length - 1) / (count - 1) if count > 1 else 0.0
        share = _filter(length, int(count), step, mode).astype(numpy_type(b.dtype(value)))
        value = along(b, value, place, share)
    return value


def _filter(length: int, count: int, step: float, mode: str) -> np.ndarray:
    """Weights (length, count) of a filter that is a triangle or a cubic with a = -1/2."""
    grown = max(step, 1.0)
    reach = (1.0 if mode == "linear" else 2.0) * grown
    share = np.zeros((length, count))
    for k in range(count):
        middle = step * (k + 0.5)
        start, end = max(int(middle - reach + 0.5), 0), min(int(middle + reach + 0.5), length)
        x = np.abs((np.arange(start, end) - middle + 0.5) / grown)
        if mode == "linear":
            weights = np.clip(1 - x, 0, None)
        else:
            weights = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1,
                               np.where(x < 2, -0.5 * (((x - 5) * x + 8) * x - 4), 0))
        share[start:end, k] = weights / weights.sum()
    return share


def _enter() -> None:
    def named(mode: str, exact: bool, antialias: bool):  # type: ignore[no-untyped-def]  # a converter
        def convert(b: GraphBuilder, output_size: Sequence[int] | None = None, input: Tensor = "", self: Tensor = "",
                    align_corners: bool = False, scale_factors: Sequence[float] | None = None,
                    scales: float | None = None, scales_d: float | None = None, scales_h: float | None = None,
                    scales_w: float | None = None) -> Tensor:
            factors = list(scale_factors or [s for s in (scales, scales_d, scales_h, scales_w) if s is not None])
            return resize(b, input or self, output_size, factors, mode, align_corners, exact, antialias)

        return convert

    for suffix in ("1d", "2d", "3d"):
        aten(f"upsample_nearest{suffix}")(named("nearest", False, False))
        aten(f"_upsample_nearest_exact{suffix}")(named("nearest", True, False))
    for name in ("linear1d", "bilinear2d", "trilinear3d"):
        aten(f"upsample_{name}")(named("linear", False, False))
    aten("upsample_bicubic2d")(named("cubic", False, False))
    aten("_upsample_bilinear2d_aa")(named("linear", False, True))
    aten("_upsample_bicubic2d_aa")(named("cubic", False, True))


_enter()


@aten("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(b: GraphBuilder, input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int,
                 align_corners: bool) -> Tensor:
    return b.op("GridSample", [input, grid], mode=_GRID_MODES[interpolation_mode],
                padding_mode=_GRID_EDGES[padding_mode], align_corners=int(align_corners))


@aten("affine_grid_generator")
def affine_grid(b: GraphBuilder, theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    return b.op("AffineGrid", [theta, ints(*size)], align_corners=int(align_corners))


@aten("max_unpool2d", "max_unpool3d")
def max_unpool(b: GraphBuilder, self: Tensor, indices: Tensor, output_size: Sequence[int],
               stride: Sequence[int] = (), padding: Sequence[int] = ()) -> Tensor:
    """Every value back to the place in its channel that it was the maximum of, zeros elsewhere."""
    count = len(output_size)
    if b.rank(self) not in (count + 1, count + 2):
        raise unsupported("max_unpool of such an operand", b.rank(self))
    alone = b.rank(self) == count + 1
    x, places = (unsqueeze(b, v, 0) if alone else v for v in (self, indices))
    n, c, *spatial = b.shape(x)
    plane = int(np.prod(output_size))
    flat = [b.op("Reshape", [v, ints(n, c, int(np.prod(spatial)))]) for v in (x, places)]
    found = b.op("ScatterElements", [filled(b, [n, c, plane], 0, b.dtype(x)), flat[1], flat[0]], axis=2)
    found = b.op("Reshape", [found, ints(n, c, *output_size)])
    return squeeze(b, found, 0) if alone else found
