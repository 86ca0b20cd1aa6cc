"""Expansions of activations, arithmetic and bit operators."""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node

RULES: dict[str, Callable[[Graph, Node], bool]] = {
}
