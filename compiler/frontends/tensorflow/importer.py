"""The walk over a TensorFlow graph: from the results back to what they need, each node once, functions inlined."""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from compiler.errors import CompileError, ModelError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.onnx.check import raise_all
from compiler.frontends.tensorflow import branches, frames, noise, sparse
from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.catalogue import reason
from compiler.frontends.tensorflow.registry import CONVERTERS
from compiler.frontends.tensorflow.scope import Scope, data_inputs
from compiler.frontends.tensorflow.source import Source
from compiler.frontends.tensorflow.values import GONE, Gone, Noise, Sparse, Value

#: Functions that call each other deeper than this call themselves.
_DEEPEST = 64
#: A graph with more nodes than these, functions inlined and loops unrolled, would not be compiled in any sensible time.
_MOST_NODES = 400_000
#: Names that TensorFlow gives to calls by itself: they are left out of the names of layers.
_CALL_NAME = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")

#: What helps against most operators that are not supported.
_CUT = ("cut the model: name earlier nodes as its outputs (--io-config '{\"outputs\": [\"NODE\"]}'), or a later node "
        "as its input (--input-shape NODE:1x8)")


class Importer:
    """One import.

    Attributes:
        source: the model. b: the graph that is built.
        main: the scope of the main graph.
        operators: operator type by name of the node, functions and loops written out.
        cuts: values given for nodes, by name; what leads to them is not looked at. cut: those that were met.
        masks: entries of sparse tensors that were chosen once, by mask and choice.
    """

    def __init__(self, source: Source, builder: GraphBuilder) -> None:
        self.source, self.b = source, builder
        self.main = Scope(source.nodes, source.where)
        self._functions: dict[str, dict[str, Any]] = {}
        self.operators: dict[str, str] = {}
        self.cuts: dict[str, str] = {}
        self.cut: set[str] = set()
        self.masks: dict[str, str] = {}
        self._layers: dict[str, int] = {}
        self._refused: dict[str, tuple[str, str, list[str]]] = {}  # by operator and reason
        self._count = 0

    def evaluate(self, scope: Scope, refs: Sequence[str]) -> list[Value]:
        """What references stand for, everything they need evaluated first.

        Raises: ModelError MODEL_INVALID (a cycle, a node that is not there), MODEL_TOO_LARGE; what converters raise.
        """
        stack = [(r.partition(":")[0], False) for r in reversed(refs) if not scope.is_argument(r)]
        under_way: set[str] = set()
        while stack:
            name, ready = stack.pop()
            if scope.found(name) is not None:
                continue
            if self.cuts and scope.prefix + name in self.cuts:
                self.cut.add(scope.prefix + name)
                scope.results[name] = [self.cuts[scope.prefix + name]]
                continue
            node = scope.node(name)
            if name in under_way and not ready:
                raise ModelError("nodes of the graph need each other", code="MODEL_INVALID",
                                 where=f"{self.source.where}: node {name!r}")
            missing = [n for n in (r.partition(":")[0] for r in self._needs(scope, node) if not scope.is_argument(r))
                       if scope.found(n) is None]
            if missing:  # what a Merge needs is known in steps: first its condition, then a branch
                under_way.add(name)
                stack.append((name, True))
                stack += [(n, False) for n in reversed(missing)]
                continue
            under_way.discard(name)
            self._node(scope, node)
        return [scope.value(r) for r in refs]

    def _needs(self, scope: Scope, node: Any) -> list[str]:
        if node.op in ("Exit", "RefExit"):
            return frames.needs(scope, node)
        if node.op in ("Merge", "RefMerge"):
            return branches.needs(self, scope, node)
        return data_inputs(node)

    def _node(self, scope: Scope, node: Any) -> None:
        self._count += 1
        if self._count > _MOST_NODES:
            raise ModelError("the graph has too many nodes once its functions and loops are written out",
                             code="MODEL_TOO_LARGE", where=self.source.where, limit=_MOST_NODES)
        if node.op in ("Exit", "RefExit"):
            frames.run(self, scope, node)
            return
        if node.op in ("Merge", "RefMerge"):
            scope.results[node.name] = branches.merge(self, scope, node)
            return
        args = [scope.value(r) for r in data_inputs(node)]
        call = Call(self, scope, node, args)
        if any(isinstance(a, Gone) for a in args):
            scope.results[node.name] = [GONE] * 16
            return
        scope.results[node.name] = self._converted(call)

    def _converted(self, call: Call) -> list[Value]:
        node = call.node
        convert = CONVERTERS.get(node.op)
        if any(isinstance(a, Sparse) for a in call.args):
            with self.b.layer(call.scope.prefix + node.name):
                found = sparse.apply(call)
            if found is not None:
                return _listed(found)
        if convert is None and node.op in self.source.functions:
            return self.inline(call, node.op, call.args)
        if convert is None:
            self._refuse(node.op, f"the operator {node.op} is not supported", reason(node.op), node.name)
            return [GONE] * 16
        try:
            if node.op in ("PartitionedCall", "StatefulPartitionedCall"):
                return _listed(convert(call))  # its nodes are layers of their own
            if any(isinstance(a, Noise) for a in call.args):
                convert = noise.apply
            layer = self._layer(call.scope.prefix + node.name)
            self.operators[layer] = node.op
            with self.b.layer(layer):
                return _listed(convert(call))
        except UnsupportedOp as error:
            if not error.op:
                raise
            self._refuse(error.op, error.what, error.help, node.name)
            return [GONE] * 16
        except CompileError as error:
            error.where = error.where or call.where
            if error.code == "SHAPE_UNKNOWN" and not error.help:
                error.help = _CUT
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError) as error:
            raise ModelError(f"the operands of the node do not fit it: {error}"[:300], code="MODEL_INVALID",
                             where=call.where) from error

    def _layer(self, name: str) -> str:
        """A name that no other layer has: bodies of loops and functions are written out several times."""
        number = self._layers.get(name, 0)
        self._layers[name] = number + 1
        return f"{name}#{number + 1}" if number else name

    # ---- functions -----------------------------------------------------------------------------------------------

    def inline(self, call: Call, function: str, args: Sequence[Value]) -> list[Value]:
        """The results of a function. Raises: ModelError MODEL_INVALID."""
        found = self.source.functions.get(function)
        if found is None:
            raise ModelError(f"the graph has no function {function!r}", code="MODEL_INVALID", where=call.where)
        names = [a.name for a in found.signature.input_arg]
        depth = call.scope.depth + 1
        if len(names) != len(args) or depth > _DEEPEST:
            what = "calls itself" if depth > _DEEPEST else f"has {len(names)} arguments, not {len(args)}"
            raise ModelError(f"the function {function!r} {what}", code="MODEL_INVALID", where=call.where)
        if function not in self._functions:
            self._functions[function] = {n.name: n for n in found.node_def}
        prefix = call.scope.prefix + ("" if _CALL_NAME.fullmatch(call.node.name) else f"{call.node.name}/")
        inner = Scope(self._functions[function], f"{self.source.where}: function {function!r}", prefix,
                      dict(zip(names, args, strict=True)), depth=depth)
        outputs = [a.name for a in found.signature.output_arg]
        if any(o not in found.ret for o in outputs):
            raise ModelError(f"the function {function!r} does not say what it returns", code="MODEL_INVALID",
                             where=call.where)
        return self.evaluate(inner, [found.ret[o] for o in outputs])

    # ---- what is not supported -----------------------------------------------------------------------------------

    def _refuse(self, op: str, what: str, why: str, node: str) -> None:
        self._refused.setdefault(f"{op}\0{what}", (what, why, []))[2].append(node)

    def check(self) -> None:
        """Raises: UnsupportedOp, or ErrorList of one for each operator that stands in the way."""
        errors: list[CompileError] = []
        for key, (what, why, nodes) in sorted(self._refused.items()):
            shown = ", ".join(repr(n) for n in nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
            error = UnsupportedOp(f"{what} ({why})" if why else what, where=f"{self.source.where}: node {shown}",
                                  help=_CUT)
            error.op, error.nodes = key.partition("\0")[0], tuple(nodes)
            errors.append(error)
        raise_all(errors)


def _listed(found: Value | Sequence[Value]) -> list[Value]:
    return list(found) if isinstance(found, (list, tuple)) else [found]  # type: ignore[list-item]
