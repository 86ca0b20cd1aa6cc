"""An ONNX backend (`onnx.backend.base`): any valid model runs, as much of it as possible on the device.

    rep = neuronsim.onnx_backend.prepare(model)
    outputs = rep.run([x, y])
    rep.neff.report["operators"], rep.program.stages

The machine is `trn1.2xlarge` in fp32. Segments of one operator count and transfers cost nothing, so that what the
device can compute it does.

Programs are static: sizes, axes, positions and the like have to be known when a model is compiled. A model with open
sizes, or with such a parameter among its inputs (the shape of a `Reshape`, the scales of a `Resize`: `PARAMETERS`), is
compiled when it is run, once for each set of input shapes and parameter values.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.base import BackendRep

from isa.program import Program
from neuronsim.api import Neff, RunError
from neuronsim.errors import InputError
from neuronsim.host_cpu import CpuSegment, load_all
from neuronsim.host_time import subgraphs

OPTIONS: dict[str, Any] = {
    "target": "trn1.2xlarge",
    "auto_cast": "none",
    "minimum_segment_size": 1,
    "transfer_cost": False,
    "strict_rounding": True,
}
DEVICES = ("CPU", "NEURON")  # test runners know CPU and CUDA only: the simulated device counts as the former
_RUNNER_OPTIONS = ("rtol", "atol")  # test runners hand their tolerances to `prepare` too

#: Operator -> inputs that fix the size, the axes or the layout of its result.
PARAMETERS: dict[str, tuple[int, ...]] = {
    "CenterCropPad": (1,), "CumSum": (1,), "Dropout": (1, 2), "Expand": (1,), "OneHot": (1,), "Pad": (1, 3),
    "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,),
    "TopK": (1,), "Trilu": (1,), "Unsqueeze": (1,), "Upsample": (1,),
    **{f"Reduce{kind}": (1,) for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum",
                                          "SumSquare")},
}  # fmt: skip


class Given(NamedTuple):
    """What a compiled program depends on: shapes of inputs, and type, shape and bytes of parameters, by name."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    parameters: tuple[tuple[str, str, tuple[int, ...], bytes], ...] = ()


def supports_device(device: str) -> bool:
    """Whether `device` ("CPU", "NEURON:0" ...) is one of ours."""
    return device.partition(":")[0].upper() in DEVICES


def is_compatible(model: onnx.ModelProto, device: str = "CPU", **options: Any) -> bool:
    """Whether `prepare` may be asked; it says itself what is wrong with a model."""
    return supports_device(device)


def prepare(model: onnx.ModelProto, device: str = "CPU", **options: Any) -> NeuronRep:
    """Check, import and, where all sizes are known, compile a model. `options`: fields of `CompileOptions`.

    Raises: CompileError and its kinds, ErrorList of them; RunError for another device.
    """
    if not supports_device(device):
        raise RunError(f"no device {device!r}", limit=", ".join(DEVICES), actual=device)
    return NeuronRep(model, {k: v for k, v in options.items() if k not in _RUNNER_OPTIONS})


def run_model(model: onnx.ModelProto, inputs: Any, device: str = "CPU", **options: Any) -> list[Any]:
    """Outputs of a model for one set of inputs; as `prepare` and `NeuronRep.run`."""
    return prepare(model, device, **options).run(inputs)


def run_node(
    node: onnx.NodeProto,
    inputs: Any,
    device: str = "CPU",
    outputs_info: Sequence[tuple[Any, Sequence[int]]] | None = None,
    **options: Any,
) -> list[Any]:
    """Outputs of one operator.

    Args:
        inputs: arrays in the order of the node's present inputs, or a mapping by name.
        outputs_info: (element type, shape) of each output; inferred when not given.
        options: `opset_version` (default: onnx's newest), and fields of `CompileOptions`.
    """
    names = [name for name in node.input if name]
    given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
    given = {name: np.asarray(value) for name, value in given.items()}
    faces = [_tensor(n, a.dtype, a.shape) for n, a in given.items()]
    outputs = [name for name in node.output if name]
    results = [_tensor(n, *i) for n, i in zip(outputs, outputs_info or (), strict=outputs_info is not None)]
    version = options.pop("opset_version", onnx.defs.onnx_opset_version())
    graph = helper.make_graph([node], "node", faces, results or [onnx.ValueInfoProto(name=n) for n in outputs])
    opsets = [helper.make_opsetid("", version)]
    if node.domain not in ("", "ai.onnx"):
        opsets.append(helper.make_opsetid(node.domain, 1))
    model = helper.make_model(graph, opset_imports=opsets)
    return run_model(model if results else onnx.shape_inference.infer_shapes(model), given, device, **options)


def _tensor(name: str, dtype: Any, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


class NeuronRep(BackendRep):  # type: ignore[misc]  # onnx is not typed
    """A prepared model.

    Attributes:
        neff: what ran last, or None before the first run of a model with open sizes.
    """

    def __init__(self, model: onnx.ModelProto, options: Mapping[str, Any]) -> None:
        self.neff: Neff | None = None
        self._model = model.SerializeToString()
        self._options = {**OPTIONS, **options}
        self._compiled: dict[Given, Neff] = {}
        self._lock = threading.Lock()
        fixed = {t.name for t in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}
        self._inputs = [i for i in model.graph.input if i.name not in fixed]
        self._outputs = [o.name for o in model.graph.output]
        self._parameters = _parameters(model.graph) & {i.name for i in self._inputs}
        self._open = any(map(_is_open, self._inputs))
        if self._open or self._parameters:
            self._import(Given())
        else:
            self._neff(Given())

    @property
    def program(self) -> Program | None:
        """The program that ran last; see `neff`."""
        return None if self.neff is None else self.neff.program

    def run(self, inputs: Any, **kwargs: Any) -> list[Any]:
        """Outputs in the model's order: arrays, lists for sequences, None for absent optionals.

        Args:
            inputs: a sequence in the model's order, or a mapping by name. Optionals may be left out.
        Raises: InputError, ErrorList of them; as `Neff.run`.
        """
        given = self._named(inputs)
        missing = [i.name for i in self._inputs if i.name not in given and not i.type.HasField("optional_type")]
        if missing:  # a run of ours would invent them
            raise InputError(
                f"the model needs {len(missing)} more inputs", code="INPUT_MISSING", where=", ".join(missing)
            )
        neff = self._neff(self._given(given))
        result = neff.run({i.name: given[i.name] for i in neff.inputs if i.name in given}, mode="values")
        return [result.outputs[name] for name in self._outputs]

    def _named(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            return dict(inputs)
        names = [i.name for i in self._inputs]
        values = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        if len(values) > len(names):
            raise InputError(
                "more inputs than the model has", limit=f"{len(names)}: {', '.join(names)}", actual=len(values)
            )
        return dict(zip(names, values, strict=False))

    def _given(self, given: Mapping[str, Any]) -> Given:
        arrays = {i.name: np.asarray(given[i.name]) for i in self._inputs if _is_sized(i) and i.name in given}
        shapes = [(n, a.shape) for n, a in arrays.items() if self._open and n not in self._parameters]
        values = [(n, a.dtype.name, a.shape, a.tobytes()) for n, a in arrays.items() if n in self._parameters]
        return Given(tuple(shapes), tuple(values))

    def _neff(self, given: Given) -> Neff:
        """The model compiled for these shapes and parameters, once."""
        from compiler import compile_graph

        with self._lock:
            if given not in self._compiled:
                graph, options = self._import(given)
                program = compile_graph(graph, options)
                load_all(CpuSegment(name, segment) for name, segment in program.cpu_models.items())
                self._compiled[given] = Neff(program)
            self.neff = self._compiled[given]
            return self.neff

    def _import(self, given: Given) -> Any:
        """The graph with these parameters as constants, and the compile options."""
        from compiler.frontends.onnx import model as frontend
        from compiler.options import from_keywords

        options = from_keywords({**self._options, "input_shapes": dict(given.shapes)})
        model = onnx.load_from_string(self._model)
        constants = {n: np.frombuffer(data, kind).reshape(shape) for n, kind, shape, data in given.parameters}
        inputs = [i for i in model.graph.input if i.name not in constants]
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
        return frontend.from_model(model, None, dict(options.input_shapes) or None, options.batch), options


def _parameters(graph: onnx.GraphProto) -> set[str]:
    """Values that the nodes of a graph read as parameters, and as nothing else."""
    reads = [(name, index in PARAMETERS.get(n.op_type, ())) for n in graph.node for index, name in enumerate(n.input)]
    inner = {name for n in graph.node for g in subgraphs(n) for name in _read(g)}
    outputs = {o.name for o in graph.output}
    return {n for n, is_one in reads if is_one} - {n for n, is_one in reads if not is_one} - inner - outputs


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    """Names that a graph and the graphs in it read or return."""
    yield from (o.name for o in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in subgraphs(node):
            yield from _read(inner)


def _is_sized(info: onnx.ValueInfoProto) -> bool:
    """Whether the compiler has to know the input's sizes: a tensor of numbers."""
    tensor = info.type.HasField("tensor_type")
    return tensor and info.type.tensor_type.elem_type != onnx.TensorProto.STRING


def _is_open(info: onnx.ValueInfoProto) -> bool:
    """Whether sizes of an input are known only when it is given."""
    tensor = info.type.tensor_type
    return _is_sized(info) and not (tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim))
