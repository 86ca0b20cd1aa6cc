"""Cells of recurrent networks that TensorFlow has as single operators (rnn_ops.cc)."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter

#: Longer sequences are not written out.
_MOST_STEPS = 1024


@converter("LSTMBlockCell")
def lstm_block_cell(c: Call) -> list[str]:
    """One step: operands are x, cs, h, w, three peephole weights, b."""
    return _lstm(c, c.x(0), c.x(1), c.x(2), 3, "icfo", c.real("forget_bias", 1.0), c.real("cell_clip", 3.0))


@converter("BlockLSTM", "BlockLSTMV2")
def block_lstm(c: Call) -> list[str]:
    """All steps of a sequence (T, N, C); a known length shorter than T leaves zeros behind it."""
    second = c.node.op.endswith("V2")
    length = c.known(0)
    steps = c.shape(1)[0]
    if length is None or steps > _MOST_STEPS:
        raise c.refuse("a length that is computed at run time, or too many steps")
    used = min(steps, max(int(length), 1))
    cell, hidden = c.x(2), c.x(3)
    made: list[list[str]] = []
    for t in range(used):
        x = c.op("Gather", [c.x(1), np.int64(t)], axis=0)
        made.append(_lstm(c, x, cell, hidden, 4, "ifco" if second else "icfo",
                          0.0 if second else c.real("forget_bias", 1.0), c.real("cell_clip", 0.0 if second else 3.0)))
        cell, hidden = made[-1][1], made[-1][6]
    rows = [[c.op("Unsqueeze", [step[k], np.array([0])]) for step in made] for k in range(7)]
    whole = [r[0] if used == 1 else c.op("Concat", r, axis=0) for r in rows]
    behind = np.array([0, 0, 0, steps - used, 0, 0])
    return whole if used == steps else [c.op("Pad", [w, behind]) for w in whole]


def _lstm(c: Call, x: str, cell: str, hidden: str, first: int, order: str, forget_bias: float,
          clip: float) -> list[str]:
    """i, cs, f, o, ci, co, h of one step; weights from operand `first` on, gates in them in `order`."""
    weight, peepholes, bias = c.x(first), c.xs(first + 1, first + 4), c.x(first + 4)
    size = c.b.shape(hidden)[1]
    total = c.op("Add", [c.op("MatMul", [c.op("Concat", [x, hidden], axis=1), weight]), bias])
    parts = dict(zip(order, c.b.ops("Split", [total], 4, axis=1, num_outputs=4), strict=True))
    i, f, o = parts["i"], parts["f"], parts["o"]
    if forget_bias:
        f = c.op("Add", [f, c.number(forget_bias, f)])
    watch = c.flag("use_peephole")
    if watch:
        i, f = (c.op("Add", [g, c.op("Mul", [cell, c.reshape(p, [1, size])])])
                for g, p in zip((i, f), peepholes, strict=False))
    i, f, ci = c.op("Sigmoid", [i]), c.op("Sigmoid", [f]), c.op("Tanh", [parts["c"]])
    new = c.op("Add", [c.op("Mul", [ci, i]), c.op("Mul", [cell, f])])
    if clip > 0:
        new = c.op("Clip", [new, c.number(-clip, new), c.number(clip, new)])
    if watch:
        o = c.op("Add", [o, c.op("Mul", [new, c.reshape(peepholes[2], [1, size])])])
    o, co = c.op("Sigmoid", [o]), c.op("Tanh", [new])
    return [i, new, f, o, ci, co, c.op("Mul", [co, o])]


@converter("GRUBlockCell")
def gru_block_cell(c: Call) -> list[str]:
    """One step: operands are x, h, weights and biases of the gates and of the candidate."""
    x, hidden, gates, candidate, gate_bias, candidate_bias = c.xs(0, 6)
    both = c.op("MatMul", [c.op("Concat", [x, hidden], axis=1), gates])
    r, u = c.b.ops("Split", [c.op("Sigmoid", [c.op("Add", [both, gate_bias])])], 2, axis=1, num_outputs=2)
    reset = c.op("Concat", [x, c.op("Mul", [hidden, r])], axis=1)
    new = c.op("Tanh", [c.op("Add", [c.op("MatMul", [reset, candidate]), candidate_bias])])
    rest = c.op("Mul", [c.op("Sub", [c.number(1, u), u]), new])
    return [r, u, new, c.op("Add", [c.op("Mul", [u, hidden]), rest])]
