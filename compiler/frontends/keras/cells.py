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
    return advanced(c, cell, shares(c, cell, x), states)


def shares(c: Call, cell: Cell, x: str) -> list[str]:
    """What the input x (..., in) contributes to each gate (..., units), with all biases that are simply added."""
    count = GATES[cell.kind]
    biases: list[np.ndarray | None] = [None] * count
    if cell.bias is not None:
        added = np.atleast_2d(cell.bias).copy()
        if cell.reset_after:
            added[1, 2 * cell.units :] = 0  # the candidate's second one is reset with the state's product
        biases = list(np.split(added.sum(axis=0), count))
    return [dense(c, x, k, b) for k, b in zip(np.split(cell.kernel, count, axis=1), biases, strict=True)]


def advanced(c: Call, cell: Cell, given: list[str], states: list[str]) -> tuple[str, list[str]]:
    """Output and states after one step, from the input's shares of each gate. Gates are products of their own: parts of
    one would lie where the device does not reach them."""
    if cell.kind == "LSTM":
        return _lstm(c, cell, given, *states)
    if cell.kind == "GRU":
        return _gru(c, cell, given, states[0])
    y = _activated(c, cell, c.op("Add", [given[0], c.op("MatMul", [states[0], cell.recurrent])]))
    return y, [y]


def _activated(c: Call, cell: Cell, x: str, key: str = "activation") -> str:
    return activate(c, x, cell.config.get(key, "sigmoid" if key == "recurrent_activation" else "tanh"))


def _lstm(c: Call, cell: Cell, given: list[str], h: str, memory: str) -> tuple[str, list[str]]:
    parts = np.split(cell.recurrent, 4, axis=1)
    i, f, g, o = (c.op("Add", [x, c.op("MatMul", [h, r])]) for x, r in zip(given, parts, strict=True))
    i, f, o = (_activated(c, cell, v, "recurrent_activation") for v in (i, f, o))
    memory = c.op("Add", [c.op("Mul", [f, memory]), c.op("Mul", [i, _activated(c, cell, g)])])
    h = c.op("Mul", [o, _activated(c, cell, memory)])
    return h, [h, memory]


def _gru(c: Call, cell: Cell, given: list[str], h: str) -> tuple[str, list[str]]:
    parts = np.split(cell.recurrent, 3, axis=1)
    z, r = (_activated(c, cell, c.op("Add", [x, c.op("MatMul", [h, w])]), "recurrent_activation")
            for x, w in zip(given[:2], parts[:2], strict=True))
    if cell.reset_after:
        bias = None if cell.bias is None else cell.bias[1, 2 * cell.units :]
        reset = c.op("Mul", [r, dense(c, h, parts[2], bias)])
    else:
        reset = c.op("MatMul", [c.op("Mul", [r, h]), parts[2]])
    new = _activated(c, cell, c.op("Add", [given[2], reset]))
    h = c.op("Add", [new, c.op("Mul", [z, c.op("Sub", [h, new])])])
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
