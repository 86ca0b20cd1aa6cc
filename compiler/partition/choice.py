"""What the user asks for: operators that stay on the CPU, operators that go to the device, a function that decides."""
from __future__ import annotations

import difflib
from collections.abc import Iterable

from compiler.frontends.onnx.model import known_operators
from compiler.ir import Graph, Node
from compiler.options import CompileOptions, OptionError
from compiler.partition.rounding import rounding_reason
from isa.errors import ErrorList, NeuronError


def operator_name(node: Node) -> str:
    """Operator type, with its domain unless it is ONNX's own."""
    return f"{node.domain}::{node.op}" if node.domain else node.op


def chosen(graph: Graph, options: CompileOptions) -> tuple[dict[str, str], set[str]]:
    """Nodes the user keeps on the CPU, with the reason, and nodes that have to go to the device.

    Raises: ErrorList of OptionError for names that are neither operators nor nodes, and for what is asked both ways.
    """
    errors = [*_unknown(graph, "cpu_ops", options.cpu_ops), *_unknown(graph, "device_ops", options.device_ops)]
    both = sorted(set(options.cpu_ops) & set(options.device_ops))
    errors += [OptionError(f"{name!r} cannot be on the CPU and on the device", where="cpu_ops, device_ops")
               for name in both]
    if errors:
        raise ErrorList(errors)
    cpu: dict[str, str] = {}
    device: set[str] = set()
    wanted = options.subgraph_builder_function
    for node in graph.nodes:
        kept, sent = _named(node, options.cpu_ops), _named(node, options.device_ops)
        if node.name in options.cpu_ops or (kept and node.name not in options.device_ops):
            cpu[node.name] = "kept on the CPU by cpu_ops"
        elif sent:
            device.add(node.name)
        elif wanted is not None and not wanted(node):
            cpu[node.name] = "kept on the CPU by subgraph_builder_function"
        elif options.strict_rounding and (why := rounding_reason(graph, node)):
            cpu[node.name] = why
    return cpu, device


def _named(node: Node, names: Iterable[str]) -> bool:
    return any(name in names for name in (node.name, node.op, operator_name(node)))


def _unknown(graph: Graph, option: str, names: Iterable[str]) -> list[NeuronError]:
    present = {name for n in graph.nodes for name in (n.op, operator_name(n), n.name)}
    known = present | set(known_operators())
    errors: list[NeuronError] = []
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), 3)
            operators = ", ".join(sorted({operator_name(n) for n in graph.nodes}))
            errors.append(OptionError(f"the model has no operator or node {name!r}", where=option, actual=name,
                                      help=f"did you mean {', '.join(close)}?" if close else f"operators: {operators}"))
    return errors
