"""Recurrent layers unrolled on the device, against onnxruntime (which implements every attribute)."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.passes.expand_recurrent import GATES, MOST_STEPS, recurrent_reason
from tests.compiler.evaluate import imported
from tests.compiler.lowering_run import compare

RNG = np.random.default_rng(3)
STEPS, BATCH, FEATURES, HIDDEN = 4, 3, 6, 5


def layer(op: str, direction: str = "forward", *, steps: int = STEPS, runtime: bool = True, bias: bool = True,
          initial: bool = False, lengths: bool = False, peepholes: bool = False, outputs: tuple[int, ...] = (0, 1, 2),
          **attrs: Any) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model of one layer and feeds; parameters are inputs (`runtime`) or constants."""
    sides, gates = 2 if direction == "bidirectional" else 1, GATES[op]
    batch_first = attrs.get("layout", 0) == 1

    def normal(*shape: int) -> np.ndarray:
        return (RNG.standard_normal(shape) * 0.7).astype(np.float32)

    def state() -> np.ndarray:
        return normal(BATCH, sides, HIDDEN) if batch_first else normal(sides, BATCH, HIDDEN)

    given = {"x": normal(BATCH, steps, FEATURES) if batch_first else normal(steps, BATCH, FEATURES)}
    weights = {"w": normal(sides, gates * HIDDEN, FEATURES), "r": normal(sides, gates * HIDDEN, HIDDEN)}
    if bias:
        weights["b"] = normal(sides, 2 * gates * HIDDEN)
    if lengths:
        given["lens"] = np.array([steps, 1, steps - 1], np.int32)
    if initial:
        given["h0"] = state()
        if op == "LSTM":
            given["c0"] = state()
    if peepholes:
        weights["p"] = normal(sides, 3 * HIDDEN)
    given |= weights if runtime else {}
    names = [n if n in given or n in weights else "" for n in ("x", "w", "r", "b", "lens", "h0", "c0", "p")]
    names = names if op == "LSTM" else names[:6]
    outs = [f"y{k}" if k in outputs else "" for k in range(3 if op == "LSTM" else 2)]
    node = helper.make_node(op, names, outs, direction=direction, hidden_size=HIDDEN, **attrs)
    graph = helper.make_graph(
        [node], "test", [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                         for n, v in given.items()],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outs if o],
        [] if runtime else [numpy_helper.from_array(v, n) for n, v in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8), given


def check(op: str, *args: Any, **more: Any) -> None:
    model, feeds = layer(op, *args, **more)
    compare(model, feeds=feeds, limit=2e-5, fallback=False)


@pytest.mark.parametrize("op", sorted(GATES))
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_directions_with_states_and_lengths_at_run_time(op: str, direction: str) -> None:
    check(op, direction, initial=True, lengths=True)
    check(op, direction, runtime=False, bias=False)


@pytest.mark.parametrize("op", sorted(GATES))
def test_batch_first_is_refused_by_the_oracle_but_is_a_transpose(op: str) -> None:
    """onnxruntime has no layout 1: the same layer with layout 0 is the expectation."""
    model, feeds = layer(op, "bidirectional", layout=1, initial=True)
    plain, _ = layer(op, "bidirectional", initial=True)
    turned = {k: v.swapaxes(0, 1) if k in ("x", "h0", "c0") else v for k, v in feeds.items()}
    from tests.compiler.evaluate import run_model
    from tests.compiler.lowering_run import run
    want = run_model(plain, turned)
    got = run(model, feeds, fallback=False).outputs
    np.testing.assert_allclose(got["y0"], want[0].transpose(2, 0, 1, 3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got["y1"], want[1].transpose(1, 0, 2), rtol=1e-4, atol=1e-5)


def test_lstm_peepholes_clip_and_coupled_gates() -> None:
    check("LSTM", peepholes=True, initial=True)
    check("LSTM", clip=0.4, peepholes=True)
    check("LSTM", input_forget=1, initial=True)


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_gru_linear_before_reset(initial: bool, bias: bool) -> None:
    check("GRU", linear_before_reset=1, initial=initial, bias=bias, clip=0.9)


def test_activation_lists_take_their_parameters_in_order() -> None:
    check("RNN", "bidirectional", activations=["Affine", "LeakyRelu"], activation_alpha=[0.5, 0.3],
          activation_beta=[0.1])
    check("GRU", activations=["HardSigmoid", "Relu"], activation_alpha=[0.3], activation_beta=[0.4])
    check("LSTM", activations=["Sigmoid", "ScaledTanh", "Softplus"], activation_alpha=[1.2], activation_beta=[0.8])


@pytest.mark.parametrize("outputs", [(0,), (1,), (2,), (1, 2)])
def test_unused_outputs(outputs: tuple[int, ...]) -> None:
    check("LSTM", outputs=outputs)


@pytest.mark.parametrize("op", sorted(GATES))
def test_a_state_of_one_element(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are then slices along partitions, where a product cannot begin."""
    monkeypatch.setattr("tests.compiler.test_recurrent.BATCH", 1)
    monkeypatch.setattr("tests.compiler.test_recurrent.HIDDEN", 1)
    for runtime in (False, True):
        check(op, "bidirectional", runtime=runtime, steps=5)


def test_limits_are_stated() -> None:
    long = imported(layer("RNN", steps=MOST_STEPS + 1)[0])
    assert str(MOST_STEPS) in recurrent_reason(long, long.nodes[0])
    fine = imported(layer("RNN", steps=8)[0])
    assert recurrent_reason(fine, fine.nodes[0]) == ""
