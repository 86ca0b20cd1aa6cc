"""How many weights stay in SBUF: as many as leave the rest of the program the room it needs.

Staying costs room for the whole run, so what stays must not push other tiles out. All weights stay where that is
possible; otherwise the largest share with which the rest still fits, or a smaller one where the weights that are
fetched again arrive noticeably earlier with more room to wait in.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.backend import pin
from compiler.backend.fit import Code, fitted, misfit
from compiler.backend.pin import Split, Weight
from compiler.backend.plan import Scheduled, schedule
from compiler.errors import AllocationError, PinError
from compiler.options import CompileOptions
from isa.target import Target

STEPS = 64  # how finely the room for weights is searched
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the most that fits, tried for the rest's sake
PATIENCE = 2  # shares in a row that gain nothing end the search
TRADE = 0.02  # of its time that a run has to gain for more traffic: other cores share the DRAM


@dataclass
class Pinned:
    """A program of which some weights stay: `rest` lies above `split.size` bytes of every partition."""

    split: Split
    rest: Scheduled
    spilled: int


class Pinner:
    """Chooses the weights of one program that stay.

    Args:
        room: the target with as much SBUF as the program may use in all.
    Raises: AllocationError when the program does not fit even if nothing stays.
    """

    def __init__(self, code: Code, room: Target, options: CompileOptions) -> None:
        self.code, self.room, self.options = code, room, options
        self.weights = pin.weights(code)
        self.allowed = fitted(code, room)[1]

    def best(self) -> Pinned:
        """The program with all weights in place, or with as many as fit. Raises: PinError when all are required."""
        everything = self._tried(self.weights)
        if everything is not None:
            return self._scheduled(*everything)
        if self.options.require_pinned:
            raise self._error()
        most = self._most()
        best: Pinned | None = None
        worse = 0
        for share in SHARES:
            tried = self._tried(pin.choose(self.weights, int(most * share)))
            assert tried is not None or share < 1, "the largest share has been seen to fit"
            found = None if tried is None else self._scheduled(*tried)
            if found is not None and (best is None or found.rest.plan.ticks * (1 + TRADE) < best.rest.plan.ticks):
                best, worse = found, 0
            else:
                worse += 1
            if worse == PATIENCE:
                break
        assert best is not None
        return best

    def _most(self) -> int:
        """Bytes of every partition that weights may take so that the rest fits."""
        whole = self.room.sbuf_partition_bytes
        low, high = 0, STEPS
        while high - low > 1:
            middle = (low + high) // 2
            if self._tried(pin.choose(self.weights, whole * middle // STEPS)) is None:
                high = middle
            else:
                low = middle
        return whole * low // STEPS

    def _tried(self, chosen: list[Weight]) -> tuple[Split, Code, int] | None:
        """The split, and the rest as it fits with its spilled bytes; None when it needs spills of its own."""
        split = pin.split(self.code, chosen)
        if split.size >= self.room.sbuf_partition_bytes:
            return None
        try:
            rest, spilled = fitted(split.rest, above(self.room, split.size))
        except AllocationError:
            return None
        return (split, rest, spilled) if spilled <= self.allowed else None

    def _scheduled(self, split: Split, rest: Code, spilled: int) -> Pinned:
        return Pinned(split, schedule(rest, above(self.room, split.size), self.options, exact=True), spilled)

    def _error(self) -> PinError:
        """What does not fit: the weights left out of the largest choice, by layer."""
        split = pin.split(self.code, self.weights)
        room = self.room.sbuf_partition_bytes
        tight = misfit(split.rest, above(self.room, min(split.size, room - 1)))
        need = 0 if tight is None else tight.need
        kept = {w.tiles[0] for w in pin.choose(self.weights, self._most())}
        layers: dict[str, int] = {}
        for w in self.weights:
            if w.tiles[0] not in kept:
                layer = self.code.debug[self.code.instrs[w.loads[0]].debug].layer
                layers[layer] = layers.get(layer, 0) + w.fetched
        order = sorted(layers, key=lambda name: -layers[name])
        partitions = self.room.partitions
        return PinError(order, max(0, room - need) * partitions, split.size * partitions)


def above(room: Target, size: int) -> Target:
    """The target with `size` bytes less of every SBUF partition."""
    return room.with_params({"sbuf.partition_bytes": room.sbuf_partition_bytes - size}) if size else room
