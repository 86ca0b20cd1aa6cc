"""Attention: over products, sums, and several heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compiler.frontends.keras.activations import masked_scores
from compiler.frontends.keras.call import Call, Tensor, tensors
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.core import cast, dense, reshaped
from compiler.frontends.keras.merging import both
from compiler.frontends.keras.network import Layer
from compiler.frontends.keras.registry import layer

_KERAS3 = ("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask",
           "return_attention_scores", "training", "use_causal_mask")
_KERAS2 = ("query", "value", "key", "attention_mask", "return_attention_scores", "training", "use_causal_mask")


def _scale(found: Layer) -> str:
    names = ["scale"] if found.config.flag("use_scale", found.kind == "AdditiveAttention") else []
    return " ".join([*names, *(["concat_score_weight"] if found.config.get("score_mode") == "concat" else [])])


@layer("Attention", "AdditiveAttention", variables=_scale)
def _attention(c: Call) -> Any:
    """Weights of values (N, S, d) for queries (N, T, d): the softmax of their scores with the keys."""
    given = c.tensors
    query, value = given[0], given[1]
    scores = _scores(c, query.value, (given[2] if len(given) > 2 else value).value)
    masks = c.kwargs.get("mask") or (c.args[1] if len(c.args) > 1 else None)
    query_mask, value_mask = _masks(masks, query, value)
    mask = c.op("Unsqueeze", [cast(c, value_mask, "bool"), np.array([1])]) if value_mask else ""
    if c.kwargs.get("use_causal_mask") or c.config.flag("causal"):
        mask = both(c, mask, _causal(c, *c.b.shape(scores)[-2:]))
    weights = c.op("Softmax", [masked_scores(c, scores, mask) if mask else scores], axis=-1)
    y = c.op("MatMul", [weights, value.value])
    if query_mask:
        kept = c.op("Unsqueeze", [cast(c, query_mask, "bool"), np.array([2])])
        y = c.op("Where", [kept, y, c.like(0, y)])
    result = Tensor(y, query_mask)
    return [result, Tensor(weights)] if c.kwargs.get("return_attention_scores") else result


def _masks(stated: Any, query: Tensor, value: Tensor) -> tuple[str, str]:
    if isinstance(stated, list) and len(stated) > 1:
        first, second = (m.value if isinstance(m, Tensor) else "" for m in stated[:2])
        return first, second
    return query.mask, value.mask


def _scores(c: Call, query: str, key: str) -> str:
    """(N, T, S)."""
    scale = c.optional("scale")
    if c.layer.kind == "Attention" and c.config.choice("score_mode", ("dot", "concat"), "dot") == "dot":
        scores = c.op("MatMul", [query, c.op("Transpose", [key], perm=[0, 2, 1])])
        return scores if scale is None else c.op("Mul", [scores, scale])
    total = c.op("Add", [c.op("Unsqueeze", [query, np.array([2])]), c.op("Unsqueeze", [key, np.array([1])])])
    if c.layer.kind == "Attention":
        total = total if scale is None else c.op("Mul", [total, scale])
        y = c.op("ReduceSum", [c.op("Tanh", [total]), np.array([3])], keepdims=0)
        return c.op("Mul", [y, c.weight("concat_score_weight")])
    y = c.op("Tanh", [total])
    return c.op("ReduceSum", [y if scale is None else c.op("Mul", [y, scale]), np.array([3])], keepdims=0)


def _causal(c: Call, queries: int, keys: int) -> str:
    c.limited(queries * keys)
    return c.b.add(np.tril(np.ones((1, queries, keys), bool)))


# ---- several heads ---------------------------------------------------------------------------------------------------


def _projections(found: Layer) -> str:
    gate = ["gate_dense"] if found.config.flag("use_gate") else []
    parts = ["query_dense", "key_dense", *gate, "value_dense", "output_dense"]
    words = ["kernel", "bias"] if found.config.flag("use_bias", True) else ["kernel"]
    return " ".join(f"{part}/{word}" for part in parts for word in words)


@layer("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention", variables=_projections)
def _multi_head(c: Call) -> Any:
    names = _KERAS3 if c.modern else _KERAS2
    given = {**dict(zip(names, c.args, strict=False)), **c.kwargs}
    query, value = given.get("query"), given.get("value")
    if not isinstance(query, Tensor) or not isinstance(value, Tensor):
        raise invalid("attention needs a query and a value", c.where)
    stated_key = given.get("key")
    key = stated_key if isinstance(stated_key, Tensor) else value
    axes = _attended(c, c.b.rank(query.value))
    q, k, v = (_heads(c, t.value, part, axes) for t, part in ((query, "query"), (key, "key"), (value, "value")))
    groups = c.b.shape(q)[1] // c.b.shape(k)[1]
    if groups > 1:
        k, v = _repeated(c, k, groups), _repeated(c, v, groups)
    scale = np.float32(1 / math.sqrt(c.b.shape(q)[-1]))
    scores = c.op("MatMul", [c.op("Mul", [q, c.like(scale, q)]), c.op("Transpose", [k], perm=[0, 1, 3, 2])])
    mask = _head_mask(c, given, query, value, stated_key if isinstance(stated_key, Tensor) else None)
    if mask:
        if axes != [1]:
            raise c.refuse("a mask over several attention axes is not supported")
        mask = c.op("Unsqueeze", [mask, np.array([1])]) if c.b.rank(mask) == 3 else mask
        scores = masked_scores(c, scores, mask)
    weights = c.op("Softmax", [scores], axis=-1)
    # Keras 3 leaves a row without any share where all is masked, unless it takes its fused attention
    if mask and c.modern and (c.config.real("dropout", 0) or given.get("return_attention_scores")):
        weights = c.op("Where", [mask, weights, c.like(0, weights)])
    y = _joined(c, c.op("MatMul", [weights, v]), c.b.shape(query.value), axes)
    if c.config.flag("use_gate"):
        y = c.op("Mul", [y, c.op("Sigmoid", [_project(c, query.value, "gate")])])
    kernel, bias = c.weight("output_dense/kernel"), c.optional("output_dense/bias")
    y = dense(c, y, kernel.reshape(c.b.shape(y)[-1], -1), None if bias is None else bias.reshape(-1))
    if kernel.ndim > 3:
        y = reshaped(c, y, [*c.b.shape(y)[:-1], *kernel.shape[2:]])
    result = Tensor(y, query.mask)
    if not given.get("return_attention_scores"):
        return result
    if axes != [1]:
        raise c.refuse("scores over several attention axes are not supported")
    return [result, Tensor(weights)]


def _attended(c: Call, rank: int) -> list[int]:
    found = c.config.get("attention_axes")
    if found is None:
        return list(range(1, rank - 1)) if c.layer.kind == "MultiHeadAttention" else [1]
    found = found if isinstance(found, list) else [found]
    if not all(isinstance(a, int) for a in found):
        raise c.config.bad("attention_axes")
    return [c.positive(a, rank) for a in found]


def _project(c: Call, x: str, part: str) -> str:
    """x (..., d) times the kernel (d, heads, width) of a part: (..., heads * width)."""
    kernel, bias = c.weight(f"{part}_dense/kernel", c.b.shape(x)[-1], -1, -1), c.optional(f"{part}_dense/bias")
    return dense(c, x, kernel.reshape(kernel.shape[0], -1), None if bias is None else bias.reshape(-1))


def _heads(c: Call, x: str, part: str, axes: list[int]) -> str:
    """A projection with heads first: (N * what is not attended over, heads, places, width)."""
    shape = c.b.shape(x)
    heads = c.weight(f"{part}_dense/kernel").shape[1]
    others = [k for k in range(len(shape) - 1) if k not in axes]
    y = reshaped(c, _project(c, x, part), [*shape[:-1], heads, -1])
    last = len(shape)
    y = c.op("Transpose", [y], perm=[*others, last - 1, *axes, last])
    sizes = [math.prod(shape[k] for k in others), heads, math.prod(shape[k] for k in axes), -1]
    return reshaped(c, y, sizes) if len(shape) != 3 else y


def _joined(c: Call, y: str, shape: tuple[int, ...], axes: list[int]) -> str:
    """The inverse of `_heads` for a result: (..., heads * width)."""
    _, heads, _, width = c.b.shape(y)
    others = [k for k in range(len(shape) - 1) if k not in axes]
    if len(shape) != 3:
        y = reshaped(c, y, [*(shape[k] for k in others), heads, *(shape[k] for k in axes), width])
    order = [*others, -1, *axes, -2]
    y = c.op("Transpose", [y], perm=[order.index(k) for k in (*range(len(shape) - 1), -1, -2)])
    return reshaped(c, y, [*shape[:-1], heads * width])


def _repeated(c: Call, x: str, times: int) -> str:
    """Every head so many times, one after the other."""
    heads = np.repeat(np.arange(c.b.shape(x)[1]), times)
    return c.op("Gather", [x, heads], axis=1)


def _head_mask(c: Call, given: dict[str, Any], query: Tensor, value: Tensor, key: Tensor | None) -> str:
    """(N, T, S): what may be attended to, from masks of the inputs, stated ones, order and distance; or ""."""
    def stated(name: str, implied: str) -> str:
        found = tensors(given.get(name))
        return found[0].value if found else implied

    mask = ""
    for name, implied, axis in (("query_mask", query.mask, 2), ("value_mask", value.mask, 1),
                                ("key_mask", key.mask if key else "", 1)):
        one = stated(name, implied)
        if one:
            mask = both(c, mask, c.op("Unsqueeze", [cast(c, one, "bool"), np.array([axis])]))
    places = c.b.shape(query.value)[1], c.b.shape(value.value)[1]
    if given.get("use_causal_mask"):
        mask = both(c, mask, _causal(c, *places))
    if "sliding_window" in c.config:
        c.limited(places[0] * places[1])
        distance = np.abs(np.arange(places[0])[:, None] - np.arange(places[1]))
        mask = both(c, mask, c.b.add((distance < c.config.integer("sliding_window"))[None]))
    attention_mask = stated("attention_mask", "")
    if not attention_mask:
        return mask
    attention_mask = cast(c, attention_mask, "bool")
    if c.b.rank(attention_mask) == 4 and mask:
        mask = c.op("Unsqueeze", [mask, np.array([1])])
    return both(c, mask, attention_mask)
