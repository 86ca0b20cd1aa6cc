"""`neuronsim inspect`: what a NEFF holds, without running it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from isa import neff
from neuronsim.cli.output import print_json
from neuronsim.host_checks import shape_text
from profiler.summary import bytes_text
from profiler.table import Table, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `inspect`."""
    parser.add_argument("neff", metavar="NEFF")
    parser.add_argument("--verify", action="store_true", help="hash every member, weights included")


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    if args.verify:
        neff.verify_all(args.neff)
    found: dict[str, Any] = neff.inspect(args.neff)
    if args.json:
        print_json(found)
        return 0
    pipeline = [_pipeline(found)] if any(n["upstream"] for n in found["nodes"]) or _pins(found) else []
    show([_head(found), _tensors(found), _stages(found), *pipeline], sys.stdout)
    for op in found["cpu_operators"]:
        sys.stdout.write(f"CPU: {op['name']} ({op['op_type']}): {op['reason']}\n")
    return 0


def _head(found: dict[str, Any]) -> Table:
    operators = found["operators"]
    rows = [
        ["compiled for", f"{found['target']} ({found['generation']})"],
        ["weights", bytes_text(found["weights_bytes"])],
        ["nodes", " -> ".join(f"{n['name']} ({n['kind']})" for n in found["nodes"])],
    ]
    if operators:
        counts = f"{operators['total']}, on device {operators['on_device']}, on CPU {operators['on_cpu']}"
        rows.append(["operators", counts])
    rows += [[key, str(value)] for key, value in (found["header"] or {}).items() if not isinstance(value, dict | list)]
    return Table(found["name"], ["property", "value"], [*rows])


def _tensors(found: dict[str, Any]) -> Table:
    table = Table("Inputs and outputs", ["", "name", "type", "shape"])
    for kind in ("inputs", "outputs"):
        for t in found[kind]:
            shape = "any" if t["shape"] is None else shape_text(t["shape"])
            table.rows.append([kind[:-1], t["name"], t["dtype"], "" if "(" in t["dtype"] else shape])
    return table


def _stages(found: dict[str, Any]) -> Table:
    table = Table("Stages", [">stage", "instructions", ">descriptors", ">weights", ">SBUF peak", ">PSUM peak"])
    for number, s in enumerate(found["stages"]):
        counts = ", ".join(f"{engine} {n}" for engine, n in s["instructions"].items())
        if s["init_instructions"]:
            counts += "; at load " + ", ".join(f"{engine} {n}" for engine, n in s["init_instructions"].items())
        sizes = [bytes_text(s[key]) for key in ("weights_bytes", "sbuf_peak_bytes", "psum_peak_bytes")]
        table.rows.append([str(number), counts, str(s["descriptors"]), *sizes])
    table.notes.append("peaks are per partition")
    return table


def _pins(found: dict[str, Any]) -> bool:
    return any(s["init_instructions"] for s in found["stages"])


def _pipeline(found: dict[str, Any]) -> Table:
    """What each core keeps, fetches in every run, and hands to the next."""
    table = Table("Pipeline", [">stage", ">core", "handed by", ">pinned", ">streamed", ">handed on", "to",
                               ">buffers"])
    for node in (n for n in found["nodes"] if n["kind"] != "cpu"):
        stage = found["stages"][node["stage"]]
        weights = ["" if stage[key] is None else bytes_text(stage[key]) for key in ("pinned_bytes", "streamed_bytes")]
        spaces = sorted({v["space"].upper() for v in stage["handover"]})
        handed = bytes_text(sum(v["bytes"] for v in stage["handover"])) if spaces else ""
        table.rows.append([str(node["stage"]), str(node["core"]), node["upstream"] or "host", *weights, handed,
                           ", ".join(spaces) or "host", bytes_text(stage["handover_bytes"])])
    table.notes.append("pinned weights are loaded once, streamed ones in every run")
    table.notes.append("buffers are what the stage before fills, per partition of SBUF")
    return table
