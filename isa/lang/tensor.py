"""The instructions of the tensor engine. Meaning and cost: `isa/tables/tensor.yaml`."""

from __future__ import annotations

from isa.dtypes import SIZES
from isa.lang.emitter import CODE, TENSOR, Emitter
from isa.lang.errors import LangError
from isa.lang.instr import Instr
from isa.lang.views import View
from isa.word import PSUM, SBUF

_ACCUMULATOR_BYTES = 4  # PSUM accumulates 4-byte elements; nki/guides/architecture/trainium_inferentia2_arch.rst


class Tensor(Emitter):
    """Mixin of `TileProgram`."""

    def load_stationary(self, src: View) -> None:
        """Make src [K, M] (SBUF, K, M <= 128) the stationary matrix of the matmuls that follow."""
        if src.tile.space != SBUF or src.pattern()[2] > 128:
            raise LangError(
                f"{src!r}: a stationary matrix is [K <= 128, M <= 128] in SBUF",
                code="LANG_SHAPE",
                limit=128,
                actual=src.count,
            )
        self._stationary = src
        self.instrs.append(Instr(CODE["load_stationary"], TENSOR, self._row, None, src))

    def matmul(
        self, dst: View, moving: View, *, start: bool = True, stop: bool = True, transpose: bool = False
    ) -> None:
        """dst[M, N] (PSUM) = or += stationary[K, M]^T x moving[K, N]; N <= 512 and inside one PSUM bank.

        start overwrites, otherwise the product is added; stop ends the group. transpose is for accounting only.
        """
        s = self._stationary
        if s is None:
            raise LangError("matmul before any load_stationary", code="LANG_ORDER")
        if moving.tile.space != SBUF or dst.tile.space != PSUM:
            raise LangError(f"matmul reads SBUF and writes PSUM, not {moving!r} to {dst!r}", code="LANG_MEMORY")
        n, m = moving.pattern()[2], s.pattern()[2]
        _, _, count, lo, hi = dst.pattern()
        if dst.partitions != m or count != n or n > 512:
            raise LangError(
                f"matmul of [{s.partitions}, {m}] and {moving.shape} into {dst!r}",
                code="LANG_SHAPE",
                limit=f"{m} x {n}, N <= 512",
                actual=f"{dst.partitions} x {count}",
            )
        if moving.partitions != s.partitions or moving.partition != s.partition:
            raise LangError(
                f"{moving!r} must lie on the partitions of the stationary {s!r}",
                code="LANG_PARTITION",
                limit=(s.partition, s.partitions),
                actual=(moving.partition, moving.partitions),
            )
        if lo // self._bank_bytes != (hi - 1) // self._bank_bytes:
            raise LangError(
                f"{dst!r} crosses a PSUM bank", code="LANG_BANK", limit=self._bank_bytes, actual=f"{lo}..{hi - 1}"
            )
        if SIZES[dst.dtype.code] != _ACCUMULATOR_BYTES:
            raise LangError(
                f"{dst!r}: matmul accumulates fp32 (int32 for int8)", code="LANG_DTYPE", actual=dst.dtype.name
            )
        flags = (1 if start else 0) | (2 if stop else 0) | (4 if transpose else 0)
        self.instrs.append(Instr(CODE["matmul"], TENSOR, self._row, dst, moving, flags=flags, updates=not start))
