"""LSTMs over images: products with matrices are convolutions."""

from __future__ import annotations

import numpy as np

from compiler.frontends.keras.activations import activate
from compiler.frontends.keras.call import Call, Tensor, tensors
from compiler.frontends.keras.convolutions import convolved
from compiler.frontends.keras.core import reshaped
from compiler.frontends.keras.recurrent import Recurred, at, returned, unrolled
from compiler.frontends.keras.registry import layer


@layer("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", variables="cell/kernel cell/recurrent_kernel cell/bias?use_bias")
def _conv_lstm(c: Call) -> list[Tensor] | Tensor:
    return returned(c, conv_recur(c), c.config.flag("go_backwards"))


def conv_recur(c: Call, zeros: bool | None = None) -> Recurred:
    """Run the sequence of images (N, T, size..., C); results have the layer's data_format."""
    dims = int(c.layer.kind[-2])
    first = c.config.channels_first
    kernel = c.weight("cell/kernel", *[-1] * (dims + 2))
    recurrent = c.weight("cell/recurrent_kernel", *[-1] * (dims + 2))
    filters = recurrent.shape[-2]
    x = c.x if first else c.op("Transpose", [c.x], perm=[0, 1, dims + 2, *range(2, dims + 2)])
    batch, steps, *rest = c.b.shape(x)
    wide = convolved(c, reshaped(c, x, [batch * steps, *rest]), kernel, c.optional("cell/bias", 4 * filters))
    sizes = list(c.b.shape(wide)[2:])
    wide = reshaped(c, wide, [batch, steps, 4 * filters, *sizes])
    given = [t.value for t in tensors(c.kwargs.get("initial_state")) or c.tensors[1:]]
    if given and not first:
        given = [c.op("Transpose", [g], perm=[0, dims + 1, *range(1, dims + 1)]) for g in given]
    zero = c.b.add(np.broadcast_to(np.float32(0), (batch, filters, *sizes)))
    mask = tensors(c.kwargs.get("mask"))
    inner = Call(c.b, c.layer, [Tensor(wide)], {}, c.run)
    found = unrolled(inner, lambda k, states: _step(c, recurrent, at(inner, inner.x, k), *states),
                     given or [zero, zero], mask[0].value if mask else c.first.mask, zeros)
    return found if first else _last(c, found, dims)


def _step(c: Call, kernel: np.ndarray, given: str, h: str, memory: str) -> tuple[str, list[str]]:
    z = c.op("Add", [given, _same(c, h, kernel)])
    i, f, g, o = c.b.ops("Split", [z], 4, axis=1, num_outputs=4)
    gate, out = c.config.get("recurrent_activation", "hard_sigmoid"), c.config.get("activation", "tanh")
    i, f, o = (activate(c, v, gate) for v in (i, f, o))
    memory = c.op("Add", [c.op("Mul", [f, memory]), c.op("Mul", [i, activate(c, g, out)])])
    h = c.op("Mul", [o, activate(c, memory, out)])
    return h, [h, memory]


def _same(c: Call, h: str, kernel: np.ndarray) -> str:
    """The convolution of the state: strides and dilations of one, a result of the same size."""
    dims = kernel.ndim - 2
    size = kernel.shape[:dims]
    pads = [(k - 1) // 2 for k in size] + [k // 2 for k in size]
    return c.op("Conv", [h, kernel.transpose(dims + 1, dims, *range(dims))], kernel_shape=list(size), pads=pads)


def _last(c: Call, found: Recurred, dims: int) -> Recurred:
    def images(y: str) -> str:
        return c.op("Transpose", [y], perm=[0, *range(2, dims + 2), 1])

    sequence = found.sequence and c.op("Transpose", [found.sequence], perm=[0, 1, *range(3, dims + 3), 2])
    return Recurred(sequence, images(found.last), [images(s) for s in found.states])
