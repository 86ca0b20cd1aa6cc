from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from isa import expression, spec
from isa.errors import SpecError
from isa.spec import ALU_OPS, FUNCTIONS, SPEC
from isa.validator_rules import RULES

OPCODES = {
    0x01: "load_stationary", 0x02: "matmul", 0x10: "tensor_tensor", 0x11: "tensor_scalar",
    0x12: "scalar_tensor_tensor", 0x13: "tensor_scalar_reduce", 0x14: "tensor_reduce", 0x15: "tensor_copy",
    0x16: "tensor_copy_predicated", 0x17: "reciprocal", 0x18: "memset", 0x19: "bn_stats", 0x1A: "bn_aggr",
    0x1B: "max8", 0x1C: "find_index8", 0x1D: "match_replace8", 0x1E: "transpose", 0x1F: "tensor_tensor_scan",
    0x20: "tensor_scalar_cumulative", 0x28: "iota", 0x29: "affine_select", 0x2A: "partition_reduce",
    0x30: "activation", 0x31: "activation_reduce", 0x40: "nop", 0x41: "dma_trigger",
}


def test_opcodes_are_a_fixed_contract() -> None:
    assert {i.opcode: i.mnemonic for i in SPEC} == OPCODES
    assert set(SPEC.reserved) == set(range(0xF0, 0x100))


def test_operation_codes_are_a_fixed_contract() -> None:
    assert ALU_OPS["is_lt"] == 11 and ALU_OPS["divide"] == 23 and ALU_OPS["shift_right"] == 37 and len(ALU_OPS) == 30
    assert FUNCTIONS["copy"] == 0 and FUNCTIONS["gelu_tanh"] == 11 and FUNCTIONS["prelu"] == 20
    assert sorted(FUNCTIONS.values()) == list(range(21))


def test_flags_are_bits_in_order() -> None:
    assert SPEC.by_name["matmul"].flags == {"start": 1, "stop": 2, "transpose": 4}
    assert SPEC.by_name["tensor_scalar"].flags == {"swap0": 1, "swap1": 2}


def test_slots_name_word_fields() -> None:
    activation = SPEC.by_name["activation_reduce"]
    assert activation.slots["bias"].fields == ("ptr1", "imm1")
    assert activation.slots["dst1"].field == "src1" and activation.slots["dst1"].role == "write"
    assert [s.name for s in activation.operands] == ["dst", "src0", "dst1"]
    found = activation.by_field("imm0")
    assert found is not None and found.name == "scale"
    assert SPEC.by_name["nop"].by_field("dst") is None


def test_every_rule_has_an_implementation() -> None:
    assert set(spec.RULES) == set(RULES)


@pytest.mark.parametrize("i", list(SPEC), ids=lambda i: i.mnemonic)
def test_every_instruction_is_documented_and_priced(i: spec.Instruction) -> None:
    assert i.summary and i.source
    for engine in i.engines:
        for generation in spec.GENERATIONS:
            assert i.cost(engine, generation).text


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(tables: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        node: Any = tables
        for key in parents:
            node = node[key]
        node[last] = value
    return change


@pytest.mark.parametrize("change", [
    _set("vector/memset/opcode", 0x10),
    _set("vector/memset/opcode", 0xF3),
    _set("vector/memset/opcode", 256),
    _set("vector/memset/engines", ["quantum"]),
    _set("vector/memset/surprise", 1),
    _set("vector/memset/rules", ["no_such_rule"]),
    _set("vector/memset/cost", {"vector": "N"}),
    _set("vector/memset/cost/default", "N +"),
    _set("vector/memset/cost/default", "max(MIN_II, Q)"),
    _set("vector/memset/cost/default", "N ** 2"),
    _set("vector/memset/cost/default", "__import__('os')"),
    _set("vector/memset/cost/default", "src0.N.real"),
    _set("vector/memset/cost/v9", "N"),
    _set("vector/memset/same_elements", ["dst", "src7"]),
    _set("vector/memset/slots/value/field", "imm7"),
    _set("vector/memset/slots/value/kind", "word"),
    _set("vector/memset/slots/dst/dtypes", ["fp99"]),
    _set("vector/memset/slots/dst/dtypes", "no_group"),
    _set("vector/memset/slots/dst/memory", ["dram"]),
    _set("vector/memset/slots/dst/role", "borrow"),
    _set("vector/memset/slots/dst/free", [3, 2]),
    _set("vector/memset/slots/dst/colour", 1),
    _set("vector/tensor_tensor/slots/src1/field", "src0"),
    _set("vector/tensor_scalar/slots/a/index", 2),
    _set("vector/tensor_scalar/flags", list("abcdefghi")),
    _set("vector/tensor_reduce/slots/op/allowed", ["plus"]),
    _set("operators/alu/add/code", 0),
    _set("operators/alu/add/code", 300),
    _set("operators/op_groups/running", ["plus"]),
    _set("operators/dtype_groups/float", ["fp33"]),
    _set("sync/reserved", {0x10: "loop"}),
    _set("sync/reserved", {0xF0: "matmul"}),
    lambda tables: tables["vector"]["memset"].pop("source"),
])
def test_contradictions_are_refused(change: Callable[[dict[str, Any]], None]) -> None:
    tables = copy.deepcopy(spec.read_tables())
    spec.build(tables)
    change(tables)
    with pytest.raises(SpecError):
        spec.build(tables)


@pytest.mark.parametrize("text, value", [
    ("max(1, 2, x) - 1", 4), ("ceil(x / 2)", 3), ("-x + 7", 2), ("1 if x > 4 and not x == 6 else 0", 1),
    ("x in (3, 5)", True), ("x // 2 + x % 2", 3), ("x < 5 or x != 5", False),
])
def test_expressions(text: str, value: float) -> None:
    assert expression.parse(text).evaluate({"x": 5}) == value
