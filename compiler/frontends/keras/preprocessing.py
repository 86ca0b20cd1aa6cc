"""Preprocessing that is part of a model: images, numbers into classes, and what acts in training alone."""

from __future__ import annotations

import numpy as np

from compiler.frontends.keras.call import Call
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.convolutions import inside, outside
from compiler.frontends.keras.core import cast, reshaped
from compiler.frontends.keras.registry import layer
from compiler.frontends.keras.shaping import resized


@layer("AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter",
       "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur",
       "RandomGrayscale", "RandomHeight", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization",
       "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomWidth",
       "RandomZoom", masks=True)
def _augmentation(c: Call) -> str:
    """Nothing: that a call says `training=True` is Keras 3's default for these layers, which inference overrides."""
    return cast(c, c.x, "float32")


@layer("Resizing")
def _resizing(c: Call) -> str:
    if any(c.config.flag(k) for k in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias")):
        raise c.refuse("resizing that crops, pads or smooths is not supported",
                       "use Resizing without crop_to_aspect_ratio, pad_to_aspect_ratio and antialias")
    return _resized(c)


def _resized(c: Call) -> str:
    x = inside(c, cast(c, c.x, "float32"))
    size = [c.config.integer("height"), c.config.integer("width")]
    return outside(c, resized(c, x, size, c.config.word("interpolation", "bilinear")))


@layer("CenterCrop", "RandomCrop")
def _center_crop(c: Call) -> str:
    x = inside(c, cast(c, c.x, "float32"))
    size = [c.config.integer("height"), c.config.integer("width")]
    have = c.b.shape(x)[2:]
    if len(have) != 2 or any(h < s or s < 1 for h, s in zip(have, size, strict=True)):
        raise c.refuse("a crop larger than its image is resized first, which is not supported",
                       "put a Resizing layer before it")
    if c.layer.kind == "RandomCrop" and list(have) != size:
        raise c.refuse("a RandomCrop resizes outside of training, which is not supported", "use CenterCrop or Resizing")
    starts = [(h - s) // 2 for h, s in zip(have, size, strict=True)]
    ends = [a + s for a, s in zip(starts, size, strict=True)]
    return outside(c, c.op("Slice", [x, np.array(starts), np.array(ends), np.array([2, 3])]))


@layer("CategoryEncoding")
def _category_encoding(c: Call) -> str:
    if len(c.args) > 1 or c.kwargs.get("count_weights") is not None:
        raise c.refuse("counts with weights are not supported")
    return encoded(c, c.x, c.config.word("output_mode", "multi_hot"), c.config.integer("num_tokens"))


def encoded(c: Call, numbers: str, mode: str, depth: int) -> str:
    """Whole numbers below `depth` as they are, as rows with a one, or as rows that say which or how many occur."""
    if mode == "int":
        return cast(c, numbers, "int64")
    if mode not in ("one_hot", "multi_hot", "count") or not 1 <= depth < 1 << 31:
        raise c.refuse(f"the output_mode {mode[:30]!r} is not supported", "use int, one_hot, multi_hot or count")
    shape = c.b.shape(numbers)
    if mode == "one_hot" and shape and shape[-1] == 1:
        numbers = reshaped(c, numbers, list(shape[:-1]))
    if mode != "one_hot" and len(shape) == 1:
        numbers = c.op("Unsqueeze", [numbers, np.array([1])])
    rows = c.op("OneHot", [cast(c, numbers, "int64"), np.int64(depth), np.array([0, 1], np.float32)], axis=-1)
    if mode == "one_hot":
        return rows
    axis = np.array([c.b.rank(rows) - 2])
    return c.op("ReduceMax" if mode == "multi_hot" else "ReduceSum", [rows, axis], keepdims=0)


@layer("Discretization")
def _discretization(c: Call) -> str:
    """The number of the range that x falls into: how many bounds are not above it."""
    found = c.config.get("bin_boundaries")
    if not isinstance(found, list) or not all(isinstance(f, int | float) for f in found):
        raise invalid("a Discretization has no boundaries", c.where, repr(found)[:80])
    x = c.op("Unsqueeze", [cast(c, c.x, "float32"), np.array([c.rank])])
    above = cast(c, c.op("GreaterOrEqual", [x, np.sort(np.array(found, np.float32))]), "float32")
    count = cast(c, c.op("ReduceSum", [above, np.array([c.rank])], keepdims=0), "int64")
    y = encoded(c, count, c.config.word("output_mode", "int"), len(found) + 1)
    return cast(c, y, "int32") if c.modern and c.b.dtype(y) == "int64" else y


@layer("IntegerLookup")
def _integer_lookup(c: Call) -> str:
    """Places in a vocabulary: after the mask's, if there is one, and that of all unknown numbers."""
    words = c.config.get("vocabulary")
    unknown = c.config.integer("num_oov_indices", 1)
    if not isinstance(words, list) or not words or not all(isinstance(w, int) and abs(w) < 2**63 for w in words):
        raise c.refuse("a vocabulary that lies outside of the configuration is not supported",
                       "give IntegerLookup(vocabulary=[...])")
    if unknown > 1 or c.config.flag("invert"):
        raise c.refuse("several places for unknown numbers, or the inverse look-up, are not supported",
                       "use num_oov_indices=1 and invert=False")
    keys, values = list(words), list(range(len(words)))
    mask = c.config.get("mask_token")
    shift = unknown + (mask is not None)
    if mask in keys:
        keys.remove(mask)
        values.pop()
    values = [v + shift for v in values]
    if mask is not None:
        keys, values = [*keys, int(mask)], [*values, 0]
    found = c.b.op("LabelEncoder", [cast(c, c.x, "int64")], domain="ai.onnx.ml", keys_int64s=keys, values_int64s=values,
                   default_int64=shift - 1 if unknown else -1)
    y = encoded(c, found, c.config.word("output_mode", "int"), len(words) + shift)
    return cast(c, y, "int64") if c.modern else y
