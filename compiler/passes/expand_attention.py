"""Attention, FlexAttention and RotaryEmbedding as products, additions and a softmax.

With grouped heads, keys and values stay as they are: the query heads of one group are a batch axis along which the
products broadcast them. Everything about the masks that is known when compiling becomes one constant.
"""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import helper

from compiler.ir import Graph, Node, numpy_dtype
from compiler.passes.expansion import Expansion
from isa.target import Target

#: what the fourth output of Attention shows
CAPPED, BIASED, PROBABILITIES = 1, 2, 3


def attention(graph: Graph, node: Node) -> bool:
    """Attention of opset 23 and later: 3-D and 4-D inputs, past and present keys and values, masks, softcap."""
    if attention_reason(graph, node):
        return False
    f, attrs = Expansion(graph, node), node.attrs
    flat = f.rank(node.inputs[0]) == 3
    q, k, v = (_heads(f, x, attrs["q_num_heads" if i == 0 else "kv_num_heads"]) if flat else x
               for i, x in enumerate(node.inputs[:3]))
    past = f.shape(node.input(4))[2] if node.input(4) else 0
    if node.input(4):
        k = f.concat([node.input(4), k], 2)
        v = f.concat([node.input(5), v], 2)
    present_k, present_v = k, v
    kind, heads, groups = f.dtype(q), f.shape(q)[1], f.shape(k)[1]
    bias = _bias(f, f.shape(q)[2], f.shape(k)[2], past, kind)
    scores = raw = _scores(f, q, k, attrs.get("scale"))
    softcap = attrs.get("softcap", 0.0)
    if softcap > 0:
        scores = f.mul(f.unary("Tanh", f.mul(scores, 1.0 / softcap)), softcap)
    capped = scores
    if bias:
        scores = f.add(scores, bias)
    wide = attrs.get("softmax_precision", 0)
    precise = f.cast(scores, _softmax_type(wide, kind))
    probabilities = f.cast(_masked_rows_zero(f, _softmax(f, precise), bias), kind)
    out = _ungrouped(f, f.matmul(_grouped(f, probabilities, groups), _shared(f, v, heads)), heads)
    if flat:
        out = f.transpose(out, [0, 2, 1, 3])
        out = f.reshape(out, [*f.shape(out)[:2], heads * f.shape(out)[3]])
    shown = {CAPPED: capped, BIASED: scores, PROBABILITIES: probabilities}
    return f.finish([out, present_k, present_v, shown.get(attrs.get("qk_matmul_output_mode", 0), raw)])


def attention_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why an Attention does not run on the device, "" when it does."""
    if any(o and len(graph.shape(o)) != 4 for o in node.outputs[1:3]):
        return "it gives present keys without past ones, whose shape is not stated"
    return ""


def flex_attention(graph: Graph, node: Node) -> bool:
    """FlexAttention without modifying subgraphs."""
    if flex_reason(graph, node):
        return False
    f = Expansion(graph, node)
    q, k, v = node.inputs[:3]
    kind, heads, groups = f.dtype(q), f.shape(q)[1], f.shape(k)[1]
    scores = f.cast(_scores(f, q, k, node.attrs.get("scale")), "float32")
    probabilities = f.cast(f.softmax(scores), kind)
    return f.finish([_ungrouped(f, f.matmul(_grouped(f, probabilities, groups), _shared(f, v, heads)), heads)])


def flex_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why a FlexAttention does not run on the device, "" when it does."""
    return "its scores or probabilities pass through a subgraph" if node.proto else ""


def _softmax(f: Expansion, x: str) -> str:
    """Softmax along the last axis; in float16 step by step, each rounded, as the operator is defined."""
    if f.dtype(x) == "float32":
        return f.softmax(x)
    last = [f.rank(x) - 1]
    powers = f.unary("Exp", f.sub(x, f.reduce("ReduceMax", x, last)))
    return f.binary("Div", powers, f.reduce("ReduceSum", powers, last))


def _softmax_type(wanted: int | None, kind: str) -> str:
    """Type the softmax is computed in: as the model says, but float32 for float64 and for bfloat16.

    In bfloat16 every sum would be rounded at each step, so that their order decided the result.
    """
    name = helper.tensor_dtype_to_np_dtype(wanted).name if wanted else kind
    return "float32" if name in ("float64", "bfloat16") else name


def _heads(f: Expansion, x: str, heads: int) -> str:
    """[batch, tokens, heads * size] -> [batch, heads, tokens, size]."""
    batch, tokens, hidden = f.shape(x)
    return f.transpose(f.reshape(x, [batch, tokens, heads, hidden // heads]), [0, 2, 1, 3])


def _grouped(f: Expansion, x: str, groups: int) -> str:
    """[batch, heads, ..] -> [batch, groups, heads / groups, ..] where several heads share keys and values."""
    batch, heads, *rest = f.shape(x)
    return x if heads == groups else f.reshape(x, [batch, groups, heads // groups, *rest])


def _shared(f: Expansion, x: str, heads: int) -> str:
    """Keys or values with an axis of size 1 for the query heads that share them."""
    batch, groups, *rest = f.shape(x)
    return x if heads == groups else f.reshape(x, [batch, groups, 1, *rest])


def _ungrouped(f: Expansion, x: str, heads: int) -> str:
    """The inverse of `_grouped`."""
    shape = f.shape(x)
    return x if len(shape) == 4 else f.reshape(x, [shape[0], heads, *shape[3:]])


def _scores(f: Expansion, q: str, k: str, scale: float | None) -> str:
    """Scaled products of queries and keys, [batch, heads, queries, keys].

    The definition scales both sides by the root, which float32 cannot tell from scaling one; in the narrow types it
    decides how products are rounded.
    """
    heads, groups = f.shape(q)[1], f.shape(k)[1]
    factor = 1.0 / math.sqrt(f.shape(q)[3]) if scale is None else scale
    if f.dtype(q) == "float32":
        q = f.mul(q, factor)
    else:
        root = float(np.sqrt(np.float32(factor)).astype(numpy_dtype(f.dtype(q))))
        q, k = f.mul(q, root), f.mul(k, root)
    return _ungrouped(f, f.matmul(_grouped(f, q, groups), f.swap(_shared(f, k, heads))), heads)


# ---- masks -----------------------------------------------------------------------------------------------------------


def _bias(f: Expansion, queries: int, keys: int, past: int, kind: str) -> str:
    """What is added to the scores, broadcastable to [batch, heads, queries, keys]; "" for nothing."""
    attrs, mask, lengths = f.node.attrs, f.node.input(3), f.node.input(6)
    bounds = (attrs.get("left_window_size", -1), 0 if attrs.get("is_causal") else attrs.get("right_window_size", -1))
    terms = []
    if mask:
        terms.append(_mask(f, mask, keys, kind))
    # how far the key lies behind the query, were the first query at position 0
    behind = np.arange(queries)[:, None] - np.arange(keys)[None, :]
    if not lengths:
        allowed = _within(behind + past, bounds)
        if not allowed.all():
            terms.append(f.const(np.where(allowed, 0.0, -np.inf).astype(numpy_dtype(kind))))
        return f.total(terms) if terms else ""
    valid = f.reshape(f.cast(lengths, "float32"), [f.graph.value(lengths).size, 1, 1, 1])
    allowed_keys = [f.binary("Less", f.const(np.arange(keys, dtype=np.float32)), valid)]
    offset = f.sub(valid, float(queries))
    for bound, sign in ((bounds[0], 1.0), (bounds[1], -1.0)):
        if bound >= 0:  # sign * (behind + offset) <= bound
            distance = f.add(f.const((sign * behind).astype(np.float32)), f.mul(offset, sign))
            allowed_keys.append(f.binary("LessOrEqual", distance, float(bound)))
    terms += [_additive(f, a, kind) for a in allowed_keys]
    return f.total(terms)


def _within(behind: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    left, right = bounds
    allowed = np.ones(behind.shape, bool)
    if left >= 0:
        allowed &= behind <= left
    if right >= 0:
        allowed &= -behind <= right
    return allowed


def _mask(f: Expansion, mask: str, keys: int, kind: str) -> str:
    """The mask input as a term of the bias; keys beyond its end are masked."""
    bias = _additive(f, mask, kind) if f.dtype(mask) == "bool" else f.cast(mask, kind)
    *lead, have = f.shape(bias)
    if have == keys:
        return bias
    return f.concat([bias, f.const(np.full([*lead, keys - have], -np.inf, numpy_dtype(kind)))], -1)


def _additive(f: Expansion, allowed: str, kind: str) -> str:
    return f.where(allowed, f.const(0.0, kind), f.const(-np.inf, kind))


def _masked_rows_zero(f: Expansion, probabilities: str, bias: str) -> str:
    """A query without any key has probabilities 0, not 0 / 0."""
    known = f.graph.const(bias) if bias else None
    if not bias or (known is not None and (known.max(-1) > -np.inf).all()):
        return probabilities
    empty = f.binary("Equal", f.reduce("ReduceMax", bias, [f.rank(bias) - 1]), -np.inf)
    return f.where(empty, f.const(0.0, f.dtype(probabilities)), probabilities)


# ---- rotary embedding ------------------------------------------------------------------------------------------------


def rotary_embedding(graph: Graph, node: Node) -> bool:
    """RotaryEmbedding: pairs of features turned by the angle of their position."""
    f, attrs = Expansion(graph, node), node.attrs
    x = node.inputs[0]
    flat = f.rank(x) == 3
    if flat:
        batch, tokens, hidden = f.shape(x)
        x = f.reshape(x, [batch, tokens, attrs["num_heads"], hidden // attrs["num_heads"]])
    else:
        x = f.transpose(x, [0, 2, 1, 3])
    size = f.shape(x)[3]
    turned = attrs.get("rotary_embedding_dim", 0) or size
    rest = f.slice(x, 3, turned, size) if turned < size else ""
    cos, sin = (_angles(f, node.inputs[i], node.input(3)) for i in (1, 2))
    pairs = attrs.get("interleaved", 0)
    part = f.slice(x, 3, 0, turned)
    if pairs:
        one, two = f.slice(part, 3, 0, turned, 2), f.slice(part, 3, 1, turned, 2)
    else:
        one, two = f.split(part, 3, 2)
    real = f.sub(f.mul(one, cos), f.mul(two, sin))
    imaginary = f.add(f.mul(one, sin), f.mul(two, cos))
    if pairs:
        wide = [*f.shape(real), 1]
        part = f.reshape(f.concat([f.reshape(real, wide), f.reshape(imaginary, wide)], 4), f.shape(part))
    else:
        part = f.concat([real, imaginary], 3)
    out = f.concat([part, rest], 3) if rest else part
    return f.finish([f.reshape(out, f.shape(node.inputs[0])) if flat else f.transpose(out, [0, 2, 1, 3])])


def _angles(f: Expansion, table: str, positions: str) -> str:
    """Rows of a table of sines or cosines for every token, [batch, tokens, 1, pairs]."""
    rows = f.gather(table, positions) if positions else table
    batch, tokens, pairs = f.shape(rows)
    return f.reshape(rows, [batch, tokens, 1, pairs])


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "Attention": attention,
    "ai.onnx.preview::FlexAttention": flex_attention,
    "RotaryEmbedding": rotary_embedding,
}
