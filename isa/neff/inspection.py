"""What a NEFF holds, as JSON values, without running anything and without touching weights."""
from __future__ import annotations

import os

import numpy as np

from isa import dtypes, word
from isa.neff.decode import open_program
from isa.program import VARIABLE_KINDS, WEIGHT, Program, Stage, TensorInfo


def inspect(source: str | os.PathLike[str] | Program) -> dict[str, object]:
    """Return a description of a NEFF file or of a program.

    Keys: `header` (decoded fields; None for a program), `name`, `target`, `generation`, `inputs`, `outputs`, `nodes`,
    `operators` ({total, on_device, on_cpu} as compiled), `cpu_operators`, `cpu_models` (name -> bytes), `options`,
    `weights_bytes`, and `stages`, each with `instructions` (engine -> count), `weights_bytes`, `variables`
    (kind -> {count, bytes}), `sbuf_peak_bytes`, `psum_peak_bytes` (per partition), `descriptors`, `dma_bytes` (written
    by all descriptors, each counted once), `debug_rows`, `info`. Raises: ContainerError.
    """
    if isinstance(source, Program):
        return describe(source, None)
    container, program = open_program(source)
    return describe(program, container.header.as_dict())


def describe(program: Program, header: dict[str, object] | None) -> dict[str, object]:
    """Return the description of `program`; see `inspect`."""
    stages = [_stage(s) for s in program.stages]
    return {
        "header": header,
        "name": program.name,
        "target": program.target,
        "generation": program.generation,
        "inputs": [_tensor(t) for t in program.inputs],
        "outputs": [_tensor(t) for t in program.outputs],
        "nodes": [{"name": n.name, "kind": n.kind, "inputs": list(n.inputs), "outputs": list(n.outputs),
                   "stage": n.stage, "model": n.model} for n in program.nodes],
        "operators": program.report.get("operators", {}),
        "cpu_operators": program.report.get("cpu_operators", []),
        "cpu_models": {name: len(model) for name, model in program.cpu_models.items()},
        "options": dict(program.options),
        "weights_bytes": sum(v.size_bytes for s in program.stages for v in s.variables if v.kind == WEIGHT),
        "stages": stages,
    }


def _tensor(tensor: TensorInfo) -> dict[str, object]:
    return {"name": tensor.name, "shape": list(tensor.shape) if tensor.ranked else None, "dtype": tensor.dtype}


def _stage(stage: Stage) -> dict[str, object]:
    variables = {kind: [v.size_bytes for v in stage.variables if v.kind == kind] for kind in VARIABLE_KINDS}
    return {
        "instructions": {e: len(stage.stream(e)) for e in word.ENGINES if e in stage.streams},
        "weights_bytes": sum(variables[WEIGHT]),
        "variables": {kind: {"count": len(sizes), "bytes": sum(sizes)} for kind, sizes in variables.items()},
        "sbuf_peak_bytes": stage.sbuf_peak_bytes,
        "psum_peak_bytes": stage.psum_peak_bytes,
        "descriptors": len(stage.descriptors),
        "dma_bytes": _dma_bytes(stage.descriptors),
        "debug_rows": len(stage.debug),
        "info": dict(stage.info),
    }


def _dma_bytes(descriptors: np.ndarray) -> int:
    elements = descriptors["size"].astype(object).prod(axis=1) if len(descriptors) else []
    sizes = dtypes.SIZES[descriptors["dst_dtype"]].tolist()
    return sum(int(n) * s for n, s in zip(elements, sizes))
