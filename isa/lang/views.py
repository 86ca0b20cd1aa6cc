"""Immutable access patterns: `View` into an on-chip tile, `DramView` into a DRAM tensor. Cheap: five numbers and two
tuples."""

from __future__ import annotations

from collections.abc import Sequence

from isa import dtypes
from isa.dtypes import DType
from isa.lang.axes import Ints, broadcast_axes, merge, permute_axes, reshape_axes, slice_axes
from isa.lang.errors import LangError
from isa.lang.tiles import DramTensor, Tile
from isa.word import SPACE_NAMES

# Source: nki/guides/architecture/trainium_inferentia2_arch.rst (up to 4 dims, size u16, stride i16 in elements)
MAX_DIMS, MAX_SIZE, MAX_STEP = 4, 65535, 32767

Pattern = tuple[Ints, Ints, int, int, int]  # steps[4], sizes[4], elements, first byte, past-the-end byte


def _args(values: tuple[int | Sequence[int], ...]) -> tuple[int, ...]:
    if len(values) == 1 and not isinstance(values[0], int):
        return tuple(values[0])
    return tuple(int(v) for v in values)  # type: ignore[arg-type]


class View:
    """Part of an on-chip tile: partitions and up to four free dimensions.

    Slicing is numpy-like over (partition, *free): `v[p0:p1, a:b:step, ...]`, `None` inserts a free dimension of size 1;
    an integer partition keeps the partition dimension with size 1. Nothing is copied.

    Attributes:
        tile: the `Tile`.
        partition, partitions: first row inside the tile, and how many.
        start: byte offset of the first element inside the tile's partition.
        steps, sizes: free dimensions in elements, outermost first (logical: any number; merged when an operand is
        made).
        dtype: element type.
        shape: (partitions, *sizes).
    """

    __slots__ = ("tile", "partition", "partitions", "start", "steps", "sizes", "dtype", "_pattern")

    def __init__(
        self, tile: Tile, partition: int, partitions: int, start: int, steps: Ints, sizes: Ints, dtype: DType
    ) -> None:
        self.tile = tile
        self.partition = partition
        self.partitions = partitions
        self.start = start
        self.steps = steps
        self.sizes = sizes
        self.dtype = dtype
        self._pattern: Pattern | None = None

    @property
    def shape(self) -> Ints:
        return (self.partitions, *self.sizes)

    @property
    def space(self) -> int:
        return self.tile.space

    @property
    def count(self) -> int:
        """Elements per partition."""
        return self.pattern()[2]

    def __repr__(self) -> str:
        at = f"{SPACE_NAMES[self.tile.space]} {self.tile.name or self.tile.id}"
        return (
            f"<{at} p{self.partition}+{self.partitions} @{self.start} {self.sizes} step {self.steps} {self.dtype.name}>"
        )

    def pattern(self) -> Pattern:
        """What an engine operand holds: (steps[4], sizes[4], elements, first byte, end byte) inside the tile's
        partition.

        Raises: LangError when more than four dimensions remain, a step does not fit 16 bits, the partitions break the
        start rule or the view leaves its tile.
        """
        found = self._pattern
        if found is None:
            found = self._pattern = self._merged()
        return found

    def _merged(self) -> Pattern:
        return self._fields(*merge(self.sizes, self.steps, MAX_SIZE))

    def kept_dims(self, *groups: int) -> View:
        """A copy whose operand merges dimensions only inside groups of so many dimensions, outermost first.

        `v.kept_dims(2, 1)` of three free dimensions keeps the border between the second and the third; the merged
        dimensions of the last group are at least one. Used where an instruction counts dimensions.
        """
        view = self._with(self.sizes, self.steps)
        sizes: list[int] = []
        steps: list[int] = []
        at = 0
        for n in groups:
            part_sizes, part_steps = merge(self.sizes[at : at + n], self.steps[at : at + n], MAX_SIZE)
            at += n
            sizes += part_sizes
            steps += part_steps
        if not part_sizes:
            sizes, steps = [*sizes, 1], [*steps, 0]
        view._pattern = self._fields(sizes, steps)
        return view

    def unmerged(self) -> View:
        """A copy whose operand keeps every free dimension as it is (at most four)."""
        view = self._with(self.sizes, self.steps)
        view._pattern = self._fields(list(self.sizes), list(self.steps))
        return view

    def _fields(self, sizes: list[int], steps: list[int]) -> Pattern:
        if not sizes:
            sizes, steps = [1], [1]
        if len(sizes) > MAX_DIMS:
            raise LangError(
                f"{self!r} needs {len(sizes)} free dimensions",
                code="LANG_DIMS",
                limit=MAX_DIMS,
                actual=len(sizes),
                help="cut it with a Python loop over its outermost dimension",
            )
        if max(sizes) > MAX_SIZE or max(map(abs, steps)) > MAX_STEP:
            raise LangError(
                f"{self!r}: a size or step does not fit its 16-bit field",
                code="LANG_FIELD",
                limit=f"size {MAX_SIZE}, step {MAX_STEP}",
                actual=f"size {max(sizes)}, step {max(map(abs, steps))}",
            )
        p, rows = self.partition, self.partitions
        if p % 32 or (rows > 32 and p + rows > 128) or (rows > 64 and p) or (rows > 32 and p not in (0, 64)):
            raise LangError(
                f"{self!r}: an engine cannot start {rows} partitions at partition {p}",
                code="LANG_PARTITION",
                actual=p,
                limit="> 64 partitions: 0; 33-64: 0 or 64; <= 32: 0, 32, 64 or 96",
                help="use DMA to move partitions",
            )
        lo = hi = self.start
        count, width = 1, self.dtype.size
        for size, step in zip(sizes, steps):
            count *= size
            if step > 0:
                hi += (size - 1) * step * width
            else:
                lo += (size - 1) * step * width
        if lo < 0 or hi + width > self.tile.bytes:
            raise outside(self, lo, hi + width)
        pad = MAX_DIMS - len(sizes)
        return (0,) * pad + tuple(steps), (1,) * pad + tuple(sizes), count, lo, hi + width

    def extent(self) -> tuple[int, int]:
        """First byte touched in each partition of the tile, and the byte after the last."""
        return _extent(self.start, self.sizes, self.steps, self.dtype.size)

    def __getitem__(self, index: object) -> View:
        items = index if isinstance(index, tuple) else (index,)
        partition, partitions = self.partition, self.partitions
        if items and items[0] is not Ellipsis:
            first, items = items[0], items[1:]
            if isinstance(first, slice):
                p0, p1, stride = first.indices(partitions)
                if stride != 1 or p1 <= p0:
                    raise LangError(
                        f"partition slice {first} of {partitions}: needs a range with step 1", code="LANG_INDEX"
                    )
            else:
                p0 = int(first)
                p0 += partitions if p0 < 0 else 0
                p1 = p0 + 1
                if not 0 <= p0 < partitions:
                    raise LangError("partition outside the view", code="LANG_INDEX", limit=partitions, actual=p0)
            partition, partitions = partition + p0, p1 - p0
        offset, sizes, steps = slice_axes(items, self.sizes, self.steps) if items else (0, self.sizes, self.steps)
        start = self.start + offset * self.dtype.size
        return View(self.tile, partition, partitions, start, steps, sizes, self.dtype)

    def _with(self, sizes: Ints, steps: Ints) -> View:
        return View(self.tile, self.partition, self.partitions, self.start, steps, sizes, self.dtype)

    def reshape(self, *sizes: int | Sequence[int]) -> View:
        """The free dimensions as `sizes` (one may be -1), where the steps allow it. Partitions stay."""
        return self._with(*reshape_axes(self.sizes, self.steps, _args(sizes)))

    def permute(self, *order: int | Sequence[int]) -> View:
        """The free dimensions in another order; 0 is the outermost free dimension."""
        return self._with(*permute_axes(_args(order), self.sizes, self.steps))

    def broadcast(self, dim: int, n: int) -> View:
        """Repeat free dimension `dim` (size 1) n times with step 0."""
        return self._with(*broadcast_axes(dim, n, self.sizes, self.steps))

    def bitcast(self, dtype: str | DType) -> View:
        """The same bytes as another type; the innermost dimension grows or shrinks and must then be contiguous."""
        to = dtypes.dtype(dtype)
        sizes, steps = recast(self.sizes, self.steps, self.dtype.size, to.size)
        return View(self.tile, self.partition, self.partitions, self.start, steps, sizes, to)

    def ap(
        self,
        start_elem: int,
        steps: Sequence[int],
        sizes: Sequence[int],
        partition: int = 0,
        partitions: int | None = None,
    ) -> View:
        """A raw pattern: first element `start_elem` (elements) and row `partition`, both relative to this view.

        Raises: LangError when it leaves the tile.
        """
        rows = self.partitions - partition if partitions is None else partitions
        start = self.start + start_elem * self.dtype.size
        view = View(self.tile, self.partition + partition, rows, start, tuple(steps), tuple(sizes), self.dtype)
        lo, hi = view.extent()
        last = view.partition + rows
        if lo < 0 or hi > self.tile.bytes or view.partition < 0 or rows < 1 or last > self.tile.partitions:
            raise outside(view, lo, hi)
        return view


def outside(view: View, lo: int, hi: int) -> LangError:
    """The error of a view that touches bytes lo .. hi - 1 or rows outside its tile."""
    tile = view.tile
    return LangError(
        f"{view!r} leaves {tile!r}",
        code="LANG_BOUNDS",
        limit=f"{tile.partitions} partitions x {tile.bytes} bytes",
        actual=f"partitions {view.partition}..{view.partition + view.partitions - 1}, bytes {lo}..{hi - 1}",
    )


def recast(sizes: Ints, steps: Ints, old: int, new: int) -> tuple[Ints, Ints]:
    """Sizes and element steps after reinterpreting elements of `old` bytes as elements of `new` bytes."""
    if old == new:
        return sizes, steps
    if not sizes or (sizes[-1] > 1 and steps[-1] != 1):
        raise LangError("reinterpreting bytes needs a contiguous innermost dimension", code="LANG_BITCAST")
    run = sizes[-1] * old
    if run % new or any(s * old % new for s in steps[:-1]):
        raise LangError(f"a run of {run} bytes is no whole number of {new}-byte elements", code="LANG_BITCAST")
    return (*sizes[:-1], run // new), (*(s * old // new for s in steps[:-1]), 1)


class DramView:
    """Part of a DRAM tensor: any number of dimensions with byte steps; reached only by DMA.

    Attributes:
        tensor: the `DramTensor`.
        offset: bytes from its start.
        steps: bytes, outermost first. sizes = shape: elements.
        dtype: element type.
    """

    __slots__ = ("tensor", "offset", "steps", "shape", "dtype")

    def __init__(self, tensor: DramTensor, offset: int, steps: Ints, shape: Ints, dtype: DType) -> None:
        self.tensor = tensor
        self.offset = offset
        self.steps = steps
        self.shape = shape
        self.dtype = dtype

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def count(self) -> int:
        n = 1
        for size in self.shape:
            n *= size
        return n

    def __repr__(self) -> str:
        return f"<dram {self.tensor.name} @{self.offset} {self.shape} bytes {self.steps} {self.dtype.name}>"

    def __getitem__(self, index: object) -> DramView:
        items = index if isinstance(index, tuple) else (index,)
        offset, shape, steps = slice_axes(items, self.shape, self.steps)
        return DramView(self.tensor, self.offset + offset, steps, shape, self.dtype)

    def reshape(self, *shape: int | Sequence[int]) -> DramView:
        sizes, steps = reshape_axes(self.shape, self.steps, _args(shape))
        return DramView(self.tensor, self.offset, steps, sizes, self.dtype)

    def permute(self, *order: int | Sequence[int]) -> DramView:
        sizes, steps = permute_axes(_args(order), self.shape, self.steps)
        return DramView(self.tensor, self.offset, steps, sizes, self.dtype)

    def broadcast(self, dim: int, n: int) -> DramView:
        sizes, steps = broadcast_axes(dim, n, self.shape, self.steps)
        return DramView(self.tensor, self.offset, steps, sizes, self.dtype)

    def bitcast(self, dtype: str | DType) -> DramView:
        """The same bytes as another type, e.g. int64 [n] as int32 [2n] (low word first)."""
        to = dtypes.dtype(dtype)
        old = self.dtype.size
        if any(s % old for s in self.steps):
            raise LangError(f"{self!r}: steps are no whole elements", code="LANG_BITCAST")
        sizes, steps = recast(self.shape, tuple(s // old for s in self.steps), old, to.size)
        return DramView(self.tensor, self.offset, tuple(s * to.size for s in steps), sizes, to)

    def ap(self, offset_bytes: int, steps_bytes: Sequence[int], sizes: Sequence[int]) -> DramView:
        """A raw pattern, offset relative to this view. Raises: LangError when it leaves the tensor."""
        view = DramView(self.tensor, self.offset + offset_bytes, tuple(steps_bytes), tuple(sizes), self.dtype)
        lo, hi = view.extent()
        if lo < 0 or hi > self.tensor.bytes:
            raise LangError(
                f"{view!r} leaves its tensor", code="LANG_BOUNDS", limit=self.tensor.bytes, actual=f"{lo}..{hi}"
            )
        return view

    def extent(self) -> tuple[int, int]:
        """First byte touched and the byte after the last."""
        lo, hi = _extent(self.offset, self.shape, self.steps, 1)
        return lo, hi + self.dtype.size - 1


def _extent(start: int, sizes: Ints, steps: Ints, width: int) -> tuple[int, int]:
    lo = hi = start
    for size, step in zip(sizes, steps):
        if step > 0:
            hi += (size - 1) * step * width
        else:
            lo += (size - 1) * step * width
    return lo, hi + width
