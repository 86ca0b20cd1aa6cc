"""RNN: several layers, in one or both directions, of LSTM, GRU or plain cells, their parameters packed in one vector.

The vector (src/operator/rnn-inl.h) has all matrices before all biases; layer by layer, direction by direction, what
multiplies the data comes before what multiplies the state. Gates are i, f, g, o (LSTM) and r, z, n (GRU).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.pieces import cut
from compiler.frontends.mxnet.reshape import expanded

#: mode -> ONNX operator, its activations, order in which it wants MXNet's gates.
_MODES: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "rnn_relu": ("RNN", "Relu", (0,)),
    "rnn_tanh": ("RNN", "Tanh", (0,)),
    "lstm": ("LSTM", "", (0, 3, 1, 2)),  # i, o, f, g
    "gru": ("GRU", "", (1, 0, 2)),  # z, r, n
}


@operator("RNN", "_npx_rnn", roles=("data", "parameters"), outputs=("output", "state_output", "statecell_output"))
def _rnn(c: Call) -> list[str]:
    mode = c.text("mode", None, tuple(_MODES))
    directions = 2 if c.flag("bidirectional") else 1
    layers, size, batch = c.integer("num_layers"), c.integer("state_size"), c.shape()[1]
    if not c.is_none("projection_size"):
        raise c.unsupported("an LSTM whose state is projected")
    if not c.is_none("lstm_state_clip_min") or not c.is_none("lstm_state_clip_max"):
        raise c.unsupported("an LSTM whose cells are clipped")
    lengths = c.cast(c[-1 + len(c)], "int32") if c.flag("use_sequence_length") else ""
    parameters = _unpacked(c, len(_MODES[mode][2]), layers, directions, size)
    first = [expanded(c, c[k], [layers * directions, batch, size]) for k in range(2, 4 if mode == "lstm" else 3)]
    x, last = c.x, []
    for layer, weights in enumerate(parameters):
        rows = [layer * directions], [(layer + 1) * directions], [0]
        x, *states = _layer(c, mode, x, weights, [cut(c, s, *rows) for s in first], lengths)
        last.append(states)
    states = [c.do("Concat", *s, axis=0) if layers > 1 else s[0] for s in zip(*last, strict=True)]
    return [x, *states]


def _layer(c: Call, mode: str, x: str, weights: list[str], states: list[str], lengths: str) -> list[str]:
    """One layer on (time, batch, width): (time, batch, directions x size), last states (directions, batch, size)."""
    op, activation, _ = _MODES[mode]
    directions, batch, size = c.shape(states[0])
    found = c.b.ops(
        op, [x, *weights, lengths, *states], 1 + len(states), hidden_size=size,
        direction="bidirectional" if directions == 2 else "forward", linear_before_reset=1 if op == "GRU" else None,
        activations=[activation] * directions if activation else None)
    joined = c.reshape(c.transpose(found[0], [0, 2, 1, 3]), [c.shape(x)[0], batch, directions * size])
    return [joined, *found[1:]]


def _unpacked(c: Call, gates: int, layers: int, directions: int, size: int) -> Iterator[list[str]]:
    """W, R and B of each layer as ONNX has them: (directions, gates x size, ...)."""
    vector, order = c[1], _MODES[c.text("mode")][2]
    width = c.shape()[2]
    if min(size, layers) < 1 or size * layers > c.shape(1)[0]:
        raise c.wrong("num_layers", layers, "one that its packed parameters have room for")
    widths = [width if k == 0 else directions * size for k in range(layers)]
    matrices = [[(gates * size, w), (gates * size, size)] for w in widths for _ in range(directions)]
    total = sum(gates * size * (w + size + 2) * directions for w in widths)
    if c.shape(vector) != (total,):
        raise ModelError("the packed parameters of an RNN have the wrong length", code="MODEL_INVALID", limit=total,
                         actual=c.shape(vector))
    at = 0

    def next_part(rows: int, columns: int, bias: bool = False) -> str:
        """Gates in ONNX's order, (1, rows, columns), (1, rows) for a bias."""
        nonlocal at
        flat = cut(c, vector, [at], [at + rows * columns], [0])
        at += rows * columns
        apart = c.do("Gather", c.reshape(flat, [gates, size, columns]), np.array(order), axis=0)
        return c.reshape(apart, [1, rows, columns] if not bias else [1, rows])

    parts = [[next_part(*m) for m in pair] for pair in matrices]
    biases = [[next_part(gates * size, 1, bias=True) for _ in range(2)] for _ in matrices]
    for layer in range(layers):
        mine = range(layer * directions, (layer + 1) * directions)
        w, r = (_stacked(c, [parts[k][i] for k in mine]) for i in range(2))
        yield [w, r, _stacked(c, [c.do("Concat", *biases[k], axis=1) for k in mine])]


def _stacked(c: Call, values: list[str]) -> str:
    return values[0] if len(values) == 1 else c.do("Concat", *values, axis=0)
