"""What is demanded of a pipeline beyond being one: cores that the instance has, weights that stay on chip."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.errors import PinError, ShardingError
from compiler.ir import Graph
from compiler.options import CompileOptions
from compiler.precision import Precision
from compiler.sharding.stages import Built, Pipelined, Sharder, place
from isa import target as targets
from isa.target import Target

TRIES = 8  # numbers of cores that are built to find one where all weights fit


@dataclass(frozen=True)
class Pipeline:
    """The stages of a segment, and what the user should know of them."""

    stages: tuple[Built, ...]
    notes: tuple[str, ...] = ()


def pipeline(
    graph: Graph, target: Target, options: CompileOptions, precision_of: Callable[[Graph], Precision], cores: int,
    first_core: int = 0,
) -> Pipeline:
    """An optimised segment on at most `cores` cores from `first_core` on.

    Raises: ShardingError when weights do not fit that have to; CompileError for a stage that cannot be built.
    """
    sharder = Sharder(graph, target, options, precision_of, first_core)
    made = sharder.pipeline(cores, options.require_pinned)
    if options.require_pinned and made.streamed_bytes:
        raise _not_pinned(sharder, made)
    notes: tuple[str, ...] = ()
    if len(made.built) < cores:
        notes = (f"{graph.name}: a pipeline of {len(made.built)} stages, not {cores}, for want of layers or blocks of "
                 "channels to share out",)
    return Pipeline(made.built, notes)


def _not_pinned(sharder: Sharder, made: Pipelined) -> ShardingError:
    """What does not fit, and the smallest number of cores that would do."""
    try:
        sharder.build(made.line, made.ends, require_pinned=True)
    except PinError as error:
        k = next(k for k, b in enumerate(made.built) if b.streamed_bytes)
        found = smallest_pinned(sharder, len(made.built) + 1)
        return ShardingError(
            "the weights of a pipeline stage do not all fit the SBUF of its core",
            where=place(k, made.built[k].layers), limit=f"{error.limit} bytes", actual=f"{error.actual} bytes",
            help=f"all weights fit on {found} cores: --neuroncore-pipeline-cores {found}" if found else
            f"no number of cores of {sharder.target.name} is found to hold all weights: leave out --require-pinned, or "
            "use an instance with more cores",
        )
    raise AssertionError("some weights have been seen not to stay")


def smallest_pinned(sharder: Sharder, least: int) -> int:
    """The smallest number of cores from `least` on whose stages are seen to hold all weights; 0 for none.

    Numbers that the costs rule out are passed over, the others are built.
    """
    most = sharder.target.cores - sharder.first_core
    likely = [n for n in range(least, most + 1) if sharder.may_hold(n)]
    for n in likely[:TRIES]:
        made = sharder.pipeline(n, pinned=True)
        if not made.streamed_bytes:
            return n
    return 0


def check_cores(cores: int, first_core: int, target: Target) -> None:
    """Raises: ShardingError when the instance does not have the cores of a pipeline behind those that are taken."""
    if first_core + cores <= target.cores:
        return
    taken = f" after {first_core} of the segments before" if first_core else ""
    enough = [t.name for t in _instances(target) if t.cores >= first_core + cores]
    raise ShardingError(
        f"a pipeline of {cores} cores{taken} does not fit the instance", where=f"--neuroncore-pipeline-cores {cores}",
        limit=f"{target.cores} cores of {target.name}", actual=f"{first_core + cores} cores",
        help=f"use --target {' or '.join(enough)}" if enough else "ask for fewer cores",
    )


def _instances(target: Target) -> list[Target]:
    """All built-in instances of the target's generation."""
    every = (targets.load(name) for name in targets.names() if name not in targets.GENERATIONS)
    return [t for t in every if t.generation == target.generation]
