"""Recurrent layers and cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.linear import linear
from compiler.frontends.pytorch.aten.registry import Tensor, aten, permute, reshape, tensor, unsqueeze, unsupported

#: Order of the gates in ONNX by their place in PyTorch: i o f c from i f g o; z r n from r z n.
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def _gates(b: GraphBuilder, kind: str, weight: Tensor) -> Tensor:
    """Weights or biases with their gates in ONNX's order, and a first dimension for the direction."""
    order = _ORDER[kind]
    if len(order) > 1:
        parts = b.ops("Split", [weight], len(order), axis=0, num_outputs=len(order))
        weight = b.op("Concat", [parts[k] for k in order], axis=0)
    return unsqueeze(b, weight, 0)


def _layer(b: GraphBuilder, kind: str, x: Tensor, states: Sequence[Tensor], params: Sequence[Tensor], each: int,
           has_biases: bool, attributes: dict[str, Any]) -> tuple[Tensor, list[Tensor]]:
    """One layer of one or two directions over (T, N, features): its outputs, and its last states."""
    directions = len(params) // each
    groups = [params[k * each : (k + 1) * each] for k in range(directions)]
    if each > (4 if has_biases else 2):
        raise unsupported("an LSTM with projections (proj_size)")

    def joined(place: int) -> Tensor:
        parts = [_gates(b, kind, g[place]) for g in groups]
        return parts[0] if len(parts) == 1 else b.op("Concat", parts, axis=0)

    bias = b.op("Concat", [joined(2), joined(3)], axis=1) if has_biases else ""
    hidden = b.shape(params[1])[1]
    results = b.ops(kind, [x, joined(0), joined(1), bias, "", *states], 3 if kind == "LSTM" else 2, hidden_size=hidden,
                    direction="bidirectional" if directions == 2 else "forward", **attributes)
    steps, _, batch, _ = b.shape(results[0])
    return reshape(b, permute(b, results[0], [0, 2, 1, 3]), [steps, batch, directions * hidden]), results[1:]


def _stack(b: GraphBuilder, kind: str, input: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool,
           num_layers: int, bidirectional: bool, batch_first: bool, attributes: dict[str, Any]) -> list[Tensor]:
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    unbatched = b.rank(input) == 2
    x = unsqueeze(b, input, 1) if unbatched else permute(b, input, [1, 0, 2]) if batch_first else input
    states = [unsqueeze(b, h, 1) if unbatched else h for h in hx]
    last: list[list[Tensor]] = []
    for layer in range(num_layers):
        mine = params[layer * directions * each : (layer + 1) * directions * each]
        before = states
        if num_layers > 1:
            place = np.array([layer * directions]), np.array([(layer + 1) * directions]), np.array([0])
            before = [b.op("Slice", [s, *place]) for s in states]
        x, after = _layer(b, kind, x, before, mine, each, has_biases, attributes)
        last.append(after)
    ends = [parts[0] if len(parts) == 1 else b.op("Concat", list(parts), axis=0) for parts in zip(*last)]
    if unbatched:
        return [b.op("Squeeze", [v, np.array([1])]) for v in (x, *ends)]
    return [permute(b, x, [1, 0, 2]) if batch_first else x, *ends]


@aten("lstm", "lstm.input")
def lstm(b: GraphBuilder, input: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool,
         num_layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool) -> list[Tensor]:
    return _stack(b, "LSTM", input, hx, params, has_biases, num_layers, bidirectional, batch_first, {})


@aten("gru", "gru.input")
def gru(b: GraphBuilder, input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: bool, num_layers: int,
        dropout: float, train: bool, bidirectional: bool, batch_first: bool) -> list[Tensor]:
    return _stack(b, "GRU", input, [hx], params, has_biases, num_layers, bidirectional, batch_first,
                  {"linear_before_reset": 1})


@aten("rnn_tanh", "rnn_tanh.input")
def rnn_tanh(b: GraphBuilder, input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: bool, num_layers: int,
             dropout: float, train: bool, bidirectional: bool, batch_first: bool) -> list[Tensor]:
    names = ["Tanh"] * (2 if bidirectional else 1)
    return _stack(b, "RNN", input, [hx], params, has_biases, num_layers, bidirectional, batch_first,
                  {"activations": names})


@aten("rnn_relu", "rnn_relu.input")
def rnn_relu(b: GraphBuilder, input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: bool, num_layers: int,
             dropout: float, train: bool, bidirectional: bool, batch_first: bool) -> list[Tensor]:
    names = ["Relu"] * (2 if bidirectional else 1)
    return _stack(b, "RNN", input, [hx], params, has_biases, num_layers, bidirectional, batch_first,
                  {"activations": names})


@aten("lstm.data", "gru.data", "rnn_tanh.data", "rnn_relu.data", "_pack_padded_sequence", "_pad_packed_sequence")
def packed(b: GraphBuilder, **arguments: object) -> Tensor:
    raise unsupported("packed sequences, whose lengths depend on data", help="pad the sequences and mask the result")


# ---- cells -------------------------------------------------------------------------------------------------------


def _split(b: GraphBuilder, value: Tensor, count: int) -> list[Tensor]:
    return b.ops("Split", [value], count, axis=1, num_outputs=count)


@aten("lstm_cell")
def lstm_cell(b: GraphBuilder, input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor,
              b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> list[Tensor]:
    total = b.op("Add", [linear(b, input, w_ih, b_ih), linear(b, hx[0], w_hh, b_hh)])
    i, f, g, o = _split(b, total, 4)
    kept = b.op("Mul", [b.op("Sigmoid", [f]), hx[1]])
    cell = b.op("Add", [kept, b.op("Mul", [b.op("Sigmoid", [i]), b.op("Tanh", [g])])])
    return [b.op("Mul", [b.op("Sigmoid", [o]), b.op("Tanh", [cell])]), cell]


@aten("gru_cell")
def gru_cell(b: GraphBuilder, input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
             b_hh: Tensor | None = None) -> Tensor:
    (ir, iz, inew), (hr, hz, hnew) = (_split(b, v, 3) for v in (linear(b, input, w_ih, b_ih),
                                                                linear(b, hx, w_hh, b_hh)))
    reset, update = b.op("Sigmoid", [b.op("Add", [ir, hr])]), b.op("Sigmoid", [b.op("Add", [iz, hz])])
    new = b.op("Tanh", [b.op("Add", [inew, b.op("Mul", [reset, hnew])])])
    rest = b.op("Sub", [tensor(b, 1.0, b.dtype(new)), update])
    return b.op("Add", [b.op("Mul", [rest, new]), b.op("Mul", [update, hx])])


@aten("rnn_tanh_cell")
def rnn_tanh_cell(b: GraphBuilder, input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
                  b_hh: Tensor | None = None) -> Tensor:
    return b.op("Tanh", [b.op("Add", [linear(b, input, w_ih, b_ih), linear(b, hx, w_hh, b_hh)])])


@aten("rnn_relu_cell")
def rnn_relu_cell(b: GraphBuilder, input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
                  b_hh: Tensor | None = None) -> Tensor:
    return b.op("Relu", [b.op("Add", [linear(b, input, w_ih, b_ih), linear(b, hx, w_hh, b_hh)])])
