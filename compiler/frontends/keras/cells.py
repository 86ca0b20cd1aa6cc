"""One time step of each recurrent cell.

Gates lie one after the other in the last axis of the weights: input, forget, cell, output of an LSTM; update, reset,
candidate of a GRU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.frontends.keras.activations import activate
from compiler.frontends.keras.call import Call, Tensor
from compiler.frontends.keras.config import Config
from compiler.frontends.keras.core import dense
from compiler.frontends.keras.network import Layer
from compiler.frontends.keras.registry import layer

SPEC = "kernel recurrent_kernel bias?use_bias"
#: Kind of layer or cell -> kind of cell and number of gates.
GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
_SIMPLE = ("relu", "sigmoid", "softplus", "softsign", "tanh")


@dataclass(frozen=True)
class Cell:
    """A cell with its weights.

    Attributes:
        kind: "LSTM", "GRU" or "SimpleRNN". kernel: (in, gates * units). recurrent: (units, gates * units).
        bias: (gates * units), (2, gates * units) for a GRU that resets after its product, or None.
        reset_after: whether a GRU does.
    """

    kind: str
    config: Config
    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray | None
    reset_after: bool = False

    @property
    def units(self) -> int:
        """Size of the state."""
        return int(self.recurrent.shape[0])

    @property
    def states(self) -> int:
        """How many state tensors it has."""
        return 2 if self.kind == "LSTM" else 1


def cell_of(c: Call, found: Layer, features: int) -> Cell:
    """The cell of a recurrent layer, or a cell by itself. Raises: UnsupportedOp, ModelError, ShapeError."""
    own = Call(c.b, found, [], {}, c.run)
    prefix = "" if found.kind.endswith("Cell") or found.kind.startswith("CuDNN") else "cell/"
    units = found.config.integer("units")
    if found.kind.startswith("CuDNN"):
        return _cudnn(own, units, features)
    kind = found.kind.removesuffix("Cell")
    width = GATES[kind] * units
    after = kind == "GRU" and found.config.flag("reset_after", not c.run.early)
    bias = own.optional(prefix + "bias", *((2, width) if after else (width,)))
    return Cell(kind, found.config, own.weight(prefix + "kernel", features, width),
                own.weight(prefix + "recurrent_kernel", units, width), bias, after)


def _cudnn(own: Call, units: int, features: int) -> Cell:
    """Weights of a layer that only ran on GPUs, whose library keeps every gate's matrices transposed."""
    kind = own.layer.kind.removeprefix("CuDNN")
    gates = GATES[kind]
    kernel = own.weight("kernel", features, gates * units)
    recurrent = own.weight("recurrent_kernel", units, gates * units)
    bias = own.weight("bias", 2 * gates * units).reshape(2, gates * units)
    kernel = np.concatenate([k.T.reshape(k.shape, order="F") for k in np.split(kernel, gates, axis=1)], axis=1)
    recurrent = np.concatenate([k.T for k in np.split(recurrent, gates, axis=1)], axis=1)
    config = Config({"activation": "tanh", "recurrent_activation": "sigmoid"}, own.where)
    return Cell(kind, config, kernel, recurrent, bias.sum(axis=0) if kind == "LSTM" else bias, kind == "GRU")


def activation(cell: Cell, key: str, modern: bool) -> tuple[str, float | None, float | None] | None:
    """An activation as ONNX's recurrent operators name it, with alpha and beta; None where they lack it."""
    name = cell.config.get(key, "sigmoid" if key == "recurrent_activation" else "tanh")
    if isinstance(name, dict):
        name = name.get("config")
    if name == "linear":
        return "Affine", 1.0, 0.0
    if name == "hard_sigmoid":
        return "HardSigmoid", 1 / 6 if modern else 0.2, 0.5
    return (str(name).capitalize(), None, None) if name in _SIMPLE else None


def step(c: Call, cell: Cell, x: str, states: list[str]) -> tuple[str, list[str]]:
    """Output and states after one step: x (N, in), states (N, units)."""
    if cell.kind == "LSTM":
        return _lstm(c, cell, x, *states)
    if cell.kind == "GRU":
        return _gru(c, cell, x, states[0])
    y = c.op("Add", [dense(c, x, cell.kernel, cell.bias), c.op("MatMul", [states[0], cell.recurrent])])
    y = _activated(c, cell, y)
    return y, [y]


def _activated(c: Call, cell: Cell, x: str, key: str = "activation") -> str:
    return activate(c, x, cell.config.get(key, "sigmoid" if key == "recurrent_activation" else "tanh"))


def _lstm(c: Call, cell: Cell, x: str, h: str, memory: str) -> tuple[str, list[str]]:
    z = c.op("Add", [dense(c, x, cell.kernel, cell.bias), c.op("MatMul", [h, cell.recurrent])])
    i, f, g, o = c.b.ops("Split", [z], 4, axis=1, num_outputs=4)
    i, f, o = (_activated(c, cell, v, "recurrent_activation") for v in (i, f, o))
    memory = c.op("Add", [c.op("Mul", [f, memory]), c.op("Mul", [i, _activated(c, cell, g)])])
    h = c.op("Mul", [o, _activated(c, cell, memory)])
    return h, [h, memory]


def _gru(c: Call, cell: Cell, x: str, h: str) -> tuple[str, list[str]]:
    units = cell.units
    bias = cell.bias
    given = dense(c, x, cell.kernel, bias[0] if cell.reset_after and bias is not None else bias)
    xz, xr, xh = c.b.ops("Split", [given], 3, axis=1, num_outputs=3)
    if cell.reset_after:
        hz, hr, hh = c.b.ops("Split", [dense(c, h, cell.recurrent, None if bias is None else bias[1])], 3, axis=1,
                             num_outputs=3)
    else:
        hz, hr = c.b.ops("Split", [c.op("MatMul", [h, cell.recurrent[:, : 2 * units]])], 2, axis=1, num_outputs=2)
    z = _activated(c, cell, c.op("Add", [xz, hz]), "recurrent_activation")
    r = _activated(c, cell, c.op("Add", [xr, hr]), "recurrent_activation")
    if cell.reset_after:
        reset = c.op("Mul", [r, hh])
    else:
        reset = c.op("MatMul", [c.op("Mul", [r, h]), cell.recurrent[:, 2 * units :]])
    new = _activated(c, cell, c.op("Add", [xh, reset]))
    h = c.op("Add", [c.op("Mul", [z, h]), c.op("Mul", [c.op("Sub", [c.like(1, z), z]), new])])
    return h, [h]


@layer("LSTMCell", "GRUCell", "SimpleRNNCell", variables=SPEC)
def _single(c: Call) -> list[Tensor]:
    """A cell called by itself: [x, states] -> [output, states]."""
    given = [t.value for t in (*c.tensors, *_states(c))]
    y, states = step(c, cell_of(c, c.layer, c.shape[-1]), given[0], given[1:])
    return [Tensor(y), *(Tensor(s) for s in states)]


def _states(c: Call) -> list[Tensor]:
    from compiler.frontends.keras.call import tensors

    return tensors([*c.args[1:], *c.kwargs.values()])
