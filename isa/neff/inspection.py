"""What a NEFF holds, as JSON values, without running anything and without touching weights."""
from __future__ import annotations

import os

import numpy as np

from isa import dtypes, word
from isa.neff.decode import open_program
from isa.program import OUTPUT, VARIABLE_KINDS, WEIGHT, Program, Stage, TensorInfo


def inspect(source: str | os.PathLike[str] | Program) -> dict[str, object]:
    """Return a description of a NEFF file or of a program.

    Keys: `header` (decoded fields; None for a program), `name`, `target`, `generation`, `inputs`, `outputs`, `nodes`
    (with `core` and `upstream`), `cores`, `operators` ({total, on_device, on_cpu} as compiled), `cpu_operators`,
    `cpu_models` (name -> bytes), `options`, `weights_bytes`, and `stages`, each with `cores` (of its nodes),
    `instructions` and `init_instructions` (engine -> count; those of every run and those of loading), `weights_bytes`,
    `pinned_bytes` and `streamed_bytes` (of weights, as compiled; None where the compiler did not say), `variables`
    (kind -> {count, bytes}), `handover` (what it hands to the next core: list of {name, bytes, space}),
    `handover_bytes` (per partition, of what it is handed), `sbuf_peak_bytes`, `psum_peak_bytes` (per partition),
    `descriptors`, `dma_bytes` (written by all descriptors, each counted once), `debug_rows`, `info`.
    Raises: ContainerError.
    """
    if isinstance(source, Program):
        return describe(source, None)
    container, program = open_program(source)
    return describe(program, container.header.as_dict())


def describe(program: Program, header: dict[str, object] | None) -> dict[str, object]:
    """Return the description of `program`; see `inspect`."""
    handing = {n.upstream for n in program.nodes}
    handed_on = {n.stage for n in program.nodes if n.name in handing}
    stages = [_stage(s, sorted({n.core for n in program.nodes if n.stage == i}), i in handed_on)
              for i, s in enumerate(program.stages)]
    return {
        "header": header,
        "name": program.name,
        "target": program.target,
        "generation": program.generation,
        "inputs": [_tensor(t) for t in program.inputs],
        "outputs": [_tensor(t) for t in program.outputs],
        "nodes": [{"name": n.name, "kind": n.kind, "inputs": list(n.inputs), "outputs": list(n.outputs),
                   "stage": n.stage, "model": n.model, "core": n.core, "upstream": n.upstream} for n in program.nodes],
        "cores": program.cores,
        "operators": program.report.get("operators", {}),
        "cpu_operators": program.report.get("cpu_operators", []),
        "cpu_models": {name: len(model) for name, model in program.cpu_models.items()},
        "options": dict(program.options),
        "weights_bytes": sum(v.size_bytes for s in program.stages for v in s.variables if v.kind == WEIGHT),
        "stages": stages,
    }


def _tensor(tensor: TensorInfo) -> dict[str, object]:
    return {"name": tensor.name, "shape": list(tensor.shape) if tensor.ranked else None, "dtype": tensor.dtype}


def _stage(stage: Stage, cores: list[int], handed_on: bool) -> dict[str, object]:
    variables = {kind: [v.size_bytes for v in stage.variables if v.kind == kind] for kind in VARIABLE_KINDS}
    handover = [{"name": v.name, "bytes": v.size_bytes, "space": v.space}
                for v in stage.variables if v.kind == OUTPUT and handed_on]
    return {
        "cores": cores,
        "instructions": {e: len(stage.stream(e)) for e in word.ENGINES if e in stage.streams},
        "init_instructions": {e: len(stage.init[e]) for e in word.ENGINES if e in stage.init},
        "weights_bytes": sum(variables[WEIGHT]),
        "pinned_bytes": _count(stage.info.get("pinned_bytes")),
        "streamed_bytes": _count(stage.info.get("streamed_bytes")),
        "variables": {kind: {"count": len(sizes), "bytes": sum(sizes)} for kind, sizes in variables.items()},
        "handover": handover,
        "handover_bytes": stage.handover_bytes,
        "sbuf_peak_bytes": stage.sbuf_peak_bytes,
        "psum_peak_bytes": stage.psum_peak_bytes,
        "descriptors": len(stage.descriptors),
        "dma_bytes": _dma_bytes(stage.descriptors),
        "debug_rows": len(stage.debug),
        "info": dict(stage.info),
    }


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _dma_bytes(descriptors: np.ndarray) -> int:
    elements = descriptors["size"].astype(object).prod(axis=1) if len(descriptors) else []
    sizes = dtypes.SIZES[descriptors["dst_dtype"]].tolist()
    return sum(int(n) * s for n, s in zip(elements, sizes))
