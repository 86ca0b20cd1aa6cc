"""The sentences a condition can answer with, read from its code: a list of limits that nobody has to write twice.

A condition returns "" or a sentence. Branches that the target or the operator decides are taken or left; of what the
model decides every sentence is kept, with the model's part in angle brackets.
"""
from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from isa.target import Target

#: What cannot be said without a model.
_UNKNOWN = object()


def sentences(condition: Callable[..., str], op: str, target: Target) -> list[str]:
    """What a condition may say of an operator on a target, in the order of its code."""
    return list(dict.fromkeys(_of_function(condition, [_UNKNOWN, SimpleNamespace(op=op), target], {})))


def _of_function(function: Callable[..., str], given: list[Any], named: Mapping[str, Any]) -> Iterator[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    names = [a.arg for a in (*tree.args.args, *tree.args.kwonlyargs)]
    local = dict.fromkeys(names, _UNKNOWN) | dict(zip(names, given, strict=False)) | dict(named)
    scope = {**vars(builtins), **function.__globals__, **local}
    yield from _block(tree.body, scope)


def _block(body: list[ast.stmt], scope: dict[str, Any]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.Return) and statement.value is not None:
            yield from _texts(statement.value, scope)
            return
        if isinstance(statement, ast.If):
            test = _value(statement.test, scope)
            if test is _UNKNOWN or test:
                yield from _block(statement.body, scope)
            if test is _UNKNOWN or not test:
                yield from _block(statement.orelse, scope)
            if test is not _UNKNOWN and test and isinstance(statement.body[-1], ast.Return):
                return
        elif isinstance(statement, ast.For):
            _assign(statement.target, _UNKNOWN, scope)
            yield from _block(statement.body, scope)
        elif isinstance(statement, ast.Assign):
            _assign(statement.targets[0], _value(statement.value, scope), scope)


def _assign(target: ast.expr, value: Any, scope: dict[str, Any]) -> None:
    whole = isinstance(target, ast.Name)
    for name in ast.walk(target):
        if isinstance(name, ast.Name):
            scope[name.id] = value if whole else _UNKNOWN


def _texts(node: ast.expr, scope: dict[str, Any]) -> Iterator[str]:
    """Sentences an expression may be, but for the empty one."""
    if isinstance(node, ast.IfExp):
        test = _value(node.test, scope)
        if test is _UNKNOWN or test:
            yield from _texts(node.body, scope)
        if test is _UNKNOWN or not test:
            yield from _texts(node.orelse, scope)
    elif isinstance(node, ast.BoolOp):
        for part in node.values:
            yield from _texts(part, scope)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        function = scope.get(node.func.id)
        if inspect.isfunction(function):
            yield from _of_function(function, [_value(a, scope) for a in node.args],
                                    {k.arg: _value(k.value, scope) for k in node.keywords if k.arg})
    elif isinstance(node, ast.JoinedStr):
        yield "".join(_part(p, scope) for p in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value


def _part(node: ast.expr, scope: dict[str, Any]) -> str:
    if isinstance(node, ast.FormattedValue):
        value = _value(node.value, scope)
        return f"<{ast.unparse(node.value)}>" if value is _UNKNOWN else str(value)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _value(node: ast.expr, scope: dict[str, Any]) -> Any:
    """The value of an expression where the target and the operator decide it, else `_UNKNOWN`."""
    if isinstance(node, ast.BoolOp):
        decisive = isinstance(node.op, ast.Or)
        parts = [_value(p, scope) for p in node.values]
        if any(p is not _UNKNOWN and bool(p) is decisive for p in parts):
            return decisive
        return _UNKNOWN if any(p is _UNKNOWN for p in parts) else not decisive
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    if any(scope.get(n, _UNKNOWN) is _UNKNOWN for n in names):
        return _UNKNOWN
    try:
        return eval(compile(ast.Expression(node), "<condition>", "eval"), scope)
    except Exception:  # it asks for more of the node than its operator
        return _UNKNOWN
