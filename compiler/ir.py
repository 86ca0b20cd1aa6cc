"""The graph the compiler works on between a frontend and lowering: values, nodes, and an index kept consistent.

Operators mean what ONNX operators mean at `OPSET`; the fused forms that passes add (`Affine`, `attrs["epilogue"]`)
are described in docs/architecture.md. Every shape is a tuple of known integers, constants are values with an array and
never nodes. Nodes are edited through the graph's methods, which keep the index of producers and consumers true;
`compiler.verify` checks it after every pass.
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from compiler.ir_text import graph_to_text

#: The one ONNX operator set (default domain) whose meaning the graph's operators have.
OPSET = 22


@cache
def numpy_dtype(name: str) -> np.dtype:
    """Return the numpy type of a `Value.dtype` spelling; ml_dtypes names such as "bfloat16" included."""
    return np.dtype(getattr(ml_dtypes, name, name))


@dataclass
class Value:
    """One tensor: an input, a result of a node, or a constant.

    Attributes:
        name: unique in its graph.
        shape: static sizes, () for a scalar.
        dtype: numpy (or ml_dtypes) spelling: "float32", "int64", "bool", "bfloat16", "int8" ...
        const: the array when known at compile time, else None. Treat it as read-only; it may be a view of the file.
        host: serialised `onnx.TypeProto` of a value that only the host can hold (unknown sizes, a sequence, strings),
            else b"". Its `shape` is then () and its `dtype` "" where unknown; no operator on the device may touch it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    const: np.ndarray | None = None
    host: bytes = b""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, dense; 0 for a value of the host, whose size is unknown."""
        return 0 if self.host else self.size * numpy_dtype(self.dtype).itemsize


@dataclass(eq=False)
class Node:
    """One operation. Identity, not equality, tells two nodes apart.

    Attributes:
        op: operator type, ONNX spelling or a fused form.
        name: unique in its graph, made up when the model has none.
        inputs: value names in operator order, "" for an absent optional input.
        outputs: value names in operator order, "" for an unused optional output.
        attrs: ints, floats, strings, lists of these, arrays; `attrs["epilogue"]` as in the contract.
        sources: names of the source model's nodes this one stands for, in model order.
        domain: "" for ONNX's own operators.
        host: why only the host can run it ("control flow", ...), "" where the device might.
        proto: serialised `onnx.NodeProto` of a node that `attrs` cannot express (subgraphs, unknown operators), or b"".
            `inputs` then lists what the proto reads, followed by what its subgraphs read of the outer graph.
        version: version of its domain at which it means what it says, 0 for the graph's own (`Graph.opsets`).
    """

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    domain: str = ""
    host: str = ""
    proto: bytes = b""
    version: int = 0

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]

    def input(self, index: int) -> str:
        """The input at `index`, "" when absent or beyond the end."""
        return self.inputs[index] if index < len(self.inputs) else ""


class Graph:
    """A static dataflow graph, nodes in topological order.

    Attributes:
        name: of the model, for messages.
        inputs: names of the true inputs (never constants), in model order.
        outputs: names of the results, in model order; a result may be an input or a constant.
        nodes: topologically ordered; change it through the methods only.
        values: every value by name.
        notes: sentences for the user about choices made on import (assumed batch, ...).
        opsets: versions of operator domains other than ONNX's own that the nodes use.
        source: "framework" and "kind" of the file that it was read from; empty for a graph made otherwise.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {}
        self.notes: list[str] = []
        self.opsets: dict[str, int] = {}
        self.source: dict[str, str] = {}
        self._producer: dict[str, Node] = {}
        self._uses: dict[str, dict[int, Node]] = {}
        self._node_names: set[str] = set()
        self._counters: dict[str, Iterator[int]] = {}

    # ---- reading -------------------------------------------------------------------------------------------------

    def value(self, name: str) -> Value:
        """The value of that name. Raises: KeyError."""
        return self.values[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Static shape of a value."""
        return self.values[name].shape

    def dtype(self, name: str) -> str:
        """Element type of a value, numpy spelling."""
        return self.values[name].dtype

    def const(self, name: str) -> np.ndarray | None:
        """The array of a constant value; None for "" and for values known only at run time."""
        return self.values[name].const if name else None

    def is_const(self, name: str) -> bool:
        """Whether the value is known at compile time; "" (absent) is not."""
        return self.const(name) is not None

    def producer(self, name: str) -> Node | None:
        """The node that computes the value; None for inputs and constants."""
        return self._producer.get(name)

    def consumers(self, name: str) -> list[Node]:
        """Nodes that read the value, each once, in order of registration. Being a graph output is not counted."""
        return list(self._uses.get(name, {}).values())

    def only_consumer(self, name: str) -> Node | None:
        """The one node that reads a value once, when the value is no graph output; else None."""
        uses = self._uses.get(name, {})
        if len(uses) != 1 or name in self.outputs:
            return None
        node = next(iter(uses.values()))
        return node if node.inputs.count(name) == 1 else None

    def constants(self) -> Iterator[Value]:
        """All constant values."""
        return (v for v in self.values.values() if v.const is not None)

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self.nodes))

    def __len__(self) -> int:
        return len(self.nodes)

    def op_counts(self) -> dict[str, int]:
        """Number of nodes per operator, sorted by name."""
        ops = sorted(n.op for n in self.nodes)
        return {op: len(list(group)) for op, group in itertools.groupby(ops)}

    def to_text(self) -> str:
        """A stable listing of the graph, for --print-after and tests."""
        return graph_to_text(self)

    # ---- building ------------------------------------------------------------------------------------------------

    def fresh_name(self, stem: str) -> str:
        """A name no value and no node has yet: `stem`, else `stem.1`, `stem.2` ..."""
        stem = stem or "v"
        if stem not in self.values and stem not in self._node_names:
            return stem
        counter = self._counters.setdefault(stem, itertools.count(1))
        while True:
            name = f"{stem}.{next(counter)}"
            if name not in self.values and name not in self._node_names:
                return name

    def add_value(self, name: str, shape: Iterable[int], dtype: str, const: np.ndarray | None = None) -> str:
        """Define a value and return its name. Raises: ValueError when the name is taken."""
        if name in self.values or not name:
            raise ValueError(f"value {name!r} is already defined" if name else "a value needs a name")
        self.values[name] = Value(name, tuple(int(d) for d in shape), dtype, const)
        return name

    def add_host_value(self, name: str, type_proto: bytes, dtype: str = "") -> str:
        """Define a value that only the host can hold (see `Value.host`) and return its name."""
        self.add_value(name, (), dtype)
        self.values[name].host = type_proto
        return name

    def add_input(self, name: str, shape: Iterable[int], dtype: str) -> str:
        """Define a true input and return its name."""
        self.inputs.append(self.add_value(name, shape, dtype))
        return name

    def add_const(self, array: np.ndarray, stem: str = "const") -> str:
        """Define a constant under a fresh name and return the name. The array is kept, not copied."""
        return self.add_value(self.fresh_name(stem), array.shape, array.dtype.name, array)

    def add_node(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attrs: dict[str, Any] | None = None,
        *,
        name: str = "",
        sources: Sequence[str] = (),
        domain: str = "",
        host: str = "",
        proto: bytes = b"",
        version: int = 0,
        at: int | None = None,
    ) -> Node:
        """Create a node whose values exist already and put it at position `at` (default: the end)."""
        node = Node(op, self.fresh_name(name or op.lower()), list(inputs), list(outputs), dict(attrs or {}),
                    list(sources), domain, host, proto, version)
        self._register(node)
        self.nodes.insert(len(self.nodes) if at is None else at, node)
        return node

    def insert_before(self, anchor: Node, op: str, inputs: Sequence[str], outputs: Sequence[str],
                      attrs: dict[str, Any] | None = None, **more: Any) -> Node:
        """`add_node` just before `anchor`, inheriting its sources unless given."""
        more.setdefault("sources", anchor.sources)
        return self.add_node(op, inputs, outputs, attrs, at=self.nodes.index(anchor), **more)

    def insert_after(self, anchor: Node, op: str, inputs: Sequence[str], outputs: Sequence[str],
                     attrs: dict[str, Any] | None = None, **more: Any) -> Node:
        """`add_node` just after `anchor`, inheriting its sources unless given."""
        more.setdefault("sources", anchor.sources)
        return self.add_node(op, inputs, outputs, attrs, at=self.nodes.index(anchor) + 1, **more)

    # ---- editing -------------------------------------------------------------------------------------------------

    def set_inputs(self, node: Node, inputs: Sequence[str]) -> None:
        """Replace all inputs of a node."""
        self._unuse(node)
        node.inputs = list(inputs)
        self._use(node)

    def set_input(self, node: Node, index: int, name: str) -> None:
        """Replace one input of a node, lengthening the list with "" as needed."""
        inputs = node.inputs + [""] * (index + 1 - len(node.inputs))
        inputs[index] = name
        self.set_inputs(node, inputs)

    def set_outputs(self, node: Node, outputs: Sequence[str]) -> None:
        """Replace all outputs of a node; values it no longer computes stay defined without a producer."""
        for name in node.outputs:
            if self._producer.get(name) is node:
                del self._producer[name]
        node.outputs = list(outputs)
        for name in filter(None, outputs):
            self._producer[name] = node

    def replace_uses(self, old: str, new: str) -> None:
        """Make every node that reads `old` read `new`. Graph outputs keep their names: see `rename_output`."""
        if old == new:
            return
        for node in self.consumers(old):
            self.set_inputs(node, [new if i == old else i for i in node.inputs])

    def bypass(self, node: Node, source: str) -> bool:
        """Drop a node whose first output equals `source`: users of the output read `source` instead.

        A graph output keeps its name: the producer of `source` then writes that name. Returns False, and changes
        nothing, when the output is a graph result and `source` is itself an input, a constant or a graph result.
        """
        output = node.output
        if output in self.outputs:
            producer = self._producer.get(source)
            if producer is None or source in self.outputs:
                return False
            self.remove(node)
            self.set_outputs(producer, [output if o == source else o for o in producer.outputs])
            self.replace_uses(source, output)
            del self.values[source]
            return True
        self.replace_uses(output, source)
        self.remove(node)
        del self.values[output]
        return True

    def make_const(self, name: str, array: np.ndarray) -> None:
        """Declare a value constant; its producer loses it as an output (and goes when nothing else is left)."""
        value = self.values[name]
        value.const = array
        producer = self._producer.pop(name, None)
        if producer is not None:
            producer.outputs = ["" if o == name else o for o in producer.outputs]
            if not any(producer.outputs):
                self.remove(producer)

    def remove(self, node: Node) -> None:
        """Take a node out; its output values stay defined, without a producer."""
        self._unuse(node)
        for name in node.outputs:
            if self._producer.get(name) is node:
                del self._producer[name]
        self._node_names.discard(node.name)
        self.nodes.remove(node)

    def remove_dead(self) -> int:
        """Drop nodes that no output needs and values nobody names. Returns the number of dropped nodes."""
        live: set[str] = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(o in live for o in node.outputs if o):
                live.update(filter(None, node.inputs))
                kept.append(node)
        dropped = [n for n in self.nodes if not any(o in live for o in n.outputs if o)]
        for node in dropped:
            self._unuse(node)
            self._node_names.discard(node.name)
            for name in filter(None, node.outputs):
                self._producer.pop(name, None)
        self.nodes = kept[::-1]
        named = live | set(self.inputs) | {o for n in self.nodes for o in n.outputs}
        self.values = {k: v for k, v in self.values.items() if k in named}
        return len(dropped)

    def topological_sort(self) -> None:
        """Order the nodes so that every value is computed before it is read; stable. Raises: ValueError on a cycle."""
        position = {id(n): i for i, n in enumerate(self.nodes)}
        order: list[Node] = []
        state: dict[int, int] = {}
        for root in self.nodes:
            stack = [(root, iter(self._before(root, position)))]
            if state.get(id(root)):
                continue
            state[id(root)] = 1
            while stack:
                node, rest = stack[-1]
                following = next(rest, None)
                if following is None:
                    stack.pop()
                    state[id(node)] = 2
                    order.append(node)
                elif not state.get(id(following)):
                    state[id(following)] = 1
                    stack.append((following, iter(self._before(following, position))))
                elif state[id(following)] == 1:
                    raise ValueError(f"cycle through node {following.name!r}")
        self.nodes = order

    def copy(self) -> Graph:
        """A graph with its own nodes and values; arrays are shared."""
        twin = Graph(self.name)
        twin.inputs, twin.outputs, twin.notes = list(self.inputs), list(self.outputs), list(self.notes)
        twin.opsets, twin.source = dict(self.opsets), dict(self.source)
        twin.values = {k: replace(v) for k, v in self.values.items()}
        for n in self.nodes:
            node = replace(n, inputs=list(n.inputs), outputs=list(n.outputs), sources=list(n.sources),
                           attrs={k: list(v) if isinstance(v, list) else v for k, v in n.attrs.items()})
            twin._register(node)
            twin.nodes.append(node)
        return twin

    # ---- index ---------------------------------------------------------------------------------------------------

    def _before(self, node: Node, position: dict[int, int]) -> list[Node]:
        found = {id(p): p for p in (self._producer.get(i) for i in node.inputs) if p is not None}
        return sorted(found.values(), key=lambda n: position[id(n)])

    def _register(self, node: Node) -> None:
        self._node_names.add(node.name)
        self._use(node)
        for name in filter(None, node.outputs):
            self._producer[name] = node

    def _use(self, node: Node) -> None:
        for name in filter(None, node.inputs):
            self._uses.setdefault(name, {})[id(node)] = node

    def _unuse(self, node: Node) -> None:
        for name in filter(None, node.inputs):
            self._uses.get(name, {}).pop(id(node), None)
