"""Where a model goes: NeuronCore groups, and the rules by which Neuron's frameworks place models on cores.

Cores here are those of one process, numbered from 0. A core is "used" once by every model loaded on it.

- A start index (FlexEG) is taken as it is; it must leave room for the model.
- With groups, a model goes to the first cores of the least used group that is large enough, the first one of equals:
  models fill the groups in load order, and one more shares the first group. A model larger than every group is placed
  across their boundaries, as without groups, with a warning.
- Without groups, a model goes to the least used consecutive cores, the first ones of equals.

Sources: archive/torch-neuron/guides/core-placement/torch-core-placement.rst, archive/appnotes/mxnet-neuron/flex-eg.rst.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from neuronsim.runtime.environment import GroupSize
from neuronsim.runtime.status import NrtError, NrtStatus, PlacementWarning


@dataclass(frozen=True)
class NeuronCoreGroup:
    """Consecutive cores that are one scheduling unit for one compiled model.

    Attributes:
        index: position in NEURONCORE_GROUP_SIZES.
        cores: of the process, ascending.
        replicas: 1; or N for a group written `Nx1`, whose cores each get their own copy of a model.
    """

    index: int
    cores: tuple[int, ...]
    replicas: int = 1

    @property
    def largest_model(self) -> int:
        """Cores a model may need to fit."""
        return len(self.cores) // self.replicas

    def __str__(self) -> str:
        return f"group {self.index} ({span(self.cores)})"


def make_groups(sizes: Sequence[GroupSize]) -> tuple[NeuronCoreGroup, ...]:
    """Groups of these sizes on consecutive cores from 0."""
    groups: list[NeuronCoreGroup] = []
    start = 0
    for index, size in enumerate(sizes):
        groups.append(NeuronCoreGroup(index, tuple(range(start, start + size.total)), size.replicas))
        start += size.total
    return tuple(groups)


@dataclass(frozen=True)
class Placement:
    """Cores of a model: one tuple for each copy; several in a group written `Nx1`, or where copies were asked for."""

    replicas: tuple[tuple[int, ...], ...]
    groups: tuple[NeuronCoreGroup, ...] = ()

    @property
    def group(self) -> NeuronCoreGroup | None:
        """The group of the first copy."""
        return self.groups[0] if self.groups else None

    @property
    def cores(self) -> tuple[int, ...]:
        return tuple(core for replica in self.replicas for core in replica)


class Placer:
    """The cores and groups of one process, and how often each is used."""

    def __init__(self, cores: int, groups: Sequence[NeuronCoreGroup] = ()) -> None:
        self.groups = tuple(groups)
        self.uses = [0] * cores
        self._models = [0] * len(self.groups)

    def place(self, needed: int, start_core: int | None = None, group: int | None = None) -> Placement:
        """Choose the cores of a model that needs so many; `take` makes it count.

        Args:
            start_core: first core, or None (or -1, as in `nrt_load`) to let the rules choose.
            group: number of a group, or None to let the rules choose.
        Raises: NrtError (NRT_LOAD_NOT_ENOUGH_NC, NRT_INVALID). Warns: PlacementWarning.
        """
        start_core = None if start_core == -1 else start_core
        if start_core is not None and group is not None:
            raise NrtError(NrtStatus.NRT_INVALID, "a model is placed by its start core or by its group, not by both",
                           where=f"start_core={start_core}, group={group}", help="leave one of them out")
        if needed > len(self.uses):
            raise _not_enough(f"the model needs {needed} cores, the process has {len(self.uses)}",
                              len(self.uses), needed,
                              "ask for more with NEURON_RT_NUM_CORES, compile for fewer, or take a larger instance: "
                              "neuronsim ls")
        if start_core is not None:
            return self._at(start_core, needed)
        if group is not None:
            return self._in(self._group(group), needed)
        return self._in_least_used_group(needed) if self.groups else self._on_least_used(needed)

    def place_copies(self, needed: int, copies: int | None = None) -> Placement:
        """Choose the cores of copies of a model that needs so many each, where no other model is.

        With groups, a copy goes into every free group that is large enough, N copies into one written `Nx1`; without,
        copies lie one after the other on free cores. `copies`: how many; None: as many as there is room for.
        Raises: NrtError (NRT_LOAD_NOT_ENOUGH_NC, NRT_INVALID).
        """
        if copies is not None and copies < 1:
            raise NrtError(NrtStatus.NRT_INVALID, "a model is loaded once at least", limit=">= 1", actual=copies)
        free = [self._in(g, needed) for g in self.groups if self._is_free(g.cores) and needed <= g.largest_model]
        found = [(r, p.groups) for p in free for r in p.replicas]
        if not self.groups:
            start = 0
            while start + needed <= len(self.uses):
                window = tuple(range(start, start + needed))
                is_free = self._is_free(window)
                found += [(window, ())] * is_free
                start += needed if is_free else 1
        if len(found) < (copies or 1):
            raise _not_enough(f"there is room for {len(found)} copies of {needed} core(s) each", len(found),
                              copies or 1, "unload a model, ask for fewer copies, or for more cores with "
                              "NEURON_RT_NUM_CORES")
        found = found[:copies]
        groups = dict.fromkeys(group for _, its in found for group in its)
        return Placement(tuple(r for r, _ in found), tuple(groups))

    def _is_free(self, cores: Sequence[int]) -> bool:
        return not any(self.uses[core] for core in cores)

    def take(self, placement: Placement, by: int = 1) -> None:
        """Count a placed model; `by=-1` when it is unloaded."""
        for core in placement.cores:
            self.uses[core] += by
        for group in placement.groups:
            self._models[group.index] += by

    def _at(self, start: int, needed: int) -> Placement:
        last = len(self.uses) - needed
        if not 0 <= start < len(self.uses):
            raise NrtError(NrtStatus.NRT_INVALID, f"the process has no core {start}", limit=f"0..{len(self.uses) - 1}",
                           actual=start, help=f"start at 0..{last}")
        if start > last:
            raise _not_enough(f"a model of {needed} cores does not fit from core {start} on",
                              f"{last} at the most", start, f"start at 0..{last}")
        return Placement((tuple(range(start, start + needed)),))

    def _group(self, index: int) -> NeuronCoreGroup:
        if not 0 <= index < len(self.groups):
            raise NrtError(NrtStatus.NRT_INVALID, f"the process has no NeuronCore group {index}",
                           limit=f"{len(self.groups)} group(s)", actual=index,
                           help="NEURONCORE_GROUP_SIZES=2,4 makes the groups 0 and 1")
        return self.groups[index]

    def _in(self, group: NeuronCoreGroup, needed: int) -> Placement:
        if needed > group.largest_model:
            raise _not_enough(f"the model needs {needed} cores, {group} has room for {group.largest_model}",
                              group.largest_model, needed,
                              "make the group as large as its model in NEURONCORE_GROUP_SIZES")
        starts = range(group.cores[0], group.cores[0] + group.replicas * group.largest_model, group.largest_model)
        return Placement(tuple(tuple(range(s, s + needed)) for s in starts), (group,))

    def _in_least_used_group(self, needed: int) -> Placement:
        fitting = [g for g in self.groups if needed <= g.largest_model]
        if fitting:
            return self._in(min(fitting, key=lambda g: (self._models[g.index], g.index)), needed)
        placement = self._on_least_used(needed)
        warnings.warn(
            f"the model needs {needed} cores, more than any NeuronCore group has room for: it is placed across group "
            f"boundaries on {span(placement.cores)}",
            PlacementWarning,
            stacklevel=6,  # of who called Instance.load
        )
        return placement

    def _on_least_used(self, needed: int) -> Placement:
        def use(start: int) -> tuple[int, int, int]:
            window = self.uses[start : start + needed]
            return max(window), sum(window), start

        start = min(range(len(self.uses) - needed + 1), key=use)
        return Placement((tuple(range(start, start + needed)),))


def span(cores: Sequence[int]) -> str:
    """Consecutive cores as Neuron writes them: nc4, nc0-nc3."""
    return f"nc{cores[0]}" if len(cores) == 1 else f"nc{cores[0]}-nc{cores[-1]}"


def _not_enough(what: str, limit: object, actual: object, help: str) -> NrtError:
    return NrtError(NrtStatus.NRT_LOAD_NOT_ENOUGH_NC, what, limit=limit, actual=actual, help=help)
