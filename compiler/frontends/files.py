"""The files of one model, as a frontend gets them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from compiler.errors import ModelError


@dataclass(frozen=True)
class ModelFiles:
    """What makes up one model.

    Attributes:
        framework: one of `compiler.frontends.FRAMEWORKS`.
        kind: what sort of file the main one is, spelled as in `compiler.frontends.formats`.
        main: the file that says what the model is (a folder for a SavedModel).
        others: further files by role ("params", "weights", "variables" ...).
        notes: sentences on what lay beside the model and was left aside.
    """

    framework: str
    kind: str
    main: Path
    others: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a package that only some models need.

    Args:
        module: its import name.
        extra: the extra of ours that installs it.
        purpose: what it is needed for, as a phrase: "to read Keras files".
    Raises: ModelError EXTRA_MISSING naming the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise
        raise ModelError(f"the package {module.split('.')[0]!r} is needed {purpose}", code="EXTRA_MISSING",
                         help=f'pip install "neuronsim[{extra}]"') from None
