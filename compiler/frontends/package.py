"""From a path to the files of one model: which framework's, which belong together, and archives opened safely."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from compiler.errors import ModelError
from compiler.frontends import foreign
from compiler.frontends.archive import is_archive, unpacked
from compiler.frontends.files import ModelFiles
from compiler.frontends.formats import COMPANIONS, KINDS, TITLES, WANTED, Found, Refused, canonical, readable
from compiler.frontends.recognise import Answer, identify
from compiler.frontends.tarstream import is_compressed
from isa.errors import ErrorList, NeuronError

#: What systems and tools leave in folders and archives: never part of a model, never worth a word.
_LITTER = re.compile(r"\..*|__MACOSX|__pycache__|Thumbs\.db|desktop\.ini", re.IGNORECASE)
#: More files than any model's folder has; a folder with more is not looked through.
_MOST_FILES = 4096
#: Folders that are looked into side by side: a model's and its texts', data's, code's.
_MOST_FOLDERS = 64
#: A model may lie in one folder of one folder ...: `export/Servo/1` is usual.
_DEPTH = 8


#: What writes both files of a pair, by framework.
_BOTH = {"mxnet": "; HybridBlock.export and Module.save_checkpoint write both", "darknet": ""}


@contextmanager
def open_model(path: Path, framework: str | None = None) -> Iterator[ModelFiles]:
    """The files of a model; an archive is unpacked for as long as the context lasts.

    Args:
        path: a model file, one of two that belong together, a folder, or an archive of these.
        framework: what the user says it is, any case; None finds out from the content.
    Raises: ModelError MODEL_MISSING, MODEL_EMPTY, MODEL_FORMAT (no model, or not of that framework), PICKLE_REFUSED,
        MODEL_AMBIGUOUS (several), MODEL_INCOMPLETE (a file is missing), and ARCHIVE_* as `archive.unpacked`.
    """
    wanted = None if framework is None else canonical(framework)
    if wanted is not None and wanted not in KINDS:
        raise ModelError(f"there is no framework {framework!r}", code="FRAMEWORK", actual=framework,
                         limit=", ".join(KINDS))
    if not path.exists():
        raise ModelError("the model file does not exist", code="MODEL_MISSING", where=str(path),
                         help="give the path of a model file, of its folder, or of an archive")
    path = _above_variables(path)
    if path.is_dir():
        yield _in_folder(path, wanted)
        return
    if not path.is_file():
        raise ModelError("the model is a device or a pipe", code="MODEL_MISSING", where=str(path),
                         help="write the model to a file first")
    answer = identify(path)
    if answer is not None or not is_archive(path):
        yield _of_file(path, answer or (foreign.COMPRESSED if is_compressed(path) else None), wanted)
        return
    with unpacked(path) as folder, renamed(folder, path):
        yield _in_folder(folder, wanted)


@contextmanager
def renamed(folder: Path, archive: Path | str) -> Iterator[None]:
    """Let errors speak of what the user gave, not of the temporary folder that it was put into."""
    try:
        yield
    except NeuronError as error:
        for each in (error, *(error.errors if isinstance(error, ErrorList) else ())):
            for field in ("what", "where", "help"):
                text = getattr(each, field).replace(f"{folder}/", f"{archive}: ").replace(str(folder), str(archive))
                setattr(each, field, text)
        raise


# ---- a file
def _of_file(path: Path, answer: Answer, wanted: str | None) -> ModelFiles:
    """The model that a file is, or is a part of."""
    if isinstance(answer, Refused):
        raise answer.error(str(path))
    if answer is None and wanted is None:
        raise ModelError("no framework's model format is recognised in the file", code="MODEL_FORMAT",
                         where=str(path), help=readable())
    found = answer or Found(wanted or "", _kind_by_name(path, wanted or ""))
    if wanted not in (None, found.framework):
        raise ModelError(f"the file is no {TITLES[wanted or '']} model", code="MODEL_FORMAT", where=str(path),
                         limit=WANTED[wanted or ""], actual=str(found),
                         help=f"--framework {found.framework}, or leave it out")
    if found.framework not in COMPANIONS:
        return _files(path, found)
    listing = _listing(path.parent, _stem(path))
    if not found.role:
        return _pair(path, found, listing)
    mains = [p for p, f in listing.mains if f.framework == found.framework]
    partners = [p for p, f in listing.seconds if f.framework == found.framework]
    main = _partner(path, mains, partners, found)
    return ModelFiles(found.framework, KINDS[found.framework][0], main, {found.role: path})


def _files(path: Path, found: Found) -> ModelFiles:
    """A model of one main file; what else belongs to it lies at fixed places."""
    if found.kind != "savedmodel":
        return ModelFiles(found.framework, found.kind, path)
    folder = path.parent
    variables = {"variables": folder / "variables"} if (folder / "variables").is_dir() else {}
    return ModelFiles(found.framework, found.kind, folder, {"graph": path, **variables})


def _kind_by_name(path: Path, framework: str) -> str:
    """The kind of a file that the user vouches for and nobody recognises."""
    kinds = KINDS[framework]
    by_ending = {".pb": "frozen_pb", ".pbtxt": "frozen_pbtxt", ".json": "json", ".ubj": "ubj"}
    kind = by_ending.get(path.suffix.lower(), path.suffix.lower().lstrip("."))
    return kind if kind in kinds else kinds[0]


# ---- pairs
def _pair(main: Path, found: Found, listing: _Listing) -> ModelFiles:
    """A main file with the second file that its framework's models have."""
    seconds = [p for p, f in listing.seconds if f.framework == found.framework]
    rivals = [p for p, f in listing.mains if f.framework == found.framework]
    role = COMPANIONS[found.framework]
    return ModelFiles(found.framework, found.kind, main, {role: _partner(main, seconds, rivals, found)})


def _partner(path: Path, candidates: list[Path], rivals: list[Path], found: Found) -> Path:
    """The file of the other half: of the same name, or the only one that is not somebody else's by name.

    Raises: ModelError MODEL_INCOMPLETE, MODEL_AMBIGUOUS.
    """
    stem, taken = _stem(path), {_stem(r) for r in rivals} - {_stem(path)}
    named = [c for c in candidates if _stem(c) == stem]
    fitting = named or [c for c in candidates if _stem(c) not in taken]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ModelError(f"several files could go with this {found}", code="MODEL_AMBIGUOUS", where=str(path),
                         actual=_listed(fitting), help="give the one that is meant, or put the two into a folder")
    raise ModelError(f"the other half of this {found} is missing", code="MODEL_INCOMPLETE", where=str(path),
                     limit=WANTED[found.framework], help=f"put both into one folder or archive{_BOTH[found.framework]}")


def _stem(path: Path) -> str:
    """What both names of a pair begin with."""
    return re.sub(r"(-symbol\.json|-\d{4}\.params|\.[^.]*)\Z", "", path.name)


# ---- folders
@dataclass
class _Listing:
    """What the files of a folder are."""

    mains: list[tuple[Path, Found]]
    seconds: list[tuple[Path, Found]]
    refused: list[tuple[Path, Refused]]
    others: list[Path]
    folders: list[Path]

    @property
    def holds_model(self) -> bool:
        """Whether there is a model, or half of one."""
        return bool(self.mains or self.seconds)


def _listing(folder: Path, stem: str | None = None) -> _Listing:
    """What the files of a folder are; in a crowded one, for a given stem, only those whose names have it."""
    found = _Listing([], [], [], [], [])
    try:
        paths = sorted(p for p in folder.iterdir() if not _LITTER.fullmatch(p.name))
    except OSError as error:
        raise ModelError(f"the folder cannot be read: {error.strerror}", code="MODEL_MISSING",
                         where=str(folder)) from None
    if stem is not None and len(paths) > _MOST_FILES:
        paths = [p for p in paths if _stem(p) == stem]
    if len(paths) > _MOST_FILES:
        raise ModelError("the folder has too many files to look for a model in it", code="MODEL_FORMAT",
                         where=str(folder), limit=_MOST_FILES, actual=len(paths), help="give the model's own file")
    for path in paths:
        answer = identify(path) if path.is_file() else None
        if path.is_dir():
            found.folders.append(path)
        elif isinstance(answer, Found):
            (found.seconds if answer.role else found.mains).append((path, answer))
        elif isinstance(answer, Refused):
            found.refused.append((path, answer))
        elif path.is_file():
            found.others.append(path)
    return found


def _in_folder(folder: Path, wanted: str | None) -> ModelFiles:
    """The one model in a folder, or in the only folder in it."""
    folder, listing = _place(folder)
    mains = [(p, f) for p, f in listing.mains if wanted in (None, f.framework)]
    if len(mains) > 1:
        raise ModelError("there is more than one model", code="MODEL_AMBIGUOUS", where=str(folder),
                         actual=", ".join(f"{p.name} ({f})" for p, f in mains),
                         help="leave one, give its own path, or say --framework")
    if not mains:
        raise _no_model(folder, listing, wanted)
    (main, found), = mains
    files = _files(main, found) if found.framework not in COMPANIONS else _pair(main, found, listing)
    return replace(files, notes=_notes(files, listing))


def _place(top: Path) -> tuple[Path, _Listing]:
    """The folder with the model: `top`, or the only one below it where files of models are.

    Raises: ModelError MODEL_AMBIGUOUS.
    """
    folder, listing = here = top, _listing(top)
    for _ in range(_DEPTH):
        if listing.holds_model or not 0 < len(listing.folders) <= _MOST_FOLDERS:
            break
        below = [(f, _listing(f, "")) for f in listing.folders if not _is_variables(f)]
        models = [(f, found) for f, found in below if found.holds_model]
        if len(models) > 1:
            raise ModelError("there are models in several folders", code="MODEL_AMBIGUOUS", where=str(folder),
                             actual=_listed([f for f, _ in models]), help="give the path of one")
        if not models and len(below) != 1:
            break
        folder, listing = (models or below)[0]
    known = listing.holds_model or listing.refused or any(map(_is_variables, listing.folders))
    return (folder, listing) if known else here


def _above_variables(path: Path) -> Path:
    """The folder of a SavedModel for a path to its variables, else the path itself."""
    for folder in (path, path.parent):
        if _is_variables(folder) and any((folder.parent / f"saved_model.{e}").is_file() for e in ("pb", "pbtxt")):
            return folder.parent
    return path


def _is_variables(folder: Path) -> bool:
    return folder.name == "variables"


def _no_model(folder: Path, listing: _Listing, wanted: str | None) -> ModelError:
    """Why a folder has no model that can be read: half of one, one that is refused, or nothing of the sort."""
    if any(map(_is_variables, listing.folders)):
        return ModelError("the folder has variables but no saved_model.pb", code="MODEL_INCOMPLETE", where=str(folder),
                          limit=WANTED["tensorflow"])
    for path, half in listing.seconds:
        if wanted in (None, half.framework):
            return ModelError(f"there is only one half of a model: {half}", code="MODEL_INCOMPLETE", where=str(path),
                              limit=WANTED[half.framework],
                              help=f"put both into one folder or archive{_BOTH[half.framework]}")
    if listing.refused and not listing.mains:
        path, refused = min(listing.refused, key=lambda item: item[1].code == "MODEL_FORMAT")
        return refused.error(str(path))
    names = [p for p, _ in (*listing.mains, *listing.seconds)] + listing.others + listing.folders
    if not names:
        return ModelError("there is nothing in it", code="MODEL_MISSING", where=str(folder))
    packed = [p for p in listing.others if is_archive(p)]
    return ModelError("there is no model that can be read" if wanted is None else f"there is no {TITLES[wanted]} model",
                      code="MODEL_FORMAT", where=str(folder), actual=_listed(names), limit=WANTED.get(wanted or ""),
                      help=f"give the archive itself: {packed[0]}" if packed else "" if wanted else readable())


def _notes(files: ModelFiles, listing: _Listing) -> tuple[str, ...]:
    """A word on models' files that were left aside, so that nobody believes them compiled."""
    used = {files.main, *files.others.values()}
    weights = [(p, r) for p, r in listing.refused if r.code in ("PICKLE_REFUSED", "MODEL_INCOMPLETE")]
    aside = [p for p, _ in (*listing.mains, *listing.seconds, *weights) if p not in used]
    return (f"beside the model, not read: {_listed(aside)}",) if aside else ()


def _listed(paths: list[Path], most: int = 12) -> str:
    names = [p.name for p in paths]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
