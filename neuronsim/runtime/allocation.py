"""Which cores of an instance a new runtime gets, given those that others own."""

from __future__ import annotations

from collections.abc import Collection

from isa.topology import Topology
from neuronsim.runtime.environment import NUM_CORES, VISIBLE_CORES, Environment
from neuronsim.runtime.placement import span
from neuronsim.runtime.status import NrtError, NrtStatus


def choose_cores(asked: Environment, topology: Topology, busy: Collection[int]) -> tuple[int, ...]:
    """The logical cores asked for: exactly these, or the first consecutive free ones of that number.

    Cores that are taken fail `nrt_init` with "NeuronCore(s) not available" (neuron-runtime/nrt-troubleshoot.rst). Its
    status is NRT_FAILURE: the logs in Neuron's training troubleshooting go on with "nrt_init failed. Status = 1".
    Raises: NrtError (NRT_FAILURE).
    """
    every = range(topology.cores)
    count = asked.count or len(every)
    windows = [asked.visible] if asked.visible is not None else [
        tuple(every[start : start + count]) for start in range(len(every) - count + 1)
    ]
    for window in windows:
        if not any(core in busy for core in window):
            return window
    wanted = windows[0]
    free = [core for core in (every if asked.visible is None else wanted) if core not in busy]
    another = f"ask for fewer with {NUM_CORES}" if asked.visible is None else f"choose others with {VISIBLE_CORES}"
    raise NrtError(
        NrtStatus.NRT_FAILURE,
        f"NeuronCore(s) not available - Requested:{count if asked.visible is None else span(wanted)} "
        f"Available:{len(free)}",
        where=f"{topology.target.name}: other runtimes own core(s) {', '.join(map(str, sorted(busy)))}",
        limit=f"{len(free)} free",
        actual=f"{len(wanted)} requested",
        help=f"end the process that owns them (neuronsim ls --instance {topology.target.name}), or {another}",
    )
