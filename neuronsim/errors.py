"""Errors of the machine: what a program did wrong, or what the machine was asked that it cannot do."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isa.errors import NeuronError


class SimulationError(NeuronError):
    """Root of all errors of a simulation."""

    code = "SIMULATION"


class MemoryFault(SimulationError):
    """An access outside a memory, a DRAM variable or the descriptor table."""

    code = "MEMORY_FAULT"


class InputError(SimulationError):
    """Inputs that do not fit the program: name, shape or dtype."""

    code = "INPUT"


class ConfigError(SimulationError):
    """A program that this machine cannot run: an absent engine, too few semaphores or queues."""

    code = "CONFIG"


@dataclass(frozen=True)
class Blocked:
    """One engine that waits for ever.

    Attributes:
        core, engine, index: the word; op: its op id.
        semaphore: waited for; needed: value it must reach; value: what it reached.
        posters: "engine[index]" of the words, not yet started, that would post to it, first few.
    """

    core: int
    engine: str
    index: int
    op: int
    semaphore: int
    needed: int
    value: int
    posters: tuple[str, ...] = ()

    def __str__(self) -> str:
        end = f"posted by {', '.join(self.posters)}" if self.posters else "nobody posts to it any more"
        return (f"core {self.core} {self.engine}[{self.index}] waits for semaphore {self.semaphore} >= {self.needed} "
                f"(is {self.value}; {end})")


class DeadlockError(SimulationError):
    """Engines wait for semaphore values nobody will post; `blocked` is the wait graph, one entry per engine."""

    code = "DEADLOCK"

    def __init__(self, blocked: Sequence[Blocked]) -> None:
        self.blocked = list(blocked)
        super().__init__(
            f"deadlock: {len(self.blocked)} engine(s) wait for ever",
            where="\n         ".join(str(b) for b in self.blocked),
            help="every wait needs a post that happens before it in every order; see `neuronsim run --check`",
        )
