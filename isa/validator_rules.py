"""Rules that only some instructions have, by the name the tables use for them, over all words of one mnemonic."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isa.dtypes import BY_NAME, DTYPES, SIZES
from isa.program import Stage
from isa.spec import ALU_OPS, SPEC, Instruction
from isa.target import Target
from isa.violations import DTYPE_NAMES, Place, Violations, named

_INTEGER = np.zeros(256, dtype=bool)
_INTEGER[[d.code for d in DTYPES if d.kind in "iu"]] = True
_BITWISE = np.zeros(256, dtype=bool)
_BITWISE[[o.code for o in SPEC.alu.values() if o.kind == "bitwise"]] = True
_FOUR_BYTE = [BY_NAME["fp32"].code, BY_NAME["tf32"].code]
_INT8, _INT32, _FP32 = BY_NAME["int8"].code, BY_NAME["int32"].code, BY_NAME["fp32"].code
_ALU_NAMES = {code: name for name, code in ALU_OPS.items()}
_LOAD = SPEC.by_name["load_stationary"].opcode


def handed(stage: Stage) -> str:
    """What ends the partitions of a stage before their end, for error texts."""
    return ", or in the handover buffers at its top" if stage.handover_bytes else ""


class Group:
    """All words of one mnemonic in one stream: `rows` are their indices, fields are taken out once."""

    def __init__(self, instruction: Instruction, engine: str, rows: np.ndarray, stream: np.ndarray, stage: Stage,
                 target: Target, place: Place) -> None:
        self.instruction, self.engine, self.rows, self.place = instruction, engine, rows, place
        self.stream, self.stage, self.target = np.ascontiguousarray(stream), stage, target
        self.sbuf_bytes = target.sbuf_partition_bytes - stage.handover_bytes  # of a partition, for words to use
        self._fields: dict[str, np.ndarray] = {}
        self._elements: dict[str, np.ndarray] = {}

    def field(self, name: str) -> np.ndarray:
        """A word field of every word of the group: [n]."""
        if name not in self._fields:
            self._fields[name] = self.stream[name][self.rows]
        return self._fields[name]

    def elements(self, operand: str) -> np.ndarray:
        """Elements per partition: int64 [n]."""
        if operand not in self._elements:
            size = self.field(operand)["size"]
            product = size[:, 0] * size[:, 1].astype(np.float64) * size[:, 2] * size[:, 3]
            self._elements[operand] = np.minimum(product, 2.0**62).astype(np.int64)
        return self._elements[operand]

    def partitions(self, operand: str) -> np.ndarray:
        return self.field(operand)["partitions"].astype(np.int64)

    def extent(self, operand: str) -> tuple[np.ndarray, np.ndarray]:
        """First byte and byte past the last that the operand touches in a partition: int64 [n] each."""
        v = self.field(operand)
        step, size = v["step"], v["size"]
        low, high = np.zeros(len(v), dtype=np.int64), np.zeros(len(v), dtype=np.int64)
        for d in range(4):
            reach = step[:, d].astype(np.int64) * (size[:, d].astype(np.int64) - 1)
            low += np.minimum(reach, 0)
            high += np.maximum(reach, 0)
        start, width = v["start"].astype(np.int64), SIZES[v["dtype"]]
        return start + low * width, start + (high + 1) * width

    def operations(self) -> list[np.ndarray]:
        """Codes of every ALU operation of the instruction: [n] each."""
        return [self.field(s.field) for s in self.instruction.slots.values() if s.kind == "alu"]


def _is_bitwise(group: Group) -> np.ndarray:
    out = np.zeros(len(group.rows), dtype=bool)
    for codes in group.operations():
        out |= _BITWISE[codes]
    return out


def bitwise_integer(found: Violations, group: Group) -> None:
    """Bitwise operations and shifts take and give integers."""
    bitwise = _is_bitwise(group)
    for slot in group.instruction.operands:
        codes = group.field(slot.field)["dtype"]
        bad = bitwise & ~_INTEGER[codes]
        if bad.any():
            found.check(bad, group.place.within(slot.name), "DTYPE", "bitwise operations need integers",
                        "an integer type", named(DTYPE_NAMES, codes))


def no_bitwise(found: Violations, group: Group) -> None:
    """Recurrences have no bitwise operations."""
    found.check(_is_bitwise(group), group.place, "OPERATION", "a recurrence cannot be bitwise")


def _pairs(op0: np.ndarray, op1: np.ndarray) -> np.ndarray:
    first, second = named(_ALU_NAMES, op0), named(_ALU_NAMES, op1)
    return np.array([f"{a} {b}" for a, b in zip(first, second)], dtype=object)


def tensor_scalar_engine(found: Violations, group: Group) -> None:
    """Scalar engine: mult+add, mult, add. gpsimd: rsqrt. Bitwise: vector. Source: nki/api/nki/isa/__init__.py."""
    op0, op1 = group.field("op0"), group.field("op1")
    if group.engine == "scalar":
        pairs = op0.astype(np.int64) << 8 | op1
        allowed = [(ALU_OPS[a] << 8) | ALU_OPS[b] for a, b in (("mult", "add"), ("mult", "bypass"), ("add", "bypass"))]
        bad = ~np.isin(pairs, allowed)
        if bad.any():
            found.check(bad, group.place, "OPERATION", "the scalar engine has only mult then add, mult, and add",
                        "mult add, mult, add", _pairs(op0, op1))
    elif group.engine == "gpsimd":
        rsqrt = (op0 == ALU_OPS["rsqrt"]) | (op1 == ALU_OPS["rsqrt"])
        found.check(~rsqrt, group.place, "OPERATION", "the gpsimd engine has tensor_scalar for rsqrt only", "rsqrt")


def same_dtype(found: Violations, group: Group) -> None:
    """Source and destination have one data type."""
    dst, src = group.field("dst")["dtype"], group.field("src0")["dtype"]
    if (dst != src).any():
        found.check(dst != src, group.place, "DTYPE", "source and destination types differ", named(DTYPE_NAMES, dst),
                    named(DTYPE_NAMES, src))


def reduce_axes(found: Violations, group: Group) -> None:
    """The destination has the elements of the dimensions that are kept."""
    size, axes = group.field("src0")["size"].astype(np.float64), group.field("axes").astype(np.int64)
    kept = np.where(np.arange(4) < 4 - axes[:, None], size, 1.0).prod(axis=1)
    dst = group.elements("dst")
    found.check(dst != kept, group.place.within("dst"), "ELEMENTS", "elements differ from the dimensions kept", kept,
                dst)


def transposed(found: Violations, group: Group) -> None:
    """dst [F, P] of src0 [P, F], both at most 32 x 32. Source: nki/api/nki/isa/__init__.py."""
    for a, b in (("dst", "src0"), ("src0", "dst")):
        partitions, elements = group.partitions(a), group.elements(b)
        found.check(partitions > 32, group.place.within(a), "PARTITIONS", "a transpose is at most 32 x 32", 32,
                    partitions)
        found.check(partitions != elements, group.place.within(a), "ELEMENTS",
                    f"partitions differ from the elements of {b}", elements, partitions)


def descriptor_range(found: Violations, group: Group) -> None:
    """The descriptors exist and so does the queue."""
    end = group.field("arg").astype(np.int64) + group.field("count")
    limit = len(group.stage.descriptors)
    found.check(end > limit, group.place, "DESCRIPTOR_RANGE", "descriptors past the last", limit, end)
    queue = group.field("op0")
    found.check(queue >= group.target.dma.queues, group.place.within("queue"), "RANGE", "no such DMA queue",
                group.target.dma.queues - 1, queue)


# ---- PE
def matmul_dtype(found: Violations, group: Group) -> None:
    """The generation's PE takes the data type."""
    table = np.zeros(256, dtype=bool)
    table[[BY_NAME[name].code for name in group.target.matmul_dtypes]] = True
    codes = group.field("src0")["dtype"]
    if not table[codes].all():
        found.check(~table[codes], group.place.within("src0"), "MATMUL_DTYPE",
                    f"{group.target.generation} has no such matmul", ", ".join(group.target.matmul_dtypes),
                    named(DTYPE_NAMES, codes))


def matmul_pair(found: Violations, group: Group) -> None:
    """A matmul fits the stationary matrix loaded last: K, first partition, M and data types."""
    last = np.where(group.stream["opcode"] == _LOAD, np.arange(len(group.stream)), -1)
    load = np.maximum.accumulate(last)[group.rows]
    if found.check(load < 0, group.place, "STATIONARY", "no stationary matrix has been loaded"):
        return
    stationary = group.stream["src0"][load]
    moving, dst = group.field("src0"), group.field("dst")
    at = group.place.within("src0")
    for name in ("partition", "partitions"):
        found.check(moving[name] != stationary[name], at, "STATIONARY",
                    f"{name} of the moving and the stationary tile differ", stationary[name], moving[name])
    columns = stationary["size"].astype(np.float64).prod(axis=1)
    found.check(dst["partitions"] != columns, group.place.within("dst"), "STATIONARY",
                "destination partitions differ from the stationary columns", columns, dst["partitions"])
    a, b = stationary["dtype"], moving["dtype"]
    mixed = (np.isin(a, _FOUR_BYTE) != np.isin(b, _FOUR_BYTE)) | ((a == _INT8) != (b == _INT8))
    if mixed.any():
        found.check(mixed, at, "MATMUL_DTYPE", "fp32 and tf32 only meet each other, and int8 only int8",
                    named(DTYPE_NAMES, a), named(DTYPE_NAMES, b))
    wanted = np.where(b == _INT8, _INT32, _FP32)
    wrong = dst["dtype"] != wanted
    if wrong.any():
        found.check(wrong, group.place.within("dst"), "MATMUL_DTYPE", "wrong accumulator type",
                    named(DTYPE_NAMES, wanted), named(DTYPE_NAMES, dst["dtype"]))


def one_bank(found: Violations, group: Group) -> None:
    """A matmul writes inside one PSUM bank."""
    first, end = group.extent("dst")
    bank = group.target.psum_bank_bytes
    found.check(first // bank != (end - 1) // bank, group.place.within("dst"), "PSUM_BANK",
                "the destination crosses a PSUM bank", (first // bank + 1) * bank, end)


RULES: dict[str, Callable[[Violations, Group], None]] = {
    "bitwise_integer": bitwise_integer, "descriptor_range": descriptor_range, "matmul_dtype": matmul_dtype,
    "matmul_pair": matmul_pair, "no_bitwise": no_bitwise, "one_bank": one_bank, "reduce_axes": reduce_axes,
    "same_dtype": same_dtype, "tensor_scalar_engine": tensor_scalar_engine, "transposed": transposed,
}
