"""Backend: a tile program to the arrays of a stage."""

from __future__ import annotations

from compiler.backend.build import build

__all__ = ["build"]
