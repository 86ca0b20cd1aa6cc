"""Normalisation: over the batch's stored statistics, layers, groups, instances, lengths and neighbouring channels."""

from __future__ import annotations

import numpy as np

from compiler.frontends.mxnet.call import Call, operator

_STATISTICS = ("data", "gamma", "beta", "moving_mean", "moving_var")


@operator("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm", "_contrib_SyncBatchNorm", "_contrib_BatchNormWithReLU",
          "_npx_batch_norm", roles=_STATISTICS, outputs=("output", "mean", "var"))
def batch_norm(c: Call) -> list[str]:
    """With the moving statistics, which is what inference does whatever `use_global_stats` says."""
    gamma = c[1]
    if c.flag("fix_gamma", True):
        gamma = c.b.add(np.ones(c.shape(1), c.like(gamma, 1).dtype))
    axis, rank = c.axis("axis", 1), c.rank()
    c.channels(c.shape()[axis], c.shape(1)[0])
    there = [a for a in range(rank) if a != axis]
    there.insert(1, axis)
    x = c.transpose(c.x, there)
    found = c.do("BatchNormalization", x, gamma, c[2], c[3], c[4], epsilon=c.real("eps", 1e-3))
    if c.op == "_contrib_BatchNormWithReLU":
        found = c.do("Relu", found)
    return [c.transpose(found, list(np.argsort(there))), c[3], c[4]]


@operator("LayerNorm", "_npx_layer_norm", roles=("data", "gamma", "beta"), outputs=("output", "mean", "std"))
def _layer_norm(c: Call) -> list[str]:
    axis, rank = c.axis("axis", -1), c.rank()
    back = [*range(axis), *range(axis + 1, rank), axis]
    x, epsilon = c.transpose(c.x, back), c.real("eps", 1e-5)
    found = c.do("LayerNormalization", x, c[1], c[2], axis=-1, epsilon=epsilon)
    results = [c.transpose(found, list(np.argsort(back)))]
    if not c.flag("output_mean_var"):
        return results
    axes = np.array([axis])
    mean = c.do("ReduceMean", c.x, axes)
    off = c.do("Sub", c.x, mean)
    variance = c.do("ReduceMean", c.do("Mul", off, off), axes)
    return [*results, mean, c.do("Sqrt", c.do("Add", variance, c.like(c.x, epsilon)))]


@operator("GroupNorm", roles=("data", "gamma", "beta"), outputs=("output", "mean", "std"))
def group_norm(c: Call) -> str:
    """Scale and shift are of each group until MXNet 1.9, of each channel later."""
    groups, channels = c.integer("num_groups", 1), c.shape()[1]
    if groups < 1 or channels % groups:
        raise c.wrong("num_groups", groups, f"a divisor of {channels}")
    scale, shift = (_each(c, v, channels) for v in (c[1], c[2]))
    return c.do("GroupNormalization", c.x, scale, shift, num_groups=groups, epsilon=c.real("eps", 1e-5))


def _each(c: Call, value: str, channels: int) -> str:
    count = c.shape(value)[0]
    if count == channels:
        return value
    return c.reshape(c.do("Expand", c.reshape(value, [count, 1]), np.array([count, channels // count])), [channels])


@operator("InstanceNorm", roles=("data", "gamma", "beta"), outputs=("output", "mean", "var"))
def _instance_norm(c: Call) -> str:
    return c.do("InstanceNormalization", c.x, c[1], c[2], epsilon=c.real("eps", 1e-3))


@operator("L2Normalization", outputs=("output", "norm"))
def _l2_normalization(c: Call) -> str:
    mode, rank = c.text("mode", "instance", ("instance", "channel", "spatial")), c.rank()
    axes = {"instance": range(1, rank), "channel": range(1, 2), "spatial": range(2, rank)}[mode]
    total = c.do("ReduceSum", c.do("Mul", c.x, c.x), np.array(axes))
    return c.do("Div", c.x, c.do("Sqrt", c.do("Add", total, c.like(c.x, c.real("eps", 1e-10)))))


@operator("LRN", outputs=("output", "tmp_norm"))
def _lrn(c: Call) -> str:
    return c.do("LRN", c.x, size=c.integer("nsize"), alpha=c.real("alpha", 1e-4), beta=c.real("beta", 0.75),
                bias=c.real("knorm", 2.0))
