"""`neuronsim demo`: the whole of neuronsim on ResNet-50 in one go."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from neuronsim.cli.arguments import natural
from neuronsim.cli.output import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `demo`."""
    parser.add_argument("--target", default="trn1.2xlarge", metavar="T", help="default: trn1.2xlarge")
    parser.add_argument(
        "--network", default="resnet50", metavar="NAME", help="a light model of the onnx package (default: resnet50)"
    )
    parser.add_argument("--keep", metavar="DIR", help="keep model and NEFF here")
    parser.add_argument("--top", type=natural, default=10, metavar="N", help="layers to list (default: 10)")


def run(args: argparse.Namespace) -> int:
    """Make the model, compile, run, compare, summarise."""
    if args.keep:
        Path(args.keep).mkdir(parents=True, exist_ok=True)
        return _demo(args, Path(args.keep))
    with tempfile.TemporaryDirectory(prefix="neuronsim-demo-") as folder:
        return _demo(args, Path(folder))


def _demo(args: argparse.Namespace, folder: Path) -> int:
    import onnx

    import neuronsim
    from neuronsim.cli.run import print_summary
    from neuronsim.demo.he_weights import light_model

    def say(text: str) -> None:
        (sys.stderr if args.json else sys.stdout).write(text + "\n")
        sys.stdout.flush()

    model = folder / f"{args.network}.onnx"
    say(f"1. {args.network} from the onnx package, seeded He weights (no trained weights are shipped)")
    onnx.save(light_model(args.network), model)
    say(f"2. compile for {args.target}, matmul operands in bf16")
    started = time.perf_counter()
    neff = neuronsim.compile(
        model, folder / f"{args.network}.neff", args.target, auto_cast="matmult", auto_cast_type="bf16"
    )
    counts = neff.report["operators"]
    say(f"   {time.perf_counter() - started:.1f} s; operators on device {counts['on_device']} of {counts['total']}")
    say("3. run: values and time from the same instructions")
    result = neff.run()
    comparison = _compare(model, result)
    say(f"   {comparison['text']}\n")
    if args.json:
        print_json({"report": neff.report, "stats": result.stats, "comparison": comparison})
    else:
        print_summary(result, args.top)
    return 0


def _compare(model: Path, result: Any) -> dict[str, Any]:
    """Error against ONNX Runtime in fp32 on the same inputs, of the tensor before the softmax (which saturates)."""
    import onnx

    from neuronsim.cli.compare import error_of, reference_tensors

    expected = reference_tensors(onnx.load(model), result.inputs, list(result.outputs))
    name, (op_type, scores) = next(reversed(expected.items()))
    if op_type == "Softmax" and len(expected) > 1:
        name, (op_type, scores) = next(item for item in expected.items() if item[1][0] != "Softmax")
    ours = result.outputs[name]
    error = error_of(name, op_type, ours, scores)
    same = int(ours.argmax()) == int(scores.argmax())
    text = (
        f"against ONNX Runtime (fp32): relative error of the scores {error.relative_error:.2g}, "
        f"{'same' if same else 'other'} first class"
    )
    return {"text": text, "tensor": name, "relative_error": error.relative_error,
            "max_abs_error": error.max_abs_error, "same_first_class": same}  # fmt: skip
