"""An exported program (`.pt2`) as plain data: the JSON that torch.export writes, and its weights as views of the file.

Nothing pickled is opened: not the sample inputs, nor weights that older versions pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from compiler.errors import ModelError
from compiler.frontends.pytorch.archive import Archive

#: Numbers of element types in the serialised form (torch/_export/serde/schema.py, ScalarType).
DTYPES: dict[int, str] = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn",
    30: "float8_e5m2",
}
_STRIDED = 7
_MOST_JSON = 1 << 30
_DEPTH = 64

Dim = int | str | None


@dataclass(frozen=True)
class Ref:
    """The name of a value: a tensor, or a number that depends on sizes."""

    name: str


@dataclass(frozen=True)
class Dtype:
    """An element type as an argument; `name` in numpy's spelling."""

    name: str


@dataclass(frozen=True)
class Other:
    """An argument of a sort that no conversion needs: a device, a layout, a memory format, a generator."""

    kind: str
    value: Any = None


@dataclass
class Node:
    """One call: `target` as "aten.add.Tensor", arguments by the schema's names, results in order (None: unused)."""

    target: str
    name: str
    args: dict[str, Any]
    results: list[Any]
    single: bool = True


@dataclass
class Block:
    """A graph: of the program, or of a part of it that another operator calls."""

    inputs: list[str]
    nodes: list[Node]
    outputs: list[Any]


@dataclass
class Program:
    """A whole exported program.

    Attributes:
        block: its graph. where: for messages.
        names: arguments of `forward`, by the graph's name for them, in order.
        dims, dtypes: of the graph's inputs that the user gives.
        constants: arrays by the graph's name for them; numbers for arguments that were fixed at export.
        results: the graph's values that the user gets, with their keys where they come in a dict.
        bounds: (smallest, largest or None) by symbol.
    """

    block: Block
    where: str
    names: list[str]
    dims: dict[str, tuple[Dim, ...]]
    dtypes: dict[str, str]
    constants: dict[str, Any]
    results: list[tuple[Any, str]]
    bounds: dict[str, tuple[int, int | None]] = field(default_factory=dict)


def read(archive: Archive) -> Program:
    """The program in an archive. Raises: ModelError MODEL_VERSION, MODEL_INVALID, PICKLE_REFUSED; as `Archive.read`."""
    where = str(archive.path)
    name = next((n for n in archive.names if n.startswith("models/") and n.endswith(".json")), "")
    if not name:
        old = next((n for n in archive.names if n.endswith("serialized_exported_program.json")), "")
        raise ModelError("the program was exported by a version of torch that pickles the weights" if old else
                         "the archive has no exported program", code="MODEL_VERSION" if old else "MODEL_FORMAT",
                         where=where, limit="torch 2.8 or newer" if old else None,
                         help="load it with the version that wrote it, and save it again with torch 2.8 or newer"
                         if old else "")
    stem = name.removeprefix("models/").removesuffix(".json")
    try:
        found = parse(json.loads(archive.read(name, _MOST_JSON)), where)
        arrays = {part: _arrays(archive, f"data/{part}/", f"data/{part}/{stem}_{part}_config.json")
                  for part in ("weights", "constants")}
        return bind(found, arrays["weights"] | arrays["constants"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, StopIteration,
            OverflowError) as error:
        raise ModelError("the program is not of the form that torch.export writes", code="MODEL_INVALID", where=where,
                         actual=f"{type(error).__name__}: {error}") from None


def _arrays(archive: Archive, folder: str, config: str) -> dict[str, np.ndarray | str]:
    """Arrays by qualified name; a string is the reason why one cannot be read."""
    if config not in archive:
        return {}
    found: dict[str, np.ndarray | str] = {}
    for name, entry in json.loads(archive.read(config, _MOST_JSON))["config"].items():
        meta = entry.get("tensor_meta")
        if meta is None:
            found[name] = "it is an object and no tensor"
        elif entry.get("use_pickle"):
            found[name] = "it is pickled"
        else:
            found[name] = _array(archive.view(folder + str(entry["path_name"])), meta, f"{archive.path}: {name}")
    return found


def _array(data: np.ndarray, meta: Mapping[str, Any], where: str) -> np.ndarray:
    """A tensor as a view of its storage."""
    if meta["layout"] != _STRIDED or meta["dtype"] not in DTYPES:
        raise ModelError("a weight's layout or element type is not supported", code="TENSOR_DTYPE", where=where,
                         actual=f"layout {meta['layout']}, type {meta['dtype']}")
    kind = np.dtype(getattr(ml_dtypes, DTYPES[meta["dtype"]], None) or DTYPES[meta["dtype"]])
    shape, strides = ([int(d["as_int"]) for d in meta[k]] for k in ("sizes", "strides"))
    offset = int(meta["storage_offset"]["as_int"])
    if any(n < 0 for n in (*shape, *strides, offset)) or len(shape) != len(strides) or len(shape) > _DEPTH:
        raise ModelError("a weight has an impossible shape", code="TENSOR_SIZE", where=where, actual=shape)
    last = offset + sum((d - 1) * s for d, s in zip(shape, strides)) + 1
    if 0 in shape:
        return np.zeros(shape, kind)
    if last * kind.itemsize > data.nbytes:
        raise ModelError("a weight is larger than its data", code="TENSOR_SIZE", where=where,
                         limit=f"{data.nbytes} bytes", actual=f"{last * kind.itemsize} bytes")
    span = np.ndarray(buffer=data, dtype=np.uint8, shape=(data.nbytes // kind.itemsize * kind.itemsize,)).view(kind)
    return np.lib.stride_tricks.as_strided(span[offset:], shape, [s * kind.itemsize for s in strides], writeable=False)


# ---- the graph ---------------------------------------------------------------------------------------------------


def parse(text: Mapping[str, Any], where: str) -> Program:
    """The program of the JSON, without weights: `constants` has the qualified name of each. Raises: KeyError ..."""
    module = text["graph_module"]
    graph, signature = module["graph"], module["signature"]
    block = _block(graph)
    metas = graph["tensor_values"]
    constants: dict[str, Any] = {}
    given: list[str] = []
    for spec in signature["input_specs"]:
        kind, body = next(iter(spec.items()))
        if kind == "user_input":
            _user_input(body["arg"], given, constants, block)
        elif kind in ("parameter", "buffer", "tensor_constant"):
            constants[body["arg"]["name"]] = Ref(body[f"{kind}_name"])
        elif kind == "constant_input":
            constants[body["name"]] = _value(body["value"])
        else:
            raise ModelError(f"inputs of the sort {kind!r} are not supported", code="MODEL_INVALID", where=where)
    results = [_value(s["user_output"]["arg"]) for s in signature["output_specs"] if "user_output" in s]
    keys = result_keys(module["module_call_graph"], len(results))
    bounds = {s: (int(r["min_val"] or 0), None if r["max_val"] is None else int(r["max_val"]))
              for s, r in text.get("range_constraints", {}).items()}
    dims = {n: tuple(_dim(d) for d in metas[n]["sizes"]) for n in given}
    return Program(block, where, given, dims, {n: DTYPES[metas[n]["dtype"]] for n in given}, constants,
                   list(zip(results, keys)), bounds)


def bind(program: Program, arrays: Mapping[str, np.ndarray | str]) -> Program:
    """The program with its weights. Raises: ModelError MODEL_INCOMPLETE, PICKLE_REFUSED."""
    used = {r.name for n in program.block.nodes for r in _refs(n.args)} | {
        v.name for v, _ in program.results if isinstance(v, Ref)}
    for name, ref in program.constants.items():
        if not isinstance(ref, Ref) or name not in used:
            continue
        found = arrays.get(ref.name, "it is not in the file")
        if isinstance(found, str):
            code = "PICKLE_REFUSED" if "pickled" in found else "MODEL_INCOMPLETE"
            raise ModelError(f"the weight {ref.name!r} cannot be read: {found}", code=code, where=program.where)
        program.constants[name] = found
    return program


def _refs(value: Any, depth: int = 0) -> list[Ref]:
    if isinstance(value, Ref):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [r for v in inner for r in _refs(v, depth + 1)] if depth < _DEPTH else []


def _user_input(arg: Mapping[str, Any], given: list[str], constants: dict[str, Any], block: Block) -> None:
    if "as_tensor" in arg:
        given.append(arg["as_tensor"]["name"])
        return
    value = _value(arg)
    place = len(given) + len(constants)
    if not isinstance(value, Ref) and place < len(block.inputs):
        constants[block.inputs[place]] = value


def result_keys(calls: list[Mapping[str, Any]], count: int) -> list[str]:
    """Keys of the results, "" where they come in a tuple; from the description of what `forward` returns."""
    signature = next((c["signature"] for c in calls if c["fqn"] == ""), None)
    if not signature:
        return [""] * count
    spec = json.loads(signature["out_spec"])
    found: list[str] = []
    _leaves(spec[1] if isinstance(spec, list) else spec, "", found, 0)
    return found if len(found) == count else [""] * count


def _leaves(spec: Mapping[str, Any], key: str, found: list[str], depth: int) -> None:
    children, kind = spec["children_spec"], spec["type"]
    if kind is None or depth > _DEPTH:
        found.append(key)
        return
    context = spec["context"]
    context = json.loads(context) if isinstance(context, str) and context[:1] in '["{' else context
    keys = context if isinstance(context, list) and len(context) == len(children) else None
    if isinstance(context, list) and len(context) == 2 and isinstance(context[1], list):  # a class with named fields
        keys = context[1] if len(context[1]) == len(children) else None
    for place, child in enumerate(children):
        part = str(keys[place]) if keys else str(place) if key else ""
        _leaves(child, f"{key}_{part}" if key and part else key or part, found, depth + 1)


def _block(graph: Mapping[str, Any], depth: int = 0) -> Block:
    if depth > _DEPTH:
        raise ValueError("graphs within graphs without end")
    inputs = [next(iter(i.values()))["name"] if isinstance(next(iter(i.values())), dict) and
              "name" in next(iter(i.values())) else "" for i in graph["inputs"]]
    return Block(inputs, [_node(n, k, depth) for k, n in enumerate(graph["nodes"])],
                 [_value(o) for o in graph["outputs"]])


def _node(node: Mapping[str, Any], number: int, depth: int) -> Node:
    args: dict[str, Any] = {}
    for place, item in enumerate(node["inputs"]):
        args[item["name"] or f"arg{place}"] = _value(item["arg"], depth)
    results = [_value(o) for o in node["outputs"]]
    target = node["target"].removeprefix("torch.ops.")
    first = next((r.name for r in results if isinstance(r, Ref)), "")
    return Node(target, node.get("name") or first or f"{target}_{number}", args, results,
                not (len(node["outputs"]) > 1 or "as_tensors" in (node["outputs"] or [{}])[0]))


_NUMBERS = frozenset({"as_int", "as_ints", "as_floats", "as_bool", "as_bools", "as_string", "as_strings",
                      "as_int_lists"})


def _value(arg: Mapping[str, Any], depth: int = 0) -> Any:
    """An argument as Python has it."""
    kind, body = next(iter(arg.items()))
    if kind == "as_float":
        return float(body)  # infinities are written as text
    if kind in _NUMBERS:
        return body
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return Ref(body["name"])
    if kind in ("as_tensors", "as_optional_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools"):
        return [Ref(v["name"]) if "name" in v else _value(v, depth + 1) for v in body]
    if kind == "as_name":
        return Ref(body)
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
        return _value(body, depth + 1)
    if kind == "as_scalar_type":
        return Dtype(DTYPES.get(body, f"type {body}"))
    if kind == "as_graph":
        return _block(body["graph"], depth + 1)
    return Other(kind, body)


def _dim(size: Mapping[str, Any]) -> Dim:
    if "as_int" in size:
        return int(size["as_int"])
    text = str(size["as_expr"]["expr_str"])
    return text if text.isidentifier() else None
