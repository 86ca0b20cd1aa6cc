"""nop: waits and posts only."""
from __future__ import annotations

from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Nothing: no operand is read or written."""
