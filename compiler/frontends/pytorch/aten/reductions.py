"""Sums, means, extremes, running totals, orders and norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    aten,
    axes,
    axis,
    cast,
    floating,
    ints,
    is_float,
    narrow,
    promoted,
    reshape,
    squeeze,
    tensor,
    unsqueeze,
)
from compiler.frontends.pytorch.program import Dtype

Dims = int | Sequence[int] | None


def reduced(b: GraphBuilder, op: str, value: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """One of ONNX's Reduce operators over some dimensions."""
    if not dims and not isinstance(dims, int) and not b.is_static(value):
        return b.op(op, [value], keepdims=int(keepdim))
    places = axes(b, value, dims)
    return b.op(op, [value, ints(*places)], keepdims=int(keepdim)) if places else value


def _whole(b: GraphBuilder, value: Tensor, dtype: Dtype | None) -> Tensor:
    """The operand of a sum: integers and truth values add up as int64."""
    if dtype:
        return cast(b, value, dtype.name)
    return value if is_float(b.dtype(value)) else cast(b, value, "int64")


@aten("sum")
def total(b: GraphBuilder, self: Tensor, dim: Dims = None, keepdim: bool = False, dtype: Dtype | None = None) -> Tensor:
    return reduced(b, "ReduceSum", _whole(b, self, dtype), dim, keepdim)


@aten("mean")
def mean(b: GraphBuilder, self: Tensor, dim: Dims = None, keepdim: bool = False, dtype: Dtype | None = None) -> Tensor:
    return reduced(b, "ReduceMean", _whole(b, self, dtype), dim, keepdim)


@aten("prod")
def product(b: GraphBuilder, self: Tensor, dim: Dims = None, keepdim: bool = False,
            dtype: Dtype | None = None) -> Tensor:
    return reduced(b, "ReduceProd", _whole(b, self, dtype), dim, keepdim)


@aten("amax")
def amax(b: GraphBuilder, self: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    return reduced(b, "ReduceMax", self, dim, keepdim)


@aten("amin")
def amin(b: GraphBuilder, self: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    return reduced(b, "ReduceMin", self, dim, keepdim)


@aten("aminmax")
def aminmax(b: GraphBuilder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> list[Tensor]:
    return [amin(b, self, dim, keepdim), amax(b, self, dim, keepdim)]


@aten("max", "max.dim")
def maximum(b: GraphBuilder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    if dim is None:
        return amax(b, self)
    return [amax(b, self, dim, keepdim), argmax(b, self, dim, keepdim)]


@aten("min", "min.dim")
def minimum(b: GraphBuilder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    if dim is None:
        return amin(b, self)
    return [amin(b, self, dim, keepdim), argmin(b, self, dim, keepdim)]


def _place_of(b: GraphBuilder, op: str, value: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    if b.dtype(value) == "bool":
        value = cast(b, value, "int32")
    if dim is None:
        found = b.op(op, [reshape(b, value, [-1])], axis=0, keepdims=0)
        return reshape(b, found, [1] * b.rank(value)) if keepdim else found
    if not b.rank(value):
        return b.add(np.int64(0))
    return b.op(op, [value], axis=axis(b, value, dim), keepdims=int(keepdim))


@aten("argmax")
def argmax(b: GraphBuilder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return _place_of(b, "ArgMax", self, dim, keepdim)


@aten("argmin")
def argmin(b: GraphBuilder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return _place_of(b, "ArgMin", self, dim, keepdim)


@aten("any")
def any_of(b: GraphBuilder, self: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    found = reduced(b, "ReduceMax", cast(b, cast(b, self, "bool"), "int32"), dim, keepdim)
    return cast(b, found, "bool")


@aten("all")
def all_of(b: GraphBuilder, self: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    found = reduced(b, "ReduceMin", cast(b, cast(b, self, "bool"), "int32"), dim, keepdim)
    return cast(b, found, "bool")


@aten("count_nonzero")
def count_nonzero(b: GraphBuilder, self: Tensor, dim: Dims = None) -> Tensor:
    return reduced(b, "ReduceSum", cast(b, cast(b, self, "bool"), "int64"), dim, False)


@aten("logsumexp")
def logsumexp(b: GraphBuilder, self: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    return reduced(b, "ReduceLogSumExp", floating(b, self), dim, keepdim)


def moments(b: GraphBuilder, value: Tensor, dims: Dims, correction: float, keepdim: bool) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
    places = axes(b, value, dims)
    count = int(np.prod([b.shape(value)[p] for p in places]))
    middle = reduced(b, "ReduceMean", value, places, True)
    apart = b.op("Sub", [value, middle])
    spread = reduced(b, "ReduceMean", b.op("Mul", [apart, apart]), places, keepdim)
    if correction:
        spread = b.op("Mul", [spread, tensor(b, count / max(count - correction, 0) if count > correction else np.nan,
                                             b.dtype(value))])
    return spread, middle if keepdim else squeeze(b, middle, *places)


def _correction(unbiased: bool | None, correction: float | None) -> float:
    if correction is not None:
        return correction
    return 1.0 if unbiased is None or unbiased else 0.0


@aten("var")
def var(b: GraphBuilder, self: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False,
        correction: float | None = None) -> Tensor:
    return moments(b, self, dim, _correction(unbiased, correction), keepdim)[0]


@aten("std")
def std(b: GraphBuilder, self: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False,
        correction: float | None = None) -> Tensor:
    return b.op("Sqrt", [var(b, self, dim, unbiased, keepdim, correction)])


@aten("var_mean")
def var_mean(b: GraphBuilder, self: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False,
             correction: float | None = None) -> list[Tensor]:
    return list(moments(b, self, dim, _correction(unbiased, correction), keepdim))


@aten("std_mean")
def std_mean(b: GraphBuilder, self: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False,
             correction: float | None = None) -> list[Tensor]:
    spread, middle = moments(b, self, dim, _correction(unbiased, correction), keepdim)
    return [b.op("Sqrt", [spread]), middle]


@aten("norm", "linalg_vector_norm", "linalg_norm")
def norm(b: GraphBuilder, self: Tensor, p: float | None = None, dim: Dims = None, keepdim: bool = False,
         dtype: Dtype | None = None, ord: float | None = None) -> Tensor:
    x = cast(b, self, dtype.name) if dtype else floating(b, self)
    order = next((v for v in (p, ord) if v is not None), 2)
    if order == 2:
        return reduced(b, "ReduceL2", x, dim, keepdim)
    if order == 1:
        return reduced(b, "ReduceL1", x, dim, keepdim)
    size = b.op("Abs", [x])
    if order in (np.inf, -np.inf):
        return reduced(b, "ReduceMax" if order > 0 else "ReduceMin", size, dim, keepdim)
    if order == 0:
        return reduced(b, "ReduceSum", cast(b, cast(b, x, "bool"), b.dtype(x)), dim, keepdim)
    powers = b.op("Pow", [size, tensor(b, order, b.dtype(x))])
    return b.op("Pow", [reduced(b, "ReduceSum", powers, dim, keepdim), tensor(b, 1 / order, b.dtype(x))])


@aten("cumsum")
def cumsum(b: GraphBuilder, self: Tensor, dim: int, dtype: Dtype | None = None) -> Tensor:
    x = _whole(b, self, dtype)
    return b.op("CumSum", [x, np.int64(axis(b, x, dim))]) if b.rank(x) else x


@aten("topk")
def topk(b: GraphBuilder, self: Tensor, k: int, dim: int = -1, largest: bool = True,
         sorted: bool = True) -> list[Tensor]:
    return b.ops("TopK", [self, ints(k)], 2, axis=axis(b, self, dim), largest=int(largest), sorted=1)


@aten("sort")
def sort(b: GraphBuilder, self: Tensor, dim: int = -1, descending: bool = False,
         stable: bool | None = None) -> list[Tensor]:
    place = axis(b, self, dim)
    return b.ops("TopK", [self, ints(b.shape(self)[place])], 2, axis=place, largest=int(descending), sorted=1)


@aten("argsort")
def argsort(b: GraphBuilder, self: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    return sort(b, self, dim, descending)[1]


@aten("kthvalue")
def kthvalue(b: GraphBuilder, self: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> list[Tensor]:
    place = axis(b, self, dim)
    found = [b.op("Gather", [v, ints(k - 1)], axis=place) for v in sort(b, self, dim)]
    return found if keepdim else [squeeze(b, v, place) for v in found]


@aten("median", "median.dim")
def median(b: GraphBuilder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the two in the middle."""
    if dim is None:
        flat = reshape(b, self, [-1])
        return kthvalue(b, flat, (b.shape(flat)[0] + 1) // 2, 0)[0]
    return kthvalue(b, self, (b.shape(self)[axis(b, self, dim)] + 1) // 2, dim, keepdim)


@aten("cosine_similarity")
def cosine_similarity(b: GraphBuilder, x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    x, y = promoted(b, x1, x2, floating=True)
    least = tensor(b, eps, b.dtype(x))
    sizes = [b.op("Max", [reduced(b, "ReduceL2", v, dim, True), least]) for v in (x, y)]
    unit = [b.op("Div", [v, n]) for v, n in zip((x, y), sizes)]
    return reduced(b, "ReduceSum", b.op("Mul", unit), dim, False)


@aten("pairwise_distance")
def pairwise_distance(b: GraphBuilder, x1: Tensor, x2: Tensor, p: float = 2, eps: float = 1e-6,
                      keepdim: bool = False) -> Tensor:
    x, y = promoted(b, x1, x2, floating=True)
    apart = b.op("Add", [b.op("Sub", [x, y]), tensor(b, eps, b.dtype(x))])
    return norm(b, apart, p, -1, keepdim)


@aten("cdist", "_cdist_forward")
def cdist(b: GraphBuilder, x1: Tensor, x2: Tensor, p: float = 2, compute_mode: int | None = None) -> Tensor:
    apart = b.op("Sub", [unsqueeze(b, x1, b.rank(x1) - 1), unsqueeze(b, x2, b.rank(x2) - 2)])
    return norm(b, apart, p, -1)


@aten("diff")
def diff(b: GraphBuilder, self: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None,
         append: Tensor | None = None) -> Tensor:
    place = axis(b, self, dim)
    parts = [v for v in (prepend, self, append) if v]
    self = b.op("Concat", parts, axis=place) if len(parts) > 1 else self
    for _ in range(n):
        size = b.shape(self)[place]
        self = b.op("Sub", [narrow(b, self, place, 1, size), narrow(b, self, place, 0, size - 1)])
    return self
