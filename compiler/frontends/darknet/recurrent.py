"""Recurrent layers. A call begins with a state of zeros and has `time_steps` steps; rows are ordered by step first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from compiler.errors import ShapeError
from compiler.frontends.darknet.activations import named
from compiler.frontends.darknet.cfg import Section
from compiler.frontends.darknet.convolutions import Conv, Dense, conv_of, convolution, dense, fits
from compiler.frontends.darknet.net import MOST_CHANNELS, MOST_STEPS, Layer, Net, layer, unfit

#: Order in which gates are stored; w: from the state, u: from the input.
_LSTM = ("wi", "wf", "wo", "wg", "ui", "uf", "uo", "ug")
_LSTM_ALEXEY = ("wf", "wi", "wg", "wo", "uf", "ui", "ug", "uo")
_GRU = ("wz", "wr", "wh", "uz", "ur", "uh")
_GRU_ALEXEY = ("uz", "ur", "uh", "wz", "wr", "wh")


def _gates(net: Net, section: Section, before: Layer, outputs: int, order: tuple[str, ...]) -> dict[str, Dense]:
    return {gate: dense(net, section, before.size if gate[0] == "u" else outputs, outputs) for gate in order}


def _stacked(net: Net, gates: dict[str, Dense], side: str, order: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights [1, gates * outputs, inputs] and biases of the gates from one side, in ONNX's order."""
    folded = [gates[side + gate].folded(net.alexey) for gate in order]
    return np.concatenate([w for w, _ in folded])[None], np.concatenate([b for _, b in folded])


def _sequence(net: Net, op: str, before: Layer, outputs: int, gates: dict[str, Dense], order: str,
              **attrs: Any) -> str:
    """ONNX's operator over all steps; [rows, outputs]."""
    w, w_bias = _stacked(net, gates, "u", order)
    r, r_bias = _stacked(net, gates, "w", order)
    x = net.reshape(net.row(before), net.steps, net.rows // net.steps, before.size)
    y = net.b.op(op, [x, w, r, np.concatenate([w_bias, r_bias])[None]], hidden_size=outputs, **attrs)
    return net.reshape(y, net.rows, outputs)


@layer("lstm")
def _lstm(net: Net, section: Section, before: Layer) -> Layer:
    outputs = _outputs(section)
    gates = _gates(net, section, before, outputs, _LSTM_ALEXEY if net.alexey else _LSTM)
    return net.flat(_sequence(net, "LSTM", before, outputs, gates, "iofg"), section, image=True)


@layer("gru")
def _gru(net: Net, section: Section, before: Layer) -> Layer:
    """The new state goes through the logistic function unless tanh=1."""
    outputs = _outputs(section)
    gates = _gates(net, section, before, outputs, _GRU_ALEXEY if net.alexey else _GRU)
    bent = "Tanh" if section.integer("tanh", 0) else "Sigmoid"
    y = _sequence(net, "GRU", before, outputs, gates, "zrh", activations=["Sigmoid", bent], linear_before_reset=0)
    return net.flat(y, section)


@layer("rnn")
def _rnn(net: Net, section: Section, before: Layer) -> Layer:
    """state = act(input) + act(state) (+ the old state with `shortcut`), output = act(state)."""
    outputs = _outputs(section)
    hidden = section.integer("hidden", 1, 1) if net.alexey else outputs
    name = section.text("activation", "logistic")
    own = {0: name, 1: "logistic", 2: "loggy"}.get(section.integer("logistic", 0) if net.alexey else 0, name)
    enter = dense(net, section, before.size, hidden)
    keep = dense(net, section, hidden, hidden)
    leave = dense(net, section, hidden, outputs)
    entered = named(net, name, enter.apply(net, net.row(before)))
    states = _states(net, section, entered, lambda state: named(net, own, keep.apply(net, state)))
    return net.flat(named(net, name, leave.apply(net, states)), section)


@layer("crnn", xnor="binary recurrent layers are not read")
def _crnn(net: Net, section: Section, before: Layer) -> Layer:
    """As [rnn], with convolutions."""
    value, c, h, w = net.pixels(before, section)
    if net.alexey:
        hidden, outputs = section.integer("hidden", 1, 1, MOST_CHANNELS), _outputs(section)
        shape = conv_of(section, hidden, section.integer("size", 3, 1, 4096))
    else:
        hidden = section.integer("hidden_filters", 1, 1, MOST_CHANNELS)
        outputs = section.integer("output_filters", 1, 1, MOST_CHANNELS)
        shape = Conv(hidden, 3, pad=1, normalise=bool(section.integer("batch_normalize", 0)))
    _keeps_size(section, shape, h, w)
    last = replace(shape, filters=outputs)
    name = section.text("activation", "logistic")
    enter, keep, leave = shape.load(net, section, c), shape.load(net, section, hidden), last.load(net, section, hidden)
    entered = convolution(net, shape, value, enter, name)
    states = _states(net, section, entered, lambda state: convolution(net, shape, state, keep, name))
    return net.image(convolution(net, last, states, leave, name), section)


def _states(net: Net, section: Section, entered: str, keep: Callable[[str], str]) -> str:
    """The states after every step, [rows, ...]; entered: what the input adds, by row."""
    _few_steps(net, section)
    batch = net.rows // net.steps
    shortcut = bool(section.integer("shortcut", 0))
    state = net.zeros(batch, *net.b.shape(entered)[1:])
    states = []
    for step in range(net.steps):
        new = net.b.op("Add", [net.slice(entered, 0, step * batch, (step + 1) * batch), keep(state)])
        state = net.b.op("Add", [state, new]) if shortcut else new
        states.append(state)
    return net.concat(states, 0)


_GPU_ONLY = "the library computes it on GPUs only"


@layer("conv_lstm", bottleneck=_GPU_ONLY, shortcut=_GPU_ONLY, xnor="binary recurrent layers are not read")
def _conv_lstm(net: Net, section: Section, before: Layer) -> Layer:
    """An LSTM of convolutions, each with an activation; with `peephole` the gates see the cell.

    The cell is kept within `state_constrain`, 32 times the number of steps unless stated.
    """
    value, c, h, w = net.pixels(before, section)
    outputs = section.integer("output", 1, 1, MOST_CHANNELS)
    shape = conv_of(section, outputs, section.integer("size", 3, 1, 4096))
    _keeps_size(section, shape, h, w)
    peephole = bool(section.integer("peephole", 0))
    order = [*(("vf", "vi", "vo") if peephole else ()), *("w" + g for g in "figo"), *("u" + g for g in "figo")]
    arrays = {name: shape.load(net, section, c if name[0] == "u" else outputs) for name in order}
    act, bend = section.text("activation", "linear"), section.text("lstm_activation", "tanh")
    b = net.b

    def conv(name: str, source: str) -> str:
        return convolution(net, shape, source, arrays[name], act)

    entered = {g: conv("u" + g, value) for g in "figo"}
    _few_steps(net, section)
    batch = net.rows // net.steps
    bound = section.integer("state_constrain", net.steps * 32, 0)
    hidden = cell = net.zeros(batch, outputs, h, w)
    states = []
    for step in range(net.steps):
        sums = {g: b.op("Add", [net.slice(entered[g], 0, step * batch, (step + 1) * batch), conv("w" + g, hidden)])
                for g in "figo"}  # fmt: skip
        if peephole:
            sums.update({g: b.op("Add", [sums[g], conv("v" + g, cell)]) for g in "fi"})
        forget, enter = b.op("Sigmoid", [sums["f"]]), b.op("Sigmoid", [sums["i"]])
        new = b.op("Mul", [enter, named(net, bend, sums["g"])])
        cell = b.op("Add", [b.op("Mul", [forget, cell]), new])
        if peephole:
            sums["o"] = b.op("Add", [sums["o"], conv("vo", cell)])
        hidden = b.op("Mul", [b.op("Sigmoid", [sums["o"]]), named(net, bend, cell)])
        if bound:
            cell = b.op("Clip", [cell, np.float32(-bound), np.float32(bound)])
        states.append(hidden)
    return net.image(net.concat(states, 0), section)


def _outputs(section: Section) -> int:
    return section.integer("output", 1, 1, MOST_CHANNELS)


def _keeps_size(section: Section, conv: Conv, h: int, w: int) -> None:
    fits(section, conv, h, w)
    reach = conv.size + (conv.size - 1) * (conv.dilation - 1)
    if conv.stride != (1, 1) or 2 * conv.pad * conv.dilation != reach - 1:
        raise unfit(section, "the convolutions of a recurrent layer have to keep the size of the image",
                    "stride 1, padding of half the window", f"size {conv.size}, stride {conv.stride}, pad {conv.pad}")


def _few_steps(net: Net, section: Section) -> None:
    if net.steps > MOST_STEPS:
        raise ShapeError("too many time steps to write out one after the other", code="TIME_STEPS",
                         where=section.where, limit=MOST_STEPS, actual=net.steps,
                         help="lower time_steps in [net], and feed a sequence in parts")
