"""A NEFF on its way into a core: opened, and refused with Neuron's status where this instance cannot run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from isa.errors import ContainerError, ErrorList, NeuronError
from isa.neff.layout import LNC_SIZE
from isa.program import Program
from isa.target import Target
from neuronsim.runtime.environment import LOGICAL_NC_CONFIG
from neuronsim.runtime.status import NrtError, NrtStatus

if TYPE_CHECKING:
    from neuronsim.api import Neff


def open_neff(neff: Neff | Program | str | Path) -> Neff:
    """A NEFF from its file, or what was compiled in memory.

    Raises: NrtError (NRT_UNSUPPORTED_NEFF_VERSION, NRT_INVALID) for a file that is no NEFF the runtime can load.
    """
    from neuronsim.api import Neff, load

    if isinstance(neff, Neff):
        return neff
    try:
        return Neff(neff) if isinstance(neff, Program) else load(neff)
    except NeuronError as error:
        first = next(each(error))
        is_version = isinstance(first, ContainerError) and first.section.startswith("neff_version")
        status = NrtStatus.NRT_UNSUPPORTED_NEFF_VERSION if is_version else NrtStatus.NRT_INVALID
        raise with_status(status, first) from error


def check_machine(program: Program, target: Target, lnc: int) -> None:
    """Raise NrtError (NRT_INVALID) unless the program is made of the instructions and logical cores of the instance."""
    if program.generation != target.generation:
        raise NrtError(
            NrtStatus.NRT_INVALID,
            f"the NEFF is for another generation than {target.name}",
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
