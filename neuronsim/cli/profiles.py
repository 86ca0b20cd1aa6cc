"""Profiles on disk: the folder that `neuronsim profile` writes, and opening it, or a trace alone, to look again.

A folder holds `trace.npz`, `target.yaml` (the machine, with all that was changed), `profile.json` (which NEFFs, and
what was asked) and views of the trace. NEFFs stay where they are; the trace knows their hashes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa import target as targets
from isa import trace as traces
from isa.errors import NeuronError, TargetError
from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from neuronsim.api import load
from neuronsim.cli.arguments import check_output

if TYPE_CHECKING:
    from profiler.summary import Summary

SCHEMA = 1
TRACE, MACHINE, ABOUT, SUMMARY = "trace.npz", "target.yaml", "profile.json", "summary.json"
PERFETTO, REPORT, OUTPUTS = "trace.pftrace", "report.html", "outputs.npz"
FILES = {TRACE, MACHINE, ABOUT, SUMMARY, PERFETTO, REPORT, OUTPUTS}


class ProfileError(NeuronError):
    """A profile that cannot be opened or written."""

    code = "PROFILE"


@dataclass(frozen=True)
class Recording:
    """A trace with what explains it. `folder`: of `neuronsim profile`, None for a trace alone."""

    trace: Trace
    programs: tuple[Program, ...]
    target: Target
    folder: Path | None = None

    @cached_property
    def summary(self) -> Summary:
        """Every analysis, each made when first asked for."""
        from profiler.summary import summarise

        return summarise(self.trace, self.programs, self.target)


def open_recording(where: str | Path, neffs: Sequence[str | Path] = (), instance: str | None = None) -> Recording:
    """Open a folder, or a trace with its NEFFs.

    Args:
        neffs: of the trace, in its order; default: those that the folder names.
        instance: the machine it was recorded on; default: the folder's, or the one that the trace names.
    Raises: ProfileError, TraceError (another version, damaged, of another NEFF), ContainerError, TargetError.
    """
    path = Path(where)
    folder = path if path.is_dir() else None
    trace = traces.load(path / TRACE if folder else path)
    given = list(neffs) or (_about(folder)["neffs"] if folder else [])
    if not given:
        raise ProfileError("a trace is read with its NEFF", where=str(path), help="name it with -n NEFF")
    programs = tuple(load(neff).program for neff in given)
    trace.check(programs)
    target = _target(trace, folder, instance)
    if target.tick_hz != trace.tick_hz:
        raise ProfileError("the trace was recorded on another machine", where=str(path),
                           limit=f"{trace.target}, {trace.tick_hz} ticks a second",
                           actual=f"{target.name}, {target.tick_hz}", help="name it with --instance")  # fmt: skip
    return Recording(trace, programs, target, folder)


def _target(trace: Trace, folder: Path | None, instance: str | None) -> Target:
    if instance:
        return targets.load(instance)
    if folder and (folder / MACHINE).is_file():
        return targets.load(folder / MACHINE)
    try:
        return targets.load(trace.target)
    except TargetError as error:
        raise ProfileError(f"the trace was recorded on {trace.target!r}, which is no built-in machine",
                           help="name its target file with --instance") from error  # fmt: skip


def about(neffs: Sequence[str | Path], asked: dict[str, Any], trace: Trace) -> dict[str, Any]:
    """The document of `profile.json`."""
    return {
        "schema": SCHEMA, "neffs": [str(Path(n).resolve()) for n in neffs], "neff_hashes": list(trace.neff_hashes),
        "instance": trace.target, "asked": asked,
    }  # fmt: skip


def _about(folder: Path) -> dict[str, Any]:
    found = _read_json(folder / ABOUT, "a folder of `neuronsim profile`")
    neffs = found.get("neffs")
    if found.get("schema") != SCHEMA:
        raise ProfileError("a profile of another version", code="PROFILE_VERSION", where=str(folder / ABOUT),
                           limit=SCHEMA, actual=found.get("schema"), help="record it again")  # fmt: skip
    if not (isinstance(neffs, list) and neffs and all(isinstance(n, str) for n in neffs)):
        raise ProfileError("the profile does not say of which NEFFs it is", where=str(folder / ABOUT),
                           help="name them with -n")  # fmt: skip
    return found


def read_summary(where: str | Path) -> dict[str, Any]:
    """The summary in a profile's folder, or in a file. Raises: ProfileError."""
    from profiler.summary import SCHEMA as CURRENT

    path = Path(where)
    path = path / SUMMARY if path.is_dir() else path
    found = _read_json(path, "a summary.json")
    if "schema" in found and found["schema"] != CURRENT:
        raise ProfileError("a summary of another version", code="PROFILE_VERSION", where=str(path), limit=CURRENT,
                           actual=found["schema"], help="record it again")  # fmt: skip
    if not isinstance(found.get("total_time"), int | float) or not isinstance(found.get("layers"), list):
        raise ProfileError("not a complete summary", code="PROFILE_CORRUPT", where=str(path), help="record it again")
    return found


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProfileError(f"this is not {what}", code="PROFILE_MISSING", where=str(path),
                           help="record one with `neuronsim profile NEFF -o DIR`") from error  # fmt: skip
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProfileError(f"cannot be read as {what}: {error}", code="PROFILE_CORRUPT", where=str(path),
                           help="record it again") from error  # fmt: skip
    if not isinstance(found, dict):
        raise ProfileError(f"this is not {what}", code="PROFILE_CORRUPT", where=str(path), help="record it again")
    return found


def check_folder(path: str | Path) -> None:
    """Refuse before long work a folder that cannot be made, or holds anything but an earlier profile.

    Raises: ProfileError, OutputError.
    """
    folder = Path(path)
    if not folder.exists():
        check_output(folder)
        return
    if not folder.is_dir():
        raise ProfileError("the output is no folder", where=str(path), help="name another with -o")
    if any(folder.iterdir()) and not (folder / ABOUT).is_file():
        raise ProfileError("the folder holds other files", where=str(path), help="name a new one with -o")
    check_output(folder / ABOUT)


def write_folder(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside `path`, which takes its place when it is complete.

    Of an earlier profile nothing stays but files that no profile has. Raises: OSError; then `path` is as it was.
    """
    from profiler.exports.output import new_files

    folder = Path(path)
    with new_files(folder) as made:
        write(made)
        written = {file.name for file in made.iterdir()}
    for name in FILES - written:
        (folder / name).unlink(missing_ok=True)
