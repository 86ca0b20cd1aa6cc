"""Expansions of operators that move elements."""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node

RULES: dict[str, Callable[[Graph, Node], bool]] = {
}
