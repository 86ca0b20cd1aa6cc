"""`neuronsim compile`: a model file to a NEFF."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from neuronsim.cli import progress
from neuronsim.cli.arguments import check_output
from neuronsim.cli.output import note, print_json, write_json
from profiler.table import Table, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `compile`."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("-o", "--output", metavar="FILE", help="NEFF to write (default: the model's name with .neff)")
    parser.add_argument("--report", metavar="FILE", help="write report.json: operators, stages, memory")
    add_compile_options(parser)


def add_compile_options(parser: argparse.ArgumentParser) -> None:
    """The options that become `CompileOptions`."""
    add_model_options(parser)
    add_partition_options(parser)
    add_pipeline_options(parser)
    parser.add_argument("--auto-cast", choices=("none", "matmult", "all"), help="what is rounded to the cast type")
    parser.add_argument(
        "--auto-cast-type", default="bf16", choices=("bf16", "fp16", "tf32", "fp8_e4m3"), help="default: bf16"
    )
    parser.add_argument(
        "-O", "--opt-level", type=int, default=2, choices=(0, 1, 2, 3), help="optimisation level (default: 2)"
    )
    parser.add_argument(
        "--print-after", action="append", default=[], metavar="PASS", help="print the graph after a pass; repeatable"
    )
    for name, what in _SWITCHES.items():
        parser.add_argument(
            f"--no-{name.replace('_', '-')}", dest=name, action="store_false", help=f"switch off {what}"
        )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The machine, the format of the model, and its shapes and types."""
    parser.add_argument(
        "--target", default="inf1.xlarge", metavar="T", help="instance or target file (default: inf1.xlarge)"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="size of a symbolic leading dimension")
    parser.add_argument(
        "--input-shape",
        action="append",
        default=[],
        metavar="NAME:1x3x224x224",
        help="full shape of one input; repeatable",
    )
    parser.add_argument(
        "--input-dtype", action="append", default=[], metavar="NAME:int32",
        help="element type of one input, for files that do not state it; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--io-config", metavar="JSON|FILE",
        help='inputs and outputs as neuron-cc takes them: {"inputs": {NAME: [[1, 3], "float32"]}, "outputs": [NAME]}',
    )  # fmt: skip
    parser.add_argument(
        "--framework", metavar="NAME",
        help="what saved the model: onnx, pytorch, tensorflow, keras, tflite, mxnet, xgboost or darknet "
        "(default: found out from the content)",
    )  # fmt: skip


def add_partition_options(parser: argparse.ArgumentParser) -> None:
    """What goes to the device and what stays on the CPU."""
    parser.add_argument("--cpu-ops", type=_names, default=(), metavar="A,B", help="operators or nodes kept on the CPU")
    parser.add_argument(
        "--device-ops", type=_names, default=(), metavar="A,B", help="operators or nodes that have to go to the device"
    )
    parser.add_argument(
        "--minimum-segment-size", type=int, default=2, metavar="N",
        help="device segments of fewer operators join the CPU (default: 2)",
    )  # fmt: skip
    parser.add_argument(
        "--no-fallback", dest="fallback", action="store_false", help="an operator the device cannot run is an error"
    )
    parser.add_argument(
        "--no-transfer-cost", dest="transfer_cost", action="store_false",
        help="keep on the device what would be faster with its neighbours on the CPU",
    )  # fmt: skip
    parser.add_argument(
        "--strict-rounding", action="store_true", help="leave to the CPU what the device rounds otherwise than ONNX"
    )


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    """How many cores share the work, and what has to stay on chip."""
    parser.add_argument(
        "--neuroncore-pipeline-cores", type=_cores, metavar="N|auto",
        help="cut device segments into up to N stages, each on its own core, with weights pinned on chip; "
        "auto tries numbers and takes the best",
    )  # fmt: skip
    parser.add_argument(
        "--optimize-for", default="throughput", choices=("throughput", "latency", "cost"),
        help="what auto looks for (default: throughput)",
    )  # fmt: skip
    parser.add_argument(
        "--require-pinned", action="store_true", help="a weight that does not fit on chip is an error"
    )


def _cores(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


MODEL_HELP = (
    "the model as its framework saved it: ONNX, PyTorch (.pt, .pth, .pt2), TensorFlow (folder of a SavedModel, .pb or "
    ".pbtxt), Keras (.h5, .keras), TensorFlow Lite, MXNet (symbol and params), XGBoost, DarkNet (cfg and weights), or "
    "a .tar.gz or .zip of these"
)
PARTITION = ("cpu_ops", "device_ops", "minimum_segment_size", "fallback", "transfer_cost", "strict_rounding")
PIPELINE = ("neuroncore_pipeline_cores", "optimize_for", "require_pinned")
_SWITCHES = {
    "fusion": "fused epilogues",
    "double_buffer": "prefetch of the next tile",
    "packing": "packing of the PE rows",
}


def option_values(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `neuronsim.compile` from parsed arguments."""
    names = ("auto_cast", "auto_cast_type", "opt_level", *PARTITION, *PIPELINE, *_SWITCHES)
    values = {name: getattr(args, name) for name in names}
    return {**values, **model_values(args), "print_after": tuple(args.print_after)}


def model_values(args: argparse.Namespace) -> dict[str, Any]:
    """Options of `add_model_options` as keyword arguments of `neuronsim.compile`."""
    values = {name: getattr(args, name) for name in ("target", "batch", "framework", "io_config")}
    return {**values, "input_shapes": args.input_shape, "input_dtypes": args.input_dtype}


def run(args: argparse.Namespace) -> int:
    """Compile, write the NEFF and the report, say what happened."""
    import neuronsim

    output = Path(args.output or default_output(Path(args.model)))
    check_output(output, args.model)
    check_output(args.report, args.model, output)
    with progress.bar("compiling for numbers of cores") as tell:
        neff = neuronsim.compile(args.model, output, progress=tell, **option_values(args))
    for text in neff.report.get("notes", []):
        note(text)
    if args.report:
        write_json(args.report, neff.report)
    if args.json:
        print_json({"output": str(output), **neff.report})
    else:
        if "auto" in neff.report:
            show([trial_table(neff.report["auto"])], sys.stdout)
        sys.stdout.write(summary_text(neff.report, output, args.verbose))
    return 0


def default_output(model: Path) -> str:
    """Name of the NEFF of a model: what its file, folder or archive is called, without endings of files."""
    name = model.resolve().name if model.is_dir() else re.sub(r"\.(tar(\.\w+)?|tgz|tbz2?|txz|[^.]*)$", "", model.name)
    return (name or "model") + ".neff"


def trial_table(auto: dict[str, Any]) -> Table:
    """What a search for the number of cores tried, and why it chose."""
    table = Table(
        f"pipeline cores tried, optimising for {auto['objective']}",
        ["", ">cores", "instance", ">copies", ">inferences/s", ">latency ms", ">USD per million", ">slowest / mean",
         ">pinned MB", ">fetched MB"],
    )  # fmt: skip
    for trial in auto["trials"]:
        mark = "*" if trial["cores"] == auto["cores"] else ""
        if trial["error"]:
            table.rows.append([mark, str(trial["cores"]), trial["error"], *[""] * 7])
            continue
        price = trial["usd_per_million"]
        table.rows.append([
            mark, str(trial["cores"]), trial["instance"], str(trial["copies"]), f"{trial['throughput_per_s']:.0f}",
            f"{trial['latency_ms']:.3f}", "-" if price is None else f"{price:.3f}", f"{trial['imbalance']:.2f}",
            f"{trial['pinned_bytes'] / 1e6:.1f}", f"{trial['streamed_bytes'] / 1e6:.1f}",
        ])  # fmt: skip
    table.notes += [auto["why"], "figures are the schedule's estimates for an instance full of copies"]
    return table


def summary_text(report: dict[str, Any], output: Path, verbose: bool = False) -> str:
    """A few lines: where it went, operators by place (with `verbose` each with its reason), size of each stage."""
    lines = [f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB) in {report['compile_seconds']:.2f} s"]
    lines += partition_lines(report, verbose)
    for stage in report.get("stages", []):
        pinned = f" ({stage['pinned_bytes'] / 1e6:.1f} MB pinned)" if stage["pinned_bytes"] else ""
        lines.append(
            f"stage on core {stage.get('core', 0)}: {stage['instructions']} instructions, "
            f"weights {stage['weights_bytes'] / 1e6:.1f} MB{pinned}, "
            f"SBUF peak {stage['sbuf_peak_bytes'] / 1024:.1f} KiB "
            f"and PSUM peak {stage['psum_peak_bytes'] / 1024:.1f} KiB per partition"
        )
    if report.get("spill_bytes"):
        lines.append(f"spilled to DRAM: {report['spill_bytes']} bytes")
    return "\n".join(lines) + "\n"


def partition_lines(report: dict[str, Any], verbose: bool) -> list[str]:
    """The line on what runs where; with `verbose` the format, the segments, and the operators on the CPU by reason."""
    from compiler.frontends.formats import TITLES
    from compiler.report import one_line

    lines = [one_line(report)]
    if not verbose:
        return lines
    if "model" in report:
        lines.append(f"  read as {TITLES[report['model']['framework']]} ({report['model']['kind']})")
    for segment in report["segments"]:
        count = segment["operators"]
        lines.append(
            f"  {segment['name']}: {count} operator{'s' if count != 1 else ''}, "
            f"{segment['input_bytes']} bytes in, {segment['output_bytes']} bytes out"
        )
    by_reason: dict[str, list[str]] = {}
    for operator in report["cpu_operators"]:
        by_reason.setdefault(operator["reason"], []).append(f"{operator['name']} ({operator['op_type']})")
    for reason, names in by_reason.items():
        lines += [f"  on CPU: {reason}", *(f"    {name}" for name in names)]
    return lines
