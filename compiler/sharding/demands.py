"""What is demanded of a pipeline beyond being one: cores that the instance has, weights that stay on chip."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compiler.errors import PinError, ShardingError
from compiler.ir import Graph
from compiler.options import CompileOptions
from compiler.precision import Precision
from compiler.sharding.sharder import Pipelined, Sharder
from compiler.sharding.stages import Built, Stages, place
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
    def sharder(target: Target) -> Sharder:
        return Sharder(Stages(graph, target, options, precision_of, first_core))

    own = sharder(target)
    made = own.pipeline(cores, options.require_pinned)
    if options.require_pinned and made.streamed_bytes:
        raise _not_pinned(own, made, sharder)
    notes: tuple[str, ...] = ()
    if len(made.built) < cores:
        notes = (f"{graph.name}: a pipeline of {len(made.built)} stages, not {cores}, for want of layers or blocks of "
                 "channels to share out",)
    return Pipeline(made.built, notes)


def _not_pinned(own: Sharder, made: Pipelined, sharder: Callable[[Target], Sharder]) -> ShardingError:
    """What does not fit, and the smallest number of cores that would do.

    Args:
        sharder: of the same segment on another instance.
    """
    try:
        own.stages.build(made.line, made.ends, require_pinned=True)
    except PinError as error:
        k = next(k for k, b in enumerate(made.built) if b.streamed_bytes)
        larger = [t for t in instances(own.target) if t.cores > own.target.cores]
        found = smallest_pinned([own, *map(sharder, larger)], len(made.built) + 1)
        help = "leave out --require-pinned: no number of cores is found to hold all weights"
        if found is not None:
            cores, target = found
            elsewhere = f"--target {target.name} " if target.name != own.target.name else ""
            help = f"all weights fit on {cores} cores: {elsewhere}--neuroncore-pipeline-cores {cores}"
        return ShardingError(
            "the weights of a pipeline stage do not all fit the SBUF of its core", help=help,
            where=place(k, made.built[k].layers), limit=f"{error.limit} bytes", actual=f"{error.actual} bytes",
        )
    raise AssertionError("some weights have been seen not to stay")


def smallest_pinned(sharders: Sequence[Sharder], least: int) -> tuple[int, Target] | None:
    """The smallest number of cores from `least` on whose stages are seen to hold all weights, and the machine.

    Numbers that the costs rule out are passed over, the next few are built.

    Args:
        sharders: of one segment on machines of ever more cores.
    """
    tries = 0
    for sharder in sharders:
        for n in range(least, sharder.target.cores - sharder.first_core + 1):
            if tries == TRIES:
                return None
            if sharder.may_hold(n):
                tries += 1
                if sharder.holds(n):
                    return n, sharder.target
            least = n + 1
    return None


def check_cores(cores: int, first_core: int, target: Target, pipelines: int = 1) -> None:
    """Raises: ShardingError when the instance does not have the cores of a pipeline behind those that are taken.

    Args:
        pipelines: that the model has, one for each device segment.
    """
    if first_core + cores <= target.cores:
        return
    taken = f" behind the {first_core} of the segments before" if first_core else ""
    enough = [t.name for t in instances(target) if t.cores >= first_core + cores]
    elsewhere = f"use --target {' or '.join(enough)}" if enough else ""
    fewer = "ask for fewer cores"
    if 1 < pipelines <= target.cores:
        fewer = f"ask for {target.cores // pipelines}: each of the {pipelines} device segments has its own cores"
    raise ShardingError(
        f"a pipeline of {cores} cores{taken} does not fit the instance", where=f"--neuroncore-pipeline-cores {cores}",
        limit=f"{target.cores} cores of {target.name}", actual=f"{first_core + cores} cores",
        help=f"{elsewhere}, or {fewer}" if elsewhere and pipelines > 1 else elsewhere or fewer,
    )


def instances(target: Target) -> list[Target]:
    """Built-in instances of the target's generation, fewest cores first; none for a target of the user's own."""
    if target.name not in targets.names():
        return []
    every = (targets.load(name) for name in targets.names() if name not in targets.GENERATIONS)
    return sorted((t for t in every if t.generation == target.generation), key=lambda t: t.cores)
