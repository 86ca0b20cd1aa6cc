"""Recurrent layers. What ONNX's LSTM says is written as one; everything else is written out step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.tflite.convert import Call, activated, converter
from compiler.frontends.tflite.moving import int64, reshaped

#: Steps that are written out, as many as the compiler unrolls itself.
_STEPS = 512
_TANH = 4
#: gates as the operands have them: input, forget, cell, output
_I, _F, _C, _O = range(4)

Step = Callable[[str], str]


# ---- sequences -----------------------------------------------------------------------------------------------------


def _time_first(c: Call, x: str) -> str:
    """(batch, time, n) as (time, batch, n)."""
    return x if c.option("time_major", False) else c.b.op("Transpose", [x], perm=[1, 0, 2])


def _as_given(c: Call, x: str) -> str:
    """(time, batch, n) in the order of the operand."""
    return _time_first(c, x)


def _scan(b: GraphBuilder, x: str, step: Step, backwards: bool) -> str:
    """Apply a step to every row of (time, batch, n), which keeps what it has to between calls."""
    count = b.shape(x)[0]
    if count > _STEPS:
        raise ModelError("a recurrent layer of this form has too many time steps to be written out",
                         code="TFLITE_STEPS", limit=_STEPS, actual=count)
    rows = b.ops("Split", [x], count, axis=0, num_outputs=count) if count > 1 else [x]
    order = range(count - 1, -1, -1) if backwards else range(count)
    shape = int64(b.shape(x)[1:])
    results = {t: b.op("Unsqueeze", [step(b.op("Reshape", [rows[t], shape])), int64([0])]) for t in order}
    return b.op("Concat", [results[t] for t in range(count)], axis=0)


# ---- LSTM ----------------------------------------------------------------------------------------------------------


@dataclass
class _Lstm:
    """Operands of an LSTM as real numbers, "" for what is absent.

    Attributes:
        w: (n, inputs) by gate. r: (n, outputs) by gate. p: (n,) by gate, for input, forget and output.
        bias: (n,) by gate. norm: (n,) by gate. projection: (outputs, n). projection_bias: (outputs,).
        extra: (n, auxiliary inputs) by gate.
        h, s: (batch, outputs) and (batch, n), the states.
        coupled: there is no input gate, which then is what the forget gate leaves.
        activation: its number in the schema. clip, projection_clip: 0 for none.
    """

    w: list[str]
    r: list[str]
    p: list[str]
    bias: list[str]
    norm: list[str]
    projection: str
    projection_bias: str
    h: str
    s: str
    coupled: bool
    activation: int
    clip: float
    projection_clip: float
    extra: Sequence[str] = ("", "", "", "")

    @property
    def plain(self) -> bool:
        """Whether ONNX's operator computes the same."""
        return (self.activation == _TANH and not self.clip and not any(self.norm) and not self.projection
                and not any(self.extra) and (not any(self.p) or all(self.p[g] for g in (_F, _O))))


def _real(c: Call, k: int) -> str:
    return c.real(k) if c.has(k) else ""


def _operands(c: Call, first: int, states: tuple[int, int], norms: int, extra: int = 0) -> _Lstm:
    """The operands of one direction: 17 from `first` on; norms: the first layer norm operand, 0 for none."""
    found = [_real(c, first + k) for k in range(17)]
    w, r, p, bias = found[0:4], found[4:8], [found[8], found[9], "", found[10]], found[11:15]
    if not all(w[1:]) or not all(r[1:]) or not all(bias[1:]) or bool(w[0]) != bool(r[0]):
        raise ModelError("weights of an LSTM are missing", code="TFLITE_OPERANDS")
    norm = [_real(c, norms + k) for k in range(4)] if norms else ["", "", "", ""]
    auxiliary = [_real(c, extra + k) for k in range(4)] if extra else ["", "", "", ""]
    return _Lstm(w, r, p, bias, norm, found[15], found[16], _real(c, states[0]), _real(c, states[1]), not w[0],
                 int(c.option("fused_activation_function", _TANH)), float(c.option("cell_clip", 0.0)),
                 float(c.option("proj_clip", 0.0)), auxiliary)


def _onnx(b: GraphBuilder, m: _Lstm, x: str, backwards: bool) -> tuple[str, str, str]:
    """(time, batch, n), last output and cell. Without an input gate, its weights are the forget gate's negated."""
    units, order = b.shape(m.w[_F])[0], (_I, _O, _F, _C)

    def joined(parts: Sequence[str], gates: Sequence[int]) -> str:
        filled = [b.op("Neg", [parts[_F]]) if g == _I and m.coupled else parts[g] for g in gates]
        whole = b.op("Concat", filled, axis=0)
        return b.op("Unsqueeze", [whole, int64([0])])

    bias = b.op("Concat", [joined(m.bias, order), np.zeros((1, 4 * units), np.float32)], axis=1)
    peepholes = joined(m.p, (_I, _O, _F)) if any(m.p) else ""
    states = [b.op("Unsqueeze", [v, int64([0])]) for v in (m.h, m.s)]
    found = b.ops("LSTM", [x, joined(m.w, order), joined(m.r, order), bias, "", *states, peepholes], 3,
                  hidden_size=units, direction="reverse" if backwards else "forward")
    return (b.op("Squeeze", [found[0], int64([1])]), b.op("Squeeze", [found[1], int64([0])]),
            b.op("Squeeze", [found[2], int64([0])]))


def _stepwise(b: GraphBuilder, m: _Lstm, x: str, backwards: bool, extra: str = "") -> tuple[str, str, str]:
    """As `_onnx`, for every variant: clipping, projection, normalised gates, auxiliary input."""
    width = b.shape(x)[-1]
    both = b.op("Concat", [x, extra], axis=2) if extra else x

    def step(row: str) -> str:
        parts = [row, ""]
        if extra:
            parts = b.ops("Split", [row, int64([width, b.shape(both)[-1] - width])], 2, axis=1)
        m.h, m.s = _cell(b, m, parts[0], parts[1])
        return m.h

    return _scan(b, both, step, backwards), m.h, m.s


def _cell(b: GraphBuilder, m: _Lstm, x: str, extra: str) -> tuple[str, str]:
    """One step: (output, cell)."""

    def gate(g: int, state: str) -> str:
        z = b.op("Gemm", [x, m.w[g], "" if m.norm[g] else m.bias[g]], transB=1)
        z = b.op("Add", [z, b.op("Gemm", [m.h, m.r[g]], transB=1)])
        if extra and m.extra[g]:
            z = b.op("Add", [z, b.op("Gemm", [extra, m.extra[g]], transB=1)])
        if state and m.p[g]:
            z = b.op("Add", [z, b.op("Mul", [state, m.p[g]])])
        if m.norm[g]:
            z = b.op("LayerNormalization", [z, m.norm[g], m.bias[g]], axis=-1, epsilon=1e-8)
        return z if g == _C else b.op("Sigmoid", [z])

    forget = gate(_F, m.s)
    let = b.op("Sub", [np.float32(1), forget]) if m.coupled else gate(_I, m.s)
    candidate = activated(b, gate(_C, ""), m.activation)
    cell = _clipped(b, b.op("Add", [b.op("Mul", [forget, m.s]), b.op("Mul", [let, candidate])]), m.clip)
    output = b.op("Mul", [gate(_O, cell), activated(b, cell, m.activation)])
    if m.projection:
        bias = [m.projection_bias] if m.projection_bias else []
        output = _clipped(b, b.op("Gemm", [output, m.projection, *bias], transB=1), m.projection_clip)
    return output, cell


def _clipped(b: GraphBuilder, x: str, limit: float) -> str:
    return b.op("Clip", [x, np.float32(-limit), np.float32(limit)]) if limit > 0 else x


def _run(c: Call, m: _Lstm, x: str, backwards: bool = False, extra: str = "") -> tuple[str, str, str]:
    return _onnx(c.b, m, x, backwards) if m.plain else _stepwise(c.b, m, x, backwards, extra)


def _keep(c: Call, k: int, value: str) -> None:
    """A new state in the variable that operand k is."""
    if c.has(k):
        c.frame.values[c.op.inputs[k]] = c.quantised(value, c.tensor(k))


@converter("UNIDIRECTIONAL_SEQUENCE_LSTM")
def _sequence_lstm(c: Call) -> None:
    m = _operands(c, 1, (18, 19), 20)
    y, h, s = _run(c, m, _time_first(c, c.real(0)))
    c.store(c.quantised(_as_given(c, y), c.result()))
    _keep(c, 18, h)
    _keep(c, 19, s)


@converter("BIDIRECTIONAL_SEQUENCE_LSTM")
def _both_lstm(c: Call) -> None:
    """Operands 35 to 38 are the states of both directions, 39 an auxiliary input, then its weights of both."""
    auxiliary = c.has(39)
    x = _time_first(c, c.real(0))
    extra = _time_first(c, c.real(39)) if auxiliary else ""
    weighted = auxiliary and c.has(41)
    found = []
    for backwards, first, states, weights in ((False, 1, (35, 36), 40), (True, 18, (37, 38), 44)):
        m = _operands(c, first, states, 0, weights if weighted else 0)
        source = extra if auxiliary and not weighted and backwards else x
        y, h, s = _run(c, m, source, backwards, extra if weighted else "")
        found.append(_as_given(c, y))
        _keep(c, states[0], h)
        _keep(c, states[1], s)
    _merge(c, found)


def _merge(c: Call, found: list[str]) -> None:
    if c.option("merge_outputs", False):
        found = [c.b.op("Concat", found, axis=2)]
    for k, value in enumerate(found):
        c.store(c.quantised(value, c.result(k)), k)


@converter("LSTM")
def _lstm(c: Call) -> None:
    """One step. Kernel type 1 (BASIC): operands input, output before, weights of both, bias, cell before."""
    if int(c.option("kernel_type", 0)) == 0:
        m = _operands(c, 1, (18, 19), 20)
        y, s = _cell(c.b, m, c.real(0), "")
        c.store(c.quantised(y, c.result(len(c.op.outputs) - 1)), len(c.op.outputs) - 1)  # early files: after scratch
        _keep(c, 18, y)
        _keep(c, 19, s)
        return
    joined = c.b.op("Concat", [c.real(0), c.real(1)], axis=1)
    gates = c.b.op("Gemm", [joined, c.real(2), c.real(3)], transB=1)
    let, candidate, forget, out = c.b.ops("Split", [gates], 4, axis=1, num_outputs=4)
    let, forget, out = (c.b.op("Sigmoid", [v]) for v in (let, forget, out))
    new = c.b.op("Mul", [let, c.b.op("Tanh", [candidate])])
    cell = c.b.op("Add", [new, c.b.op("Mul", [forget, c.real(4)])])
    found = (c.b.op("Mul", [out, c.b.op("Tanh", [cell])]), cell, joined, gates)
    for k, value in enumerate(found):
        if c.wants(k):
            c.store(c.quantised(value, c.result(k)), k)


# ---- plain recurrent layers ----------------------------------------------------------------------------------------


def _rnn(c: Call, x: str, first: int, state: int, backwards: bool = False, extra: tuple[str, int] = ("", 0)) -> str:
    """Operands from `first` on: weights (n, inputs), recurrent weights (n, n), bias (n); x is (time, batch, n)."""
    b, function = c.b, int(c.option("fused_activation_function", 0))
    weights, recurrent, bias = (c.real(first + k) for k in range(3))
    given, place = extra
    count, batch, width = b.shape(x)
    z = b.op("Gemm", [b.op("Reshape", [x, int64([count * batch, width])]), weights, bias], transB=1)
    if given:
        flat = b.op("Reshape", [given, int64([count * batch, b.shape(given)[-1]])])
        z = b.op("Add", [z, b.op("Gemm", [flat, c.real(place)], transB=1)])
    h = c.real(state)

    def step(row: str) -> str:
        nonlocal h
        h = activated(b, b.op("Add", [row, b.op("Gemm", [h, recurrent], transB=1)]), function)
        return h

    y = _scan(b, b.op("Reshape", [z, int64([count, batch, b.shape(z)[-1]])]), step, backwards)
    _keep(c, state, h)
    return y


@converter("RNN")
def _one_rnn(c: Call) -> None:
    x = c.real(0)
    y = _rnn(c, reshaped(c, x, [1, *c.shape(0)]), 1, 4)
    c.store(reshaped(c, y, c.b.shape(y)[1:]))


@converter("UNIDIRECTIONAL_SEQUENCE_RNN")
def _sequence_rnn(c: Call) -> None:
    c.store(_as_given(c, _rnn(c, _time_first(c, c.real(0)), 1, 4)))


@converter("BIDIRECTIONAL_SEQUENCE_RNN")
def _both_rnn(c: Call) -> None:
    """Operand 9 is an auxiliary input; without weights of its own (10, 11) it goes backwards instead of the first."""
    x, auxiliary = _time_first(c, c.real(0)), c.has(9)
    extra = _time_first(c, c.real(9)) if auxiliary else ""
    weighted = auxiliary and c.has(10)
    found = [
        _rnn(c, extra if auxiliary and not weighted and backwards else x, first, first + 3, backwards,
             (extra, place) if weighted else ("", 0))
        for backwards, first, place in ((False, 1, 10), (True, 5, 11))
    ]
    _merge(c, [_as_given(c, y) for y in found])


@converter("SVDF")
def _svdf(c: Call) -> None:
    """One step: features (filters, inputs), times (filters, memory), bias, memory (batch, filters * memory)."""
    b, rank = c.b, int(c.option("rank", 1))
    filters, memory = c.shape(2)
    batch = c.shape(0)[0]
    feature = b.op("Reshape", [b.op("Gemm", [c.real(0), c.real(1)], transB=1), int64([batch, filters, 1])])
    state = b.op("Reshape", [c.real(4), int64([batch, filters, memory])])
    state = b.op("Concat", [b.op("Slice", [state, int64([1]), int64([memory]), int64([2])]), feature], axis=2)
    weighted = b.op("ReduceSum", [b.op("Mul", [state, c.real(2)]), int64([2])], keepdims=0)
    units = b.op("Reshape", [weighted, int64([batch, filters // rank, rank])])
    y = b.op("ReduceSum", [units, int64([2])], keepdims=0)
    c.give(b.op("Add", [y, c.real(3)]) if c.has(3) else y)
    _keep(c, 4, b.op("Reshape", [state, int64([batch, filters * memory])]))
