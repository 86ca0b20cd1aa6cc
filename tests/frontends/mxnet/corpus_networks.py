"""Small whole networks, and control flow."""
from __future__ import annotations

import numpy as np

from tests.frontends.mxnet.recording import S, add

data, state = S.var("data"), S.var("state")


def write():
    """Add all."""
    control()


def control():
    weight = S.var("w_weight")
    outputs, states = S.contrib.foreach(
        lambda x, s: (S.FullyConnected(x, weight, num_hidden=3, no_bias=True) + s, S.tanh(s * 2 + x)), data, state)
    add("foreach", S.Group([outputs, states]), data=(4, 2, 3), state=(2, 3))
    outputs, states = S.contrib.while_loop(lambda i, x: S.sum(i) < 4, lambda i, x: ([x + i], [i + 1, x * 2]),
                                           [S.var("i"), data], max_iterations=6)
    rows = S.slice_axis(outputs[0] if isinstance(outputs, list) else outputs, axis=0, begin=0, end=3)
    add("while_loop", S.Group([rows, *states]), data=(1,), i=np.array([1], "float32"))
    for sign in (1, -1):
        chosen = S.contrib.cond(S.sum(data) > 0, lambda: data + state, lambda: data * state)
        add(f"cond {sign}", chosen, data=np.full((2, 3), sign, "float32"), state=(2, 3))
