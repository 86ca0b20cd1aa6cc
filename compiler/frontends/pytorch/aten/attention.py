"""Attention, and the fused encoder layers of evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.activations import gelu, relu
from compiler.frontends.pytorch.aten.linear import linear
from compiler.frontends.pytorch.aten.norms import layer_norm
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    aten,
    expand,
    permute,
    reshape,
    tensor,
    unsqueeze,
)


@aten("scaled_dot_product_attention")
def attention(b: GraphBuilder, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
              dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
              enable_gqa: bool = False) -> Tensor:
    """softmax(q k' scale + mask) v over the last two dimensions."""
    return _attended(b, query, key, value, attn_mask, is_causal, scale, enable_gqa)[0]


def _attended(b: GraphBuilder, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool,
              scale: float | None, grouped: bool = False) -> tuple[Tensor, Tensor]:
    if grouped or (b.rank(key) == 4 and b.shape(key)[1] not in (1, b.shape(query)[1])):
        key, value = (_repeated(b, v, b.shape(query)[-3]) for v in (key, value))
    dtype, rank = b.dtype(query), b.rank(query)
    factor = scale if scale is not None else 1 / float(np.sqrt(b.shape(query)[-1]))
    turned = permute(b, key, [*range(rank - 2), rank - 1, rank - 2])
    scores = b.op("MatMul", [b.op("Mul", [query, tensor(b, factor, dtype)]), turned])
    if causal:
        rows, columns = b.shape(scores)[-2:]
        mask = b.add(np.tril(np.ones((rows, columns), bool)))
    wiped = None
    if mask and b.dtype(mask) == "bool":
        known = b.const(mask)
        low = tensor(b, -np.inf, dtype)
        if known is None or not known.any(-1).all():
            # a row that sees nothing is zero: scores stay finite, and the weights are wiped
            low = tensor(b, float(np.finfo(np.float32).min) / 2 if dtype == "float32" else -3e4, dtype)
            wiped = mask
        scores = b.op("Where", [mask, scores, low])
    elif mask:
        scores = b.op("Add", [scores, mask])
    weights = b.op("Softmax", [scores], axis=-1)
    if wiped:
        weights = b.op("Where", [wiped, weights, tensor(b, 0, dtype)])
    return b.op("MatMul", [weights, value]), weights


def _repeated(b: GraphBuilder, value: Tensor, heads: int) -> Tensor:
    """Each of fewer heads for several."""
    *rest, count, rows, columns = b.shape(value)
    wide = unsqueeze(b, value, len(rest) + 1)
    return reshape(b, expand(b, wide, [*rest, count, heads // count, rows, columns]), [*rest, heads, rows, columns])


@aten("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
      "_scaled_dot_product_flash_attention", "_scaled_dot_product_attention_math")
def fused_attention(b: GraphBuilder, query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0,
                    is_causal: bool = False, attn_mask: Tensor | None = None, scale: float | None = None,
                    attn_bias: Tensor | None = None, compute_log_sumexp: bool = False, return_debug_mask: bool = False,
                    dropout_mask: Tensor | None = None, enable_gqa: bool = False) -> list[Tensor | None]:
    found, _ = _attended(b, query, key, value, attn_mask or attn_bias, is_causal, scale, enable_gqa)
    return [found, None, None, None, None, None, None, None, None]


def _heads(b: GraphBuilder, value: Tensor, heads: int) -> Tensor:
    """(N, L, E) as (N, heads, L, E / heads)."""
    n, length, width = b.shape(value)
    return permute(b, reshape(b, value, [n, length, heads, width // heads]), [0, 2, 1, 3])


def _multi_head(b: GraphBuilder, x: Sequence[Tensor], heads: int, weight: Tensor, bias: Tensor, out_weight: Tensor,
                out_bias: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    width = b.shape(out_weight)[1]
    parts = [b.ops("Split", [weight, np.array([width] * 3)], 3, axis=0), b.ops("Split", [bias, np.array([width] * 3)],
                                                                              3, axis=0)]
    q, k, v = (_heads(b, linear(b, value, w, c), heads) for value, w, c in zip(x, *parts))
    found, weights = _attended(b, q, k, v, mask, False, None)
    n, _, length, _ = b.shape(found)
    joined = reshape(b, permute(b, found, [0, 2, 1, 3]), [n, length, width])
    return linear(b, joined, out_weight, out_bias), weights


def _kept(b: GraphBuilder, mask: Tensor | None, kind: int | None) -> Tensor | None:
    """A mask of what to leave out (kind 0: (L, L), 1: (N, L) of padding, 2: (N, heads, L, L)) as scores to add."""
    if not mask:
        return None
    if b.dtype(mask) != "bool":
        scores = mask
    else:
        scores = b.op("Where", [mask, tensor(b, -np.inf, "float32"), tensor(b, 0.0, "float32")])
    if kind == 1 and b.rank(mask) == 2:
        return unsqueeze(b, scores, 1, 2)
    return scores


@aten("_native_multi_head_attention")
def native_multi_head(b: GraphBuilder, query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_head: int,
                      qkv_weight: Tensor, qkv_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor,
                      mask: Tensor | None = None, need_weights: bool = True, average_attn_weights: bool = True,
                      mask_type: int | None = None) -> list[Tensor | None]:
    found, weights = _multi_head(b, [query, key, value], num_head, qkv_weight, qkv_bias, proj_weight, proj_bias,
                                 _kept(b, mask, mask_type))
    if not need_weights:
        return [found, None]
    return [found, b.op("ReduceMean", [weights, np.array([1])], keepdims=0) if average_attn_weights else weights]


@aten("_transformer_encoder_layer_fwd")
def encoder_layer(b: GraphBuilder, src: Tensor, embed_dim: int, num_heads: int, qkv_weight: Tensor, qkv_bias: Tensor,
                  proj_weight: Tensor, proj_bias: Tensor, use_gelu: bool, norm_first: bool, eps: float,
                  norm_weight_1: Tensor, norm_bias_1: Tensor, norm_weight_2: Tensor, norm_bias_2: Tensor,
                  ffn_weight_1: Tensor, ffn_bias_1: Tensor, ffn_weight_2: Tensor, ffn_bias_2: Tensor,
                  mask: Tensor | None = None, mask_type: int | None = None) -> Tensor:
    """One layer of nn.TransformerEncoder as its fused kernel computes it."""
    def first(x: Tensor) -> Tensor:
        return layer_norm(b, x, [embed_dim], norm_weight_1, norm_bias_1, eps)

    def second(x: Tensor) -> Tensor:
        return layer_norm(b, x, [embed_dim], norm_weight_2, norm_bias_2, eps)

    def attend(x: Tensor) -> Tensor:
        return _multi_head(b, [x] * 3, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias,
                           _kept(b, mask, mask_type))[0]

    def feed(x: Tensor) -> Tensor:
        inner = linear(b, x, ffn_weight_1, ffn_bias_1)
        return linear(b, gelu(b, inner) if use_gelu else relu(b, inner), ffn_weight_2, ffn_bias_2)

    if norm_first:
        x = b.op("Add", [src, attend(first(src))])
        return b.op("Add", [x, feed(second(x))])
    x = first(b.op("Add", [src, attend(src)]))
    return second(b.op("Add", [x, feed(x)]))
