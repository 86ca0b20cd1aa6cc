"""tensor_copy: dst = src0; bits move when both types agree, else the value goes through fp32."""
from __future__ import annotations

from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    if tiles.word["dst"]["dtype"] == tiles.word["src0"]["dtype"]:
        tiles.write_raw("dst", tiles.raw("src0"))
    else:
        tiles.write("dst", tiles.fp32("src0"))
