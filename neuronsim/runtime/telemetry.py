"""What a running simulation shows to `neuronsim top` and `neuronsim monitor`: a JSON snapshot beside its claim.

One file for each runtime, replaced as a whole, so that a reader sees an old or a new snapshot and never half of one.
The keys are those of neuron-monitor's report where it has them. `read_snapshots` is for whoever looks: it takes files
of living runtimes only, and believes nothing in them that `SNAPSHOT` does not allow.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronsim.runtime.ownership import Claim, Registry, snapshot_path, state_folders

VERSION = 1
PERCENTILES = (0, 1, 25, 50, 75, 99, 100)
_BYTES_AT_MOST = 1 << 20
_ENTRIES_AT_MOST = 512  # more than the cores of any instance
_CHARACTERS_AT_MOST = 256


@dataclass(frozen=True)
class Each:
    """Schema of an object of any keys, whose values are all alike."""

    value: Any


@dataclass(frozen=True)
class Maybe:
    """Schema of a value that may be null."""

    value: Any


_DEVICE_BYTES = {"constants": int, "model_code": int, "runtime_memory": int, "tensors": int}
_HOST_BYTES = {"application_memory": int, "constants": int, "dma_buffers": int, "tensors": int}
_LATENCY = Maybe({f"p{p}": float for p in PERCENTILES})  # seconds
ERRORS = ("generic", "numerical", "transient", "model", "runtime", "hardware")
EXECUTIONS = ("completed", "completed_with_err", "completed_with_num_err", "timed_out", "incorrect_input",
              "failed_to_queue")  # fmt: skip
SNAPSHOT: Mapping[str, Any] = {
    "version": int,
    "pid": int,
    "neuron_runtime_tag": str,  # NEURON_PROCESS_TAG or the pid
    "instance_type": str,
    "logical_neuroncore_config": int,
    "started": float,  # Unix seconds
    "updated": float,
    "is_running": bool,
    "simulated_ns": float,  # simulated time of all runs so far
    "neuroncores_in_use": Each({  # by logical core: everything a runtime owns
        "neuroncore_utilization": float,  # percent of the simulated time since the snapshot before
        "flops": float,  # useful ones per second of that time
        "model": str,  # holds the core; "" before the first run
    }),
    "execution_stats": {
        "error_summary": dict.fromkeys(ERRORS, int),
        "execution_summary": dict.fromkeys(EXECUTIONS, int),
        "latency_stats": {"total_latency": _LATENCY, "device_latency": _LATENCY},
    },
    "memory_used": {
        "neuron_runtime_used_bytes": {
            "host": int,
            "neuron_device": int,
            "usage_breakdown": {
                "host": _HOST_BYTES,
                "neuroncore_memory_usage": Each({**_DEVICE_BYTES, "model_shared_scratchpad": int}),
            },
        },
        "loaded_models": [{  # a copy of a model each
            "name": str, "uuid": str, "model_id": int, "is_running": bool,
            "subgraphs": Each({
                "neuroncore_index": int, "neuron_device_index": int,
                "memory_used_bytes": {
                    "host": int, "neuron_device": int,
                    "usage_breakdown": {"host": _HOST_BYTES, "neuron_device": _DEVICE_BYTES},
                },
            }),
        }],
    },
}  # fmt: skip


def write_snapshot(claim: Claim, snapshot: Mapping[str, Any]) -> None:
    """Replace the snapshot of this runtime. One that is too large goes without its loaded models.

    Nothing is written where the folder does not allow it (a full disk, say): tools go without, the simulation goes on.
    """
    text = json.dumps(snapshot, allow_nan=False)
    if len(text) > _BYTES_AT_MOST:
        text = json.dumps({**snapshot, "memory_used": {**snapshot["memory_used"], "loaded_models": []}})
    path = snapshot_path(claim.path)
    part = path.with_suffix(".tmp")
    try:
        with open(part, "w", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as file:
            file.write(text)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
    except BaseException:  # Ctrl-C leaves no part of a file
        part.unlink(missing_ok=True)
        raise


def read_snapshots(state_dir: str | Path | None = None, instance: str | None = None) -> list[dict[str, Any]]:
    """Snapshots of living runtimes, by instance and first core; each has exactly the keys of `SNAPSHOT`.

    Args:
        state_dir: as of `Instance`; default: NEURONSIM_STATE_DIR, or the user's own folder.
        instance: only runtimes on the simulated instance of that name.
    """
    claims = [claim for folder in state_folders(state_dir, instance) for claim in Registry(folder).claims()]
    found = [s for claim in claims if (s := _read(snapshot_path(claim))) is not None]
    return sorted(found, key=lambda s: (s["instance_type"], min(map(_number, s["neuroncores_in_use"]), default=0)))


def _read(path: Path) -> dict[str, Any] | None:
    """The snapshot in a file; None for a file that is absent, too large or no snapshot."""
    with suppress(OSError, ValueError, RecursionError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            about = os.fstat(file.fileno())
            if stat.S_ISREG(about.st_mode) and about.st_size <= _BYTES_AT_MOST:
                snapshot = checked(json.loads(file.read(_BYTES_AT_MOST + 1)), SNAPSHOT)
                return snapshot if snapshot["version"] == VERSION else None
    return None


def checked(value: Any, schema: Any) -> Any:
    """The value, as far as the schema names it. Texts lose what a terminal could take for a command.

    Raises: ValueError for another type, an absent key, a negative or infinite number, too many entries.
    """
    match schema:
        case Maybe(inner):
            return None if value is None else checked(value, inner)
        case Each(inner) if isinstance(value, dict) and len(value) <= _ENTRIES_AT_MOST:
            return {_text(key): checked(v, inner) for key, v in value.items()}
        case [inner] if isinstance(value, list) and len(value) <= _ENTRIES_AT_MOST:
            return [checked(v, inner) for v in value]
        case dict() if isinstance(value, dict) and schema.keys() <= value.keys():
            return {key: checked(value[key], inner) for key, inner in schema.items()}
    if schema is str and isinstance(value, str):
        return _text(value)
    if schema is bool and isinstance(value, bool):
        return value
    if schema in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value) and 0 <= value < 2**63 and (schema is float or isinstance(value, int)):
            return schema(value)
    raise ValueError(f"no {schema}")


def _text(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_CHARACTERS_AT_MOST])


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
