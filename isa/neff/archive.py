"""A strict tar subset: regular files, fixed metadata, so that an archive has exactly one encoding.

Writing is a function of (name, data) alone. Reading rebuilds each member header and compares all of its 512 bytes, and
requires zero filler and exactly two zero blocks at the end: no byte of an archive goes unchecked. Contents of members
are not this module's matter.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from isa.errors import ContainerError
from isa.neff.layout import (
    BLOCK,
    END_OF_ARCHIVE_BYTES,
    HEADER_BYTES,
    MAX_MEMBER_BYTES,
    MEMBER_PATH,
    MEMBER_PATH_BYTES,
)

_TYPE_OFFSET, _NAME_END, _SIZE, _PREFIX = 156, 100, slice(124, 136), slice(345, 500)
_LINK_TYPES = b"12"


@dataclass(frozen=True)
class Member:
    """One archive member: path, byte offset of its data in the file, byte count."""

    name: str
    offset: int
    size: int


def check_member_path(name: str) -> None:
    """Raise ContainerError (NEFF_MEMBER_PATH) unless `name` is a relative path inside the archive."""
    if len(name) > MEMBER_PATH_BYTES or not MEMBER_PATH.fullmatch(name):
        raise ContainerError(f"member path {name!r} is not a plain relative path", code="NEFF_MEMBER_PATH",
                             section=repr(name), limit=MEMBER_PATH_BYTES, actual=len(name))


def padding(size: int) -> int:
    """Return the zero bytes that follow `size` bytes of data up to the next tar block."""
    return -size % BLOCK


def tar_header(name: str, size: int) -> bytes:
    """Return the 512-byte ustar header of a regular file: mode 0644, owner 0, time 0.

    Raises: ContainerError (NEFF_MEMBER_PATH, NEFF_LIMIT).
    """
    check_member_path(name)
    if size > MAX_MEMBER_BYTES:
        raise ContainerError("member is larger than a tar size field can say", code="NEFF_LIMIT", section=name,
                             limit=MAX_MEMBER_BYTES, actual=size)
    head = bytearray(BLOCK)
    head[0 : len(name)] = name.encode("ascii")
    head[100:124] = b"0000644\x000000000\x000000000\x00"
    head[_SIZE] = b"%011o\x00" % size
    head[136:148] = b"00000000000\x00"
    head[148:156] = b" " * 8
    head[_TYPE_OFFSET] = ord("0")
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\x00 " % sum(head)
    return bytes(head)


def members(view: memoryview) -> list[Member]:
    """Return the members of the archive that fills `view` (the whole file) from byte 1024 on, all structure checked.

    Raises: ContainerError.
    """
    found = list(_walk(view))
    names = [m.name for m in found]
    if len(set(names)) != len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise ContainerError("member occurs twice", code="NEFF_MEMBER_DUPLICATE", section=twice)
    return found


def _walk(view: memoryview) -> Iterator[Member]:
    offset, limit = HEADER_BYTES, len(view) - END_OF_ARCHIVE_BYTES
    while offset < limit:
        if not view[offset]:
            break
        member = _member(view, offset)
        end = member.offset + member.size
        after = end + padding(member.size)
        if after > limit:
            raise ContainerError("member reaches past the end of the archive", code="NEFF_TRUNCATED",
                                 section=member.name, offset=offset, limit=limit, actual=after)
        _require_zero(view, end, after, f"filler after {member.name}")
        yield member
        offset = after
    if offset != limit:
        raise ContainerError("archive does not end in exactly two zero blocks", code="NEFF_ARCHIVE_END",
                             offset=offset, limit=END_OF_ARCHIVE_BYTES, actual=len(view) - offset)
    _require_zero(view, offset, len(view), "end of archive")


def _require_zero(view: memoryview, start: int, end: int, section: str) -> None:
    if bytes(view[start:end]).strip(b"\0"):
        raise ContainerError("padding must be zero", code="NEFF_PADDING", section=section, offset=start)


def _member(view: memoryview, offset: int) -> Member:
    head = bytes(view[offset : offset + BLOCK])
    name = _name(head, offset)
    size = _size(head, name, offset)
    if tar_header(name, size) != head:
        raise ContainerError("member header is not the one canonical header of its name and size",
                             code="NEFF_MEMBER_HEADER", section=name, offset=offset)
    return Member(name, offset + BLOCK, size)


def _name(head: bytes, offset: int) -> str:
    raw = head[:_NAME_END].rstrip(b"\0")
    if head[_TYPE_OFFSET : _TYPE_OFFSET + 1] in (bytes([t]) for t in _LINK_TYPES):
        raise ContainerError("links are not allowed", code="NEFF_MEMBER_PATH", section=repr(raw), offset=offset)
    if not raw.isascii() or any(head[_PREFIX]):
        raise ContainerError("member path is not plain ASCII", code="NEFF_MEMBER_PATH", section=repr(raw),
                             offset=offset)
    name = raw.decode("ascii")
    check_member_path(name)
    return name


def _size(head: bytes, name: str, offset: int) -> int:
    digits = head[_SIZE]
    if digits[11] or not all(c in b"01234567" for c in digits[:11]):
        raise ContainerError("member size is not eleven octal digits", code="NEFF_MEMBER_HEADER", section=name,
                             offset=offset)
    return int(digits[:11], 8)
