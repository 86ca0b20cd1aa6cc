"""`TileProgram`: instructions on virtual tiles in program order, before addresses, engines' streams and semaphores.

Whoever writes a kernel calls one method per instruction (`tensor.py`, `compute.py`, `reductions.py`, and the
transfers here); loops are
Python
loops. Not responsible for order, addresses or waits: `compiler.backend.build` makes a `Stage` of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from isa import dtypes
from isa import target as targets
from isa.dtypes import DType
from isa.lang import dma
from isa.lang.compute import Elementwise
from isa.lang.errors import LangError
from isa.lang.instr import Copy, Instr
from isa.lang.reductions import Reductions
from isa.lang.tensor import Tensor
from isa.lang.tiles import DramTensor, Tile
from isa.lang.views import DramView, View
from isa.program import IN_DRAM, INPUT, OUTPUT, SCRATCH, VARIABLE_SPACES, WEIGHT, DebugEntry
from isa.spec import SPEC
from isa.target import Target
from isa.word import DMA_GATHER, DMA_OPS, DMA_SCATTER, ENGINES, PSUM, SBUF, SPACE_NAMES

AUTO = 255  # engine or queue left to the backend
_TRIGGER = SPEC.by_name["dma_trigger"].opcode
_DRAM_ONLY = ("int64", "uint64", "fp64")  # isa.dtypes: engines never address them


class TileProgram(Tensor, Elementwise, Reductions):
    """A program under construction.

    Attributes:
        target: the machine it is for.
        instrs: instructions in program order.
        tiles: on-chip tiles by id. tensors: DRAM tensors, id = position + 1.
        debug: rows of `isa.program.DebugEntry`; row 0 is empty.
    """

    def __init__(self, target: Target | str, name: str = "") -> None:
        self.target = targets.load(target)
        self.name = name
        self.instrs: list[Instr] = []
        self.tiles: list[Tile] = []
        self.tensors: list[DramTensor] = []
        self.debug: list[DebugEntry] = [DebugEntry()]
        self._rows: dict[tuple[str, str, str, str], int] = {}
        self._layer: tuple[str, str, str] = ("", "", "")
        self._macs = 0
        self._stationary: View | None = None
        self._gpsimd = self.target.engines["gpsimd"].present
        self._bank_bytes = self.target.psum_bank_bytes
        self._names: set[str] = set()
        self._row = self._debug_row("compute")

    # ---- memory
    def _tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str | DType,
        kind: str,
        data: np.ndarray | None = None,
        space: str = IN_DRAM,
    ) -> DramView:
        if name in self._names:
            raise LangError(f"two DRAM tensors are called {name!r}", code="LANG_NAME")
        if space not in VARIABLE_SPACES:
            raise LangError(f"{name!r} cannot lie in {space!r}", code="LANG_MEMORY", limit=", ".join(VARIABLE_SPACES))
        self._names.add(name)
        to = dtypes.dtype(dtype)
        sizes = tuple(int(n) for n in shape)
        tensor = DramTensor(len(self.tensors) + 1, name, kind, to, sizes, data, space)
        self.tensors.append(tensor)
        steps: list[int] = []
        step = to.size
        for n in reversed(sizes):
            steps.append(step)
            step *= n
        return DramView(tensor, 0, tuple(reversed(steps)), sizes, to)

    def input(self, name: str, shape: Sequence[int], dtype: str | DType, space: str = IN_DRAM) -> DramView:
        """An input, row-major, in DRAM; space "sbuf": handed over by the stage before, in a buffer on this core."""
        return self._tensor(name, shape, dtype, INPUT, space=space)

    def output(self, name: str, shape: Sequence[int], dtype: str | DType, space: str = IN_DRAM) -> DramView:
        """An output, row-major, in DRAM; space "sbuf": handed to the next stage, in a buffer on that one's core."""
        return self._tensor(name, shape, dtype, OUTPUT, space=space)

    def scratch(self, name: str, shape: Sequence[int], dtype: str | DType) -> DramView:
        """Temporary DRAM."""
        return self._tensor(name, shape, dtype, SCRATCH)

    def constant(self, name: str, values: np.ndarray, dtype: str | DType | None = None) -> DramView:
        """A weight: `values` as stored (cast beforehand; `dtype` only names bytes that numpy spells otherwise)."""
        to = dtypes.from_numpy(values.dtype) if dtype is None else dtypes.dtype(dtype)
        if to.size != values.dtype.itemsize:
            raise LangError(
                f"constant {name!r}: {values.dtype} values are not stored as {to.name}",
                code="LANG_DTYPE",
                help="cast the array first, e.g. values.astype(ml_dtypes.bfloat16)",
            )
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        return self._tensor(name, values.shape, to, WEIGHT, data)

    def _tile(self, space: int, shape: Sequence[int], dtype: str | DType, name: str, limit: int) -> View:
        to = dtypes.dtype(dtype)
        sizes = tuple(int(n) for n in shape)
        if not sizes or not 1 <= sizes[0] <= 128 or min(sizes) < 1:
            raise LangError(
                f"tile {name!r} {sizes}: needs 1..128 partitions and free sizes of at least 1",
                code="LANG_SHAPE",
                limit=128,
                actual=sizes,
            )
        if to.name in _DRAM_ONLY:
            raise LangError(
                f"tile {name!r}: {to.name} lives in DRAM only", code="LANG_DTYPE", help="load it bitcast to int32 pairs"
            )
        tile = Tile(len(self.tiles), name, space, sizes, to)
        if tile.bytes > limit:
            raise LangError(
                f"{tile!r} is larger than a {SPACE_NAMES[space]} partition",
                code="LANG_MEMORY",
                limit=limit,
                actual=tile.bytes,
                help="cut it into tiles",
            )
        self.tiles.append(tile)
        steps: list[int] = []
        step = 1
        for n in reversed(sizes[1:]):
            steps.append(step)
            step *= n
        return View(tile, 0, sizes[0], 0, tuple(reversed(steps)), sizes[1:], to)

    def sbuf(self, shape: Sequence[int], dtype: str | DType, name: str = "") -> View:
        """A new SBUF tile [partitions, free...]; returns the view of all of it."""
        return self._tile(SBUF, shape, dtype, name, self.target.sbuf_partition_bytes)

    def psum(self, shape: Sequence[int], dtype: str | DType = "fp32", name: str = "") -> View:
        """A new PSUM tile [partitions, free...]; larger than a bank it starts on a bank boundary."""
        return self._tile(PSUM, shape, dtype, name, self.target.psum_partition_bytes)

    # ---- debug
    def _debug_row(self, purpose: str) -> int:
        key = (*self._layer, purpose)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = len(self.debug)
            layer, op_type, source = self._layer
            self.debug.append(DebugEntry(layer, op_type, source, purpose, self._macs))
            self._macs = 0  # counted once per layer
        return row

    @contextmanager
    def layer(self, name: str, op_type: str = "", source: str = "", macs: int = 0) -> Iterator[None]:
        """Everything written inside belongs to this layer: `op_type` after fusion, `source` node names, useful
        `macs`."""
        before = self._layer, self._row
        self._layer, self._macs = (name, op_type, source), macs
        self._row = self._debug_row("compute")
        try:
            yield
        finally:
            (self._layer, self._row), self._macs = before, 0

    @contextmanager
    def purpose(self, purpose: str) -> Iterator[None]:
        """Compute instructions inside serve this purpose (relayout, transpose, ...)."""
        before, self._row = self._row, self._debug_row(purpose)
        try:
            yield
        finally:
            self._row = before

    # ---- transfers
    def dma(
        self,
        dst: View | DramView,
        src: View | DramView,
        *,
        queue: int | None = None,
        engine: str | None = None,
        purpose: str | None = None,
        accumulate: bool = False,
    ) -> None:
        """dst = src (dst += src with `accumulate`), one transfer; equal element counts in row-major order of each side.

        Either side is SBUF or DRAM. Unequal types are converted on the way where the target's DMA can. engine: which
        sequencer triggers it; queue: 0..15; both are chosen by the backend when absent.
        """
        self._transfer(dma.copies(dst, src, dma.copy_op(dst, src, accumulate)), dst, src, queue, engine, purpose)

    def dma_gather(
        self,
        dst: View | DramView,
        src_rows: View | DramView,
        index: View,
        limit: int | None = None,
        *,
        queue: int | None = None,
        engine: str | None = None,
        purpose: str | None = None,
    ) -> None:
        """dst[i] = src_rows[index[i]] along dimension 0. index: int32, [n, 1] or [1, n] in SBUF, values 0..limit-1."""
        rows = src_rows.shape[0] if limit is None else limit
        self._transfer(dma.indexed(dst, src_rows, index, rows, DMA_GATHER), dst, src_rows, queue, engine, purpose)

    def dma_scatter(
        self,
        dst_rows: View | DramView,
        src: View | DramView,
        index: View,
        limit: int | None = None,
        *,
        queue: int | None = None,
        engine: str | None = None,
        purpose: str | None = None,
    ) -> None:
        """dst_rows[index[i]] = src[i] along dimension 0; index as in `dma_gather`."""
        rows = dst_rows.shape[0] if limit is None else limit
        self._transfer(dma.indexed(dst_rows, src, index, rows, DMA_SCATTER), dst_rows, src, queue, engine, purpose)

    def _transfer(
        self,
        copies: list[Copy],
        dst: View | DramView,
        src: View | DramView,
        queue: int | None,
        engine: str | None,
        purpose: str | None,
    ) -> None:
        name = DMA_OPS[copies[0].op]
        if name not in self.target.dma.ops:
            raise LangError(
                f"the DMA of {self.target.name} has no {name} ({src!r} to {dst!r})",
                code="LANG_DMA",
                limit=", ".join(self.target.dma.ops),
                actual=name,
                help="convert with tensor_copy",
            )
        if purpose is None:
            inward, outward = isinstance(dst, View), isinstance(src, View)
            purpose = "relayout" if inward == outward else "load" if inward else "store"
        if queue is not None and not 0 <= queue < self.target.dma.queues:
            raise LangError("no such DMA queue", code="LANG_DMA", limit=self.target.dma.queues, actual=queue)
        by = AUTO if engine is None else ENGINES.index(engine)
        at = AUTO if queue is None else queue
        self.instrs.append(Instr(_TRIGGER, by, self._debug_row(purpose), op0=at, copies=copies, count=len(copies)))
