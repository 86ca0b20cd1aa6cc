"""`neuronsim view`: a recorded profile shown, or written in another format, without running anything again."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neuronsim.cli.arguments import check_output, natural
from neuronsim.cli.output import json_text, note, print_json, write_text
from neuronsim.cli.profiles import ProfileError, Recording, open_recording, read_summary
from neuronsim.cli.serve import PORT, serve
from profiler.table import show

TEXT, SUMMARY_TEXT, SUMMARY_JSON = "text", "summary-text", "summary-json"
PRINTED = (TEXT, SUMMARY_TEXT, SUMMARY_JSON)  # to stdout without -o
ENDINGS: Mapping[str, str] = {  # of the files and folders that the others make
    "json": ".json", "perfetto": ".pftrace", "chrome": ".chrome.json", "csv": "_csv", "parquet": "_parquet",
    "kanata": ".kanata", "html": ".html",
}  # fmt: skip
FORMATS = (*PRINTED, *ENDINGS)
LEVELS = ("op", "instr", "dma")
# what neuron-profile has and a simulation has no use for -> why
IDLE_SWITCHES: Mapping[str, str] = {
    "--force": "files are replaced anyway", "--show-perfetto-flows": "arrows are always written",
    "--ignore-system-profile": "there is no system profile", "--ingest-only": "nothing has to be ingested",
    "--enable-memory-tracker": "memory is always part of a trace",
}  # fmt: skip
IDLE_OPTIONS: Mapping[str, str] = {
    "--terminology": "names are those of the instruction set", "--display-name": "profiles are named by their files",
    "--data-path": "nothing is kept but what -o names", "--framework-source-root": "layers keep the model's names",
    "--nki-source-root": "layers keep the model's names",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `view`, with neuron-profile's spellings."""
    parser.add_argument("profile", metavar="PROFILE", nargs="?", help="folder of `neuronsim profile`, or a trace")
    parser.add_argument(
        "-n", "--neff-path", metavar="NEFF", action="append", default=[], dest="neffs",
        help="NEFF of the trace, again for each of several (default: those that the folder names)",
    )  # fmt: skip
    parser.add_argument("-s", "--session-file", metavar="TRACE", help="a trace, as written by capture")
    parser.add_argument("-d", "--session-dir", metavar="DIR", help="a folder of `neuronsim profile`")
    parser.add_argument(
        "--output-format", choices=FORMATS, default=TEXT, metavar="FORMAT",
        help=f"{', '.join(FORMATS)} (default: {TEXT})",
    )  # fmt: skip
    parser.add_argument("-o", "--output-file", metavar="PATH", help="where to (default: beside the trace, or stdout)")
    parser.add_argument("--instance", metavar="T", help="the machine it was recorded on (default: known)")
    parser.add_argument("--window", type=window, metavar="FROM:TO", help="seconds; for perfetto, chrome and kanata")
    parser.add_argument("--level", choices=LEVELS, default="dma", help="detail of perfetto and chrome (default: dma)")
    parser.add_argument(
        "--compare", metavar="A", help="html: compare with this folder of `neuronsim profile`, or summary.json"
    )
    parser.add_argument("--serve", action="store_true", help="show the report on this machine's loopback address")
    parser.add_argument("--port", type=natural, default=PORT, metavar="N", help=f"of --serve (default: {PORT})")
    parser.add_argument("--top", type=natural, default=10, metavar="N", help="layers to list (default: 10)")
    add_idle(parser, IDLE_SWITCHES, IDLE_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Open, render."""
    found = _named(args)
    if args.output_file and args.output_format not in ("csv", "parquet"):
        check_output(args.output_file, found, *args.neffs)
    tell_idle(args, {**IDLE_SWITCHES, **IDLE_OPTIONS})
    other = read_summary(args.compare) if args.compare else None
    recording = open_recording(found, args.neffs, args.instance)
    for text in recording.trace.notes:
        note(text)
    if args.serve:
        serve(_page(recording, other), args.port)
        return 0
    chosen = SUMMARY_JSON if args.json and args.output_format == TEXT else args.output_format
    if chosen in PRINTED:
        _print(recording, chosen, args)
        return 0
    output = Path(args.output_file) if args.output_file else default_output(found, recording, chosen)
    export(recording, chosen, output, args.level, args.window, other)
    if args.json:
        print_json({"written": str(output)})
    else:
        sys.stdout.write(f"{output}\n")
    return 0


def _page(recording: Recording, other: Mapping[str, Any] | None) -> bytes:
    """The report."""
    with tempfile.TemporaryDirectory(prefix="neuronsim-") as folder:
        path = Path(folder) / "report.html"
        export(recording, "html", path, other=other)
        return path.read_bytes()


def _named(args: argparse.Namespace) -> str:
    """The one thing to look at. Raises: ProfileError."""
    given = [path for path in (args.profile, args.session_file, args.session_dir) if path]
    if len(given) != 1:
        raise ProfileError("one profile is viewed at a time" if given else "nothing to view", where="view",
                           limit=1, actual=len(given), help="neuronsim view DIR, or -n NEFF -s TRACE")  # fmt: skip
    return str(given[0])


def default_output(found: str, recording: Recording, chosen: str) -> Path:
    """Beside the trace."""
    trace = recording.folder / "trace" if recording.folder else Path(found).with_suffix("")
    return trace.with_name(trace.name + ENDINGS[chosen])


def _print(recording: Recording, chosen: str, args: argparse.Namespace) -> None:
    summary = recording.summary
    if chosen == TEXT and not args.output_file:
        show(summary.report(args.top), sys.stdout)
        return
    text = {
        TEXT: lambda: "\n\n".join(t.plain() for t in summary.report(args.top)) + "\n",
        SUMMARY_TEXT: lambda: names_and_values(recording),
        SUMMARY_JSON: lambda: json_text(summary.as_json()),
    }[chosen]()
    if args.output_file:
        write_text(args.output_file, text)
    else:
        sys.stdout.write(text)


def names_and_values(recording: Recording) -> str:
    """neuron-profile's `summary-text`: a line for each metric; with it the first core and its chip."""
    core = int(min(recording.trace.runs["core"], default=0))
    lines = {"nc_idx": core, "nd_idx": core // recording.target.cores_per_chip, **recording.summary.metrics}
    plain = {name: value for name, value in lines.items() if isinstance(value, int | float | str)}
    width = max(map(len, plain))
    return "".join(f"{name.ljust(width)}  {value}\n" for name, value in plain.items())


def export(
    recording: Recording, chosen: str, path: Path, level: str = "dma", window: tuple[float, float] | None = None,
    other: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write one of `ENDINGS`; complete or not at all. Raises: ExportError, OSError."""
    from profiler import html
    from profiler.exports import chrome, kanata, neuron_json, perfetto, tables

    trace, programs, target = recording.trace, recording.programs, recording.target
    writers: dict[str, Callable[[], Any]] = {
        "perfetto": lambda: perfetto.write(trace, programs, target, path, level=level, window=window),
        "chrome": lambda: chrome.write(trace, programs, target, path, level=level, window=window),
        "kanata": lambda: kanata.write(trace, programs, target, path, window=window),
        "csv": lambda: tables.write(trace, programs, target, path, format="csv"),
        "parquet": lambda: tables.write(trace, programs, target, path, format="parquet"),
        "html": lambda: html.write(trace, programs, target, _analyses(recording), path, other),
        "json": lambda: neuron_json.write(trace, programs, path, recording.summary.metrics),
    }
    writers[chosen]()


def _analyses(recording: Recording) -> dict[str, Any]:
    """What the report shows, each worked out once."""
    from profiler import html

    summary = recording.summary
    known = {"summary": summary, "layers": summary.by_layer, **summary.analyses}
    return html.gather(recording.trace, recording.programs, recording.target, known)


def window(text: str) -> tuple[float, float]:
    """FROM:TO in seconds. Raises: argparse.ArgumentTypeError."""
    try:
        first, last = (float(part) for part in text.split(":"))
    except ValueError:
        first, last = math.nan, math.nan
    if not (math.isfinite(first) and math.isfinite(last) and 0 <= first < last):
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM:TO in seconds")
    return first, last


# ---- flags of neuron-profile without a meaning here
def add_idle(parser: argparse.ArgumentParser, switches: Mapping[str, str], options: Mapping[str, str]) -> None:
    """Accept flags that change nothing."""
    group = parser.add_argument_group("accepted from neuron-profile's command lines; they change nothing")
    for flag, why in switches.items():
        group.add_argument(flag, action="store_true", help=why)
    for flag, why in options.items():
        group.add_argument(flag, metavar="X", help=why)


def tell_idle(args: argparse.Namespace, flags: Mapping[str, str]) -> None:
    """A note for each of them that was given."""
    for flag, why in flags.items():
        if getattr(args, flag.lstrip("-").replace("-", "_")):
            note(f"{flag} changes nothing: {why}")
