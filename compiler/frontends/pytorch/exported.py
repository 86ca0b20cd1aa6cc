"""Programs of torch.export, converted without torch."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.errors import ShapeError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.pytorch.archive import Archive
from compiler.frontends.pytorch.convert import build
from compiler.frontends.pytorch.faces import output_names, renaming_note, user_names
from compiler.frontends.pytorch.program import Program, read
from compiler.ir import Graph


def load(archive: Archive, given: Given) -> Graph:
    """A `.pt2` file as a graph. Raises: as `program.read` and `from_program`."""
    return from_program(read(archive), given, archive.path.stem)


def from_program(program: Program, given: Given, name: str = "", called: Sequence[str] = ()) -> Graph:
    """An exported program as a graph, its inputs `called` so, or as the user or the program says.

    Raises: UnsupportedOp; ShapeError as `compiler.frontends.inputs.resolve`, INPUT_RANGE for a size that the program
            was not exported for.
    """
    b = GraphBuilder(name, where=program.where)
    chosen = list(called) or user_names(program.names, given)
    inputs = b.inputs([Declared(c, program.dims[n], program.dtypes[n]) for n, c in zip(program.names, chosen)], given)
    _check_bounds(b, program, inputs)
    if not called and (note := renaming_note(program.names, chosen)):
        b.note(note)
    results = build(b, program, inputs)
    for (value, _), wanted in zip(results, output_names([key for _, key in results])):
        b.output(value, wanted)
    return b.finish()


def _check_bounds(b: GraphBuilder, program: Program, inputs: list[str]) -> None:
    """Sizes must lie where the exporter proved the program right (from 2 it says so of 0 and 1 too)."""
    for name, value in zip(program.names, inputs):
        for dim, size in zip(program.dims[name], b.shape(value)):
            low, high = program.bounds.get(str(dim), (0, None))
            if (low > 2 and size < low) or (high is not None and size > high):
                raise ShapeError("the program was not exported for this size", code="INPUT_RANGE",
                                 where=f"{program.where}: input {value!r}", limit=f"{low} to {high or 'any'}",
                                 actual=size, help="export it with a wider range of torch.export.Dim")
