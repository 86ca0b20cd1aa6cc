"""TensorFlow's front door, with the names and parameters of TensorFlow-Neuron's `tfn.saved_model.compile`.

    report = neuronsim.tensorflow.compile("model", "compiled", batch_size=4, target="trn1.2xlarge")
    serve = neuronsim.tensorflow.load("compiled")
    results = serve(image=batch)

No TensorFlow is needed. The new folder holds the NEFF and `neuron.json`, which says what the signature was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.errors import NeuronError
from neuronsim import api
from neuronsim.compiler_args import compiler_options

if TYPE_CHECKING:
    from compiler.ir import Graph

NEFF = "model.neff"
ABOUT = "neuron.json"
_VERSION = 1


class SignatureError(NeuronError):
    """A compiled model that is called, or read, in a way that cannot be meant."""

    code = "SIGNATURE"


def compile(
    model_dir: str | Path, new_model_dir: str | Path, batch_size: int = 1,
    model_shape_feed_dict: Mapping[str, Sequence[int]] | None = None,
    model_feed_dict: Mapping[str, Any] | None = None, tags: Collection[str] | str | None = None,
    signature_def_key: str | None = None, minimum_segment_size: int = 2, no_fuse_ops: Iterable[str] | None = None,
    compiler_args: str | Sequence[str] | Mapping[str, Any] | None = None, compiler_workdir: str | Path | None = None,
    *, dynamic_batch_size: bool = False, target: str = "inf1.xlarge", **options: Any,
) -> dict[str, Any]:
    """Compile a SavedModel (or a frozen graph) into a new folder.

    Args:
        model_dir: the SavedModel's folder, or the file of a frozen graph, or an archive of either.
        new_model_dir: folder to write; it must not hold anything yet.
        batch_size: size of every leading dimension that the model leaves open.
        model_shape_feed_dict: shape by name of input, where the model leaves more open.
        model_feed_dict: arrays by name of input, whose shapes and types are taken.
        tags: of the graph to compile; None takes the one for serving, or the only one.
        signature_def_key: of the signature to compile; None takes serving_default, or the only one.
        minimum_segment_size: smaller groups of operators stay on the CPU.
        no_fuse_ops: names of nodes that stay on the CPU.
        compiler_args: flags of neuron-cc or neuronx-cc, as text or a list.
        compiler_workdir: folder for the compiler's report.
        dynamic_batch_size: let calls have any batch size; they are run in pieces of `batch_size`.
        target: instance to compile for.
        options: fields of `compiler.options.CompileOptions`.
    Returns: OnNeuronRatio (share of operators on the device), counts of operators of the model, after folding and on
        the device, and the operators on the CPU.
    Raises: NeuronError as `neuronsim.compile`; SignatureError for a folder that is in use.
    """
    folder = Path(new_model_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SignatureError("the folder for the compiled model is not empty", code="OUTPUT_EXISTS", where=str(folder),
                             help="give a new one")
    shapes, dtypes = _faces(model_shape_feed_dict, model_feed_dict)
    graph, kinds = _read(model_dir, shapes, dtypes, batch_size, tags, signature_def_key)
    kept = _kept(no_fuse_ops, kinds)
    values = {"minimum_segment_size": minimum_segment_size, "target": target, **compiler_options(compiler_args),
              **options}
    if kept:
        values["subgraph_builder_function"] = lambda node: kept.isdisjoint(node.sources)
    folder.mkdir(parents=True, exist_ok=True)
    neff = api.compile(graph, folder / NEFF, **values)
    report = _report(neff.report, kinds)
    about = {"version": _VERSION, "signature": signature_def_key or "serving_default", "batch_size": batch_size,
             "dynamic_batch_size": dynamic_batch_size, "inputs": [_tensor(i) for i in neff.inputs],
             "outputs": [_tensor(o) for o in neff.outputs], "report": report}
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    if compiler_workdir is not None:
        work = Path(compiler_workdir)
        work.mkdir(parents=True, exist_ok=True)
        (work / "report.json").write_text(json.dumps(neff.report, indent=1) + "\n", encoding="utf-8")
    return report


@dataclass(frozen=True)
class Model:
    """A compiled model: call it with arrays by name, in the signature's order, or in one dictionary.

    Attributes:
        neff: the program, whose `run` gives statistics as well.
        signature: its key in the SavedModel.
        batch_size: what it was compiled for. dynamic_batch_size: whether calls may have another.
    """

    neff: api.Neff
    signature: str
    batch_size: int
    dynamic_batch_size: bool

    @property
    def signatures(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """The one signature by its key, as of a loaded SavedModel."""
        return {self.signature: self.__call__}

    def __call__(self, *arrays: Any, **named: Any) -> dict[str, Any]:
        """Results by name. Raises: SignatureError; InputError as `Neff.run`."""
        names = [i.name for i in self.neff.inputs]
        if len(arrays) == 1 and isinstance(arrays[0], Mapping) and not named:
            given = dict(arrays[0])
        else:
            given = {**dict(zip(names, arrays, strict=False)), **named}
        if sorted(given) != sorted(names) or len(arrays) > len(names):
            raise SignatureError("the inputs are not those of the signature", limit=", ".join(names),
                                 actual=", ".join(map(str, given)) or None)
        inputs = {name: np.asarray(value) for name, value in given.items()}
        if self.dynamic_batch_size:
            return self._in_pieces(inputs)
        return dict(self.neff.run(inputs, mode="values").outputs)

    def _in_pieces(self, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """A batch of any size, the last piece filled up with its last example."""
        sizes = {a.shape[0] if a.ndim else -1 for a in inputs.values()}
        if len(sizes) != 1 or min(sizes) < 1:
            raise SignatureError("the inputs have no common batch size", actual=", ".join(map(str, sorted(sizes))))
        [total] = sizes
        found = []
        for start in range(0, total, self.batch_size):
            rows = np.minimum(np.arange(start, start + self.batch_size), total - 1)
            piece = {name: array[rows] for name, array in inputs.items()}
            found.append(self.neff.run(piece, mode="values").outputs)
        return {name: np.concatenate([part[name] for part in found])[:total] for name in found[0]}


def load(model_dir: str | Path) -> Model:
    """A model that `compile` wrote. Raises: SignatureError for another folder; ContainerError."""
    path = Path(model_dir) / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        key, size, dynamic = about["signature"], about["batch_size"], about["dynamic_batch_size"]
    except OSError as error:
        raise SignatureError(f"this is no folder of a compiled model: {error.strerror}", where=str(path),
                             help="neuronsim.tensorflow.compile makes one") from None
    except (ValueError, KeyError, TypeError):
        raise SignatureError("the description of the compiled model is damaged", where=str(path)) from None
    if not isinstance(key, str) or not isinstance(size, int) or size < 1:
        raise SignatureError("the description of the compiled model is damaged", where=str(path))
    return Model(api.load(Path(model_dir) / NEFF), key, size, bool(dynamic))


def analyze_model(
    model_dir: str | Path, batch_size: int = 1, model_shape_feed_dict: Mapping[str, Sequence[int]] | None = None,
    model_feed_dict: Mapping[str, Any] | None = None, tags: Collection[str] | str | None = None,
    signature_def_key: str | None = None, target: str = "inf1.xlarge",
) -> dict[str, Any]:
    """What of a model would run on the device, without compiling it; parameters as of `compile`.

    Returns: as TensorFlow-Neuron's function: percent_supported, supported_count, total_count, supported_operators,
        unsupported_operators, operators, operator_count (by type).
    """
    from compiler.options import from_keywords
    from compiler.partition import partition
    from compiler.report import partition_report
    from isa import target as targets

    graph, kinds = _read(model_dir, *_faces(model_shape_feed_dict, model_feed_dict), batch_size, tags,
                         signature_def_key)
    found = partition(graph, targets.load(target), from_keywords({"target": target}))
    count = Counter(kinds[s] for s in dict.fromkeys(s for n in graph.nodes for s in n.sources) if s in kinds)
    refused = {kinds[o["name"]] for o in partition_report(graph, found)["cpu_operators"] if o["name"] in kinds}
    operators = partition_report(graph, found)["operators"]
    return {
        "percent_supported": 100.0 * operators["on_device"] / max(operators["total"], 1),
        "supported_count": operators["on_device"], "total_count": operators["total"],
        "supported_operators": set(count) - refused, "unsupported_operators": refused,
        "operators": sorted(count), "operator_count": dict(sorted(count.items())),
    }


def _read(model: str | Path, shapes: dict[str, tuple[int, ...]], dtypes: dict[str, str], batch: int,
          tags: Collection[str] | str | None, signature: str | None) -> tuple[Graph, dict[str, str]]:
    from compiler.frontends.inputs import Given
    from compiler.frontends.package import open_model
    from compiler.frontends.tensorflow.model import read

    wanted = (tags,) if isinstance(tags, str) else tuple(tags or ())
    with open_model(Path(model), "tensorflow") as files:
        return read(files, Given(shapes, dtypes, batch), wanted, signature or "")


def _faces(shapes: Mapping[str, Sequence[int]] | None,
           arrays: Mapping[str, Any] | None) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes and element types by name, as both dictionaries state them."""
    found = {name: np.asarray(value) for name, value in (arrays or {}).items()}
    stated = {name: tuple(int(d) for d in shape) for name, shape in (shapes or {}).items()}
    return {**{n: a.shape for n, a in found.items()}, **stated}, {n: a.dtype.name for n, a in found.items()}


def _kept(names: Iterable[str] | None, kinds: Mapping[str, str]) -> set[str]:
    kept = set(names or ())
    unknown = sorted(kept - set(kinds))
    if unknown:
        raise SignatureError("no_fuse_ops names nodes that the model does not have", code="NO_FUSE_OPS",
                             actual=", ".join(unknown))
    return kept


def _report(report: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    counts = report["operators"]
    return {
        "OnNeuronRatio": counts["on_device"] / max(counts["total"], 1),
        "operators_in_model": len(kinds), "operators_after_folding": counts["total"],
        "operators_on_neuron": counts["on_device"],
        "operators_on_cpu": [{"name": o["name"], "op": kinds.get(o["name"], o["op_type"]), "reason": o["reason"]}
                             for o in report["cpu_operators"]],
    }


def _tensor(info: Any) -> dict[str, Any]:
    return {"name": info.name, "dtype": info.dtype, "shape": list(info.shape)}
