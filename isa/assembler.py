"""Listing -> Program: the inverse of `isa.disassembler`, and a pleasant way to write a program by hand.

The grammar is docs/assembly.md. What a listing leaves out is zero or derived: without `.node` lines each stage is one
node, which follows the one before it in a pipeline if its inputs are in SBUF; without `.input` and `.output` lines the
model's tensors are the stages' input and output variables.
"""
from __future__ import annotations

import os
from pathlib import Path

from isa import neff, target
from isa.errors import ContainerError
from isa.listing.builder import Builder
from isa.listing.members import MemberSource, Weights, member_source
from isa.listing.source import lines
from isa.neff import encode
from isa.neff.rules import check_stages
from isa.neff.weights import has_data
from isa.program import IN_SBUF, INPUT, OUTPUT, WEIGHT, Node, Program, Stage, TensorInfo

DEFAULT_TARGET = "trn1.2xlarge"


def assemble(text: str, weights: Weights = None) -> Program:
    """Return the program of a listing.

    `weights` says where the members that the listing names come from: a NEFF file, a folder written by `unpack`, a
    mapping of member to bytes, or None; then weights keep ``data=None`` and CPU segments are left out. Raises:
    AssemblyError with line and column, ContainerError for a member that is missing or of another size.
    """
    source = member_source(weights)
    return _program(Builder(source).read(lines(text)), source)


def assemble_to_neff(text: str, path: str | os.PathLike[str], weights: Weights = None) -> Program:
    """Assemble a listing, write the NEFF, return the program. Raises: as `assemble` and `isa.neff.write`."""
    program = assemble(text, weights)
    neff.write(program, path)
    return program


def write_members(program: Program, folder: str | os.PathLike[str]) -> list[str]:
    """Write the NEFF members of an assembled program below `folder` and return their names.

    The same files that `neuronsim unpack` writes, but for the manifest and for weights and CPU segments without data.
    Raises: ContainerError (NEFF_UNPACK when `folder` exists and is not empty, or a rule of the format).
    """
    destination = Path(folder)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ContainerError("the output folder exists and is not empty", code="NEFF_UNPACK", where=str(destination),
                             help="name a new or empty folder")
    check_stages(program)
    written = []
    for name, data in encode.members(program, skip_missing=True).items():
        member = destination / name
        member.parent.mkdir(parents=True, exist_ok=True)
        member.write_bytes(data.data)
        written.append(name)
    return written


def _program(builder: Builder, source: MemberSource | None) -> Program:
    instance = builder.target or DEFAULT_TARGET
    stages = [builder.stages.get(k) or Stage() for k in range(max(builder.stages, default=0) + 1)]
    generation = builder.generation or target.load(instance).generation
    inputs, outputs = _interface(stages)
    models = {n: source(n, None).tobytes() for n in builder.cpu_models} if source else {}
    return Program(builder.name or "listing", instance, generation, builder.inputs or inputs,
                   builder.outputs or outputs, builder.nodes or _nodes(stages), stages, models, builder.report,
                   builder.options)


def _variables(stage: Stage, kind: str) -> list[TensorInfo]:
    return [TensorInfo(v.name, v.shape, v.dtype.numpy.name) for v in stage.variables if v.kind == kind]


def _interface(stages: list[Stage]) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """Return model inputs (read before any stage makes them) and outputs (that no later stage reads)."""
    inputs: dict[str, TensorInfo] = {}
    outputs: dict[str, TensorInfo] = {}
    made: set[str] = set()
    for stage in stages:
        for tensor in _variables(stage, INPUT):
            outputs.pop(tensor.name, None)
            if tensor.name not in made:
                inputs.setdefault(tensor.name, tensor)
        outputs |= {t.name: t for t in _variables(stage, OUTPUT)}
        made |= {t.name for t in _variables(stage, OUTPUT)}
    return list(inputs.values()), list(outputs.values())


def _nodes(stages: list[Stage]) -> list[Node]:
    handed = [any(v.kind == INPUT and v.space == IN_SBUF for v in s.variables) for s in stages]
    return [Node(f"stage{k}", "neuron_core", tuple(t.name for t in _variables(s, INPUT)),
                 tuple(t.name for t in _variables(s, OUTPUT)), k, core=k if any(handed) else 0,
                 upstream=f"stage{k - 1}" if k and handed[k] else "") for k, s in enumerate(stages)]


def missing_weights(program: Program) -> list[str]:
    """Return the names of weights that still have no bytes."""
    return [v.name for s in program.stages for v in s.variables
            if v.kind == WEIGHT and not has_data(v)]


__all__ = ["DEFAULT_TARGET", "assemble", "assemble_to_neff", "missing_weights", "write_members"]
