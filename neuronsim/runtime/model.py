"""A loaded model: which cores hold its copies, and its runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from isa.errors import ErrorList, NeuronError
from neuronsim.errors import InputError
from neuronsim.runtime.batching import Pieces, cut
from neuronsim.runtime.loading import each, uuid_of, with_status
from neuronsim.runtime.memory import model_usage
from neuronsim.runtime.placement import NeuronCoreGroup, Placement, span
from neuronsim.runtime.status import NrtStatus

if TYPE_CHECKING:
    from neuronsim.api import Neff, Result
    from neuronsim.runtime.instance import Instance
    from neuronsim.runtime.residents import Turn


class LoadedModel:
    """A model on its cores.

    Attributes:
        instance, neff: where it is loaded, and what.
        id: number of the load, from 1.
        replicas: cores of the instance for each copy; several in a group written `Nx1`, and with `data_parallel`.
        usage: device memory on each core of a copy.
    """

    def __init__(self, instance: Instance, neff: Neff, number: int, where: Placement) -> None:
        self.instance = instance
        self.neff = neff
        self.id = number
        self.placement = where
        self.replicas = tuple(tuple(instance.cores[c] for c in replica) for replica in where.replicas)
        self.usage = model_usage(neff.program)
        self._turn = itertools.cycle(self.replicas)

    @property
    def name(self) -> str:
        return self.neff.program.name

    @cached_property
    def uuid(self) -> str:
        """Of its file; "" for what was compiled in memory."""
        return uuid_of(self.neff)

    @property
    def identity(self) -> object:
        """Equal for loads of the same NEFF."""
        return self.uuid or id(self.neff.program)

    @property
    def cores(self) -> tuple[int, ...]:
        """Cores of the instance that hold it, all copies together."""
        return tuple(core for replica in self.replicas for core in replica)

    @property
    def group(self) -> NeuronCoreGroup | None:
        """The group that its first copy was placed in, or None."""
        return self.placement.group

    def core_of(self, stage: int, replica: int = 0) -> int:
        """The core of the instance that runs a stage of the program in one of the copies."""
        node = next(n for n in self.neff.program.nodes if n.kind != "cpu" and n.stage == stage)
        return self.replicas[replica][node.core]

    @cached_property
    def load_seconds(self) -> tuple[float, ...]:
        """On each core of a copy: time to load its pinned weights."""
        return self.neff.machine(self.instance.target, self.replicas[0]).load_seconds

    @cached_property
    def flops(self) -> tuple[int, ...]:
        """Useful floating-point operations of one run on each core of a copy."""
        counts = [0] * self.neff.program.cores
        for node in self.neff.program.nodes:
            if node.kind != "cpu":
                counts[node.core] += 2 * sum(d.macs for d in self.neff.program.stages[node.stage].debug)
        return tuple(counts)

    def run(self, inputs: Mapping[str, Any] | None = None, **options: Any) -> Result:
        """Run once on the next copy in turn; arguments and result are those of `Neff.run`, the instance left out.

        Inputs of another number of rows than the model was compiled for are cut along dimension 0; the pieces go to
        the copies in turn, and `Result.time_ns` is when the last one ends. It includes switching models. What copies
        and other models take from each other is the matter of `Instance.serve`.
        Raises: NrtError (NRT_CLOSED, NRT_INVALID_HANDLE; NRT_EXEC_BAD_INPUT for inputs that do not fit the model), and
            otherwise as `Neff.run`.
        """
        activity = self.instance.activity
        try:
            pieces = cut(self.neff.program, inputs or {})
            with self.instance.running(self, len(pieces.inputs)) as turns:
                places = [turn.cores for turn in turns]
                results = self.neff.run_batches(pieces.inputs, self.instance.target, places, **options)
                result = _joined(pieces, turns, results)
                activity.ran(self, turns, results, result.time_ns)
        except NeuronError as error:
            errors = [with_status(NrtStatus.NRT_EXEC_BAD_INPUT, e) for e in each(error) if isinstance(e, InputError)]
            if not errors:
                raise
            activity.ended(NrtStatus.NRT_EXEC_BAD_INPUT)
            raise (errors[0] if len(errors) == 1 else ErrorList(errors)) from error
        return result

    def unload(self) -> None:
        """Give its memory back. Raises: NrtError (NRT_INVALID_HANDLE) the second time."""
        self.instance.unload(self)

    def next_replica(self) -> tuple[int, ...]:
        """Cores of the copy whose turn it is; called once for each run."""
        return next(self._turn)

    def __repr__(self) -> str:
        where = ", ".join(span(r) for r in self.replicas)
        return f"<LoadedModel {self.id} {self.name!r} on {where} of {self.instance.target.name}>"


def _joined(pieces: Pieces, turns: Sequence[Turn], results: Sequence[Result]) -> Result:
    """The results of the pieces as one. A copy runs its pieces one after the other, copies run at once."""
    busy: dict[tuple[int, ...], float] = {}
    for turn, result in zip(turns, results, strict=True):
        busy[turn.cores] = busy.get(turn.cores, 0.0) + turn.switch_seconds + result.last.latency_seconds
    values = results[0].mode != "timing"
    first = results[0]
    return replace(
        first,
        outputs=pieces.join([r.outputs for r in results]) if values else {},
        inputs=pieces.join([r.inputs for r in results]) if values else {},
        last=replace(
            first.last,
            switch_seconds=turns[0].switch_seconds,
            has_nan=any(r.last.has_nan for r in results),
        ),
        runs=len(results),
        all_runs_seconds=max(busy.values()),
    )
