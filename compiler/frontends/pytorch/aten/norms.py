"""Normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.reductions import reduced
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    aten,
    cast,
    numpy_type,
    reshape,
    tensor,
)


def _or_ones(b: GraphBuilder, weight: Tensor | None, shape: Sequence[int], dtype: str) -> Tensor:
    return weight or b.add(np.ones(tuple(shape), numpy_type(dtype)))


def _or_zeros(b: GraphBuilder, bias: Tensor | None, shape: Sequence[int], dtype: str) -> Tensor:
    return bias or b.add(np.zeros(tuple(shape), numpy_type(dtype)))


@aten("batch_norm")
def batch_norm(b: GraphBuilder, input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None,
               running_mean: Tensor | None = None, running_var: Tensor | None = None, training: bool = False,
               momentum: float = 0.1, eps: float = 1e-5, cudnn_enabled: bool = False) -> Tensor:
    dtype, channels = b.dtype(input), b.shape(input)[1:2]
    if training or running_mean is None or running_var is None:
        return _over_batch(b, input, weight, bias, eps)
    return b.op("BatchNormalization", [
        input, _or_ones(b, weight, channels, dtype), _or_zeros(b, bias, channels, dtype),
        cast(b, running_mean, dtype), cast(b, running_var, dtype)], epsilon=float(eps))


def _over_batch(b: GraphBuilder, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Batch normalisation without running statistics: those of this batch."""
    places = [d for d in range(b.rank(x)) if d != 1]
    return _affine(b, _standard(b, x, places, eps), weight, bias, [-1, *[1] * (b.rank(x) - 2)])


def _standard(b: GraphBuilder, x: Tensor, places: Sequence[int], eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps)."""
    apart = b.op("Sub", [x, reduced(b, "ReduceMean", x, list(places), True)])
    spread = reduced(b, "ReduceMean", b.op("Mul", [apart, apart]), list(places), True)
    return b.op("Div", [apart, b.op("Sqrt", [b.op("Add", [spread, tensor(b, eps, b.dtype(x))])])])


def _affine(b: GraphBuilder, x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    if weight:
        x = b.op("Mul", [x, reshape(b, weight, shape)])
    return b.op("Add", [x, reshape(b, bias, shape)]) if bias else x


@aten("_native_batch_norm_legit_no_training")
def native_batch_norm(b: GraphBuilder, input: Tensor, weight: Tensor | None, bias: Tensor | None,
                      running_mean: Tensor, running_var: Tensor, momentum: float = 0.1,
                      eps: float = 1e-5) -> list[Tensor | None]:
    return [batch_norm(b, input, weight, bias, running_mean, running_var, False, momentum, eps), None, None]


@aten("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "_batch_norm_no_update")
def native_batch_norm_any(b: GraphBuilder, input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None,
                          running_mean: Tensor | None = None, running_var: Tensor | None = None,
                          training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> list[Tensor | None]:
    return [batch_norm(b, input, weight, bias, running_mean, running_var, training, momentum, eps), None, None]


@aten("layer_norm")
def layer_norm(b: GraphBuilder, input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5, cudnn_enable: bool = False) -> Tensor:
    scale = _or_ones(b, weight, normalized_shape, b.dtype(input))
    return b.op("LayerNormalization", [input, scale, bias or ""], axis=-len(normalized_shape), epsilon=float(eps))


@aten("native_layer_norm")
def native_layer_norm(b: GraphBuilder, input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None,
                      bias: Tensor | None, eps: float) -> list[Tensor | None]:
    return [layer_norm(b, input, normalized_shape, weight, bias, eps), None, None]


@aten("rms_norm", "_fused_rms_norm")
def rms_norm(b: GraphBuilder, input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:
    least = float(np.finfo(np.float32).eps) if eps is None else float(eps)
    places = list(range(-len(normalized_shape), 0))
    power = reduced(b, "ReduceMean", b.op("Mul", [input, input]), places, True)
    found = b.op("Div", [input, b.op("Sqrt", [b.op("Add", [power, tensor(b, least, b.dtype(input))])])])
    return b.op("Mul", [found, weight]) if weight else found


@aten("group_norm")
def group_norm(b: GraphBuilder, input: Tensor, num_groups: int, weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5, cudnn_enabled: bool = True) -> Tensor:
    channels, dtype = b.shape(input)[1:2], b.dtype(input)
    return b.op("GroupNormalization", [input, _or_ones(b, weight, channels, dtype),
                                       _or_zeros(b, bias, channels, dtype)], num_groups=num_groups, epsilon=float(eps))


@aten("native_group_norm")
def native_group_norm(b: GraphBuilder, input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int,
                      HxW: int, group: int, eps: float) -> list[Tensor | None]:
    return [group_norm(b, input, group, weight, bias, eps), None, None]


@aten("instance_norm")
def instance_norm(b: GraphBuilder, input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None,
                  running_mean: Tensor | None = None, running_var: Tensor | None = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5, cudnn_enabled: bool = False) -> Tensor:
    if not use_input_stats:
        return batch_norm(b, input, weight, bias, running_mean, running_var, False, momentum, eps)
    channels, dtype = b.shape(input)[1:2], b.dtype(input)
    return b.op("InstanceNormalization", [input, _or_ones(b, weight, channels, dtype),
                                          _or_zeros(b, bias, channels, dtype)], epsilon=float(eps))
