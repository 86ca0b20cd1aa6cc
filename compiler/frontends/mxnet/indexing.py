"""Look-ups: Embedding, take, pick, gather and scatter, one-hot vectors, where."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.elementwise import matched


def positions(c: Call, value: str, size: int, mode: str = "clip") -> str:
    """Indices, which may be real numbers, as integers within an axis of `size`."""
    found = c.cast(value, "int64") if c.dtype(value) not in ("int32", "int64") else value
    if mode == "wrap":
        return c.do("Mod", found, c.like(found, size))
    return c.do("Clip", found, c.like(found, 0), c.like(found, size - 1))


@operator("Embedding", "_contrib_SparseEmbedding", "_sparse_Embedding", "_npx_embedding", roles=("data", "weight"))
def _embedding(c: Call) -> str:
    found = c.do("Gather", c[1], positions(c, c.x, c.shape(1)[0]), axis=0)
    return found if c.is_none("dtype") else c.cast(found, c.type("dtype", "float32"))


@operator("take", "_npi_take")
def take(c: Call) -> str:
    """Slices along an axis; indices beyond it are cut (`clip`, and `raise`, which is no error here) or wrapped."""
    mode = c.text("mode", "clip", ("clip", "wrap", "raise"))
    if c.op == "_npi_take" and c.is_none("axis"):
        return c.do("Gather", c.reshape(c.x, [-1]), positions(c, c[1], math.prod(c.shape()), mode), axis=0)
    axis = c.axis("axis", 0)
    return c.do("Gather", c.x, positions(c, c[1], c.shape()[axis], mode), axis=axis)


@operator("batch_take", "choose_element_0index")
def batch_take(c: Call) -> str:
    """One element of each row."""
    where = c.reshape(positions(c, c[1], c.shape()[1]), [-1, 1])
    return c.reshape(c.do("GatherElements", c.x, where, axis=1), [-1])


@operator("pick", "_npx_pick")
def pick(c: Call) -> str:
    """One element along an axis for every place of the others."""
    mode = c.text("mode", "clip", ("clip", "wrap"))
    x, index = (c.reshape(c.x, [-1]), c.reshape(c[1], [-1])) if c.attrs.get("axis") == "None" else (c.x, c[1])
    axis = c.check_axis(-1 if c.is_none("axis") else c.integer("axis"), c.rank(x))
    shape = list(c.shape(x))
    kept = [*shape[:axis], 1, *shape[axis + 1 :]]
    where = c.reshape(positions(c, index, shape[axis], mode), kept)
    found = c.do("GatherElements", x, where, axis=axis)
    return found if c.flag("keepdims") else c.reshape(found, [*kept[:axis], *kept[axis + 1 :]] or [1])


@operator("gather_nd", "_npx_gather_nd", "_npi_gather_nd")
def gather_nd(c: Call) -> str:
    """Indices have the axes they address first: (m, places...)."""
    return c.do("GatherND", c.x, _places(c, c[1], c.shape()))


def _places(c: Call, indices: str, shape: tuple[int, ...]) -> str:
    """Indices of `gather_nd` with their axes last, negative ones counted from the end."""
    moved = c.cast(c.transpose(indices, [*range(1, c.rank(indices)), 0]), "int64")
    sizes = np.array(shape[: c.shape(moved)[-1]], np.int64)
    moved = c.do("Where", c.do("Less", moved, np.int64(0)), c.do("Add", moved, sizes), moved)
    return c.do("Max", c.do("Min", moved, sizes - 1), np.int64(0))


@operator("scatter_nd")
def _scatter_nd(c: Call) -> str:
    shape = c.ints("shape")
    c.sized(*shape)
    empty = np.zeros(shape, c.like(c.x, 0).dtype)
    return c.do("ScatterND", empty, _places(c, c[1], shape), c.x)


@operator("_scatter_set_nd", "_npi_scatter_set_nd")
def _scatter_set_nd(c: Call) -> str:
    return c.do("ScatterND", c[0], _places(c, c[2], c.shape()), c[1])


@operator("_contrib_index_copy")
def index_copy(c: Call) -> str:
    """Rows of the first operand replaced by those of the third."""
    return c.do("ScatterND", c[0], c.reshape(c.cast(c[1], "int64"), [-1, 1]), c[2])


@operator("fill_element_0index")
def fill_element(c: Call) -> str:
    """In each row the element at the third operand's index becomes the second operand's."""
    where = c.reshape(positions(c, c[2], c.shape()[1]), [-1, 1])
    return c.do("ScatterElements", c[0], where, c.reshape(c[1], [-1, 1]), axis=1)


@operator("one_hot", "_npx_one_hot")
def one_hot(c: Call) -> str:
    """Indices outside give a row of `off_value` only."""
    depth = c.integer("depth")
    c.sized(depth, *c.shape())
    kinds = c.like(c.b.add(np.empty(0, c.type("dtype", "float32"))), [c.real("off_value", 0.0),
                                                                     c.real("on_value", 1.0)])
    index = c.do("Unsqueeze", c.cast(c.x, "int64"), np.array([-1]))
    return c.do("Where", c.do("Equal", index, np.arange(depth)), kinds[1], kinds[0])


@operator("_onehot_encode")
def _onehot_encode(c: Call) -> str:
    found = c.do("Equal", c.reshape(c.cast(c[0], "int64"), [-1, 1]), np.arange(c.shape(1)[1]))
    return c.cast(found, c.dtype(1))


@operator("where", "_sparse_where", "_npi_where")
def _where(c: Call) -> str:
    condition = c.cast(c[0], "bool")
    if c.op != "_npi_where" and c.rank(0) == 1 and c.rank(1) > 1:  # a condition for each row
        condition = c.reshape(condition, [-1, *[1] * (c.rank(1) - 1)])
    return c.do("Where", condition, *matched(c, c[1], c[2]))


@operator("_npi_where_lscalar", "_npi_where_rscalar")
def _where_scalar(c: Call) -> str:
    number = c.like(c[1], c.real("scalar"))
    first = c.op == "_npi_where_lscalar"
    return c.do("Where", c.cast(c[0], "bool"), *((number, c[1]) if first else (c[1], number)))


@operator("_ravel_multi_index", "ravel_multi_index")
def ravel_multi_index(c: Call) -> str:
    """(axes, n) indices as positions in a tensor of `shape` laid out flat."""
    shape = c.ints("shape")
    strides = np.cumprod([1, *shape[:0:-1]])[::-1]
    weighed = c.do("Mul", c.x, c.like(c.x, strides.reshape(-1, *[1] * (c.rank() - 1))))
    return c.do("ReduceSum", weighed, np.array([0]), keepdims=0)


@operator("_unravel_index", "unravel_index")
def unravel_index(c: Call) -> str:
    """Positions as indices, the axes first."""
    shape = c.ints("shape")
    flat, found = c.cast(c.x, "int64"), []
    for stride, size in zip(np.cumprod([1, *shape[:0:-1]])[::-1], shape, strict=True):
        found.append(c.do("Mod", c.do("Div", flat, np.int64(stride)), np.int64(size)))
    stacked = c.do("Concat", *(c.do("Unsqueeze", v, np.array([0])) for v in found), axis=0)
    return c.cast(stacked, c.dtype())
