"""Attention and rotary embedding, wholly on the device, against onnx's reference evaluator."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from compiler.nonfinite import nonfinite
from compiler.options import CompileOptions
from compiler.partition import partition
from compiler.passes.expand_attention import attention_reason
from isa.target import load
from tests.compiler.evaluate import imported
from tests.compiler.lowering_run import run

RNG = np.random.default_rng(7)


def model_of(
    op: str, feeds: dict[str, np.ndarray | None], outputs: int, opset: int = 24, **attrs: Any
) -> onnx.ModelProto:
    """One operator whose inputs are all run-time inputs; None for an absent one."""
    names = [name if value is not None else "" for name, value in feeds.items()]
    outs = [f"out{k}" for k in range(outputs)]
    node = helper.make_node(op, names, outs, **attrs)
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
              for n, v in feeds.items() if v is not None]
    kind = inputs[0].type.tensor_type.elem_type
    graph = helper.make_graph([node], "test", inputs, [helper.make_tensor_value_info(o, kind, None) for o in outs])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def check(op: str, feeds: dict[str, np.ndarray | None], outputs: int = 1, limit: float = 2e-5, opset: int = 24,
          **attrs: Any) -> None:
    """Every output equals the reference's."""
    model = model_of(op, feeds, outputs, opset, **attrs)
    given = {k: v for k, v in feeds.items() if v is not None}
    want = ReferenceEvaluator(model).run(None, given)
    result = run(model, given, fallback=False)
    assert not result.findings
    for k, expected in enumerate(want):
        got = result.outputs[f"out{k}"]
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(got.astype(np.float64), expected.astype(np.float64), rtol=limit, atol=limit)


def normal(*shape: int, dtype: str = "float32") -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def qkv(heads: int = 4, groups: int = 2, queries: int = 5, keys: int = 7, size: int = 8,
        **more: np.ndarray | None) -> dict[str, np.ndarray | None]:
    return {"q": normal(2, heads, queries, size), "k": normal(2, groups, keys, size),
            "v": normal(2, groups, keys, size + 2), **more}


@pytest.mark.parametrize("shape", [(5, 9), (1, 5, 9), (2, 1, 5, 9), (2, 4, 5, 9)])
@pytest.mark.parametrize("causal", [0, 1])
def test_float_masks_of_every_rank_with_past(shape: tuple[int, ...], causal: int) -> None:
    mask = normal(*shape)
    mask[..., 3] = -np.inf
    check("Attention", qkv(mask=mask, past_k=normal(2, 2, 2, 8), past_v=normal(2, 2, 2, 10)), outputs=4,
          is_causal=causal, qk_matmul_output_mode=3)


def test_masked_rows_are_zero_and_short_masks_hide_the_rest() -> None:
    mask = RNG.random((5, 6)) > 0.4
    mask[2] = False
    check("Attention", qkv(mask=mask), softcap=3.0, scale=0.3)


def test_lengths_of_an_external_cache() -> None:
    lengths = np.array([7, 4], np.int64)
    feeds = qkv(mask=None, past_k=None, past_v=None, lengths=lengths)
    check("Attention", feeds, is_causal=1)
    check("Attention", feeds)


def test_flat_inputs_and_scores_shown_before_the_softcap_and_after() -> None:
    feeds: dict[str, np.ndarray | None] = {"q": normal(2, 5, 24), "k": normal(2, 6, 12), "v": normal(2, 6, 12)}
    heads = {"q_num_heads": 4, "kv_num_heads": 2}
    check("Attention", feeds, **heads)
    check("Attention", {**feeds, "mask": normal(5, 6), "past_k": normal(2, 2, 3, 6), "past_v": normal(2, 2, 3, 6)},
          outputs=4, softcap=2.0, qk_matmul_output_mode=1, **heads)


def test_half_precision_rounds_where_the_definition_does() -> None:
    feeds: dict[str, np.ndarray | None] = {k: v.astype(np.float16) for k, v in qkv().items() if v is not None}
    check("Attention", feeds, is_causal=1, limit=2e-3)


def test_bfloat16_softmax_is_taken_in_float32_unless_rounding_is_strict() -> None:
    model = model_of("Attention", {n: np.zeros((1, 1, 2, 4), np.float32) for n in "qkv"}, 1)
    for value in [*model.graph.input, model.graph.output[0]]:
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    target = load("trn1.2xlarge")
    (segment,) = partition(imported(model), target, CompileOptions(target.name)).segments
    assert segment.kind == "device"
    kept = partition(imported(model), target, CompileOptions(target.name, strict_rounding=True))
    assert [s.kind for s in kept.segments] == ["cpu"] and "strict_rounding" in next(iter(kept.reasons.values()))


def test_present_keys_without_past_ones_are_declined() -> None:
    graph = imported(model_of("Attention", {n: np.zeros((1, 1, 2, 4), np.float32) for n in "qkv"}, 3))
    assert "present" in attention_reason(graph, graph.nodes[0])


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("turned", [0, 4])
def test_rotary_embedding(interleaved: int, turned: int) -> None:
    pairs = (turned or 8) // 2
    tables = {"cos": normal(20, pairs), "sin": normal(20, pairs)}
    positions = RNG.integers(0, 20, (2, 5))
    check("RotaryEmbedding", {"x": normal(2, 3, 5, 8), **tables, "at": positions}, interleaved=interleaved,
          rotary_embedding_dim=turned)
    check("RotaryEmbedding", {"x": normal(2, 5, 24), "cos": normal(2, 5, pairs), "sin": normal(2, 5, pairs)},
          num_heads=3, interleaved=interleaved, rotary_embedding_dim=turned)


def test_values_that_are_infinite_by_design_are_known() -> None:
    model = model_of("Attention", qkv(mask=np.ones((5, 7), bool)), 1)
    graph = imported(model)
    from compiler.pipeline import optimise
    optimise(graph)
    found = nonfinite(graph)
    assert {n.output for n in graph.nodes if n.op == "Where"} & found
    assert not {n.output for n in graph.nodes if n.op == "Softmax"} & found
