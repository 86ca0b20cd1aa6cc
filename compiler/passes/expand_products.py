"""Expansions of matrix products, einsum and attention."""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node
from compiler.passes import expand_attention, expand_distances, expand_einsum, expand_linear_attention

RULES: dict[str, Callable[[Graph, Node], bool]] = {
    **expand_attention.RULES,
    **expand_distances.RULES,
    **expand_einsum.RULES,
    **expand_linear_attention.RULES,
}
