"""Models cut behind a node: the user gives the node's value as an input, and what led to it is left out."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from compiler.errors import ShapeError, UnsupportedOp
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.tensorflow.catalogue import reason
from compiler.frontends.tensorflow.source import Face, Source
from compiler.frontends.tensorflow.tensors import dtype_name

#: TensorFlow's number of the element type of texts.
STRING = 7
#: Attributes that state the type of a node's first result, the surest first.
_TYPES = ("DstT", "element_dtype", "T", "dtype", "Tparams")
#: Operators with texts that only save and restore variables.
_SAVING = frozenset({"StaticRegexFullMatch", "StringJoin"})
_HELP = "cut the model behind it and give a later node's value as an input: --input-shape NODE:1x224x224x3"


def cuts(source: Source, given: Given, faces: Iterable[str]) -> list[Declared]:
    """Inputs that the user names and that are nodes of the graph or of a function of it."""
    known = set(faces)
    found = []
    for name in dict.fromkeys((*given.shapes, *given.dtypes)):
        node = None if name in known else _named(source, name)
        if node is not None:
            dtype = next((node.attr[a].type for a in _TYPES if a in node.attr and node.attr[a].type), 0)
            stated = dtype_name(dtype, source.where) if dtype and dtype != STRING else ""
            found.append(Declared(name, None, given.dtypes.get(name) or stated, "float32"))
    return found


def _inner(source: Source) -> Iterator[Any]:
    for function in source.functions.values():
        yield from function.node_def


def _named(source: Source, name: str) -> Any:
    """A node by its name, or by its name behind those of the calls around it."""
    return source.nodes.get(name) or next(
        (n for n in _inner(source) if name == n.name or name.endswith("/" + n.name)), None)


def check_used(wanted: Iterable[str], used: Iterable[str], where: str) -> None:
    """Raises: ShapeError INPUT_NAME for a node that no result needs, or that is in a function under another name."""
    for name in sorted(set(wanted) - set(used)):
        raise ShapeError(f"no result needs the node {name!r} that is given as an input", code="INPUT_NAME", actual=name,
                         where=where, help="name a node with those of the calls around it, as `inspect` shows them")


def text_input(source: Source, face: Face) -> UnsupportedOp:
    """The error of an input of texts, with the nodes that would have to read them."""
    readers = [f"{n.name!r} ({n.op})" for n in (*source.nodes.values(), *_inner(source))
               if "outside the model" in reason(n.op) and n.op not in _SAVING]
    shown = ", ".join(readers[:3]) + (f" and {len(readers) - 3} more" if len(readers) > 3 else "")
    return UnsupportedOp(f"the input {face.name!r} is text or a file's bytes, which stay outside the model",
                         code="ELEMENT_TYPE", where=source.where, actual=f"read by {shown}" if shown else None,
                         help=_HELP)
