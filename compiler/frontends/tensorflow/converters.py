"""Brings in every family of converters, which register themselves."""
from __future__ import annotations

import importlib

#: Modules of this package with converters.
_FAMILIES = (
    "arithmetic", "activations", "comparison", "windows", "pooling", "normalise", "shapes", "slicing", "gathering",
    "reduction", "linear", "images", "bicubic", "matrices", "lists", "control", "creation", "variable_ops",
    "quantise", "fused", "recurrent", "batches", "suppression", "noise", "counting",
)


def load() -> None:
    """Register all converters; again does nothing."""
    for family in _FAMILIES:
        importlib.import_module(f"compiler.frontends.tensorflow.{family}")
