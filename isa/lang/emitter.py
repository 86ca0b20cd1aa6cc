"""What every instruction method shares: codes, checks of operands, and the engine an instruction may run on."""

from __future__ import annotations

from isa.lang.errors import LangError
from isa.lang.instr import Instr
from isa.lang.views import View
from isa.spec import SPEC
from isa.word import ENGINES, PSUM

Scalar = float | View

CODE: dict[str, int] = {name: i.opcode for name, i in SPEC.by_name.items()}
ENGINE: dict[str, dict[str, int]] = {name: {e: ENGINES.index(e) for e in i.engines} for name, i in SPEC.by_name.items()}
GPSIMD = ENGINES.index("gpsimd")
TENSOR = ENGINES.index("tensor")


def op_code(table: dict[str, int], name: str, what: str) -> int:
    """Code of an operation or function. Raises: LangError with the known names."""
    code = table.get(name)
    if code is None:
        raise LangError(f"unknown {what} {name!r}", code="LANG_OP", help="known: " + ", ".join(table))
    return code


def agree(dst: View, *others: View) -> None:
    """Raise LangError unless all views have dst's partitions and elements per partition."""
    count = dst.pattern()[2]
    for v in others:
        if v.partitions != dst.partitions or v.pattern()[2] != count:
            raise LangError(
                f"{v!r} does not match {dst!r}",
                code="LANG_SHAPE",
                limit=f"{dst.partitions} x {count}",
                actual=f"{v.partitions} x {v.pattern()[2]}",
                help="broadcast repeats a dimension of size 1",
            )


def column(v: View, dst: View) -> View:
    """`v`, checked to be a [P, 1] column over dst's partitions."""
    if v.partitions != dst.partitions or v.pattern()[2] != 1:
        raise LangError(
            f"{v!r} must hold one element for each partition of {dst!r}",
            code="LANG_SHAPE",
            limit=(dst.partitions, 1),
            actual=v.shape,
        )
    return v


def width(v: View, count: int) -> View:
    """`v`, checked to hold `count` elements per partition."""
    if v.pattern()[2] != count:
        raise LangError(
            f"{v!r} must hold {count} elements per partition", code="LANG_SHAPE", limit=count, actual=v.count
        )
    return v


def not_both_psum(a: View, b: View) -> None:
    """Raise LangError when both inputs are in PSUM, which one instruction cannot read."""
    if a.tile.space == PSUM and b.tile.space == PSUM:
        raise LangError(f"{a!r} and {b!r} are both in PSUM: one of two inputs must be in SBUF", code="LANG_MEMORY")


def agree_partitions(dst: View, *others: View) -> None:
    """Raise LangError unless all views have dst's partitions."""
    for v in others:
        if v.partitions != dst.partitions:
            raise LangError(
                f"{v!r} and {dst!r} differ in partitions", code="LANG_SHAPE", limit=dst.partitions, actual=v.partitions
            )


class Emitter:
    """Mixin of `TileProgram`: needs `instrs`, `_row` (current debug row), `_gpsimd` (present), `_bank_bytes`."""

    instrs: list[Instr]
    _row: int
    _gpsimd: bool
    _bank_bytes: int
    _stationary: View | None

    def _add(
        self, name: str, engine: str, dst: View, src0: View | None = None, src1: View | None = None, **slots: object
    ) -> None:
        code = ENGINE[name].get(engine)
        if code is None:
            raise LangError(
                f"{name} does not run on {engine}", code="LANG_ENGINE", limit=", ".join(ENGINE[name]), actual=engine
            )
        if code == GPSIMD:
            self._check_gpsimd(name, dst, src0, src1)
        self.instrs.append(Instr(CODE[name], code, self._row, dst, src0, src1, **slots))  # type: ignore[arg-type]

    def _check_gpsimd(self, name: str, *views: View | None) -> None:
        if not self._gpsimd:
            raise LangError(f"{name}: this target has no gpsimd engine", code="LANG_ENGINE")
        for v in views:
            if v is not None and v.tile.space == PSUM:
                raise LangError(f"{name}: gpsimd cannot reach PSUM ({v!r})", code="LANG_MEMORY")
