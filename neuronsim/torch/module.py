"""A traced module: a NEFF that is called as the PyTorch module was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from isa import neff as container
from isa.errors import NeuronError
from neuronsim import api
from neuronsim.errors import InputError
from neuronsim.runtime.batching import cut
from neuronsim.torch.structure import CallStructure

#: Where in a NEFF's report the call structure is.
KEY = "torch"


class NeuronModule(torch.nn.Module):  # type: ignore[misc]
    """A module whose `forward` runs a NEFF.

    Attributes:
        neff: the program; `neff.run` also gives times, statistics and a trace.
        structure: of arguments and results.
        dynamic_batch_size: whether other numbers of rows than the traced one are cut and filled up.
    """

    def __init__(self, neff: api.Neff, structure: CallStructure, dynamic_batch_size: bool = False) -> None:
        super().__init__()
        self.neff = neff
        self.structure = structure
        self.dynamic_batch_size = dynamic_batch_size
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the traced module returns for arguments of the traced shapes and types.

        Raises: InputError (INPUT_STRUCTURE, INPUT_VALUE, shapes and types that do not fit); as `Neff.run`.
        """
        return self.structure.result(self.run(self.arrays(args, kwargs)))

    def arrays(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """Arrays by input name for the arguments of a call; what the program does not use is left out."""
        known = {i.name for i in self.neff.inputs}
        return {n: a for n, a in self.structure.arrays(args, kwargs).items() if n in known}

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Arrays by output name."""
        pieces = cut(self.neff.program, inputs) if self.dynamic_batch_size else None
        batches = [inputs] if pieces is None else pieces.inputs
        parts = [r.outputs for r in self.neff.run_batches(batches, mode="values")]
        return parts[0] if pieces is None else pieces.join(parts)

    def save(self, path: str | Path, _extra_files: Mapping[str, Any] | None = None) -> None:
        """Write a NEFF that `neuronsim.torch.load` makes a module of again, and `neuronsim run` runs.

        `torch.jit.save` of this module comes here too; a NEFF has no place for extra files. Raises: InputError.
        """
        if _extra_files:
            raise InputError("a NEFF has no place for extra files", code="INPUT_STRUCTURE", where=str(path),
                             actual=", ".join(_extra_files))
        save(self, path)

    def extra_repr(self) -> str:
        """For `print(module)`."""
        return f"{self.neff.program.name!r} for {self.neff.program.target}"


def save(module: NeuronModule, path: str | Path) -> None:
    """Write a traced module as a NEFF, with how it is called. Raises: InputError, ContainerError."""
    if not isinstance(module, NeuronModule):
        raise InputError("this is no traced module", code="INPUT_STRUCTURE", actual=type(module).__name__,
                         help="trace it first: neuronsim.torch.trace(module, example_inputs)")
    recorded = {**module.structure.record(), "dynamic_batch_size": module.dynamic_batch_size}
    json.dumps(recorded)  # plain values only: nothing is ever pickled
    report = {**module.neff.program.report, KEY: recorded}
    container.write(replace(module.neff.program, report=report), path)


def load(path: str | Path) -> NeuronModule:
    """A traced module from its file.

    Raises: ContainerError for a file that cannot be trusted; NeuronError NEFF_STRUCTURE for a NEFF that was not traced
        from a module.
    """
    neff = api.load(path)
    found = neff.report.get(KEY)
    if not isinstance(found, dict):
        raise NeuronError("the NEFF was not traced from a PyTorch module", code="NEFF_STRUCTURE", where=str(path),
                          help="run it with neuronsim.load(path).run({name: array})")
    try:
        return NeuronModule(neff, CallStructure.of_record(found), bool(found.get("dynamic_batch_size")))
    except (KeyError, TypeError, ValueError) as error:
        raise NeuronError("what the NEFF says of the module's arguments cannot be read", code="NEFF_STRUCTURE",
                          where=str(path), actual=str(error)) from None
