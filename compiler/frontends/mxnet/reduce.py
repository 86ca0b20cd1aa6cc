"""Reductions over axes, and where the largest and smallest elements are."""

from __future__ import annotations

import numpy as np

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.elementwise import is_real

_REDUCTIONS = {
    "ReduceSum": "sum sum_axis nansum _sparse_sum _np_sum",
    "ReduceMean": "mean _sparse_mean _npi_mean",
    "ReduceProd": "prod nanprod _np_prod _np_product",
    "ReduceMax": "max max_axis _np_max _np_amax",
    "ReduceMin": "min min_axis _np_min _np_amin",
    "ReduceSumSquare": "_square_sum",
}


def is_numpy(c: Call) -> bool:
    """Whether the operator is of the numpy interface, where a single number has no axis."""
    return c.op.startswith("_np")


def axes_of(c: Call) -> list[int]:
    """Axes to reduce: those named, all without names, the others under `exclude`."""
    rank = c.rank()
    named = [] if c.is_none("axis") else [c.check_axis(a) for a in c.ints("axis")]
    if c.flag("exclude"):
        return [a for a in range(rank) if a not in named] if named else []
    return sorted(set(named)) or list(range(rank))


def reduced(c: Call, op: str, x: str, axes: list[int], keep: bool) -> str:
    """Reduce; a tensor of no axes is one of a single element, but in the numpy interface."""
    if not axes:
        return c.do("Mul", x, x) if op == "ReduceSumSquare" else x
    found = c.do(op, x, np.array(axes, np.int64), keepdims=int(keep))
    return found if c.shape(found) or is_numpy(c) else c.reshape(found, [1])


def _register(op: str, names: str) -> None:
    @operator(*names.split())
    def convert(c: Call) -> str:
        x = c.x
        if is_numpy(c) and not c.is_none("dtype"):
            x = c.cast(x, c.type("dtype", "float32"))
        elif c.op == "_npi_mean" and not is_real(c, x):
            x = c.cast(x, "float32")
        if c.op in ("nansum", "nanprod"):
            x = c.do("Where", c.do("IsNaN", x), c.like(x, 0 if c.op == "nansum" else 1), x)
        return reduced(c, op, x, axes_of(c), c.flag("keepdims"))


for _op, _names in _REDUCTIONS.items():
    _register(_op, _names)


@operator("norm", "_sparse_norm")
def _norm(c: Call) -> str:
    order = c.real("ord", 2.0)
    if order not in (1, 2):
        raise c.unsupported(f"norms of order {order:g}")
    x = c.x if c.is_none("out_dtype") else c.cast(c.x, c.type("out_dtype", "float32"))
    return reduced(c, f"ReduceL{order:.0f}", x, axes_of(c), c.flag("keepdims"))


@operator("moments")
def _moments(c: Call) -> list[str]:
    axes = [c.check_axis(a) for a in c.ints("axes", range(c.rank()))]
    mean = c.do("ReduceMean", c.x, np.array(axes))
    off = c.do("Sub", c.x, mean)
    keep = c.flag("keepdims")
    variance = reduced(c, "ReduceMean", c.do("Mul", off, off), axes, keep)
    return [reduced(c, "ReduceMean", c.x, axes, keep), variance]


@operator("_npi_var", outputs=("var",))
def _variance(c: Call) -> str:
    return _spread(c)


@operator("_npi_std", outputs=("std",))
def _deviation(c: Call) -> str:
    return c.do("Sqrt", _spread(c))


def _spread(c: Call) -> str:
    """The mean square distance from the mean."""
    axes = axes_of(c)
    off = c.do("Sub", c.x, c.do("ReduceMean", c.x, np.array(axes)))
    found = reduced(c, "ReduceMean", c.do("Mul", off, off), axes, c.flag("keepdims"))
    count = int(np.prod([c.shape()[a] for a in axes]))
    if spare := c.integer("ddof", 0):
        found = c.do("Mul", found, c.like(found, count / (count - spare)))
    return found


@operator("_np_all", "_np_any", "_np_sometrue")
def _truths(c: Call) -> str:
    number = c.cast(c.cast(c.x, "bool"), "float32")
    op = "ReduceMin" if c.op == "_np_all" else "ReduceMax"
    return c.cast(reduced(c, op, number, axes_of(c), c.flag("keepdims")), "bool")


@operator("argmax", "argmin", "argmax_channel", "_npi_argmax", "_npi_argmin")
def arg_extreme(c: Call) -> str:
    """Positions as real numbers, but in the numpy interface; without an axis, of the tensor laid out flat."""
    op = "ArgMin" if "argmin" in c.op else "ArgMax"
    rank, keep = c.rank(), c.flag("keepdims")
    if c.op == "argmax_channel":
        found = c.do(op, c.x, axis=c.check_axis(1), keepdims=0)
    elif c.is_none("axis"):
        found = c.reshape(c.do(op, c.reshape(c.x, [-1]), axis=0, keepdims=0),
                          [1] * rank if keep else [] if is_numpy(c) else [1])
    else:
        found = c.do(op, c.x, axis=c.axis("axis", 0), keepdims=int(keep))
        found = found if c.shape(found) or is_numpy(c) else c.reshape(found, [1])
    return found if is_numpy(c) else c.cast(found, c.dtype() if is_real(c, c.x) else "float32")


@operator("cumsum", "_np_cumsum")
def _cumsum(c: Call) -> str:
    x = c.reshape(c.x, [-1]) if c.is_none("axis") else c.x
    if not c.is_none("dtype"):
        x = c.cast(x, c.type("dtype", "float32"))
    return c.do("CumSum", x, np.int64(0 if c.is_none("axis") else c.axis("axis", 0)))


@operator("softmax_cross_entropy")
def softmax_cross_entropy(c: Call) -> str:
    """The loss summed over the batch; the label is an input here."""
    logs = c.do("LogSoftmax", c.x, axis=-1)
    rows = c.do("GatherElements", logs, c.reshape(c.cast(c[1], "int64"), [-1, 1]), axis=1)
    return c.reshape(c.do("Neg", c.do("ReduceSum", rows, keepdims=0)), [1])
