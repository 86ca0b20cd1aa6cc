"""`neuronsim bench`: throughput, latency and cost of NEFFs on a simulated instance, with NeuronPerf's names."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from neuronsim.api import load
from neuronsim.benchmark import PRINTED, Question
from neuronsim.benchmark import run as benchmark
from neuronsim.cli.arguments import amount, check_output, natural, positive
from neuronsim.cli.output import print_json, write_json
from neuronsim.cli.progress import bar
from neuronsim.cli.settings import add_setting, machine
from neuronsim.runtime.environment import GROUP_SIZES
from neuronsim.runtime.ownership import STATE_DIR
from neuronsim.serving.methods import METHODS
from neuronsim.serving.model import POLICIES
from profiler.summary import bytes_text, seconds_text
from profiler.table import Table, show

STDOUT = "-"
_ROWS = 16  # of a table, without --verbose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench`."""
    parser.add_argument("neffs", metavar="NEFF", nargs="+", help="several are served side by side")
    parser.add_argument("--instance", metavar="T", help="machine to run on (default: what it was compiled for)")
    add_setting(parser)
    parser.add_argument(
        "--n-models", type=positive, metavar="M",
        help="copies of each (default: as many as the cores hold; of several NEFFs one each)",
    )  # fmt: skip
    parser.add_argument(
        "--groups", metavar="SIZES",
        help=f"NeuronCore groups, such as 2,2, that models share (default: ${GROUP_SIZES}, or one for each copy)",
    )  # fmt: skip
    parser.add_argument(
        "--requests", type=positive, metavar="N", help="of each model, in all (default: 1000, or all of a file)"
    )
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
    parser.add_argument("--price", type=amount, metavar="USD", help="per hour (default: the instance's)")
    parser.add_argument("--method", choices=METHODS, default="auto", help="how to simulate (default: auto)")
    parser.add_argument(
        "--state-dir", metavar="DIR",
        help=f"share the instance with other runtimes through this folder (as ${STATE_DIR}); default: one of its own",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help=f"write the report as JSON; {STDOUT} prints it instead of text")


def run(args: argparse.Namespace) -> int:
    """Simulate, print the tables, write the report."""
    to_file = args.json if args.json != STDOUT else None
    check_output(to_file, *args.neffs)
    neffs = [load(path) for path in args.neffs]
    target = machine(args.instance, neffs[0].program.target, args.settings)
    question = Question(
        args.n_models, args.in_flight, args.requests, args.arrivals, args.seed, args.policy, args.rows or 0,
        args.method, args.price, args.groups,
    )  # fmt: skip
    with bar("requests") as tell:
        report = benchmark(neffs, target, question, args.state_dir, tell)
    if to_file:
        write_json(to_file, report)
    if args.json == STDOUT:
        print_json(report)
    else:
        show([figures(report), *details(report, args.verbose)], sys.stdout)
    return 0


def figures(report: dict[str, Any]) -> Table:
    """NeuronPerf's columns and the cost, a row for each model; upright on a terminal that is too narrow for them."""
    models = report.get("models")
    cost = [] if models else ["cost_per_1m_inf"]  # of several: `_headline`
    columns = [*PRINTED[:-1], *cost, PRINTED[-1]]
    rows: list[Sequence[str]] = [
        [_number(row[c]) if c not in cost else _dollars(row[c]) for c in columns] for row in models or [report]
    ]
    table = Table("", [*(f">{c}" for c in columns[:-1]), columns[-1]], rows)
    width = max(map(len, table.plain().splitlines())) + len(columns)  # and the lines between them
    if sys.stdout.isatty() and width > shutil.get_terminal_size().columns:
        values = [f">model {number}" for number in range(len(models))] if models else [">value"]
        return Table("", ["figure", *values], [list(row) for row in zip(columns, *rows)])
    return table


def details(report: dict[str, Any], everything: bool = False) -> list[Table]:
    """Where the time went: by model where there are several, by core, by stage; the first rows of them, or all."""
    tables = [_models(report)] if "models" in report else []
    tables += [_cores(report), _stages(report)]
    for table in tables:
        if not everything and len(table.rows) > _ROWS:
            table.notes.insert(0, f"and {len(table.rows) - _ROWS} more: --verbose shows all")
            del table.rows[_ROWS:]
    tables[0].title = _headline(report)
    return tables


def _models(report: dict[str, Any]) -> Table:
    """What a run of each model takes alone, and what the others cost it."""
    columns = [">alone", ">together", ">slowdown", ">host link", ">waits", ">switching", ">switches", ">DRAM traffic"]
    table = Table("", [">model", *columns, "file"])
    for number, (model, row) in enumerate(zip(report["contention"]["models"], report["models"], strict=True)):
        times = (seconds_text(model[key]) for key in ("device_alone", "device_together"))
        traffic = sum(stage["dram_bytes"] for stage in report["stages"] if stage["model"] == number)
        table.rows.append([
            str(number), *times, _percent(model["slowdown"]), seconds_text(model["link"]),
            seconds_text(model["link_wait"]), seconds_text(model["switch"]), str(model["switches"]),
            bytes_text(traffic), row["model_filename"],
        ])  # fmt: skip
    table.notes += [
        "times of a run: on its cores, slower together for memory and links between chips; on the host link, and",
        "waiting for it or for a free buffer; until it has taken the place of other models on its cores",
    ]
    return table


def _cores(report: dict[str, Any]) -> Table:
    table = Table("", [">core", ">utilization", ">weights", ">DRAM traffic", ">switches"])
    for core in report["cores"]:
        table.rows.append([
            str(core["index"]), _percent(core["utilization"]), bytes_text(core["weights_bytes"]),
            bytes_text(core["dram_bytes"]), str(core["switches"]),
        ])  # fmt: skip
    return table


def _stages(report: dict[str, Any]) -> Table:
    of_model = [">model"] if "models" in report else []
    columns = [">copy", ">runs", ">alone", ">together", ">contention", ">bubbles", ">queue"]
    table = Table("stages", [">core", *of_model, *columns])
    for stage in report["stages"]:
        table.rows.append([
            str(stage["core"]), *(str(stage["model"]) for _ in of_model), str(stage["copy"]), str(stage["runs"]),
            seconds_text(stage["alone_ns"] / 1e9), seconds_text(stage["together_ns"] / 1e9),
            _percent(stage["contention"]), _percent(stage["bubble_share"]), f"{stage['queue_mean']:.2f}",
        ])  # fmt: skip
    table.notes += _shared_notes(report["contention"])
    return table


def _shared_notes(found: dict[str, Any]) -> list[str]:
    """What all runs together took of what chips share, and how long one waited for it."""
    notes = [
        f"chip {chip}: {_percent(found['dram_share'].get(chip, 0.0))} of its DRAM bandwidth, host link "
        f"{_percent(share)} busy"
        for chip, share in found["host_link_share"].items()
    ]
    if len(found["models"]) == 1:
        (model,) = found["models"]
        waits = seconds_text(model["link_wait"])
        notes.append(
            f"a run takes {seconds_text(model['link'])} on the host link, and waits {waits} for it or for a free buffer"
        )
    if found["switches"]:
        notes.append(f"{found['switches']} model switches: {seconds_text(found['switch_seconds'])}")
    return notes


def _headline(report: dict[str, Any]) -> str:
    models = report["contention"]["models"]
    found = f"{report['requests']} requests in {seconds_text(report['total_s'])} on {report['instance_type']}; "
    if len(models) == 1:
        found += (
            f"a run takes {seconds_text(models[0]['device_together'])} on its cores, "
            f"alone {seconds_text(models[0]['device_alone'])}"
        )
    else:
        found += (
            f"all models: {_number(report['throughput_avg'])} inferences/s, {_dollars(report['cost_per_1m_inf'])} for "
            "a million of them"
        )
    sure = "exact" if report["exact"] else "approximate"
    return f"{found}\nmethod {report['method']} ({sure}): {report['reason']}"


def _dollars(cost: float | None) -> str:
    return "N/A" if cost is None else f"${cost:.4g}"


def _number(value: Any) -> str:
    """As NeuronPerf prints: three decimals at most."""
    if value is None:
        return "N/A"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
