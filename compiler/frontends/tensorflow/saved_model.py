"""SavedModel folders: choosing the graph by its tags, the signature by its key, and finding the variables."""
from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.tensorflow.bundle import Bundle
from compiler.frontends.tensorflow.protos import damaged, fields, parse, parse_text
from compiler.frontends.tensorflow.source import Face, Source
from compiler.frontends.tensorflow.tensors import dims_of
from compiler.frontends.tensorflow.variables import Variables

_DEFAULT = "serving_default"
#: Signatures that TensorFlow writes for itself.
_INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")


def read(folder: Path, tags: Collection[str] = (), signature: str = "", graph: Path | None = None) -> Source:
    """A SavedModel.

    Args:
        folder: with `saved_model.pb` (or `.pbtxt`) and `variables`.
        tags: of the graph wanted; () takes the one for serving, or the only one.
        signature: key; "" takes serving_default, or the only one.
        graph: the file in it that holds the graphs, where it has another name.
    Raises: ModelError MODEL_MISSING, MODEL_INVALID, SIGNATURE, TAGS; UnsupportedOp.
    """
    where = str(folder)
    meta = _choose(_meta_graphs(graph or _file(folder)), tags, where)
    found = _signature(meta, signature, where)
    nodes = {n.name: n for n in meta.graph_def.node}
    prefix = folder / "variables" / "variables"
    bundle = Bundle(prefix) if Path(f"{prefix}.index").exists() else None
    objects = meta.object_graph_def if meta.HasField("object_graph_def") else None
    return Source(
        folder.name or "model", where, nodes, {f.signature.name: f for f in meta.graph_def.library.function},
        tuple(_face(k, found.inputs[k], where) for k in sorted(found.inputs)),
        tuple(_face(k, found.outputs[k], where) for k in sorted(found.outputs)),
        Variables(bundle, nodes, objects, where))


def _file(folder: Path) -> Path:
    text = folder / "saved_model.pbtxt"
    return text if text.exists() and not (folder / "saved_model.pb").exists() else folder / "saved_model.pb"


def _meta_graphs(path: Path) -> list[Any]:
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the folder cannot be read as a SavedModel: {error.strerror}", code="MODEL_MISSING",
                         where=where, help="a SavedModel has the file saved_model.pb at its top") from None
    if path.suffix == ".pbtxt":
        return _text_graphs(data.decode("utf-8", "replace"), where)
    return [parse("MetaGraphDef", bytes(v), where) for number, v in fields(data, where)
            if number == 2 and not isinstance(v, int)]


def _text_graphs(text: str, where: str) -> list[Any]:
    """Text form of SavedModel: each `meta_graphs { ... }` at the top is one graph's text."""
    found, depth, start, quoted = [], 0, 0, ""
    at = 0
    while at < len(text):
        c = text[at]
        if quoted:
            at += c == "\\"
            quoted = "" if c == quoted else quoted
        elif c in "\"'":
            quoted = c
        elif c == "{":
            start = at + 1 if not depth else start
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0:
                found.append(parse_text("MetaGraphDef", text[start:at], where))
        at += 1
    if depth or quoted:
        raise damaged("the text ends within a message", where)
    return found


def _choose(graphs: list[Any], tags: Collection[str], where: str) -> Any:
    if not graphs:
        raise damaged("the SavedModel holds no graph", where)
    by_tags = [(sorted(g.meta_info_def.tags), g) for g in graphs]
    wanted = sorted(tags) or ["serve"]
    exact = [g for t, g in by_tags if t == wanted]
    if exact:
        return exact[0]
    if not tags and len(graphs) == 1:
        return graphs[0]
    raise ModelError("no graph of the SavedModel has these tags", code="TAGS", where=where, actual=", ".join(wanted),
                     limit="; ".join("+".join(t) or "(none)" for t, _ in by_tags), help="save one for serving")


def _signature(meta: Any, key: str, where: str) -> Any:
    known = sorted(k for k in meta.signature_def if k not in _INTERNAL)
    usable = [k for k in known if meta.signature_def[k].outputs]
    chosen = key or (_DEFAULT if _DEFAULT in usable else usable[0] if len(usable) == 1 else "")
    if chosen in known:
        return meta.signature_def[chosen]
    if not known:
        raise ModelError("the SavedModel has no signature, so its inputs and results are not known", code="SIGNATURE",
                         where=where, help="save it with signatures=model.some_function.get_concrete_function(...)")
    raise ModelError(f"the SavedModel has no signature {chosen!r}" if chosen else
                     "the SavedModel has several signatures and none is serving_default", code="SIGNATURE", where=where,
                     limit=", ".join(known), actual=chosen or None, help="choose one of the names in `limit`")


def _face(key: str, info: Any, where: str) -> Face:
    if info.WhichOneof("encoding") not in ("name", None):
        raise UnsupportedOp(f"{key!r} is no dense tensor", code="ELEMENT_TYPE", where=where,
                            help="save a signature whose inputs and results are dense tensors")
    return Face(key, info.name, dims_of(info.tensor_shape) if info.HasField("tensor_shape") else None, info.dtype)
