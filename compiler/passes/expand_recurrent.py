"""LSTM, GRU and RNN unrolled over their static number of time steps.

The input's products of all steps are one matrix product for each gate, before the loop; a step then only multiplies the
state. Gates are separate products: as slices of one they would start at partitions that engines cannot address.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.ir import Graph, Node
from compiler.passes.activations import Activation, activations
from compiler.passes.expansion import Expansion
from isa.target import Target

#: most time steps, times directions, that are unrolled: a step of an LSTM is some twenty operators, and compiling a
#: thousand of them takes about twenty seconds
MOST_STEPS = 1024

#: gates of W, R and B in ONNX's order
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
#: places of the inputs after X, W, R, B, sequence_lens, initial_h
INITIAL_C, PEEPHOLES = 6, 7


def recurrent(graph: Graph, node: Node) -> bool:
    """One recurrent layer, all its directions."""
    if recurrent_reason(graph, node):
        return False
    f = Expansion(graph, node)
    batch_first = node.attrs.get("layout", 0) == 1
    x = f.transpose(node.inputs[0], [1, 0, 2]) if batch_first else node.inputs[0]
    directions = f.shape(node.inputs[1])[0]
    runs = [_Layer.of(f, d, directions).run(x) for d in range(directions)]
    results = []
    if f.used(0):
        steps = [f.concat([r.outputs[t] for r in runs], 0) for t in range(f.shape(x)[0])]
        whole = f.concat([f.reshape(s, [1, *f.shape(s)]) for s in steps], 0)
        results.append(f.transpose(whole, [2, 0, 1, 3]) if batch_first else whole)
    else:
        results.append("")
    for k, last in ((1, [r.h for r in runs]), (2, [r.c for r in runs])):
        joined = f.concat(last, 0) if f.used(k) else ""
        results.append(f.transpose(joined, [1, 0, 2]) if joined and batch_first else joined)
    return f.finish(results)


def recurrent_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why a recurrent layer is not unrolled, "" when it is."""
    x = graph.shape(node.inputs[0])
    directions = graph.shape(node.inputs[1])[0]
    steps = x[1] if node.attrs.get("layout", 0) else x[0]
    if steps * directions > MOST_STEPS:
        return f"{steps} time steps in {directions} directions are more than the {MOST_STEPS} that are unrolled"
    try:
        activations(node, DEFAULTS[node.op], directions)
    except KeyError as unknown:
        return f"the device has no activation {unknown.args[0]}"
    return ""


@dataclass
class _Run:
    """What one direction gives: [1, batch, hidden] of every step in time order, and the final state."""

    outputs: list[str]
    h: str
    c: str


@dataclass
class _Layer:
    """One direction: its parameters, and how one step follows from the one before."""

    f: Expansion
    reverse: bool
    w: list[str]
    r: list[str]
    wb: list[str]
    rb: list[str]
    peepholes: list[str]
    functions: list[Activation]
    h: str
    c: str
    lengths: str

    @staticmethod
    def of(f: Expansion, direction: int, directions: int) -> _Layer:
        node, batch_first = f.node, f.node.attrs.get("layout", 0) == 1
        hidden = f.shape(node.inputs[2])[2]
        batch = f.shape(node.inputs[0])[0 if batch_first else 1]
        gates = GATES[node.op]
        kind = f.dtype(node.inputs[0])

        def mine(index: int, axis: int = 0) -> str:
            return f.slice(node.input(index), axis, direction, direction + 1) if node.input(index) else ""

        def matrices(index: int) -> list[str]:
            whole = mine(index)
            whole = f.reshape(whole, f.shape(whole)[1:])
            return [f.swap(part) for part in f.split(whole, 0, gates)]

        def vectors(index: int, count: int) -> list[str]:
            whole = mine(index)
            return f.split(f.reshape(whole, [count * hidden]), 0, count) if whole else []

        def state(index: int) -> str:
            start = mine(index, 1 if batch_first else 0)
            return f.reshape(start, [batch, hidden]) if start else ""

        biases = vectors(3, 2 * gates)
        lengths = node.input(4)
        functions = activations(node, DEFAULTS[node.op], directions)[direction]
        way = node.attrs.get("direction", "forward")
        lstm = node.op == "LSTM"
        return _Layer(
            f, way == "reverse" or direction == 1, matrices(1), matrices(2), biases[:gates], biases[gates:],
            vectors(PEEPHOLES, 3) if lstm else [], functions, state(5), state(INITIAL_C) if lstm else "",
            f.reshape(f.cast(lengths, kind), [batch, 1]) if lengths else "")

    def run(self, x: str) -> _Run:
        """Every step over x [steps, batch, features]."""
        f = self.f
        steps, batch, features = f.shape(x)
        flat = f.reshape(x, [steps * batch, features])
        inputs = [self._biased(f.matmul(flat, w), g) for g, w in enumerate(self.w)]
        order = range(steps - 1, -1, -1) if self.reverse else range(steps)
        outputs = [""] * steps
        h, c = self.h, self.c
        for t in order:
            xs = [f.slice(part, 0, t * batch, (t + 1) * batch) for part in inputs]
            new_h, new_c = STEPS[f.node.op](self, xs, h, c)
            outputs[t] = new_h
            if self.lengths:
                alive = f.binary("Greater", self.lengths, float(t))
                nothing = f.const(0.0, f.dtype(x))
                outputs[t] = f.where(alive, new_h, nothing)
                new_h = f.where(alive, new_h, h or nothing)
                new_c = f.where(alive, new_c, c or nothing) if new_c else ""
            h, c = new_h, new_c
        wide = [1, batch, f.shape(h)[1]]
        return _Run([f.reshape(o, wide) for o in outputs], f.reshape(h, wide), f.reshape(c, wide) if c else "")

    def _biased(self, product: str, gate: int) -> str:
        """The input's share of a gate with the biases that do not depend on the state."""
        if not self.wb:
            return product
        inner = self.f.node.op == "GRU" and gate == 2 and self.f.node.attrs.get("linear_before_reset", 0)
        return self.f.add(product, self.wb[gate] if inner else self.f.add(self.wb[gate], self.rb[gate]))

    def gate(self, function: int, *terms: str) -> str:
        """An activation of the sum of the terms that there are, clipped first where the layer says so."""
        value = self.f.total([t for t in terms if t])
        clip = self.f.node.attrs.get("clip", 0.0)
        return self.functions[function](self.f, self.f.clip(value, -clip, clip) if clip else value)

    def recur(self, h: str, gate: int) -> str:
        """The state's share of a gate; nothing for the first step without an initial state."""
        return self.f.matmul(h, self.r[gate]) if h else ""

    def peep(self, c: str, which: int) -> str:
        """The cell's share of a gate."""
        return self.f.mul(c, self.peepholes[which]) if c and self.peepholes else ""


def _rnn(layer: _Layer, xs: list[str], h: str, c: str) -> tuple[str, str]:
    return layer.gate(0, xs[0], layer.recur(h, 0)), ""


def _gru(layer: _Layer, xs: list[str], h: str, c: str) -> tuple[str, str]:
    f = layer.f
    update = layer.gate(0, xs[0], layer.recur(h, 0))
    if f.node.attrs.get("linear_before_reset", 0):
        reset = layer.gate(0, xs[1], layer.recur(h, 1))
        inner = [t for t in (layer.recur(h, 2), layer.rb[2] if layer.rb else "") if t]
        hidden = layer.gate(1, xs[2], f.mul(reset, f.total(inner)) if inner else "")
    else:
        reset = layer.gate(0, xs[1], layer.recur(h, 1)) if h else ""
        hidden = layer.gate(1, xs[2], layer.recur(f.mul(reset, h), 2) if h else "")
    # (1 - z) * hidden + z * h
    if not h:
        return f.sub(hidden, f.mul(update, hidden)), ""
    return f.add(hidden, f.mul(update, f.sub(h, hidden))), ""


def _lstm(layer: _Layer, xs: list[str], h: str, c: str) -> tuple[str, str]:
    f = layer.f
    enter = layer.gate(0, xs[0], layer.recur(h, 0), layer.peep(c, 0))
    candidate = layer.gate(1, xs[3], layer.recur(h, 3))
    cell = f.mul(enter, candidate)
    if c:
        if f.node.attrs.get("input_forget", 0):
            forget = f.sub(1.0, enter)
        else:
            forget = layer.gate(0, xs[2], layer.recur(h, 2), layer.peep(c, 2))
        cell = f.add(f.mul(forget, c), cell)
    leave = layer.gate(0, xs[1], layer.recur(h, 1), layer.peep(cell, 1))
    return f.mul(leave, layer.functions[2](f, cell)), cell


STEPS: dict[str, Callable[[_Layer, list[str], str, str], tuple[str, str]]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}

RULES: dict[str, Callable[[Graph, Node], bool]] = {"GRU": recurrent, "LSTM": recurrent, "RNN": recurrent}
