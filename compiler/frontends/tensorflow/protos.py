"""TensorFlow's protocol buffers, as the `tensorboard` package carries them, and messages parsed with clear errors.

The messages are defined in tensorflow/core/framework/*.proto and tensorflow/core/protobuf/*.proto. SavedModel itself is
not among those tensorboard has: it is two fields (saved_model.proto: 1 version, 2 repeated MetaGraphDef), read here.
"""
from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

from compiler.errors import ModelError
from compiler.frontends.files import require

_MODULES = {
    "GraphDef": "graph_pb2",
    "MetaGraphDef": "meta_graph_pb2",
    "TrackableObjectGraph": "trackable_object_graph_pb2",
    "TensorShapeProto": "tensor_shape_pb2",
}


@cache
def message(name: str) -> Any:
    """A message class. Raises: ModelError EXTRA_MISSING."""
    purpose = "to read TensorFlow models"
    require("tensorboard", "tensorflow", purpose)
    module: ModuleType = require(f"tensorboard.compat.proto.{_MODULES[name]}", "tensorflow", purpose)
    return getattr(module, name)


def parse(name: str, data: bytes, where: str) -> Any:
    """A message from its bytes. Raises: ModelError MODEL_INVALID."""
    from google.protobuf.message import DecodeError

    try:
        return message(name).FromString(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise damaged(f"the bytes are no {name}: {error}", where) from None


def parse_text(name: str, text: str, where: str) -> Any:
    """A message from protobuf's text form. Raises: ModelError MODEL_INVALID."""
    from google.protobuf import text_format

    try:
        return text_format.Parse(text, message(name)(), allow_unknown_field=True)
    except (text_format.ParseError, ValueError, RecursionError, OverflowError) as error:
        raise damaged(f"the text is no {name}: {error}", where) from None


def damaged(what: str, where: str) -> ModelError:
    """The error of a file whose content contradicts its format."""
    return ModelError(what[:300], code="MODEL_INVALID", where=where,
                      help="the file is damaged: copy or export it again")


def varint(data: bytes | memoryview, at: int, end: int, where: str) -> tuple[int, int]:
    """A base-128 number of up to 64 bits at `at`, and the position behind it. Raises: ModelError MODEL_INVALID."""
    value = shift = 0
    while True:
        if at >= end or shift > 63:
            raise damaged("a number runs over the end of its section", where)
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7


def fields(data: bytes | memoryview, where: str) -> Iterator[tuple[int, int | memoryview]]:
    """The top-level fields of a message: number, and value (a number, or bytes). Raises: ModelError MODEL_INVALID."""
    view, at = memoryview(data), 0
    while at < len(view):
        tag, at = varint(view, at, len(view), where)
        kind = tag & 7
        if kind == 0:
            number, at = varint(view, at, len(view), where)
            yield tag >> 3, number
            continue
        if kind == 2:
            size, at = varint(view, at, len(view), where)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise damaged(f"a field of wire type {kind}", where)
        if size > len(view) - at:
            raise damaged("a field is longer than the file", where)
        found = view[at : at + size]
        at += size
        yield tag >> 3, found if kind == 2 else int.from_bytes(found, "little")
