"""Device memory: what a model takes on each of its cores, and what a chip holds.

The categories are those of Neuron's tools. DRAM belongs to a chip and is shared by its cores. The scratchpad of a core
is shared by all that is loaded on it, since one thing runs at a time: it is as large as the largest one needs. Every
core that a process owns holds microcode, whether or not a model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from isa.program import HANDOVER_BUFFERS, IN_DRAM, INPUT, OUTPUT, SCRATCH, VARIABLE_KINDS, WEIGHT, Program, Stage

_COLUMNS = ("Total", "Model code", "Constants", "Tensors", "Scratchpad", "Runtime", "Microcode")


@dataclass(frozen=True)
class Usage:
    """Bytes of device memory.

    Attributes:
        constants: weights; model_code: instruction streams; runtime_memory: DMA descriptors; tensors: inputs and
            outputs; model_shared_scratchpad: spilled intermediates; microcode: fixed, per physical core.
    """

    constants: int = 0
    model_code: int = 0
    model_shared_scratchpad: int = 0
    runtime_memory: int = 0
    tensors: int = 0
    microcode: int = 0

    @property
    def total(self) -> int:
        return sum(vars(self).values())

    def as_dict(self) -> dict[str, int]:
        """Bytes by neuron-monitor's keys, whose `model_code` includes the microcode."""
        return {
            "constants": self.constants,
            "model_code": self.model_code + self.microcode,
            "model_shared_scratchpad": self.model_shared_scratchpad,
            "runtime_memory": self.runtime_memory,
            "tensors": self.tensors,
        }


def on_one_core(parts: Iterable[Usage]) -> Usage:
    """What these take together on one core: sums, and the largest scratchpad."""
    listed = list(parts)
    total = {f.name: sum(getattr(u, f.name) for u in listed) for f in fields(Usage)}
    total["model_shared_scratchpad"] = max((u.model_shared_scratchpad for u in listed), default=0)
    return Usage(**total)


def model_cores(program: Program) -> int:
    """Cores a program needs."""
    return program.cores


def model_usage(program: Program) -> tuple[Usage, ...]:
    """What a program takes on each of its cores."""
    parts: list[list[Usage]] = [[] for _ in range(model_cores(program))]
    for node in program.nodes:
        if node.kind != "cpu":
            hands_on = program.downstream(node) is not None
            parts[node.core].append(_stage_usage(program.stages[node.stage], bool(node.upstream), hands_on))
    return tuple(map(on_one_core, parts))


def _stage_usage(stage: Stage, is_handed: bool, hands_on: bool) -> Usage:
    """A stage that is handed its inputs by another has buffers for them; one that hands on has none of its own."""
    size = dict.fromkeys(VARIABLE_KINDS, 0)
    for variable in stage.variables:
        if variable.space == IN_DRAM:
            size[variable.kind] += variable.size_bytes
    tensors = size[INPUT] * (HANDOVER_BUFFERS if is_handed else 1) + (0 if hands_on else size[OUTPUT])
    return Usage(
        constants=size[WEIGHT],
        model_code=sum(stream.nbytes for stream in (*stage.streams.values(), *stage.init.values())),
        model_shared_scratchpad=size[SCRATCH],
        runtime_memory=stage.descriptors.nbytes,
        tensors=tensors,
    )


@dataclass(frozen=True)
class CoreMemory:
    """Memory of one core: `models` in load order as (name, usage), and `microcode` bytes."""

    core: int
    microcode: int
    models: tuple[tuple[str, Usage], ...] = ()

    @property
    def usage(self) -> Usage:
        return on_one_core([Usage(microcode=self.microcode), *(usage for _, usage in self.models)])


@dataclass(frozen=True)
class ChipMemory:
    """Device memory of one chip: its size, the cores of this process, and what other runtimes take."""

    chip: int
    limit: int
    cores: tuple[CoreMemory, ...]
    others: int = 0

    @property
    def own(self) -> int:
        return sum(core.usage.total for core in self.cores)

    @property
    def used(self) -> int:
        return self.own + self.others

    @property
    def free(self) -> int:
        return self.limit - self.used

    def table(self) -> str:
        """The breakdown by core and model, as Neuron prints it when memory runs out."""
        whole = _sum(core.usage for core in self.cores)
        rows = [["", *_COLUMNS], [f"ND {self.chip}, this process", *_cells(whole)]]
        for core in self.cores:
            rows.append([f" NC {core.core}", *_cells(core.usage)])
            rows += [[f"  {name}", *_cells(usage)] for name, usage in core.models]
        rows.append([" other runtimes", _size(self.others), *[""] * (len(_COLUMNS) - 1)])
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        return "\n".join(
            "  ".join(c.rjust(w) if k else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths))).rstrip()
            for row in rows
        )


@dataclass(frozen=True)
class MemoryReport:
    """Device memory of every chip on which a process owns cores."""

    chips: tuple[ChipMemory, ...]

    @property
    def cores(self) -> dict[int, Usage]:
        """Usage by core of the instance."""
        return {core.core: core.usage for chip in self.chips for core in chip.cores}

    @property
    def total(self) -> int:
        """Bytes this process takes."""
        return sum(chip.own for chip in self.chips)

    def as_dict(self) -> dict[str, object]:
        """JSON values; keys as in neuron-monitor where it has them."""
        return {
            "neuron_device": self.total,
            "neuroncore_memory_usage": {str(core): usage.as_dict() for core, usage in self.cores.items()},
            "neuron_devices": [
                {"neuron_device_index": c.chip, "memory_size": c.limit, "used_bytes": c.used, "other_bytes": c.others}
                for c in self.chips
            ],
        }

    def __str__(self) -> str:
        return "\n\n".join(chip.table() for chip in self.chips)


def report(limit: int, chip_cores: Mapping[int, Sequence[CoreMemory]], others: Mapping[int, int]) -> MemoryReport:
    """A report of chips of `limit` bytes each, from the cores by chip and what others take by chip."""
    return MemoryReport(tuple(
        ChipMemory(chip, limit, tuple(cores), others.get(chip, 0)) for chip, cores in sorted(chip_cores.items())
    ))


def _sum(usages: Iterable[Usage]) -> Usage:
    listed = list(usages)
    return Usage(**{f.name: sum(getattr(u, f.name) for u in listed) for f in fields(Usage)})


def _cells(u: Usage) -> list[str]:
    sizes = (u.total, u.model_code, u.constants, u.tensors, u.model_shared_scratchpad, u.runtime_memory, u.microcode)
    return [_size(size) for size in sizes]


def _size(size: int) -> str:
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if size >= unit:
            return f"{size / unit:.3f}{name}"
    return f"{size}B"
