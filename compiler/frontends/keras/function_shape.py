"""Functions that move numbers, choose among them or make them."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.core import cast, reshaped
from compiler.frontends.keras.functions import Arguments
from compiler.frontends.keras.registry import function, operation


@operation("Reshape", params="x newshape")
@function("reshape", params="tensor shape name")
def _reshape(a: Arguments) -> str:
    return reshaped(a.c, a.first, a.numbers("newshape" if "newshape" in a else "shape"))


@operation("Transpose", params="x axes")
@function("transpose", "compat.v1.transpose", params="a perm conjugate name")
def _transpose(a: Arguments) -> str:
    x = a.first
    default = list(range(a.c.b.rank(x)))[::-1]
    perm = [a.c.positive(p, len(default)) for p in a.numbers("axes" if "axes" in a else "perm", default)]
    if sorted(perm) != sorted(default):
        raise invalid("a transposition names no axes of its tensor", a.c.where, perm)
    return a.c.op("Transpose", [x], perm=perm)


@operation("Swapaxes", params="x axis1 axis2")
def _swap(a: Arguments) -> str:
    x = a.first
    perm = list(range(a.c.b.rank(x)))
    i, j = (a.c.positive(a.numbers(k)[0], len(perm)) for k in ("axis1", "axis2"))
    perm[i], perm[j] = perm[j], perm[i]
    return a.c.op("Transpose", [x], perm=perm)


@operation("Moveaxis", params="x source destination")
def _move(a: Arguments) -> str:
    x = a.first
    rank = a.c.b.rank(x)
    source, target = ([a.c.positive(n, rank) for n in a.numbers(k)] for k in ("source", "destination"))
    perm = [k for k in range(rank) if k not in source]
    for t, s in sorted(zip(target, source, strict=True)):
        perm.insert(t, s)
    return a.c.op("Transpose", [x], perm=perm)


@operation("Squeeze", params="x axis")
@function("squeeze", "compat.v1.squeeze", params="input axis name")
def _squeeze(a: Arguments) -> str:
    x = a.first
    shape = a.c.b.shape(x)
    axes = a.axes(x) if a.get("axis", []) != [] else [k for k, size in enumerate(shape) if size == 1]
    return a.c.op("Squeeze", [x, np.array(axes, np.int64)]) if axes else x


@operation("ExpandDims", params="x axis")
@function("expand_dims", params="input axis name")
def _expand_dims(a: Arguments) -> str:
    return a.c.op("Unsqueeze", [a.first, np.array(a.numbers("axis"))])


@operation("Ravel", params="x")
def _ravel(a: Arguments) -> str:
    return reshaped(a.c, a.first, [-1])


@operation("Concatenate", params="xs axis")
@function("concat", params="values axis name")
def _concatenate(a: Arguments) -> str:
    return a.c.op("Concat", a.values_of("xs" if "xs" in a else "values"), axis=a.numbers("axis", [0])[0])


@operation("Stack", params="x axis")
@function("stack", params="values axis name")
def _stack(a: Arguments) -> str:
    axis = a.numbers("axis", [0])[0]
    values = a.values_of("x" if "x" in a else "values")
    axis = a.c.positive(axis, a.c.b.rank(values[0]) + 1)
    parts = [a.c.op("Unsqueeze", [v, np.array([axis])]) for v in values]
    return a.c.op("Concat", parts, axis=axis)


@operation("Split", params="x indices_or_sections axis")
def _split(a: Arguments) -> list[str]:
    x, axis = a.first, a.numbers("axis", [0])[0]
    found = a.get("indices_or_sections")
    if isinstance(found, int):
        return _parts(a, x, axis, None, found)
    places = [0, *a.numbers("indices_or_sections"), a.c.b.shape(x)[axis]]
    return _parts(a, x, axis, np.diff(places), len(places) - 1)


@function("split", params="value num_or_size_splits axis num name")
def _tf_split(a: Arguments) -> list[str]:
    x, axis = a.first, a.numbers("axis", [0])[0]
    found = a.get("num_or_size_splits")
    if isinstance(found, int):
        return _parts(a, x, axis, None, found)
    sizes = np.array(a.numbers("num_or_size_splits"))
    sizes[sizes == -1] = a.c.b.shape(x)[axis] - sizes[sizes != -1].sum()
    return _parts(a, x, axis, sizes, len(sizes))


@operation("Unstack", params="x num axis")
@function("unstack", params="value num axis name")
def _unstack(a: Arguments) -> list[str]:
    x = a.first
    axis = a.c.positive(a.numbers("axis", [0])[0], a.c.b.rank(x))
    parts = _parts(a, x, axis, None, a.c.b.shape(x)[axis])
    return [a.c.op("Squeeze", [p, np.array([axis])]) for p in parts]


def _parts(a: Arguments, x: str, axis: int, sizes: np.ndarray | None, count: int) -> list[str]:
    if not 1 <= count <= 65536:
        raise invalid("a tensor is split into no possible number of parts", a.c.where, count)
    if sizes is None:
        return a.c.b.ops("Split", [x], count, axis=axis, num_outputs=count)
    return a.c.b.ops("Split", [x, sizes.astype(np.int64)], count, axis=axis)


# ---- more of the same ------------------------------------------------------------------------------------------------


@operation("Tile", params="x repeats")
@function("tile", params="input multiples name")
def _tile(a: Arguments) -> str:
    x = a.first
    times = a.numbers("repeats" if "repeats" in a else "multiples")
    _limited(a, math.prod(a.c.b.shape(x)) * math.prod(max(t, 0) for t in times))
    more = len(times) - a.c.b.rank(x)
    if more > 0:
        x = a.c.op("Unsqueeze", [x, np.arange(more)])
    return a.c.op("Tile", [x, np.array([1] * max(-more, 0) + times)])


def _limited(a: Arguments, count: int) -> None:
    if count > 1 << 32:
        raise invalid("a tensor would have more elements than any model's", a.c.where, count, 1 << 32)


@operation("Repeat", params="x repeats axis")
@function("repeat", params="input repeats axis name")
def _repeat(a: Arguments) -> str:
    x = a.first
    if "axis" not in a:
        x = reshaped(a.c, x, [-1])
    axis = a.c.positive(a.numbers("axis", [0])[0], a.c.b.rank(x))
    times = a.numbers("repeats")
    size = a.c.b.shape(x)[axis]
    if min(times) < 0:
        raise invalid("a number of repetitions is negative", a.c.where, min(times))
    a.c.limited(size * max(times))
    return a.c.op("Gather", [x, np.repeat(np.arange(size), times[0] if len(times) == 1 else times)], axis=axis)


@operation("BroadcastTo", params="x shape")
@function("broadcast_to", params="input shape name")
def _broadcast_to(a: Arguments) -> str:
    _limited(a, math.prod(max(n, 1) for n in a.numbers("shape")))
    return a.c.op("Expand", [a.first, np.array(a.numbers("shape"))])


@operation("Pad", params="x constant_values")
@function("pad", "compat.v1.pad", params="tensor paddings mode constant_values name")
def _pad(a: Arguments) -> str:
    x = a.first
    found = a.get("pad_width", a.get("paddings"))
    rank = a.c.b.rank(x)
    pairs = np.broadcast_to(np.asarray(found, dtype=np.int64), (rank, 2)) if isinstance(found, list | int) else None
    mode = str(a.get("mode", "constant")).lower()
    if pairs is None or mode not in ("constant", "reflect", "symmetric", "edge"):
        raise a.c.refuse("a padding that the model computes, or of an unknown mode")
    if mode == "symmetric":
        raise a.c.refuse("symmetric padding is not supported", "use mode='reflect'")
    value = a.get("constant_values", 0)
    filler = [a.c.like(value, x)] if mode == "constant" and value else []
    return a.c.op("Pad", [x, pairs.T.reshape(-1), *filler], mode=mode)


@operation("OneHot", params="x")
@function("one_hot", params="indices depth on_value off_value axis dtype name")
def _one_hot(a: Arguments) -> str:
    depth = a.numbers("num_classes" if "num_classes" in a else "depth")[0]
    dtype = str(a.get("dtype", "float32"))
    kept = dtype if dtype in ("int32", "int64") else "float32"
    ends = np.array([a.get("off_value", 0), a.get("on_value", 1)]).astype(kept)
    return a.c.op("OneHot", [cast(a.c, a.first, "int64"), np.int64(depth), ends], axis=a.numbers("axis", [-1])[0])


@operation("Tril", "Triu", params="x")
def _triangle(a: Arguments) -> str:
    return a.c.op("Trilu", [a.first, np.int64(a.numbers("k", [0])[0])], upper=int(a.c.layer.kind == "Triu"))


@operation("Arange", params="start stop step")
@function("range", params="start limit delta")
def _arange(a: Arguments) -> str:
    start, stop, step = (a.numbers(*k)[0] for k in (("start", [0]), ("stop" if "stop" in a else "limit", [0]),
                                                    ("step" if "step" in a else "delta", [1])))
    if "stop" not in a and "limit" not in a:
        start, stop = 0, start
    if not step:
        raise invalid("a range has a step of zero", a.c.where)
    a.c.limited(abs(stop - start))
    return a.c.b.add(np.arange(start, stop, step, dtype=np.int32))


@operation("Shape", params="x")
@function("shape", "compat.v1.shape", params="input out_type name")
def _shape(a: Arguments) -> str:
    return a.c.b.add(np.array(a.c.b.shape(a.first), np.int32))


@operation("ZerosLike", "OnesLike", params="x dtype")
@function("zeros_like", "ones_like", params="input dtype name")
def _filled(a: Arguments) -> str:
    x = a.first
    one = "one" in str(a.c.config.get("function", a.c.layer.kind)).lower()
    dtype = a.get("dtype")
    found = dtype if isinstance(dtype, str) and dtype in ("int32", "int64", "bool") else a.c.b.dtype(x)
    return a.c.b.add(np.broadcast_to(np.array(one, found), a.c.b.shape(x)))


@function("fill", "zeros", "ones", params="shape value")
def _fill(a: Arguments) -> str:
    name = a.c.config.word("function")
    value = {"zeros": 0.0, "ones": 1.0}.get(name, a.get("value", 0.0))
    shape = a.numbers("dims" if "dims" in a else "shape")
    _limited(a, math.prod(max(n, 1) for n in shape))
    return a.c.b.add(np.broadcast_to(np.float32(value), shape))


@function("nn.depth_to_space", "nn.space_to_depth", params="input block_size data_format name")
def _depth_and_space(a: Arguments) -> str:
    if str(a.get("data_format", "NHWC")) != "NHWC":
        raise a.c.refuse("only the NHWC form of this function is supported")
    back = a.c.config.word("function").endswith("space_to_depth")
    x = a.c.op("Transpose", [a.first], perm=[0, 3, 1, 2])
    size = a.numbers("block_size")[0]
    y = a.c.op("SpaceToDepth", [x], blocksize=size) if back else a.c.op("DepthToSpace", [x], blocksize=size, mode="DCR")
    return a.c.op("Transpose", [y], perm=[0, 2, 3, 1])
