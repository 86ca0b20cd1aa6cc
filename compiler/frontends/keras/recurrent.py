"""Recurrent layers: ONNX's own operators where they mean the same, else one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compiler.frontends.keras.call import Call, Tensor, tensors
from compiler.frontends.keras.cells import SPEC, Cell, activation, advanced, cell_of, shares, step
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.core import cast
from compiler.frontends.keras.network import Layer
from compiler.frontends.keras.registry import layer

#: A sequence that has to be unrolled may be so long.
MOST_STEPS = 4096
#: Gates of ONNX among those of Keras: input, output, forget, cell; update, reset, candidate.
_ONNX_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}
_NAMES = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
#: Output and states after the step of that number, given the states before it.
Step = Callable[[int, list[str]], tuple[str, list[str]]]


@dataclass(frozen=True)
class Recurred:
    """What came of a sequence: every output in the order of time (N, T, units), the last one, and the states."""

    sequence: str
    last: str
    states: list[str]


_PREFIXED = " ".join(f"cell/{word}" for word in SPEC.split())


@layer("LSTM", "GRU", "SimpleRNN", variables=_PREFIXED)
@layer("CuDNNLSTM", "CuDNNGRU", variables="kernel recurrent_kernel bias")
@layer("RNN")
def _recurrent(c: Call) -> list[Tensor] | Tensor:
    return returned(c, recur(c), c.config.flag("go_backwards"))


def returned(c: Call, found: Recurred, backwards: bool) -> list[Tensor] | Tensor:
    """The results that `return_sequences` and `return_state` ask for; a sequence read backwards comes out so."""
    if c.config.flag("return_sequences"):
        y = Tensor(flipped(c, found.sequence) if backwards else found.sequence, c.first.mask)
    else:
        y = Tensor(found.last)
    return [y, *(Tensor(s) for s in found.states)] if c.config.flag("return_state") else y


def flipped(c: Call, x: str) -> str:
    """x with the order of its steps (axis 1) turned round."""
    return c.op("Slice", [x, np.array([-1]), np.array([-(2**31)]), np.array([1]), np.array([-1])])


def recur(c: Call, zeros: bool | None = None) -> Recurred:
    """Run the sequence; `zeros`: whether masked steps give zero, by default as the layer's settings say."""
    if c.config.flag("time_major"):
        raise c.refuse("time_major=True is not supported", "use time_major=False")
    if c.rank < 3 or not c.shape[1]:
        raise invalid("a recurrent layer needs a sequence of vectors", c.where, c.shape)
    if c.config.flag("stateful"):
        c.b.note(f"layer {c.layer.path!r} is stateful: every run starts from a state of zeros")
    cells = _cells(c)
    given = [t.value for t in _initial(c)]
    mask = _mask(c)
    if len(cells) == 1 and not mask:
        found = _operator(c, cells[0], given)
        if found is not None:
            return found
    start = _start(c, cells, given)
    if len(cells) > 1:
        return unrolled(c, lambda k, states: _stacked(c, cells, at(c, c.x, k), states), start, mask, zeros)
    inputs = [c.op("Transpose", [x], perm=[1, 0, 2]) for x in shares(c, cells[0], c.x)]  # of all steps at once
    return unrolled(c, lambda k, states: advanced(c, cells[0], [at(c, x, k, 0) for x in inputs], states), start, mask,
                    zeros)


def _cells(c: Call) -> list[Cell]:
    outer = c.layer.parts.get("cell")
    if outer is None:
        return [cell_of(c, c.layer, c.shape[-1])]
    found: list[Layer] = list(outer.parts.values()) if outer.kind == "StackedRNNCells" else [outer]
    cells: list[Cell] = []
    for cell in found:
        if cell.kind not in ("LSTMCell", "GRUCell", "SimpleRNNCell"):
            raise c.refuse(f"a cell of the class {cell.kind[:60]!r} is not known",
                           "use LSTMCell, GRUCell or SimpleRNNCell")
        cells.append(cell_of(c, cell, cells[-1].units if cells else c.shape[-1]))
    return cells


@layer("StackedRNNCells")
def _stacked_cells(c: Call) -> str:
    raise c.refuse("cells that are called by themselves are not supported", "put them in an RNN layer")


def _initial(c: Call) -> list[Tensor]:
    """States given by the model: as a keyword, a second argument, or (Keras 2) further tensors of the first."""
    stated = c.kwargs.get("initial_state") or [a for a in c.args[1:2] if not isinstance(a, bool)]
    return tensors(stated) or c.tensors[1:]


def _mask(c: Call) -> str:
    given = tensors(c.kwargs.get("mask"))
    return given[0].value if given else c.first.mask


def _start(c: Call, cells: list[Cell], given: list[str]) -> list[str]:
    count = sum(cell.states for cell in cells)
    if given:
        if len(given) != count:
            raise invalid("a recurrent layer is given more or fewer states than it has", c.where, len(given), count)
        return given
    zero = np.zeros((), c.dtype)
    return [c.b.add(np.broadcast_to(zero, (c.shape[0], cell.units))) for cell in cells for _ in range(cell.states)]


def _stacked(c: Call, cells: list[Cell], x: str, states: list[str]) -> tuple[str, list[str]]:
    after: list[str] = []
    for cell in cells:
        x, new = step(c, cell, x, states[len(after) : len(after) + cell.states])
        after += new
    return x, after


# ---- as one operator -----------------------------------------------------------------------------------------------


def _operator(c: Call, cell: Cell, given: list[str]) -> Recurred | None:
    """The whole sequence as LSTM, GRU or RNN; None where an activation has no such name there."""
    keys = {"LSTM": ("recurrent_activation", "activation", "activation"), "GRU": ("recurrent_activation", "activation"),
            "SimpleRNN": ("activation",)}[cell.kind]
    found = [activation(cell, k, c.modern) for k in keys]
    if any(f is None for f in found):
        return None
    stated = [f for f in found if f is not None]
    sized = any(f[1] is not None for f in stated)
    states = [c.op("Unsqueeze", [g, np.array([0])]) for g in _start(c, [cell], given)] if given else []
    outputs = c.b.ops(
        _NAMES[cell.kind],
        [c.op("Transpose", [c.x], perm=[1, 0, 2]), _gates(cell, cell.kernel), _gates(cell, cell.recurrent), _bias(cell),
         *(["", *states] if states else [])],
        3 if cell.kind == "LSTM" else 2,
        hidden_size=cell.units, direction="reverse" if c.config.flag("go_backwards") else "forward",
        activations=[f[0] for f in stated],
        activation_alpha=[f[1] or 0.0 for f in stated] if sized else None,
        activation_beta=[f[2] or 0.0 for f in stated] if sized else None,
        linear_before_reset=int(cell.reset_after) if cell.kind == "GRU" else None,
    )
    sequence = c.op("Transpose", [c.op("Squeeze", [outputs[0], np.array([1])])], perm=[1, 0, 2])
    after = [c.op("Squeeze", [o, np.array([0])]) for o in outputs[1:]]
    return Recurred(sequence, after[0], after)


def _gates(cell: Cell, kernel: np.ndarray) -> np.ndarray:
    """(in, gates * units) as (1, gates * units, in) with ONNX's order of gates."""
    order = _ONNX_ORDER[cell.kind]
    parts = np.split(kernel, len(order), axis=-1)
    return np.concatenate([parts[k] for k in order], axis=-1).T[None]


def _bias(cell: Cell) -> np.ndarray:
    order, width = _ONNX_ORDER[cell.kind], cell.recurrent.shape[1]
    both = np.zeros((2, width), np.float32)
    if cell.bias is not None:
        both[: 2 if cell.bias.ndim == 2 else 1] = cell.bias
    parts = np.split(both, len(order), axis=-1)
    return np.concatenate([parts[k] for k in order], axis=-1).reshape(1, -1)


# ---- step by step --------------------------------------------------------------------------------------------------


def unrolled(c: Call, advance: Step, states: list[str], mask: str, zeros: bool | None) -> Recurred:
    """One step after the other; a masked step keeps the states, and the last output or zero."""
    steps = c.shape[1]
    if steps > MOST_STEPS:
        raise c.refuse(f"a sequence of {steps} steps has to be unrolled, and at most {MOST_STEPS} are",
                       "give a shorter sequence, or use no mask and standard activations")
    backwards = c.config.flag("go_backwards")
    zeros = c.config.flag("zero_output_for_mask") if zeros is None else zeros
    outputs: list[str] = []
    held, start = "", c.b.const(states[0])
    starts_with_nothing = start is not None and not start.any()  # then the output that is held is the state that is
    flags = c.op("Transpose", [cast(c, mask, "bool")], perm=[1, 0]) if mask else ""
    for k in reversed(range(steps)) if backwards else range(steps):
        y, new = advance(k, states)
        if mask:
            on = at(c, flags, k, 0)
            states = [_where(c, on, n, s) for n, s in zip(new, states, strict=True)]
            nothing = c.b.add(np.broadcast_to(np.zeros((), c.dtype), c.b.shape(y)))
            held = states[0] if starts_with_nothing and y == new[0] else _where(c, on, y, held or nothing)
            outputs.append(_where(c, on, y, nothing) if zeros else held)
        else:
            states = new
            outputs.append(y)
    last = held or outputs[-1]
    if backwards:
        outputs = outputs[::-1]
    if not c.config.flag("return_sequences"):
        return Recurred("", outputs[0 if backwards else -1] if zeros and mask else last, states)
    joined = [c.op("Unsqueeze", [y, np.array([1])]) for y in outputs]
    return Recurred(joined[0] if len(joined) == 1 else c.op("Concat", joined, axis=1), last, states)


def at(c: Call, x: str, k: int, axis: int = 1) -> str:
    """Step k of x, whose steps are an axis: (N, T, ...) by default."""
    return c.op("Gather", [x, np.int64(k)], axis=axis)


def _where(c: Call, on: str, a: str, b: str) -> str:
    on = c.op("Unsqueeze", [on, np.arange(1, c.b.rank(a))])
    return c.op("Where", [on, a, b])
