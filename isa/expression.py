"""The small language of cost rules: arithmetic, comparisons, `and or not`, `a if c else b`, `in (..)`, max, min, ceil.

It is a subset of Python's expression syntax. Every value may be a number or an array over the words of one mnemonic, so
that one evaluation prices all of them.
"""
from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from isa.errors import SpecError

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CALLS: dict[str, Callable[..., Any]] = {
    "max": lambda *a: functools.reduce(np.maximum, a),
    "min": lambda *a: functools.reduce(np.minimum, a),
    "ceil": lambda a: np.ceil(a - 1e-9),  # quotients of whole numbers: the guard absorbs rounding, never a whole unit
}


class Names(Protocol):
    """Where a rule finds its names: a mapping, or anything that computes them when asked."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True)
class Expression:
    """A parsed rule. `names` are the plain and dotted names it reads."""

    text: str
    names: frozenset[str]
    tree: ast.expr

    def evaluate(self, env: Names) -> Any:
        """Value for the numbers and arrays of `env` (looked up once per use): a number or an array."""
        return _evaluate(self.tree, env)


@functools.cache
def parse(text: str) -> Expression:
    """Parse a rule. Raises: SpecError naming the construct that the language does not have."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise SpecError(f"not an expression: {text!r}", where=f"column {error.offset}") from error
    found: set[str] = set()
    _check(tree, text, found)
    return Expression(text, frozenset(found), tree)


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def _children(node: ast.expr) -> list[ast.expr] | None:
    """Operands of a construct of the language, None for any other construct."""
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            return []
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            return [left, right]
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            return [operand]
        case ast.BoolOp(_, values):
            return values
        case ast.IfExp(test, body, orelse):
            return [test, body, orelse]
        case ast.Compare(left, [ast.In()], [ast.Tuple(elements)]):
            return [left, *elements]
        case ast.Compare(left, [op], [right]) if type(op) in _COMPARE:
            return [left, right]
        case ast.Call(ast.Name(name), args, []) if name in _CALLS and args and (name != "ceil" or len(args) == 1):
            return args
    return None


def _check(node: ast.expr, text: str, found: set[str]) -> None:
    name = _dotted(node)
    if name is not None:
        found.add(name)
        return
    children = _children(node)
    if children is None:
        raise SpecError(f"not allowed in a cost rule: {ast.unparse(node)}", where=text)
    for child in children:
        _check(child, text, found)


def _evaluate(node: ast.expr, env: Names) -> Any:
    name = _dotted(node)
    if name is not None:
        return env[name]
    match node:
        case ast.Constant(value=value):
            return value
        case ast.BinOp(left, op, right):
            return _BINARY[type(op)](_evaluate(left, env), _evaluate(right, env))
        case ast.UnaryOp(ast.Not(), operand):
            return np.logical_not(_evaluate(operand, env))
        case ast.UnaryOp(_, operand):
            return -_evaluate(operand, env)
        case ast.BoolOp(op, values):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return functools.reduce(join, [_evaluate(v, env) for v in values])
        case ast.IfExp(test, body, orelse):
            return np.where(_evaluate(test, env), _evaluate(body, env), _evaluate(orelse, env))
        case ast.Compare(left, [ast.In()], [ast.Tuple(elements)]):
            value = _evaluate(left, env)
            return functools.reduce(np.logical_or, [value == _evaluate(e, env) for e in elements])
        case ast.Compare(left, [op], [right]):
            return _COMPARE[type(op)](_evaluate(left, env), _evaluate(right, env))
        case ast.Call(ast.Name(called), args):
            return _CALLS[called](*(_evaluate(a, env) for a in args))
    raise SpecError("unreachable construct", where=ast.unparse(node))
