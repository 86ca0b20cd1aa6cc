"""`neuronsim disasm`: the instructions of a NEFF as a listing that `neuronsim asm` reads back."""

from __future__ import annotations

import argparse
import sys

from isa import neff
from isa.disassembler import disassemble
from isa.word import ENGINES
from neuronsim.cli.arguments import check_output
from neuronsim.cli.output import print_json, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `disasm`."""
    parser.add_argument("neff", metavar="NEFF")
    parser.add_argument("--stage", type=int, metavar="N", help="only this stage")
    parser.add_argument("--engine", choices=ENGINES, help="only this engine's stream")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the listing here instead of stdout")


def run(args: argparse.Namespace) -> int:
    """Print or write the listing."""
    check_output(args.output, args.neff)
    listing = disassemble(neff.read(args.neff), args.engine, args.stage)
    if args.output:
        write_text(args.output, listing)
    if args.json:
        print_json({"output": args.output} if args.output else {"listing": listing})
    elif not args.output:
        sys.stdout.write(listing)
    return 0
