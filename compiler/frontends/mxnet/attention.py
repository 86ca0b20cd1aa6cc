"""Attention of GluonNLP's transformers: products of queries, keys and values that lie interleaved in one projection.

Layouts after src/operator/contrib/transformer.cc: (length, batch, heads x parts x width), heads outermost.
"""

from __future__ import annotations

import math

from compiler.frontends.mxnet.call import Call, operator


def _part(c: Call, value: str, parts: int, index: int) -> str:
    """Part `index` of a projection, as (batch x heads, length, width)."""
    length, batch, size = c.shape(value)
    heads = c.integer("heads")
    if heads < 1 or size % (heads * parts):
        raise c.wrong("heads", heads, f"a divisor of {size} / {parts}")
    width = size // (heads * parts)
    apart = c.reshape(value, [length, batch * heads, parts, width])
    if parts > 1:
        apart = c.do("Gather", apart, c.b.add([index]), axis=2)
    return c.transpose(c.reshape(apart, [length, batch * heads, width]), [1, 0, 2])


def _scores(c: Call, queries: str, keys: str) -> str:
    scaled = c.do("Mul", queries, c.like(queries, 1 / math.sqrt(c.shape(queries)[-1])))
    return c.do("MatMul", scaled, c.transpose(keys, [0, 2, 1]))


def _weighed(c: Call, attention: str, values: str, batch: int) -> str:
    found = c.transpose(c.do("MatMul", attention, values), [1, 0, 2])
    length, rows, width = c.shape(found)
    return c.reshape(found, [length, batch, rows // batch * width])


@operator("_contrib_interleaved_matmul_selfatt_qk")
def _self_scores(c: Call) -> str:
    return _scores(c, _part(c, c.x, 3, 0), _part(c, c.x, 3, 1))


@operator("_contrib_interleaved_matmul_selfatt_valatt")
def _self_values(c: Call) -> str:
    return _weighed(c, c[1], _part(c, c.x, 3, 2), c.shape()[1])


@operator("_contrib_interleaved_matmul_encdec_qk")
def _cross_scores(c: Call) -> str:
    return _scores(c, _part(c, c[0], 1, 0), _part(c, c[1], 2, 0))


@operator("_contrib_interleaved_matmul_encdec_valatt")
def _cross_values(c: Call) -> str:
    return _weighed(c, c[1], _part(c, c.x, 2, 1), c.shape()[1])
