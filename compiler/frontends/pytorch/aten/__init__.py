"""What PyTorch's operators mean in ONNX's: one table of converters, by families."""

from __future__ import annotations

from compiler.frontends.pytorch.aten import (
    activations,
    attention,
    compound,
    creation,
    elementwise,
    functions,
    indexing,
    linear,
    norms,
    parts,
    quantised,
    recurrent,
    reductions,
    resize,
    shapes,
    windows,
)
from compiler.frontends.pytorch.aten.registry import TABLE

__all__ = ["TABLE", "activations", "attention", "compound", "creation", "elementwise", "functions", "indexing",
           "linear", "norms", "parts", "quantised", "recurrent", "reductions", "resize", "shapes", "windows"]
