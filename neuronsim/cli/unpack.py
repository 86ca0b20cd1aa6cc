"""`neuronsim unpack`: the members of a NEFF as files, every byte verified first."""

from __future__ import annotations

import argparse
import sys

from isa import neff
from neuronsim.cli.output import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `unpack`."""
    parser.add_argument("neff", metavar="NEFF")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="new or empty directory")


def run(args: argparse.Namespace) -> int:
    """Unpack and list the members."""
    names = neff.unpack(args.neff, args.output)
    if args.json:
        print_json({"output": args.output, "members": names})
    else:
        sys.stdout.write("".join(f"{args.output}/{name}\n" for name in names))
    return 0
