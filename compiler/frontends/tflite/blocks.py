"""Blocks of an image as channels or as images of the batch, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.tflite import quantised
from compiler.frontends.tflite.convert import BUILTIN, Call, converter
from compiler.frontends.tflite.moving import int64, reshaped


@converter("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")
def _depth(c: Call) -> None:
    """The channels of a block are in order of row, column, channel of its elements."""
    block = int(c.option("block_size", 0))
    if block < 1:
        raise ModelError("the size of a block has to be 1 or more", code="TFLITE_OPERANDS", actual=block)
    more = {"mode": "DCR"} if c.op.type == "DEPTH_TO_SPACE" else {}
    kind = "DepthToSpace" if more else "SpaceToDepth"
    c.moved(0, lambda x: channels_last(c.b, c.b.op(kind, [channels_first(c.b, x)], blocksize=block, **more)))


@converter("SPACE_TO_BATCH_ND")
def _space_to_batch(c: Call) -> None:
    """Operands: value, block sizes, (axes, 2) padding. (N, blocks * size ...) -> (sizes * N, blocks ...)."""
    sizes = c.ints(1, "the size of blocks")
    pads = int64(c.ints(2, "the padding")).reshape(-1, 2)
    rank, axes = len(c.shape(0)), len(sizes)
    full = np.zeros((rank, 2), np.int64)
    full[1 : axes + 1] = pads

    def cut(x: str) -> str:
        if full.any():
            zero = quantised.zero_point(c.tensor(0)) if c.b.dtype(x) == c.tensor(0).dtype and quantised.is_quantised(
                c.tensor(0)) else 0
            x = c.b.op("Pad", [x, full.T.reshape(-1), np.array(zero, c.b.dtype(x))])
        batch, *rest = c.b.shape(x)
        if any(n % s for n, s in zip(rest, sizes)):
            raise ModelError("blocks do not fit the padded value", code="TFLITE_OPERANDS", limit=sizes, actual=rest)
        inner = [v for n, s in zip(rest, sizes) for v in (n // s, s)]
        x = reshaped(c, x, [batch, *inner, *rest[axes:]])
        perm = [*range(2, 2 * axes + 1, 2), 0, *range(1, 2 * axes + 1, 2), *range(2 * axes + 1, rank + axes)]
        shape = [batch * int(np.prod(sizes)), *(n // s for n, s in zip(rest, sizes)), *rest[axes:]]
        return reshaped(c, c.b.op("Transpose", [x], perm=perm), shape)

    c.moved(0, cut)


@converter("BATCH_TO_SPACE_ND")
def _batch_to_space(c: Call) -> None:
    """Operands: value, block sizes, (axes, 2) crops. Around a convolution the three are one with dilation."""
    sizes = c.ints(1, "the size of blocks")
    crops = int64(c.ints(2, "the crops")).reshape(-1, 2)
    if _dilated(c, sizes, crops):
        return
    (batch, *rest), axes = c.shape(0), len(sizes)
    images = batch // int(np.prod(sizes))

    def join(x: str) -> str:
        rank = len(rest) + 1
        x = reshaped(c, x, [*sizes, images, *rest])
        pairs = [v for k in range(axes) for v in (axes + 1 + k, k)]
        x = c.b.op("Transpose", [x], perm=[axes, *pairs, *range(2 * axes + 1, rank + axes)])
        full = [n * s for n, s in zip(rest, sizes)]
        x = reshaped(c, x, [images, *full, *rest[axes:]])
        if not crops.any():
            return x
        ends = [n - after for n, (_, after) in zip(full, crops.tolist())]
        return c.b.op("Slice", [x, crops[:, 0].copy(), int64(ends), int64(range(1, axes + 1))])

    c.moved(0, join)


def _dilated(c: Call, sizes: list[int], crops: np.ndarray) -> bool:
    """SPACE_TO_BATCH_ND, convolution, BATCH_TO_SPACE_ND as one convolution; False where it is something else.

    The converter joins them itself only where it finds the sizes plain enough.
    """
    conv = c.frame.makers.get(c.op.inputs[0])
    spread = c.frame.makers.get(conv.inputs[0]) if conv and conv.type in ("CONV_2D", "DEPTHWISE_CONV_2D") else None
    if conv is None or spread is None or spread.type != "SPACE_TO_BATCH_ND" or len(sizes) != 2:
        return False
    outer, inner = Call(c.frame, spread), Call(c.frame, conv)
    plain = {inner.option(f"{stem}_{axis}", 1) for stem, axis in (
        ("stride", "h"), ("stride", "w"), ("dilation", "h_factor"), ("dilation", "w_factor"))} == {1}
    pads = int64(outer.ints(2, "the padding")).reshape(-1, 2) - crops
    moves = (quantised.same_scale(outer.tensor(0), outer.result()), quantised.same_scale(c.tensor(0), c.result()))
    if not plain or inner.option("padding", 0) != 1 or outer.ints(1, "the size of blocks") != sizes \
            or (pads < 0).any() or not all(moves):
        return False
    options = {**conv.options, "dilation_h_factor": sizes[0], "dilation_w_factor": sizes[1],
               "pads": pads.T.ravel().tolist()}
    joined = replace(conv, inputs=(spread.inputs[0], *conv.inputs[1:]), outputs=c.op.outputs, options=options)
    BUILTIN[conv.type](Call(c.frame, joined))
    return True
