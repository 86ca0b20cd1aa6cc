"""MXNet's front door, with the names and parameters of `mx.contrib.neuron`.

    sym, args, aux = mx.model.load_checkpoint("net", 0)
    csym, cargs, caux = neuronsim.mxnet.compile(sym, args, aux, {"data": image})
    csym.export("compiled")
    [scores] = neuronsim.mxnet.load("compiled")(data=image)

Files need no mxnet, symbols and NDArrays in memory do. Weights go into the NEFF, so `cargs` and `caux` are empty; they
are there for programs that pass them on.
"""

from __future__ import annotations

import argparse
import json
import shlex
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from isa import neff as container
from isa.errors import NeuronError
from neuronsim import api

#: The node that stands for a compiled network in a symbol file, as MXNet-Neuron calls it.
NODE = "_neuron_subgraph_op"
#: First number of a list of arrays and of an array, from MXNet's src/ndarray/ndarray.cc.
_LIST, _ARRAY = 0x112, 0xF993FAC9
_TYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool", "int16", "uint16", "uint32",
          "uint64", "bfloat16")


class UsageError(NeuronError):
    """Arguments that cannot be meant."""

    code = "MXNET"


class CompiledSymbol:
    """A compiled network: call it with its inputs by name.

    Attributes:
        neff: the compiled program, whose `run` gives statistics as well.
    """

    def __init__(self, neff: api.Neff) -> None:
        self.neff = neff

    def list_arguments(self) -> list[str]:
        """Names of the inputs."""
        return [i.name for i in self.neff.inputs]

    def list_outputs(self) -> list[str]:
        """Names of the results, as the symbol's own `list_outputs`."""
        return [o.name for o in self.neff.outputs]

    def __call__(self, **inputs: Any) -> list[np.ndarray]:
        """Results in order. `inputs`: numpy arrays or NDArrays by name."""
        arrays = {name: _array(value) for name, value in inputs.items()}
        return list(self.neff.run(arrays, mode="values").outputs.values())

    def export(self, prefix: str | Path) -> tuple[Path, Path]:
        """Write `prefix`-symbol.json and `prefix`.neff; gives their paths."""
        symbol, neff = _paths(prefix)
        container.write(self.neff.program, neff)
        nodes: list[dict[str, Any]] = [{"op": "null", "name": name, "inputs": []} for name in self.list_arguments()]
        attrs = {"neff": neff.name, "outputs": json.dumps(self.list_outputs())}
        nodes.append({"op": NODE, "name": neff.stem, "attrs": attrs,
                      "inputs": [[k, 0, 0] for k in range(len(nodes))]})
        text = {"nodes": nodes, "arg_nodes": list(range(len(nodes) - 1)),
                "heads": [[len(nodes) - 1, k, 0] for k in range(len(self.neff.outputs))]}
        symbol.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
        return symbol, neff

    def save(self, fname: str | Path, remove_amp_cast: bool = True) -> None:
        """`export` under the name that `mx.model.save_checkpoint` gives; `remove_amp_cast` has no meaning here."""
        self.export(str(fname).removesuffix(".json").removesuffix("-symbol"))


def compile(
    sym: Any, args: Mapping[str, Any] | None = None, aux: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None, excl_node_names: Sequence[str] | None = None,
    flags: str | Sequence[str] | None = None, **options: Any,
) -> tuple[CompiledSymbol, dict[str, Any], dict[str, Any]]:
    """Compile a network.

    Args:
        sym: an `mx.sym.Symbol`, or the path of a symbol file or of anything that holds one; also the prefix that
            `export` and checkpoints have.
        args, aux: weights and auxiliary states by name, NDArrays or numpy arrays. None takes the params file beside
            the symbol file.
        inputs: an array of the right shape and type by input name, or its shape.
        excl_node_names: nodes that stay on the CPU.
        flags: options as on the command line, "--neuroncore-pipeline-cores 4" or a list of such.
        options: fields of `compiler.options.CompileOptions`, which win over flags.
    Returns: the compiled symbol and what weights are left outside of it: none.
    Raises: NeuronError as `neuronsim.compile`; UsageError for arguments that cannot be meant.
    """
    values = _flags(flags)
    values.update({"framework": "mxnet", **options, **_faces(inputs or {})})
    values["cpu_ops"] = (*values.get("cpu_ops", ()), *(excl_node_names or ()))
    with tempfile.TemporaryDirectory(prefix="neuronsim-") as folder:
        if isinstance(sym, (str, Path)) and args is None and aux is None:
            model = _found(Path(sym))
        else:
            model = _written(sym, args or {}, aux or {}, Path(folder))
        neff = api.compile(model, **values)
    return CompiledSymbol(neff), {}, {}


def load(prefix: str | Path) -> CompiledSymbol:
    """What `export` wrote under that prefix. Raises: UsageError NEFF_MISSING; ContainerError."""
    _, neff = _paths(prefix)
    if not neff.is_file():
        raise UsageError("there is no compiled network of that name", code="NEFF_MISSING", where=str(neff),
                         help="give the prefix that `export` was given")
    return CompiledSymbol(api.load(neff))


def _paths(prefix: str | Path) -> tuple[Path, Path]:
    path = Path(prefix)
    return path.with_name(path.name + "-symbol.json"), path.with_name(path.name + ".neff")


def _found(path: Path) -> Path:
    """The file a path or prefix means."""
    symbol, _ = _paths(path)
    return symbol if not path.exists() and symbol.exists() else path


def _array(value: Any) -> np.ndarray:
    """A numpy array of an NDArray or of anything numpy takes."""
    return np.asarray(value.asnumpy() if hasattr(value, "asnumpy") else value)


def _faces(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes and element types of inputs; a tuple of whole numbers is a shape."""
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for name, value in inputs.items():
        if isinstance(value, (tuple, list)) and all(isinstance(v, int) for v in value):
            shapes[name] = tuple(value)
            continue
        array = _array(value)
        shapes[name], dtypes[name] = array.shape, array.dtype.name
    return {"input_shapes": shapes, "input_dtypes": dtypes}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"flags: {message}", code="FLAGS", help="they are those of `neuronsim compile`")


def _flags(flags: str | Sequence[str] | None) -> dict[str, Any]:
    """Options of `neuronsim compile` as keyword arguments; those not mentioned are left out."""
    from neuronsim.cli import compile as command

    parser = _Parser(prog="flags", add_help=False)
    command.add_compile_options(parser)
    words = shlex.split(flags) if isinstance(flags, str) else [w for f in flags or () for w in shlex.split(f)]
    plain, given = (command.option_values(parser.parse_args(w)) for w in ([], words))
    return {k: v for k, v in given.items() if v != plain[k]}


# ---- files of what is in memory --------------------------------------------------------------------------------------


def _written(sym: Any, args: Mapping[str, Any], aux: Mapping[str, Any], folder: Path) -> Path:
    """Symbol and weights as files."""
    symbol = folder / "net-symbol.json"
    text = _found(Path(sym)).read_text(encoding="utf-8") if isinstance(sym, (str, Path)) else sym.tojson()
    symbol.write_text(text, encoding="utf-8")
    named = {**{f"arg:{k}": v for k, v in args.items()}, **{f"aux:{k}": v for k, v in aux.items()}}
    save_params(folder / "net-0000.params", named)
    return symbol


def save_params(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write a params file as MXNet 1.x does. `arrays`: by name, `arg:` or `aux:` included."""
    with open(path, "wb") as file:
        file.write(struct.pack("<QQQ", _LIST, 0, len(arrays)))
        for name, value in arrays.items():
            array = np.ascontiguousarray(_array(value))
            array = array.reshape(array.shape or (1,))
            if array.dtype.name not in _TYPES:
                raise UsageError(f"MXNet has no element type for the array {name!r}", code="PARAMS_DTYPE",
                                 limit=", ".join(_TYPES), actual=array.dtype.name)
            file.write(struct.pack(f"<Iii{array.ndim}q", _ARRAY, 0, array.ndim, *array.shape))
            file.write(struct.pack("<iii", 1, 0, _TYPES.index(array.dtype.name)))
            file.write(array.tobytes())
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name.encode())) + name.encode())
