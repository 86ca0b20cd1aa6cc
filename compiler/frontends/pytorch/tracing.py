"""A TorchScript module as the calls that it makes, or through torch's tracing ONNX exporter."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx

from compiler.errors import CompileError, ModelError, UnsupportedOp
from compiler.frontends.inputs import Given, Input
from compiler.frontends.onnx.file import read_model
from compiler.frontends.onnx.model import from_model
from compiler.frontends.pytorch.arguments import Argument
from compiler.frontends.pytorch.calls import record
from compiler.frontends.pytorch.compare import check
from compiler.frontends.pytorch.exported import from_program
from compiler.frontends.pytorch.faces import output_names
from compiler.ir import Graph

#: The newest version of ONNX that torch's tracing exporter writes.
OPSET = 20
_DEPTH = 16


def export(torch: Any, module: Any, arguments: Sequence[Argument], inputs: Sequence[Input], names: Sequence[str],
           where: str) -> Graph:
    """The module for inputs of these shapes and types, which are called `names`.

    Raises: ModelError EXPORT_FAILED, EXPORT_WRONG where the exporter's result is not torch's; UnsupportedOp naming
        every operator without a conversion that the exporter cannot write either.
    """
    with quiet(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        tensors, leaves = _run(torch, module, arguments, inputs, where)
        flat, keys = _flat(torch, module, arguments, tensors), [key for key, _ in leaves]
        try:
            return _by_calls(torch, flat, tensors, names, keys, where)
        except Exception as first:  # values that decide branches, operators without a conversion
            try:
                return _by_onnx(torch, flat, tensors, names, keys, Path(folder) / "model.onnx", where)
            except CompileError as second:
                decides = not isinstance(first, UnsupportedOp) or first.code == "VALUE_DECIDES"
                raise (second if decides else first) from None


def _run(torch: Any, module: Any, arguments: Sequence[Argument], inputs: Sequence[Input],
         where: str) -> tuple[tuple[Any, ...], list[tuple[str, Any]]]:
    """Example inputs that the module takes, and the leaves of its result."""
    for integer in (0, 1):  # 0 is in every table, but nothing can be divided by it
        tensors = tuple(_example(torch, i, integer) for i in inputs)
        try:
            return tensors, flatten(torch, _call(module, arguments, tensors))
        except Exception as error:
            told = _told(error)
    raise ModelError("torch cannot run the model on inputs of these shapes and types", code="EXPORT_FAILED",
                     where=where, actual=told, help="check them, or give them: --input-shape, --input-dtype")


def _by_onnx(torch: Any, module: Any, tensors: tuple[Any, ...], names: Sequence[str], keys: Sequence[str],
             target: Path, where: str) -> Graph:
    with patch.object(torch._C, "_jit_onnx_log", lambda *_: None, create=True):  # prints whole graphs when it fails
        _write(torch, module, tensors, names, target, where)
    model = read_model(target)
    note = check(torch, module, tensors, model, where)
    _name_outputs(model.graph, output_names(keys))
    graph = from_model(model, target.parent, where=where)
    graph.notes += [note] if note else []
    return graph


def _by_calls(torch: Any, module: Any, tensors: tuple[Any, ...], names: Sequence[str], keys: Sequence[str],
              where: str) -> Graph:
    """Through the conversions of exported programs; fails where the value of a tensor decides what is done."""
    program = record(torch, module, tensors, keys, where)
    return from_program(program, Given(), called=names)


def flatten(torch: Any, value: Any, key: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """The tensors in a result with their keys ("" where tuples and lists only count), None left out."""
    if value is None or depth > _DEPTH:
        return []
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in flatten(torch, v, _joined(key, str(k)), depth + 1)]
    if isinstance(value, tuple | list):
        fields = getattr(value, "_fields", None) or [str(k) if key else "" for k in range(len(value))]
        return [leaf for k, v in zip(fields, value) for leaf in flatten(torch, v, _joined(key, k), depth + 1)]
    return [(key, value if isinstance(value, torch.Tensor) else torch.as_tensor(value))]


def _joined(key: str, more: str) -> str:
    return f"{key}_{more}" if key and more else key or more


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch prints on its way."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _call(module: Any, arguments: Sequence[Argument], tensors: Sequence[Any]) -> Any:
    rest = list(tensors)
    values = []
    for argument in arguments:
        count = len(argument.keys)
        values.append(argument.build(rest[:count]) if argument.kind != "value" else argument.value)
        del rest[:count]
    return module(*values)


def _flat(torch: Any, module: Any, arguments: Sequence[Argument], tensors: tuple[Any, ...]) -> Any:
    """The module itself where it takes and returns tensors only, else a script around it that does."""
    result = next(iter(module.inlined_graph.outputs())).type()
    parts = result.elements() if result.kind() == "TupleType" else [result]
    if all(p.kind() == "TensorType" for p in parts) and all(a.kind == "tensor" for a in arguments):
        return module

    class Flat(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *tensors: Any) -> Any:
            return tuple(v for _, v in flatten(torch, _call(self.inner, arguments, tensors)))

    return torch.jit.trace(Flat().eval(), tensors, check_trace=False, strict=False)


def _example(torch: Any, given: Input, integer: int) -> Any:
    """An input: one number for integers, noise of a fixed seed for the rest."""
    kind = getattr(torch, given.dtype)
    if not kind.is_floating_point:
        return torch.full(given.shape, integer, dtype=kind)
    noise = np.random.default_rng(0).random(given.shape, np.float32)
    return torch.from_numpy(np.asarray(noise)).to(kind)


def _write(torch: Any, module: Any, tensors: tuple[Any, ...], names: Sequence[str], target: Path, where: str) -> None:
    exporter = torch.onnx
    try:
        exporter.export(module, tensors, str(target), dynamo=False, opset_version=OPSET, input_names=list(names),
                        do_constant_folding=True)
    except Exception as error:
        missing = _missing(torch, module, tensors) if type(error).__name__ == "UnsupportedOperatorError" else []
        if missing:
            found = UnsupportedOp("torch's exporter cannot write operators of the model", where=where,
                                  actual=", ".join(missing),
                                  help="save the model with torch.export.save and compile the .pt2 file")
            found.op = ", ".join(missing)
            raise found from None
        raise ModelError("torch's exporter cannot write the model", code="EXPORT_FAILED", where=where,
                         actual=_told(error),
                         help="save the model with torch.export.save and compile the .pt2 file") from None


def _missing(torch: Any, module: Any, tensors: tuple[Any, ...]) -> list[str]:
    """Every operator that the exporter has no rule for."""
    try:
        from torch.onnx.utils import unconvertible_ops
    except ImportError:
        from torch.onnx._internal.torchscript_exporter.utils import unconvertible_ops
    return sorted(set(unconvertible_ops(module, tensors, opset_version=OPSET)[1]))


def _name_outputs(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """Give the results their names, through an Identity each: one may go out twice, or be an input."""
    taken = {v for n in graph.node for v in (*n.input, *n.output)} | {i.name for i in graph.input}
    for info, name in zip(graph.output, names, strict=True):
        while name in taken:
            name += "_"
        taken.add(name)
        graph.node.append(onnx.helper.make_node("Identity", [info.name], [name]))
        info.name = name


def _told(error: Exception) -> str:
    """The line of torch's message that says what happened: the last one that is no place in the code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wanted = [line for line in lines if "Error:" in line or "error:" in line]
    return (wanted or lines or [type(error).__name__])[-1]
