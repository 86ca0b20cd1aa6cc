"""Traces of real runs: random programs on several cores, started over and over, as the simulator records them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from isa.program import Program, Stage
from isa.spec import SPEC
from isa.target import Target
from isa.trace import TABLES, Cause, RunWait, Table, Trace, names_word
from isa.word import ENGINES
from neuronsim.timing import LAST_TICK, Cores, Placed, Timeline
from tests.neuronsim.test_timing_twin import MACHINES, programs
from tests.profiler.stages import program_of


def record(stages: list[Stage], target: Target, gaps: list[int]) -> tuple[Trace, list[Program], Target]:
    """Each stage on a core of its own, run once for each gap: that many ticks after its last run."""
    cores = Cores([Placed(stage, core) for core, stage in enumerate(stages)], target)
    ended, begun, left = [0] * len(stages), [0] * len(stages), [list(gaps) for _ in stages]
    rows: list[tuple[int, int, int, int, Timeline]] = []

    def start(slot: int) -> None:
        begun[slot] = ended[slot] + left[slot].pop(0)
        cores.start(slot, begun[slot])

    for slot in range(len(stages)):
        start(slot)
    while (found := cores.advance(LAST_TICK)) is not None:
        slot, end = found
        rows.append((begun[slot], slot, end, begun[slot] - ended[slot], cores.timeline(slot)))
        ended[slot] = end
        if left[slot]:
            start(slot)
    rows.sort(key=lambda row: row[:2])
    words, moves = _tables(rows, stages)
    runs = {c: np.zeros(len(rows), t) for c, t in TABLES["runs"].items()}
    for k, (begin, slot, end, wait, _) in enumerate(rows):
        for column, value in (("start", begin), ("stage", slot), ("core", slot), ("end", end), ("wait", wait),
                              ("wait_for", RunWait.WORK if wait else RunWait.NONE)):  # fmt: skip
            runs[column][k] = value
    requests = {c: np.full(1, max(ended) if c == "end" else 0, t) for c, t in TABLES["requests"].items()}
    trace = Trace(runs=runs, instructions=words, transfers=moves, requests=requests, tick_hz=target.tick_hz,
                  target=target.name, total_ticks=max(ended))  # fmt: skip
    return trace, [program_of(*stages)], target


def _tables(rows: list[tuple[int, int, int, int, Timeline]], stages: list[Stage]) -> tuple[Table, Table]:
    """Instructions and transfers of the runs, times from tick 0."""
    parts: dict[str, list[Table]] = {"instructions": [], "transfers": []}
    base = 0
    for run, (begin, slot, _, _, t) in enumerate(rows):
        streams = [stages[slot].stream(e) for e in ENGINES]
        debug, opcode = (np.concatenate([s[c] for s in streams]) for c in ("debug", "opcode"))
        n, x = len(t.start), len(t.transfer_op)
        waits = t.cause != Cause.NONE
        op = np.where(waits, t.cause_op + base, -1)
        times = {c: getattr(t, c) + begin for c in ("start", "end", "retire", "wait_start")}
        parts["instructions"].append({
            "run": np.full(n, run), "core": np.full(n, slot), "engine": t.engine, "index": t.index, "debug": debug,
            "opcode": opcode, **times, "cause": t.cause, "cause_op": op,
            "cause_id": np.where(names_word(t.cause), op, t.cause_id),
        })  # fmt: skip
        starts = np.concatenate([s[s["opcode"] == SPEC.by_name["dma_trigger"].opcode] for s in streams])
        of_first = np.append(stages[slot].descriptors["debug"], 0)[starts["arg"]]
        parts["transfers"].append({
            "run": np.full(x, run), "core": np.full(x, slot), "trigger_engine": t.engine[t.transfer_op],
            "trigger_index": t.index[t.transfer_op], "op": t.transfer_op + base, "queue": t.transfer_queue,
            **{c: getattr(t, f"transfer_{c}") + begin for c in ("enqueue", "start", "end")},
            "debug": np.where(starts["count"], of_first, starts["debug"]),
            **{c: getattr(t, f"transfer_{c}")
               for c in ("bytes", "read", "written", "link_bytes", "dram_wait", "link_wait")},
        })  # fmt: skip
        base += n
    words, moves = (
        {c: np.concatenate([p[c] for p in parts[name]]).astype(t) for c, t in TABLES[name].items()} for name in parts
    )
    return words, moves


@st.composite
def recordings(draw: st.DrawFn) -> tuple[Trace, list[Program], Target]:
    """One or two random programs, run up to three times."""
    name = draw(st.sampled_from(["v1", "trn1.2xlarge", "tight", "instant"]))
    stages = [draw(programs(gpsimd=name != "v1")) for _ in range(draw(st.integers(1, min(2, MACHINES[name].cores))))]
    gaps = draw(st.lists(st.one_of(st.just(0), st.integers(0, 2000)), min_size=1, max_size=3))
    return record(stages, MACHINES[name], gaps)


def total_ticks_of(found: np.ndarray, total: int) -> bool:
    """Whether the last axis adds up to `total` everywhere, nothing being negative."""
    return bool((found >= 0).all() and (found.sum(axis=-1) == total).all())
