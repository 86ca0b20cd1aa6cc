"""Layers around layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.frontends.keras.call import Call, Tensor, tensors
from compiler.frontends.keras.conv_lstm import conv_recur
from compiler.frontends.keras.core import reshaped
from compiler.frontends.keras.network import Layer
from compiler.frontends.keras.recurrent import Recurred, recur
from compiler.frontends.keras.registry import layer


@layer("TimeDistributed")
def _time_distributed(c: Call) -> Any:
    """The inner layer on every step, all steps at once as if they were a larger batch."""
    inner, (batch, steps) = c.layer.parts["layer"], c.shape[:2]
    given = [Tensor(reshaped(c, t.value, [batch * steps, *c.b.shape(t.value)[2:]])) for t in c.tensors]
    found = c.run.apply(inner, [given if len(given) > 1 else given[0]])

    def spread(t: Tensor) -> Tensor:
        return Tensor(reshaped(c, t.value, [batch, steps, *c.b.shape(t.value)[1:]]), c.first.mask)

    return [spread(t) for t in tensors(found)] if isinstance(found, list) else spread(found)


@layer("Bidirectional")
def _bidirectional(c: Call) -> Any:
    """Two layers, one of which reads the sequence backwards; its outputs are put in the order of time."""
    halves = [c.layer.parts["layer"], c.layer.parts["backward_layer"]]
    states = [t for t in (tensors(c.kwargs.get("initial_state")) or c.tensors[1:])]
    cut = len(states) // 2
    found = [_half(c, halves[0], states[:cut]), _half(c, halves[1], states[cut:])]
    sequences = halves[0].config.flag("return_sequences")
    ends = [f.sequence if sequences else f.last for f in found]
    mask = c.first.mask if sequences else ""
    merged = _merge(c, ends[0], ends[1])
    results = [Tensor(m, mask) for m in merged]
    if halves[0].config.flag("return_state"):
        return [*results, *(Tensor(s) for f in found for s in f.states)]
    return results[0] if len(results) == 1 else results


def _half(c: Call, half: Layer, states: list[Tensor]) -> Recurred:
    kwargs = {"initial_state": states} if states else {}
    mask = tensors(c.kwargs.get("mask"))
    one = Call(c.b, half, [Tensor(c.x, mask[0].value if mask else c.first.mask)], kwargs, c.run)
    # tf.keras and Keras 3 give zeros for masked steps here; standalone Keras 2 repeats the last output
    zeros = half.config.flag("return_sequences") and not c.run.early
    return conv_recur(one, zeros) if half.kind.startswith("ConvLSTM") else recur(one, zeros)


def _merge(c: Call, a: str, b: str) -> list[str]:
    mode = c.config.get("merge_mode")
    if mode is None:
        return [a, b]
    if mode == "concat":
        return [c.op("Concat", [a, b], axis=-1)]
    ops = {"sum": "Add", "ave": "Add", "mul": "Mul"}
    if mode not in ops:
        raise c.config.bad("merge_mode")
    y = c.op(ops[mode], [a, b])
    return [c.op("Mul", [y, c.like(np.float32(0.5), y)])] if mode == "ave" else [y]
