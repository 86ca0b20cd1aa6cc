"""Rules that torch's tracing exporter lacks, for operators that models in evaluation mode have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def registered(torch: Any, opset: int) -> Iterator[None]:
    """While this lasts, the exporter knows the rules."""
    for name, rule in RULES.items():
        torch.onnx.register_custom_op_symbolic(name, rule, opset)
    try:
        yield
    finally:
        for name in RULES:
            torch.onnx.unregister_custom_op_symbolic(name, opset)


RULES: dict[str, Any] = {}
