"""Operations of `keras.ops` that are put together from others."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.keras.activations import masked_scores
from compiler.frontends.keras.call import Tensor
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.core import cast, reshaped
from compiler.frontends.keras.function_math import real
from compiler.frontends.keras.functions import Arguments
from compiler.frontends.keras.merging import both
from compiler.frontends.keras.registry import operation


@operation("ConvertToTensor", "SaturateCast", params="x dtype")
def _as_it_is(a: Arguments) -> str:
    dtype = a.get("dtype")
    return cast(a.c, a.first, dtype) if dtype in ("float32", "int32", "int64", "bool") else a.first


@operation("Fabs", "Exp2", "Erfc", "Trunc", "Isfinite", params="x")
def _one(a: Arguments) -> str:
    x, kind, op = real(a, a.first), a.c.layer.kind, a.c.op
    if kind == "Fabs":
        return op("Abs", [x])
    if kind == "Exp2":
        return op("Exp", [op("Mul", [x, a.c.like(math.log(2), x)])])
    if kind == "Erfc":
        return op("Sub", [a.c.like(1, x), op("Erf", [x])])
    if kind == "Trunc":
        return op("Mul", [op("Sign", [x]), op("Floor", [op("Abs", [x])])])
    return op("Not", [op("Or", [op("IsNaN", [x]), op("IsInf", [x])])])


@operation("Fmax", "Fmin", "Hypot", "Logaddexp", params="x1 x2")
def _two(a: Arguments) -> str:
    x, y = (real(a, v) for v in a.pair("x1", "x2"))
    kind, op = a.c.layer.kind, a.c.op
    if kind in ("Fmax", "Fmin"):
        return op("Max" if kind == "Fmax" else "Min", [x, y])
    if kind == "Hypot":
        return op("Sqrt", [op("Add", [op("Mul", [x, x]), op("Mul", [y, y])])])
    apart = op("Neg", [op("Abs", [op("Sub", [x, y])])])  # the larger one, and what the other adds to it
    more = op("Log", [op("Add", [op("Exp", [apart]), a.c.like(1, x)])])
    return op("Add", [op("Max", [x, y]), more])


@operation("Outer", "Inner", "Vdot", params="x1 x2")
def _product(a: Arguments) -> str:
    x, y = a.pair("x1", "x2")
    if a.c.layer.kind == "Outer":
        return a.c.op("Mul", [reshaped(a.c, x, [-1, 1]), reshaped(a.c, y, [1, -1])])
    if a.c.layer.kind == "Vdot":
        product = a.c.op("Mul", [reshaped(a.c, x, [-1]), reshaped(a.c, y, [-1])])
        return a.c.op("ReduceSum", [product, np.array([0])], keepdims=0)
    rank = a.c.b.rank(y)
    if rank > 2:
        raise a.c.refuse("an inner product with more than two axes is not supported", "use einsum")
    return a.c.op("MatMul", [x, a.c.op("Transpose", [y], perm=list(range(rank))[::-1])])


@operation("Tensordot", params="x1 x2")
def _tensordot(a: Arguments) -> str:
    x, y = a.pair("x1", "x2")
    ranks, found = (a.c.b.rank(x), a.c.b.rank(y)), a.get("axes", 2)
    pairs = [list(range(ranks[0] - found, ranks[0])), list(range(found))] if isinstance(found, int) else found
    whole = isinstance(pairs, list) and len(pairs) == 2
    pairs = [p if isinstance(p, list) else [p] for p in pairs] if whole else [[], [0]]
    if len(pairs[0]) != len(pairs[1]) or not all(isinstance(k, int) for p in pairs for k in p):
        raise invalid("the axes of a product are no two lists", a.c.where, repr(found)[:80])
    first, second = ([a.c.positive(k, r) for k in p] for p, r in zip(pairs, ranks, strict=True))
    letters = [chr(ord("a") + k) for k in range(sum(ranks))]
    left, right = letters[: ranks[0]], letters[ranks[0] :]
    for i, j in zip(first, second, strict=True):
        right[j] = left[i]
    kept = [k for k in left + right if (left + right).count(k) == 1]
    return a.c.op("Einsum", [x, y], equation=f"{''.join(left)},{''.join(right)}->{''.join(kept)}")


@operation("Hstack", "Vstack", params="xs")
def _stacked(a: Arguments) -> str:
    values = a.values_of("xs")
    axis = 1 if a.c.layer.kind == "Hstack" else 0
    if a.c.b.rank(values[0]) < 2:
        raise a.c.refuse("stacking vectors is not supported", "use stack or concatenate")
    return a.c.op("Concat", values, axis=axis)


@operation("Roll", params="x")
def _roll(a: Arguments) -> str:
    x = a.first
    shifts = a.numbers("shift")
    axes = [a.c.positive(k, a.c.b.rank(x)) for k in a.numbers("axis")] if "axis" in a else []
    if len(axes) != len(shifts):
        raise a.c.refuse("rolling without axes is not supported", "state the axis")
    for shift, axis in zip(shifts, axes, strict=True):
        size = a.c.b.shape(x)[axis]
        x = a.c.op("Gather", [x, (np.arange(a.c.limited(size)) - shift) % size], axis=axis)
    return x


@operation("Diff", params="a")
def _diff(a: Arguments) -> str:
    x = a.first
    axis = a.c.positive(a.numbers("axis", [-1])[0], a.c.b.rank(x))
    for _ in range(min(a.numbers("n", [1])[0], a.c.b.shape(x)[axis])):
        size = a.c.b.shape(x)[axis]
        ends = ((1, size), (0, size - 1))
        later, earlier = (a.c.op("Slice", [x, np.array([i]), np.array([j]), np.array([axis])]) for i, j in ends)
        x = a.c.op("Sub", [later, earlier])
    return x


@operation("Sort", "Argsort", params="x axis")
def _sort(a: Arguments) -> str:
    x = a.first
    axis = a.c.positive(a.numbers("axis", [-1])[0], a.c.b.rank(x))
    size = np.array([a.c.b.shape(x)[axis]])
    values, places = a.c.b.ops("TopK", [x, size], 2, axis=axis, largest=0, sorted=1)
    return values if a.c.layer.kind == "Sort" else cast(a.c, places, "int32")


@operation("FullLike", params="x fill_value")
def _full_like(a: Arguments) -> str:
    return a.c.op("Expand", [cast(a.c, a.value("fill_value", "x"), a.c.b.dtype(a.first)),
                             np.array(a.c.b.shape(a.first))])


@operation("Ptp", "CountNonzero", params="x")
def _summed(a: Arguments) -> str:
    x = a.first
    axes, keep = np.array(a.axes(x)), int(a.settings.flag("keepdims"))
    if a.c.layer.kind == "Ptp":
        high, low = (a.c.op(op, [x, axes], keepdims=keep) for op in ("ReduceMax", "ReduceMin"))
        return a.c.op("Sub", [high, low])
    other = cast(a.c, a.c.op("Not", [a.c.op("Equal", [x, a.c.like(0, x)])]), "int32")
    return a.c.op("ReduceSum", [other, axes], keepdims=0)


@operation("Moments", params="x")
def _moments(a: Arguments) -> list[str]:
    x = real(a, a.first)
    axes, keep = np.array(a.axes(x, "axes")), a.settings.flag("keepdims")
    mean = a.c.op("ReduceMean", [x, axes], keepdims=1)
    away = a.c.op("Sub", [x, mean])
    variance = a.c.op("ReduceMean", [a.c.op("Mul", [away, away]), axes], keepdims=int(keep))
    return [mean if keep else a.c.op("Squeeze", [mean, axes]), variance]


@operation("RMSNorm", params="x scale")
def _rms_norm(a: Arguments) -> str:
    x = real(a, a.value("x"))
    square = a.c.op("ReduceMean", [a.c.op("Mul", [x, x]), np.array(a.axes(x))], keepdims=1)
    root = a.c.op("Sqrt", [a.c.op("Add", [square, a.c.like(a.settings.real("epsilon", 1e-7), x)])])
    y = a.c.op("Div", [x, root])
    return a.c.op("Mul", [y, a.value("scale", "x")]) if "scale" in a else y


@operation("DotProductAttention", params="query key value bias mask scale")
def _attention(a: Arguments) -> str:
    """Attention of heads that lie in the third axis: (N, T, heads, width)."""
    if any(k in a for k in ("attn_logits_soft_cap",)):
        raise a.c.refuse("a soft cap of the scores is not supported")
    q, k, v = (a.c.op("Transpose", [a.value(n)], perm=[0, 2, 1, 3]) for n in ("query", "key", "value"))
    groups = a.c.b.shape(q)[1] // a.c.b.shape(k)[1]
    if groups > 1:
        heads = np.repeat(np.arange(a.c.b.shape(k)[1]), groups)
        k, v = (a.c.op("Gather", [t, heads], axis=1) for t in (k, v))
    scale = a.settings.real("scale", 1 / math.sqrt(a.c.b.shape(q)[-1]))
    scores = a.c.op("MatMul", [a.c.op("Mul", [q, a.c.like(scale, q)]), a.c.op("Transpose", [k], perm=[0, 1, 3, 2])])
    if "bias" in a:
        scores = a.c.op("Add", [scores, a.value("bias", "query")])
    mask = cast(a.c, a.value("mask"), "bool") if isinstance(a.get("mask"), Tensor) else ""
    if a.settings.flag("is_causal"):
        rows, columns = a.c.b.shape(scores)[-2:]
        a.c.limited(rows * columns)
        mask = both(a.c, mask, a.c.b.add(np.tril(np.ones((1, 1, rows, columns), bool))))
    weights = a.c.op("Softmax", [masked_scores(a.c, scores, mask) if mask else scores], axis=-1)
    return a.c.op("Transpose", [a.c.op("MatMul", [weights, v])], perm=[0, 2, 1, 3])
