"""Operators that TensorFlow's graph optimiser fuses: a product, a bias or batch norm, an activation."""
from __future__ import annotations

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.linear import product
from compiler.frontends.tensorflow.normalise import fused_batch_norm
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.values import Value
from compiler.frontends.tensorflow.windows import convolve, from_first, is_first, to_first

_ACTIVATIONS = ("Relu", "Elu", "Tanh", "Sigmoid", "Softplus")


@converter("_FusedConv2D", "_FusedDepthwiseConv2dNative")
def fused_conv(c: Call) -> str:
    """A convolution with what follows it."""
    return _followed(c, convolve(c, c.x(0), c.x(1), depthwise="Depthwise" in c.node.op))


@converter("_FusedMatMul")
def fused_mat_mul(c: Call) -> str:
    """A product with what follows it."""
    return _followed(c, product(c, c.x(0), c.x(1), c.flag("transpose_a"), c.flag("transpose_b")))


def _followed(c: Call, y: str) -> str:
    more = c.xs(2)
    for what in c.texts("fused_ops"):
        if what == "BiasAdd" and more:
            bias = more.pop(0)
            y = c.op("Add", [y, c.reshape(bias, [-1, 1, 1]) if is_first(c) and c.b.rank(y) == 4 else bias])
        elif what == "FusedBatchNorm" and len(more) >= 4:
            statistics, more = more[:4], more[4:]
            y = from_first(c, c.op("BatchNormalization", [to_first(c, y), *statistics],
                                   epsilon=c.real("epsilon", 1e-4)))
        elif what == "Add" and more:
            y = c.op("Add", [y, more.pop(0)])
        else:
            y = _activation(c, what, y)
    return y


def _activation(c: Call, what: str, y: str) -> str:
    if what in ("", "Identity"):
        return y
    if what == "Relu6":
        return c.op("Clip", [y, c.number(0, y), c.number(6, y)])
    if what == "LeakyRelu":
        return c.op("LeakyRelu", [y], alpha=c.real("leakyrelu_alpha", 0.2))
    if what in ("GeluExact", "GeluApproximate"):
        return c.op("Gelu", [y], approximate="none" if what == "GeluExact" else "tanh")
    if what not in _ACTIVATIONS:
        raise c.refuse(f"{what!r} fused into it")
    return c.op(what, [y])


@converter("_FusedBatchNormEx")
def fused_batch_norm_ex(c: Call) -> list[Value]:
    """Batch norm, a value added where there is one, and an activation."""
    y, *rest = fused_batch_norm(c)
    assert isinstance(y, str)
    if len(c) > 5:
        y = c.op("Add", [y, c.x(5)])
    return [_activation(c, c.text("activation_mode"), y), *rest]
