"""Small hand-made programs for the checker's tests: words, descriptors and a plain synchroniser."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from isa import dtypes, target
from isa.program import INPUT, OUTPUT, SCRATCH, DebugEntry, Stage, Variable
from isa.spec import SPEC
from isa.word import DESCRIPTOR, ENGINES, PSUM, SBUF, SBUF_PARTITION_STRIDE, WORD

TARGET = target.load("trn1.2xlarge")
BANK = TARGET.psum_bank_bytes
Wait = tuple[int, int]


@dataclass(frozen=True)
class At:
    """An operand: [partitions, elements] of fp32 at a byte of SBUF or PSUM."""

    start: int
    elements: int = 8
    partitions: int = 128
    partition: int = 0
    space: int = SBUF
    step: int = 1

    def bytes(self) -> set[tuple[int, int, int]]:
        """All (memory, first of 32 partitions, byte) it touches; partitions in whole groups of 32."""
        columns = [self.start + 4 * self.step * i + k for i in range(self.elements) for k in range(4)]
        return {(self.space, p, c) for p in range(self.partition, self.partition + self.partitions, 32)
                for c in columns}


def bank(number: int, elements: int = 8, partitions: int = 128) -> At:
    return At(number * BANK, elements, partitions, space=PSUM)


@dataclass
class Builder:
    words: dict[str, list[np.ndarray]] = field(default_factory=lambda: {e: [] for e in ENGINES})
    descriptors: list[np.ndarray] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)

    def word(self, engine: str, mnemonic: str, waits: tuple[Wait, ...] = (), post: Wait = (0, 0), flags: int = 0,
             **operands: At) -> int:
        """Append a word; `dst`, `src0`, `src1`, `ptr0` ... by field name. Returns its index."""
        w = np.zeros(1, dtype=WORD)[0]
        w["opcode"], w["flags"], w["debug"] = SPEC.by_name[mnemonic].opcode, flags, 1
        for k, (sem, value) in enumerate(waits):
            w["wait_sem"][k], w["wait_val"][k] = sem, value
        w["post_sem"], w["post_inc"] = post
        for name, at in operands.items():
            o = w[name]
            o["start"], o["partition"], o["space"] = at.start, at.partition, at.space
            o["dtype"] = dtypes.dtype("fp32").code
            if not name.startswith("ptr"):
                o["partitions"] = at.partitions
                o["step"], o["size"] = (0, 0, 0, at.step), (1, 1, 1, at.elements)
        self.words[engine].append(w)
        return len(self.words[engine]) - 1

    def copy(self, engine: str, dst: At, src: At, waits: tuple[Wait, ...] = (), post: Wait = (0, 0)) -> int:
        return self.word(engine, "tensor_copy", waits, post, dst=dst, src0=src)

    def memset(self, engine: str, dst: At, waits: tuple[Wait, ...] = (), post: Wait = (0, 0)) -> int:
        return self.word(engine, "memset", waits, post, dst=dst)

    def matmul(self, dst: At, src: At, start: bool, stop: bool, waits: tuple[Wait, ...] = (),
               post: Wait = (0, 0)) -> int:
        return self.word("tensor", "matmul", waits, post, flags=start | stop << 1, dst=dst, src0=src)

    def variable(self, kind: str, elements: int) -> int:
        v = Variable(len(self.variables) + 1, f"{kind}{len(self.variables)}", kind, dtypes.dtype("fp32"), (elements,))
        self.variables.append(v)
        return v.id

    def dma(self, engine: str, dst: At | tuple[int, int], src: At | tuple[int, int], waits: tuple[Wait, ...] = (),
            sem: int = 0, elements: int = 8, partitions: int = 128) -> int:
        """One transfer of one descriptor; a DRAM side is (variable id, byte offset), dense."""
        d = np.zeros(1, dtype=DESCRIPTOR)[0]
        d["src_dtype"] = d["dst_dtype"] = dtypes.dtype("fp32").code
        d["size"] = (1, 1, partitions, elements)
        for side, at in (("src", src), ("dst", dst)):
            if isinstance(at, At):
                d[f"{side}_off"] = at.partition * SBUF_PARTITION_STRIDE + at.start
                d[f"{side}_step"] = (0, 0, SBUF_PARTITION_STRIDE, 4 * at.step)
            else:
                d[f"{side}_var"], d[f"{side}_off"] = at
                d[f"{side}_step"] = (0, 0, 4 * elements, 4)
        self.descriptors.append(d)
        index = self.word(engine, "dma_trigger", waits, (sem, 1))
        self.words[engine][index]["arg"], self.words[engine][index]["count"] = len(self.descriptors) - 1, 1
        return index

    def stage(self) -> Stage:
        return Stage(
            streams={e: np.array(w, dtype=WORD) for e, w in self.words.items()},
            descriptors=np.array(self.descriptors, dtype=DESCRIPTOR), variables=self.variables,
            debug=[DebugEntry(), DebugEntry(layer="layer1", op_type="Test")])


def pipeline(tiles: int, elements: int = 256, depth: int = 2, matmuls: int = 4) -> Stage:
    """Load, matmul group, activation, store per tile, double buffered; every wait is needed or implied."""
    b = Builder()
    x, y = b.variable(INPUT, tiles * 128 * elements), b.variable(OUTPUT, tiles * 128 * elements)
    size = 4 * elements
    tensor, scalar = 1, 2
    for t in range(tiles):
        slot, use = t % depth, t // depth
        load, store = 16 + slot, 16 + depth + slot
        inp, out = At(slot * size, elements), At((depth + slot) * size, elements)
        psum = bank(slot, elements)
        free = ((tensor, t - depth + 1), (load, 16 * use)) if use else ()
        b.dma("sync", inp, (x, t * 128 * size), free, load, elements)
        b.word("tensor", "load_stationary", ((load, 16 * (use + 1)),), src0=At(slot * size, 128))
        for m in range(matmuls):
            last = m == matmuls - 1
            waits = ((scalar, t - depth + 1),) if m == 0 and use else ()
            b.matmul(psum, inp, m == 0, last, waits, (tensor, 1) if last else (0, 0))
        waits = ((tensor, t + 1), (store, 16 * use)) if use else ((tensor, t + 1),)
        b.copy("scalar", out, psum, waits, (scalar, 1))
        b.dma("gpsimd", (y, t * 128 * size), out, ((scalar, t + 1), (store, 16 * use)) if use else ((scalar, t + 1),),
              store, elements)
    return b.stage()


__all__ = ["At", "BANK", "Builder", "INPUT", "OUTPUT", "SCRATCH", "TARGET", "bank", "pipeline"]
