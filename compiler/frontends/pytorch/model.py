"""The PyTorch frontend: TorchScript files (`.pt`, `.pth`) and exported programs (`.pt2`)."""

from __future__ import annotations

from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from compiler.frontends.pytorch import exported, script
from compiler.frontends.pytorch.archive import Archive
from compiler.frontends.pytorch.aten import TABLE
from compiler.frontends.pytorch.refused import REFUSED
from compiler.ir import Graph


def load(files: ModelFiles, given: Given) -> Graph:
    """The frontend's face (see `compiler.frontends.load`). Raises: as `script.load` and `exported.load`."""
    archive = Archive(files.main)
    if files.kind == "pt2":
        return exported.load(archive, given)
    return script.load(archive, given)


def operators() -> dict[str, str]:
    """See `compiler.frontends.operators`: ATen's, as exported programs call them.

    For TorchScript files the exporter of the installed torch has a list of its own.
    """
    return dict(sorted({**dict.fromkeys(TABLE, ""), **REFUSED}.items()))
