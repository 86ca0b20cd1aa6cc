"""`neuronsim bench`: throughput, latency and cost of a NEFF on a simulated instance, with NeuronPerf's names."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from typing import Any

from isa import target as targets
from neuronsim.api import load
from neuronsim.benchmark import PRINTED, Question
from neuronsim.benchmark import run as benchmark
from neuronsim.cli.arguments import check_output, natural, positive
from neuronsim.cli.output import print_json, write_json
from neuronsim.cli.progress import bar
from neuronsim.runtime.ownership import STATE_DIR
from neuronsim.serving.methods import METHODS
from neuronsim.serving.model import POLICIES
from profiler.summary import bytes_text, seconds_text
from profiler.table import Table, show

STDOUT = "-"
_ROWS = 16  # of a table, without --verbose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench`."""
    parser.add_argument("neff", metavar="NEFF")
    parser.add_argument("--instance", metavar="T", help="machine to run on (default: what it was compiled for)")
    parser.add_argument("--n-models", type=positive, metavar="M", help="copies (default: as many as the cores hold)")
    parser.add_argument("--requests", type=positive, metavar="N", help="in all (default: 1000, or all of a file)")
    parser.add_argument(
        "--in-flight", type=positive, metavar="K", help="requests in flight for each copy (default: two for each core)"
    )
    parser.add_argument(
        "--arrivals", metavar="A",
        help="poisson:RATE or constant:RATE (per second), or a file of seconds (default: the next when one has ended)",
    )  # fmt: skip
    parser.add_argument("--seed", type=natural, default=0, help="of poisson arrivals (default: 0)")
    parser.add_argument("--policy", choices=POLICIES, default=POLICIES[0], help=f"which copy (default: {POLICIES[0]})")
    parser.add_argument("--rows", type=positive, metavar="R", help="rows of one request (default: a whole batch)")
    parser.add_argument("--price", type=_price, metavar="USD", help="per hour (default: the instance's)")
    parser.add_argument("--method", choices=METHODS, default="auto", help="how to simulate (default: auto)")
    parser.add_argument(
        "--state-dir", metavar="DIR",
        help=f"share the instance with other runtimes through this folder (as ${STATE_DIR}); default: one of its own",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help=f"write the report as JSON; {STDOUT} prints it instead of text")


def run(args: argparse.Namespace) -> int:
    """Simulate, print the tables, write the report."""
    to_file = args.json if args.json != STDOUT else None
    check_output(to_file, args.neff)
    neff = load(args.neff)
    target = targets.load(args.instance or neff.program.target)
    question = Question(
        args.n_models, args.in_flight, args.requests, args.arrivals, args.seed, args.policy, args.rows or 0,
        args.method, args.price,
    )  # fmt: skip
    with bar("requests") as tell:
        report = benchmark(neff, target, question, args.state_dir, tell)
    if to_file:
        write_json(to_file, report)
    if args.json == STDOUT:
        print_json(report)
    else:
        show([figures(report), *details(report, args.verbose)], sys.stdout)
    return 0


def figures(report: dict[str, Any]) -> Table:
    """NeuronPerf's columns and the cost; as rows on a terminal that is too narrow for them."""
    cost = report["cost_per_1m_inf"]
    texts = {"cost_per_1m_inf": "N/A" if cost is None else f"${cost:.4g}"}
    columns = [*PRINTED[:-1], "cost_per_1m_inf", PRINTED[-1]]
    cells = [texts.get(c, _number(report[c])) for c in columns]
    table = Table("", [*(f">{c}" for c in columns[:-1]), columns[-1]], [cells])
    width = max(map(len, table.plain().splitlines())) + len(columns)  # and the lines between them
    if sys.stdout.isatty() and width > shutil.get_terminal_size().columns:
        return Table("", ["figure", ">value"], [list(row) for row in zip(columns, cells)])
    return table


def details(report: dict[str, Any], everything: bool = False) -> list[Table]:
    """Where the time went: one table of cores, one of stages; the first rows of them, or all."""
    last = None if everything else _ROWS
    cores = Table(_headline(report), [">core", ">utilization", ">weights", ">DRAM traffic", ">switches"])
    for core in report["cores"][:last]:
        cores.rows.append([
            str(core["index"]), _percent(core["utilization"]), bytes_text(core["weights_bytes"]),
            bytes_text(core["dram_bytes"]), str(core["switches"]),
        ])  # fmt: skip
    stages = Table("stages", [">core", ">copy", ">runs", ">alone", ">together", ">contention", ">bubbles", ">queue"])
    for stage in report["stages"][:last]:
        stages.rows.append([
            str(stage["core"]), str(stage["copy"]), str(stage["runs"]), seconds_text(stage["alone_ns"] / 1e9),
            seconds_text(stage["together_ns"] / 1e9), _percent(stage["contention"]), _percent(stage["bubble_share"]),
            f"{stage['queue_mean']:.2f}",
        ])  # fmt: skip
    for table, rows in ((cores, report["cores"]), (stages, report["stages"])):
        if len(table.rows) < len(rows):
            table.notes.append(f"and {len(rows) - len(table.rows)} more: --verbose shows all")
    stages.notes += _shared_notes(report["contention"])
    return [cores, stages]


def _shared_notes(found: dict[str, Any]) -> list[str]:
    """What all runs together took of what chips share, and how long one waited for it."""
    (model,) = found["models"]
    notes = [
        f"chip {chip}: {_percent(found['dram_share'].get(chip, 0.0))} of its DRAM bandwidth, host link "
        f"{_percent(share)} busy"
        for chip, share in found["host_link_share"].items()
    ]
    notes.append(
        f"a run takes {seconds_text(model['link'])} on the host link, and waits {seconds_text(model['link_wait'])} "
        "for it or for a free buffer"
    )
    if found["switches"]:
        notes.append(f"{found['switches']} model switches: {seconds_text(found['switch_seconds'])}")
    return notes


def _headline(report: dict[str, Any]) -> str:
    (model,) = report["contention"]["models"]
    sure = "exact" if report["exact"] else "approximate"
    return (
        f"{report['requests']} requests in {seconds_text(report['total_s'])} on {report['instance_type']}; "
        f"a run takes {seconds_text(model['device_together'])} on its cores, "
        f"alone {seconds_text(model['device_alone'])}\n"
        f"method {report['method']} ({sure}): {report['reason']}"
    )


def _number(value: Any) -> str:
    """As NeuronPerf prints: three decimals at most."""
    if value is None:
        return "N/A"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not (math.isfinite(price) and price >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no price in USD per hour")
    return price
