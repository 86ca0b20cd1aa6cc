"""Finds out from a file's content what it is: a table of small tests, asked in order.

Read are at most the first 64 KiB, the directory of a zip file, and the outermost fields of a protocol buffer.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from compiler.errors import ModelError
from compiler.frontends import foreign, wire
from compiler.frontends.formats import Found, Refused

_HEAD = 1 << 16
Answer = Found | Refused | None


class Peek:
    """The first bytes and the size of a file, and its directory when it is a zip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.head = file.read(_HEAD)
            self.size = file.seek(0, 2)
            file.seek(max(0, self.size - 8))
            self.tail = file.read(8)

    @cached_property
    def names(self) -> list[str]:
        """Names of a zip's entries; [] when it is none, or its directory cannot be read."""
        from compiler.frontends.archive import checked_zip

        if not self.head.startswith(b"PK"):
            return []
        try:
            with checked_zip(self.path) as file:
                return file.namelist()
        except ModelError:
            return []

    @cached_property
    def fields(self) -> list[wire.Field]:
        """Outermost fields of the file read as a protocol buffer."""
        with self.path.open("rb") as file:
            return list(wire.fields(file))

    @cached_property
    def text(self) -> str:
        """The head as text without blanks and comments in front; "" for binary data."""
        if b"\0" in self.head:
            return ""
        return re.sub(r"\A(\s|[#;].*\n)*", "", self.head.decode("utf-8-sig", "replace"))

    def entry(self, name: str) -> bool:
        """Whether a zip has the entry, at the top or in its one folder."""
        return any(n == name or n.partition("/")[2] == name for n in self.names)

    def below(self, folder: str) -> bool:
        """Whether a zip has entries in a folder, at the top or in its one folder."""
        return any(f"/{folder}/" in f"/{n}" for n in self.names)


def identify(path: Path) -> Answer:
    """What a file is; None for an archive or for what nobody knows. Raises: ModelError MODEL_MISSING (not readable)."""
    try:
        peek = Peek(path)
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}", code="MODEL_MISSING",
                         where=str(path)) from None
    return next((found for test in _TESTS if (found := test(peek)) is not None), None)


# ---- containers
_LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # protocol 2, LONG1 of torch's magic number


def _empty(peek: Peek) -> Answer:
    if peek.size:
        return None
    return Refused("the model file is empty", "export or copy the model again; failed downloads leave such files",
                   "MODEL_EMPTY")  # fmt: skip


def _zip(peek: Peek) -> Answer:
    if not peek.names:
        return None
    if peek.entry("config.json") and peek.entry("model.weights.h5"):
        return Found("keras", "keras")
    if peek.entry("constants.pkl") and peek.below("code"):
        return Found("pytorch", "torchscript")
    if peek.entry("serialized_exported_program.json") or (peek.entry("archive_format") and peek.below("models")):
        return Found("pytorch", "pt2")
    if peek.entry("archive_format"):
        return Refused("the file is a PyTorch package without an exported program", foreign.EXPORT)
    if peek.entry("data.pkl") or peek.entry(".data/extern_modules"):
        return foreign.TORCH_PICKLE
    if all(n.endswith(".npy") for n in peek.names):
        return Refused("the file holds numpy arrays (.npz), no model", "give the model's own file")
    return None


#: Protocols 2 to 5 by their number, the first two by what containers and classes start with there.
_PICKLE = re.compile(rb"\x80[\1-\5]|[]}(]q\0|\([dli]p?[\w.]*\n|c[\w.]+\n\w+\n[pq(]")


def _pickle(peek: Peek) -> Answer:
    """A pickle, or a compressed one as joblib writes."""
    if peek.head.startswith(_LEGACY_TORCH):
        return foreign.TORCH_PICKLE
    return foreign.PICKLE if any(_PICKLE.match(data) for data in (peek.head, _inflated(peek.head))) else None


def _inflated(head: bytes) -> bytes:
    """The start of what zlib or gzip packed, b"" for other data."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(head, 256)
    except zlib.error:
        return b""


def _hdf5(peek: Peek) -> Answer:
    return Found("keras", "h5") if peek.head.startswith(b"\x89HDF\r\n\x1a\n") else None


def _tflite(peek: Peek) -> Answer:
    return Found("tflite", "tflite") if peek.head[4:8] == b"TFL3" else None


def _neff(peek: Peek) -> Answer:
    """A NEFF: version of the package, size of the header, size of the archive behind it."""
    if peek.size <= 1024 or struct.unpack_from("<QQ", peek.head, 8) != (1024, peek.size - 1024):
        return None
    return Refused("the file is a NEFF: the model is compiled already", f"neuronsim run {peek.path.name}")


# ---- binary forms
def _params(peek: Peek) -> Answer:
    return Found("mxnet", role="params") if peek.head[:16] == struct.pack("<QQ", 0x112, 0) else None


def _xgboost_binary(peek: Peek) -> Answer:
    """The legacy form: 136 bytes of learner parameters, then two names with a 64-bit length each."""
    head = peek.head
    if head.startswith(b"bs64\t"):
        try:
            head = base64.b64decode(head[5 : 5 + 4 * ((len(head) - 5) // 4)])
        except binascii.Error:
            return None
    start = 4 if head.startswith(b"binf") else 0
    for _ in range(2):
        at = start + 136 if start < 136 else start
        if len(head) < at + 8:
            return None
        size = int.from_bytes(head[at : at + 8], "little")
        name = head[at + 8 : at + 8 + size] if size < 64 else b""
        start = at + 8 + size
    return Found("xgboost", "model") if name in (b"gbtree", b"gblinear", b"dart") else None


def _ubjson(peek: Peek) -> Answer:
    """An object whose first key is one of XGBoost's: `{`, type and size of the key's length, the key."""
    return Found("xgboost", "ubj") if re.match(rb"\{[iUIlL][\0-\x08]*[\x07](learner|version)", peek.head) else None


def _weights(peek: Peek) -> Answer:
    """DarkNet's weights: version 0.1 or 0.2 and a revision, the count of images seen, then 32-bit floats."""
    if peek.size < 16 or (peek.size % 4 and peek.path.suffix != ".weights"):
        return None
    major, minor, revision = struct.unpack_from("<iii", peek.head)
    return Found("darknet", role="weights") if major == 0 and minor in (1, 2) and 0 <= revision < 16 else None


# ---- protocol buffers
#: Wire types of fields: onnx.proto's ModelProto, saved_model.proto's SavedModel, graph.proto's GraphDef.
_V, _L = wire.VARINT, wire.LENGTH
_ONNX = {1: _V, 2: _L, 3: _L, 4: _L, 5: _V, 6: _L, 7: _L, 8: _L, 14: _L, 20: _L, 25: _L, 26: _L}
_SAVED_MODEL = {1: _V, 2: _L}
_GRAPH = {1: _L, 2: _L, 3: _V, 4: _L, 5: _L}


def _protobuf(peek: Peek) -> Answer:
    fields = peek.fields
    if not fields:
        return None
    if fields[0] == wire.Field(1, wire.VARINT) and len(fields) > 1:
        text = fields[1].number in (2, 3) and fields[1].start[:1].isalpha()  # a producer's name or version
        if _fits(fields, _ONNX) and (text or any(f.number == 7 for f in fields)):
            return Found("onnx", "onnx")
        if _fits(fields, _SAVED_MODEL):
            return Found("tensorflow", "savedmodel")
        if any(f.number >= 200 for f in fields):
            return foreign.other_model("a Core ML model")
    if _is_node(fields[0]) and _fits(fields, _GRAPH):
        return Found("tensorflow", "frozen_pb")
    if _is_meta_graph(fields):
        return foreign.CHECKPOINT
    if [f.number for f in fields[:2]] == [1, 100] and fields[1].kind == wire.LENGTH:
        return foreign.other_model("a Caffe model")
    return None


def _fits(fields: list[wire.Field], schema: dict[int, int]) -> bool:
    return all(schema.get(f.number) == f.kind for f in fields)


def _is_node(field: wire.Field) -> bool:
    """Whether a field is a graph's node: 1 its name, 2 its operator."""
    if (field.number, field.kind) != (1, wire.LENGTH):
        return False
    inner = list(wire.fields(io.BytesIO(field.start), 2))
    return ([f.number for f in inner] == [1, 2] and inner[0].kind == inner[1].kind == wire.LENGTH
            and re.fullmatch(rb"[A-Za-z_][\w>]*", inner[1].start) is not None)


def _is_meta_graph(fields: list[wire.Field]) -> bool:
    return [f.number for f in fields[:2]] == [1, 2] and any(f.number == 3 for f in fields) and \
        _is_node(wire.Field(1, wire.LENGTH, 0, _payload(fields[1].start)))


def _payload(message: bytes) -> bytes:
    return next((f.start for f in wire.fields(io.BytesIO(message), 1)), b"")


def _checkpoint(peek: Peek) -> Answer:
    """The index of a checkpoint, a table file, by the magic number at its end; its data by their name only."""
    index = peek.tail == struct.pack("<Q", 0xDB4775248B80FB57)
    return foreign.CHECKPOINT if index or re.search(r"\.data-\d{5}-of-\d{5}\Z", peek.path.name) else None


# ---- text
def _json(peek: Peek) -> Answer:
    if not peek.text.startswith("{"):
        return None
    keys = _keys(peek.text)
    if keys & {"learner"}:
        return Found("xgboost", "json")
    if keys & {"nodes", "arg_nodes", "node_row_ptr", "heads"}:
        return Found("mxnet", "symbol")
    if {"class_name", "config"} <= keys:
        return Refused("the file is the architecture of a Keras model without weights",
                       "save both in one file: model.save('model.keras')", "MODEL_INCOMPLETE")  # fmt: skip
    if keys & {"modelTopology", "weightsManifest"}:
        return foreign.other_model("a TensorFlow.js model")
    return None


#: A string of JSON, which the end of the text may cut off (so that no start of one is tried twice), or a mark.
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)(?:"|\\?\Z)|[{}\[\]:]', re.DOTALL)


def _keys(text: str) -> set[str]:
    """Keys of the outermost object of a JSON text that may be cut off."""
    depth, last, keys = 0, "", set()
    for token in _TOKEN.finditer(text):
        mark = token.group(0)
        if mark in "{[":
            depth += 1
        elif mark in "}]":
            depth -= 1
        elif mark == ":" and depth == 1:
            keys.add(last)
        last = token.group(1) or ""
    return keys


def _configuration(peek: Peek) -> Answer:
    return Found("darknet", "cfg") if re.match(r"\[(net|network)\]\s", peek.text) else None


def _text_graph(peek: Peek) -> Answer:
    if re.match(r"(node|library|versions)\s*:?\s*[{<]", peek.text):
        return Found("tensorflow", "frozen_pbtxt")
    if re.match(r"(saved_model_schema_version\s*:|meta_graphs\s*:?\s*[{<])", peek.text):
        return Found("tensorflow", "savedmodel")
    if re.match(r"(ir_version|producer_name)\s*:", peek.text):
        return foreign.TEXT_ONNX
    return None


def _magic(peek: Peek) -> Answer:
    return next((found for pattern, found in foreign.MAGIC if pattern.match(peek.head)), None)


_TESTS: tuple[Callable[[Peek], Answer], ...] = (
    _empty, _zip, _hdf5, _tflite, _neff, _params, _xgboost_binary, _ubjson, _pickle, _json, _configuration, _text_graph,
    _magic, _checkpoint, _weights, _protobuf,
)  # fmt: skip
