"""Operators that are several others, as torch's own definitions of them have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.elementwise import clamp, sub
from compiler.frontends.pytorch.aten.parts import cat, tensor_split
from compiler.frontends.pytorch.aten.reductions import mean, norm, reduced, sort, total
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    Value,
    aten,
    axis,
    cast,
    expand,
    floating,
    ints,
    is_float,
    narrow,
    promoted,
    reshape,
    tensor,
    unsqueeze,
    unsupported,
)
from compiler.frontends.pytorch.aten.shapes import diagonal, flip


@aten("fliplr")
def fliplr(b: GraphBuilder, self: Tensor) -> Tensor:
    return flip(b, self, [1])


@aten("flipud")
def flipud(b: GraphBuilder, self: Tensor) -> Tensor:
    return flip(b, self, [0])


def at_least(b: GraphBuilder, value: Tensor, rank: int) -> Tensor:
    """With so many dimensions, added where numpy's functions of this name add them."""
    shape = list(b.shape(value))
    if len(shape) >= rank:
        return value
    if not shape:
        return reshape(b, value, [1] * rank)
    return reshape(b, value, [1, *shape] if rank == 2 else [1, *shape, 1] if len(shape) == 1 else [*shape, 1])


def _each(b: GraphBuilder, given: Tensor | Sequence[Tensor], rank: int) -> Any:
    return at_least(b, given, rank) if isinstance(given, str) else [at_least(b, v, rank) for v in given]


@aten("atleast_1d")
def atleast_1d(b: GraphBuilder, self: Tensor = "", tensors: Sequence[Tensor] = ()) -> Any:
    return _each(b, self or tensors, 1)


@aten("atleast_2d")
def atleast_2d(b: GraphBuilder, self: Tensor = "", tensors: Sequence[Tensor] = ()) -> Any:
    return _each(b, self or tensors, 2)


@aten("atleast_3d")
def atleast_3d(b: GraphBuilder, self: Tensor = "", tensors: Sequence[Tensor] = ()) -> Any:
    return _each(b, self or tensors, 3)


@aten("hstack")
def hstack(b: GraphBuilder, tensors: Sequence[Tensor]) -> Tensor:
    parts = _each(b, tensors, 1)
    return cat(b, parts, 0 if b.rank(parts[0]) == 1 else 1)


@aten("vstack", "row_stack")
def vstack(b: GraphBuilder, tensors: Sequence[Tensor]) -> Tensor:
    return cat(b, _each(b, tensors, 2), 0)


@aten("dstack")
def dstack(b: GraphBuilder, tensors: Sequence[Tensor]) -> Tensor:
    return cat(b, _each(b, tensors, 3), 2)


@aten("column_stack")
def column_stack(b: GraphBuilder, tensors: Sequence[Tensor]) -> Tensor:
    return cat(b, [t if b.rank(t) > 1 else reshape(b, t, [-1, 1]) for t in tensors], 1)


def _cut(b: GraphBuilder, value: Tensor, place: int, sections: int | None, indices: Sequence[int] | None) -> Any:
    return tensor_split(b, value, sections, place, indices)


@aten("hsplit")
def hsplit(b: GraphBuilder, self: Tensor, sections: int | None = None, indices: Sequence[int] | None = None) -> Any:
    return _cut(b, self, 0 if b.rank(self) == 1 else 1, sections, indices)


@aten("vsplit")
def vsplit(b: GraphBuilder, self: Tensor, sections: int | None = None, indices: Sequence[int] | None = None) -> Any:
    return _cut(b, self, 0, sections, indices)


@aten("dsplit")
def dsplit(b: GraphBuilder, self: Tensor, sections: int | None = None, indices: Sequence[int] | None = None) -> Any:
    return _cut(b, self, 2, sections, indices)


@aten("sum_to_size")
def sum_to_size(b: GraphBuilder, self: Tensor, size: Sequence[int]) -> Tensor:
    shape = b.shape(self)
    lead = len(shape) - len(size)
    places = [*range(lead), *[lead + k for k, n in enumerate(size) if n == 1 and shape[lead + k] != 1]]
    return reshape(b, total(b, self, places, True) if places else self, list(size))


@aten("_weight_norm", "_weight_norm_interface")
def weight_norm(b: GraphBuilder, v: Tensor, g: Tensor, dim: int = 0) -> Any:
    """v g / |v|, the length over all dimensions but one."""
    rest = [d for d in range(b.rank(v)) if d != dim % b.rank(v)] if dim != -1 else list(range(b.rank(v)))
    size = norm(b, v, 2, rest, True)
    return b.op("Mul", [v, b.op("Div", [g, size])])


@aten("norm_except_dim")
def norm_except_dim(b: GraphBuilder, v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    return norm(b, v, pow, [d for d in range(b.rank(v)) if d != dim] if dim != -1 else None, True)


@aten("_trilinear")
def trilinear(b: GraphBuilder, i1: Tensor, i2: Tensor, i3: Tensor, expand1: Sequence[int], expand2: Sequence[int],
              expand3: Sequence[int], sumdim: Sequence[int], unroll_dim: int = 1) -> Tensor:
    """The sum over some dimensions of the product of three tensors, each with dimensions added."""
    parts = [unsqueeze(b, v, *e) for v, e in ((i1, expand1), (i2, expand2), (i3, expand3))]
    product = b.op("Mul", [b.op("Mul", parts[:2]), parts[2]])
    return reduced(b, "ReduceSum", product, list(sumdim), False)


@aten("rrelu_with_noise", "rrelu_with_noise_functional")
def rrelu_with_noise(b: GraphBuilder, self: Tensor, noise: Tensor, lower: float = 0.125, upper: float = 1 / 3,
                     training: bool = False, generator: object = None) -> Any:
    if training:
        raise unsupported("random slopes of training mode", help="call model.eval() before exporting")
    return b.op("LeakyRelu", [self], alpha=(lower + upper) / 2)


@aten("_addmm_activation")
def addmm_activation(b: GraphBuilder, self: Tensor, mat1: Tensor, mat2: Tensor, beta: float = 1, alpha: float = 1,
                     use_gelu: bool = False) -> Tensor:
    x = b.op("Gemm", [mat1, mat2, self], alpha=float(alpha), beta=float(beta))
    return b.op("Gelu", [x], approximate="tanh") if use_gelu else b.op("Relu", [x])


@aten("logit", "special_logit")
def logit(b: GraphBuilder, self: Tensor, eps: float | None = None) -> Tensor:
    x = floating(b, self) if eps is None else clamp(b, floating(b, self), eps, 1 - eps)
    return b.op("Log", [b.op("Div", [x, sub(b, 1.0, x)])])


@aten("sinc", "special_sinc")
def sinc(b: GraphBuilder, self: Tensor) -> Tensor:
    x = floating(b, self)
    zero = b.op("Equal", [x, tensor(b, 0, b.dtype(x))])
    turned = b.op("Mul", [x, tensor(b, np.pi, b.dtype(x))])
    one = tensor(b, 1, b.dtype(x))
    safe = b.op("Where", [zero, one, turned])
    return b.op("Where", [zero, one, b.op("Div", [b.op("Sin", [safe]), safe])])


@aten("deg2rad")
def deg2rad(b: GraphBuilder, self: Tensor) -> Tensor:
    x = floating(b, self)
    return b.op("Mul", [x, tensor(b, np.pi / 180, b.dtype(x))])


@aten("rad2deg")
def rad2deg(b: GraphBuilder, self: Tensor) -> Tensor:
    x = floating(b, self)
    return b.op("Mul", [x, tensor(b, 180 / np.pi, b.dtype(x))])


@aten("signbit")
def signbit(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Less", [self, tensor(b, 0, b.dtype(self))])


@aten("isclose")
def isclose(b: GraphBuilder, self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8,
            equal_nan: bool = False) -> Tensor:
    x, y = promoted(b, self, other, floating=True)
    room = b.op("Add", [b.op("Mul", [b.op("Abs", [y]), tensor(b, rtol, b.dtype(y))]), tensor(b, atol, b.dtype(y))])
    close = b.op("LessOrEqual", [b.op("Abs", [b.op("Sub", [x, y])]), room])
    return b.op("Or", [close, b.op("Equal", [x, y])])


@aten("isin")
def isin(b: GraphBuilder, elements: Value | None = None, test_elements: Value | None = None,
         assume_unique: bool = False, invert: bool = False, element: Value | None = None,
         test_element: Value | None = None) -> Tensor:
    one, other = (element if elements is None else elements), (test_element if test_elements is None else test_elements)
    assert one is not None and other is not None
    x, y = promoted(b, one, other)
    same = b.op("Equal", [unsqueeze(b, x, b.rank(x)), reshape(b, y, [-1])])
    found = cast(b, reduced(b, "ReduceMax", cast(b, same, "int32"), -1, False), "bool")
    return b.op("Not", [found]) if invert else found


@aten("diag")
def diag(b: GraphBuilder, self: Tensor, diagonal: int = 0) -> Tensor:
    if b.rank(self) == 2:
        return DIAGONAL(b, self, diagonal)
    size = b.shape(self)[0] + abs(diagonal)
    inside = reshape(b, self, [-1, 1]) if diagonal >= 0 else reshape(b, self, [1, -1])
    wide = b.op("Pad", [inside, ints(0, 0, abs(diagonal), 0) if diagonal >= 0 else ints(0, 0, 0, -diagonal)])
    return b.op("Where", [np.eye(size, k=diagonal, dtype=bool), wide, tensor(b, 0, b.dtype(self))])


#: `diagonal`, where an argument has the same name
DIAGONAL = diagonal


@aten("diagflat")
def diagflat(b: GraphBuilder, self: Tensor, offset: int = 0) -> Tensor:
    return diag(b, reshape(b, self, [-1]), offset)


@aten("trace")
def trace(b: GraphBuilder, self: Tensor) -> Tensor:
    return total(b, diagonal(b, self))


@aten("cross", "linalg_cross")
def cross(b: GraphBuilder, self: Tensor, other: Tensor, dim: int | None = -1) -> Tensor:
    x, y = promoted(b, self, other)
    shape = np.broadcast_shapes(b.shape(x), b.shape(y))
    x, y = expand(b, x, shape), expand(b, y, shape)
    place = axis(b, x, list(shape).index(3) if dim is None else dim)

    def turned(value: Tensor, order: Sequence[int]) -> Tensor:
        return b.op("Gather", [value, ints(*order)], axis=place)

    return b.op("Sub", [b.op("Mul", [turned(x, (1, 2, 0)), turned(y, (2, 0, 1))]),
                        b.op("Mul", [turned(x, (2, 0, 1)), turned(y, (1, 2, 0))])])


@aten("kron")
def kron(b: GraphBuilder, self: Tensor, other: Tensor) -> Tensor:
    x, y = promoted(b, self, other)
    rank = max(b.rank(x), b.rank(y))
    left, right = ([1] * (rank - b.rank(v)) + list(b.shape(v)) for v in (x, y))
    outer = b.op("Mul", [reshape(b, x, [n for s in left for n in (s, 1)]),
                         reshape(b, y, [n for s in right for n in (1, s)])])
    return reshape(b, outer, [p * q for p, q in zip(left, right)])


def _running(b: GraphBuilder, value: Tensor, dim: int, op: str) -> Tensor:
    """A running result along a dimension by doubling steps: log2(n) operators on everything."""
    place, reach = axis(b, value, dim), 1
    size = b.shape(value)[place]
    while reach < size:
        ahead = narrow(b, value, place, reach, size)
        found = b.op(op, [ahead, narrow(b, value, place, 0, size - reach)])
        value = b.op("Concat", [narrow(b, value, place, 0, reach), found], axis=place)
        reach *= 2
    return value


@aten("cumprod")
def cumprod(b: GraphBuilder, self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    x = cast(b, self, dtype.name) if dtype else self if is_float(b.dtype(self)) else cast(b, self, "int64")
    return _running(b, x, dim, "Mul") if b.rank(x) else x


@aten("logcumsumexp", "_logcumsumexp")
def logcumsumexp(b: GraphBuilder, self: Tensor, dim: int) -> Tensor:
    high = reduced(b, "ReduceMax", self, dim, True)
    summed = b.op("CumSum", [b.op("Exp", [b.op("Sub", [self, high])]), np.int64(axis(b, self, dim))])
    return b.op("Add", [b.op("Log", [summed]), high])


@aten("nansum")
def nansum(b: GraphBuilder, self: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    x = b.op("Where", [b.op("IsNaN", [self]), tensor(b, 0, b.dtype(self)), self]) if is_float(b.dtype(self)) else self
    return total(b, x, dim, keepdim, dtype)


@aten("nanmean")
def nanmean(b: GraphBuilder, self: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    count = total(b, cast(b, b.op("Not", [b.op("IsNaN", [self])]), b.dtype(self)), dim, keepdim)
    return b.op("Div", [nansum(b, self, dim, keepdim, dtype), count])


@aten("msort")
def msort(b: GraphBuilder, self: Tensor) -> Tensor:
    return sort(b, self, 0)[0]


@aten("mse_loss")
def mse_loss(b: GraphBuilder, self: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    apart = b.op("Sub", promoted(b, self, target))
    return _over_all(b, b.op("Mul", [apart, apart]), reduction)


@aten("l1_loss")
def l1_loss(b: GraphBuilder, self: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return _over_all(b, b.op("Abs", [b.op("Sub", promoted(b, self, target))]), reduction)


def _over_all(b: GraphBuilder, value: Tensor, reduction: int) -> Tensor:
    return value if reduction == 0 else mean(b, value) if reduction == 1 else total(b, value)


@aten("_unique2")
def unique2(b: GraphBuilder, self: Tensor, sorted: bool = True, return_inverse: bool = False,
            return_counts: bool = False) -> list[Tensor]:
    found = b.ops("Unique", [self], 4, sorted=1)
    return [found[0], b.op("Reshape", [found[2], ints(*b.shape(self))]), found[3]]


@aten("pad_sequence")
def pad_sequence(b: GraphBuilder, sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Tensor:
    longest = max(b.shape(s)[0] for s in sequences)
    rows = []
    for value in sequences:
        missing, rank = longest - b.shape(value)[0], b.rank(value)
        pads = [0] * (2 * rank)
        pads[0 if padding_side == "left" else rank] = missing
        wide = b.op("Pad", [value, ints(*pads), tensor(b, padding_value, b.dtype(value))]) if missing else value
        rows.append(unsqueeze(b, wide, 0 if batch_first else 1))
    return b.op("Concat", rows, axis=0 if batch_first else 1) if len(rows) > 1 else rows[0]
