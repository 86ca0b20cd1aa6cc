"""Which process owns which cores of a simulated instance: a folder with one file per runtime.

Every runtime holds a lock on its own file for as long as it lives, so that the file of a process that died, however it
died, is known by its free lock: whoever looks next removes it. One more lock, `mutex`, makes looking and claiming one
step. Cores are physical cores of the instance here, so that runtimes with different logical cores never overlap.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from neuronsim.runtime.status import NrtError, NrtStatus

STATE_DIR = "NEURONSIM_STATE_DIR"
_COMMAND_CHARACTERS = 256
_PRIVATE = "private-"


@dataclass(frozen=True)
class Owner:
    """One living runtime, as others see it.

    Attributes:
        pid, command, tag, version: of the process, its NEURON_PROCESS_TAG, and of this package.
        cores: physical cores it owns.
        chip_bytes: device memory it takes, by chip.
    """

    pid: int
    command: str
    tag: str
    version: str
    cores: tuple[int, ...]
    chip_bytes: Mapping[int, int] = field(default_factory=dict)


def state_folder(instance: str, root: str | Path | None = None) -> Path:
    """Folder of the simulated instance of that name; `root` defaults to NEURONSIM_STATE_DIR, then to one per user."""
    return _root(root) / re.sub(r"^\.|[^\w.-]", "_", instance)


def private_root(root: str | Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """A root of its own below `root`, for a machine that nobody else takes cores from but that tools can see.

    Raises: NrtError (NRT_FAILURE) when the folder cannot be used.
    """
    parent = _root(root)
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=_PRIVATE, dir=parent)
    except OSError as error:
        raise _unusable(parent, error) from error


def state_folders(root: str | Path | None = None, instance: str | None = None) -> list[Path]:
    """Folders of all simulated instances below `root` on which a runtime ever ran, or of those of that name."""
    name = "*" if instance is None else glob.escape(state_folder(instance, root).name)
    found = [path.parent for pattern in (name, f"{_PRIVATE}*/{name}") for path in _root(root).glob(f"{pattern}/mutex")]
    return sorted(found)


def snapshot_path(claim: Path) -> Path:
    """Where the runtime with that claim says what it is doing (`neuronsim/runtime/telemetry.py`)."""
    return claim.with_name(claim.name.replace("runtime-", "telemetry-", 1))


def _root(root: str | Path | None) -> Path:
    return Path(root or os.environ.get(STATE_DIR) or Path(tempfile.gettempdir()) / f"neuronsim-{os.getuid()}")


def _unusable(folder: Path, error: OSError) -> NrtError:
    return NrtError(NrtStatus.NRT_FAILURE, f"cannot use the state folder: {error.strerror}", where=str(folder),
                    help=f"name a folder of your own: {STATE_DIR}=DIR, or state_dir=DIR")


class Registry:
    """The runtimes of one simulated instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def owners(self) -> list[Owner]:
        """Every living runtime, by its first core. Changes nothing where nobody ever ran."""
        if not (self.folder / "mutex").exists():
            return []
        with self._exclusive():
            return self._owners()

    def claims(self) -> list[Path]:
        """The claim of every living runtime, by name."""
        if not (self.folder / "mutex").exists():
            return []
        with self._exclusive():
            return [path for path, _ in self._living()]

    def claim(self, choose: Callable[[Sequence[int]], Sequence[int]], tag: str, version: str) -> Claim:
        """Take the physical cores that `choose` picks, given those owned already; `choose` raises where it cannot.

        Raises: NrtError (NRT_FAILURE) when the folder cannot be used, and what `choose` raises.
        """
        with self._exclusive():
            taken = sorted(core for owner in self._owners() for core in owner.cores)
            command = " ".join(" ".join(sys.argv).split())[:_COMMAND_CHARACTERS]
            owner = Owner(os.getpid(), command, tag, version, tuple(choose(taken)))
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=f"runtime-{os.getpid()}-", suffix=".json")
            claim = Claim(self, owner, os.fdopen(handle, "r+"), Path(name))
            fcntl.flock(claim.file, fcntl.LOCK_EX)
            claim.write(owner)
        return claim

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            if not stat.S_ISDIR(self.folder.lstat().st_mode):
                raise NotADirectoryError(20, "not a folder", str(self.folder))
            mutex = open(self.folder / "mutex", "a", opener=_no_links)
        except OSError as error:
            raise _unusable(self.folder, error) from error
        with mutex:
            fcntl.flock(mutex, fcntl.LOCK_EX)
            yield

    def _owners(self) -> list[Owner]:
        return sorted((_owner(text, path) for path, text in self._living()), key=lambda o: o.cores)

    def _living(self) -> list[tuple[Path, str]]:
        """Claims of living runtimes with their text; what dead ones left is removed. Needs the mutex."""
        found = []
        for path in sorted(self.folder.glob("runtime-*.json")):
            with suppress(FileNotFoundError), open(path, opener=_no_links) as file:  # its runtime may just be closing
                if _is_free(file):
                    _remove(path)
                else:
                    found.append((path, file.read()))
        return found


class Claim:
    """Cores that this process owns until `release`, or until it ends."""

    def __init__(self, registry: Registry, owner: Owner, file: IO[str], path: Path) -> None:
        self.registry, self.owner, self.file, self.path = registry, owner, file, path

    def others(self) -> list[Owner]:
        """The other living runtimes of the instance."""
        return [o for o in self.registry.owners() if not set(o.cores) & set(self.owner.cores)]

    def publish(self, chip_bytes: Callable[[Mapping[int, int]], Mapping[int, int]]) -> None:
        """Change the memory this runtime takes; `chip_bytes` gets what the others take, by chip, and may refuse.

        Nobody can take memory between the question and the answer.
        """
        with self.registry._exclusive():
            others: dict[int, int] = {}
            for owner in self.registry._owners():
                if not set(owner.cores) & set(self.owner.cores):
                    for chip, size in owner.chip_bytes.items():
                        others[chip] = others.get(chip, 0) + size
            self.write(Owner(**{**vars(self.owner), "chip_bytes": dict(chip_bytes(others))}))

    def write(self, owner: Owner) -> None:
        """Replace the file's text, with the mutex held."""
        self.owner = owner
        self.file.seek(0)
        self.file.truncate()
        json.dump(asdict(owner), self.file)
        self.file.flush()

    def release(self) -> None:
        """Give the cores back; a copy in a forked process leaves them to the one that claimed them."""
        if self.owner.pid == os.getpid():
            _remove(self.path)
        self.file.close()


def _remove(claim: Path) -> None:
    """Remove a claim with all that lies beside it."""
    snapshot = snapshot_path(claim)
    for path in (snapshot, snapshot.with_suffix(".tmp"), claim):
        path.unlink(missing_ok=True)


def _is_free(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(text: str, path: Path) -> Owner:
    try:
        data: dict[str, Any] = json.loads(text)
        chips = {int(chip): int(size) for chip, size in data["chip_bytes"].items()}
        return Owner(**{**data, "cores": tuple(map(int, data["cores"])), "chip_bytes": chips})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NrtError(NrtStatus.NRT_FAILURE, "a runtime's file cannot be read; another version may have written it",
                       where=str(path), help="end the process that holds it, or name another folder: "
                       f"{STATE_DIR}=DIR") from error


def _no_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
