"""From a live module to a NEFF: by torch.export, and where that fails, by a TorchScript trace."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isa.errors import NeuronError
from neuronsim import api
from neuronsim.compiler_args import compiler_options
from neuronsim.torch.module import NeuronModule, save
from neuronsim.torch.options import Optimization, TraceError, optimization_options
from neuronsim.torch.structure import CallStructure, specification

if TYPE_CHECKING:
    from compiler.frontends.pytorch.program import Program
    from compiler.ir import Graph, Node

#: Parameters of Neuron's own functions that have no counterpart here.
_WITHOUT = ("single_fusion_ratio_threshold", "compiler_timeout", "input_output_aliases", "partitioner_config",
            "cpu_backend", "options")


@dataclass(frozen=True)
class Traced:
    """A module's graph and how it is called.

    Attributes:
        operators: "aten::name" of the model's calls, by the name of the call; {} for a TorchScript trace.
    """

    graph: Graph
    structure: CallStructure
    operators: dict[str, str]


def trace(
    func: torch.nn.Module | Callable[..., Any],
    example_inputs: Any,
    *,
    target: str = "inf1.xlarge",
    compiler_args: str | Sequence[str] | Mapping[str, Any] | None = None,
    compiler_workdir: str | Path | None = None,
    fallback: bool = True,
    minimum_segment_size: int = 2,
    op_whitelist: Iterable[str] | None = None,
    subgraph_builder_function: Callable[[Node], bool] | None = None,
    dynamic_batch_size: bool = False,
    separate_weights: bool = False,
    inline_weights_to_neff: bool = True,
    optimizations: Sequence[Optimization] = (),
    **options: Any,
) -> NeuronModule:
    """Compile a module for the shapes of its example inputs.

    Args:
        func: a module, a function, or a `torch.jit.ScriptModule`. A module is traced in evaluation mode.
        example_inputs: a tensor, a tuple of arguments, or a dict of keyword arguments; values count only where the
            module looks at them.
        target: instance name or path of a target description.
        compiler_args: flags of neuron-cc or neuronx-cc, or options of `neuronsim.compile` by name.
        compiler_workdir: folder that gets `model.neff`.
        fallback: False makes every operator that the device cannot run an error.
        minimum_segment_size: device segments of fewer operators join the CPU.
        op_whitelist: operators ("aten::conv2d") that may go to the device; None: all.
        subgraph_builder_function: whether a node may go to the device.
        dynamic_batch_size: accept any number of rows: inputs are cut along dimension 0 and filled up.
        separate_weights, inline_weights_to_neff: accepted; weights are a part of the NEFF of their own in any case.
        optimizations: of `Optimization`.
        options: further options of `neuronsim.compile`.
    Raises: TraceError (TRACE_OPTION, TRACE_FAILED); FlagError; CompileError and the like, as `neuronsim.compile`.
    """
    for name in _WITHOUT:
        if options.pop(name, None) is not None:
            raise TraceError(f"the parameter {name!r} is not supported", code="TRACE_OPTION", actual=name)
    wanted = {"target": target, "fallback": fallback, "minimum_segment_size": minimum_segment_size,
              **compiler_options(compiler_args), **optimization_options(optimizations), **options}
    traced = traced_graph(func, example_inputs)
    if op_whitelist is not None and subgraph_builder_function is not None:
        raise TraceError("give op_whitelist or subgraph_builder_function", code="TRACE_OPTION")
    chosen = subgraph_builder_function
    if op_whitelist is not None:
        chosen = _allowed(traced, op_whitelist)
    neff = api.compile(traced.graph, subgraph_builder_function=chosen, **wanted)
    module = NeuronModule(neff, traced.structure, dynamic_batch_size)
    if compiler_workdir is not None:
        Path(compiler_workdir).mkdir(parents=True, exist_ok=True)
        save(module, Path(compiler_workdir) / "model.neff")
    return module


def _allowed(traced: Traced, operators: Iterable[str]) -> Callable[[Node], bool]:
    if not traced.operators:
        raise TraceError("op_whitelist needs a module that torch.export takes", code="TRACE_OPTION")
    names = {o.replace("aten.", "aten::") for o in operators}
    return lambda node: all(traced.operators.get(s, "") in names for s in node.sources)


# ---- the two roads -----------------------------------------------------------------------------------------------


def traced_graph(func: Any, example_inputs: Any) -> Traced:
    """The graph of a module for example inputs. Raises: TraceError TRACE_FAILED with both reasons; CompileError."""
    args, kwargs = _arguments(example_inputs)
    if isinstance(func, torch.jit.ScriptModule):
        return _by_script(func, args, kwargs)
    module = func if isinstance(func, torch.nn.Module) else _Function(func)
    was = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        try:
            return _by_export(module, args, kwargs)
        except Exception as first:
            try:
                traced = _by_script(_script(module, args, kwargs), args, kwargs)
            except Exception as second:
                raise _failed(first, second) from first
            traced.graph.notes.append(f"torch.export does not take the module ({_line(first)}); it was traced, with "
                                      "the branches that the example inputs take")
            return traced
    finally:
        for inner, mode in was:
            inner.training = mode


def _failed(first: Exception, second: Exception) -> NeuronError:
    if isinstance(first, NeuronError):
        return first
    return TraceError("torch can neither export nor trace the module", code="TRACE_FAILED",
                      actual=f"torch.export: {_line(first)}; torch.jit.trace: {_line(second)}",
                      help="make its control flow independent of the values of tensors")


def _line(error: Exception) -> str:
    return error.what if isinstance(error, NeuronError) else next(iter(str(error).strip().splitlines()),
                                                                  type(error).__name__)


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    return tuple(example_inputs) if isinstance(example_inputs, list | tuple) else (example_inputs,), {}


class _Function(torch.nn.Module):  # type: ignore[misc]
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def _by_export(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Traced:
    from compiler.frontends.inputs import Given
    from compiler.frontends.pytorch.archive import Archive
    from compiler.frontends.pytorch.exported import from_program
    from compiler.frontends.pytorch.program import read
    from compiler.frontends.pytorch.tracing import quiet

    with quiet(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        program = torch.export.export(module, args, kwargs, strict=False)
        path = Path(folder) / "module.pt2"
        torch.export.save(program, path)
        found = read(Archive(path))
        found.where = type(module).__name__
        graph = from_program(found, Given(), type(module).__name__)
    leaves, in_spec = specification((args, kwargs))
    names = iter(found.names)
    inputs = tuple(next(names) if isinstance(leaf, torch.Tensor) else None for leaf in leaves)
    results = _results(found)
    outs = iter(graph.outputs)
    outputs = tuple(next(outs) if kept else None for kept, _ in results)
    structure = CallStructure(inputs, _fixed(leaves), outputs, tuple(v for _, v in results), in_spec,
                              torch.utils._pytree.treespec_dumps(program.call_spec.out_spec))
    return Traced(graph, structure, {n.name: n.target.rsplit(".", 1)[0].replace("aten.", "aten::")
                                     for n in found.block.nodes})


def _fixed(leaves: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves)


def _results(program: Program) -> list[tuple[bool, Any]]:
    """For each leaf of the result whether the graph computes it, else its value."""
    from compiler.frontends.pytorch.program import Ref

    return [(isinstance(value, Ref), None if isinstance(value, Ref) else value) for value, _ in program.results]


def _script(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from compiler.frontends.pytorch.tracing import quiet

    with quiet(), torch.no_grad():
        if kwargs:
            return torch.jit.trace(module, example_kwarg_inputs=kwargs, strict=False)
        return torch.jit.trace(module, copy.deepcopy(args), strict=False)


def _by_script(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Traced:
    from compiler.frontends.inputs import Given
    from compiler.frontends.pytorch.script import from_script
    from compiler.frontends.pytorch.tracing import quiet

    with quiet(), torch.no_grad():
        result = module(*args, **kwargs)
    leaves, in_spec = specification((args, kwargs))
    order = [a.name for a in module._c._get_method("forward").schema.arguments[1:]]
    named = _named(order, args, kwargs)
    shapes = {n: tuple(v.shape) for n, v in named.items()}
    dtypes = {n: str(v.dtype).removeprefix("torch.") for n, v in named.items()}
    graph = from_script(module, Given(shapes, dtypes), "TorchScript")
    tensors = iter(named)
    inputs = tuple(next(tensors) if isinstance(leaf, torch.Tensor) else None for leaf in leaves)
    found, out_spec = specification(result)
    outs = iter(graph.outputs)
    outputs = tuple(None if leaf is None else next(outs) for leaf in found)
    return Traced(graph, CallStructure(inputs, _fixed(leaves), outputs, (None,) * len(found), in_spec, out_spec), {})


def _named(order: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors of a call by the flat names of `compiler.frontends.pytorch.arguments`."""
    found: dict[str, torch.Tensor] = {}
    for name, value in (*zip(order, args), *kwargs.items()):
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            found |= {f"{name}_{k}": v for k, v in value.items()}
        elif isinstance(value, list | tuple):
            found |= {f"{name}_{k}": v for k, v in enumerate(value)}
    return found
