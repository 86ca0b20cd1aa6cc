"""The one root of every error a user can meet, and the errors of the `isa` package.

An error names a code, what is wrong, where, the limit and the actual value, and what to do about it; each is an
attribute, so that callers and tests match fields and not text.
"""
from __future__ import annotations

from collections.abc import Sequence


class NeuronError(Exception):
    """Root of all errors raised for bad input.

    Attributes:
        code: stable upper-case identifier, for instance ``NEFF_HASH``.
        what: one sentence, what was found and what was expected.
        where: file, node, instruction, section ... or "".
        limit, actual: the two sides of a violated limit, or None.
        help: what to do next, an exact command where there is one, or "".
    """

    code = "ERROR"

    def __init__(
        self,
        what: str,
        *,
        code: str | None = None,
        where: str = "",
        limit: object = None,
        actual: object = None,
        help: str = "",
    ) -> None:
        self.code = code or type(self).code
        self.what = what
        self.where = where
        self.limit = limit
        self.actual = actual
        self.help = help
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"error[{self.code}]: {self.what}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.limit is not None or self.actual is not None:
            sides = (("limit", self.limit), ("actual", self.actual))
            lines.append("  " + "   ".join(f"{name}: {value}" for name, value in sides if value is not None))
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


class ErrorList(NeuronError):
    """Several independent errors found in one go, reported together."""

    code = "MANY"

    def __init__(self, errors: Sequence[NeuronError]) -> None:
        self.errors = list(errors)
        super().__init__(f"{len(self.errors)} errors")

    def __str__(self) -> str:
        return "\n".join(str(e) for e in self.errors)


class IsaError(NeuronError):
    """Anything wrong with instruction tables, words, listings or containers."""

    code = "ISA"


class SpecError(IsaError):
    """An instruction table contradicts itself."""

    code = "SPEC"


class TargetError(IsaError):
    """A target description is unknown or incomplete."""

    code = "TARGET"


class EncodingError(IsaError):
    """A field does not fit its place in the instruction word."""

    code = "ENCODING"


class IllegalInstruction(IsaError):
    """A word or descriptor that the validator refuses."""

    code = "ILLEGAL_INSTRUCTION"


class AssemblyError(IsaError):
    """A listing that does not parse; `line` and `column` count from 1."""

    code = "ASSEMBLY"

    def __init__(self, what: str, *, line: int, column: int = 1, help: str = "", where: str = "") -> None:
        self.line, self.column = line, column
        super().__init__(what, where=where or f"line {line}, column {column}", help=help)


class ContainerError(IsaError):
    """A NEFF file that cannot be trusted; `section` and byte `offset` say where."""

    code = "NEFF"

    def __init__(
        self,
        what: str,
        *,
        code: str | None = None,
        section: str = "",
        offset: int | None = None,
        where: str = "",
        limit: object = None,
        actual: object = None,
        help: str = "",
    ) -> None:
        self.section, self.offset = section, offset
        place = ", ".join(p for p in (where, section, "" if offset is None else f"offset {offset}") if p)
        super().__init__(what, code=code, where=place, limit=limit, actual=actual, help=help)
