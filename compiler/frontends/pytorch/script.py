"""TorchScript files, loaded by torch: its reader of them runs no Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler.errors import ModelError
from compiler.frontends.files import require
from compiler.frontends.inputs import Given, resolve
from compiler.frontends.pytorch import source, storages
from compiler.frontends.pytorch.archive import Archive
from compiler.frontends.pytorch.arguments import arguments, constants, declared, index_arguments, recorded_inputs
from compiler.frontends.pytorch.faces import renaming_note, user_names
from compiler.ir import Graph


def load(archive: Archive, given: Given) -> Graph:
    """A TorchScript file as a graph.

    Raises: ModelError PICKLE_REFUSED, MODEL_CODE, MODEL_INVALID, TENSOR_SIZE, EXPORT_FAILED, EXPORT_WRONG,
        EXTRA_MISSING; UnsupportedOp; ShapeError as `compiler.frontends.inputs.resolve`, and INPUT_KIND for arguments
        that are no tensors.
    """
    foreign = source.check(archive)
    storages.check(archive)
    where = str(archive.path)
    recorded = recorded_inputs(archive)
    torch = require("torch", "torch", "to read TorchScript files")
    from compiler.frontends.pytorch.tracing import quiet

    foreign = {name for name in foreign if not torch._C._jit_get_schemas_for_operator(name)}
    if foreign:
        raise source.unknown(foreign, where)
    with quiet():
        try:
            module = torch.jit.load(where, map_location="cpu")
        except Exception as error:  # torch's reader raises what its parts happen to
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise ModelError("torch cannot read the file", code="MODEL_INVALID", where=where,
                             actual=lines[0] if lines else type(error).__name__,
                             help="try torch.jit.load on it; files of torch.jit.optimize_for_inference and of newer "
                                  "versions of torch cannot be opened: save the traced module itself") from None
    graph = from_script(module, given, where, recorded)
    graph.name = archive.path.stem
    return graph


def from_script(module: Any, given: Given, where: str, recorded: Sequence[Any] = ()) -> Graph:
    """A `torch.jit.ScriptModule` as a graph. Raises: as `load`.

    Args:
        recorded: shapes and types of the arguments it was traced with, see `arguments.recorded_inputs`.
    """
    torch = require("torch", "torch", "to read TorchScript files")
    from compiler.frontends.pytorch.tracing import export

    notes = []
    if hasattr(module, "training"):  # torch.jit.freeze leaves none
        if module.training:
            notes.append("the model was saved in training mode; it is compiled as in evaluation mode")
        module.eval()
    try:
        forward = module._c._get_method("forward")
    except RuntimeError:
        raise ModelError("the module has no method `forward`", code="MODEL_INVALID", where=where) from None
    found = arguments(forward.schema, given, recorded, where)
    weights = [*module.parameters(), *module.buffers(), *constants(module.inlined_graph)]
    floats = [w.dtype for w in weights if w.dtype.is_floating_point]
    default = str(floats[0]).removeprefix("torch.") if floats else "float32"
    names = [n for a in found for n in a.names]
    chosen = user_names(names, given)
    back = dict(zip(chosen, names))
    inner = Given(_renamed(given.shapes, back), _renamed(given.dtypes, back), given.batch)
    stated, assumed = declared(found, recorded, index_arguments(module.inlined_graph), default, inner)
    inputs, more = resolve(stated, inner)
    graph = export(torch, module, found, inputs, chosen, where)
    graph.notes += [n for n in (*notes, *assumed, *more, renaming_note(names, chosen)) if n]
    return graph


def _renamed(given: Mapping[str, Any], back: Mapping[str, str]) -> dict[str, Any]:
    """What is given, by the model's own names; names that it does not have stay, for `resolve` to complain of."""
    return {back.get(name, name): value for name, value in given.items()}
