"""Expansions of operators that sample images at computed places: rows of a table of pixels, weighted and added."""
from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion
from compiler.passes.rewrite import int_const

#: the largest integer up to which every one is a float32
EXACT = 1 << 24
#: the cubic kernel of GridSample
CUBIC = -0.75
MODES = {"bilinear": "linear", "bicubic": "cubic"}


def affine_grid(graph: Graph, node: Node) -> bool:
    """AffineGrid: theta times the homogeneous coordinates of every output position."""
    f, theta = Expansion(graph, node), node.inputs[0]
    sizes = graph.shape(node.output)[1:-1]
    if node.attrs.get("align_corners") and 1 in sizes:
        return False
    lines = []
    for size in sizes:
        if node.attrs.get("align_corners"):
            lines.append(np.linspace(-1, 1, size))
        else:
            lines.append((2 * np.arange(size) + 1) / size - 1)
    places = [g.reshape(-1) for g in np.meshgrid(*lines, indexing="ij")][::-1]
    base = np.stack([*places, np.ones(prod(sizes))]).astype(np.dtype(f.dtype(theta)))
    grid = f.swap(f.matmul(theta, f.const(base)))
    return f.finish([f.reshape(grid, graph.shape(node.output))])


def col2im(graph: Graph, node: Node) -> bool:
    """Col2Im: a transposed convolution whose kernel puts every element of a column into its place of the block."""
    x, block = node.inputs[0], graph.const(node.inputs[2])
    if block is None or "float" not in graph.dtype(x):
        return False
    f, kernel, k = Expansion(graph, node), [int(b) for b in block], len(block)
    n, channels, *image = graph.shape(node.output)
    strides, dilations = (node.attrs.get(name) or [1] * k for name in ("strides", "dilations"))
    pads = node.attrs.get("pads") or [0] * 2 * k
    room = [size + pads[a] + pads[k + a] - (kernel[a] - 1) * dilations[a] - 1 for a, size in enumerate(image)]
    steps = [divmod(r, s) for r, s in zip(room, strides, strict=True)]
    taps = prod(kernel)
    weights = np.broadcast_to(np.eye(taps, dtype=np.dtype(f.dtype(x))), (channels, taps, taps))
    columns = f.reshape(x, (n, channels * taps, *(blocks + 1 for blocks, _ in steps)))
    out = f.op("ConvTranspose", [columns, f.const(weights.reshape(channels * taps, 1, *kernel))],
               graph.shape(node.output), auto_pad="NOTSET", group=channels, strides=list(strides), pads=list(pads),
               dilations=list(dilations), kernel_shape=kernel, output_padding=[rest for _, rest in steps])
    return f.finish([out])


def grid_sample(graph: Graph, node: Node) -> bool:
    """GridSample: for each neighbour of the sampled places a Gather of pixels, times its weight."""
    mode = node.attrs.get("mode", "linear")
    mode, padding = MODES.get(mode, mode), node.attrs.get("padding_mode", "zeros")
    align = bool(node.attrs.get("align_corners", 0))
    f, (x, grid) = Expansion(graph, node), node.inputs
    n, channels, *sizes = f.shape(x)
    count = prod(f.shape(grid)[1:-1])
    border = 1 if padding == "zeros" else 0
    if not samples(graph, node):
        return False
    table = _pixels(f, x, border)
    columns = f.split(f.cast(f.reshape(grid, (n * count, len(sizes))), "float32"), 1, len(sizes))[::-1]
    axes = []
    for size, column in zip(sizes, columns, strict=True):
        place = _inside(f, _place(f, column, size, align), size, padding, align)
        axes.append([(_index(f, at, size, padding, align, border), w) for at, w in _neighbours(f, place, mode)])
    wide = [s + 2 * border for s in sizes]
    image = f.const(np.repeat(np.arange(n, dtype=np.float32) * prod(wide), count)[:, None])
    terms = []
    for choice in product(*axes):
        row = f.total([image, *(f.mul(at, prod(wide[d + 1 :])) for d, (at, _) in enumerate(choice))])
        part = f.gather(table, f.cast(f.reshape(row, (n * count,)), "int64"))
        for weight in (w for _, w in choice if w):
            part = f.mul(part, f.cast(weight, f.dtype(part)))
        terms.append(part)
    turned = f.swap(f.reshape(f.total(terms), (n, count, channels)))
    return f.finish([f.reshape(turned, graph.shape(node.output))])


def samples(graph: Graph, node: Node) -> bool:
    """Whether a GridSample is one of floats, or of nearest pixels, whose numbers are exact in float32."""
    shape = graph.shape(node.inputs[0])
    exact = shape[0] * prod(s + 2 for s in shape[2:]) <= EXACT
    return exact and (node.attrs.get("mode") == "nearest" or "float" in graph.dtype(node.inputs[0]))


def _pixels(f: Expansion, x: str, border: int) -> str:
    """[images * pixels, channels]: the image, with `border` zeros around it, pixel by pixel."""
    k = f.rank(x) - 2
    last = f.transpose(x, [0, *range(2, k + 2), 1])
    if border:
        pads = int_const(f.graph, [0, *[border] * k, 0] * 2, f"{f.node.name}_border")
        n, *sizes, channels = f.shape(last)
        last = f.op("Pad", [last, pads], (n, *(s + 2 * border for s in sizes), channels), mode="constant")
    return f.reshape(last, (prod(f.shape(last)[:-1]), f.shape(last)[-1]))


def _place(f: Expansion, column: str, size: int, align: bool) -> str:
    """Coordinates in pixels along one axis, from the grid's -1 .. 1."""
    far = f.add(column, 1.0)
    if align:
        return f.mul(f.mul(far, 0.5), size - 1.0)
    return f.mul(f.add(f.mul(far, float(size)), -1.0), 0.5)


def _inside(f: Expansion, place: str, size: int, padding: str, align: bool) -> str:
    """Coordinates beyond the borders brought back; without a rule for them, only so near that numbers stay small."""
    if padding == "reflection":
        return _reflected(f, place, size, align)
    if padding == "zeros":
        return f.clip(place, -3, size + 2)
    within = f.clip(place, 0, size - 1)
    if align:
        return within
    beyond = f.binary("Greater", f.unary("Abs", f.add(place, (1 - size) / 2)), size / 2)
    return f.where(beyond, within, place)


def _reflected(f: Expansion, place: str, size: int, align: bool) -> str:
    """Reflected at the borders until inside: a triangle wave of the distance from the lower one."""
    low, span = (0.0, size - 1.0) if align else (-0.5, float(size))
    if span == 0:
        return f.mul(place, 0.0)
    away = f.unary("Abs", f.add(place, -low))
    turns = f.unary("Floor", f.binary("Div", away, 2 * span))
    rest = f.sub(away, f.mul(turns, 2 * span))
    return f.sub(low + span, f.unary("Abs", f.add(rest, -span)))


def _neighbours(f: Expansion, place: str, mode: str) -> list[tuple[str, str]]:
    """(pixel number, weight) of the pixels along one axis that a sample reads; "" for a weight of 1."""
    if mode == "nearest":
        return [(f.unary("Round", place), "")]
    base = f.unary("Floor", place)
    t = f.sub(place, base)
    back = f.sub(1.0, t)
    if mode == "linear":
        return [(base, back), (f.add(base, 1.0), t)]
    return [(f.add(base, -1.0), _far(f, t)), (base, _near(f, t)), (f.add(base, 1.0), _near(f, back)),
            (f.add(base, 2.0), _far(f, back))]


def _near(f: Expansion, t: str) -> str:
    """The cubic kernel at a distance t of at most 1: ((a + 2) t - (a + 3)) t t + 1."""
    inner = f.add(f.mul(t, CUBIC + 2), -(CUBIC + 3))
    return f.add(f.mul(f.mul(inner, t), t), 1.0)


def _far(f: Expansion, t: str) -> str:
    """The cubic kernel at a distance s = t + 1: ((a s - 5 a) s + 8 a) s - 4 a."""
    s = f.add(t, 1.0)
    inner = f.add(f.mul(f.add(f.mul(s, CUBIC), -5 * CUBIC), s), 8 * CUBIC)
    return f.add(f.mul(inner, s), -4 * CUBIC)


def _index(f: Expansion, at: str, size: int, padding: str, align: bool, border: int) -> str:
    """Pixel numbers inside the table along one axis."""
    inside = f.clip(_reflected(f, at, size, align) if padding == "reflection" else at, -border, size - 1 + border)
    return f.add(inside, float(border)) if border else inside
