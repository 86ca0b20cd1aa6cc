"""Which model each core holds, and what it costs to bring another in its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuronsim.runtime.model import LoadedModel
    from neuronsim.serving import Served


@dataclass(frozen=True)
class Turn:
    """One run's place: cores of the instance, and seconds to bring the model onto them in place of another."""

    cores: tuple[int, ...]
    switch_seconds: float = 0.0


class Residents:
    """The models that ran last on the cores of one runtime.

    Attributes:
        switches: by core, how often a model started on it that took the place of another.
        switch_ns: the time all of them took.
    """

    def __init__(self) -> None:
        self.switches: Counter[int] = Counter()
        self.switch_ns = 0.0
        self._holds: dict[int, LoadedModel] = {}

    @property
    def by_core(self) -> Mapping[int, LoadedModel]:
        """The model each core holds; cores that hold none are absent."""
        return self._holds

    def bring(self, model: LoadedModel, cores: tuple[int, ...]) -> Turn:
        """Make the cores of one copy hold the model. All of them switch at once, each for the time it takes alone.

        That is `runtime.switch_ns` of the target and the loading of pinned weights.
        """
        longest = 0.0
        for number, core in enumerate(cores):
            if self._holds.get(core, model) is not model:
                took = model.instance.target.switch_ns * 1e-9 + model.load_seconds[number]
                self.switches[core] += 1
                self.switch_ns += took * 1e9
                longest = max(longest, took)
            self._holds[core] = model
        return Turn(cores, longest)

    def serving(self, models: Sequence[LoadedModel]) -> None:
        """Cores hold the model that is served on them; of several nobody knows which comes last."""
        users: dict[int, list[LoadedModel]] = {}
        for model in models:
            for core in model.cores:
                users.setdefault(core, []).append(model)
        for core, found in users.items():
            self._holds.pop(core, None)
            if len(found) == 1:
                self._holds[core] = found[0]

    def served(self, found: Served) -> None:
        """Count the switches of a simulation."""
        for core in found.cores:
            self.switches[core.index] += core.switches
            self.switch_ns += core.switch_ns

    def forget(self, model: LoadedModel | None = None) -> None:
        """No core holds the model any more; None: nor any other."""
        self._holds = {core: m for core, m in self._holds.items() if model is not None and m is not model}
