"""What the checker found, as data and as text."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isa.program import DebugEntry, Stage
from neuronsim.check.flat import Flat


@dataclass(frozen=True)
class Finding:
    """One fault of a program.

    Attributes:
        kind: "race", "uninitialised", "range", "psum", "deadlock" or "pinned".
        code: stable upper-case identifier, e.g. ``RACE_WRITE_READ``.
        message: one sentence.
        engine, index: the word (position in its engine's stream); a transfer is named by its `dma_trigger`. Engines of
            what runs when a stage is loaded are `init.tensor`, `init.sync` ...
        other_engine, other_index: the second word of a pair, or "" and -1.
        layer, other_layer: layer names of the debug table, or "".
        memory: "sbuf", "psum", the DRAM variable's name, or "".
        partitions: first and one past the last partition, or (0, 0).
        bytes: first and one past the last byte (of the partition, or of the variable), or (0, 0).
        help: what to do about it.
        data: further facts (the wait graph of a deadlock).
    """

    kind: str
    code: str
    message: str
    engine: str = ""
    index: int = -1
    other_engine: str = ""
    other_index: int = -1
    layer: str = ""
    other_layer: str = ""
    memory: str = ""
    partitions: tuple[int, int] = (0, 0)
    bytes: tuple[int, int] = (0, 0)
    help: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        lines = [f"{self.kind}[{self.code}]: {self.message}"]
        lines.append(f"  at: {self.engine}[{self.index}]" + (f" (layer {self.layer})" if self.layer else ""))
        if self.other_engine:
            other = f" (layer {self.other_layer})" if self.other_layer else ""
            lines.append(f"  and: {self.other_engine}[{self.other_index}]{other}")
        if self.memory:
            lines.append(f"  memory: {self.memory} partitions {self.partitions[0]}..{self.partitions[1] - 1}, "
                         f"bytes {self.bytes[0]}..{self.bytes[1] - 1}")
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Reporter:
    """Makes findings from op numbers and memory codes."""

    stage: Stage
    flat: Flat

    def layer(self, op: int) -> str:
        row = int(self.flat.words["debug"][op])
        entry = self.stage.debug[row] if row < len(self.stage.debug) else DebugEntry()
        return entry.layer

    def memory(self, code: int) -> str:
        """Name of a memory: 0 sbuf, 1 psum, 2 + k the k-th DRAM variable."""
        return ("sbuf", "psum")[code] if code < 2 else self.stage.variables[code - 2].name

    def name(self, op: int) -> str:
        """A word as text: "vector[12]", or "transfer sync[3]"."""
        engine, index = self.flat.place(op)
        return ("transfer " if self.flat.transfer[op] >= 0 else "") + f"{engine}[{index}]"

    def finding(self, kind: str, code: str, message: str, op: int, other: int = -1, *, memory: int = -1,
                partitions: tuple[int, int] = (0, 0), bytes: tuple[int, int] = (0, 0), help: str = "",
                data: Mapping[str, Any] | None = None) -> Finding:
        engine, index = self.flat.place(op)
        other_engine, other_index = self.flat.place(other) if other >= 0 else ("", -1)
        return Finding(
            kind, code, f"{self.name(op)} {message}", engine, index, other_engine, other_index, self.layer(op),
            self.layer(other) if other >= 0 else "", self.memory(memory) if memory >= 0 else "", partitions, bytes,
            help, data or {},
        )
