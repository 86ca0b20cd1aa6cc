"""A module as the calls that torch makes while it runs once.

Branches and loops are followed as the sizes of the inputs say; where the value of a tensor decides, torch refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.frontends.pytorch.program import Block, Dtype, Node, Other, Program, Ref

_DEPTH = 16


def record(torch: Any, module: Any, tensors: Sequence[Any], keys: Sequence[str], where: str) -> Program:
    """The program of a module that takes tensors and returns a tensor or a tuple of them.

    Args: keys: of the results.
    Raises: what torch raises while it runs the module, also when the value of a tensor decides what is done.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    traced = make_fx(lambda *xs: module(*xs), _allow_non_fake_inputs=True)(*tensors)
    nodes: list[Node] = []
    constants: dict[str, Any] = {}
    inputs: list[str] = []
    results: list[Any] = []
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "get_attr":
            constants[node.name] = array(torch, getattr(traced, node.target))
        elif node.op == "call_function":
            nodes.append(_call(torch, node))
        elif node.op == "output":
            found = _value(torch, node.args[0])
            results = found if isinstance(found, list) else [found]
    block = Block(inputs, nodes, results)
    dims = {i: tuple(t.shape) for i, t in zip(inputs, tensors)}
    dtypes = {i: str(t.dtype).removeprefix("torch.") for i, t in zip(inputs, tensors)}
    return Program(block, where, inputs, dims, dtypes, constants, list(zip(results, keys)))


def array(torch: Any, value: Any) -> np.ndarray:
    """A tensor as an array, bfloat16 and the like included."""
    import ml_dtypes

    plain = value.detach().cpu().contiguous()
    name = str(plain.dtype).removeprefix("torch.")
    if hasattr(ml_dtypes, name):
        bits = torch.int8 if plain.element_size() == 1 else torch.int16
        found: np.ndarray = plain.view(bits).numpy().view(getattr(ml_dtypes, name))
        return found
    plain_array: np.ndarray = plain.numpy()
    return plain_array


def _call(torch: Any, node: Any) -> Node:
    """One call, its arguments by the names of the operator's schema."""
    if not hasattr(node.target, "_schema"):  # Python's own: getitem, arithmetic on sizes
        args = {f"arg{k}": _value(torch, a) for k, a in enumerate(node.args)}
        return Node(f"_operator.{node.target.__name__}", node.name, args, [Ref(node.name)])
    schema = node.target._schema
    args = {a.name: _value(torch, v) for a, v in zip(schema.arguments, node.args)}
    args |= {k: _value(torch, v) for k, v in node.kwargs.items()}
    return Node(str(node.target), node.name, args, [Ref(node.name)], len(schema.returns) < 2)


def _value(torch: Any, value: Any, depth: int = 0) -> Any:
    if isinstance(value, torch.fx.Node):
        return Ref(value.name)
    if isinstance(value, torch.dtype):
        return Dtype(str(value).removeprefix("torch."))
    if isinstance(value, list | tuple) and depth < _DEPTH:
        return [_value(torch, v, depth + 1) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return Other(type(value).__name__)
