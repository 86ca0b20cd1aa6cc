"""Writes docs/results.md: nine networks on both targets, MFU, models of every framework. Run by `make results`.

The error and simulated columns are the same on every machine; the host columns are of the machine it ran on.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import frameworks
import many_cores
import measure
import quality

from neuronsim.demo.he_weights import NETWORKS
from profiler.summary import seconds_text

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "docs" / "results.md"


def networks(names: Iterable[str], repeats: int) -> list[measure.Measured]:
    """Every network on every target; progress on stderr."""
    found = []
    with tempfile.TemporaryDirectory(prefix="neuronsim-results-") as folder:
        for name in names:
            model = measure.write_light(name, Path(folder))
            for target, cast in measure.CASTS.items():
                found.append(measure.side_by_side(name, model, target, repeats, auto_cast=cast))
                m = found[-1]
                sys.stderr.write(
                    f"{name} {target}: error {m.headline.relative_error:.2g}, {m.ratio:.2f} x ONNX Runtime\n"
                )
            for file in Path(folder).iterdir():
                file.unlink()
    return found


def network_table(found: list[measure.Measured]) -> list[str]:
    lines = [
        "| network | target | operands | on device | relative error | same class | simulated latency | host time "
        "| x ONNX Runtime |",
        "|---|---|---|---:|---:|---|---:|---:|---:|",
    ]
    for m in found:
        operators = m.report["operators"]
        lines.append(
            f"| {m.name} | {m.target} | {_operands(m)} | {operators['on_device']} of {operators['total']} "
            f"| {m.headline.relative_error:.2g} | {'yes' if m.same_class else 'no'} "
            f"| {m.stats['latency_ms']['p50']:.3f} ms "
            f"| {seconds_text(m.host_seconds)} | {m.ratio:.2f} |"
        )
    return lines


def mfu_table(found: list[measure.Measured]) -> list[str]:
    lines = [
        "| network | target | device time | MFU | HFU | PE active | DMA active | DRAM bandwidth | inferred share |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    percents = (
        "mfu_estimated_percent", "hfu_estimated_percent", "tensor_engine_active_time_percent",
        "dma_active_time_percent", "mbu_estimated_percent",
    )  # fmt: skip
    for m in found:
        cells = " | ".join(f"{m.stats[p]:.1f} %" for p in percents)
        time, share = seconds_text(m.stats["total_time"]), 100 * m.stats["inferred_share"]
        lines.append(f"| {m.name} | {m.target} | {time} | {cells} | {share:.0f} % |")
    return lines


def _operands(m: measure.Measured) -> str:
    return "bf16" if measure.CASTS[m.target] == "matmult" else "fp32"


def document(found: list[measure.Measured], fixtures: list[str]) -> str:
    host = f"{platform.machine()}, {os.cpu_count()} hardware threads"
    parts = [
        "# Results", "",
        "Written by `make results`. Models: the networks of the onnx package with seeded He weights, batch 1.",
        f"Host times: medians on {host}, one thread on both sides; values and time together.", "",
        "## Nine networks", "", *network_table(found), "",
        "Relative error: largest difference to ONNX Runtime (fp32) over the largest magnitude of its output, on the",
        "tensor before a final softmax (which saturates, and would hide or magnify it).", "",
        "## Quality of the generated code", "", *quality.lines(), "",
        "Simulated. bf16 everywhere (`--auto-cast all`; the product has bf16 inputs and outputs). MFU is useful work",
        "over the documented peak; weights are streamed from DRAM in every run and counted. BERT-base: 12 layers,",
        "sequence 128.", "",
        "## Many cores", "", *many_cores.lines(), "",
        "Simulated; bf16 everywhere, batch 1. Copies of the program fill the instance, with two requests in flight for",
        "each core; latency is that of one request alone. *No pipeline*: every core runs the whole network and fetches",
        "its weights in every run, and the cores of a chip share its DRAM. In a pipeline what fits stays on chip",
        "(*pinned*: of the core that holds most); *fetched*: weights that the stages of one copy read from DRAM in a",
        "run. Bubbles: mean share of the time in which a stage waits. A rate below 1 / slowest stage is bounded by the",
        "host link (BERT on 128 cores of trn2: 393 kB in and out at 16 GB/s). Method: how the requests were simulated;",
        "exact where it does not say approximate (docs/serving.md).", "",
        "## Where the time goes", "", *mfu_table(found), "",
        "MFU and HFU are against the PE's peak for the operand type. Inferred share: part of the device time that goes",
        "away with all machine parameters that no document states. NeuronCore-v1 has next to no published figures:",
        "read its times as a consistent guess.",
    ]  # fmt: skip
    if fixtures:
        parts += ["", *fixtures]
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", type=Path, help="directory of models, see frameworks.py")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="only this network; repeatable")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    found = networks(args.network or NETWORKS, args.repeats)
    fixtures = frameworks.lines(args.fixtures) if args.fixtures else []
    args.output.write_text(document(found, fixtures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
