"""The rules of `docs/serving.md` once more, as plainly as they can be said: every resource is looked at again after
every moment, and nothing is kept but the pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from neuronsim.serving import Load, ModelPlan, Step

ORDER = {"core": 0, "link": 1, "cpu": 2}


@dataclass(eq=False)
class Piece:
    """Where it is: at step `at` of its copy since tick `came`, in service until `until` (None: waiting)."""

    model: int
    copy: int
    request: int
    at: int = -1
    came: int = 0
    joined: int = 0  # order of joining the line of a link or of the host, 0: not joined
    until: int | None = None
    number: int = 0  # order of service among threads of the host


@dataclass
class Reference:
    """Serves; `ends[model][request]` and so on are the answer."""

    models: Sequence[ModelPlan]
    loads: Sequence[Load]
    arrivals: Sequence[Sequence[int]]  # ticks of open loads, [] of closed ones
    vcpus: int
    credit: int
    now: int = 0
    pieces: list[Piece] = field(default_factory=list)
    clock: int = 0
    switches: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.arrived = [[-1] * load.requests for load in self.loads]
        self.started = [[-1] * load.requests for load in self.loads]
        self.ended = [[-1] * load.requests for load in self.loads]
        self.sent = [0] * len(self.loads)
        self.turn = [0] * len(self.loads)
        self.last_model: dict[int, int] = {}
        self.rows = [load.row_counts(m.batch) for m, load in zip(self.models, self.loads)]

    # ---- questions
    def step(self, piece: Piece, offset: int = 0) -> Step | None:
        steps = self.models[piece.model].replicas[piece.copy]
        return steps[piece.at + offset] if 0 <= piece.at + offset < len(steps) else None

    def buffered(self, piece: Piece) -> bool:
        kinds = {s.kind for s in (self.step(piece), self.step(piece, 1)) if s}
        return self.step(piece, 1) is not None and "cpu" not in kinds and "core" in kinds

    def has_room(self, piece: Piece) -> bool:
        if not self.buffered(piece):
            return True
        mine = [p for p in self.pieces if (p.model, p.copy) == (piece.model, piece.copy)]
        taken = [p for p in mine if p.at == piece.at + 1 or (p.at == piece.at and (p.until is not None or p.joined))]
        return len(taken) < 2

    # ---- what happens
    def run(self) -> None:
        for m, load in enumerate(self.loads):
            for _ in range(min(load.in_flight, load.requests)):
                self.arrive(m)
        self.start_all()
        while times := self.times():
            self.now = min(times)
            while self.end_all():
                self.start_all()

    def times(self) -> list[int]:
        out = [p.until for p in self.pieces if p.until is not None]
        return out + [a[self.sent[m]] for m, a in enumerate(self.arrivals) if self.sent[m] < len(a)]

    def end_all(self) -> bool:
        def key(p: Piece) -> tuple[int, int]:
            step = self.step(p)
            assert step is not None
            return ORDER[step.kind], step.where if step.kind != "cpu" else p.number

        ending = sorted((p for p in self.pieces if p.until == self.now), key=key)
        for piece in ending:
            piece.until = None
            piece.joined = 0
            self.move(piece)
        due = False
        for m, times in enumerate(self.arrivals):
            while self.sent[m] < len(times) and times[self.sent[m]] == self.now:
                due = True
                self.arrive(m)
        return bool(ending) or due

    def move(self, piece: Piece) -> None:
        piece.at += 1
        piece.came = self.now
        if self.step(piece) is None:
            self.pieces.remove(piece)
        self.join_all(piece.model, piece.copy)
        if self.step(piece) is not None:
            return
        if not any((p.model, p.request) == (piece.model, piece.request) for p in self.pieces):
            self.ended[piece.model][piece.request] = self.now
            if self.sent[piece.model] < self.loads[piece.model].requests and self.loads[piece.model].in_flight:
                self.arrive(piece.model)

    def join_all(self, model: int, copy: int) -> None:
        """Pieces before a link or the host join its line: first those nearer to the host, which has had longer room."""
        mine = [p for p in self.pieces if (p.model, p.copy) == (model, copy) and p.until is None and not p.joined]
        for piece in mine:
            step = self.step(piece)
            if step is not None and step.kind != "core" and self.has_room(piece):
                self.clock += 1
                piece.joined = self.clock

    def arrive(self, m: int) -> None:
        request, copies = self.sent[m], len(self.models[m].replicas)
        self.sent[m] += 1
        self.arrived[m][request] = self.now
        pieces = []
        for _ in range(-(-int(self.rows[m][request]) // self.models[m].batch)):
            if self.loads[m].policy == "round_robin":
                copy = self.turn[m] % copies
                self.turn[m] += 1
            else:
                copy = min(range(copies), key=lambda c: (sum((p.model, p.copy) == (m, c) for p in self.pieces), c))
            piece = Piece(m, copy, request, 0, self.now)
            self.pieces.append(piece)
            self.join_all(m, copy)
            pieces.append(piece)

    # ---- starts
    def start_all(self) -> None:
        for core in sorted({s.where for m in self.models for r in m.replicas for s in r if s.kind == "core"}):
            self.start_core(core)
        for chip in sorted({s.where for m in self.models for r in m.replicas for s in r if s.kind == "link"}):
            self.start_line("link", chip, 1)
        self.start_line("cpu", 0, self.vcpus)

    def at(self, kind: str, where: int) -> list[Piece]:
        found = [(p, self.step(p)) for p in self.pieces]
        return [p for p, s in found if s is not None and (s.kind, s.where) == (kind, where)]

    def begin(self, piece: Piece, ticks: int) -> None:
        self.clock += 1
        piece.until, piece.number = self.now + ticks, self.clock
        if self.started[piece.model][piece.request] < 0:
            self.started[piece.model][piece.request] = self.now

    def start_line(self, kind: str, where: int, servers: int) -> None:
        here = self.at(kind, where)
        waiting = sorted((p for p in here if p.until is None and p.joined), key=lambda p: p.joined)
        for piece in waiting[:servers - sum(p.until is not None for p in here)]:
            step = self.step(piece)
            assert step is not None
            self.begin(piece, step.ticks)

    def start_core(self, core: int) -> None:
        here = self.at("core", core)
        if any(p.until is not None for p in here):
            return
        ready = [p for p in here if self.has_room(p)]
        if not ready:
            return
        piece = min(ready, key=lambda p: (p.came, p.model, p.copy, p.at, self.pieces.index(p)))
        step = self.step(piece)
        assert step is not None
        switch = 0
        if self.last_model.get(core, piece.model) != piece.model:
            switch = step.switch_ticks
            self.switches[core] = self.switches.get(core, 0) + 1
        self.last_model[core] = piece.model
        self.begin(piece, self.credit + switch + step.ticks)
