"""neuron-monitor's metric groups, from what runtimes publish and from /proc.

A group is two functions: one takes a reading, the other tells what happened between two readings. Keys and units are
those of neuron-monitor's user guide (tools/neuron-sys-tools/neuron-monitor-user-guide.rst). What a simulator cannot
know is 0, "" or null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from isa import target as targets
from isa.errors import NeuronError
from isa.target import Target
from isa.topology import Topology
from neuronsim.monitoring import host_counters
from neuronsim.monitoring.host_counters import CPU_STATES, Reading

Snapshot = Mapping[str, Any]
# By instance family; type and versions are the spelling of reports that users have posted of real Inf2, Trn1 and Trn2
# machines. Inferred for Inf1: the first device of the same order.
_DEVICES = {
    "inf1": ("inferentia", "v1"),
    "inf2": ("inferentia2", "v3"),
    "trn1": ("trainium", "v2"),
    "trn2": ("trainium2", "v4"),
}
_ECC = ("mem_ecc_corrected", "mem_ecc_uncorrected", "sram_ecc_uncorrected", "sram_ecc_corrected")
_PLACE = ("instance_availability_zone", "instance_availability_zone_id", "instance_region", "ami_id", "subnet_id")


@dataclass(frozen=True)
class Machine:
    """The simulated instance that a report is about.

    Attributes:
        name: "" while there is none.
        lnc: physical cores of a logical one, None while no runtime says so.
        target: its description, None for the built-in one of that name.
    """

    name: str = ""
    lnc: int | None = None
    target: Target | None = None

    def info(self) -> dict[str, Any]:
        """`instance_info`: a simulated instance has a type and nothing else."""
        return {
            "instance_name": "",
            "instance_id": "",
            "instance_type": self.name,
            **dict.fromkeys(_PLACE, ""),
            "error": "a simulated instance has no metadata" if self.name else "no simulated instance is running",
        }

    def hardware(self) -> dict[str, Any]:
        """`neuron_hardware_info`, of the target file."""
        topology, error = self.topology()
        if topology is None:
            names = ("neuron_device_type", "neuron_device_version", "neuroncore_version")
            sizes = ("neuron_device_count", "neuron_device_memory_size", "neuroncore_per_device_count",
                     "logical_neuroncore_config")  # fmt: skip
            return {**dict.fromkeys(names, ""), **dict.fromkeys(sizes, 0), "error": error}
        target = topology.target
        kind, version = _DEVICES.get(target.name[:4], (target.name, ""))
        return {
            "neuron_device_type": kind,
            "neuron_device_version": version,
            "neuroncore_version": core_version(topology),
            "neuron_device_count": target.chips,
            "neuron_device_memory_size": target.dram_bytes_per_chip,
            "neuroncore_per_device_count": topology.cores_per_chip,
            "logical_neuroncore_config": topology.lnc,
            "error": "",
        }

    def topology(self) -> tuple[Topology | None, str]:
        """Chips and cores, or None and the reason."""
        if not self.name:
            return None, "no simulated instance is running"
        try:
            target = self.target or targets.load(self.name)
            return Topology(target, self.lnc or target.lnc_default), ""
        except NeuronError as error:  # a target file of the user's, known to the runtime alone
            return None, error.what


def core_version(topology: Topology) -> str:
    """Of its NeuronCores, in Neuron's spelling: "v3d" are logical cores of two."""
    return topology.target.generation + ("d" if topology.lnc > 1 else "")


# ---- of a runtime: readings are its snapshots, except for its processor time
def neuroncore_counters(before: Snapshot, now: Snapshot, _: float) -> dict[str, Any]:
    """Utilisation in percent and flops per second, of simulated time; nothing for cores that stood still meanwhile."""
    idle = not now["is_running"] and before.get("simulated_ns") == now["simulated_ns"]
    cores = {}
    for index, core in now["neuroncores_in_use"].items():
        share = 0.0 if idle else core["neuroncore_utilization"]
        cores[index] = {"neuroncore_utilization": share, "flops": 0 if idle else round(core["flops"])}
        lnc = now["logical_neuroncore_config"]
        if lnc > 1:  # physical cores of a logical one work as one
            first = int(index) * lnc
            cores[index]["v3d"] = {f"nc_v3.{first + k}": {"neuroncore_utilization": share} for k in range(lnc)}
    return {"neuroncores_in_use": cores, "error": ""}


def execution_stats(before: Snapshot, now: Snapshot, _: float) -> dict[str, Any]:
    """Runs and errors of the period; latencies in seconds, null where no run ended in it."""
    stats, old = now["execution_stats"], before.get("execution_stats", {})

    def since(kind: str) -> dict[str, int]:
        earlier = old.get(kind, {})
        return {name: count - earlier.get(name, 0) for name, count in stats[kind].items()}

    executions = since("execution_summary")
    latencies = stats["latency_stats"]
    return {
        "error_summary": since("error_summary"),
        "execution_summary": executions,
        "latency_stats": dict(latencies) if any(executions.values()) else dict.fromkeys(latencies),
        "error": "",
    }


def memory_used(_: Snapshot, now: Snapshot, __: float) -> dict[str, Any]:
    """Bytes on the host and on the devices, by category, core and loaded model."""
    return {**now["memory_used"], "error": ""}


def neuron_runtime_vcpu_usage(before: Reading, now: Reading, seconds: float) -> dict[str, Any]:
    """Percent of this host's hardware threads that the simulating process took."""
    return {"vcpu_usage": host_counters.process_shares(before, now, seconds), "error": now.error}


# ---- of the host
def vcpu_usage(before: Reading, now: Reading, _: float) -> dict[str, Any]:
    """Percent of time by state, of each hardware thread of this host."""
    shares = host_counters.cpu_shares(before, now)
    switches = [r.counters.get("ctxt", [0])[0] for r in (before, now)]
    return {
        "average_usage": shares.pop("cpu", dict.fromkeys(CPU_STATES, 0.0)),
        "usage_data": shares,
        "context_switch_count": switches[1] - switches[0],
        "error": now.error,
    }


def memory_info(_: Reading, now: Reading, __: float) -> dict[str, Any]:
    """Bytes of this host's memory; used is what a new program could not get."""

    def size(name: str) -> int:
        return now.counters.get(name, [0])[0]

    return {
        "memory_total_bytes": size("MemTotal"),
        "memory_used_bytes": size("MemTotal") - size("MemAvailable"),
        "swap_total_bytes": size("SwapTotal"),
        "swap_used_bytes": size("SwapTotal") - size("SwapFree"),
        "error": now.error,
    }


def neuron_hw_counters(_: Machine, now: Machine, __: float) -> dict[str, Any]:
    """ECC events by device: simulated memory never fails."""
    topology, error = now.topology()
    chips = topology.target.chips if topology else 0
    return {
        "neuron_devices": [{"neuron_device_index": chip, **dict.fromkeys(_ECC, 0)} for chip in range(chips)],
        "error": error,
    }


@dataclass(frozen=True)
class Group:
    """A metric group.

    Attributes:
        read: takes a reading, of a runtime's snapshot or of the machine.
        tell: what to report of (the reading before, this one, seconds between).
        nothing: the reading before there was anything to read.
    """

    read: Callable[[Any], Any]
    tell: Callable[[Any, Any, float], dict[str, Any]]
    nothing: Any


def _same(source: Any) -> Any:
    return source


RUNTIME: Mapping[str, Group] = {
    "neuroncore_counters": Group(_same, neuroncore_counters, {}),
    "execution_stats": Group(_same, execution_stats, {}),
    "memory_used": Group(_same, memory_used, {}),
    "neuron_runtime_vcpu_usage": Group(
        lambda snapshot: host_counters.read_process(snapshot["pid"]), neuron_runtime_vcpu_usage, Reading()
    ),
}
SYSTEM: Mapping[str, Group] = {
    "neuron_hw_counters": Group(_same, neuron_hw_counters, Machine()),
    "vcpu_usage": Group(lambda _: host_counters.read_cpus(), vcpu_usage, Reading()),
    "memory_info": Group(lambda _: host_counters.read_memory(), memory_info, Reading()),
}
