"""What must hold between a program's nodes, tensors and a machine before anything is allocated for a run.

The container guarantees the parts one by one; a listing, or a file made by other hands, can still promise tensors that
nobody makes, of sizes that nobody has.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod

from isa.errors import ErrorList, NeuronError
from isa.neff.pipeline import check_pipeline
from isa.program import INPUT, OUTPUT, WEIGHT, Program, TensorInfo
from isa.target import Target
from neuronsim import instances
from neuronsim.errors import ConfigError
from neuronsim.host_checks import element_dtype, numpy_dtype
from neuronsim.runtime.memory import model_usage

UNKNOWN = -1  # elements of a tensor that a CPU segment makes
HOST_ONLY = -2  # "elements" of what only CPU segments can read


def check_tensors(program: Program) -> None:
    """Check that every tensor a node or the model names exists, in the size it is used in, before anybody reads it.

    What a stage hands on to the next one in a pipeline, nobody else can read.
    Raises: ErrorList of ConfigError (INTERFACE), everything wrong at once; ContainerError for stages that do not hand
        on what the next one reads.
    """
    check_pipeline(program.nodes, program.stages)
    errors: list[NeuronError] = [*_problems(program), *_evictions(program)]
    if errors:
        raise ErrorList(errors)


def check_cores(program: Program, target: Target, cores: Sequence[int]) -> None:
    """Raise ConfigError (CORES) when the program needs cores that the machine does not have."""
    if program.cores <= len(cores) and max(cores) < target.cores:
        return
    larger = instances.large_enough(program)
    raise ConfigError(
        f"the program needs {program.cores} cores, {target.name} has {target.cores}",
        code="CORES",
        where=program.name,
        limit=target.cores,
        actual=program.cores,
        help=f"compile for fewer: --neuroncore-pipeline-cores {target.cores}"
        + (f", or run on {larger}" if larger else ""),
    )


def check_device_memory(program: Program, target: Target, cores: Sequence[int]) -> None:
    """Raise ConfigError (DRAM) when what the stages keep in device memory does not fit that of a chip."""
    needed: Counter[int] = Counter()
    for core, usage in zip(cores, model_usage(program)):
        needed[core // target.cores_per_chip] += usage.constants + usage.tensors + usage.model_shared_scratchpad
    for chip, size in needed.items():
        if size > target.dram_bytes_per_chip:
            raise ConfigError(
                f"the tensors of the program do not fit the device memory of {target.name}",
                code="DRAM",
                where=f"device {chip}",
                limit=f"{target.dram_bytes_per_chip} bytes",
                actual=f"{size} bytes",
                help="compile for a smaller batch, for cores on more devices, or for another instance",
            )


def check_host_memory(program: Program) -> None:
    """Raise ConfigError (HOST_MEMORY) when values need more memory than this host has (weights stay in their file)."""
    needed = sum(v.size_bytes for s in program.stages for v in s.variables if v.kind != WEIGHT)
    needed += sum(prod(i.shape) * numpy_dtype(i.dtype).itemsize for i in program.inputs if i.is_static)
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > have:
        raise ConfigError(
            "the values of this program do not fit the host's memory",
            code="HOST_MEMORY",
            limit=f"{have} bytes",
            actual=f"{needed} bytes",
            help="--timing-only touches no data",
        )


def _problems(program: Program) -> Iterator[ConfigError]:
    known: dict[str, int] = {}
    for info in program.inputs:
        _check_type(info)
        known[info.name] = prod(info.shape) if info.is_static else HOST_ONLY
    for node in program.nodes:
        if node.kind == "cpu":
            yield from (_absent(name, f"node {node.name!r}") for name in node.inputs if name not in known)
            known.update(dict.fromkeys(node.outputs, UNKNOWN))
            continue
        variables = program.stages[node.stage].variables
        if not node.upstream:
            for v in (v for v in variables if v.kind == INPUT):
                yield from _compare(v.name, v.shape, known, f"node {node.name!r}")
        if program.downstream(node) is None:
            known.update({v.name: prod(v.shape) for v in variables if v.kind == OUTPUT})
    for info in program.outputs:
        _check_type(info)
        if info.is_static:
            yield from _compare(info.name, info.shape, known, f"output {info.name!r}")
        elif info.name not in known:
            yield _absent(info.name, f"output {info.name!r}")


def _evictions(program: Program) -> Iterator[ConfigError]:
    """Weights that stay in a core's SBUF need the core for their stage alone."""
    stages = {(node.core, node.stage) for node in program.nodes if node.kind != "cpu"}
    users = Counter(core for core, _ in stages)
    for core, stage in sorted(stages):
        if users[core] > 1 and program.stages[stage].init:
            yield ConfigError(
                f"stage {stage} keeps weights in the SBUF of core {core}, where other stages run too",
                code="INTERFACE", where=f"stage {stage}", limit="one stage", actual=f"{users[core]} stages",
                help="place each stage of a pipeline on a core of its own",
            )  # fmt: skip


def _check_type(info: TensorInfo) -> None:
    """Raise IsaError for an element type that nothing here knows."""
    (numpy_dtype if info.is_tensor else element_dtype)(info.dtype)


def _compare(name: str, shape: tuple[int, ...], known: dict[str, int], where: str) -> Iterator[ConfigError]:
    if name not in known:
        yield _absent(name, where)
    elif known[name] == HOST_ONLY:
        yield ConfigError(
            f"tensor {name!r} has no fixed size or is no tensor of numbers: only CPU segments can read it",
            code="INTERFACE",
            where=where,
        )
    elif known[name] not in (UNKNOWN, prod(shape)):
        yield ConfigError(
            f"tensor {name!r} has two sizes in this program",
            code="INTERFACE",
            where=where,
            limit=f"{known[name]} elements",
            actual=f"{prod(shape)} elements {list(shape)}",
        )


def _absent(name: str, where: str) -> ConfigError:
    return ConfigError(
        f"tensor {name!r} is read before anything makes it",
        code="INTERFACE",
        where=where,
        help="name it as a model input, or as the output of an earlier node",
    )
