"""Space moved into the batch and back, and the dilated convolutions that TensorFlow 1 wrote with them."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.scope import data_inputs
from compiler.frontends.tensorflow.slicing import padded
from compiler.frontends.tensorflow.windows import convolve

_CONVS = ("Conv2D", "DepthwiseConv2dNative", "Conv3D")


@converter("SpaceToBatchND", "SpaceToBatch")
def space_to_batch(c: Call) -> str:
    """Pixels of every block become examples of their own, after padding."""
    block, pads = _block(c)
    n = len(block)
    pairs = np.zeros((c.rank(), 2), np.int64)
    pairs[1 : n + 1] = pads
    x = padded(c, c.x(), pairs, "constant")
    batch, *sizes = c.b.shape(x)
    if any(s % b for s, b in zip(sizes, block, strict=False)):
        raise c.refuse(f"sizes {sizes[:n]} that are no multiples of {block}")
    inner = [d for s, b in zip(sizes[:n], block, strict=True) for d in (s // b, b)]
    split = c.reshape(x, [batch, *inner, *sizes[n:]])
    rest = range(2 * n + 1, 2 * n + 1 + len(sizes) - n)
    turned = c.transpose(split, [*range(2, 2 * n + 1, 2), 0, *range(1, 2 * n + 1, 2), *rest])
    return c.reshape(turned, [batch * prod(block), *(s // b for s, b in zip(sizes[:n], block, strict=True)),
                              *sizes[n:]])


@converter("BatchToSpaceND", "BatchToSpace")
def batch_to_space(c: Call) -> str:
    """The way back, then cropped. Around a convolution the three are one convolution with dilation."""
    block, crops = _block(c)
    dilated = _dilated(c, block, crops)
    if dilated:
        return dilated
    n = len(block)
    batch, *sizes = c.shape()
    split = c.reshape(c.x(), [*block, batch // prod(block), *sizes])
    order = [n, *(k for a in range(n) for k in (n + 1 + a, a)), *range(2 * n + 1, n + 1 + len(sizes))]
    grown = [s * b for s, b in zip(sizes[:n], block, strict=True)]
    whole = c.reshape(c.transpose(split, order), [batch // prod(block), *grown, *sizes[n:]])
    if not crops.any():
        return whole
    ends = [g - int(e) for g, (_, e) in zip(grown, crops, strict=True)]
    return c.op("Slice", [whole, crops[:, 0].astype(np.int64), np.array(ends), np.arange(1, n + 1)])


def _block(c: Call) -> tuple[list[int], np.ndarray]:
    if c.node.op.endswith("ND"):
        block, found = c.ints(1), c.const(2)
    else:
        block, found = [c.whole("block_size", 1)] * 2, c.const(1)
    if not block or len(block) > c.rank() - 1 or min(block) < 1 or found.size != 2 * len(block):
        raise c.refuse(f"blocks of {block} in {c.rank()} dimensions")
    return block, found.reshape(-1, 2)


def _dilated(c: Call, block: list[int], crops: np.ndarray) -> str:
    """SpaceToBatch, Conv, BatchToSpace as one convolution; "" where the nodes before are others."""
    conv = _before(c, c.node)
    spread = _before(c, conv) if conv is not None and conv.op in _CONVS else None
    if spread is None or conv is None or spread.op != "SpaceToBatchND":
        return ""
    inner = Call(c.importer, c.scope, conv, [c.scope.value(r) for r in data_inputs(conv)])
    outer = Call(c.importer, c.scope, spread, [c.scope.value(r) for r in data_inputs(spread)])
    if set(inner.numbers("strides")) != {1} or set(inner.numbers("dilations")) - {1} \
            or inner.text("padding") != "VALID" or outer.ints(1) != block or outer.rank() - 2 != len(block):
        return ""
    pads = outer.const(2).reshape(-1, 2) - crops
    if (pads < 0).any():
        return ""
    return convolve(inner, outer.x(), inner.x(1), conv.op.startswith("Depthwise"),
                    [int(v) for v in pads.T.reshape(-1)], block)


def _before(c: Call, node: Any) -> Any:
    """The node that computes the first input of another one, in the same scope."""
    refs = data_inputs(node)
    return c.scope.nodes.get(refs[0].partition(":")[0]) if refs else None
