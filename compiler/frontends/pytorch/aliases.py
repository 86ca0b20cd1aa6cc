"""Tensors that share memory: an operator in place changes what every view of the same memory reads afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.indexing import select_scatter, slice_scatter
from compiler.frontends.pytorch.aten.registry import axis, cast, expand, permute, reshape, unsupported

#: Puts a view's new value back: (builder, the base's value, the view's new value, arguments of the view) -> the base's.
Back = Callable[[GraphBuilder, str, str, dict[str, Any]], str]


class Cell:
    """One tensor of the program: of its own memory, or a view of another's.

    Args:
        value: the graph's value it has now.
        base: the cell it is a view of. replay: the view of a new value of the base. back: puts a new value of the view
            into the base's.
    """

    def __init__(self, value: str, base: Cell | None = None, replay: Callable[[str], str] | None = None,
                 back: Callable[[str, str], str] | None = None) -> None:
        self._value, self._base, self._replay, self._back = value, base, replay, back
        self._root: Cell = base._root if base else self
        self._writes = 0
        self._seen = self._root._writes

    def read(self) -> str:
        """The value now."""
        if self._base is not None and self._seen != self._root._writes:
            assert self._replay is not None
            self._value = self._replay(self._base.read())
            self._seen = self._root._writes
        return self._value

    def write(self, value: str) -> None:
        """Change it in place, and with it all views of the same memory."""
        if self._base is None:
            self._value = value
            self._writes += 1
            return
        assert self._back is not None
        self._base.write(self._back(self._base.read(), value))


# ---- views -------------------------------------------------------------------------------------------------------


def _reshaped(b: GraphBuilder, base: str, value: str, args: dict[str, Any]) -> str:
    return reshape(b, value, b.shape(base))


def _permuted(b: GraphBuilder, base: str, value: str, args: dict[str, Any]) -> str:
    rank = b.rank(base)
    if "dims" in args:
        order = [d % rank for d in args["dims"]]
    else:
        one, other = axis(b, base, args.get("dim0", -2)), axis(b, base, args.get("dim1", -1))
        order = list(range(rank))
        order[one], order[other] = other, one
    return permute(b, value, list(np.argsort(order)))


def _sliced(b: GraphBuilder, base: str, value: str, args: dict[str, Any]) -> str:
    return slice_scatter(b, base, value, args.get("dim", 0), args.get("start"), args.get("end"), args.get("step", 1))


def _narrowed(b: GraphBuilder, base: str, value: str, args: dict[str, Any]) -> str:
    return slice_scatter(b, base, value, args["dim"], args["start"], args["start"] + args["length"])


def _selected(b: GraphBuilder, base: str, value: str, args: dict[str, Any]) -> str:
    return select_scatter(b, base, value, args.get("dim", 0), args["index"])


def _same(b: GraphBuilder, base: str, value: str, args: dict[str, Any]) -> str:
    return value


def _refused(b: GraphBuilder, base: str, value: str, args: dict[str, Any]) -> str:
    raise unsupported("writing through this sort of view", help="write a clone of it")


#: operator -> how a new value of its result gets into its operand
VIEWS: dict[str, Back] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as",
                     "reshape_as", "ravel"), _reshaped),
    **dict.fromkeys(("permute", "transpose", "t", "swapaxes", "swapdims", "mT"), _permuted),
    **dict.fromkeys(("alias", "detach", "contiguous", "to", "lift_fresh", "dropout"), _same),
    **dict.fromkeys(("expand", "expand_as", "diagonal", "unfold", "broadcast_to", "movedim", "numpy_T"), _refused),
    "slice": _sliced, "select": _selected, "narrow": _narrowed,
}
#: operators with several results, each a view: how the k-th gets back, given the sizes of all along the dimension
PARTS = frozenset({"split", "split_with_sizes", "chunk", "unbind", "tensor_split"})


def part_back(b: GraphBuilder, name: str, args: dict[str, Any], values: Sequence[str],
              k: int) -> Callable[[str, str], str]:
    """Puts a new value of the k-th part of a tensor back into it."""
    dim = args.get("dim", 0)
    if name == "unbind":
        return lambda base, value: select_scatter(b, base, value, dim, k)
    place = axis(b, values[0], dim)
    sizes = [b.shape(v)[place] for v in values]
    start = sum(sizes[:k])
    return lambda base, value: slice_scatter(b, base, value, place, start, start + sizes[k])


def copied(b: GraphBuilder, value: str, new: str) -> str:
    """A new value as what is stored: of the shape and type of the old."""
    return expand(b, cast(b, new, b.dtype(value)), b.shape(value))
