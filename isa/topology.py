"""How the chips of an instance are linked: neighbours, and the links and host link that a transfer occupies.

Chips stand on a grid and are numbered along its rows; each has one link in each direction to each neighbour. A link
carries both ways at once, each at the full rate (no document says otherwise). Cores are logical cores of `lnc` physical
ones each, numbered over the instance.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from isa.errors import TargetError
from isa.target import Target


class Link(NamedTuple):
    """One direction of a NeuronLink between two neighbouring chips; what transfers contend for."""

    source: int
    destination: int


@dataclass(frozen=True)
class Topology:
    """Chips and links of `target`, whose logical cores are `lnc` physical cores each.

    Raises: TargetError for a logical core size the target does not have.
    """

    target: Target
    lnc: int = 1

    def __post_init__(self) -> None:
        if self.lnc not in self.target.lnc_sizes:
            raise TargetError(f"{self.target.name} has no logical cores of {self.lnc}", where=self.target.name,
                              limit=self.target.lnc_sizes, actual=self.lnc)

    # ---- cores
    @property
    def cores_per_chip(self) -> int:
        return self.target.cores_per_chip // self.lnc

    @property
    def cores(self) -> int:
        return self.target.chips * self.cores_per_chip

    def chip_of(self, core: int) -> int:
        """The chip of a core. The chip's DRAM and host link are shared by all of its cores."""
        self._require(core)
        return core // self.cores_per_chip

    def cores_of(self, chip: int) -> range:
        """The cores of a chip."""
        return range(chip * self.cores_per_chip, (chip + 1) * self.cores_per_chip)

    # ---- links
    @cached_property
    def shape(self) -> str:
        """"one chip", "chain of 4", "ring of 12", "4x4 torus", "2x3 mesh"."""
        rows, columns = self.target.link_grid
        if rows * columns == 1:
            return "one chip"
        if 1 in (rows, columns):
            return f"{'ring' if self.target.link_wrap else 'chain'} of {rows * columns}"
        return f"{rows}x{columns} {'torus' if self.target.link_wrap else 'mesh'}"

    @cached_property
    def links_per_chip(self) -> int:
        """Links of a chip that has all its neighbours: two for each dimension of the grid that is longer than one."""
        return sum(2 for n in self.target.link_grid if n > 1)

    @property
    def link_bytes_per_ns(self) -> float | None:
        """Bandwidth of one link in one direction; None where there is none.

        The published figure is the chip's; its links share it evenly, which gives the 16 GiB/s per link that is
        published for Inf1.
        """
        total = self.target.link_bytes_per_ns
        return None if total is None or not self.links_per_chip else total / self.links_per_chip

    def neighbours(self, chip: int) -> tuple[int, ...]:
        """Chips linked to `chip`: the ones above, before, below and after it on the grid, each once."""
        rows, columns = self.target.link_grid
        row, column = divmod(chip, columns)
        places = ((row - 1, column), (row, column - 1), (row + 1, column), (row, column + 1))
        if self.target.link_wrap:
            places = tuple((r % rows, c % columns) for r, c in places)  # type: ignore[assignment]
        found = (r * columns + c for r, c in places if 0 <= r < rows and 0 <= c < columns)
        return tuple(n for n in dict.fromkeys(found) if n != chip)

    def links(self) -> tuple[Link, ...]:
        """Every link of the instance, in order."""
        return tuple(Link(a, b) for a in range(self.target.chips) for b in sorted(self.neighbours(a)))

    def route(self, source: int, destination: int) -> tuple[Link, ...]:
        """Links that a transfer from one core to another crosses, in order; () within a chip.

        A shortest path, always the same: along the row first, then along the column, and upwards where both ways
        round are equally long.
        """
        chip, last = self.chip_of(source), self.chip_of(destination)
        rows, columns = self.target.link_grid
        path = []
        while chip != last:
            row, column = divmod(chip, columns)
            to_row, to_column = divmod(last, columns)
            if column != to_column:
                column = self._step(column, to_column, columns)
            else:
                row = self._step(row, to_row, rows)
            path.append(Link(chip, row * columns + column))
            chip = path[-1].destination
        return tuple(path)

    def _step(self, at: int, to: int, size: int) -> int:
        forward = (to - at) % size
        up = to > at if not self.target.link_wrap else forward <= size - forward
        return (at + (1 if up else -1)) % size

    def _require(self, core: int) -> None:
        if not 0 <= core < self.cores:
            raise TargetError(f"{self.target.name} has no core {core}", where=self.target.name,
                              limit=f"0..{self.cores - 1}", actual=core)
