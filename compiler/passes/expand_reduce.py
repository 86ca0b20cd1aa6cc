"""Expansions of reductions, arg-reductions, top-k and running sums."""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node

RULES: dict[str, Callable[[Graph, Node], bool]] = {
}
