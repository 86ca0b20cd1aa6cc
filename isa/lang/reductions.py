"""Reductions, statistics and the instructions of the gpsimd engine. Meaning and cost: `isa/tables/vector.yaml`,
`isa/tables/gpsimd.yaml`."""

from __future__ import annotations

from collections.abc import Sequence

from isa.lang.axes import Ints
from isa.lang.emitter import CODE, ENGINE, Emitter, agree, agree_partitions, op_code, width
from isa.lang.errors import LangError
from isa.lang.instr import Instr
from isa.lang.views import View
from isa.spec import ALU_OPS


class Reductions(Emitter):
    """Mixin of `TileProgram`."""

    # ---- reductions and statistics
    def tensor_reduce(self, dst: View, src: View, op: str, axes: int = 1, *, negate: bool = False) -> None:
        """dst = reduce op over the `axes` innermost free dimensions of src (as written, before any merging)."""
        kept = len(src.sizes) - axes
        if not 1 <= axes <= len(src.sizes):
            raise LangError(
                f"{src!r} has no {axes} free dimensions to reduce", code="LANG_SHAPE", limit=len(src.sizes), actual=axes
            )
        count = 1
        for n in src.sizes[:kept]:
            count *= n
        if dst.partitions != src.partitions or dst.pattern()[2] != count:
            raise LangError(
                f"{dst!r} cannot take a reduction of {src!r} over {axes} dimensions",
                code="LANG_SHAPE",
                limit=(src.partitions, count),
                actual=(dst.partitions, dst.count),
            )
        src = src.kept_dims(kept, axes)
        reduced = 1
        for n in src.sizes[kept:]:
            reduced *= n
        inner, dims = 1, 0
        for n in reversed(src.pattern()[1]):  # encoded dimensions that make up the reduced ones
            if inner == reduced and dims:
                break
            inner, dims = inner * n, dims + 1
        self._add(
            "tensor_reduce",
            "vector",
            dst,
            src,
            op0=op_code(ALU_OPS, op, "operation"),
            axes=dims,
            flags=1 if negate else 0,
        )

    def bn_stats(self, dst: View, src: View) -> None:
        """dst[P, 6] fp32 = (count, mean, count * variance) of the even, then of the odd elements of src[P, N <=
        512]."""
        agree_partitions(dst, src)
        self._add("bn_stats", "vector", width(dst, 6), src)

    def bn_aggr(self, dst: View, src: View) -> None:
        """dst[P, 2] = mean and population variance of src[P, 3k] triples."""
        agree_partitions(dst, src)
        self._add("bn_aggr", "vector", width(dst, 2), src)

    def max8(self, dst: View, src: View) -> None:
        """dst[P, 8] = the eight largest elements of each partition, descending."""
        agree_partitions(dst, src)
        self._add("max8", "vector", width(dst, 8), src)

    def find_index8(self, dst: View, src: View, values: View) -> None:
        """dst[P, 8] (uint32 or uint16) = first index in src of each of values[P, 8]."""
        agree_partitions(dst, src, values)
        self._add("find_index8", "vector", width(dst, 8), src, width(values, 8))

    def match_replace8(self, dst: View, src: View, values: View, fill: float) -> None:
        """dst = src with the first match of each of values[P, 8] replaced by `fill`."""
        agree(dst, src)
        agree_partitions(dst, values)
        self._add("match_replace8", "vector", dst, src, width(values, 8), imm0=fill)

    def transpose(self, dst: View, src: View) -> None:
        """dst[F, P] = src[P, F], both at most 32 x 32, on the vector engine."""
        if dst.partitions != src.count or src.partitions != dst.count or max(dst.partitions, dst.count) > 32:
            raise LangError(
                f"transpose of {src!r} into {dst!r}",
                code="LANG_SHAPE",
                limit="32 x 32, sides exchanged",
                actual=(src.shape, dst.shape),
            )
        self._add("transpose", "vector", dst, src)

    # ---- gpsimd
    def iota(self, dst: View, steps: Sequence[int], base: int = 0, channel: int = 0) -> None:
        """dst[p, i...] = base + channel * p + sum of steps[d] * i[d]; one step for each free dimension of dst."""
        self._add(
            "iota", "gpsimd", dst.unmerged(), pattern=_steps(dst, steps), arg=base & 0xFFFFFFFF, count=channel & 0xFFFF
        )

    def affine_select(
        self, dst: View, src: View, steps: Sequence[int], op: str, fill: float, base: int = 0, channel: int = 0
    ) -> None:
        """dst = src where (base + channel * p + sum of steps[d] * i[d]) op 0, else `fill`."""
        agree(dst, src)
        if src.sizes != dst.sizes:
            raise LangError(f"affine_select: {src!r} and {dst!r} need equal dimensions", code="LANG_SHAPE")
        self._add(
            "affine_select",
            "gpsimd",
            dst.unmerged(),
            src.unmerged(),
            pattern=_steps(dst, steps),
            op0=op_code(ALU_OPS, op, "operation"),
            imm0=fill,
            arg=base & 0xFFFFFFFF,
            count=channel & 0xFFFF,
        )

    def partition_reduce(self, dst: View, src: View, op: str) -> None:
        """dst[1, N] = reduce op over the partitions of src[P, N]."""
        if dst.partitions != 1 or dst.count != src.count:
            raise LangError(
                f"partition_reduce of {src!r} into {dst!r}", code="LANG_SHAPE", limit=(1, src.count), actual=dst.shape
            )
        self._add("partition_reduce", "gpsimd", dst, src, op0=op_code(ALU_OPS, op, "operation"))

    def nop(self, engine: str) -> None:
        """Occupy an engine for one instruction without effect."""
        self.instrs.append(Instr(CODE["nop"], ENGINE["nop"][engine], self._row))


def _steps(dst: View, steps: Sequence[int]) -> Ints:
    if len(steps) != len(dst.sizes):
        raise LangError(
            f"one step for each free dimension of {dst!r}", code="LANG_SHAPE", limit=len(dst.sizes), actual=len(steps)
        )
    return (0,) * (4 - len(steps)) + tuple(steps)
