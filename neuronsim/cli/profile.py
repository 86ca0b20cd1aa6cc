"""`neuronsim profile`: record NEFFs under load, and write the trace with views of it into one folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa.target import Target
from neuronsim.api import Neff, Profile, RunError, load
from neuronsim.cli.arguments import positive
from neuronsim.cli.arrays import load_arrays, save_arrays
from neuronsim.cli.output import json_text, note, print_json
from neuronsim.cli.profiles import (
    ABOUT,
    MACHINE,
    OUTPUTS,
    PERFETTO,
    REPORT,
    SUMMARY,
    TRACE,
    Recording,
    about,
    check_folder,
    write_folder,
)
from neuronsim.cli.progress import bar
from neuronsim.cli.settings import add_setting, machine
from neuronsim.cli.view import export
from neuronsim.runtime.environment import GROUP_SIZES, LOGICAL_NC_CONFIG
from neuronsim.tracing import MAX_ROWS
from profiler.table import show

if TYPE_CHECKING:
    from neuronsim.runtime.instance import Instance
    from neuronsim.runtime.model import LoadedModel
    from neuronsim.serving import Load

_MANY = 4  # requests of each of several models, at least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `profile`."""
    parser.add_argument("neffs", metavar="NEFF", nargs="+", help="several are served side by side")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder for the trace and views of it")
    parser.add_argument(
        "--requests", type=positive, metavar="N",
        help="of each model (default: 1 of a model on one core, two for each core of a pipeline)",
    )  # fmt: skip
    parser.add_argument(
        "--in-flight", type=positive, metavar="K", help="requests under way at once (default: two a core)"
    )
    parser.add_argument("--copies", type=positive, default=1, metavar="M", help="of each model (default: 1)")
    parser.add_argument("--groups", metavar="SIZES", help="NeuronCore groups, such as 2,2, that models share")
    parser.add_argument("--instance", metavar="T", help="machine to run on (default: what it was compiled for)")
    add_setting(parser)
    parser.add_argument("--inputs", metavar="FILE", help=f"npz: compute values, too; they go to {OUTPUTS}")
    parser.add_argument(
        "--max-rows", type=positive, default=MAX_ROWS, metavar="N",
        help=f"of the trace; runs beyond are left out and announced (default: {MAX_ROWS})",
    )  # fmt: skip
    parser.add_argument("--top", type=positive, default=10, metavar="N", help="layers to list (default: 10)")


def run(args: argparse.Namespace) -> int:
    """Record, write the folder, print the summary."""
    check_folder(args.output)
    neffs = [load(path) for path in args.neffs]
    target = machine(args.instance, neffs[0].program.target, args.settings)
    outputs = _outputs(args, neffs, target)
    with bar("requests") as tell:
        profile = record(neffs, target, args, tell)
    for text in profile.trace.notes:
        note(text)
    asked = {
        "requests": [len(r.end) for r in profile.served.loads], "copies": args.copies, "groups": args.groups,
        "in_flight": [_load(args, neff, len(neffs)).in_flight for neff in neffs], "settings": args.settings,
    }  # fmt: skip
    recording = Recording(profile.trace, tuple(profile.programs), profile.target)
    write_folder(args.output, lambda folder: _write(folder, args.neffs, recording, asked, outputs))
    if args.json:
        print_json({"folder": args.output, "summary": recording.summary.as_json()})
    else:
        show(recording.summary.report(args.top), sys.stdout)
        note(f"{args.output}: {', '.join(sorted(f.name for f in Path(args.output).iterdir()))}")
    return 0


def record(neffs: Sequence[Neff], target: Target, args: argparse.Namespace, tell: Any = None) -> Profile:
    """Serve all models at once on a machine of their own. Raises: NrtError, ServingError."""
    from neuronsim.runtime import Instance

    with Instance(target, _environ(args), private=True) as instance:
        loads = [(_copies(instance, neff, args), _load(args, neff, len(neffs))) for neff in neffs]
        return instance.profile(loads, args.max_rows, tell)


def _environ(args: argparse.Namespace) -> dict[str, str]:
    groups = {GROUP_SIZES: args.groups} if args.groups else {}
    return {LOGICAL_NC_CONFIG: "1", **groups}


def _copies(instance: Instance, neff: Neff, args: argparse.Namespace) -> LoadedModel | list[LoadedModel]:
    if args.groups:
        return [instance.load(neff) for _ in range(args.copies)]
    return instance.data_parallel(neff, args.copies)


def _load(args: argparse.Namespace, neff: Neff, models: int) -> Load:
    """A closed loop; by default one request of a model alone on a core, else enough to fill its cores."""
    from neuronsim.serving import closed

    cores = neff.program.cores * args.copies
    requests = args.requests or (1 if cores == models == 1 else max(2 * cores, _MANY))
    return closed(requests, min(args.in_flight or 2 * cores, requests))


def _outputs(args: argparse.Namespace, neffs: Sequence[Neff], target: Target) -> dict[str, Any] | None:
    if not args.inputs:
        return None
    if len(neffs) > 1:
        raise RunError("--inputs are those of one model", where="profile", limit=1, actual=len(neffs))
    return neffs[0].run(load_arrays(args.inputs, neffs[0].inputs), target, mode="values").outputs


def _write(
    folder: Path, neffs: Sequence[str], recording: Recording, asked: dict[str, Any], outputs: dict[str, Any] | None
) -> None:
    """Every file of a profile."""
    recording.trace.save(folder / TRACE)
    (folder / MACHINE).write_text(recording.target.as_yaml(), encoding="utf-8")
    (folder / SUMMARY).write_text(json_text(recording.summary.as_json()), encoding="utf-8")
    export(recording, "perfetto", folder / PERFETTO)
    export(recording, "html", folder / REPORT)
    if outputs is not None:
        save_arrays(folder / OUTPUTS, outputs)
    (folder / ABOUT).write_text(json_text(about(neffs, asked, recording.trace)), encoding="utf-8")
