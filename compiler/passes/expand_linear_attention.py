"""LinearAttention: a state for each head, updated by one token after the other, unrolled over the static tokens."""
from __future__ import annotations

import math

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion
from isa.target import Target

#: most tokens that are unrolled; a token is some eight operators
MOST_TOKENS = 512


def linear_attention(graph: Graph, node: Node) -> bool:
    """All four update rules, grouped heads, any decay and beta; computed in float32 as defined."""
    if linear_attention_reason(graph, node):
        return False
    f, attrs = Expansion(graph, node), node.attrs
    heads, groups = attrs["q_num_heads"], attrs["kv_num_heads"]
    batch, tokens, _ = f.shape(node.inputs[0])
    q, k, v = (_heads(f, x, h) for x, h in zip(node.inputs[:3], (heads, groups, groups), strict=True))
    size, width = f.shape(k)[3], f.shape(v)[3]
    decay = beta = ""
    if node.input(4):
        decay = f.unary("Exp", _heads(f, node.input(4), groups))
    if node.input(5):
        beta = _heads(f, node.input(5), f.shape(node.input(5))[2])
    scale = attrs.get("scale", 0.0) or 1.0 / math.sqrt(size)
    q = f.reshape(f.mul(q, scale), [batch, groups, heads // groups, tokens, size])
    state = f.cast(node.input(3), "float32") if node.input(3) else ""
    outs = []
    for t in range(tokens):
        key, value = f.slice(k, 2, t, t + 1), f.slice(v, 2, t, t + 1)
        if decay and state:  # a column for the axis of the keys
            state = f.mul(state, f.swap(f.slice(decay, 2, t, t + 1)))
        if beta:
            change = f.sub(value, f.matmul(key, state)) if state else value
            value = f.mul(f.slice(beta, 2, t, t + 1), change)
        written = f.mul(f.swap(key), value)
        state = f.add(state, written) if state else written
        query = f.reshape(f.slice(q, 3, t, t + 1), [batch, groups, heads // groups, size])
        outs.append(f.reshape(f.matmul(query, state), [batch, 1, heads * width]))
    kind = f.dtype(node.inputs[0])
    kept = f.dtype(node.input(3)) if node.input(3) else kind
    return f.finish([f.cast(f.concat(outs, 1), kind), f.cast(state, kept)])


def linear_attention_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why a LinearAttention does not run on the device, "" when it does."""
    tokens = graph.shape(node.inputs[0])[1]
    if tokens > MOST_TOKENS:
        return f"{tokens} tokens are more than the {MOST_TOKENS} that are unrolled"
    return ""


def _heads(f: Expansion, x: str, heads: int) -> str:
    """[batch, tokens, heads * size] -> float32 [batch, heads, tokens, size]."""
    batch, tokens, hidden = f.shape(x)
    return f.transpose(f.reshape(f.cast(x, "float32"), [batch, tokens, heads, hidden // heads]), [0, 2, 1, 3])


RULES = {"LinearAttention": linear_attention}
