"""DeformConv as samples of the image at computed places, and a product with the kernel."""
from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion


def deform_conv(graph: Graph, node: Node) -> bool:
    """Every kernel element reads the image bilinearly at its place plus an offset, times the mask."""
    f, attrs = Expansion(graph, node), node.attrs
    x, weight, _, bias, mask = (*node.inputs, "", "")[:5]
    batch, channels, *sizes = f.shape(x)
    cout, per, *kernel = f.shape(weight)
    outs, taps = f.shape(node.output)[2:], prod(kernel)
    parts, group = attrs.get("offset_group", 1), attrs.get("group", 1)
    images = f.reshape(x, (batch * parts, channels // parts, *sizes))
    grid = _grid(f, kernel, sizes, outs, parts)
    columns = f.op("GridSample", [images, grid], (batch * parts, channels // parts, taps * outs[0], *outs[1:]),
                   mode="linear", padding_mode="zeros", align_corners=0)
    if mask:
        columns = f.mul(columns, f.reshape(mask, (batch * parts, 1, taps * outs[0], *outs[1:])))
    columns = f.reshape(columns, (batch, group, per * taps, prod(outs)))
    y = f.matmul(f.reshape(weight, (1, group, cout // group, per * taps)), columns)
    y = f.reshape(y, (batch, cout, *outs))
    return f.finish([f.add(y, f.reshape(bias, (cout, *([1] * len(outs))))) if bias else y])


def _grid(f: Expansion, kernel: list[int], sizes: list[int], outs: tuple[int, ...], parts: int) -> str:
    """[images * parts, taps * outs[0], outs[1:], axes]: where GridSample reads, -1 .. 1 over the image.

    The last axis of the image comes first, as GridSample wants it.
    """
    attrs, n, taps = f.node.attrs, len(kernel), prod(kernel)
    offset = f.node.inputs[2]
    batch = f.shape(offset)[0]
    strides, dilations = (attrs.get(name) or [1] * n for name in ("strides", "dilations"))
    pads = attrs.get("pads") or [0] * (2 * n)
    offset = f.reshape(f.cast(offset, "float32"), (batch * parts, taps, n, prod(outs)))
    elements = np.array(list(product(*(range(k) for k in kernel))), np.int64)
    columns = []
    for d in reversed(range(n)):
        along = np.arange(outs[d]).reshape([-1 if a == d else 1 for a in range(n)]) * strides[d] - pads[d]
        start = np.broadcast_to(along, outs).reshape(1, 1, -1) + elements[:, d].reshape(-1, 1, 1) * dilations[d]
        # (2 (start + offset) + 1) / size - 1, what does not depend on the offset in float64
        known = ((2 * start[None] + 1) / sizes[d] - 1).astype(np.float32)
        columns.append(f.add(f.mul(f.slice(offset, 2, d, d + 1), 2 / sizes[d]), f.const(known)))
    joined = f.transpose(f.concat(columns, 2), [0, 1, 3, 2])
    return f.reshape(joined, (batch * parts, taps * outs[0], *outs[1:], n))
