"""Matrix products of every broadcast, Gemm, Einsum and linear attention on the device, with run-time operands."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare
from tests.compiler.test_attention import check, normal

Shape = tuple[int, ...]


def product(op: str, shapes: list[Shape], kind: int = TensorProto.FLOAT, **attrs: Any) -> onnx.ModelProto:
    names = ["a", "b", "c"][:len(shapes)]
    node = helper.make_node(op, names, ["y"], **attrs)
    return make([node], dict(zip(names, shapes, strict=True)), ["y"], types=dict.fromkeys([*names, "y"], kind))


@pytest.mark.parametrize(("a", "b"), [
    ((5,), (5,)), ((1,), (1,)), ((5,), (5, 3)), ((4, 5), (5,)), ((2, 3, 4, 5), (5,)), ((5,), (2, 3, 5, 4)),
    ((1, 1), (1, 1)), ((4, 1), (1, 6)), ((1, 7), (7, 1)), ((3, 4, 5), (5, 6)), ((4, 5), (3, 5, 6)),
    ((3, 1, 4, 5), (2, 5, 6)), ((1, 4, 5), (3, 5, 6)), ((2, 1, 3, 4), (1, 3, 4, 2)), ((2, 130, 5), (5, 140)),
    ((2, 3, 5, 33), (2, 1, 33, 64)), ((1, 2, 1, 1), (3, 1, 1, 1)), ((3, 300), (300, 200)), ((40, 3, 4), (40, 4, 3)),
])
def test_every_broadcast_of_a_product(a: Shape, b: Shape) -> None:
    compare(product("MatMul", [a, b]), fallback=False)


@pytest.mark.parametrize(("a", "b"), [((2, 3, 4, 65), (2, 1, 65, 7)), ((65,), (65, 3))])
def test_products_of_half_precision(a: Shape, b: Shape) -> None:
    compare(product("MatMul", [a, b], TensorProto.FLOAT16), fallback=False, limit=2e-3)


def test_products_on_the_first_generation_round_their_operands() -> None:
    compare(product("MatMul", [(3, 1, 4, 5), (2, 5, 6)]), target="inf1.xlarge", fallback=False)


@pytest.mark.parametrize("c", [None, (), (1,), (6,), (1, 6), (4, 1), (4, 6), (1, 1)])
@pytest.mark.parametrize(("left", "right"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_gemm_with_every_addend(c: Shape | None, left: int, right: int) -> None:
    shapes: list[Shape] = [(5, 4) if left else (4, 5), (6, 5) if right else (5, 6)]
    shapes += [c] if c is not None else []
    compare(product("Gemm", shapes, transA=left, transB=right, alpha=0.5, beta=1.5), fallback=False)


@pytest.mark.parametrize(("equation", "shapes"), [
    ("ij->ji", [(3, 4)]), ("ij->", [(3, 4)]), ("...ii->...i", [(2, 3, 3)]), ("iij->j", [(3, 3, 4)]), ("ii", [(4, 4)]),
    ("ij,jk", [(3, 4), (4, 5)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]), ("i,j->ij", [(3,), (4,)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]), ("bqhd,bkhd->bhqk", [(2, 4, 3, 5), (2, 6, 3, 5)]),
    ("...ij,jk->...ik", [(2, 3, 3, 4), (4, 2)]), ("ij,kj,lk->il", [(2, 3), (4, 3), (5, 4)]),
    ("abc,cd->abd", [(2, 3, 4), (4, 5)]), ("i,i", [(7,), (7,)]), ("ij,ij->ij", [(3, 4), (3, 4)]),
    ("ijk,k->j", [(2, 3, 4), (4,)]), ("ab,cd->dbca", [(2, 3), (4, 5)]),
])
def test_einsum(equation: str, shapes: list[Shape]) -> None:
    compare(product("Einsum", shapes, equation=equation), fallback=False)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("past", [False, True])
def test_linear_attention(rule: str, past: bool) -> None:
    gated, corrected = "gated" in rule, "delta" in rule
    feeds: dict[str, np.ndarray | None] = {
        "q": normal(2, 3, 4 * 6), "k": normal(2, 3, 2 * 6) * 0.4, "v": normal(2, 3, 2 * 5),
        "past": normal(2, 2, 6, 5) if past else None,
        "decay": -np.abs(normal(2, 3, 2 * 6 if past else 2)) if gated else None,
        "beta": normal(2, 3, 1 if past else 2) if corrected else None,
    }
    check("LinearAttention", feeds, outputs=2, opset=27, update_rule=rule, q_num_heads=4, kv_num_heads=2)
