"""Where a tensor lives on chip: logical axes mapped to partitions (P) and to the free dimension (F) of virtual tiles.

Every logical axis is a product of *atoms*. An F atom is a size and an element stride inside the tile; the P atoms
together index `pmap`, an integer array whose entries are positions `tile * 128 + partition`. Reshape, transpose, slice,
concatenation along P and channel permutations are therefore changes of this description, never copies.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from isa.dtypes import dtype as dtype_of
from isa.lang import View
from isa.word import PARTITIONS

P, F = "P", "F"


@dataclass(frozen=True)
class Atom:
    """A factor of a logical axis. `stride` counts elements in the tile's free dimension (F only)."""

    size: int
    space: str
    stride: int = 0


@dataclass(frozen=True)
class Run:
    """`count` consecutive partitions of one tile that hold P indices `first .. first+count-1` (in raveled order)."""

    first: int
    tile: int
    partition: int
    count: int


def legal_count(partition: int) -> int:
    """Most partitions an access starting at `partition` may span; 0 when no access may start there.

    Source: start-partition rule, nki/guides/architecture/trainium_inferentia2_arch.rst.
    """
    return {0: 128, 32: 32, 64: 64, 96: 32}.get(partition, 0)


def runs_of(*positions: np.ndarray, legal: bool = True, any_order: bool = False) -> list[tuple[Run, ...]] | None:
    """Cut equally long position lists into runs that are consecutive in all of them.

    With `legal`, each run obeys the start-partition rule in every list (None when some element cannot be reached);
    without, runs are only bounded by tiles (DMA has no such rule). `any_order`: the elements may be visited in any
    order, so that permuted channels still form long runs; `Run.first` then says nothing.
    """
    if any_order and len(positions[0]) > 1:
        order = np.argsort(positions[0], kind="stable")
        positions = tuple(pos[order] for pos in positions)
    total = len(positions[0])
    if total == 0:
        return []
    breaks = np.zeros(total, dtype=bool)
    breaks[0] = True
    for pos in positions:
        breaks[1:] |= np.diff(pos) != 1
        breaks |= pos % PARTITIONS == 0
    starts = np.flatnonzero(breaks)
    ends = np.append(starts[1:], total)
    out: list[tuple[Run, ...]] = []
    for begin, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while begin < end:
            n = end - begin
            places = [divmod(int(pos[begin]), PARTITIONS) for pos in positions]
            if legal:
                n = min(n, *(legal_count(p) for _, p in places))
                if n == 0:
                    return None
            out.append(tuple(Run(begin, tile, p, n) for tile, p in places))
            begin += n
    return out


def engine_runs(*positions: np.ndarray) -> list[tuple[Run, ...]]:
    """`runs_of` in any order for positions that engines are known to reach."""
    found = runs_of(*positions, any_order=True)
    assert found is not None, "positions that no engine access may start at"
    return found


@dataclass(frozen=True)
class Tensor:
    """A logical tensor on chip.

    Attributes:
        tiles: whole-tile views, each [partitions, free elements]; entry k holds positions k*128 .. k*128+127.
        dtype: isa data type name.
        axes: atoms per logical axis, outermost first.
        pmap: positions, one dimension per P atom in logical order (0-d when there is none: everything in partition 0).
        offset: element of the free dimension where index 0 of every F atom lives.
        pads: per logical axis, elements of fill readable (before, after) the axis' own extent.
        fill: value held by the pads.
        origin: per logical axis, index in the whole tensor of this window's index 0 (a chunk holds a window).
    """

    tiles: tuple[View, ...]
    dtype: str
    axes: tuple[tuple[Atom, ...], ...]
    pmap: np.ndarray
    offset: int = 0
    pads: dict[int, tuple[int, int]] = field(default_factory=dict)
    fill: float | None = None
    origin: dict[int, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(prod(a.size for a in axis) for axis in self.axes)

    @property
    def itemsize(self) -> int:
        return dtype_of(self.dtype).size

    def space_of(self, axis: int) -> str:
        """"P", "F", "" (size 1) or "PF" (mixed)."""
        spaces = {a.space for a in self.axes[axis] if a.size > 1}
        return "".join(sorted(spaces, reverse=True))

    def p_axes(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.axes)) if P in self.space_of(i))

    def free_atoms(self) -> list[Atom]:
        return [a for axis in self.axes for a in axis if a.space == F]

    def positions(self) -> np.ndarray:
        return self.pmap.reshape(-1)

    def view(self, run: Run, dims: Sequence[tuple[int, int]], offset: int = 0) -> View:
        """Access pattern over `dims` = (size, stride) pairs, at the partitions of `run`."""
        return self.view_dims(run, merge_dims(dims), offset)

    def view_dims(self, run: Run, dims: Sequence[tuple[int, int]], offset: int = 0) -> View:
        """`view` with the dimensions kept as given (a reduction names its innermost ones)."""
        return self.tiles[run.tile].ap(
            self.offset + offset,
            [stride for _, stride in dims],
            [size for size, _ in dims],
            partition=run.partition,
            partitions=run.count,
        )

    # ---- metadata-only operations ------------------------------------------------------------------------------

    def _rebuild(self, axes: Sequence[Sequence[Atom]], pmap: np.ndarray, **changes: object) -> Tensor:
        changes.setdefault("pads", {})
        changes.setdefault("origin", {})
        return replace(self, axes=tuple(tuple(a) for a in axes), pmap=pmap, **changes)  # type: ignore[arg-type]

    def transpose(self, perm: Sequence[int]) -> Tensor:
        groups: list[list[int]] = []
        n = 0
        for axis in self.axes:
            count = sum(a.space == P for a in axis)
            groups.append(list(range(n, n + count)))
            n += count
        order = [d for axis in perm for d in groups[axis]]
        pads = {new: self.pads[old] for new, old in enumerate(perm) if old in self.pads}
        return self._rebuild([self.axes[a] for a in perm], self.pmap.transpose(order), pads=pads)

    def reshape(self, shape: Sequence[int]) -> Tensor | None:
        """Regroup atoms into a new logical shape; None when an atom would have to be cut unevenly."""
        atoms = [a for axis in self.axes for a in axis if a.size != 1]
        queue = list(atoms)
        out: list[list[Atom]] = []
        for size in shape:
            axis: list[Atom] = []
            need = size
            while need > 1:
                if not queue:
                    return None
                atom = queue.pop(0)
                if need % atom.size == 0:
                    axis.append(atom)
                    need //= atom.size
                elif atom.size % need == 0:
                    inner = atom.size // need
                    axis.append(Atom(need, atom.space, atom.stride * inner))
                    queue.insert(0, Atom(inner, atom.space, atom.stride))
                    need = 1
                else:
                    return None
            out.append(axis)
        if any(a.size != 1 for a in queue):
            return None
        p_sizes = [a.size for axis in out for a in axis if a.space == P]
        return self._rebuild(out, self.pmap.reshape(p_sizes), pads=self._kept_pads(shape)).merged()

    def merged(self) -> Tensor:
        """Neighbouring atoms of one axis that are one atom joined."""
        axes: list[list[Atom]] = []
        for axis in self.axes:
            joined: list[Atom] = []
            for a in (a for a in axis if a.size > 1):
                last = joined[-1] if joined else None
                if last and last.space == a.space and (a.space == P or last.stride == a.size * a.stride):
                    joined[-1] = Atom(last.size * a.size, a.space, a.stride)
                else:
                    joined.append(a)
            axes.append(joined)
        p_sizes = [a.size for axis in axes for a in axis if a.space == P]
        return replace(self, axes=tuple(tuple(a) for a in axes), pmap=self.pmap.reshape(p_sizes))

    @property
    def plain(self) -> bool:
        """Whether every axis is one atom, hence on one side and evenly spaced there."""
        return all(sum(a.size > 1 for a in axis) <= 1 for axis in self.axes)

    @property
    def reachable(self) -> bool:
        """Whether every position is in a run that an engine access may start at."""
        return runs_of(self.positions(), any_order=True) is not None

    def _kept_pads(self, shape: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Pads of the trailing axes that a new shape leaves alone (a channel shuffle regroups the leading ones)."""
        mine, pads = self.shape, {}
        for back in range(1, min(len(mine), len(shape)) + 1):
            if mine[-back] != shape[-back]:
                break
            if len(mine) - back in self.pads:
                pads[len(shape) - back] = self.pads[len(mine) - back]
        return pads

    def slice_axis(self, axis: int, start: int, stop: int, step: int = 1) -> Tensor | None:
        """Indices start, start+step, ... < stop of one axis; None when the axis is a product of several atoms."""
        atoms = [a for a in self.axes[axis] if a.size > 1]
        count = max(0, -(-(stop - start) // step))
        if not atoms:
            return self if count == 1 else None
        if len(atoms) > 1:
            return self._slice_outer(axis, atoms, start, stop, step)
        atom = atoms[0]
        axes = list(self.axes)
        if atom.space == F:
            axes[axis] = (Atom(count, F, atom.stride * step),)
            return self._rebuild(axes, self.pmap, offset=self.offset + start * atom.stride)
        dim = self.p_dims()[axis][0]
        index: list[slice] = [slice(None)] * self.pmap.ndim
        index[dim] = slice(start, stop, step)
        axes[axis] = (Atom(count, P),)
        return self._rebuild(axes, self.pmap[tuple(index)], pads=self.pads)

    def _slice_outer(self, axis: int, atoms: list[Atom], start: int, stop: int, step: int) -> Tensor | None:
        inner = prod(a.size for a in atoms[1:])
        if step != 1 or start % inner or stop % inner:
            return None
        split = [self.axes[i] for i in range(len(self.axes))]
        split[axis : axis + 1] = [(atoms[0],), tuple(atoms[1:])]
        cut = replace(self, axes=tuple(split)).slice_axis(axis, start // inner, stop // inner)
        if cut is None:
            return None
        axes = list(cut.axes)
        axes[axis : axis + 2] = [axes[axis] + axes[axis + 1]]
        return cut._rebuild(axes, cut.pmap)

    def p_dims(self) -> list[list[int]]:
        """Per logical axis, the dimensions of `pmap` that belong to it."""
        out: list[list[int]] = []
        n = 0
        for axis in self.axes:
            count = sum(a.space == P for a in axis)
            out.append(list(range(n, n + count)))
            n += count
        return out

    def index_axis(self, axis: int, index: int) -> Tensor:
        """Fix one axis to an index and drop it."""
        cut = self.slice_axis(axis, index, index + 1)
        if cut is None:
            cut = self.split_index(axis, index)
            return cut
        atoms = cut.axes[axis]
        axes = [a for i, a in enumerate(cut.axes) if i != axis]
        pmap = cut.pmap
        if any(a.space == P for a in atoms):
            pmap = pmap.squeeze(cut.p_dims()[axis][0])
        return cut._rebuild(axes, pmap)

    def split_index(self, axis: int, index: int) -> Tensor:
        """`index_axis` for an axis of several atoms: fix the atoms one by one."""
        atoms = self.axes[axis]
        digits = np.unravel_index(index, [a.size for a in atoms])
        split = list(self.axes)
        split[axis : axis + 1] = [(a,) for a in atoms]
        out = replace(self, axes=tuple(split))
        for digit in digits:
            out = out.index_axis(axis, int(digit))
        return out

    def squeeze_insert(self, axis: int) -> Tensor:
        """Insert a new axis of size 1."""
        axes = list(self.axes)
        axes.insert(axis, ())
        return self._rebuild(axes, self.pmap)

    def expand(self, shape: Sequence[int]) -> Tensor | None:
        """Broadcast size-1 axes along F (step 0); None when a P axis of size 1 with its own atom stands in the way."""
        extra = len(shape) - len(self.axes)
        axes: list[tuple[Atom, ...]] = [()] * extra + list(self.axes)
        for i, size in enumerate(shape):
            have = prod(a.size for a in axes[i])
            if have == size:
                continue
            if have != 1:
                return None
            axes[i] = (*axes[i], Atom(size, F, 0))
        return self._rebuild(axes, self.pmap)


def merge_dims(dims: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join neighbouring (size, stride) dims that form one, drop size-1 dims."""
    out: list[tuple[int, int]] = []
    for size, stride in dims:
        if size == 1:
            continue
        if out and out[-1][1] == size * stride:
            out[-1] = (out[-1][0] * size, stride)
        else:
            out.append((size, stride))
    return out or [(1, 1)]


def linear_offsets(dims: Sequence[tuple[int, int]]) -> np.ndarray:
    """Element offset of every index over (size, stride) dims, row-major, [product of sizes] int64."""
    out = np.zeros((), dtype=np.int64)
    for size, stride in dims:
        out = out[..., None] + np.arange(size, dtype=np.int64) * stride
    return out.reshape(-1)


def align_dims(dim_lists: Sequence[Sequence[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Refine several (size, stride) lists over the same index space to equal sizes, merging where all allow it."""
    stacks = [[d for d in dims if d[0] != 1] for dims in dim_lists]
    refined: list[list[tuple[int, int]]] = [[] for _ in stacks]
    while any(stacks):
        size = min(s[-1][0] for s in stacks)
        assert all(s[-1][0] % size == 0 for s in stacks), "index spaces do not align"
        for s, r in zip(stacks, refined, strict=True):
            have, stride = s.pop()
            r.append((size, stride))
            if have > size:
                s.append((have // size, stride * size))
    for r in refined:
        r.reverse()
    return _merge_common(refined)


def _merge_common(refined: list[list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    out: list[list[tuple[int, int]]] = [[] for _ in refined]
    for k in range(len(refined[0]) if refined else 0):
        sizes = [r[k] for r in refined]
        if out[0] and all(o[-1][1] == s[0] * s[1] for o, s in zip(out, sizes, strict=True)):
            for o, s in zip(out, sizes, strict=True):
                o[-1] = (o[-1][0] * s[0], s[1])
        else:
            for o, s in zip(out, sizes, strict=True):
                o.append(s)
    return [o or [(1, 1)] for o in out]


def blocks(dim_lists: Sequence[Sequence[tuple[int, int]]], most_dims: int = 4, most: int | None = None) -> Iterator[
    tuple[list[int], list[list[tuple[int, int]]]]
]:
    """Cut an aligned index space into blocks of at most `most_dims` dims and `most` elements.

    Yields (element offset per list, dims per list).
    """

    def cut(
        offsets: list[int], lists: list[list[tuple[int, int]]]
    ) -> Iterator[tuple[list[int], list[list[tuple[int, int]]]]]:
        sizes = [s for s, _ in lists[0]]
        total = prod(sizes)
        if len(sizes) <= most_dims and (most is None or total <= most):
            yield offsets, lists
            return
        inner = prod(sizes[1:])
        parts = sizes[0] if len(sizes) > most_dims else -(-total // (most or total))
        parts = min(sizes[0], max(parts, 1))
        if inner > (most or inner):
            parts = sizes[0]
        for k in range(parts):
            a, b = sizes[0] * k // parts, sizes[0] * (k + 1) // parts
            head = [o + a * dims[0][1] for o, dims in zip(offsets, lists, strict=True)]
            rest = [([(b - a, dims[0][1])] if b - a > 1 else []) + list(dims[1:]) for dims in lists]
            yield from cut(head, [r or [(1, 1)] for r in rest])

    yield from cut([0] * len(dim_lists), [list(d) for d in dim_lists])
