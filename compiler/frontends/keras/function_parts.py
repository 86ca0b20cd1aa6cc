"""Functions that take parts of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.frontends.keras.call import Tensor
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.core import cast, reshaped
from compiler.frontends.keras.functions import Arguments
from compiler.frontends.keras.registry import function, operation


@operation("GetItem", params="x key")
@function("__operators__.getitem", params="tensor slice_spec var")
def _get_item(a: Arguments) -> str:
    key = a.get("key", a.get("slice_spec", a.values.get("key")))
    return _sliced(a, a.first, key if isinstance(key, list) else [key])


def _sliced(a: Arguments, x: str, spec: list[Any]) -> str:
    """x[spec], for numbers, slices, an ellipsis and new axes."""
    spec = [_slice(a, s) for s in spec]
    rank = a.c.b.rank(x)
    real = sum(1 for s in spec if s is not None and s is not ...)
    if ... in spec:
        at = spec.index(...)
        spec = [*spec[:at], *[slice(None)] * (rank - real), *spec[at + 1 :]]
    if real > rank or ... in spec:
        raise invalid("a slice names more axes than its tensor has", a.c.where, len(spec), rank)
    starts: list[int] = []
    stops: list[int] = []
    axes: list[int] = []
    steps: list[int] = []
    gone: list[int] = []
    new: list[int] = []
    axis = 0
    for place, s in enumerate(spec):
        if s is None:
            new.append(place - len(gone))
            continue
        size = a.c.b.shape(x)[axis]
        if isinstance(s, int):
            if not -size <= s < size:
                raise invalid("a slice lies outside its tensor", a.c.where, s, size)
            s, gone = slice(s % size, s % size + 1, 1), [*gone, axis]
        if (s.start, s.stop, s.step) != (None, None, None):
            start, stop, step = s.indices(size)
            starts.append(start)
            stops.append(stop if stop >= 0 else -(2**31))
            axes.append(axis)
            steps.append(step)
        axis += 1
    if axes:
        x = a.c.op("Slice", [x, *(np.array(v) for v in (starts, stops, axes, steps))])
    if gone:
        x = a.c.op("Squeeze", [x, np.array(gone)])
    return a.c.op("Unsqueeze", [x, np.array(new)]) if new else x


def _slice(a: Arguments, found: Any) -> Any:
    if isinstance(found, dict):
        found = slice(*(found.get(k) for k in ("start", "stop", "step")))
    if isinstance(found, slice):
        ends = [_known(a, v) for v in (found.start, found.stop, found.step)]
        if ends[2] == 0:
            raise invalid("a slice has a step of zero", a.c.where)
        return slice(*ends)
    return found if found is ... or found is None else _known(a, found)


def _known(a: Arguments, found: Any) -> int | None:
    if isinstance(found, Tensor):
        known = a.c.b.const(found.value)
        if known is None or known.size != 1:
            raise a.c.refuse("an index that the model computes is not supported", "use keras.ops.take or tf.gather")
        return int(known.reshape(()))
    if found is None or (isinstance(found, int) and abs(found) < 2**62):
        return found
    raise invalid("an index is no whole number", a.c.where, repr(found)[:80])


@function("strided_slice", params="input_ begin end strides")
def _strided_slice(a: Arguments) -> str:
    masks = {k: a.settings.integer(f"{k}_mask", 0) for k in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    if masks["ellipsis"] or masks["new_axis"]:
        raise a.c.refuse("a strided slice with an ellipsis or new axes is not supported", "use x[...] instead")
    begin, end = a.numbers("begin"), a.numbers("end")
    spec: list[Any] = []
    for k, (i, j, s) in enumerate(zip(begin, end, a.numbers("strides", [1] * len(begin)), strict=True)):
        shrunk = masks["shrink_axis"] >> k & 1
        spec.append(i if shrunk else slice(None if masks["begin"] >> k & 1 else i,
                                           None if masks["end"] >> k & 1 else j, s))
    return _sliced(a, a.first, spec)


@operation("Slice", params="inputs start_indices shape")
@function("slice", params="input_ begin size name")
def _slice_of(a: Arguments) -> str:
    x = a.first
    begin = a.numbers("start_indices" if "start_indices" in a else "begin")
    sizes = a.numbers("shape" if "shape" in a else "size")
    return _sliced(a, x, [slice(i, None if n < 0 else i + n) for i, n in zip(begin, sizes, strict=True)])


@operation("Flip", params="x axis")
@function("reverse", params="tensor axis name")
def _flip(a: Arguments) -> str:
    x = a.first
    axes = set(a.axes(x))
    return _sliced(a, x, [slice(None, None, -1) if k in axes else slice(None) for k in range(a.c.b.rank(x))])


@operation("Take", params="x indices axis")
@function("gather", "compat.v1.gather", params="params indices validate_indices axis batch_dims name")
def _take(a: Arguments) -> str:
    if a.get("batch_dims", 0):
        raise a.c.refuse("a gather over batch dimensions is not supported")
    table = a.value("x" if "x" in a else "params")
    indices = a.value("indices")
    if "axis" not in a and a.c.layer.kind == "Take":
        table = reshaped(a.c, table, [-1])
    return a.c.op("Gather", [table, indices], axis=a.numbers("axis", [0])[0])


@operation("TakeAlongAxis", params="x indices axis")
def _take_along(a: Arguments) -> str:
    return a.c.op("GatherElements", [a.value("x"), a.value("indices")], axis=a.numbers("axis", [-1])[0])


@operation("TopK", params="x")
def _top_k(a: Arguments) -> list[str]:
    values, places = a.c.b.ops("TopK", [a.first, np.array(a.numbers("k"))], 2, axis=-1)
    return [values, cast(a.c, places, "int32")]


@operation("Where", params="condition x1 x2")
@function("where", params="condition x y name")
def _where(a: Arguments) -> str:
    names = ("x1", "x2") if "x1" in a else ("x", "y")
    if names[0] not in a:
        raise a.c.refuse("the places where a condition holds: their number depends on data")
    return a.c.op("Where", [cast(a.c, a.value("condition"), "bool"), *a.pair(*names)])
