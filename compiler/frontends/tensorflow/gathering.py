"""Reading and writing elements at computed places."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.values import Variable


@converter("Gather", "GatherV2", "ResourceGather")
def gather(c: Call) -> str:
    """Rows of a table, or entries along a dimension; with batch dimensions each example has its own table."""
    table = c.args[0]
    x = variable(c, table) if isinstance(table, Variable) else c.x(0)
    axis = int(c.scalar(2)) if len(c) > 2 else c.whole("batch_dims")
    batch = c.whole("batch_dims")
    rank = c.b.rank(x) if axis < 0 or batch else 0
    if axis < 0:
        axis = c.axis(axis, rank)
    if batch < 0:
        batch = c.axis(batch, c.rank(1))
    if batch:
        return _batched(c, x, c.x(1), axis, batch)
    return c.op("Gather", [x, c.x(1)], axis=axis)


def _batched(c: Call, x: str, indices: str, axis: int, batch: int) -> str:
    """Batch dimensions become one, whose number is added to the indices in a table of all examples."""
    shape, places = c.b.shape(x), c.b.shape(indices)
    examples, size = prod(shape[:batch]), shape[axis]
    order = [*range(batch), axis, *range(batch, axis), *range(axis + 1, len(shape))]
    table = c.reshape(c.transpose(x, order), [examples * size, *(shape[k] for k in order[batch + 1 :])])
    start = (np.arange(examples) * size).reshape([*shape[:batch]] + [1] * (len(places) - batch))
    found = c.op("Gather", [table, c.op("Add", [c.cast(indices, "int64"), start])], axis=0)
    # found: batch, the indices' own, then (between batch and axis), then (behind axis)
    own, between = len(places) - batch, axis - batch
    first = batch + own
    back = [*range(batch), *range(first, first + between), *range(batch, first),
            *range(first + between, len(shape) + own - 1)]
    return c.transpose(found, back)


def variable(c: Call, of: Variable) -> str:
    """The value of a variable."""
    return c.b.add(c.importer.source.variables.array(of.node, of.shared_name), of.node)


@converter("GatherNd", "ResourceGatherNd")
def gather_nd(c: Call) -> str:
    """Elements, or rows, at places given by several numbers each."""
    table = c.args[0]
    x = variable(c, table) if isinstance(table, Variable) else c.x(0)
    return c.op("GatherND", [x, c.cast(c.x(1), "int64")])


@converter("ScatterNd")
def scatter_nd(c: Call) -> str:
    """Zeros with updates added at places."""
    zeros = c.op("Expand", [c.number(0, c.x(1)), np.array(c.ints(2), np.int64)])
    return c.op("ScatterND", [zeros, c.cast(c.x(0), "int64"), c.x(1)], reduction="add")


_SCATTERS = {"TensorScatterUpdate": "none", "TensorScatterAdd": "add", "TensorScatterMax": "max",
             "TensorScatterMin": "min"}


@converter(*_SCATTERS)
def tensor_scatter(c: Call) -> str:
    """A value with updates at places."""
    return c.op("ScatterND", [c.x(0), c.cast(c.x(1), "int64"), c.x(2)], reduction=_SCATTERS[c.node.op])


@converter("TensorScatterSub")
def tensor_scatter_sub(c: Call) -> str:
    """A value with updates subtracted at places."""
    return c.op("ScatterND", [c.x(0), c.cast(c.x(1), "int64"), c.op("Neg", [c.x(2)])], reduction="add")


@converter("OneHot")
def one_hot(c: Call) -> str:
    """A new dimension with one value at the index and another one elsewhere."""
    axis, depth = c.whole("axis", -1), int(c.scalar(1))
    places = c.op("Unsqueeze", [c.x(0), np.array([axis], np.int64)])
    rank = c.rank(0) + 1
    shape = [1] * rank
    shape[c.axis(axis, rank)] = depth
    numbers = np.arange(depth).astype(c.dtype(0)).reshape(shape)
    return c.op("Where", [c.op("Equal", [places, numbers]), c.x(2), c.x(3)])


@converter("TopK", "TopKV2")
def top_k(c: Call) -> list[str]:
    """The largest entries of the last dimension, largest first, and where they are."""
    k = int(c.scalar(1)) if c.node.op == "TopKV2" else c.whole("k")
    values, places = c.b.ops("TopK", [c.x(), np.array([k], np.int64)], 2, axis=-1, largest=1, sorted=1)
    return [values, c.cast(places, c.kind("index_type", 3))]


@converter("NthElement")
def nth_element(c: Call) -> str:
    """The n-th smallest (or largest) entry of the last dimension."""
    n = int(c.scalar(1))
    values, _ = c.b.ops("TopK", [c.x(), np.array([n + 1], np.int64)], 2, axis=-1, largest=int(c.flag("reverse")))
    return c.op("Gather", [values, np.int64(n)], axis=c.rank() - 1)


@converter("Unique", "UniqueV2")
def unique(c: Call) -> list[str]:
    """Distinct elements in the order they come, and the number of each element among them."""
    wide = "int64" if c.dtype() == "int32" else c.dtype()
    found, _, places = c.b.ops("Unique", [c.cast(c.x(), wide)], 3, sorted=0)
    return [c.cast(found, c.dtype()), c.op("Cast", [places], to=6 if c.kind("out_idx", 3) == "int32" else 7)]


@converter("SparseToDense")
def sparse_to_dense(c: Call) -> str:
    """A default with values at places."""
    places = c.x(0)
    rank = len(c.ints(1))
    if c.rank(0) < 2:
        places = c.reshape(places, [-1, rank])
    count = c.b.shape(places)[0]
    base = c.op("Expand", [c.x(3), np.array(c.ints(1), np.int64)])
    updates = c.op("Expand", [c.x(2), np.array([count], np.int64)])
    return c.op("ScatterND", [base, c.cast(places, "int64"), updates])


@converter("DynamicStitch", "ParallelDynamicStitch")
def dynamic_stitch(c: Call) -> str:
    """Pieces put together in the order that known indices say."""
    n = len(c) // 2
    indices = np.concatenate([c.const(k).reshape(-1) for k in range(n)])
    tail = list(c.shape(n)[c.const(0).ndim :])
    rows = [c.reshape(c.x(n + k), [-1, *tail]) for k in range(n)]
    joined = rows[0] if n == 1 else c.op("Concat", rows, axis=0)
    size = int(indices.max(initial=-1)) + 1
    if size > len(indices):
        raise c.refuse("pieces that leave gaps")
    last = np.zeros(size, np.int64)
    last[indices] = np.arange(len(indices))
    return c.op("Gather", [joined, last], axis=0)
