"""Dense layers, embeddings, and what does nothing when a model is only used."""

from __future__ import annotations

import numpy as np

from compiler.frontends.keras.activations import activate
from compiler.frontends.keras.call import Call, Tensor
from compiler.frontends.keras.registry import layer
from compiler.frontends.onnx.types import tensor_type


@layer("Dense", variables="kernel bias?use_bias", masks=True)
def _dense(c: Call) -> str:
    y = dense(c, c.x, c.weight("kernel", c.shape[-1], c.config.integer("units")), c.optional("bias"))
    return activate(c, y, c.config.get("activation"))


def dense(c: Call, x: str, kernel: np.ndarray, bias: np.ndarray | None) -> str:
    """x (..., a) times kernel (a, b), plus bias (b)."""
    if c.b.rank(x) == 2 and bias is not None:
        return c.op("Gemm", [x, kernel, bias])
    y = c.op("MatMul", [x, kernel])
    return y if bias is None else c.op("Add", [y, bias])


@layer("EinsumDense", variables=lambda found: "kernel" + (" bias" if "bias_axes" in found.config else ""), masks=True)
def _einsum_dense(c: Call) -> str:
    y = einsum_dense(c, c.x, c.config.word("equation"), c.weight("kernel"), c.optional("bias"))
    return activate(c, y, c.config.get("activation"))


def einsum_dense(c: Call, x: str, equation: str, kernel: np.ndarray, bias: np.ndarray | None) -> str:
    """Einstein's sum of x and a kernel; as one product of matrices where what is summed over comes last in x.

    Args:
        equation: "abc,cde->abde". bias: broadcasts to the result.
    """
    left, _, result = equation.replace(" ", "").partition("->")
    data, _, weights = left.partition(",")
    summed = [k for k in data if k in weights and k not in result]
    kept = [k for k in weights if k not in summed]
    leading = [k for k in data if k not in summed]
    direct = (sorted(set(left)) and "." not in left and data.endswith("".join(summed)) and not set(kept) & set(leading)
              and result == "".join(leading) + "".join(kept) and kernel.ndim == len(weights))
    if not direct:
        y = c.op("Einsum", [x, kernel], equation=equation.replace(" ", ""))
    else:
        turned = kernel.transpose([weights.index(k) for k in summed + kept])
        shape, count = c.b.shape(x), len(summed)
        rows = int(np.prod(shape[len(shape) - count:]))
        if count > 1:
            x = reshaped(c, x, [*shape[: len(shape) - count], rows])
        y = c.op("MatMul", [x, turned.reshape(rows, -1)])
        if len(kept) != 1:
            y = reshaped(c, y, [*shape[: len(shape) - count], *turned.shape[count:]])
    return y if bias is None else c.op("Add", [y, bias])


def reshaped(c: Call, x: str, shape: list[int]) -> str:
    """x in another shape."""
    return c.op("Reshape", [x, np.array(shape, np.int64)])


def cast(c: Call, x: str, dtype: str) -> str:
    """x in another element type (numpy spelling)."""
    return x if c.b.dtype(x) == dtype else c.op("Cast", [x], to=tensor_type(dtype))


@layer("Embedding", variables="embeddings")
def _embedding(c: Call) -> Tensor:
    numbers = c.x if c.dtype in ("int32", "int64") else cast(c, c.x, "int32")
    y = c.op("Gather", [c.weight("embeddings", -1, -1), numbers], axis=0)
    return Tensor(y, _not_equal(c, numbers, 0) if c.config.flag("mask_zero") else "")


@layer("ReversibleEmbedding", variables=lambda found: "embeddings" if found.config.flag("tie_weights", True)
       else "embeddings reverse_embeddings")
def _reversible_embedding(c: Call) -> str | Tensor:
    reverse = c.kwargs.get("reverse", c.args[1] if len(c.args) > 1 else False)
    if not reverse:
        return _embedding(c)
    table = c.weight("embeddings").T if c.config.flag("tie_weights", True) else c.weight("reverse_embeddings")
    y = c.op("MatMul", [c.x, table])
    cap = c.config.real("logit_soft_cap", 0)
    return c.op("Mul", [c.op("Tanh", [c.op("Mul", [y, c.like(1 / cap, y)])]), c.like(cap, y)]) if cap else y


def _not_equal(c: Call, x: str, number: float) -> str:
    return c.op("Not", [c.op("Equal", [x, c.like(number, x)])])


@layer("Masking", masks=True)
def _masking(c: Call) -> Tensor:
    """Steps whose every number is `mask_value` are skipped by what follows, and zero."""
    other = cast(c, _not_equal(c, c.x, c.config.real("mask_value", 0)), "float32")
    any_ = c.op("ReduceMax", [other, np.array([-1])], keepdims=1)
    mask = cast(c, c.op("Squeeze", [any_, np.array([-1])]), "bool")
    return Tensor(c.op("Mul", [c.x, any_]), mask)




@layer("LayerScale", variables="gamma", masks=True)
def _layer_scale(c: Call) -> str:
    """A factor for every channel, as `keras.applications.convnext` has it."""
    return c.op("Mul", [c.x, c.weight("gamma", c.shape[-1])])


@layer("CustomScaleLayer")
def _scaled_sum(c: Call) -> str:
    """The residual sum of `keras.applications.inception_resnet_v2`."""
    a, b = (t.value for t in c.tensors)
    return c.op("Add", [a, c.op("Mul", [b, c.like(c.config.real("scale"), b)])])


@layer("ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "Identity",
       "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "StochasticDepth", masks=True)
def _identity(c: Call) -> str:
    """What only acts in training; keywords say `training=True` where a model insists on it."""
    acts = c.layer.kind not in ("Identity", "ActivityRegularization")
    if acts and c.kwargs.get("training") is True and not c.modern:  # Keras 3 overrides it in inference
        raise c.refuse("the layer is called with training=True, so that every result is another random one",
                       "build the model without training=True")
    return c.x
