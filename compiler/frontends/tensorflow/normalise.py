"""Batch normalisation, local response normalisation, bias."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.values import Value
from compiler.frontends.tensorflow.windows import from_first, is_first, to_first


@converter("BiasAdd", "BiasAddV1")
def bias_add(c: Call) -> str:
    """One number for each channel."""
    x, bias = c.xs(0, 2)
    if is_first(c):
        bias = c.reshape(bias, [c.shape(1)[0]] + [1] * (c.rank() - 2))
    return c.op("Add", [x, bias])


@converter("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def fused_batch_norm(c: Call) -> list[Value]:
    """With given statistics, or (is_training) with those of the batch itself."""
    x, scale, offset, mean, variance = c.xs(0, 5)
    epsilon = c.real("epsilon", 1e-4)
    if not c.flag("is_training", True):
        y = c.op("BatchNormalization", [to_first(c, x), scale, offset, mean, variance], epsilon=epsilon)
        return [from_first(c, y), mean, variance, mean, variance, mean]
    return _by_batch(c, epsilon)


def _by_batch(c: Call, epsilon: float) -> list[Value]:
    """Statistics of the batch; the second result has the sample variance, as TensorFlow returns it."""
    x, scale, offset = c.xs(0, 3)
    channel = 1 if is_first(c) else c.rank() - 1
    others = np.array([k for k in range(c.rank()) if k != channel])
    shape = [-1 if k == channel else 1 for k in range(c.rank())]
    mean = c.op("ReduceMean", [x, others], keepdims=1)
    centred = c.op("Sub", [x, mean])
    variance = c.op("ReduceMean", [c.op("Mul", [centred, centred]), others], keepdims=1)
    spread = c.op("Sqrt", [c.op("Add", [variance, c.number(epsilon, variance)])])
    scaled = c.op("Mul", [c.op("Div", [centred, spread]), c.reshape(scale, shape)])
    y = c.op("Add", [scaled, c.reshape(offset, shape)])
    count = int(np.prod([c.shape()[k] for k in others]))
    mean, variance = c.reshape(mean, [-1]), c.reshape(variance, [-1])
    sample = c.op("Mul", [variance, c.number(count / max(count - 1, 1), variance)])
    return [y, mean, sample, mean, variance, variance]


@converter("BatchNormWithGlobalNormalization")
def batch_norm_with_global_normalization(c: Call) -> str:
    """The oldest form: operands are value, mean, variance, offset, scale; channels last."""
    x, mean, variance, offset, scale = c.xs(0, 5)
    if not c.flag("scale_after_normalization", True):
        scale = c.b.add(np.ones(c.shape(1), np.float32))
    y = c.op("BatchNormalization", [to_first(c, x), scale, offset, mean, variance],
             epsilon=c.real("variance_epsilon", 1e-3))
    return from_first(c, y)


@converter("LRN")
def lrn(c: Call) -> str:
    """Local response normalisation; TensorFlow multiplies alpha into the sum, ONNX into the mean."""
    size = 2 * c.whole("depth_radius", 5) + 1
    y = c.op("LRN", [to_first(c, c.x())], size=size, alpha=c.real("alpha", 1.0) * size, beta=c.real("beta", 0.5),
             bias=c.real("bias", 1.0))
    return from_first(c, y)
