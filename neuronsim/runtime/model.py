"""A loaded model: which cores hold it, and its runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from isa.errors import ErrorList
from neuronsim.errors import InputError
from neuronsim.runtime.loading import each, with_status
from neuronsim.runtime.memory import model_usage
from neuronsim.runtime.placement import NeuronCoreGroup, Placement, span
from neuronsim.runtime.status import NrtStatus

if TYPE_CHECKING:
    from neuronsim.api import Neff, Result
    from neuronsim.runtime.instance import Instance


class LoadedModel:
    """A model on its cores.

    Attributes:
        instance, neff: where it is loaded, and what.
        id: number of the load, from 1.
        group: the group it was placed in, or None.
        replicas: cores of the instance for each copy; one copy, except in a group written `Nx1`.
    """

    def __init__(self, instance: Instance, neff: Neff, number: int, where: Placement) -> None:
        self.instance = instance
        self.neff = neff
        self.id = number
        self.placement = where
        self.replicas = tuple(tuple(instance.cores[c] for c in replica) for replica in where.replicas)
        self.usage = model_usage(neff.program)
        self._turn = itertools.cycle(range(len(self.replicas)))

    @property
    def name(self) -> str:
        return self.neff.program.name

    @property
    def cores(self) -> tuple[int, ...]:
        """Cores of the instance that hold it, all copies together."""
        return tuple(core for replica in self.replicas for core in replica)

    @property
    def group(self) -> NeuronCoreGroup | None:
        return self.placement.group

    def core_of(self, stage: int, replica: int = 0) -> int:
        """The core of the instance that runs a stage of the program in one of the copies."""
        cores = self.replicas[replica]
        return cores[stage % len(cores)]

    def run(self, inputs: Mapping[str, Any] | None = None, **options: Any) -> Result:
        """Run once on the next copy in turn; arguments and result are those of `Neff.run`, the instance left out.

        Raises: NrtError (NRT_CLOSED, NRT_INVALID_HANDLE; NRT_EXEC_BAD_INPUT for inputs that do not fit the model), and
            otherwise as `Neff.run`.
        """
        self.instance.start(self)
        try:
            return self.neff.run(inputs, instance=self.instance.target, **options)
        except (InputError, ErrorList) as error:
            errors = [with_status(NrtStatus.NRT_EXEC_BAD_INPUT, e) for e in each(error) if isinstance(e, InputError)]
            if not errors:
                raise
            raise (errors[0] if len(errors) == 1 else ErrorList(errors)) from error

    def unload(self) -> None:
        """Give its memory back. Raises: NrtError (NRT_INVALID_HANDLE) the second time."""
        self.instance.unload(self)

    def next_replica(self) -> tuple[int, ...]:
        """Cores of the copy whose turn it is; called once for each run."""
        return self.replicas[next(self._turn)]

    def __repr__(self) -> str:
        where = ", ".join(span(r) for r in self.replicas)
        return f"<LoadedModel {self.id} {self.name!r} on {where} of {self.instance.target.name}>"
