"""Tile programs: kernels written as Python calls, one per instruction, on virtual tiles."""

from __future__ import annotations

from isa.lang.errors import LangError
from isa.lang.instr import Copy, Instr
from isa.lang.program import AUTO, TileProgram
from isa.lang.tiles import DramTensor, Tile
from isa.lang.views import DramView, View

__all__ = ["AUTO", "Copy", "DramTensor", "DramView", "Instr", "LangError", "Tile", "TileProgram", "View"]
