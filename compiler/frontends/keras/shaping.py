"""Layers that move numbers: flatten, reshape, permute, pad, crop, repeat, resize."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.keras.call import Call
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.convolutions import inside, outside
from compiler.frontends.keras.core import reshaped
from compiler.frontends.keras.registry import layer
from compiler.frontends.layout import channels_last


@layer("Flatten")
def _flatten(c: Call) -> str:
    x = channels_last(c.b, c.x) if c.config.channels_first and c.rank > 2 else c.x
    return reshaped(c, x, [c.shape[0], math.prod(c.shape[1:])])


@layer("Reshape")
def _reshape(c: Call) -> str:
    return reshaped(c, c.x, [c.shape[0], *_sizes(c, "target_shape")])


def _sizes(c: Call, key: str) -> list[int]:
    found = c.config.items(key)
    if not all(isinstance(f, int) and abs(f) < 2**62 for f in found):
        raise c.config.bad(key)
    return found


@layer("Permute")
def _permute(c: Call) -> str:
    perm = [0, *_sizes(c, "dims")]
    if sorted(perm) != list(range(c.rank)):
        raise c.config.bad("dims")
    return c.op("Transpose", [c.x], perm=perm)


@layer("RepeatVector")
def _repeat(c: Call) -> str:
    n = c.config.integer("n")
    return c.op("Expand", [c.op("Unsqueeze", [c.x, np.array([1])]), np.array([c.shape[0], n, *c.shape[1:]])])


def _amounts(c: Call, key: str) -> list[tuple[int, int]]:
    """(before, after) for each axis between batch and channels."""
    dims = int(c.layer.kind[-2])
    found = c.config.get(key)
    if dims == 1 and isinstance(found, list) and all(isinstance(f, int) for f in found):
        found = [found]
    pairs = found if isinstance(found, list) else [found] * dims
    pairs = [p if isinstance(p, list) else [p, p] for p in pairs]
    good = all(len(p) == 2 and all(isinstance(v, int) and 0 <= v < 2**31 for v in p) for p in pairs)
    if len(pairs) != dims or not good:
        raise c.config.bad(key)
    return [(p[0], p[1]) for p in pairs]


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def _zero_padding(c: Call) -> str:
    amounts = _amounts(c, "padding")
    pads = [0, 0, *(a for a, _ in amounts), 0, 0, *(b for _, b in amounts)]
    return outside(c, c.op("Pad", [inside(c, c.x), np.array(pads)]))


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def _cropping(c: Call) -> str:
    x = inside(c, c.x)
    amounts = _amounts(c, "cropping")
    ends = [n - b for n, (_, b) in zip(c.b.shape(x)[2:], amounts, strict=True)]
    if any(a >= e for (a, _), e in zip(amounts, ends, strict=True)):
        raise invalid("cropping leaves nothing", c.where, amounts)
    axes = np.arange(2, 2 + len(ends))
    return outside(c, c.op("Slice", [x, np.array([a for a, _ in amounts]), np.array(ends), axes]))


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def _up_sampling(c: Call) -> str:
    dims = int(c.layer.kind[-2])
    size = c.config.integers("size", dims, 2)
    x = inside(c, c.x)
    return outside(c, resized(c, x, [n * s for n, s in zip(c.b.shape(x)[2:], size, strict=True)],
                              c.config.word("interpolation", "nearest")))


def resized(c: Call, x: str, sizes: list[int], interpolation: str) -> str:
    """x (N, C, size...) with other sizes, as `tf.image.resize` does it without antialiasing. Raises: UnsupportedOp."""
    if min(sizes) < 1 or math.prod(sizes) > 1 << 32:
        raise invalid("an image is resized to no possible size", c.where, sizes)
    target = np.array([*c.b.shape(x)[:2], *sizes])
    # standalone Keras up to 2.2 calls TensorFlow 1's resize, whose pixels have no centres
    position = "asymmetric" if c.run.early else "half_pixel"
    if interpolation == "nearest":
        whole = all(n % o == 0 for n, o in zip(sizes, c.b.shape(x)[2:], strict=True))
        position = "asymmetric" if whole else position
        return c.op("Resize", [x, "", "", target], mode="nearest", coordinate_transformation_mode=position,
                    nearest_mode="floor" if position == "asymmetric" else "round_prefer_ceil")
    if interpolation == "bilinear":
        return c.op("Resize", [x, "", "", target], mode="linear", coordinate_transformation_mode=position)
    if interpolation == "bicubic":  # Keys (1981) with a = -0.5, weights outside the image left out
        return c.op("Resize", [x, "", "", target], mode="cubic", coordinate_transformation_mode="half_pixel",
                    cubic_coeff_a=-0.5, exclude_outside=1)
    raise c.refuse(f"the interpolation {interpolation[:30]!r} is not supported", "use nearest, bilinear or bicubic")
