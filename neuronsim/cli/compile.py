"""`neuronsim compile`: a model file to a NEFF."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from neuronsim.cli.arguments import check_output
from neuronsim.cli.output import note, print_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `compile`."""
    parser.add_argument("model", metavar="MODEL", help="ONNX model")
    parser.add_argument("-o", "--output", metavar="FILE", help="NEFF to write (default: the model's name with .neff)")
    parser.add_argument("--report", metavar="FILE", help="write report.json: operators, stages, memory")
    add_compile_options(parser)


def add_compile_options(parser: argparse.ArgumentParser) -> None:
    """The options that become `CompileOptions`."""
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


_SWITCHES = {
    "fusion": "fused epilogues",
    "double_buffer": "prefetch of the next tile",
    "packing": "packing of the PE rows",
}


def option_values(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `neuronsim.compile` from parsed arguments."""
    from compiler.options import parse_input_shapes

    names = ("target", "batch", "auto_cast", "auto_cast_type", "opt_level", *_SWITCHES)
    values = {name: getattr(args, name) for name in names}
    return {**values, "input_shapes": parse_input_shapes(args.input_shape), "print_after": tuple(args.print_after)}


def run(args: argparse.Namespace) -> int:
    """Compile, write the NEFF and the report, say what happened."""
    import neuronsim

    output = Path(args.output or Path(args.model).with_suffix(".neff").name)
    check_output(output, args.model)
    check_output(args.report, args.model, output)
    neff = neuronsim.compile(args.model, output, **option_values(args))
    for text in neff.report.get("notes", []):
        note(text)
    if args.report:
        write_json(args.report, neff.report)
    if args.json:
        print_json({"output": str(output), **neff.report})
    else:
        sys.stdout.write(summary_text(neff.report, output))
    return 0


def summary_text(report: dict[str, Any], output: Path) -> str:
    """A few lines: where it went, operators by place with reasons, size of each stage."""
    lines = [f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB) in {report['compile_seconds']:.2f} s"]
    operators = report.get("operators", {})
    if operators:
        lines.append(
            f"operators: {operators['total']}, on device {operators['on_device']}, on CPU {operators['on_cpu']}"
        )
    lines += [f"  CPU: {o['name']} ({o['op_type']}): {o['reason']}" for o in report.get("cpu_operators", [])]
    for stage in report.get("stages", []):
        lines.append(
            f"stage on core {stage.get('core', 0)}: {stage['instructions']} instructions, "
            f"weights {stage['weights_bytes'] / 1e6:.1f} MB, "
            f"SBUF peak {stage['sbuf_peak_bytes'] / 1024:.1f} KiB "
            f"and PSUM peak {stage['psum_peak_bytes'] / 1024:.1f} KiB per partition"
        )
    if report.get("spill_bytes"):
        lines.append(f"spilled to DRAM: {report['spill_bytes']} bytes")
    return "\n".join(lines) + "\n"
