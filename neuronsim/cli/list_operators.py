"""`neuronsim list-operators`: every operator of ONNX, whether it runs on the device of a target, and its limits.

With `--framework` the operators of another framework instead: which a model may use, and why not the others.
"""

from __future__ import annotations

import argparse
import sys

from neuronsim.cli.output import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `list-operators`."""
    parser.add_argument(
        "--target", default="inf1.xlarge", metavar="T", help="instance or target file (default: inf1.xlarge)"
    )
    parser.add_argument(
        "--framework", metavar="NAME",
        help="list what models of PYTORCH, TENSORFLOW, KERAS, TFLITE, MXNET, XGBOOST or DARKNET may use instead",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    from compiler.options import from_keywords

    framework = from_keywords({"framework": args.framework}).framework
    return _of_target(args) if framework in (None, "onnx") else _of_framework(framework, args.json)


def _of_framework(framework: str, as_json: bool) -> int:
    """What a frontend reads; where that runs is decided later, by the operators of ONNX that it becomes."""
    from compiler import frontends
    from compiler.frontends.formats import TITLES

    found = sorted(frontends.operators(framework).items())
    counts = {"supported": sum(not reason for _, reason in found), "unsupported": sum(bool(r) for _, r in found)}
    if as_json:
        operators = [{"operator": name, "supported": not reason, "reason": reason} for name, reason in found]
        print_json({"framework": framework, "counts": counts, "operators": operators})
        return 0
    width = max((len(name) for name, _ in found), default=0)
    for name, reason in found:
        sys.stdout.write(f"{name:{width}}  {'no: ' + reason if reason else 'yes'}\n")
    sys.stdout.write(f"{TITLES[framework]}: {counts['supported']} supported, {counts['unsupported']} not\n")
    return 0


def _of_target(args: argparse.Namespace) -> int:
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
