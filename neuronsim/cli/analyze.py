"""`neuronsim analyze`: what of a model would run on the device and what on the CPU, and why, without compiling it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from neuronsim.cli.arguments import check_output
from neuronsim.cli.compile import (
    MODEL_HELP,
    PARTITION,
    add_model_options,
    add_partition_options,
    model_values,
    partition_lines,
)
from neuronsim.cli.output import print_json, write_json

CAVEAT = "judged without lowering: compiling may still move operators to the CPU, for instance for want of memory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `analyze`."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--report", metavar="FILE", help="write the report as JSON")
    add_model_options(parser)
    add_partition_options(parser)


def run(args: argparse.Namespace) -> int:
    """Partition and print."""
    check_output(args.report, args.model)
    report = analyse(args)
    if args.report:
        write_json(args.report, report)
    if args.json:
        print_json(report)
    else:
        sys.stdout.write("\n".join([*partition_lines(report, verbose=True), f"note: {CAVEAT}"]) + "\n")
    return 0


def analyse(args: argparse.Namespace) -> dict[str, Any]:
    """The partition's fields of report.json. Raises: CompileError, OptionError, ErrorList of them."""
    from compiler import frontends
    from compiler import given as face
    from compiler.options import from_keywords
    from compiler.partition import partition
    from compiler.report import partition_report
    from isa import target as targets

    options = from_keywords({**model_values(args), **{name: getattr(args, name) for name in PARTITION}})
    graph = frontends.load(args.model, face(options), options.framework)
    found = partition(graph, targets.load(options.target), options)
    return {**partition_report(graph, found), "notes": [*graph.notes, CAVEAT]}
