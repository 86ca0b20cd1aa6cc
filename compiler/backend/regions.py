"""What an instruction reads and writes, as regions of tiles and tensors, and when two regions cannot meet."""

from __future__ import annotations

from isa.lang import DramTensor, DramView, Instr, Tile, View
from isa.word import DMA_ADD, DMA_SCATTER

Place = Tile | DramTensor


class Region:
    """A strided box of one tile (partitions x bytes) or tensor (one partition).

    Attributes:
        place: the tile or tensor.
        first, last: partitions first .. last - 1.
        lo, hi: bytes lo .. hi - 1 bound every element.
        dense: no gaps between lo and hi.
        whole: every element of the pattern is accessed (not so where indices choose).
        sizes, steps, width: the pattern inside the bounds; steps times `unit` are bytes.
    """

    __slots__ = ("place", "first", "last", "lo", "hi", "dense", "sizes", "steps", "width", "unit", "whole", "_strides")

    def __init__(
        self,
        place: Place,
        first: int,
        last: int,
        lo: int,
        hi: int,
        dense: bool,
        sizes: tuple[int, ...],
        steps: tuple[int, ...],
        width: int,
        unit: int,
    ) -> None:
        self.place = place
        self.first = first
        self.last = last
        self.lo = lo
        self.hi = hi
        self.dense = dense
        self.sizes = sizes
        self.steps = steps
        self.width = width
        self.unit = unit
        self.whole = True
        self._strides: list[tuple[int, int]] | None = None

    def strides(self) -> list[tuple[int, int]]:
        """(bytes from first to last element, bytes per step) of each dimension that moves."""
        if self._strides is None:
            pairs = [(n, abs(s) * self.unit) for n, s in zip(self.sizes, self.steps) if n > 1 and s]
            self._strides = [((n - 1) * stride, stride) for n, stride in pairs]
        return self._strides

    def covers(self, other: Region) -> bool:
        """Every byte of `other` is in this region (False when not sure)."""
        if self.first > other.first or other.last > self.last:
            return False
        if self.dense:
            return self.lo <= other.lo and other.hi <= self.hi
        same = self.lo == other.lo and self.width == other.width and self.unit == other.unit
        return self.whole and same and self.sizes == other.sizes and self.steps == other.steps


def of_operand(v: View) -> Region:
    """Region of an engine operand."""
    steps, sizes, count, lo, hi = v.pattern()
    width = v.dtype.size
    return Region(
        v.tile, v.partition, v.partition + v.partitions, lo, hi, count * width == hi - lo, sizes, steps, width, width
    )


def of_transfer(v: View | DramView) -> Region:
    """Region of one side of a DMA transfer."""
    width = v.dtype.size
    lo, hi = v.extent()
    count = 1
    for n in v.shape:
        count *= n
    if isinstance(v, DramView):
        return Region(v.tensor, 0, 1, lo, hi, count * width == hi - lo, v.shape, v.steps, width, 1)
    dense = count // v.partitions * width == hi - lo
    return Region(v.tile, v.partition, v.partition + v.partitions, lo, hi, dense, v.sizes, v.steps, width, width)


def accesses(instr: Instr) -> tuple[list[Region], list[Region]]:
    """(regions read, regions written) by one instruction or transfer."""
    if instr.copies is None:
        return [of_operand(v) for v in instr.reads()], [of_operand(v) for v in instr.writes()]
    copy = instr.copies[0]
    written = of_transfer(copy.dst)
    reads = [of_transfer(copy.src)]
    if copy.index is not None:
        reads.append(of_transfer(copy.index))
    if copy.op == DMA_ADD:
        reads.append(written)
    if copy.op == DMA_SCATTER:
        written.dense = written.whole = False  # only the indexed rows change
    return reads, [written]


def meet(a: Region, b: Region) -> bool:
    """Whether two regions of one place may share a byte. Never False for two that do; exact for boxes."""
    if a.lo >= b.hi or b.lo >= a.hi or a.first >= b.last or b.first >= a.last:
        return False
    return (a.dense and b.dense) or not _interleaved(a, b)


def _interleaved(a: Region, b: Region) -> bool:
    """Whether both patterns, seen modulo one of their steps, stay in separate parts of the period.

    Law: dimensions whose step is a multiple of the period vanish modulo it; the others span an interval. Two intervals
    on the circle that do not meet prove that the patterns do not.
    """
    dims_a, dims_b = a.strides(), b.strides()
    gap = b.lo - a.lo
    for _, period in (*dims_a, *dims_b):
        span_a, span_b = a.width, b.width
        for reach, stride in dims_a:
            if stride % period:
                span_a += reach
        for reach, stride in dims_b:
            if stride % period:
                span_b += reach
        if span_a + span_b > period:
            continue
        ahead = gap % period
        if ahead >= span_a and period - ahead >= span_b:
            return True
    return False
