"""Cases that give every operand and every pointer of every mnemonic every data type its table allows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isa.dtypes import BY_NAME
from isa.spec import ALU_OPS, SPEC, Instruction, Slot
from isa.word import SBUF
from tests.neuronsim.values_cases import Case, operand, pointer

FREE = ("tensor_copy", "load_stationary", "matmul", "dma_trigger")  # their own cases enumerate all pairs
THIRD = {"dst": 0, "src0": 1, "src1": 2}


def every_dtype(templates: list[Case]) -> list[Case]:
    """Templates of each mnemonic in turn, one slot at a time in each type; then all slots in one type."""
    rng = np.random.default_rng(11)
    cases = []
    for name, instruction in SPEC.by_name.items():
        if name in FREE or not instruction.operands:
            continue
        usable = [t for t in templates if t.name == name and _takes_floats(t.words, instruction)]
        for k, (slots, dtype) in enumerate(_choices(instruction)):
            template = usable[k % len(usable)]
            words = template.words.copy()
            for slot in slots:
                _retype(words, slot, dtype, rng)
            cases.append(Case(name, template.engine, words, k))
    return cases


def _takes_floats(words: np.ndarray, instruction: Instruction) -> bool:
    return all(words[s.field][0] < ALU_OPS["bitwise_and"] for s in instruction.slots.values() if s.kind == "alu")


def _choices(instruction: Instruction) -> Iterator[tuple[list[Slot], str]]:
    """(slots, data type): tied slots together."""
    slots = list(instruction.operands)
    if "same_dtype" in instruction.rules:
        slots = [s for s in slots if s.name == "src1"]
        for dtype in instruction.slots["dst"].dtypes:
            yield [instruction.slots["dst"], instruction.slots["src0"]], dtype
    else:
        common = [d for d in BY_NAME if all(d in s.dtypes for s in slots)]
        for dtype in common:
            yield slots, dtype
    for slot in (*slots, *(s for s in instruction.slots.values() if s.kind == "scalar")):
        for dtype in slot.dtypes:
            yield [slot], dtype


def _retype(words: np.ndarray, slot: Slot, dtype: str, rng: np.random.Generator) -> None:
    old = words[slot.field][0]
    if slot.kind == "scalar":
        words[slot.field][0] = pointer(rng, int(words["dst"]["partitions"][0]))
        words[slot.field]["dtype"][0] = BY_NAME[dtype].code
        return
    sizes = tuple(int(n) for n in old["size"])
    steps = tuple(int(n) for n in np.cumprod([1, *sizes[:0:-1]])[::-1])
    fresh = operand(rng, dtype, sizes, int(old["partitions"]), THIRD[slot.field], SBUF, steps)
    fresh["partition"] = old["partition"]
    words[slot.field][0] = fresh
