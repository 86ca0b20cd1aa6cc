"""From the files of a TensorFlow model to the graph."""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from compiler.errors import CompileError, ModelError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.tensorflow import converters, cut, frozen, saved_model
from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.catalogue import listed
from compiler.frontends.tensorflow.frames import reaching
from compiler.frontends.tensorflow.importer import Importer
from compiler.frontends.tensorflow.source import Face, Source
from compiler.frontends.tensorflow.tensors import dtype_name
from compiler.frontends.tensorflow.values import Gone, Sparse, Text
from compiler.ir import Graph


def load(files: ModelFiles, given: Given, tags: Collection[str] = (), signature: str = "") -> Graph:
    """Read a frozen graph or a SavedModel.

    Args:
        tags, signature: which graph and which function of a SavedModel, see `saved_model.read`.
    Raises: CompileError, ErrorList: see the modules of this package.
    """
    return read(files, given, tags, signature)[0]


def read(files: ModelFiles, given: Given, tags: Collection[str] = (),
         signature: str = "") -> tuple[Graph, dict[str, str]]:
    """`load`, and the operator type of every node that the graph stands for, by the node's name."""
    converters.load()
    given = replace(given, shapes={_plain(k): v for k, v in given.shapes.items()},
                    dtypes={_plain(k): v for k, v in given.dtypes.items()})
    if files.kind == "savedmodel":
        return build(_wanted(saved_model.read(files.main, tags, signature, files.others.get("graph")), given), given)
    return build(frozen.read(files.main, files.kind == "frozen_pbtxt", given.outputs), given)


def operators() -> dict[str, str]:
    """Every operator type of TensorFlow: "" where a model may use it, else the reason why not."""
    from compiler.frontends.tensorflow.registry import CONVERTERS

    converters.load()
    return listed(CONVERTERS)


def build(source: Source, given: Given) -> tuple[Graph, dict[str, str]]:
    """The graph of a model, and operator types by node. Raises: as `load`."""
    b = GraphBuilder(source.name, source.where)
    importer = Importer(source, b)
    defaults = [_default(source, name) for name in given.shapes if source.frozen]
    faces = [*source.inputs, *(d for d in defaults if d is not None)]
    inner = cut.cuts(source, given, [f.name for f in faces])
    reached = reaching(source, [d.name for d in inner]) if source.frozen else ()
    needed = [f for f in faces if f in defaults or not source.frozen or _plain(f.ref) in reached]
    texts = [f for f in needed if f.dtype == cut.STRING]
    if texts and not inner:
        raise cut.text_input(source, texts[0])
    needed = [f for f in needed if f not in texts]
    names = b.inputs([*(_declared(i, source.where) for i in needed), *inner], given)
    importer.main.results.update({_plain(f.ref): [Text()] for f in texts})
    importer.cuts = {d.name: name for d, name in zip(inner, names[len(needed):], strict=True)}
    for face, name in zip(needed, names[:len(needed)], strict=True):
        node, _, index = face.ref.partition(":")
        if index not in ("", "0"):
            raise ModelError(f"the input {face.name!r} is a later output of its node", code="MODEL_INVALID",
                             where=source.where)
        importer.main.results[node] = [name]
    values = importer.evaluate(importer.main, [o.ref for o in source.outputs])
    cut.check_used(importer.cuts, importer.cut, source.where)
    importer.check()
    guessed = source.frozen and not given.outputs and any(isinstance(v, str) for v in values)
    for face, value in zip(source.outputs, values, strict=True):
        if isinstance(value, Sparse):
            value = Call(importer, importer.main, source.nodes[face.ref.partition(":")[0]], [value]).x()
        if not isinstance(value, str):
            if guessed:
                continue  # a list or a branch not taken that nobody reads is no result
            raise _no_tensor(face, value, source)
        b.output(value, face.name)
        if source.frozen and not given.outputs:
            _further(importer, face)
    return b.finish(), importer.operators


def _further(importer: Importer, face: Face) -> None:
    """Later outputs of a node whose first one is a result, as "node:1" ...; statistics of batch norm are none."""
    node = importer.source.nodes[face.ref]
    if node.op.startswith(("FusedBatchNorm", "CudnnRNN", "BlockLSTM")):
        return
    for k, value in enumerate(importer.main.results[face.ref][1:], 1):
        if isinstance(value, str):
            importer.b.output(value, f"{face.name}:{k}")


def _no_tensor(face: Face, value: Any, source: Source) -> CompileError:
    why = "is never computed: it is on a branch that is not taken" if isinstance(value, Gone) else "is no tensor"
    return UnsupportedOp(f"the result {face.name!r} {why}", where=source.where)


def _plain(name: str) -> str:
    return name[:-2] if name.endswith(":0") else name


def _wanted(source: Source, given: Given) -> Source:
    """A SavedModel's results as the user chose them, by key of the signature or by node."""
    if not given.outputs:
        return source
    by_key = {o.name: o for o in source.outputs}
    return replace(source, outputs=tuple(by_key.get(name) or Face(name, name) for name in given.outputs))


def _default(source: Source, name: str) -> Face | None:
    """A placeholder with a default that the user names as an input."""
    node = source.nodes.get(name)
    if node is None or node.op != "PlaceholderWithDefault":
        return None
    return Face(name, name, frozen.placeholder_dims(node), node.attr["dtype"].type)


def _declared(face: Face, where: str) -> Declared:
    return Declared(face.name, face.dims, dtype_name(face.dtype, f"{where}: input {face.name!r}") if face.dtype else "")
