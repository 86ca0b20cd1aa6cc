"""TensorLists (TensorFlow 2) and TensorArrays (TensorFlow 1): Python tuples while the model is imported."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.values import Items, Value

#: Longer lists are not kept.
_LONGEST = 1 << 20


def _list(c: Call, index: int) -> Items:
    found = c.args[index] if index < len(c.args) else None
    if not isinstance(found, Items):
        raise c.refuse("its input is no list of tensors")
    return found


def _count(c: Call, value: int) -> int:
    if not 0 <= value <= _LONGEST:
        raise c.refuse(f"a list of {value} tensors")
    return value


def _shape(c: Call, index: int) -> tuple[int | None, ...] | None:
    known = c.known(index)
    if known is None or known.ndim == 0:
        return None
    return tuple(int(v) if v >= 0 else None for v in known.reshape(-1))


def _item(c: Call, of: Items, index: int) -> str:
    """An item; one that was not written is zeros."""
    if not 0 <= index < len(of.items):
        raise c.refuse(f"item {index} of a list of {len(of.items)}")
    found = of.items[index]
    return found if found is not None else _zeros(c, of)


def _zeros(c: Call, of: Items) -> str:
    written = next((i for i in of.items if i is not None), None)
    shape = c.b.shape(written) if written is not None else of.shape
    if shape is None or None in shape:
        raise c.refuse("an item that was not written and whose shape is not known")
    return c.op("Expand", [c.number(0, written) if written else np.zeros((), of.dtype),
                           np.array([d or 0 for d in shape], np.int64)])


def _stacked(c: Call, of: Items, indices: list[int]) -> str:
    if not indices:
        shape = [0] + [d or 0 for d in of.shape or ()]
        return c.b.add(np.zeros(shape, of.dtype))
    parts = [c.op("Unsqueeze", [_item(c, of, i), np.array([0])]) for i in indices]
    return parts[0] if len(parts) == 1 else c.op("Concat", parts, axis=0)


def _entries(c: Call, x: str) -> tuple[str, ...]:
    return tuple(c.op("Gather", [x, np.int64(k)], axis=0) for k in range(c.b.shape(x)[0]))


@converter("TensorListReserve")
def list_reserve(c: Call) -> Items:
    """So many items not written yet."""
    count = _count(c, int(c.scalar(1)))
    return Items((None,) * count, _shape(c, 0), c.kind("element_dtype"))


@converter("EmptyTensorList")
def list_empty(c: Call) -> Items:
    """No item."""
    return Items((), _shape(c, 0), c.kind("element_dtype"))


@converter("TensorListFromTensor")
def list_from_tensor(c: Call) -> Items:
    """The entries along the first dimension."""
    return Items(_entries(c, c.x()), c.shape()[1:], c.dtype())


@converter("TensorListSetItem")
def list_set(c: Call) -> Items:
    """With one item replaced."""
    return _written(c, _list(c, 0), int(c.scalar(1)), c.x(2))


def _written(c: Call, of: Items, index: int, value: str) -> Items:
    if index < 0:
        raise c.refuse(f"item {index}")
    items = list(of.items) + [None] * (_count(c, index + 1) - len(of.items))
    items[index] = value
    return replace(of, items=tuple(items))


@converter("TensorListGetItem")
def list_get(c: Call) -> str:
    """One item; at a place known at run time only, from all of them together."""
    of, known = _list(c, 0), c.known(1)
    if known is not None:
        return _item(c, of, int(c.scalar(1)))
    return c.op("Gather", [_stacked(c, of, list(range(len(of.items)))), c.x(1)], axis=0)


@converter("TensorListStack")
def list_stack(c: Call) -> str:
    """All items along a new first dimension."""
    of = _list(c, 0)
    return _stacked(c, replace(of, shape=of.shape or _shape(c, 1)), list(range(len(of.items))))


@converter("TensorListGather")
def list_gather(c: Call) -> str:
    """Some items along a new first dimension."""
    return _stacked(c, _list(c, 0), c.ints(1))


@converter("TensorListScatterIntoExistingList")
def list_scatter_into(c: Call) -> Items:
    """With several items replaced."""
    of = _list(c, 0)
    for index, value in zip(c.ints(2), _entries(c, c.x(1)), strict=True):
        of = _written(c, of, index, value)
    return of


@converter("TensorListScatter", "TensorListScatterV2")
def list_scatter(c: Call) -> Items:
    """Entries along the first dimension, put at places."""
    of = Items((), c.shape()[1:], c.dtype())
    for index, value in zip(c.ints(1), _entries(c, c.x()), strict=True):
        of = _written(c, of, index, value)
    return of


@converter("TensorListLength")
def list_length(c: Call) -> str:
    """Number of items."""
    return c.b.add(np.int32(len(_list(c, 0).items)))


@converter("TensorListElementShape")
def list_element_shape(c: Call) -> str:
    """Sizes of an item, -1 where they are open."""
    shape = _list(c, 0).shape
    found = np.array(-1) if shape is None else np.array([-1 if d is None else d for d in shape])
    return c.b.add(found.astype(c.kind("shape_type", 3)))


@converter("TensorListPushBack")
def list_push(c: Call) -> Items:
    """With one item more."""
    of = _list(c, 0)
    return _written(c, of, len(of.items), c.x(1))


@converter("TensorListPopBack")
def list_pop(c: Call) -> list[Value]:
    """Without the last item, and that item."""
    of = _list(c, 0)
    return [replace(of, items=of.items[:-1]), _item(c, of, len(of.items) - 1)]


@converter("TensorListResize")
def list_resize(c: Call) -> Items:
    """Cut, or with items not written yet at the end."""
    of, count = _list(c, 0), _count(c, int(c.scalar(1)))
    return replace(of, items=(of.items + (None,) * count)[:count])


@converter("TensorListConcat", "TensorListConcatV2")
def list_concat(c: Call) -> list[str]:
    """Items one after the other along their first dimension, and their lengths."""
    of = _list(c, 0)
    return _joined(c, of)


def _joined(c: Call, of: Items) -> list[str]:
    parts = [_item(c, of, k) for k in range(len(of.items))]
    if not parts:
        raise c.refuse("an empty list")
    lengths = np.array([c.b.shape(p)[0] for p in parts], np.int64)
    return [parts[0] if len(parts) == 1 else c.op("Concat", parts, axis=0), c.b.add(lengths)]


# ---- TensorFlow 1: the handle says nothing, the flow carries the items ---------------------------------------------


@converter("TensorArrayV3")
def array(c: Call) -> list[Value]:
    """So many items not written yet; the handle stands for them only where a flow does not."""
    made = Items((None,) * _count(c, int(c.scalar(0))), c.dims("element_shape"), c.kind("dtype"))
    return [made, made]


@converter("TensorArrayWriteV3")
def array_write(c: Call) -> Items:
    """With one item written."""
    return _written(c, _list(c, 3), int(c.scalar(1)), c.x(2))


@converter("TensorArrayReadV3")
def array_read(c: Call) -> str:
    """One item; at a place known at run time only, from all of them together."""
    of = _list(c, 2)
    if c.known(1) is not None:
        return _item(c, of, int(c.scalar(1)))
    return c.op("Gather", [_stacked(c, of, list(range(len(of.items)))), c.x(1)], axis=0)


@converter("TensorArrayGatherV3")
def array_gather(c: Call) -> str:
    """Some items along a new first dimension."""
    of = _list(c, 2)
    return _stacked(c, replace(of, shape=c.dims("element_shape") or of.shape), c.ints(1))


@converter("TensorArrayScatterV3")
def array_scatter(c: Call) -> Items:
    """With entries along the first dimension written to places."""
    of = _list(c, 3)
    for index, value in zip(c.ints(1), _entries(c, c.x(2)), strict=True):
        of = _written(c, of, index, value)
    return of


@converter("TensorArraySizeV3")
def array_size(c: Call) -> str:
    """Number of items."""
    return c.b.add(np.int32(len(_list(c, 1).items)))


@converter("TensorArrayConcatV3")
def array_concat(c: Call) -> list[str]:
    """Items one after the other, and their lengths."""
    return _joined(c, _list(c, 1))


@converter("TensorArraySplitV3")
def array_split(c: Call) -> Items:
    """Pieces of a value with given lengths, as items."""
    at, items = 0, []
    for length in c.ints(2):
        items.append(c.op("Slice", [c.x(1), np.array([at]), np.array([at + length]), np.array([0])]))
        at += length
    return replace(_list(c, 3), items=tuple(items))
