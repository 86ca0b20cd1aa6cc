"""Refuses every word and descriptor outside the documented limits, in bulk: arrays over all words of a mnemonic.

A stage that passes can be executed without further checks of opcodes, operand ranges or descriptor addresses. Whether
its synchronisation is right is another question (`neuronsim.check`).
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from isa import validator_dma
from isa.dtypes import BY_NAME, SIZES
from isa.errors import IllegalInstruction
from isa.program import Stage
from isa.spec import SPEC, Instruction, Slot
from isa.target import Target
from isa.validator_rules import RULES, Group, handed
from isa.violations import DTYPE_NAMES, Place, Violations, named
from isa.word import ENGINES, NONE, PARTITIONS, PSUM, SBUF, SPACE_NAMES, WORD, WORD_BYTES

# fields any instruction may use
_COMMON = ("opcode", "debug", "wait_sem", "wait_val", "post_sem", "post_inc")
_SPACES = {name: code for code, name in SPACE_NAMES.items()}
_OPERATORS = {
    "alu": {o.code: o for o in SPEC.alu.values()},
    "func": {o.code: o for o in SPEC.functions.values()},
}
_FIELDS: Mapping[str, Any] = WORD.fields or {}


def validate(stage: Stage, target: Target) -> None:
    """Check every word of every engine and every descriptor of a stage against the tables and the target.

    What runs once at load (`Stage.init`) obeys the same rules, and touches no inputs and outputs. The top of every SBUF
    partition belongs to the buffers of handed values, if the stage has any.

    Raises: ErrorList of up to 20 IllegalInstruction in engine, then word order; `where` is `engine[index]
    mnemonic.operand` (of loading: `init.engine[index] ...`) or `descriptor[index] side`, `code` the broken rule,
    `limit` and `actual` its two sides.
    """
    found = Violations()
    _handovers(found, stage, target)
    for first, prefix, part in ((0, "", stage), (len(ENGINES) + 1, "init.", stage.loading)):
        for name in part.streams:
            if name not in ENGINES:
                found.add((first + len(ENGINES), 0), IllegalInstruction(f"no engine is called {name!r}", code="ENGINE",
                                                                        where=prefix + name))
        for rank, engine in enumerate(ENGINES, first):
            stream = part.stream(engine)
            if len(stream):
                _stream(found, rank, prefix, engine, stream, part, target)
    validator_dma.validate(found, 2 * (len(ENGINES) + 1), stage, target)
    found.finish()


def _handovers(found: Violations, stage: Stage, target: Target) -> None:
    if stage.handover_bytes > target.sbuf_partition_bytes:
        found.add((0, 0), IllegalInstruction("the buffers of what the stage is handed do not fit a partition of SBUF",
                                             code="HANDOVER", where="variables", limit=target.sbuf_partition_bytes,
                                             actual=stage.handover_bytes))


def _stream(found: Violations, rank: int, prefix: str, engine: str, stream: np.ndarray, stage: Stage,
            target: Target) -> None:
    name = prefix + engine
    everywhere = Place(rank, name, np.arange(len(stream)))
    if not target.engines[engine].present:
        found.add((rank, 0), IllegalInstruction(f"{target.generation} has no {engine} engine", code="ENGINE_ABSENT",
                                                where=f"{name}[0]", limit=0, actual=len(stream)))
        return
    if stream.dtype != WORD:
        found.add((rank, 0), IllegalInstruction("not an array of instruction words", code="LAYOUT", where=name))
        return
    _synchronisation(found, everywhere, stream, stage, target)
    opcodes = np.ascontiguousarray(stream["opcode"])
    for opcode in np.flatnonzero(np.bincount(opcodes)):
        rows = np.flatnonzero(opcodes == opcode)
        instruction = SPEC.by_opcode.get(int(opcode))
        if instruction is None or engine not in instruction.engines:
            _refuse_opcode(found, everywhere.where(rows), engine, int(opcode))
            continue
        group = Group(instruction, engine, rows, stream, stage, target, Place(rank, name, rows, instruction.mnemonic))
        _padding(found, group)
        _words(found, group)


def _refuse_opcode(found: Violations, place: Place, engine: str, opcode: int) -> None:
    bad = np.ones(len(place.rows), dtype=bool)
    if opcode in SPEC.reserved:
        found.check(bad, place, "OPCODE_RESERVED", f"{SPEC.reserved[opcode]} is reserved and not implemented",
                    actual=opcode)
    elif opcode in SPEC.by_opcode:
        instruction = SPEC.by_opcode[opcode]
        found.check(bad, place, "ENGINE", f"the {engine} engine has no {instruction.mnemonic}",
                    limit=", ".join(instruction.engines), actual=engine)
    else:
        found.check(bad, place, "OPCODE", f"unknown opcode {opcode:#04x}", actual=opcode)


def _synchronisation(found: Violations, place: Place, stream: np.ndarray, stage: Stage, target: Target) -> None:
    limit = target.semaphores
    for k in range(2):
        sem, value = stream["wait_sem"][:, k], stream["wait_val"][:, k]
        found.check(sem >= limit, place, "SEMAPHORE", "no such semaphore to wait on", limit - 1, sem)
        found.check((sem == 0) & (value != 0), place, "PADDING", "a wait value without a semaphore", 0, value)
    post, increment = stream["post_sem"], stream["post_inc"]
    found.check(post >= limit, place, "SEMAPHORE", "no such semaphore to post", limit - 1, post)
    found.check((post == 0) & (increment != 0), place, "PADDING", "a post without a semaphore", 0, increment)
    trigger = stream["opcode"] == SPEC.by_name["dma_trigger"].opcode  # its posts are the DMA engines', one each
    found.check((post != 0) & (increment == 0) & ~trigger, place, "SEMAPHORE", "a post adds nothing", 1, increment)
    found.check(stream["debug"] >= max(len(stage.debug), 1), place, "DEBUG", "no such debug row", len(stage.debug) - 1,
                stream["debug"])


def _allowed_bytes(instruction: Instruction) -> np.ndarray:
    """Which bytes of a word the instruction may use: uint8 [128], 0xff or 0."""
    mask = np.zeros(1, dtype=WORD)
    raw = mask.view(np.uint8)
    for slot in instruction.slots.values():
        for name in slot.fields:
            kind, offset = _FIELDS[name][:2]
            if slot.kind == "pattern":
                kind, inner = (kind.fields or {})["step"][:2]
                offset += inner
            raw[offset : offset + kind.itemsize] = 0xFF
    for name in _COMMON:
        kind, offset = _FIELDS[name][:2]
        raw[offset : offset + kind.itemsize] = 0xFF
    mask["flags"] = sum(instruction.flags.values())
    for k in range(2):
        mask[f"ptr{k}"]["zero"] = 0
    return raw


_FORBIDDEN = {i.mnemonic: ~_allowed_bytes(i) for i in SPEC}


def _padding(found: Violations, group: Group) -> None:
    """Everything the instruction does not use is zero, so that equal instructions are equal bytes."""
    forbidden = _FORBIDDEN[group.instruction.mnemonic].view(np.uint64)
    lanes = group.stream.view(np.uint64).reshape(-1, WORD_BYTES // 8)
    bad = np.zeros(len(group.rows), dtype=bool)
    for k in np.flatnonzero(forbidden):
        bad |= (lanes[group.rows, k] & forbidden[k]) != 0
    if not bad.any():
        return
    first = int(group.rows[np.flatnonzero(bad)[0]])
    used = group.stream[first : first + 1].view(np.uint8) & _FORBIDDEN[group.instruction.mnemonic]
    offset = int(np.flatnonzero(used)[0])
    name = next(n for n, f in _FIELDS.items() if f[1] <= offset < f[1] + f[0].itemsize)
    found.check(bad, group.place, "PADDING", f"a field the instruction does not use is not zero (first: {name})",
                limit=0, actual=name)


def _words(found: Violations, group: Group) -> None:
    for slot in group.instruction.slots.values():
        place = group.place.within(slot.name)
        if slot.kind == "operand":
            _operand(found, group, slot, place)
        elif slot.kind == "scalar":
            _pointer(found, group, slot, place)
        elif slot.kind in _OPERATORS:
            _operator(found, group, slot, place)
        elif slot.range is not None:
            value = group.field(slot.field)
            low, high = slot.range
            found.check((value < low) | (value > high), place, "RANGE", "out of range", f"{low}..{high}", value)
    _relations(found, group)
    for rule in group.instruction.rules:
        RULES[rule](found, group)


def _operand(found: Violations, group: Group, slot: Slot, place: Place) -> None:
    v = group.field(slot.field)
    space = v["space"] & 3
    found.check(v["space"] > 3, place, "BASE_REGISTER", "base registers are reserved", 0, v["space"] >> 2)
    if found.check(space == NONE, place, "OPERAND", "the operand is missing"):
        return
    _memory(found, group, slot.memory, space, place)
    _dtype(found, v["dtype"], slot.dtypes, place)
    count = v["partitions"].astype(np.int64)
    low, high = slot.partitions or (1, PARTITIONS)
    found.check((count < low) | (count > high), place, "PARTITIONS", "partition count", f"{low}..{high}", count)
    _start_partition(found, v["partition"], count, place)
    found.check((v["size"] == 0).any(axis=1), place, "FREE_SIZE", "a dimension has size 0", 1, v["size"])
    elements = group.elements(slot.field)
    low, high = slot.free or (1, 1 << 62)
    at_most = np.where(space == PSUM, group.target["psum.free_elements_max"], group.target["sbuf.free_elements_max"])
    at_most = np.minimum(at_most, high)
    found.check(elements > at_most, place, "FREE_SIZE", "too many elements per partition", at_most, elements)
    found.check(elements < low, place, "FREE_SIZE", "too few elements per partition", low, elements)
    found.check(elements % slot.multiple != 0, place, "FREE_SIZE", f"elements not a multiple of {slot.multiple}",
                slot.multiple, elements)
    first, last = group.extent(slot.field)
    _bounds(found, group, space, v["start"], first, last, SIZES[v["dtype"]], place)


def _pointer(found: Violations, group: Group, slot: Slot, place: Place) -> None:
    whole = group.field(slot.field)
    present = whole["space"] != NONE
    garbage = np.ascontiguousarray(whole).view(np.uint64).reshape(-1) != 0
    found.check(~present & garbage, place, "PADDING", "an absent pointer is not zero")
    if not present.any():
        return
    v, place = whole[present], place.where(present)
    space = v["space"] & 3
    found.check(v["space"] > 3, place, "BASE_REGISTER", "base registers are reserved", 0, v["space"] >> 2)
    _memory(found, group, ("sbuf", "psum"), space, place)
    _dtype(found, v["dtype"], slot.dtypes, place)
    _start_partition(found, v["partition"], group.field("dst")["partitions"][present].astype(np.int64), place)
    start = v["start"].astype(np.int64)
    _bounds(found, group, space, v["start"], start, start + SIZES[v["dtype"]], SIZES[v["dtype"]], place)


def _memory(found: Violations, group: Group, memory: tuple[str, ...], space: np.ndarray, place: Place) -> None:
    allowed = np.isin(space, [_SPACES[m] for m in memory])
    if not allowed.all():
        found.check(~allowed, place, "MEMORY", "the operand cannot live there", ", ".join(memory),
                    named(SPACE_NAMES, space))
    if group.engine == "gpsimd":
        found.check(space == PSUM, place, "GPSIMD_PSUM", "the gpsimd engine cannot reach PSUM", "sbuf", "psum")


def _dtype(found: Violations, codes: np.ndarray, allowed: tuple[str, ...], place: Place) -> None:
    table = np.zeros(256, dtype=bool)
    table[[BY_NAME[name].code for name in allowed]] = True
    bad = ~table[codes]
    if bad.any():
        found.check(bad, place, "DTYPE", "data type not allowed here", ", ".join(allowed), named(DTYPE_NAMES, codes))


def _start_partition(found: Violations, start: np.ndarray, count: np.ndarray, place: Place) -> None:
    """Over 64 partitions start at 0, over 32 at 0 or 64, fewer at a multiple of 32.

    Source: nki/guides/architecture/trainium_inferentia2_arch.rst.
    """
    step = np.where(count > 64, PARTITIONS, np.where(count > 32, 64, 32))
    found.check(start % step != 0, place, "PARTITION_START", "first partition not allowed for so many partitions", step,
                start)
    found.check(start + count > PARTITIONS, place, "PARTITIONS", "partitions past the last", PARTITIONS, start + count)


def _bounds(found: Violations, group: Group, space: np.ndarray, start: np.ndarray, first: np.ndarray, last: np.ndarray,
            size: np.ndarray, place: Place) -> None:
    limit = np.where(space == SBUF, group.sbuf_bytes, group.target.psum_partition_bytes)
    found.check(first < 0, place, "OUT_OF_BOUNDS", "the access starts before the partition", 0, first)
    what = "the access ends after the partition" + handed(group.stage)
    found.check(last > limit, place, "OUT_OF_BOUNDS", what, limit, last)
    found.check(start % np.maximum(size, 1) != 0, place, "ALIGNMENT", "start not aligned to the data type", size, start)


def _operator(found: Violations, group: Group, slot: Slot, place: Place) -> None:
    known = _OPERATORS[slot.kind]
    names = slot.allowed or tuple(o.name for o in known.values())
    usable = [c for c, o in known.items() if o.name in names and group.target.generation in o.generations]
    table = np.zeros(256, dtype=bool)
    table[usable] = True
    codes = group.field(slot.field)
    bad = ~table[codes]
    if bad.any():
        texts = named({c: o.name for c, o in known.items()}, codes)
        found.check(bad, place, "OPERATION", "operation not allowed here", ", ".join(names), texts)


def _relations(found: Violations, group: Group) -> None:
    i = group.instruction
    for names, code, what in ((i.same_elements, "ELEMENTS", "elements per partition differ from "),
                              (i.same_partitions, "PARTITIONS", "partition count differs from ")):
        if not names:
            continue
        measure = group.elements if code == "ELEMENTS" else group.partitions
        first = measure(i.slots[names[0]].field)
        for name in names[1:]:
            other = measure(i.slots[name].field)
            found.check(other != first, group.place.within(name), code, what + names[0], first, other)
    if i.not_both_psum:
        both = np.ones(len(group.rows), dtype=bool)
        for name in i.not_both_psum:
            both &= (group.field(i.slots[name].field)["space"] & 3) == PSUM
        found.check(both, group.place, "BOTH_PSUM", " and ".join(i.not_both_psum) + " cannot both be in PSUM")
