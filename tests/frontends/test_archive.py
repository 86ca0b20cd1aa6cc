"""Archives that lie, lead elsewhere or blow up: refused before memory or disk is taken, and nothing is left behind."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import random
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compiler.errors import ModelError
from compiler.frontends import archive
from compiler.frontends.archive import checked_zip, is_archive, unpacked

Make = Callable[[tarfile.TarFile], None]
MIB = 1 << 20


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    room = tmp_path / "temporary"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    yield
    assert list(room.iterdir()) == []


def member(name: str, data: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, io.BytesIO(data)


def tar(path: Path, *members: tuple[tarfile.TarInfo, io.BytesIO], form: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w:gz", format=form) as file:
        for info, data in members:
            file.addfile(info, data)
    return path


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in entries:
            file.writestr(name, data)
    return path


def contents(path: Path) -> dict[str, bytes]:
    with unpacked(path) as folder:
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(path: Path) -> str:
    """The error's code; everything but a ModelError, and more memory than a few MiB, is a failure."""
    tracemalloc.start()
    try:
        assert is_archive(path)
        with pytest.raises(ModelError) as caught:
            contents(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * MIB
    assert str(path) in caught.value.where
    return caught.value.code


# ---- what is fine
def test_long_names_sizes_and_attributes_of_every_tar_format(tmp_path: Path) -> None:
    deep = "/".join(["folder-with-a-long-name"] * 12) + "/model.onnx"
    tree = {deep: b"one", "größe/模型.onnx": b"two", "a" * 200: b"", "big": bytes(2 * MIB + 7)}
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tar(tmp_path / "m.tar.gz", *(member(n, d, mtime=1.5, uname="me") for n, d in tree.items()), form=form)
        assert contents(path) == tree


def test_the_folder_is_called_what_the_archive_is(tmp_path: Path) -> None:
    with unpacked(tar(tmp_path / "resnet.v2.tar.gz", member("a"))) as folder:
        assert folder.name == "resnet"


def test_gzip_of_several_members_and_padding_are_read(tmp_path: Path) -> None:
    plain = gzip.decompress(tar(tmp_path / "a", member("a", b"hello")).read_bytes()) + bytes(100_000)
    (tmp_path / "b").write_bytes(gzip.compress(plain[:700]) + gzip.compress(plain[700:]))
    assert contents(tmp_path / "b") == {"a": b"hello"}


def test_small_models_may_shrink_as_they_like(tmp_path: Path) -> None:
    assert contents(tar(tmp_path / "m.tgz", member("zeros.onnx", bytes(40 * MIB))))["zeros.onnx"] == bytes(40 * MIB)


# ---- names, links, duplicates
@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "a/../../up", "a/..", "C:/x", "c:x", "a\\..\\b", "a\nb", "x/" * 40 + "y", "é" * 200],
)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    assert refused(tar(tmp_path / "m.tar.gz", member("model.onnx"), member(name))) == "ARCHIVE_PATH"
    assert refused(zipped(tmp_path / "m.zip", ("model.onnx", b""), (name, b"x"))) == "ARCHIVE_PATH"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(tmp_path: Path, kind: bytes) -> None:
    path = tar(tmp_path / "m.tar.gz", member("model.onnx"), member("link", b"", type=kind, linkname="/etc/passwd"))
    assert refused(path) == "ARCHIVE_LINK"


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    assert refused(tar(tmp_path / "m.tgz", member("a", type=tarfile.GNUTYPE_SPARSE))) == "ARCHIVE_LINK"
    pax = member("a", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": str(1 << 50)})
    assert refused(tar(tmp_path / "p.tgz", pax, form=tarfile.PAX_FORMAT)) == "ARCHIVE_LINK"


def test_links_in_a_zip(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    assert refused(zipped(tmp_path / "m.zip", (info, b"/etc/passwd"))) == "ARCHIVE_LINK"


@pytest.mark.parametrize(
    "names",
    [("a", "a"), ("a", "./a"), ("a", "A"), ("é", "e\u0301"), ("a", "a/b"), ("a/b", "a"), ("d/x", "D/y"), ("ß", "ss")],
)
def test_two_entries_of_one_name(tmp_path: Path, names: tuple[str, str]) -> None:
    assert refused(tar(tmp_path / "m.tar.gz", *map(member, names))) == "ARCHIVE_DUPLICATE"
    entries = [zipfile.ZipInfo(n) for n in names]
    if names[0] != names[1]:
        assert refused(zipped(tmp_path / "m.zip", *((e, b"") for e in entries))) == "ARCHIVE_DUPLICATE"


def test_folders_may_come_twice(tmp_path: Path) -> None:
    folder = member("d/", b"", type=tarfile.DIRTYPE)
    assert contents(tar(tmp_path / "m.tgz", folder, member("d/a"), folder)) == {"d/a": b"x"}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "m.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as file:
        file.addfile(*member("gr\xf6\xdfe"))
    assert refused(tmp_path / "m.tar") == "ARCHIVE_PATH"
    data = zipped(tmp_path / "m.zip", ("größe", b"")).read_bytes()
    (tmp_path / "m.zip").write_bytes(data.replace("ö".encode(), b"\xff\xff"))
    assert refused(tmp_path / "m.zip") == "ARCHIVE_PATH"


# ---- bombs
def header(size: int, name: bytes = b"model.onnx", kind: bytes = b"0") -> bytes:
    """A tar header that claims `size` bytes, as GNU tar writes large ones."""
    info = tarfile.TarInfo(name.decode())
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("size", [1 << 28, 1 << 40, 1 << 62, (1 << 80) - 1])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_sizes_that_no_file_of_this_length_can_have(tmp_path: Path, size: int, kind: bytes) -> None:
    path = tmp_path / "m.tar.gz"
    path.write_bytes(gzip.compress(header(size, kind=kind) + bytes(4096)))
    assert refused(path) == "ARCHIVE_SIZE"


@pytest.mark.parametrize("bad", [b"-1", b"99999999999999999999", b"1_0", "١".encode(), b"", b"x"])
def test_sizes_of_extended_headers(tmp_path: Path, bad: bytes) -> None:
    record = b" size=" + bad + b"\n"
    record = str(len(record) + 2).encode() + record
    data = header(len(record), kind=b"x") + record.ljust(512, b"\0") + header(1) + bytes(2048)
    (tmp_path / "m.tar").write_bytes(data)
    assert refused(tmp_path / "m.tar") in ("ARCHIVE_DAMAGED", "ARCHIVE_SIZE")


@pytest.mark.parametrize(
    "record", [b"99 path=a\n", b"0 path=a\n", b"path=a\n", b"9 path=a", b"9" * 500, b" 9 path=a\n"]
)
def test_records_of_extended_headers(tmp_path: Path, record: bytes) -> None:
    data = header(len(record), kind=b"x") + record.ljust(512, b"\0") + header(1) + bytes(2048)
    (tmp_path / "m.tar").write_bytes(data)
    assert refused(tmp_path / "m.tar") == "ARCHIVE_DAMAGED"


def test_a_gzip_bomb_is_refused_at_its_header(tmp_path: Path) -> None:
    size, packer = 100 * MIB, zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(header(size))] + [packer.compress(bytes(MIB)) for _ in range(100)] + [packer.flush()]
    (tmp_path / "m.tar.gz").write_bytes(b"".join(pieces))
    assert refused(tmp_path / "m.tar.gz") == "ARCHIVE_SIZE"


def test_a_bomb_behind_the_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(gzip.compress(header(0) + bytes(1024 + (20 << 20))))
    assert refused(tmp_path / "m.tar.gz") == "ARCHIVE_SIZE"


def test_many_small_files_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE_BYTES", 10_000)
    monkeypatch.setattr(archive, "MAX_RATIO", 2)
    assert refused(tar(tmp_path / "m.tgz", *(member(f"f{i}", bytes(900)) for i in range(20)))) == "ARCHIVE_SIZE"


def test_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 10)
    monkeypatch.setattr(archive, "_MAX_DIRECTORY", 500)
    assert refused(tar(tmp_path / "m.tgz", *(member(f"f{i}") for i in range(11)))) == "ARCHIVE_SIZE"
    assert refused(zipped(tmp_path / "m.zip", *((f"f{i}", b"") for i in range(11)))) == "ARCHIVE_SIZE"


def test_headers_without_content_add_up(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    block = header(MIB, kind=b"x") + b"7 a=bc\n".ljust(MIB, b"\0")
    (tmp_path / "m.tgz").write_bytes(b"".join([*(packer.compress(block) for _ in range(70)), packer.flush()]))
    assert refused(tmp_path / "m.tgz") == "ARCHIVE_SIZE"


def test_an_xz_that_asks_for_much_memory(tmp_path: Path) -> None:
    plain = gzip.decompress(tar(tmp_path / "a", member("a")).read_bytes())
    packed = bytearray(lzma.compress(plain))
    place = packed.index(b"\x21\x01") + 2  # LZMA2's one byte of properties: the size of its dictionary
    packed[place] = 40  # 4 GiB
    size = (packed[12] + 1) * 4
    packed[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(packed[12 : 12 + size - 4]))
    (tmp_path / "m.tar.xz").write_bytes(packed)
    assert refused(tmp_path / "m.tar.xz") == "ARCHIVE_DAMAGED"


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_RESERVE", 1 << 62)
    path = tar(tmp_path / "m.tgz", member("a"))
    with pytest.raises(ModelError) as caught:
        contents(path)
    assert (caught.value.code, "TMPDIR" in caught.value.help) == ("ARCHIVE_DISK", True)


def test_a_zip_bomb_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    assert refused(zipped(tmp_path / "m.zip", ("a", bytes(100 * MIB)))) == "ARCHIVE_SIZE"


def test_a_zip_that_states_less_than_it_holds(tmp_path: Path) -> None:
    data = zipped(tmp_path / "m.zip", ("a", bytes(30 * MIB))).read_bytes()
    (tmp_path / "m.zip").write_bytes(data.replace(struct.pack("<I", 30 * MIB), struct.pack("<I", 100)))
    assert refused(tmp_path / "m.zip") == "ARCHIVE_DAMAGED"


def test_entries_of_a_zip_that_share_their_data(tmp_path: Path) -> None:
    """One kernel of data under many names, as in the densest bombs known."""
    path = zipped(tmp_path / "m.zip", *((f"f{i}", random.Random(1).randbytes(5000)) for i in range(4)))
    data = bytearray(path.read_bytes())
    at = [m for m in range(len(data)) if data[m : m + 4] == b"PK\1\2"]
    for place in at:  # every entry of the directory: the same local header and a larger packed size
        data[place + 20 : place + 24] = struct.pack("<I", len(data) // 2)
        data[place + 42 : place + 46] = struct.pack("<I", 0)
    path.write_bytes(data)
    assert refused(path) == "ARCHIVE_SIZE"


# ---- damage
def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    whole = tar(tmp_path / "m.tgz", member("a", bytes(range(256)) * 4), member("b", b"hello")).read_bytes()
    path = tmp_path / "cut"
    for size in range(18, len(whole), 3):
        path.write_bytes(whole[:size])
        assert refused(path) == "ARCHIVE_DAMAGED"
    plain = gzip.decompress(whole)
    for size in (513, 600, 1024, 1600, 2049, 2200):
        path.write_bytes(plain[:size])
        assert refused(path) == "ARCHIVE_DAMAGED"


def test_an_encrypted_zip(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "m.zip", ("a", b"hello")).read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "m.zip").write_bytes(data)
    assert refused(tmp_path / "m.zip") == "ARCHIVE_ENCRYPTED"


def test_methods_that_take_memory_of_their_own(tmp_path: Path) -> None:
    assert refused(zipped(tmp_path / "m.zip", ("a", b"hello"), method=zipfile.ZIP_LZMA)) == "ARCHIVE_DAMAGED"


@pytest.mark.parametrize("form", ["tgz", "tar", "zip", "tar.xz"])
def test_flipped_bytes_raise_nothing_but_model_errors(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"m.{form}"
    tree = [("d/a.onnx", bytes(range(200))), ("b", b"hello" * 50), ("ü", b"")]
    zipped(path, *tree) if form == "zip" else tar(path, *(member(*e) for e in tree), form=tarfile.PAX_FORMAT)
    whole = path.read_bytes()
    if form.startswith("tar"):
        whole = gzip.decompress(whole)
        whole = lzma.compress(whole) if form == "tar.xz" else whole
    rng = random.Random(form)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(data)
        if is_archive(path):
            with contextlib.suppress(ModelError):
                contents(path)


@pytest.mark.parametrize("place, data", [(28, b"\0\0"), (42, b"\xff\xff\xff\x7f"), (8, b"\x20\0")])
def test_directories_that_make_no_sense(tmp_path: Path, place: int, data: bytes) -> None:
    """No name, an entry beyond the file, patched data: found by a fuzzer."""
    path = zipped(tmp_path / "m.zip", ("a", b"hello"))
    whole = bytearray(path.read_bytes())
    at = whole.index(b"PK\1\2") + place
    whole[at : at + len(data)] = data
    path.write_bytes(whole)
    assert refused(path) == "ARCHIVE_DAMAGED"


# ---- for readers of zipped models
def test_a_checked_zip_reads_entries_and_refuses_what_unpacking_does(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.keras", ("config.json", b"{}"), ("Config.json", b"{ }"))
    with checked_zip(path) as file:  # names are no paths here: capitals may tell them apart
        assert file.read("config.json") == b"{}"
    data = bytearray(path.read_bytes())
    data[data.index(b"config.json") + 11] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ModelError, match="cut off or damaged"), checked_zip(path) as file:
        file.read("config.json")
    with pytest.raises(KeyError), checked_zip(path) as file:  # a reader's own error stays what it is
        file.read("absent")
