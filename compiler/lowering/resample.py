"""What Resize means along one axis: for every output index the input indices it reads, with their weights."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any

import numpy as np

Taps = list[tuple[int, float]]
WHOLE = 1e-3  # a scaled length this close to the result's size is that size, and the scale was rounded


@dataclass(frozen=True)
class Axis:
    """One resized axis: input size, output size, output / input scale, and the crop as fractions of the input."""

    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def resized_axes(attrs: dict[str, Any], before: Sequence[int], after: Sequence[int],
                 roi: Sequence[float] | None, scales: Sequence[float] | None,
                 sizes: Sequence[int] | None) -> dict[int, Axis]:
    """The axes that a Resize samples anew.

    Args:
        attrs: of the node. before, after: shapes. roi, scales, sizes: its operands, None where absent; one entry
            (roi: two) for each of `attrs["axes"]`, or for each axis.
    """
    rank = len(before)
    axes = [a % rank for a in attrs.get("axes") or range(rank)]
    if scales is not None and len(scales):
        factors = [float(s) for s in scales]
    else:
        assert sizes is not None
        factors = [n / before[a] for n, a in zip(sizes, axes, strict=True)]
        policy = attrs.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factors = [(min if policy == "not_larger" else max)(factors)] * len(axes)
    found = {a: Axis(before[a], after[a], f) for a, f in zip(axes, factors, strict=True)}
    if cropped(attrs):
        assert roi is not None
        n = len(axes)
        return {a: replace(found[a], start=float(roi[k]), end=float(roi[n + k])) for k, a in enumerate(axes)}
    return {a: axis for a, axis in found.items() if axis.size != axis.out or axis.scale != 1.0}


def cropped(attrs: dict[str, Any]) -> bool:
    """Whether the node reads its `roi`."""
    return attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"


def axis_taps(attrs: dict[str, Any], axis: Axis) -> list[Taps | None]:
    """Per output index the (input index, weight) pairs; None where it lies outside a crop's input."""
    mode = attrs.get("mode", "nearest")
    where = attrs.get("coordinate_transformation_mode", "half_pixel")
    # float32 as in ONNX Runtime, so that ties fall the same way; weights do without its noise
    kind = np.float32 if mode == "nearest" else np.float64
    taps: list[Taps | None] = []
    for o in range(axis.out):
        x = float(_coordinate(where, kind(o), axis, kind))
        outside = cropped(attrs) and not 0 <= x <= axis.size - 1
        taps.append(None if outside else _merged(_pairs(attrs, mode, x, axis), axis.size))
    return taps


def _merged(pairs: Taps, size: int) -> Taps:
    """Indices beyond the border read the border; equal ones are added, zero weights dropped."""
    merged: dict[int, float] = {}
    for i, w in pairs:
        i = min(max(i, 0), size - 1)
        merged[i] = merged.get(i, 0.0) + w
    return [(i, w) for i, w in sorted(merged.items()) if w != 0.0]


def _coordinate(mode: str, o: Any, axis: Axis, kind: type[np.floating]) -> Any:
    """Input coordinate of output index `o`, computed in the type `kind`."""
    size, out, scale, start, end = (kind(v) for v in (axis.size, axis.out, axis.scale, axis.start, axis.end))
    half = kind(0.5)
    if mode == "asymmetric":
        return o / scale
    if mode == "align_corners":  # the corner of the scaled length, which the result's size may have cut
        length = out if abs(scale * size - out) < WHOLE else scale * size
        return o * 0 if length == 1 else o * (size - 1) / (length - 1)
    if mode == "tf_crop_and_resize":
        if out == 1:
            return half * (start + end) * (size - 1)
        return start * (size - 1) + o * (end - start) * (size - 1) / (out - 1)
    if mode == "pytorch_half_pixel" and out == 1:
        return o * 0
    if mode == "half_pixel_symmetric":
        adjust = out / (scale * size)
        return size / 2 * (1 - adjust) + (o + half) / scale - half
    return (o + half) / scale - half


def _pairs(attrs: dict[str, Any], mode: str, x: float, axis: Axis) -> Taps:
    if mode == "nearest":
        return [(_nearest(attrs.get("nearest_mode", "round_prefer_floor"), x), 1.0)]
    shrink = min(axis.scale, 1.0) if attrs.get("antialias") else 1.0
    reach = 1 if mode == "linear" else 2
    base = floor(x)
    # when shrinking with antialias the kernel is stretched over 1 / scale as many inputs
    first = base + floor(-reach / shrink) + 1
    count = 2 * (base - first + 1)
    a = float(attrs.get("cubic_coeff_a", -0.75))
    pairs = []
    for i in range(first, first + count):
        t = abs(i - x) * shrink
        pairs.append((i, max(0.0, 1.0 - t) if mode == "linear" else _cubic(t, a)))
    if attrs.get("exclude_outside"):
        pairs = [(i, w) for i, w in pairs if 0 <= i < axis.size]
    total = sum(w for _, w in pairs)
    return [(i, w / total) for i, w in pairs]


def _nearest(mode: str, x: float) -> int:
    if mode == "floor":
        return floor(x)
    if mode == "ceil":
        return -floor(-x)
    if mode == "round_prefer_ceil":
        return floor(x + 0.5)
    return floor(x) if x - floor(x) <= 0.5 else floor(x) + 1


def _cubic(t: float, a: float) -> float:
    """The cubic convolution kernel at distance t >= 0."""
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def groups(taps: list[Taps]) -> list[tuple[int, int, int, int, Taps]]:
    """Output indices start, start+step, ... (count) with equal weights whose inputs advance by `advance`.

    One set of instructions does for all of them.

    Returns: (start, step, count, advance, taps of the first).
    """
    left = set(range(len(taps)))
    out = []
    while left:
        start = min(left)
        best = (start, 1, 1, 0)
        for step in range(1, min(9, len(taps))):
            advance = _advance(taps, start, start + step) if start + step in left else None
            if advance is None:
                continue
            count = 2
            while (nxt := start + count * step) in left and _advance(taps, nxt - step, nxt) == advance:
                count += 1
            if count > best[2]:
                best = (start, step, count, advance)
        left -= set(range(best[0], best[0] + best[1] * best[2], best[1]))
        out.append((*best, taps[start]))
    return out


def _advance(taps: list[Taps], a: int, b: int) -> int | None:
    """How far all inputs move from output `a` to output `b`; None when the weights differ."""
    if len(taps[a]) != len(taps[b]):
        return None
    moves = {j - i for (i, _), (j, _) in zip(taps[a], taps[b], strict=True)}
    same = all(np.float32(u) == np.float32(v) for (_, u), (_, v) in zip(taps[a], taps[b], strict=True))
    return moves.pop() if same and len(moves) == 1 else None
