"""What a runtime has done so far, counted for its telemetry: runs, latencies, and how busy its cores were."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from neuronsim.runtime.status import NrtStatus
from neuronsim.runtime.telemetry import ERRORS, EXECUTIONS, PERCENTILES, VERSION, write_snapshot

if TYPE_CHECKING:
    from neuronsim.api import Result
    from neuronsim.runtime.memory import Usage
    from neuronsim.runtime.model import LoadedModel
    from neuronsim.runtime.ownership import Claim
    from neuronsim.runtime.residents import Turn

SECONDS_BETWEEN = 0.25  # of wall time, between two snapshots
_LATENCIES_KEPT = 4096
_EXECUTION = {
    NrtStatus.NRT_SUCCESS: "completed",
    NrtStatus.NRT_EXEC_COMPLETED_WITH_NUM_ERR: "completed_with_num_err",
    NrtStatus.NRT_TIMEOUT: "timed_out",
    NrtStatus.NRT_EXEC_BAD_INPUT: "incorrect_input",
}
_ERROR = {NrtStatus.NRT_EXEC_COMPLETED_WITH_NUM_ERR: "numerical", NrtStatus.NRT_EXEC_BAD_INPUT: "generic"}


class State(NamedTuple):
    """What a runtime has loaded: models, which of them ran last on each core, and device memory by core."""

    models: Sequence[LoadedModel]
    held: Mapping[int, LoadedModel]
    memory: Mapping[int, Usage]


Tell = Callable[[Callable[[State], None]], None]


class Activity:
    """Counters of one runtime, and the file that shows them. May be used from several threads."""

    def __init__(self, claim: Claim, instance: str, lnc: int, cores: Sequence[int], tell: Tell) -> None:
        """Args: tell: calls what it is given with the state of the runtime, unless that is closed; held weakly."""
        self.claim, self.instance, self.lnc, self.cores = claim, instance, lnc, tuple(cores)
        self._tell = weakref.WeakMethod(tell)
        self._running = 0
        self._timer: threading.Timer | None = None
        self.started = time.time()
        self.simulated_ns = 0.0
        self._executions: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._device: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._busy_ns: Counter[int] = Counter()  # since the last snapshot, as the next two
        self._flops: Counter[int] = Counter()
        self._since_ns = 0.0
        self._shown: dict[str, dict[str, Any]] = {}
        self._written = 0.0
        self._lock = threading.Lock()

    def ended(self, status: NrtStatus, count: int = 1) -> None:
        """Count runs by how they ended."""
        with self._lock:
            self._executions[_EXECUTION.get(status, "completed_with_err")] += count
            if status != NrtStatus.NRT_SUCCESS:
                self._errors[_ERROR.get(status, "runtime")] += count

    def ran(self, model: LoadedModel, turns: Sequence[Turn], results: Sequence[Result], elapsed_ns: float) -> None:
        """Count the runs that one call became."""
        busy_ns: Counter[int] = Counter()
        flops: Counter[int] = Counter()
        for turn, result in zip(turns, results, strict=True):
            self.ended(result.status)
            flops.update(dict(zip(turn.cores, model.flops)))
            for stage in result.last.stages:
                busy_ns[stage.core] += stage.timeline.seconds * 1e9  # type: ignore[assignment]
        self.worked(busy_ns, flops, elapsed_ns, [elapsed_ns * 1e-9], [r.last.device_seconds for r in results])

    def worked(
        self, busy_ns: Mapping[int, float], flops: Mapping[int, int], simulated_ns: float,
        latencies: Sequence[float] = (), device: Sequence[float] = (),
    ) -> None:
        """Count simulated work.

        Args:
            busy_ns: how long each core worked; flops: what each did.
            simulated_ns: time that passed on the simulated instance.
            latencies, device: of the runs that ended, as the host sees them and on the device alone. Unit: seconds.
        """
        with self._lock:
            for core, time_ns in busy_ns.items():
                self._busy_ns[core] += time_ns  # type: ignore[assignment]
            self._flops.update(flops)
            self.simulated_ns += simulated_ns
            self._latencies.extend(latencies)
            self._device.extend(device)

    def at_work(self, shares: Mapping[int, float]) -> None:
        """Show cores as busy for these shares of the time, while a simulation is under way."""
        with self._lock:
            for core, share in shares.items():
                shown = self._shown.setdefault(str(core), {"flops": 0.0, "model": ""})
                shown["neuroncore_utilization"] = min(100.0 * share, 100.0)

    @contextmanager
    def running(self, at_once: bool = False) -> Iterator[None]:
        """While a simulation is under way; its begin and end are shown, as `show`."""
        with self._lock:
            self._running += 1
        self.show(at_once)
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
            self.show(at_once)

    def show(self, at_once: bool = False) -> None:
        """Write a snapshot; unless at once, `SECONDS_BETWEEN` after the last one."""
        with self._lock:
            wait = 0.0 if at_once else self._written + SECONDS_BETWEEN - time.monotonic()
            if wait > 0:
                if self._timer is None:
                    self._timer = threading.Timer(wait, self._later)
                    self._timer.daemon = True
                    self._timer.start()
                return
            if not at_once:
                self._written = time.monotonic()
        self._now()

    def _later(self) -> None:
        with self._lock:
            self._timer, self._written = None, time.monotonic()
        self._now()

    def _now(self) -> None:
        tell = self._tell()
        if tell is not None:
            tell(self._write)

    def _write(self, state: State) -> None:
        """With the runtime's lock held, so that nothing is written once it has closed."""
        with self._lock:
            self._count_cores(state.held)
            write_snapshot(self.claim, {
                "version": VERSION,
                "pid": os.getpid(),
                "neuron_runtime_tag": self.claim.owner.tag or str(os.getpid()),
                "instance_type": self.instance,
                "logical_neuroncore_config": self.lnc,
                "started": self.started,
                "updated": time.time(),
                "is_running": self._running > 0,
                "simulated_ns": self.simulated_ns,
                "neuroncores_in_use": self._shown,
                "execution_stats": self._execution_stats(),
                "memory_used": _memory_used(state),
            })

    def _count_cores(self, held: Mapping[int, LoadedModel]) -> None:
        """Utilisation since the last snapshot; the last one again where no simulated time has passed."""
        passed = self.simulated_ns - self._since_ns
        for core in self.cores:
            last = self._shown.get(str(core), {"neuroncore_utilization": 0.0, "flops": 0.0})
            if passed > 0:
                share = 100.0 * self._busy_ns[core] / passed
                last = {"neuroncore_utilization": min(share, 100.0), "flops": self._flops[core] / passed * 1e9}
            self._shown[str(core)] = {**last, "model": held[core].name if core in held else ""}
        self._since_ns = self.simulated_ns
        self._busy_ns.clear()
        self._flops.clear()

    def _execution_stats(self) -> dict[str, Any]:
        return {
            "error_summary": {name: self._errors[name] for name in ERRORS},
            "execution_summary": {name: self._executions[name] for name in EXECUTIONS},
            "latency_stats": {
                "total_latency": _percentiles(self._latencies),
                "device_latency": _percentiles(self._device),
            },
        }


def _percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    found = np.percentile(np.array(seconds), PERCENTILES, method="inverted_cdf")
    return {f"p{p}": float(value) for p, value in zip(PERCENTILES, found, strict=True)}


def _memory_used(state: State) -> dict[str, Any]:
    models, held, memory = state
    running = {id(model) for model in held.values()}
    listed = [_copy(model, cores, id(model) in running) for model in models for cores in model.replicas]
    tensors = sum(model["subgraphs"][sg]["memory_used_bytes"]["host"] for model in listed for sg in model["subgraphs"])
    return {
        "neuron_runtime_used_bytes": {
            "host": tensors,
            "neuron_device": sum(usage.total for usage in memory.values()),
            "usage_breakdown": {
                "host": _host(tensors),
                "neuroncore_memory_usage": {str(core): usage.as_dict() for core, usage in memory.items()},
            },
        },
        "loaded_models": listed,
    }


def _copy(model: LoadedModel, cores: Sequence[int], is_running: bool) -> dict[str, Any]:
    """One copy of a model; its host memory is that of the inputs and outputs that pass the host."""
    subgraphs = {}
    for number, (core, usage) in enumerate(zip(cores, model.usage, strict=True)):
        device = {k: v for k, v in usage.as_dict().items() if k != "model_shared_scratchpad"}
        subgraphs[f"sg_{number:02d}"] = {
            "neuroncore_index": core,
            "neuron_device_index": model.instance.topology.chip_of(core),
            "memory_used_bytes": {
                "host": usage.tensors,
                "neuron_device": sum(device.values()),
                "usage_breakdown": {"host": _host(usage.tensors), "neuron_device": device},
            },
        }
    return {
        "name": model.name, "uuid": model.uuid, "model_id": model.id, "is_running": is_running,
        "subgraphs": subgraphs,
    }  # fmt: skip


def _host(tensors: int) -> dict[str, int]:
    return {"application_memory": 0, "constants": 0, "dma_buffers": 0, "tensors": tensors}
