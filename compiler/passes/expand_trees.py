"""Expansions of trees, support vector machines and other classical models."""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node
from compiler.passes import expand_encoders, expand_ensembles, expand_features, expand_svm

RULES: dict[str, Callable[[Graph, Node], bool]] = {
    **expand_encoders.RULES,
    **expand_ensembles.RULES,
    **expand_features.RULES,
    **expand_svm.RULES,
}
