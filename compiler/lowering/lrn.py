"""Local response normalisation: the window over channels is a band matrix on the PE."""
from __future__ import annotations

import numpy as np

from compiler.ir import Graph, Node
from compiler.lowering.context import Context
from compiler.lowering.mix import mix_channels
from compiler.lowering.move import addressable, apply, copy, like
from compiler.lowering.operand import result
from compiler.lowering.transpose import relayout
from isa.lang import View
from isa.target import Target


def lrn_condition(graph: Graph, node: Node, target: Target) -> str:
    """Channels need an axis."""
    return "" if len(graph.shape(node.inputs[0])) > 1 else "an LRN of a vector has no channels"


def lower_lrn(ctx: Context, node: Node) -> None:
    """y = x * (bias + alpha / size * sum of squares over `size` neighbouring channels) ^ -beta."""
    name = node.output
    box = ctx.windows.get(name, {})
    x = ctx.part(node.inputs[0], box)
    x = addressable(ctx, relayout(ctx, x, (1,)))
    size, alpha = int(node.attrs["size"]), float(node.attrs.get("alpha", 1e-4))
    beta, bias = float(node.attrs.get("beta", 0.75)), float(node.attrs.get("bias", 1.0))
    squares = like(ctx, x, ctx.precision.matmul("fp32"), "squares")
    p = ctx.program

    def square(dst: View, src: list[View], n: int) -> None:
        ctx.charge("scalar", n / ctx.target.engines["scalar"].clock_ghz)
        p.activation(dst, src[0], "square")

    apply(ctx, squares, [x], square)
    out = result(ctx, name, x)
    beside = np.array_equal(out.positions(), x.positions())
    target = out if beside else like(ctx, x, out.dtype, "lrn")

    def finish(acc: View, views: list[View], n: int) -> None:
        dst, source = views
        factor = p.sbuf((dst.partition + dst.partitions, n), "fp32", name="lrn")[dst.partition :]
        p.tensor_scalar(factor, acc, "mult", alpha / size, "add", bias)
        p.tensor_scalar(factor, factor, "power", -beta, engine=ctx.pick(("vector",), n))
        p.tensor_tensor(dst, factor, source, "mult")

    mix_channels(ctx, node.name, _band(x.shape[1], size), squares, [target, x], finish)
    if not beside:
        copy(ctx, out, target)
    ctx.tensors[name] = out


def _band(channels: int, size: int) -> np.ndarray:
    """[channels, channels] float32: ones where a channel is in the window of another."""
    before, after = (size - 1) // 2, size // 2
    distance = np.arange(channels)[:, None] - np.arange(channels)[None, :]
    return ((distance >= -before) & (distance <= after)).astype(np.float32)
