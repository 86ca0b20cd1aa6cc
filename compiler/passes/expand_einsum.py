"""Einsum as transposes, batched matrix products and sums; two operands at a time, from left to right.

Of two operands, letters in both and in what follows are batch axes, letters in both alone are contracted, letters of
one side are its rows or columns; those nobody else needs are summed first.
"""
from __future__ import annotations

from math import prod

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion

#: stands for the axes of an ellipsis, outermost first; no letter of an equation is a digit
ELLIPSIS = "0123456789"


def einsum(graph: Graph, node: Node) -> bool:
    """One equation, explicit or not, with ellipses and repeated letters."""
    f = Expansion(graph, node)
    terms, result = _parse(graph, node)
    operands = [_diagonals(f, x, letters) for x, letters in zip(node.inputs, terms, strict=True)]
    value, letters = _sum_out(f, *operands[0], "".join(terms[1:]) + result)
    for k in range(1, len(terms)):
        needed = "".join(terms[k + 1:]) + result
        right, mine = _sum_out(f, *operands[k], letters + needed)
        value, letters = _sum_out(f, value, letters, mine + needed)
        value, letters = _contract(f, (value, letters), (right, mine), needed)
    return f.finish([f.transpose(value, [letters.index(c) for c in result])])


def _parse(graph: Graph, node: Node) -> tuple[list[str], str]:
    """Letters of every operand and of the result; axes of an ellipsis become digits."""
    left, arrow, right = node.attrs["equation"].replace(" ", "").partition("->")
    sides = left.split(",")
    ranks = [len(graph.shape(i)) for i in node.inputs]
    most = max([r - len(s) + 3 for s, r in zip(sides, ranks, strict=True) if "..." in s], default=0)
    terms = [s.replace("...", ELLIPSIS[most - (r - len(s) + 3):most]) for s, r in zip(sides, ranks, strict=True)]
    if arrow:
        return terms, right.replace("...", ELLIPSIS[:most])
    letters = left.replace(",", "").replace(".", "")
    return terms, ELLIPSIS[:most] + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))


def _diagonals(f: Expansion, x: str, letters: str) -> tuple[str, str]:
    """Axes of one letter as one axis: every (n + 1)th element of both in one row."""
    for c in dict.fromkeys(letters):
        while letters.count(c) > 1:
            first, second = [a for a, other in enumerate(letters) if other == c][:2]
            rest = [a for a in range(len(letters)) if a not in (first, second)]
            x = f.transpose(x, [*rest, first, second])
            *lead, n, _ = f.shape(x)
            x = f.slice(f.reshape(x, [*lead, n * n]), -1, 0, n * n, n + 1)
            letters = "".join(letters[a] for a in rest) + c
    return x, letters


def _sum_out(f: Expansion, x: str, letters: str, kept: str) -> tuple[str, str]:
    """Sum the axes nobody else names."""
    axes = [a for a, c in enumerate(letters) if c not in kept]
    if not axes:
        return x, letters
    rest = "".join(c for c in letters if c in kept)
    summed = f.reduce("ReduceSum", x, axes)
    return f.reshape(summed, [n for a, n in enumerate(f.shape(x)) if a not in axes]), rest


def _contract(f: Expansion, one: tuple[str, str], two: tuple[str, str], needed: str) -> tuple[str, str]:
    """The product of two operands, summed over the letters that only they name: one batched matrix product."""
    (a, left), (b, right) = one, two
    size = {**dict(zip(right, f.shape(b), strict=True))}
    for c, n in zip(left, f.shape(a), strict=True):
        size[c] = max(n, size.get(c, 1))
    both = [c for c in left if c in right]
    batch = [c for c in both if c in needed]
    inner = [c for c in both if c not in needed]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    x = _arranged(f, a, left, [batch, rows, inner], size)
    y = _arranged(f, b, right, [batch, inner, columns], size)
    product = f.matmul(x, y) if inner else f.mul(x, y)
    order = [*batch, *rows, *columns]
    return f.reshape(product, [size[c] for c in order]), "".join(order)


def _arranged(f: Expansion, x: str, letters: str, groups: list[list[str]], size: dict[str, int]) -> str:
    """Axes in the order of the groups, each group one axis, but batch axes apart: they may be broadcast."""
    batch, *pair = groups
    order = [*batch, *pair[0], *pair[1]]
    x = f.transpose(x, [letters.index(c) for c in order])
    have = dict(zip(order, f.shape(x), strict=True))
    if any(have[c] != size[c] for c in (*pair[0], *pair[1])):
        x = f.expand(x, [have[c] if c in batch else size[c] for c in order])
    return f.reshape(x, [*(have[c] for c in batch), *(prod(size[c] for c in g) for g in pair)])


RULES = {"Einsum": einsum}
