"""A simulated instance as one process sees it: its cores, its groups, what is loaded on them.

    with Instance("inf1.6xlarge") as instance:
        model = instance.load("model.neff")
        result = model.run({"image": array})

Values and times of a run are those of `Neff.run`; `serve` tells what several models and requests take from each other.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from isa import target as targets
from isa.program import Program
from isa.target import Target
from isa.topology import Topology
from neuronsim.runtime import environment, placement
from neuronsim.runtime.activity import Activity, State
from neuronsim.runtime.allocation import choose_cores
from neuronsim.runtime.loading import check_machine, open_neff
from neuronsim.runtime.memory import CoreMemory, MemoryReport, Usage, model_cores, report
from neuronsim.runtime.model import LoadedModel
from neuronsim.runtime.ownership import Claim, Registry, private_root, state_folder
from neuronsim.runtime.residents import Residents, Turn
from neuronsim.runtime.status import NrtError, NrtStatus
from neuronsim.serving.recording import requests_of
from neuronsim.tracing import MAX_ROWS, Recorder

if TYPE_CHECKING:
    from neuronsim.api import Neff, Profile
    from neuronsim.runtime.requests import Server
    from neuronsim.serving import Load, Served


class Instance:
    """The runtime of one process on one instance. A context manager; `close` gives the cores back.

    Attributes:
        target: the machine; topology: its chips, links and logical cores.
        cores: logical cores of the instance that this runtime owns, ascending. Start indices and groups count from the
            first of them, as in Neuron.
        groups: NeuronCore groups, () without NEURONCORE_GROUP_SIZES.
        models: what is loaded, in load order.
        activity: what has been done so far, for tools.
    """

    def __init__(
        self,
        name: str | Path | Target,
        environ: Mapping[str, str] | None = None,
        state_dir: str | Path | None = None,
        private: bool = False,
    ) -> None:
        """Claim cores, as Neuron's environment variables say (`neuronsim/runtime/environment.py`).

        Args:
            name: instance, or path of a target file.
            environ: variables to go by instead of those of the process.
            state_dir: folder that runtimes on the same simulated instance share; default: NEURONSIM_STATE_DIR, or one
                folder per user.
            private: a machine of its own, of which no other runtime takes cores; tools see it all the same.
        Raises: TargetError; NrtError (NRT_INVALID; NRT_FAILURE when other runtimes own the cores; NRT_RESOURCE).
        """
        self.target = targets.load(name)
        asked = environment.read(self.target, environ)
        self.topology = Topology(self.target, asked.lnc)
        self._scratch = private_root(state_dir) if private else None
        registry = Registry(state_folder(self.target.name, self._scratch.name if self._scratch else state_dir))
        self.cores: tuple[int, ...] = ()
        self._asked = asked
        self._claim = registry.claim(lambda taken: self._choose(asked, taken), asked.tag, _version())
        self.activity = Activity(self._claim, self.target.name, asked.lnc, self.cores, self._tell)
        self._finalizer = weakref.finalize(self, Claim.release, self._claim)
        self._placer = placement.Placer(len(self.cores), placement.make_groups(asked.groups))
        self.models: list[LoadedModel] = []
        self._residents = Residents()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        try:
            self._publish(self.models)  # the microcode
        except BaseException:
            self.close()
            raise

    @property
    def groups(self) -> tuple[placement.NeuronCoreGroup, ...]:
        return self._placer.groups

    # ---- models
    def load(self, neff: Neff | Program | str | Path, start_core: int | None = None,
             group: int | None = None) -> LoadedModel:
        """Load a NEFF onto the cores that the placement rules give it (`neuronsim/runtime/placement.py`).

        Args:
            neff: opened, in memory, or the path of the file.
            start_core: first core, counted from this runtime's first; None (or -1) leaves it to the rules.
            group: number of a NeuronCore group; None leaves it to the rules.
        Raises: NrtError (NRT_INVALID, NRT_UNSUPPORTED_NEFF_VERSION, NRT_LOAD_NOT_ENOUGH_NC, NRT_CLOSED; NRT_RESOURCE
            with the use of memory). Warns: PlacementWarning.
        """
        return self._load(neff, lambda cores: self._placer.place(cores, start_core, group))

    def data_parallel(self, neff: Neff | Program | str | Path, copies: int | None = None) -> LoadedModel:
        """Load copies of a NEFF that share its requests: one in each free group, or one after the other on free cores.

        Args:
            neff: as of `load`.
            copies: how many; None: as many as there is room for.
        Raises: NrtError, as `load`.
        """
        return self._load(neff, lambda cores: self._placer.place_copies(cores, copies))

    def _load(self, neff: Neff | Program | str | Path, place: Callable[[int], placement.Placement]) -> LoadedModel:
        opened = open_neff(neff, self._asked.validate_hash)
        check_machine(opened.program, self.topology, self._asked.allow_legacy)
        with self._lock:
            self._require_open()
            where = place(model_cores(opened.program))
            model = LoadedModel(self, opened, next(self._numbers), where)
            self._publish([*self.models, model])
            self._placer.take(where)
            self.models.append(model)
            self.activity.show(at_once=True)
        return model

    def unload(self, model: LoadedModel) -> None:
        """Give a model's memory back. Raises: NrtError (NRT_CLOSED, NRT_INVALID_HANDLE)."""
        with self._lock:
            self._require_loaded(model)
            self.models.remove(model)
            self._placer.take(model.placement, -1)
            self._residents.forget(model)
            self._publish(self.models)
            self.activity.show(at_once=True)

    @contextmanager
    def running(self, model: LoadedModel, runs: int = 1) -> Iterator[list[Turn]]:
        """While the model's next copies run, one for each run; their cores hold it from now on.

        Raises: NrtError (NRT_CLOSED, NRT_INVALID_HANDLE).
        """
        with self._lock:
            self._require_loaded(model)
            turns = [self._residents.bring(model, model.next_replica()) for _ in range(runs)]
        with self.activity.running():
            yield turns

    def serve(
        self,
        loads: Sequence[tuple[LoadedModel | Sequence[LoadedModel], Load]],
        method: str = "auto",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Served:
        """Put loads of requests on loaded models, all at once, until every request has ended. No values are computed.

        Args:
            loads: (model, its requests); several loads of one NEFF share requests as the copies of one model do.
            method: of `neuronsim.serving.serve`.
            on_progress: called a few times a second with the requests done, and all.
        Returns: see `neuronsim.serving.Served`; `neuronsim.runtime.contention` tells what models took from each other.
        Raises: NrtError (NRT_CLOSED, NRT_INVALID_HANDLE, NRT_INVALID); ServingError.
        """
        return self._serve(_groups(loads), [load for _, load in loads], method, on_progress)

    def profile(
        self,
        loads: Sequence[tuple[LoadedModel | Sequence[LoadedModel], Load]],
        max_rows: int = MAX_ROWS,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Profile:
        """As `serve` on the machine, with a trace of every instruction, transfer and request (docs/trace.md).

        Args:
            loads, on_progress: as of `serve`.
            max_rows: of the trace; runs beyond are left out, counted and announced.
        Raises: as `serve`.
        """
        from neuronsim.api import Profile

        groups, asked = _groups(loads), [load for _, load in loads]
        recorder = Recorder([group[0].neff.program for group in groups], self.target, max_rows)
        served = self._serve(groups, asked, "machine", on_progress, recorder)
        trace = recorder.trace(requests_of(served, recorder.programs, asked))
        return Profile(trace, recorder.programs, self.target, served)

    def _serve(
        self,
        groups: Sequence[Sequence[LoadedModel]],
        loads: Sequence[Load],
        method: str,
        on_progress: Callable[[int, int], None] | None,
        recorder: Recorder | None = None,
    ) -> Served:
        with self._lock:
            for model in (m for group in groups for m in group):
                self._require_loaded(model)
            self._residents.serving([m for group in groups for m in group])
        with self.activity.running(at_once=True):
            served = self._server.serve(groups, loads, method, on_progress, recorder)
        self._residents.served(served)
        return served

    @cached_property
    def _server(self) -> Server:
        from neuronsim.runtime.requests import Server

        return Server(self)

    def holds(self, core: int) -> LoadedModel | None:
        """The model that ran last on a core of the instance, if it is known and still loaded."""
        return self._residents.by_core.get(core)

    @property
    def switches(self) -> Counter[int]:
        """By core, how often a model started on it that took the place of another."""
        return self._residents.switches

    @property
    def switch_ns(self) -> float:
        """The time all switches so far took on their cores, the loading of pinned weights included."""
        return self._residents.switch_ns

    # ---- memory
    def memory(self) -> MemoryReport:
        """Device memory by chip, core and model."""
        with self._lock:
            self._require_open()
            others: Counter[int] = Counter()
            for owner in self._claim.others():
                others.update(owner.chip_bytes)
            return self._memory(self.models, others)

    def _memory(self, models: Sequence[LoadedModel], others: Mapping[int, int]) -> MemoryReport:
        parts: dict[int, list[tuple[str, Usage]]] = {core: [] for core in self.cores}
        shared: set[tuple[object, int, int]] = set()
        for model in models:
            for replica in model.replicas:
                for number, (core, usage) in enumerate(zip(replica, model.usage)):
                    weights = model.identity, number, self.topology.chip_of(core)
                    if self._asked.shared_weights and weights in shared:
                        usage = replace(usage, constants=0)
                    shared.add(weights)
                    parts[core].append((model.name, usage))
        chips: dict[int, list[CoreMemory]] = {}
        microcode = self.target.microcode_bytes * self.topology.lnc
        for core in self.cores:
            chips.setdefault(self.topology.chip_of(core), []).append(
                CoreMemory(core, microcode, tuple(parts[core]))
            )
        return report(self.target.dram_bytes_per_chip, chips, others)

    def _publish(self, models: Sequence[LoadedModel]) -> None:
        """Tell other runtimes what these models take. Raises: NrtError (NRT_RESOURCE) where a chip has not as much."""

        def chip_bytes(others: Mapping[int, int]) -> dict[int, int]:
            found = self._memory(models, others)
            full = next((chip for chip in found.chips if chip.free < 0), None)
            if full is not None:
                raise NrtError(
                    NrtStatus.NRT_RESOURCE,
                    f"device {full.chip} has not enough memory",
                    limit=f"{full.limit} bytes",
                    actual=f"{full.used} bytes",
                    detail=full.table(),
                    help="unload a model, place it on another device, or take a larger instance: neuronsim ls",
                )
            return {chip.chip: chip.own for chip in found.chips}

        self._claim.publish(chip_bytes)

    def _tell(self, listener: Callable[[State], None]) -> None:
        """Call it with what is loaded, unless the instance is closed."""
        with self._lock:
            if self._finalizer.alive:
                listener(State(self.models, self._residents.by_core, self._memory(self.models, {}).cores))

    # ---- life
    def close(self) -> None:
        """Unload everything and give the cores back. Closing twice is harmless."""
        with self._lock:
            self.models.clear()
            self._residents.forget()
            self._finalizer()
            if self._scratch is not None:
                self._scratch.cleanup()

    def __enter__(self) -> Instance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Instance {self.target.name!r}: {placement.span(self.cores)}, {len(self.models)} model(s)>"

    def _choose(self, asked: environment.Environment, taken: Sequence[int]) -> list[int]:
        """Physical cores to own, given those that are taken; sets `cores`."""
        lnc = self.topology.lnc
        self.cores = choose_cores(asked, self.topology, {core // lnc for core in taken})
        return [core * lnc + k for core in self.cores for k in range(lnc)]

    def _require_open(self) -> None:
        if not self._finalizer.alive:
            raise NrtError(NrtStatus.NRT_CLOSED, "the instance is closed", where=self.target.name,
                           help="open it again: neuronsim.Instance(...)")

    def _require_loaded(self, model: LoadedModel) -> None:
        self._require_open()
        if model not in self.models:
            raise NrtError(NrtStatus.NRT_INVALID_HANDLE, f"model {model.id} is not loaded", where=model.name,
                           help="load it again")


def _groups(loads: Sequence[tuple[LoadedModel | Sequence[LoadedModel], Load]]) -> list[list[LoadedModel]]:
    """The models that share each load."""
    return [[models] if isinstance(models, LoadedModel) else list(models) for models, _ in loads]


def _version() -> str:
    from neuronsim import __version__

    return __version__
