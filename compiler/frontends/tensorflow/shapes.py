"""Shapes as values, and operators that only give elements another shape or order."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.filling import filled_up
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.values import Value, Variable


@converter("Identity", "StopGradient", "PreventGradient", "CheckNumerics", "CheckNumericsV2", "Snapshot",
           "EnsureShape", "GuaranteeConst", "DebugIdentity", "PlaceholderWithDefault", "Enter", "RefEnter",
           "RefIdentity", "Print", "LoopCond", "NextIteration", "RefNextIteration")
def identity(c: Call) -> Value:
    """The operand itself: what these check, print or hint at has no part in the result."""
    return c.args[0] if c.args else c.x()


@converter("IdentityN")
def identity_n(c: Call) -> list[Value]:
    """All operands."""
    return list(c.args)


@converter("Shape", "ShapeN", "VariableShape")
def shape(c: Call) -> list[Value]:
    """Sizes of each operand."""
    out = c.kind("out_type", 3)
    if isinstance(c.args[0], Variable):
        found = c.importer.source.variables.array(c.args[0].node, c.args[0].shared_name)
        return [c.cast(c.b.add(np.array(found.shape, np.int64)), out)]
    return [c.cast(c.op("Shape", [x]), out) for x in c.xs()]


@converter("Size")
def size(c: Call) -> str:
    """Number of elements."""
    return c.cast(c.op("Size", [c.x()]), c.kind("out_type", 3))


@converter("Rank")
def rank(c: Call) -> str:
    """Number of dimensions."""
    return c.b.add(np.int32(c.rank()))


@converter("Reshape")
def reshape(c: Call) -> str:
    """The same elements in another shape. A shape that is computed has to be known when the model is compiled."""
    known = c.known(1)
    if known is None:
        return c.op("Reshape", [c.x(), c.cast(c.x(1), "int64")], allowzero=1)
    return c.reshape(c.x(), [int(v) for v in known.reshape(-1)])


@converter("Squeeze")
def squeeze(c: Call) -> str:
    """Without dimensions of size one."""
    dims = c.numbers("squeeze_dims") or c.numbers("axis")
    return c.op("Squeeze", [c.x(), np.array(dims, np.int64)] if dims else [c.x()])


@converter("ExpandDims")
def expand_dims(c: Call) -> str:
    """With one more dimension of size one."""
    return c.op("Unsqueeze", [c.x(), np.array([c.scalar(1)], np.int64)])


@converter("Transpose", "ConjugateTranspose")
def transpose(c: Call) -> str:
    """Dimensions in another order."""
    perm = c.ints(1)
    if sorted(perm) != list(range(c.rank())):
        raise c.refuse(f"{perm} is no order of {c.rank()} dimensions")
    return c.transpose(c.x(), perm)


@converter("BroadcastTo")
def broadcast_to(c: Call) -> str:
    """Repeated to a shape."""
    return c.op("Expand", [c.x(), np.array(c.ints(1), np.int64)])


@converter("BroadcastArgs")
def broadcast_args(c: Call) -> str:
    """The shape that two shapes broadcast to."""
    return c.b.add(np.array(np.broadcast_shapes(tuple(c.ints(0)), tuple(c.ints(1)))).astype(c.dtype()))


@converter("Tile")
def tile(c: Call) -> str:
    """Repeated along each dimension."""
    return c.op("Tile", [c.x(), np.array(c.ints(1), np.int64)])


@converter("Pack")
def pack(c: Call) -> str:
    """Operands along a new dimension."""
    if all(c.known(k) is not None for k in range(len(c))):
        arrays = [c.const(k) for k in range(len(c))]
        return c.b.add(np.stack(arrays, c.whole("axis")))
    axis = np.array([c.whole("axis")], np.int64)
    return c.op("Concat", [c.op("Unsqueeze", [x, axis]) for x in c.xs()],
                axis=c.axis(c.whole("axis"), c.rank() + 1))


@converter("ConcatV2")
def concat_v2(c: Call) -> str:
    """Operands one after the other along a dimension, which the last operand names."""
    return _concat(c, c.xs(0, len(c) - 1), int(c.scalar(len(c) - 1)))


@converter("Concat")
def concat(c: Call) -> str:
    """As ConcatV2, the dimension first."""
    return _concat(c, c.xs(1), int(c.scalar(0)))


def _concat(c: Call, parts: list[str], axis: int) -> str:
    if len(parts) == 1:
        return parts[0]
    return filled_up(c, parts) or c.op("Concat", parts, axis=axis)


@converter("ConcatOffset")
def concat_offset(c: Call) -> list[str]:
    """Where each operand of a Concat starts."""
    axis, at, found = int(c.scalar(0)), 0, []
    for k in range(1, len(c)):
        offset = np.zeros(c.const(k).shape, np.int32)
        offset[axis] = at
        at += c.ints(k)[axis]
        found.append(c.b.add(offset))
    return found


@converter("DepthToSpace", "SpaceToDepth")
def depth_and_space(c: Call) -> str:
    """Blocks of pixels as channels, or back. TensorFlow counts the pixel of a block before the channel (ONNX: DCR)."""
    kind = c.text("data_format", "NHWC")
    if kind.endswith("VECT_C"):
        raise c.refuse("channels in vectors")
    from compiler.frontends.tensorflow.windows import from_first, to_first

    return from_first(c, c.op(c.node.op, [to_first(c, c.x())], blocksize=c.whole("block_size", 2)))


@converter("ReverseV2")
def reverse_v2(c: Call) -> str:
    """Backwards along dimensions."""
    axes = [c.axis(a, c.rank()) for a in c.ints(1)]
    return backwards(c, c.x(), axes)


def backwards(c: Call, x: str, axes: list[int]) -> str:
    """A value backwards along dimensions."""
    if not axes:
        return x
    n, least = len(axes), np.iinfo(np.int64).min
    return c.op("Slice", [x, np.full(n, -1, np.int64), np.full(n, least, np.int64), np.array(axes, np.int64),
                          np.full(n, -1, np.int64)])


@converter("Reverse")
def reverse(c: Call) -> str:
    """Backwards along dimensions, given as true or false for each."""
    return backwards(c, c.x(), [k for k, v in enumerate(c.const(1).reshape(-1)) if v])


@converter("ReverseSequence")
def reverse_sequence(c: Call) -> str:
    """The first part of every example backwards; ONNX knows the first two dimensions, in either order."""
    along, batch, rank = c.whole("seq_dim"), c.whole("batch_dim"), c.rank()
    order = [batch, along, *(k for k in range(rank) if k not in (batch, along))]
    turned = c.op("ReverseSequence", [c.transpose(c.x(), order), c.cast(c.x(1), "int64")], batch_axis=0, time_axis=1)
    return c.transpose(turned, [order.index(k) for k in range(rank)])


@converter("Roll")
def roll(c: Call) -> str:
    """Shifted along dimensions; what leaves comes in at the other side."""
    x = c.x()
    for shift, axis in zip(c.ints(1), c.ints(2), strict=True):
        size = c.b.shape(x)[axis]
        if shift % max(size, 1):
            x = c.op("Gather", [x, (np.arange(size) - shift) % size], axis=c.axis(axis, c.rank()))
    return x


@converter("Bitcast")
def bitcast(c: Call) -> str:
    """The same bits as another type, of what is known."""
    from compiler.ir import numpy_dtype

    known, to = c.known(0), numpy_dtype(c.kind("type"))
    if known is None or known.dtype.itemsize != to.itemsize:
        raise c.refuse("the bits of values that are computed at run time")
    return c.b.add(np.ascontiguousarray(known).view(to))


@converter("InvertPermutation")
def invert_permutation(c: Call) -> str:
    """The order that undoes an order."""
    return c.b.add(np.argsort(c.const(0)).astype(c.dtype()))


@converter("UnravelIndex")
def unravel_index(c: Call) -> str:
    """Numbers of elements as places in a shape."""
    dims = c.ints(1)
    rows = []
    for k, d in enumerate(dims):
        quotient = c.op("Div", [c.x(), c.number(prod(dims[k + 1 :]), c.x())])
        rows.append(c.op("Unsqueeze", [c.op("Mod", [quotient, c.number(d, c.x())]), np.array([0])]))
    return c.op("Concat", rows, axis=0)
