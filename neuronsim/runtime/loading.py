"""A NEFF on its way into a core: opened, and refused with Neuron's status where this instance cannot run it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from isa import neff as container
from isa.errors import ContainerError, ErrorList, NeuronError
from isa.neff.header import parse
from isa.neff.layout import HEADER, LNC_SIZE
from isa.program import Program
from isa.target import GENERATIONS
from isa.topology import Topology
from neuronsim import instances
from neuronsim.runtime.environment import ALLOW_LEGACY, LOGICAL_NC_CONFIG
from neuronsim.runtime.status import NrtError, NrtStatus

if TYPE_CHECKING:
    from neuronsim.api import Neff


def open_neff(neff: Neff | Program | str | Path, validate_hash: bool = False) -> Neff:
    """A NEFF from its file, or what was compiled in memory. `validate_hash`: hash every byte of the file first.

    Raises: NrtError (NRT_UNSUPPORTED_NEFF_VERSION, NRT_INVALID) for a file that is no NEFF the runtime can load.
    """
    from neuronsim.api import Neff, load

    try:
        if isinstance(neff, Program):
            return Neff(neff)
        if not isinstance(neff, Neff):
            return load(neff, verify=validate_hash)
        if validate_hash and neff.path is not None:
            container.verify_all(neff.path)
        return neff
    except NeuronError as error:
        first = next(each(error))
        is_version = isinstance(first, ContainerError) and first.section.startswith("neff_version")
        status = NrtStatus.NRT_UNSUPPORTED_NEFF_VERSION if is_version else NrtStatus.NRT_INVALID
        raise with_status(status, first) from error


def uuid_of(neff: Neff) -> str:
    """The uuid in the header of a NEFF's file; "" for what was compiled in memory."""
    if neff.path is None:
        return ""
    with open(neff.path, "rb") as file:
        return str(uuid.UUID(bytes=parse(file.read(HEADER.itemsize), os.fstat(file.fileno()).st_size).uuid))


def check_machine(program: Program, topology: Topology, allow_legacy: bool = False) -> None:
    """Check that the program is made for the instructions, logical cores and size of the instance.

    Raises: NrtError (NRT_INVALID; NRT_LOAD_NOT_ENOUGH_NC).
    """
    target, lnc = topology.target, topology.lnc
    if program.generation != target.generation:
        is_older = GENERATIONS.index(program.generation) < GENERATIONS.index(target.generation)
        # a real chip answers such a NEFF's unknown opcodes so (neuron-runtime/nrt-troubleshoot.rst)
        legacy = f", and {ALLOW_LEGACY} cannot help: none of its instructions exist here" if allow_legacy else ""
        raise NrtError(
            NrtStatus.NRT_INVALID,
            f"the NEFF is for {'an older' if is_older else 'another'} generation than {target.name}"
            f"{legacy if is_older else ''}",
            where=program.name,
            limit=target.generation,
            actual=program.generation,
            help=f"compile for it: neuronsim compile MODEL --target {target.name}",
        )
    if lnc != LNC_SIZE:
        raise NrtError(
            NrtStatus.NRT_INVALID,
            f"the NEFF is for logical cores of {LNC_SIZE} physical core(s)",
            where=program.name,
            limit=lnc,
            actual=LNC_SIZE,
            help=f"{LOGICAL_NC_CONFIG}={LNC_SIZE}",
        )
    if program.cores > topology.cores:
        larger = instances.large_enough(program)
        raise NrtError(
            NrtStatus.NRT_LOAD_NOT_ENOUGH_NC,
            f"the model needs {program.cores} cores, {target.name} has {topology.cores}",
            where=program.name,
            limit=topology.cores,
            actual=program.cores,
            help=f"compile for fewer: --neuroncore-pipeline-cores {topology.cores}"
            + (f", or take {larger}" if larger else ""),
        )


def each(error: NeuronError) -> Iterator[NeuronError]:
    """The single errors of a list, or the error itself."""
    if isinstance(error, ErrorList):
        for inner in error.errors:
            yield from each(inner)
    else:
        yield error


def with_status(status: NrtStatus, error: NeuronError) -> NrtError:
    """An error of the machine, or of a file, as the runtime reports it."""
    return NrtError(status, f"{error.what} ({error.code})", where=error.where, limit=error.limit, actual=error.actual,
                    help=error.help)
