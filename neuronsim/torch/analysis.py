"""What of a module would run on the device, without compiling it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from neuronsim.compiler_args import compiler_options
from neuronsim.torch.tracing import traced_graph


def analyze_model(func: Any, example_inputs: Any, *, target: str = "inf1.xlarge", compiler_args: Any = None,
                  **options: Any) -> dict[str, Any]:
    """Operators of a module by whether the device runs them.

    Args: as of `trace`.
    Returns: percent_supported, supported_count, total_count: of calls; supported_operators, unsupported_operators,
        operators: names, sorted; operator_count: calls by operator.
    Raises: as `trace`.
    """
    from compiler.errors import UnsupportedOp
    from compiler.options import from_keywords
    from compiler.partition import partition
    from isa import target as targets

    asked = from_keywords({"target": target, **compiler_options(compiler_args), **options})
    try:
        traced = traced_graph(func, example_inputs)
    except UnsupportedOp as error:
        names = sorted({n.strip() for n in error.op.split(",")})
        return _answer(Counter(), Counter(dict.fromkeys(names, 1)))
    found = partition(traced.graph, targets.load(asked.target), asked)
    calls: dict[str, tuple[str, bool]] = {}
    for node in traced.graph.nodes:
        for source in node.sources or [node.name]:
            name = traced.operators.get(source, f"onnx::{node.op}")
            calls[source] = name, calls.get(source, ("", True))[1] and node.name not in found.reasons
    by_answer = {answer: Counter(n for n, good in calls.values() if good == answer) for answer in (True, False)}
    return _answer(by_answer[True], by_answer[False])


def _answer(good: Counter[str], bad: Counter[str]) -> dict[str, Any]:
    total = sum(good.values()) + sum(bad.values())
    return {
        "percent_supported": 100.0 * sum(good.values()) / total if total else 100.0,
        "supported_count": sum(good.values()),
        "total_count": total,
        "supported_operators": sorted(set(good) - set(bad)),
        "unsupported_operators": sorted(bad),
        "operators": sorted({*good, *bad}),
        "operator_count": dict(sorted((good + bad).items())),
    }
