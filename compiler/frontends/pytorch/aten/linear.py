"""Matrix products, convolutions and einsum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.elementwise import scaled
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    aten,
    pair,
    permute,
    promoted,
    reshape,
    squeeze,
    unsqueeze,
    unsupported,
)
from compiler.frontends.pytorch.aten.shapes import matrix_transpose

Ints = int | Sequence[int]


@aten("linear")
def linear(b: GraphBuilder, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if b.rank(input) == 2 and b.rank(weight) == 2:
        return b.op("Gemm", [input, weight, bias or ""], transB=1)
    found = b.op("MatMul", [input, matrix_transpose(b, weight)])
    return b.op("Add", [found, bias]) if bias else found


@aten("matmul", "mm", "bmm", "linalg_matmul")
def matmul(b: GraphBuilder, self: Tensor, other: Tensor = "", mat2: Tensor = "") -> Tensor:
    return b.op("MatMul", [self, other or mat2])


@aten("mv", "dot", "vdot", "inner")
def dot(b: GraphBuilder, self: Tensor, vec: Tensor = "", tensor: Tensor = "", other: Tensor = "") -> Tensor:
    y = vec or tensor or other
    if other and b.rank(other) > 1:
        y = matrix_transpose(b, y)
    return b.op("MatMul", [self, y])


@aten("outer", "ger")
def outer(b: GraphBuilder, self: Tensor, vec2: Tensor) -> Tensor:
    x, y = promoted(b, self, vec2)
    return b.op("Mul", [unsqueeze(b, x, 1), y])


@aten("addmm")
def addmm(b: GraphBuilder, self: Tensor, mat1: Tensor, mat2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    return b.op("Gemm", [mat1, mat2, self], alpha=float(alpha), beta=float(beta))


def _added(b: GraphBuilder, value: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    found = scaled(b, product, alpha)
    return found if beta == 0 else b.op("Add", [scaled(b, value, beta), found])


@aten("baddbmm")
def baddbmm(b: GraphBuilder, self: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    return _added(b, self, b.op("MatMul", [batch1, batch2]), beta, alpha)


@aten("addbmm")
def addbmm(b: GraphBuilder, self: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    product = b.op("ReduceSum", [b.op("MatMul", [batch1, batch2]), np.array([0])], keepdims=0)
    return _added(b, self, product, beta, alpha)


@aten("addmv")
def addmv(b: GraphBuilder, self: Tensor, mat: Tensor, vec: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    return _added(b, self, b.op("MatMul", [mat, vec]), beta, alpha)


@aten("addr")
def addr(b: GraphBuilder, self: Tensor, vec1: Tensor, vec2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    return _added(b, self, outer(b, vec1, vec2), beta, alpha)


@aten("einsum")
def einsum(b: GraphBuilder, equation: str, tensors: Sequence[Tensor], path: object = None) -> Tensor:
    return b.op("Einsum", promoted(b, *tensors), equation=equation)


@aten("bilinear")
def bilinear(b: GraphBuilder, input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """sum over i, j of x[..., i] W[o, i, j] y[..., j]."""
    left = b.op("Einsum", [input1, weight], equation="...i,oij->...oj")
    found = b.op("ReduceSum", [b.op("Mul", [left, unsqueeze(b, input2, b.rank(input2) - 1)]), np.array([-1])],
                 keepdims=0)
    return b.op("Add", [found, bias]) if bias else found


@aten("tensordot")
def tensordot(b: GraphBuilder, self: Tensor, other: Tensor, dims_self: Sequence[int],
              dims_other: Sequence[int]) -> Tensor:
    ranks = b.rank(self), b.rank(other)
    one, two = [d % ranks[0] for d in dims_self], [d % ranks[1] for d in dims_other]
    kept = [[d for d in range(r) if d not in used] for r, used in zip(ranks, (one, two))]
    size = int(np.prod([b.shape(self)[d] for d in one]))
    left = reshape(b, permute(b, self, [*kept[0], *one]), [-1, size])
    right = reshape(b, permute(b, other, [*two, *kept[1]]), [size, -1])
    shape = [b.shape(self)[d] for d in kept[0]] + [b.shape(other)[d] for d in kept[1]]
    return reshape(b, b.op("MatMul", [left, right]), shape)


# ---- convolutions ------------------------------------------------------------------------------------------------


def _same(kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Padding that keeps the size, the odd element at the end; begins, then ends."""
    total = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return [t // 2 for t in total] + [t - t // 2 for t in total]


@aten("conv1d", "conv2d", "conv3d")
def conv(b: GraphBuilder, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
         padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1) -> Tensor:
    count = b.rank(weight) - 2
    unbatched = b.rank(input) == count + 1
    x = unsqueeze(b, input, 0) if unbatched else input
    kernel, spread = list(b.shape(weight)[2:]), pair(dilation, count)
    if isinstance(padding, str):
        pads = _same(kernel, spread) if padding == "same" else [0] * (2 * count)
    else:
        pads = pair(padding, count) * 2
    found = b.op("Conv", [x, weight, bias or ""], kernel_shape=kernel, strides=pair(stride, count), pads=pads,
                 dilations=spread, group=groups)
    return squeeze(b, found, 0) if unbatched else found


@aten("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(b: GraphBuilder, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
                   padding: Ints = 0, output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1) -> Tensor:
    count = b.rank(weight) - 2
    unbatched = b.rank(input) == count + 1
    x = unsqueeze(b, input, 0) if unbatched else input
    found = b.op("ConvTranspose", [x, weight, bias or ""], kernel_shape=list(b.shape(weight)[2:]),
                 strides=pair(stride, count), pads=pair(padding, count) * 2, dilations=pair(dilation, count),
                 output_padding=pair(output_padding, count), group=groups)
    return squeeze(b, found, 0) if unbatched else found


@aten("convolution", "_convolution", "convolution_overrideable", "cudnn_convolution")
def convolution(b: GraphBuilder, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
                padding: Ints = 0, dilation: Ints = 1, transposed: bool = False, output_padding: Ints = 0,
                groups: int = 1, benchmark: bool = False, deterministic: bool = False, cudnn_enabled: bool = False,
                allow_tf32: bool = False) -> Tensor:
    if transposed:
        return conv_transpose(b, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(b, input, weight, bias, stride, padding, dilation, groups)


@aten("im2col")
def im2col(b: GraphBuilder, self: Tensor, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0,
           stride: Ints = 1) -> Tensor:
    """Patches as columns: (N, C kh kw, positions); a convolution with kernels of a single one each."""
    kernel, channels = pair(kernel_size, 2), b.shape(self)[-3]
    unbatched = b.rank(self) == 3
    area = kernel[0] * kernel[1]
    weight = np.tile(np.eye(area, dtype=np.float32).reshape(area, 1, *kernel), (channels, 1, 1, 1))
    found = conv(b, unsqueeze(b, self, 0) if unbatched else self, b.add(weight), None, stride, padding, dilation,
                 channels)
    found = reshape(b, found, [*b.shape(found)[:2], -1])
    return squeeze(b, found, 0) if unbatched else found


@aten("col2im")
def col2im(b: GraphBuilder, self: Tensor, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0,
           stride: Ints = 1) -> Tensor:
    """The sum of overlapping patches; a transposed convolution with kernels of a single one each."""
    kernel, size = pair(kernel_size, 2), pair(output_size, 2)
    step, edge, spread = pair(stride, 2), pair(padding, 2), pair(dilation, 2)
    unbatched = b.rank(self) == 2
    x = unsqueeze(b, self, 0) if unbatched else self
    area = kernel[0] * kernel[1]
    channels = b.shape(x)[1] // area
    grid = [(s + 2 * p - d * (k - 1) - 1) // t + 1 for s, p, d, k, t in zip(size, edge, spread, kernel, step)]
    weight = np.tile(np.eye(area, dtype=np.float32).reshape(area, 1, *kernel), (channels, 1, 1, 1))
    extra = [s - ((g - 1) * t - 2 * p + d * (k - 1) + 1)
             for s, g, t, p, d, k in zip(size, grid, step, edge, spread, kernel)]
    if min(extra) < 0:
        raise unsupported("an output of fold that is smaller than its patches", extra)
    x = reshape(b, x, [b.shape(x)[0], b.shape(x)[1], *grid])
    found = conv_transpose(b, x, b.add(weight), None, stride, padding, extra, channels, dilation)
    return squeeze(b, found, 0) if unbatched else found
