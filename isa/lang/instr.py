"""One instruction of a tile program: the slots of a word, with views in place of addresses."""

from __future__ import annotations

from collections.abc import Iterator

from isa.lang.axes import Ints
from isa.lang.views import DramView, View


class Copy:
    """One DMA descriptor before addresses exist.

    Attributes:
        op: `isa.word.DMA_COPY` ...
        dst, src: the tile view or DRAM view each side belongs to (its tile, tensor and dtype count here).
        dst_off, src_off: bytes; of an on-chip side partition * SBUF_PARTITION_STRIDE + byte inside the tile.
        sizes: up to four, elements. dst_steps, src_steps: bytes.
        index: int32 index view of gather and scatter, else None. index_step: bytes. index_limit: valid indices.
    """

    __slots__ = (
        "op",
        "dst",
        "src",
        "dst_off",
        "src_off",
        "sizes",
        "dst_steps",
        "src_steps",
        "index",
        "index_step",
        "index_limit",
    )

    def __init__(
        self,
        op: int,
        dst: View | DramView,
        src: View | DramView,
        dst_off: int,
        src_off: int,
        sizes: Ints,
        dst_steps: Ints,
        src_steps: Ints,
        index: View | None = None,
        index_step: int = 0,
        index_limit: int = 0,
    ) -> None:
        self.op = op
        self.dst = dst
        self.src = src
        self.dst_off = dst_off
        self.src_off = src_off
        self.sizes = sizes
        self.dst_steps = dst_steps
        self.src_steps = src_steps
        self.index = index
        self.index_step = index_step
        self.index_limit = index_limit


class Instr:
    """A word's slots. `dst1` is the second result (encoded in src1's place); `pattern` the steps of iota and
    affine_select; `copies` the descriptors of a dma_trigger; `updates` says that dst is also read."""

    __slots__ = (
        "opcode",
        "engine",
        "dst",
        "src0",
        "src1",
        "dst1",
        "ptr0",
        "ptr1",
        "imm0",
        "imm1",
        "op0",
        "op1",
        "func",
        "flags",
        "axes",
        "count",
        "arg",
        "pattern",
        "debug",
        "copies",
        "updates",
    )

    def __init__(
        self,
        opcode: int,
        engine: int,
        debug: int,
        dst: View | None = None,
        src0: View | None = None,
        src1: View | None = None,
        *,
        dst1: View | None = None,
        ptr0: View | None = None,
        ptr1: View | None = None,
        imm0: float = 0.0,
        imm1: float = 0.0,
        op0: int = 0,
        op1: int = 0,
        func: int = 0,
        flags: int = 0,
        axes: int = 0,
        count: int = 0,
        arg: int = 0,
        pattern: Ints | None = None,
        copies: list[Copy] | None = None,
        updates: bool = False,
    ) -> None:
        self.opcode = opcode
        self.engine = engine
        self.debug = debug
        self.dst = dst
        self.src0 = src0
        self.src1 = src1
        self.dst1 = dst1
        self.ptr0 = ptr0
        self.ptr1 = ptr1
        self.imm0 = imm0
        self.imm1 = imm1
        self.op0 = op0
        self.op1 = op1
        self.func = func
        self.flags = flags
        self.axes = axes
        self.count = count
        self.arg = arg
        self.pattern = pattern
        self.copies = copies
        self.updates = updates

    def reads(self) -> Iterator[View]:
        """On-chip views a compute instruction reads."""
        for v in (self.src0, self.src1, self.ptr0, self.ptr1):
            if v is not None:
                yield v
        if self.updates and self.dst is not None:
            yield self.dst

    def writes(self) -> Iterator[View]:
        """On-chip views a compute instruction writes."""
        if self.dst is not None:
            yield self.dst
        if self.dst1 is not None:
            yield self.dst1
