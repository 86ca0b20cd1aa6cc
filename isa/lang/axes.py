"""Arithmetic on (size, step) lists, outermost first: slicing, reshaping, merging. Knows nothing of memories or
units."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from isa.lang.errors import LangError

Ints = tuple[int, ...]


def slice_axes(index: Sequence[object], sizes: Ints, steps: Ints) -> tuple[int, Ints, Ints]:
    """Apply a numpy-like index (ints, slices, None, ...) and return (offset in step units, sizes, steps)."""
    if Ellipsis in index:
        at = list(index).index(Ellipsis)
        absent = len(sizes) - sum(1 for i in index if i is not None and i is not Ellipsis)
        index = [*index[:at], *[slice(None)] * absent, *index[at + 1 :]]
    offset, axis = 0, 0
    new_sizes: list[int] = []
    new_steps: list[int] = []
    for item in index:
        if item is None:
            new_sizes.append(1)
            new_steps.append(0)
            continue
        if axis >= len(sizes):
            raise LangError(f"too many indices for {len(sizes)} dimensions {sizes}", code="LANG_INDEX")
        size, step = sizes[axis], steps[axis]
        axis += 1
        if isinstance(item, slice):
            start, stop, stride = item.indices(size)
            count = len(range(start, stop, stride))
            if count == 0:
                raise LangError(f"empty slice {item} of a dimension of {size}", code="LANG_INDEX")
            offset += start * step
            new_sizes.append(count)
            new_steps.append(step * stride)
        else:
            at = int(item)  # type: ignore[call-overload]
            if not -size <= at < size:
                raise LangError(f"index {at} outside a dimension of {size}", code="LANG_INDEX", limit=size, actual=at)
            offset += (at + size if at < 0 else at) * step
    new_sizes += sizes[axis:]
    new_steps += steps[axis:]
    return offset, tuple(new_sizes), tuple(new_steps)


def merge(sizes: Sequence[int], steps: Sequence[int], limit: int = 1 << 62) -> tuple[list[int], list[int]]:
    """Drop dimensions of size 1 and join neighbours that one (size <= limit, step) pair covers."""
    out_sizes: list[int] = []
    out_steps: list[int] = []
    for size, step in zip(sizes, steps):
        if size == 1:
            continue
        if out_sizes and out_steps[-1] == step * size and out_sizes[-1] * size <= limit:
            out_sizes[-1] *= size
            out_steps[-1] = step
        else:
            out_sizes.append(size)
            out_steps.append(step)
    return out_sizes, out_steps


def refine(have: tuple[Sequence[int], Sequence[int]], want: Sequence[int]) -> Ints:
    """Steps of a walk over `have` (merged sizes, steps) by dimensions `want`; both hold the same number of elements.

    Raises: LangError when a wanted dimension would jump irregularly.
    """
    sizes, steps = list(have[0]), list(have[1])
    out: list[int] = []
    left, step = (sizes.pop(), steps.pop()) if sizes else (1, 0)
    for size in reversed(want):
        if size == 1:
            out.append(0)
            continue
        if left == 1 and sizes:
            left, step = sizes.pop(), steps.pop()
        if left % size:
            raise LangError(
                f"sizes {tuple(have[0])} with steps {tuple(have[1])} cannot be seen as {tuple(want)} without a copy",
                code="LANG_RESHAPE",
                help="reshape before slicing, or copy to a tile of the wanted shape",
            )
        out.append(step)
        left //= size
        step *= size
    return tuple(reversed(out))


def reshape_axes(sizes: Ints, steps: Ints, want: Sequence[int]) -> tuple[Ints, Ints]:
    """Reinterpret (sizes, steps) as dimensions `want` (one may be -1). Returns (sizes, steps)."""
    have = 1
    for n in sizes:
        have *= n
    known = 1
    for n in want:
        known *= n if n != -1 else 1
    if -1 in want:
        want = [have // known if n == -1 else n for n in want]
        known = 1
        for n in want:
            known *= n
    if known != have:
        raise LangError(f"cannot reshape {sizes} to {tuple(want)}", code="LANG_RESHAPE", limit=have, actual=known)
    return tuple(want), refine(merge(sizes, steps), want)


def permute_axes(order: Sequence[int], sizes: Ints, steps: Ints) -> tuple[Ints, Ints]:
    """Dimensions in another order; `order` names each once."""
    if sorted(order) != list(range(len(sizes))):
        raise LangError(f"{tuple(order)} is not an order of {len(sizes)} dimensions", code="LANG_INDEX")
    return tuple(sizes[k] for k in order), tuple(steps[k] for k in order)


def broadcast_axes(dim: int, n: int, sizes: Ints, steps: Ints) -> tuple[Ints, Ints]:
    """Repeat dimension `dim`, which has size 1, n times (step 0)."""
    if not -len(sizes) <= dim < len(sizes) or sizes[dim] != 1:
        raise LangError(f"dimension {dim} of {sizes} cannot be broadcast to {n}: its size must be 1", code="LANG_INDEX")
    dim %= len(sizes)
    return (*sizes[:dim], n, *sizes[dim + 1 :]), (*steps[:dim], 0, *steps[dim + 1 :])


def common_walk(
    a: tuple[Sequence[int], Sequence[int]], b: tuple[Sequence[int], Sequence[int]]
) -> tuple[list[int], list[int], list[int]]:
    """One iteration space for two (sizes, steps) patterns of equal element count: (sizes, steps of a, steps of b).

    Dimensions are cut where either side needs it and joined where both allow it.
    Raises: LangError when the cuts do not nest.
    """
    a_sizes, a_steps = merge(*a)
    b_sizes, b_steps = merge(*b)
    sizes: list[int] = []
    steps_a: list[int] = []
    steps_b: list[int] = []
    na, sa = (a_sizes.pop(), a_steps.pop()) if a_sizes else (1, 0)
    nb, sb = (b_sizes.pop(), b_steps.pop()) if b_sizes else (1, 0)
    while na > 1 or nb > 1:
        n = gcd(na, nb)
        if n != min(na, nb):
            raise LangError(
                f"shapes {tuple(a[0])} and {tuple(b[0])} cannot be walked together: {na} and {nb} do not nest",
                code="LANG_SHAPE",
                help="cut the transfer into pieces with equal dimensions",
            )
        sizes.append(n)
        steps_a.append(sa)
        steps_b.append(sb)
        na, sa = na // n, sa * n
        nb, sb = nb // n, sb * n
        if na == 1 and a_sizes:
            na, sa = a_sizes.pop(), a_steps.pop()
        if nb == 1 and b_sizes:
            nb, sb = b_sizes.pop(), b_steps.pop()
    return _join(sizes[::-1], steps_a[::-1], steps_b[::-1])


def _join(sizes: list[int], steps_a: list[int], steps_b: list[int]) -> tuple[list[int], list[int], list[int]]:
    out: list[tuple[int, int, int]] = []
    for n, sa, sb in zip(sizes, steps_a, steps_b):
        if out and out[-1][1] == sa * n and out[-1][2] == sb * n:
            out[-1] = (out[-1][0] * n, sa, sb)
        else:
            out.append((n, sa, sb))
    return [o[0] for o in out], [o[1] for o in out], [o[2] for o in out]
