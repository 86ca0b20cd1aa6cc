"""`neuronsim list-operators`: every operator of ONNX, whether it runs on the device of a target, and its limits."""

from __future__ import annotations

import argparse
import sys

from neuronsim.cli.output import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `list-operators`."""
    parser.add_argument(
        "--target", default="inf1.xlarge", metavar="T", help="instance or target file (default: inf1.xlarge)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    from compiler.partition.support import CONDITIONAL, CPU, DEVICE, NOTES, support
    from isa import target as targets

    target = targets.load(args.target)
    found = support(target)
    levels = (DEVICE, CONDITIONAL, CPU)
    counts = {level: sum(s.level == level for s in found) for level in levels}
    if args.json:
        print_json({"target": target.name, "counts": counts, "operators": [s.as_json() for s in found],
                    "notes": list(NOTES)})  # fmt: skip
        return 0
    width = max(len(s.operator) for s in found)
    for s in found:
        words = ("not when: " if s.level == CONDITIONAL else "") + "; ".join(s.words)
        sys.stdout.write(f"{s.operator:{width}}  {s.level:{len(CONDITIONAL)}}  {words}\n")
    sys.stdout.write(f"{target.name}: " + ", ".join(f"{n} {level}" for level, n in counts.items()) + "\n")
    sys.stdout.write("".join(f"note: {text}\n" for text in NOTES))
    return 0
