"""`neuronsim run`: a NEFF on a simulated machine, values and time."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.target import Target
from neuronsim.api import Neff, NonFiniteWarning, Result, RunError, load
from neuronsim.cli.arguments import check_output, natural, positive
from neuronsim.cli.arrays import load_arrays, save_arrays
from neuronsim.cli.output import note, print_json, write_atomic, write_json
from neuronsim.cli.settings import add_setting, machine
from neuronsim.errors import SimulationError
from neuronsim.host import non_finite
from profiler.summary import seconds_text
from profiler.table import show

if TYPE_CHECKING:
    from neuronsim.check import Finding

EXIT_FINDINGS, EXIT_DIVERGED = 3, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `run`."""
    parser.add_argument("neff", metavar="NEFF")
    parser.add_argument("--inputs", metavar="FILE", help="npz: model input name -> array (default: seeded random)")
    parser.add_argument("--outputs", metavar="FILE", help="write the outputs as npz")
    parser.add_argument("--stats", metavar="FILE", help="write the statistics as JSON")
    parser.add_argument("--trace", metavar="FILE", help="write every instruction and transfer with its times as npz")
    parser.add_argument("--instance", metavar="T", help="machine to run on (default: what it was compiled for)")
    add_setting(parser)
    parser.add_argument("--iterations", type=positive, default=1, metavar="N")
    parser.add_argument(
        "--callers", type=positive, default=1, metavar="N", help="threads running the model, for throughput and latency"
    )
    parser.add_argument("--timing-only", action="store_true", help="time without values: no data touched")
    parser.add_argument("--values-only", action="store_true", help="values without statistics")
    parser.add_argument("--check", action="store_true", help="look for races, uninitialised reads, deadlock; exit 3")
    parser.add_argument("--compare", metavar="MODEL", help="compare each layer with ONNX Runtime; exit 4 on divergence")
    parser.add_argument("--seed", type=natural, default=0, help="of random inputs (default: 0)")
    parser.add_argument("--threads", type=positive, metavar="N", help="host threads (default: all)")
    parser.add_argument("--verify", action="store_true", help="hash every byte of the NEFF before running")
    parser.add_argument("--top", type=natural, default=10, metavar="N", help="layers to list (default: 10)")


def run(args: argparse.Namespace) -> int:
    """Check where asked, run, write what was asked for, print the summary."""
    _refuse_contradictions(args)
    given = [path for path in (args.neff, args.inputs, args.compare) if path]
    for path in (args.outputs, args.stats, args.trace):
        check_output(path, *given)
    neff = load(args.neff, verify=args.verify)
    target = machine(args.instance, neff.program.target, args.settings)
    inputs = load_arrays(args.inputs, neff.inputs) if args.inputs else None
    findings = neff.check(target) if args.check else []
    try:
        result = _result(args, neff, target, inputs)
    except SimulationError as error:  # what was found explains why it cannot run
        if not findings:
            raise
        return _not_run(args, findings, error)
    result.findings = findings
    if result.random_inputs:
        note(f"random inputs (seed {args.seed}) for: {', '.join(result.random_inputs)}")
    comparison = None
    if args.compare:
        from neuronsim.cli.compare import compare

        comparison = compare(neff, args.compare, inputs, args.seed, args.threads)
    _write_files(args, result)
    document: dict[str, Any] = {"stats": result.stats, "outputs": _described(result)}
    if args.check:
        document["findings"] = [str(f) for f in result.findings]
    if comparison is not None:
        document["comparison"] = comparison.as_json()
    if args.json:
        print_json(document)
    else:
        _print_text(args, result)
        if comparison is not None:
            show([comparison.table()], sys.stdout)
    if result.findings:
        return EXIT_FINDINGS
    return EXIT_DIVERGED if comparison is not None and comparison.first_divergence else 0


def print_summary(result: Result, top: int = 10) -> None:
    """Latency line and the profiler's tables."""
    last, stats = result.last, result.stats
    parts = [
        f"host in {seconds_text(last.host_in_seconds)}",
        f"device {seconds_text(last.device_seconds)}",
        f"host out {seconds_text(last.host_out_seconds)}",
    ]
    if last.cpu_seconds:
        parts.insert(2, f"CPU nodes {seconds_text(last.cpu_seconds)}")
    rate = stats["throughput_per_s"]
    callers = f" from {result.callers} callers, {stats['latency_ms']['p50']:.4g} ms each" if result.callers > 1 else ""
    sys.stdout.write(
        f"latency {seconds_text(last.latency_seconds)} ({', '.join(parts)})"
        f"{'' if rate is None else f', {rate:.1f} runs/s{callers}'}\n"
        f"simulated {stats['simulated_instructions']} instructions in {last.wall_seconds:.3g} s of host time\n\n"
    )
    if result.stages:
        show(result.summary.tables(top), sys.stdout)


def _not_run(args: argparse.Namespace, findings: list[Finding], error: SimulationError) -> int:
    if args.json:
        print_json({"findings": [str(f) for f in findings], "error": str(error)})
    else:
        sys.stdout.write("".join(f"{f}\n" for f in findings))
    note(f"not run to its end: {error}")
    return EXIT_FINDINGS


def _refuse_contradictions(args: argparse.Namespace) -> None:
    if args.timing_only and args.values_only:
        raise RunError("--timing-only and --values-only exclude each other", help="leave both out for values and time")
    for flag in ("outputs", "compare"):
        if args.timing_only and getattr(args, flag):
            raise RunError(f"--{flag} needs values", where="--timing-only", help="leave --timing-only out")


def _result(args: argparse.Namespace, neff: Neff, target: Target, inputs: dict[str, Any] | None) -> Result:
    mode = "timing" if args.timing_only else "values" if args.values_only else "both"
    for name in non_finite(inputs or {}):
        note(f"input {name!r} holds NaN or infinities")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", NonFiniteWarning)
        result = neff.run(
            inputs, target, args.iterations, mode, False, args.threads, args.seed, args.callers
        )
    for warning in caught:
        note(str(warning.message))
    return result


def _write_files(args: argparse.Namespace, result: Result) -> None:
    if args.outputs:
        save_arrays(args.outputs, result.outputs)
    if args.stats:
        write_json(args.stats, result.stats)
    if args.trace:
        write_atomic(args.trace, result.trace.write)


def _print_text(args: argparse.Namespace, result: Result) -> None:
    for finding in result.findings:
        sys.stdout.write(f"{finding}\n")
    if args.check and not result.findings:
        sys.stdout.write("check: no findings\n")
    for name, about in _described(result).items():
        sys.stdout.write(f"output {name}: {about['kind']}{_numbers(about)}\n")
    if args.values_only:
        return
    print_summary(result, args.top)


def _described(result: Result) -> dict[str, dict[str, Any]]:
    return {name: _about(array) for name, array in result.outputs.items()}


def _about(value: Any) -> dict[str, Any]:
    """What the terminal and --json say of an output; `kind` is its type and shape in words."""
    if isinstance(value, list):
        return {"kind": f"sequence of {len(value)}", "elements": [_about(v) for v in value]}
    if not isinstance(value, np.ndarray):
        return {"kind": "absent" if value is None else f"map of {len(value)}"}
    dtype = "string" if value.dtype == object else str(value.dtype)
    about: dict[str, Any] = {
        "kind": f"{dtype} {'x'.join(map(str, value.shape)) or 'scalar'}",
        "dtype": dtype,
        "shape": list(value.shape),
        "mean": None,
        "min": None,
        "max": None,
    }
    if value.size and value.dtype.kind not in "Oc":
        numbers = value.astype(np.float64)
        about.update(mean=float(numbers.mean()), min=float(numbers.min()), max=float(numbers.max()))
    return about


def _numbers(about: dict[str, Any]) -> str:
    if about.get("mean") is None:
        return ""
    return f"  mean {about['mean']:.6g}  min {about['min']:.6g}  max {about['max']:.6g}"
