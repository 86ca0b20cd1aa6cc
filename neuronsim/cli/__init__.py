"""The command line: one file per command, each with `add_arguments(parser)` and `run(args) -> exit code`.

This file parses, dispatches and turns every error into `error[CODE]: ...` on stderr. Exit code: 0 only on success,
1 for an error in what the user gave, 2 for a wrong command line, 70 for a fault of this program.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

from isa.errors import NeuronError

COMMANDS: Mapping[str, str] = {
    "analyze": "what of a model would run on the device, and why the rest would not",
    "asm": "turn a listing into a NEFF, or a directory with its members",
    "bench": "throughput, latency and cost of NEFFs on an instance, under a load",
    "capture": "record the trace of one run, with neuron-profile's spellings",
    "compile": "compile a model to a NEFF",
    "demo": "compile ResNet-50, run it with values and time, compare it with ONNX Runtime",
    "diff": "compare two profiles: metrics, layers, stalls",
    "disasm": "show the instructions of a NEFF",
    "inspect": "show what a NEFF holds",
    "list-operators": "every operator, whether it runs on the device, and its limits",
    "ls": "list instances, or the devices and cores of one",
    "monitor": "stream neuron-monitor's JSON report of running simulations",
    "profile": "record NEFFs under load: trace, summary and timeline in one folder",
    "run": "run a NEFF: real values and simulated time",
    "top": "show the cores, memory and models of running simulations",
    "unpack": "write the members of a NEFF into a directory",
    "view": "show a recorded profile, or write it in another format",
    "whatif": "what limits a NEFF, shown by simulating it on better machines",
}
JSON_TO_FILE = ("bench",)  # commands whose --json names a file
EXIT_BAD_INPUT, EXIT_USAGE, EXIT_INTERNAL, EXIT_INTERRUPTED = 1, 2, 70, 130


class _Parser(argparse.ArgumentParser):
    """argparse whose errors look like all others."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error[USAGE]: {message}\n  help: {self.prog} --help\n")
        raise SystemExit(EXIT_USAGE)


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a command line; only the command that `argv` names is loaded."""
    root = _Parser(
        prog="neuronsim",
        description="Compile networks for NeuronCore-like accelerators; run them with values and time.",
    )
    root.add_argument("--version", action="version", version=_version())
    common, as_json = _Parser(add_help=False), _Parser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    common.add_argument("--verbose", action="store_true", help="everything: each operator on the CPU, tracebacks")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, what in COMMANDS.items():
        parents = [common] if name in JSON_TO_FILE else [common, as_json]
        sub = commands.add_parser(name, help=what, description=what, parents=parents)
        if name in argv[:1]:
            _command(name).add_arguments(sub)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = parser(argv).parse_args(argv)
    except SystemExit as stop:  # argparse: usage errors, --help, --version
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    try:
        code = int(_command(args.command).run(args))
        sys.stdout.flush()
        return code
    except NeuronError as error:
        return _fail(str(error), args.verbose, EXIT_BAD_INPUT)
    except BrokenPipeError:  # the reader of our output left, e.g. `neuronsim disasm x.neff | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT
    except OSError as error:
        where = f"\n  where: {error.filename}" if error.filename else ""
        return _fail(f"error[IO]: {error.strerror or error}{where}", args.verbose, EXIT_BAD_INPUT)
    except MemoryError as error:
        hint = "\n  help: use smaller inputs, or --timing-only, which touches no data"
        return _fail(f"error[MEMORY]: the host has not enough memory: {error}{hint}", args.verbose, EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("error[INTERRUPTED]: stopped by the user", False, EXIT_INTERRUPTED)
    except Exception as error:
        hint = (
            ""
            if args.verbose
            else "\n  help: this is a fault of neuronsim; run again with --verbose and report the traceback"
        )
        return _fail(f"error[INTERNAL]: {type(error).__name__}: {error}{hint}", args.verbose, EXIT_INTERNAL)


def _fail(message: str, verbose: bool, code: int) -> int:
    if verbose:
        traceback.print_exc()
    sys.stderr.write(message + "\n")
    return code


def _command(name: str) -> Any:
    return import_module(f"neuronsim.cli.{name.replace('-', '_')}")


def _version() -> str:
    import neuronsim

    return f"neuronsim {neuronsim.__version__}"
