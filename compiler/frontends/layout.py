"""Channels first for ONNX's windowed operators, where the source framework keeps channels last."""

from __future__ import annotations

from compiler.frontends.builder import GraphBuilder


def channels_first(b: GraphBuilder, value: str) -> str:
    """(N, d..., C) as (N, C, d...); undoes `channels_last` where that made the value."""
    rank = b.rank(value)
    return _transposed(b, value, [0, rank - 1, *range(1, rank - 1)])


def channels_last(b: GraphBuilder, value: str) -> str:
    """(N, C, d...) as (N, d..., C)."""
    rank = b.rank(value)
    return _transposed(b, value, [0, *range(2, rank), 1])


def _transposed(b: GraphBuilder, value: str, perm: list[int]) -> str:
    before = b.graph.producer(value)
    if before is not None and before.op == "Transpose" and [before.attrs["perm"][p] for p in perm] == sorted(perm):
        return before.inputs[0]
    return b.op("Transpose", [value], perm=perm)
