"""The error of tile programs: a mistake in a view or an instruction call, raised at the call."""

from __future__ import annotations

from isa.errors import IsaError


class LangError(IsaError):
    """A view or an instruction that no machine word can express, found when it is written."""

    code = "LANG"
