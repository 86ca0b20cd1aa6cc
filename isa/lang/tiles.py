"""What views look into: on-chip tiles (virtual until allocation) and DRAM tensors. Not responsible for access
patterns."""

from __future__ import annotations

import numpy as np

from isa.dtypes import DType
from isa.program import IN_DRAM
from isa.word import SPACE_NAMES


class Tile:
    """A rectangle of SBUF or PSUM that has no address yet.

    Attributes:
        id: creation order in its program, 0..
        name: for listings and messages; not unique.
        space: `isa.word.SBUF` or `isa.word.PSUM`.
        partitions: rows, 1..128.
        bytes: bytes per partition.
        dtype: element type of the whole-tile view.
        shape: (partitions, *free sizes) as created.
    """

    __slots__ = ("id", "name", "space", "partitions", "bytes", "dtype", "shape")

    def __init__(self, id: int, name: str, space: int, shape: tuple[int, ...], dtype: DType) -> None:
        self.id = id
        self.name = name
        self.space = space
        self.shape = shape
        self.partitions = shape[0]
        count = 1
        for n in shape[1:]:
            count *= n
        self.bytes = count * dtype.size
        self.dtype = dtype

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"<{SPACE_NAMES[self.space]} tile {self.name or self.id} {shape} {self.dtype.name}>"


class DramTensor:
    """A tensor that only DMA reaches, in device memory unless `space` says otherwise; becomes an
    `isa.program.Variable`.

    Attributes:
        id: variable id, 1..
        name, kind, dtype, shape, space: as in `isa.program.Variable`.
        data: [size_bytes] uint8 of a constant, else None.
    """

    __slots__ = ("id", "name", "kind", "dtype", "shape", "bytes", "data", "space")

    def __init__(
        self,
        id: int,
        name: str,
        kind: str,
        dtype: DType,
        shape: tuple[int, ...],
        data: np.ndarray | None = None,
        space: str = IN_DRAM,
    ) -> None:
        self.id = id
        self.name = name
        self.kind = kind
        self.dtype = dtype
        self.shape = shape
        self.data = data
        self.space = space
        count = 1
        for n in shape:
            count *= n
        self.bytes = count * dtype.size

    def __repr__(self) -> str:
        return f"<{self.space} {self.kind} {self.name} {'x'.join(map(str, self.shape))} {self.dtype.name}>"
