"""From an exported program to the graph: one walk over its calls."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy as np

from compiler.errors import CompileError, ModelError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aliases import PARTS, VIEWS, Cell, copied, part_back
from compiler.frontends.pytorch.aten import TABLE
from compiler.frontends.pytorch.program import Block, Node, Other, Program, Ref

#: Calls that only check something, or tell torch something.
IGNORED = frozenset({
    "aten._assert_async", "aten._assert_scalar", "aten._assert_tensor_metadata", "aten._functional_assert_async",
    "aten._functional_assert_scalar", "aten.sym_constrain_range", "aten.sym_constrain_range_for_size", "aten._print",
    "aten._assert_async.msg", "_operator.delitem",
})


#: A number that depends on data: a name that no value has.
UNKNOWN = "?"

#: Arithmetic on sizes, which are numbers here.
NUMBERS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{n}": getattr(operator, n) for n in (
        "add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "neg", "pos", "abs", "eq", "ne", "lt", "le", "gt",
        "ge", "and_", "or_", "not_")},
    "math.ceil": math.ceil, "math.floor": math.floor, "math.trunc": math.trunc, "math.sqrt": math.sqrt,
    "torch.sym_max": max, "torch.sym_min": min, "torch.sym_int": int, "torch.sym_float": float,
    "torch.sym_not": operator.not_, "torch.sym_ite": lambda c, x, y: x if c else y, "torch.sym_sqrt": math.sqrt,
    "torch._sym_sqrt": math.sqrt, "builtins.round": round, "torch.sym_sum": sum, "builtins.max": max,
    "builtins.min": min,
}


def build(b: GraphBuilder, program: Program, names: Sequence[str]) -> list[tuple[str, str]]:
    """Add the program to a builder whose inputs have `names`; returns (value, key) of every computed result.

    Raises: UnsupportedOp naming every operator without a conversion; the first error of a conversion, which names its
        call.
    """
    check(program.block, program.where)
    walk = _Walk(b, program.where)
    env: dict[str, Any] = {}
    for name, value in program.constants.items():
        env[name] = _constant(b, name, value)
    for name, given in zip(program.names, names, strict=True):
        env[name] = Cell(given)
    walk.run(program.block, env)
    found = []
    for value, key in program.results:
        if not isinstance(value, Ref):
            continue  # None, or a number that `forward` returns beside its tensors
        result = walk.argument(value, env)
        if result is not None:
            found.append((result if isinstance(result, str) else b.add(np.asarray(result)), key))
    return found


def _constant(b: GraphBuilder, name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return Cell(b.add(value, name))
    return None if isinstance(value, Ref) else value  # a weight that nothing reads


def check(block: Block, where: str) -> None:
    """Refuse a program with operators that have no conversion. Raises: UnsupportedOp naming all."""
    missing: dict[str, list[str]] = {}
    pending = [block]
    while pending:
        current = pending.pop()
        for node in current.nodes:
            pending += [v for v in node.args.values() if isinstance(v, Block)]
            if not known(node.target):
                missing.setdefault(node.target, []).append(node.name)
    if missing:
        error = UnsupportedOp("the program has operators without a conversion", where=where,
                              actual=", ".join(sorted(missing)),
                              help="export the model to ONNX with torch.onnx.export and compile that")
        error.op = ", ".join(sorted(missing))
        error.nodes = tuple(n for names in missing.values() for n in names)
        raise error


def known(target: str) -> bool:
    """Whether a call can be converted."""
    return target in NUMBERS or converter(target)[0] is not None or ignored(target) or special(target)


def ignored(target: str) -> bool:
    """Whether a call computes nothing."""
    return target in IGNORED or target.rsplit(".", 1)[0] in IGNORED


def special(target: str) -> bool:
    """Whether the walk itself does a call."""
    return target.split(".")[-1] in ("wrap_with_set_grad_enabled", "wrap_with_autocast") or target in (
        "_operator.getitem",) or target.startswith(("aten.sym_size", "aten.sym_numel"))


def converter(target: str) -> tuple[Callable[..., Any] | None, bool]:
    """The converter of a call, and whether the call changes its first operand."""
    space, _, rest = target.partition(".")
    name, _, overload = rest.partition(".")
    for stem, changes in ((name, False), (name[:-1], True)):
        if changes and (not name.endswith("_") or name.endswith("__")):
            break
        for key in (f"{space}.{stem}.{overload}", f"{space}.{stem}"):
            if key in TABLE and overload != "out" and not overload.endswith("_out"):
                return TABLE[key], changes
    return None, False


class _Walk:
    """Runs calls in order; `env` has a `Cell` for a tensor, a number, or a list of these, by the program's names."""

    def __init__(self, b: GraphBuilder, where: str) -> None:
        self.b = b
        self.where = where

    def run(self, block: Block, env: dict[str, Any]) -> None:
        for node in block.nodes:
            with self.b.layer(node.name):
                try:
                    self._call(node, env)
                except CompileError as error:
                    error.where = error.where or f"{self.where}: {node.name!r} ({node.target})"
                    if isinstance(error, UnsupportedOp) and not error.op:
                        error.op, error.nodes = node.target, (node.name,)
                        error.where = f"{self.where}: {node.name!r} ({node.target})"
                    raise
                except (TypeError, ValueError, IndexError, KeyError, AttributeError, AssertionError, ArithmeticError,
                        MemoryError, StopIteration) as error:
                    raise ModelError("a call has arguments that its operator does not take", code="MODEL_INVALID",
                                     where=f"{self.where}: {node.name!r} ({node.target})",
                                     actual=f"{type(error).__name__}: {error}") from None

    def _call(self, node: Node, env: dict[str, Any]) -> None:
        if ignored(node.target):
            return
        if special(node.target):
            self._special(node, env)
        elif node.target in NUMBERS:
            values = [self.argument(v, env) for v in node.args.values()]
            # a size that depends on data only matters where something is made of that size
            known = not any(isinstance(v, str) for v in values)
            self._bind(node, NUMBERS[node.target](*values) if known else UNKNOWN, env)
        else:
            self._convert(node, env)

    def _special(self, node: Node, env: dict[str, Any]) -> None:
        name = node.target.split(".")[-1]
        args = list(node.args.values())
        if node.target.startswith("aten.sym_"):
            self._bind(node, self._size(self.argument(args[0], env), *[self.argument(a, env) for a in args[1:]]), env)
        elif name == "getitem":
            items = env[args[0].name] if isinstance(args[0], Ref) else args[0]
            self._bind_cells(node, [items[args[1]]], env)
        else:
            place = next(k for k, v in enumerate(args) if isinstance(v, Block))
            block = args[place]
            inner = dict(zip(block.inputs, [env[v.name] if isinstance(v, Ref) else v for v in args[place + 1 :]]))
            self.run(block, inner)
            found = [inner[o.name] if isinstance(o, Ref) else o for o in block.outputs]
            self._bind_cells(node, found, env)

    def _size(self, value: str, dim: int | None = None) -> Any:
        """A number, or `UNKNOWN`."""
        if not self.b.is_static(value):
            return UNKNOWN
        shape = self.b.shape(value)
        return math.prod(shape) if dim is None else shape[dim]

    def _convert(self, node: Node, env: dict[str, Any]) -> None:
        convert, changes = converter(node.target)
        assert convert is not None
        args = {k: self.argument(v, env) for k, v in node.args.items()}
        if changes and "self" in args and "self" not in (taken := signature(convert).parameters):
            args = {list(taken)[1]: args.pop("self"), **args}  # schemas of dropout and dropout_ differ in this name
        name = node.target.split(".")[1]
        first = next(iter(node.args.values()), None)
        cell = env.get(first.name) if isinstance(first, Ref) else None
        result = convert(self.b, **args)
        if changes and name[:-1] in VIEWS and isinstance(cell, Cell):  # squeeze_ and the like: from now on a view
            assert isinstance(first, Ref)
            env[first.name] = self._view(cell, convert, node, args, name[:-1], result)
            self._bind_cells(node, [env[first.name]], env)
        elif (changes or name in ("copy_", "fill_", "zero_")) and isinstance(cell, Cell):
            cell.write(copied(self.b, cell.read(), result))
            self._bind_cells(node, [cell], env)
        elif isinstance(cell, Cell) and name in VIEWS and isinstance(result, str):
            self._bind_cells(node, [self._view(cell, convert, node, args, name, result)], env)
        elif isinstance(cell, Cell) and name in PARTS and isinstance(result, list):
            self._bind_cells(node, [self._part(cell, convert, node, args, name, result, k)
                                    for k in range(len(result))], env)
        else:
            self._bind(node, result, env)

    def _view(self, cell: Cell, convert: Any, node: Node, args: dict[str, Any], name: str, result: str) -> Cell:
        if result == cell.read() and name in ("to", "dropout"):
            return cell
        if name == "to":
            return Cell(result)
        key = next(iter(node.args))
        rest = {k: v for k, v in args.items() if k != key}
        return Cell(result, cell, lambda base: convert(self.b, **{key: base}, **rest),
                    lambda base, value: VIEWS[name](self.b, base, value, rest))

    def _part(self, cell: Cell, convert: Any, node: Node, args: dict[str, Any], name: str, values: list[str],
              k: int) -> Cell:
        key = next(iter(node.args))
        rest = {n: v for n, v in args.items() if n != key}
        return Cell(values[k], cell, lambda base: convert(self.b, **{key: base}, **rest)[k],
                    part_back(self.b, name, rest, values, k))

    def argument(self, value: Any, env: dict[str, Any]) -> Any:
        """An argument as a converter takes it."""
        if isinstance(value, Ref):
            if value.name not in env:
                raise ModelError(f"nothing computes {value.name!r}", code="MODEL_INVALID", where=self.where)
            value = env[value.name]
        if isinstance(value, Cell):
            return value.read()
        if isinstance(value, list):
            return [self.argument(v, env) for v in value]
        return None if isinstance(value, Other) else value

    def _bind(self, node: Node, result: Any, env: dict[str, Any]) -> None:
        results = result if isinstance(result, list) and (not node.single or len(node.results) > 1) else [result]
        self._bind_cells(node, [Cell(r) if isinstance(r, str) else r for r in results], env)

    def _bind_cells(self, node: Node, cells: list[Any], env: dict[str, Any]) -> None:
        wanted = node.results
        if len(wanted) == 1 and isinstance(wanted[0], list):
            wanted = wanted[0]
        elif len(wanted) == 1 and len(cells) != 1 and isinstance(wanted[0], Ref):
            cells = [cells]
        for ref, cell in zip(wanted, cells):
            if isinstance(ref, Ref):
                env[ref.name] = cell


