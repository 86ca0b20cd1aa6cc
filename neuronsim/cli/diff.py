"""`neuronsim diff`: two profiles compared, by metric, layer and stall."""

from __future__ import annotations

import argparse
import sys

from neuronsim.cli.arguments import amount, check_output, natural
from neuronsim.cli.output import print_json, write_json
from neuronsim.cli.profiles import read_summary
from profiler.comparison import Comparison, compare
from profiler.table import show

SCHEMA = 1
EXIT_SLOWER = 5
JUDGED = "total_time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `diff`."""
    what = "a folder of `neuronsim profile`, or a summary.json"
    parser.add_argument("before", metavar="A", help=what)
    parser.add_argument("after", metavar="B", help=what)
    parser.add_argument("--top", type=natural, default=15, metavar="N", help="layers and stalls to list (default: 15)")
    parser.add_argument(
        "--threshold", type=amount, metavar="PERCENT",
        help=f"exit {EXIT_SLOWER} when B takes so much longer than A (metric {JUDGED}), or more",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE", help="write the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, print, judge."""
    check_output(args.output, args.before, args.after)
    found = compare(read_summary(args.before), read_summary(args.after))
    document = {"schema": SCHEMA, "before": args.before, "after": args.after, **found.as_json()}
    if args.output:
        write_json(args.output, document)
    if args.json:
        print_json(document)
    else:
        show(found.tables(args.top), sys.stdout)
    return EXIT_SLOWER if args.threshold is not None and _slower(found, args.threshold) else 0


def _slower(found: Comparison, threshold: float) -> bool:
    time = found.metric(JUDGED)
    if not time.before or time.after is None:
        return bool(time.after)
    return time.after / time.before >= 1 + threshold / 100 and time.after > time.before
