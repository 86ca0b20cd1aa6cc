"""The 1024-byte NEFF header: values to bytes, bytes to checked values, hash and uuid."""
from __future__ import annotations

import hashlib
import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from isa.errors import ContainerError
from isa.neff.layout import (
    BUILD_VERSION,
    HEADER,
    HEADER_BYTES,
    LNC_SIZE,
    PKG_VERSION,
    VERSION_MAJOR,
    VERSION_MINOR,
)
from isa.program import Program

_NODES = HEADER["tpb_per_node"].shape[0]
_TEXT_BYTES = {name: HEADER[name].itemsize for name in ("neff_build_version", "name")}


@dataclass(frozen=True)
class Header:
    """The header's values; see `isa.neff.layout.HEADER` for what each field means.

    `hash` is 32 bytes, `uuid` 16 bytes, `tpb_per_node` one core count for each of the first 64 graph nodes.
    """

    pkg_version: int
    header_size: int
    data_size: int
    neff_version_major: int
    neff_version_minor: int
    neff_build_version: str
    num_tpb: int
    hash: bytes
    uuid: bytes
    name: str
    requested_tpb_count: int
    tpb_per_node: tuple[int, ...]
    feature_bits: int
    lnc_size: int

    @classmethod
    def of(cls, program: Program, data_size: int) -> Header:
        """Return the header of `program` with an archive of `data_size` bytes; hash and uuid still zero."""
        cores = [1 if n.kind == "neuron_core" else 0 for n in program.nodes[:_NODES]]
        needed = max(len(program.stages), program.cores)  # stages that share a core count one each
        requested = program.options.get("neuroncore_pipeline_cores")
        asked = requested if isinstance(requested, int) and 0 < requested < 1 << 32 else needed
        return cls(PKG_VERSION, HEADER_BYTES, data_size, VERSION_MAJOR, VERSION_MINOR, BUILD_VERSION, needed, bytes(32),
                   bytes(16), _clip(program.name, _TEXT_BYTES["name"]), int(asked),
                   tuple(cores + [0] * (_NODES - len(cores))), 0, LNC_SIZE)

    def to_bytes(self) -> bytes:
        """Return the 1024 bytes."""
        record = np.zeros((), dtype=HEADER)
        for name, value in vars(self).items():
            record[name] = value.encode() if isinstance(value, str) else list(value) if _is_row(value) else value
        return record.tobytes()

    def sealed(self, manifest: bytes) -> Header:
        """Return this header with the hash over itself and `manifest`, and the uuid that follows from it."""
        blank = replace(self, hash=bytes(32), uuid=bytes(16))
        digest = hashlib.sha256(blank.to_bytes() + manifest).digest()
        return replace(self, hash=digest, uuid=uuid_of(digest))

    def as_dict(self) -> dict[str, object]:
        """Return JSON values; hash and uuid as text."""
        return asdict(self) | {"hash": self.hash.hex(), "uuid": str(uuid.UUID(bytes=self.uuid)),
                               "tpb_per_node": list(self.tpb_per_node)}


def _is_row(value: object) -> bool:
    return isinstance(value, (bytes, tuple))


def uuid_of(digest: bytes) -> bytes:
    """Return the 16 bytes of the UUID (RFC 9562 version 8) made of the first bytes of a header hash."""
    raw = bytearray(digest[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def _clip(text: str, size: int) -> str:
    """Return the longest prefix of `text` whose UTF-8 form has at most `size` bytes and ends in no NUL."""
    return text.encode()[:size].decode(errors="ignore").split("\0")[0]


def parse(raw: bytes, file_size: int) -> Header:
    """Return the header in the first 1024 bytes of a file of `file_size` bytes, every field checked but the hash.

    Raises: ContainerError (NEFF_EMPTY, NEFF_TRUNCATED, NEFF_VERSION, NEFF_HEADER, NEFF_FEATURES, NEFF_PADDING).
    """
    _check_size(file_size, HEADER_BYTES)
    record = np.frombuffer(raw, dtype=HEADER, count=1)[0]
    if int(record["pkg_version"]) != PKG_VERSION:
        raise ContainerError("not a NEFF, or one of another version", code="NEFF_VERSION", section="pkg_version",
                             offset=0, limit=PKG_VERSION, actual=int(record["pkg_version"]),
                             help="`neuronsim compile MODEL -o out.neff` makes one of this version")
    values: dict[str, Any] = {name: _value(record, name) for name in Header.__dataclass_fields__}
    header = Header(**values)
    _require(header.header_size == HEADER_BYTES, "NEFF_HEADER", "header_size", HEADER_BYTES, header.header_size)
    _require(header.neff_version_major == VERSION_MAJOR, "NEFF_VERSION", "neff_version_major", VERSION_MAJOR,
             header.neff_version_major)
    _require(header.neff_version_minor <= VERSION_MINOR, "NEFF_VERSION", "neff_version_minor", VERSION_MINOR,
             header.neff_version_minor)
    _require(header.feature_bits == 0, "NEFF_FEATURES", "feature_bits", 0, header.feature_bits)
    _require(not record["pad"].any(), "NEFF_PADDING", "pad", 0, int(record["pad"].max()))
    _check_size(file_size, HEADER_BYTES + header.data_size)
    _require(file_size == HEADER_BYTES + header.data_size, "NEFF_TRAILING", "data_size", header.data_size,
             file_size - HEADER_BYTES)
    return header


def _check_size(have: int, need: int) -> None:
    if have == 0:
        raise ContainerError("file is empty", code="NEFF_EMPTY", limit=need, actual=0)
    if have < need:
        raise ContainerError("file is shorter than its header says", code="NEFF_TRUNCATED", offset=have, limit=need,
                             actual=have)


def _require(good: bool, code: str, field: str, expected: int, found: int) -> None:
    if not good:
        raise ContainerError(f"header field {field} is {found}, expected {expected}", code=code, section=field,
                             offset=_offset(field), limit=expected, actual=found)


def _offset(field: str) -> int:
    fields = HEADER.fields
    assert fields is not None
    return int(fields[field][1])


def _value(record: np.void, name: str) -> object:
    raw = record[name]
    if name in _TEXT_BYTES:
        return _text(raw, name)
    if name in ("hash", "uuid"):
        return bytes(raw.tobytes())
    return tuple(raw.tolist()) if name == "tpb_per_node" else int(raw)


def _text(raw: bytes, field: str) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ContainerError(f"header field {field} is not UTF-8", code="NEFF_HEADER", section=field,
                             offset=_offset(field)) from error
    if "\0" in text:
        raise ContainerError(f"header field {field} has bytes after its end", code="NEFF_PADDING", section=field,
                             offset=_offset(field))
    return text
