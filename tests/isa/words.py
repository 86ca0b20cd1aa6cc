"""Small builders of words and descriptors for the tests of this folder: legal unless told otherwise."""
from __future__ import annotations

from typing import Any

import numpy as np

from isa import word
from isa.dtypes import BY_NAME
from isa.program import DebugEntry, Stage, Variable
from isa.spec import ALU_OPS, FUNCTIONS, SPEC

SPACES = {"sbuf": word.SBUF, "psum": word.PSUM}


def operand(sizes: tuple[int, ...] = (128,), dtype: str = "fp32", space: str = "sbuf", partitions: int = 128,
            partition: int = 0, start: int = 0, steps: tuple[int, ...] | None = None) -> np.void:
    """An operand; contiguous unless `steps` are given."""
    out = np.zeros((), dtype=word.OPERAND)
    if steps is None:
        steps = tuple(int(np.prod(sizes[k + 1 :])) for k in range(len(sizes)))
    pad = 4 - len(sizes)
    out["size"], out["step"] = (1,) * pad + sizes, (0,) * pad + steps
    out["start"], out["partition"], out["partitions"] = start, partition, partitions
    out["dtype"], out["space"] = BY_NAME[dtype].code, SPACES[space]
    return out[()]


def make(mnemonic: str, **fields: Any) -> np.ndarray:
    """One word, [1]. Operation names become codes; required operations default to legal ones."""
    instruction = SPEC.by_name[mnemonic]
    out = np.zeros(1, dtype=word.WORD)
    out["opcode"] = instruction.opcode
    for slot in instruction.slots.values():
        if slot.kind == "alu" and slot.field not in fields:
            fields[slot.field] = slot.allowed[0] if slot.allowed else "add"
        if slot.range is not None:
            fields.setdefault(slot.field, slot.range[0])
    for name, value in fields.items():
        if isinstance(value, str):
            value = FUNCTIONS[value] if name == "func" else ALU_OPS[value]
        out[name] = value
    return out


def stage(engine: str, *words: np.ndarray, descriptors: np.ndarray | None = None,
          variables: list[Variable] | None = None) -> Stage:
    """A stage with one stream."""
    out = Stage(streams={engine: np.concatenate(words)} if words else {}, debug=[DebugEntry()])
    out.variables = variables or []
    if descriptors is not None:
        out.descriptors = descriptors
    return out


def load_tile(**moving: Any) -> dict[str, Any]:
    """128 partitions of contiguous fp32 rows of 1024 from variable 1 into SBUF, as descriptor fields."""
    fields: dict[str, Any] = {
        "src_dtype": BY_NAME["fp32"].code, "dst_dtype": BY_NAME["fp32"].code, "src_var": 1, "size": (1, 1, 128, 1024),
        "src_step": (0, 0, 4096, 4), "dst_step": (0, 0, word.SBUF_PARTITION_STRIDE, 4),
    }
    return {**fields, **moving}


def descriptor(**fields: Any) -> np.ndarray:
    """One descriptor, [1]."""
    out = np.zeros(1, dtype=word.DESCRIPTOR)
    for name, value in fields.items():
        out[name] = value
    return out
