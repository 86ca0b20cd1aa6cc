"""A traced module on several cores at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from neuronsim.errors import InputError
from neuronsim.parallel import spread
from neuronsim.runtime import Instance
from neuronsim.torch.module import NeuronModule


class DataParallel(torch.nn.Module):  # type: ignore[misc]
    """Copies of a traced module that share the rows of every call, as `torch_neuronx.DataParallel`.

    Attributes:
        num_workers: threads that feed the copies; 2 for each copy unless it is set.
        split_size: rows of each piece; by default as many as give every copy one piece.
        device_ids: cores of the copies.

    Args:
        model: a traced module.
        device_ids: cores, one for each copy; None: all that the process may use.
        dim: the dimension that is cut; dynamic batching needs 0.
        set_dynamic_batching: let pieces be of other sizes than the traced one.
        instance: the machine; None: the instance that the module was compiled for, as this process alone has it.
    """

    def __init__(self, model: NeuronModule, device_ids: Sequence[int] | None = None, dim: int = 0,
                 set_dynamic_batching: bool = True, instance: Instance | None = None) -> None:
        super().__init__()
        if not isinstance(model, NeuronModule):
            raise InputError("DataParallel takes a traced module", code="INPUT_STRUCTURE", actual=type(model).__name__,
                             help="trace it first: neuronsim.torch.trace(module, example_inputs)")
        self.model = model
        self.dim = dim
        self.instance = instance or Instance(model.neff.program.target, private=True)
        each = max(model.neff.program.cores, 1)
        self.device_ids = list(range(0, len(self.instance.cores) - each + 1, each)) if device_ids is None else list(
            device_ids)
        if not self.device_ids:
            raise InputError("no cores to run on", code="INPUT_CORES", limit=len(self.instance.cores), actual=each)
        self.copies = [self.instance.load(model.neff, start_core=core) for core in self.device_ids]
        self.num_workers = 2 * len(self.copies)
        self.split_size: int | None = None
        self.dynamic = set_dynamic_batching and dim == 0

    def disable_dynamic_batching(self) -> None:
        """From now on every piece must have the traced size."""
        self.dynamic = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result for all rows. Raises: InputError (INPUT_BATCH for rows that cannot be cut)."""
        inputs = self.model.arrays(args, kwargs)
        sizes = {name: array.shape[self.dim] for name, array in inputs.items() if array.ndim > self.dim}
        if len(sizes) < len(inputs) or len(set(sizes.values())) != 1:
            raise InputError("the inputs have different sizes in the dimension that is cut", code="INPUT_BATCH",
                             actual=str(sizes), limit=f"one size in dimension {self.dim}")
        total = next(iter(sizes.values()))
        step = self.split_size or max(1, total // len(self.copies))
        pieces = [{n: _part(a, self.dim, start, step) for n, a in inputs.items()} for start in range(0, total, step)]
        work = [(self.copies[k % len(self.copies)], piece) for k, piece in enumerate(pieces)]
        if not self.dynamic:
            self._check(pieces)
        parts = spread(lambda item: item[0].run(item[1], mode="values").outputs, work, self.num_workers)
        joined = {name: np.concatenate([p[name] for p in parts], axis=self.dim) for name in parts[0]}
        return self.model.structure.result(joined)

    def _check(self, pieces: Sequence[dict[str, Any]]) -> None:
        wanted = {i.name: i.shape for i in self.model.neff.inputs}
        for piece in pieces:
            for name, array in piece.items():
                if array.shape != wanted[name]:
                    raise InputError("without dynamic batching every piece must have the traced shape",
                                     code="INPUT_BATCH", where=name, limit=wanted[name], actual=array.shape,
                                     help="give rows for every copy, set split_size, or leave dynamic batching on")


def _part(array: np.ndarray, dim: int, start: int, step: int) -> np.ndarray:
    return array[(slice(None),) * dim + (slice(start, start + step),)]
