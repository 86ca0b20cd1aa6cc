"""Living runtimes with a stated activity, for the tests of what watches them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuronsim.runtime.ownership import Claim, Registry, state_folder
from neuronsim.runtime.telemetry import ERRORS, EXECUTIONS, PERCENTILES, VERSION, write_snapshot

LATENCY = {f"p{p}": 0.01 + p / 1e5 for p in PERCENTILES}
HOST = {"application_memory": 0, "constants": 0, "dma_buffers": 0, "tensors": 640}
DEVICE = {"constants": 2**20, "model_code": 4096, "runtime_memory": 512, "tensors": 640}


class Runtime:
    """A runtime that owns `cores` and publishes what `show` is told."""

    def __init__(self, root: Path, cores: Sequence[int], tag: str = "", instance: str = "inf1.6xlarge") -> None:
        self.cores, self.tag, self.instance = cores, tag, instance
        self.claim: Claim = Registry(state_folder(instance, root)).claim(lambda taken: cores, tag, "1")

    def show(
        self, completed: int = 0, utilization: float = 0.0, simulated_ns: float = 0.0, lnc: int = 1, **changes: Any
    ) -> dict[str, Any]:
        """Publish a snapshot and return it."""
        share = {"neuroncore_utilization": utilization, "flops": utilization * 1e9, "model": "m"}
        logical = sorted({core // lnc for core in self.cores})
        cores = {str(core): dict(share) for core in logical}
        snapshot = {
            "version": VERSION,
            "pid": os.getpid(),
            "neuron_runtime_tag": self.tag or str(os.getpid()),
            "instance_type": self.instance,
            "logical_neuroncore_config": lnc,
            "started": 1.0 + self.cores[0],
            "updated": 2.0,
            "is_running": True,
            "simulated_ns": simulated_ns,
            "neuroncores_in_use": cores,
            "execution_stats": {
                "error_summary": dict.fromkeys(ERRORS, 0),
                "execution_summary": {**dict.fromkeys(EXECUTIONS, 0), "completed": completed},
                "latency_stats": {"total_latency": LATENCY, "device_latency": LATENCY},
            },
            "memory_used": {
                "neuron_runtime_used_bytes": {
                    "host": 640,
                    "neuron_device": sum(DEVICE.values()) * len(logical),
                    "usage_breakdown": {
                        "host": HOST,
                        "neuroncore_memory_usage": {
                            str(core): {**DEVICE, "model_shared_scratchpad": 0} for core in logical
                        },
                    },
                },
                "loaded_models": [{
                    "name": "m", "uuid": "0" * 32, "model_id": 1, "is_running": True,
                    "subgraphs": {"sg_00": {
                        "neuroncore_index": logical[0], "neuron_device_index": 0,
                        "memory_used_bytes": {
                            "host": 640, "neuron_device": sum(DEVICE.values()),
                            "usage_breakdown": {"host": HOST, "neuron_device": DEVICE},
                        },
                    }},
                }],
            },
            **changes,
        }  # fmt: skip
        write_snapshot(self.claim, snapshot)
        return snapshot

    def close(self) -> None:
        """End as a runtime does."""
        self.claim.release()
