"""Normalisations, with statistics that were learned or are computed."""

from __future__ import annotations

import numpy as np

from compiler.frontends.keras.call import Call
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.core import cast
from compiler.frontends.keras.merging import normalised
from compiler.frontends.keras.network import Layer
from compiler.frontends.keras.registry import layer
from compiler.frontends.layout import channels_last


@layer("BatchNormalization", "SyncBatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2",
       variables="gamma?scale beta?center | moving_mean moving_variance", masks=True)
def _batch_normalization(c: Call) -> str:
    axis = c.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if not isinstance(axis, int):
        raise c.refuse("statistics over several axes at once")
    axis, rank = c.positive(axis), c.rank
    if c.kwargs.get("training") is True and not c.modern:
        raise c.refuse("the layer is called with training=True, so that results depend on the batch",
                       "build the model without training=True")
    mean = c.weight("moving_mean", c.shape[axis])
    gamma, beta = c.optional("gamma", mean.size), c.optional("beta", mean.size)
    operands = [np.ones_like(mean) if gamma is None else gamma, np.zeros_like(mean) if beta is None else beta, mean,
                c.weight("moving_variance", mean.size)]
    perm = [0, axis, *(k for k in range(1, rank) if k != axis)]
    last = axis == rank - 1 > 1
    x = c.x if axis == 1 else inside_last(c) if last else c.op("Transpose", [c.x], perm=perm)
    y = c.op("BatchNormalization", [x, *operands], epsilon=c.config.real("epsilon", 1e-3))
    if axis == 1:
        return y
    return channels_last(c.b, y) if last else c.op("Transpose", [y], perm=[perm.index(k) for k in range(rank)])


def inside_last(c: Call) -> str:
    """The first tensor, whose channels come last, with channels right after the batch."""
    from compiler.frontends.layout import channels_first

    return channels_first(c.b, c.x)


def _axes(c: Call, default: int = -1) -> list[int]:
    found = c.config.get("axis", default)
    found = found if isinstance(found, list) else [found]
    if not found or not all(isinstance(a, int) for a in found):
        raise c.config.bad("axis")
    return sorted({c.positive(a) for a in found})


def _spread(c: Call, array: np.ndarray, axes: list[int]) -> np.ndarray:
    """An array over some axes so that it broadcasts to the first tensor."""
    shape = [c.shape[k] if k in axes else 1 for k in range(c.rank)]
    if array.size != np.prod(shape):
        raise invalid("a weight does not fit its layer", c.where, array.shape)
    return array.reshape(shape)


@layer("LayerNormalization", masks=True, variables=lambda found: "gamma" if found.config.flag("rms_scaling") else
       " ".join(n for n, f in (("gamma", "scale"), ("beta", "center")) if found.config.flag(f, True)))
def _layer_normalization(c: Call) -> str:
    axes, rank, epsilon = _axes(c), c.rank, c.config.real("epsilon", 1e-3)
    gamma, beta = c.optional("gamma"), c.optional("beta")
    if c.config.flag("rms_scaling"):
        mean = c.op("ReduceMean", [c.x, np.array(axes)], keepdims=1)
        away = c.op("Sub", [c.x, mean])
        variance = c.op("ReduceMean", [c.op("Mul", [away, away]), np.array(axes)], keepdims=1)
        return _scaled(c, _over_root(c, c.x, variance, epsilon), gamma, None, axes)
    perm = [*(k for k in range(rank) if k not in axes), *axes]
    moved = perm != list(range(rank))
    sizes = [c.shape[k] for k in axes]
    operands = [(np.ones(sizes, np.float32) if gamma is None else gamma.reshape(sizes)).astype(c.dtype),
                *([] if beta is None else [beta.reshape(sizes).astype(c.dtype)])]
    y = c.op("LayerNormalization", [c.op("Transpose", [c.x], perm=perm) if moved else c.x, *operands],
             axis=rank - len(axes), epsilon=epsilon)
    return c.op("Transpose", [y], perm=[perm.index(k) for k in range(rank)]) if moved else y


def _over_root(c: Call, x: str, square: str, epsilon: float) -> str:
    return c.op("Div", [x, c.op("Sqrt", [c.op("Add", [square, c.like(epsilon, x)])])])


def _scaled(c: Call, y: str, gamma: np.ndarray | None, beta: np.ndarray | None, axes: list[int]) -> str:
    if gamma is not None:
        y = c.op("Mul", [y, _spread(c, gamma, axes)])
    return y if beta is None else c.op("Add", [y, _spread(c, beta, axes)])


@layer("RMSNormalization", variables="scale", masks=True)
def _rms_normalization(c: Call) -> str:
    axes, epsilon = _axes(c), c.config.real("epsilon", 1e-6)
    scale = c.weight("scale")
    square = c.op("ReduceMean", [c.op("Mul", [c.x, c.x]), np.array(axes)], keepdims=1)
    return _scaled(c, _over_root(c, c.x, square, epsilon), scale, None, axes)


@layer("GroupNormalization", variables="gamma?scale beta?center", masks=True)
def _group_normalization(c: Call) -> str:
    axis, rank = c.axis(), c.rank
    channels = c.shape[axis]
    groups = c.config.integer("groups", 32)
    groups = channels if groups == -1 else groups
    if groups < 1 or channels % groups:
        raise invalid("the channels do not make up whole groups", c.where, channels, groups)
    gamma, beta = c.optional("gamma", channels), c.optional("beta", channels)
    perm = [0, axis, *(k for k in range(1, rank) if k != axis)]
    x = c.x if axis == 1 else inside_last(c) if axis == rank - 1 > 1 else c.op("Transpose", [c.x], perm=perm)
    y = c.op("GroupNormalization", [x, np.ones(channels, np.float32) if gamma is None else gamma,
                                    np.zeros(channels, np.float32) if beta is None else beta],
             num_groups=groups, epsilon=c.config.real("epsilon", 1e-3))
    if axis == 1:
        return y
    return channels_last(c.b, y) if axis == rank - 1 else c.op("Transpose", [y],
                                                                perm=[perm.index(k) for k in range(rank)])


@layer("UnitNormalization", masks=True)
def _unit_normalization(c: Call) -> str:
    return normalised(c, c.x, _axes(c))


def _adapted(found: Layer) -> str:
    return "" if "mean" in found.config else "| mean variance count"


@layer("Normalization", variables=_adapted, masks=True)
def _normalization(c: Call) -> str:
    """(x - mean) / sqrt(variance), with statistics of a data set that lie in the file."""
    axis = c.config.values.get("axis", -1)
    found = [] if axis is None else axis if isinstance(axis, list) else [axis]
    axes = sorted(c.positive(a) for a in found if isinstance(a, int))
    mean, variance = (c.weight(k) if k in c.layer.weights else _numbers(c, k) for k in ("mean", "variance"))
    if mean.size == 1:
        mean, variance = mean.reshape([1] * c.rank), variance.reshape([1] * c.rank)
    else:
        mean, variance = _spread(c, mean, axes), _spread(c, variance, axes)
    deviation = np.maximum(np.sqrt(variance), 1e-7).astype(np.float32)
    x = cast(c, c.x, "float32")
    if c.config.flag("invert"):
        return c.op("Add", [c.op("Mul", [x, deviation]), mean.astype(np.float32)])
    return c.op("Mul", [c.op("Sub", [x, mean.astype(np.float32)]), (1 / deviation).astype(np.float32)])


def _numbers(c: Call, key: str) -> np.ndarray:
    found = c.config.get(key)
    if isinstance(found, dict):
        found = found.get("config", {}).get("value") if isinstance(found.get("config"), dict) else None
    try:
        return np.asarray(found, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise c.config.bad(key) from None


@layer("SpectralNormalization", variables="| vector_u", masks=True)
def _spectral_normalization(c: Call) -> str:
    """The kernel in the file is normalised already: the wrapper does so in training alone."""
    return str(c.run.apply(c.layer.parts["layer"], [c.first]).value)


@layer("Rescaling", masks=True)
def _rescaling(c: Call) -> str:
    x = cast(c, c.x, "float32")
    scale, offset = (_numbers(c, k) if k in c.config else np.float32(d) for k, d in (("scale", 1.0), ("offset", 0.0)))
    y = c.op("Mul", [x, scale])
    return c.op("Add", [y, offset]) if np.any(offset) else y
