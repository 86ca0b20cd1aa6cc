"""`neuronsim asm`: a listing to the binary members of a NEFF, or to a whole NEFF."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from isa import neff
from isa import target as targets
from isa.assembler import assemble, missing_weights, write_members
from isa.errors import NeuronError
from isa.validator import validate
from neuronsim.cli.arguments import check_output
from neuronsim.cli.output import note, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `asm`."""
    parser.add_argument("listing", metavar="LISTING", help="text as `neuronsim disasm` prints it; see docs/assembly.md")
    parser.add_argument(
        "-o", "--output", metavar="DIR|FILE.neff", required=True, help="new directory, or a NEFF to write"
    )
    parser.add_argument("--weights", metavar="FROM", help="NEFF or unpacked directory that holds the weights it names")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NeuronError("the listing is not UTF-8 text", code="ASSEMBLY", where=f"{path}, byte {error.start}",
                          help="`neuronsim disasm` prints listings") from None


def run(args: argparse.Namespace) -> int:
    """Assemble, validate, write."""
    if args.output.endswith(".neff"):
        check_output(args.output, args.listing, *([args.weights] if args.weights else []))
    program = assemble(_text(Path(args.listing)), args.weights)
    machine = targets.load(program.generation)
    for stage in program.stages:
        validate(stage, machine)
    if args.output.endswith(".neff"):
        neff.write(program, args.output)
        members = [args.output]
    else:
        members = [f"{args.output}/{name}" for name in write_members(program, args.output)]
    absent = missing_weights(program)
    if absent:
        note(f"weights without data: {', '.join(absent)}; give them with --weights")
    if args.json:
        print_json({"output": args.output, "members": members, "missing_weights": absent})
    else:
        sys.stdout.write("".join(f"{m}\n" for m in members))
    return 0
