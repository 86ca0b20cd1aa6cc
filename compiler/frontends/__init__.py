"""Frontends: each turns one framework's model files into a `compiler.ir.Graph`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.frontends.files import ModelFiles
    from compiler.frontends.inputs import Given
    from compiler.ir import Graph

#: Each is a package `compiler.frontends.<name>` with a module `model` that has `load(files, given)` and `operators()`.
FRAMEWORKS: tuple[str, ...] = ("onnx", "pytorch", "tensorflow", "keras", "tflite", "mxnet", "xgboost", "darknet")


def load(path: str | Path, given: Given | None = None, framework: str | None = None) -> Graph:
    """Read a model, whatever framework saved it, into a graph with static shapes.

    Args:
        path: a model file, one file of several that belong together, a folder, or an archive of these.
        given: what the user says about inputs and outputs.
        framework: one of `FRAMEWORKS`; None finds out from the content.
    Raises:
        ModelError: MODEL_MISSING, MODEL_FORMAT, MODEL_AMBIGUOUS, MODEL_INCOMPLETE, ARCHIVE_*, the frontend's own.
        ShapeError, UnsupportedOp, ErrorList: as `compiler.frontends.inputs.resolve` and the frontends say.
    """
    from compiler.frontends.inputs import Given
    from compiler.frontends.package import open_model

    with open_model(Path(path), framework) as files:
        return load_files(files, given or Given())


def load_files(files: ModelFiles, given: Given) -> Graph:
    """`load` for files that were found already."""
    from compiler.frontends.outputs import select

    frontend = importlib.import_module(f"compiler.frontends.{files.framework}.model")
    graph: Graph = frontend.load(files, given)
    select(graph, given.outputs)
    graph.source = {"framework": files.framework, "kind": files.kind}
    graph.notes = [*files.notes, *graph.notes]
    return graph


def operators(framework: str) -> dict[str, str]:
    """The operators (layers) of a framework by name: "" where a model may use them, else the reason why it may not."""
    found: dict[str, str] = importlib.import_module(f"compiler.frontends.{framework}.model").operators()
    return found
