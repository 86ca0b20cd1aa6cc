"""Reads a .weights file: a header, then 32-bit floats of the layers in order, with nothing in between.

Header (load_weights_upto in darknet's src/parser.c), little endian: major, minor and revision as 32-bit integers, then
the number of images seen in training: 64 bits from version 0.2 on, 32 bits before. A major or minor number above 1000
says that the matrices of connected layers are stored transposed; such files count in 32 bits.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

import numpy as np

from compiler.errors import ModelError

_TRANSPOSED = 1000


class Weights:
    """The numbers of a file, handed out in order as views of it; a file is never read as a whole.

    Attributes:
        path: of the file.
        version: (major, minor, revision).
        transposed: whether matrices of connected layers are stored inputs by outputs.

    Raises: ModelError WEIGHTS_HEADER when the file is too short for one, WEIGHTS_LENGTH when what follows is no row of
        floats.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        length = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(12)
        if len(head) < 12:
            raise ModelError("the file is too short for DarkNet weights", code="WEIGHTS_HEADER", where=str(path),
                             limit="at least 16 bytes", actual=f"{length} bytes")
        major, minor, revision = struct.unpack("<3i", head)
        self.version = (major, minor, revision)
        self.transposed = major > _TRANSPOSED or minor > _TRANSPOSED
        wide = major * 10 + minor >= 2 and not self.transposed and major < _TRANSPOSED and minor < _TRANSPOSED
        start = 20 if wide else 16
        if length < start:
            raise ModelError("the file is too short for the header of DarkNet weights", code="WEIGHTS_HEADER",
                             where=str(path), limit=f"{start} bytes", actual=f"{length} bytes")
        if (length - start) % 4:
            raise ModelError("the file does not hold a whole number of floats", code="WEIGHTS_LENGTH", where=str(path),
                             actual=f"{length} bytes with a header of {start}", help="it was cut off: copy it again")
        self._floats = np.empty(0, np.float32)
        if length > start:
            self._floats = np.asarray(np.memmap(path, np.dtype("<f4"), "r", start))
        self._next = 0

    @property
    def left(self) -> int:
        """Floats that were not taken yet."""
        return len(self._floats) - self._next

    def take(self, layer: str, what: str, *shape: int) -> np.ndarray:
        """The next floats in that shape, a view. Raises: ModelError WEIGHTS_SHORT naming layer and part."""
        count = prod(shape)
        if count > self.left:
            raise ModelError(f"the weights end {count - self.left} floats before the end of the {what} of a layer",
                             code="WEIGHTS_SHORT", where=f"{self.path}: layer {layer!r}", limit=f"{count} floats",
                             actual=f"{self.left} left", help="use the cfg of these weights; or the file was cut off")
        found = self._floats[self._next : self._next + count].reshape(shape)
        self._next += count
        return found

    def close(self) -> None:
        """Say that all was taken. Raises: ModelError WEIGHTS_SURPLUS."""
        if self.left:
            raise ModelError("the file holds more weights than the layers of the cfg take", code="WEIGHTS_SURPLUS",
                             where=str(self.path), limit=f"{self._next} floats", actual=f"{self.left} more",
                             help="use the cfg of these weights")
