"""Random but possible traces with the programs and machine they are of, for the writers' tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from isa import target as targets
from isa.program import DebugEntry, Node, Program, Stage, TensorInfo
from isa.spec import SPEC
from isa.target import Target
from isa.trace import TABLES, Cause, HostKind, Trace

TICK_HZ = 84_000_000_000  # not a whole number of ticks in a nanosecond
HOSTILE = (
    "plain", "", 'quo"te\'s', "new\nline\r\n", "tab\tbed", "</script><b>&amp;", "\\back\\slash", "nul\x00bell\x07",
    "\ud800 alone", "long " * 2000, "long " * 2000 + "!", "snow☃ \U0001f600", "a,b;c", "=1+1", "\u2028line\u202eright",
    "%s %d {0} {name}", "\x1b[31mred")
_OPCODES = [SPEC.by_name[m].opcode for m in ("load_stationary", "matmul", "tensor_tensor", "activation", "nop")]
_TRIGGER = SPEC.by_name["dma_trigger"].opcode


def machine() -> Target:
    """Four chips of four cores each, linked."""
    return targets.load("inf1.6xlarge")


def programs(names: Sequence[str] = HOSTILE, models: int = 2) -> list[Program]:
    """Pipelines of two stages whose layers have these names."""
    debug = [DebugEntry()] + [DebugEntry(n, f"Op {n}", f"graph/{n}", "load") for n in names]
    nodes = [Node("first\n", "neuron_core", ("x",), ("h",), 0), Node("second", "neuron_core", ("h",), ("y",), 1,
                                                                        core=1, upstream="first\n")]
    tensor = [TensorInfo("x", (1,), "float32")]
    return [Program(f"model {k} {names[-1]}", "inf1.6xlarge", "v1", tensor, tensor, nodes,
                    [Stage(debug=list(debug)), Stage(debug=list(debug))]) for k in range(models)]


def random_trace(seed: int, runs: int = 6, words: int = 40, names: int = len(HOSTILE), tick_hz: int = TICK_HZ) -> Trace:
    """Runs of both stages of two models; words and transfers overlap, some take no time at all."""
    rng = np.random.default_rng(seed)
    run_rows, word_rows, move_rows, at = [], [], [], 0
    done: dict[int, int] = {}  # when what an instruction starts has ended
    for run in range(runs):
        model, stage = run % 2, run // 2 % 2
        first = len(word_rows)
        core, free = 4 * model + stage * 5, np.full(5, at)
        for k in range(words):
            engine = int(rng.integers(5))
            wait = int(rng.integers(0, 400)) * int(rng.integers(2))
            start = int(free[engine]) + wait
            end = start + int(rng.integers(0, 900)) * int(rng.integers(4) > 0)
            free[engine] = start + int(rng.integers(0, 1000))
            moves = engine == 4
            before = [o for o in range(first, first + k) if done[o] + 84 < start]  # posts take longer
            producer = int(rng.choice(before)) if wait and before else -1
            cause = Cause.NONE if producer < 0 else Cause(int(rng.integers(1, 5)))
            if producer >= 0 and word_rows[producer][5] == _TRIGGER:
                cause = Cause.DMA
            word_rows.append((run, core, engine, k, int(rng.integers(names + 1)),
                              _TRIGGER if moves else int(rng.choice(_OPCODES)), start, end, end, start - wait,
                              cause, 3 if cause else -1, producer))
            done[len(word_rows) - 1] = end
            if moves:
                size, later = int(rng.integers(1, 1 << 16)), end + int(rng.integers(500))
                move_rows.append((run, core, engine, k, first + k, int(rng.integers(3)), end, later,
                                  later + int(rng.integers(3000)), size, size, 0, size * (stage == 0), 5, 0,
                                  int(rng.integers(names + 1))))
                done[len(word_rows) - 1] = move_rows[-1][8]
        end = max([r[7] for r in word_rows[first:]] + [r[8] for r in move_rows if r[0] == run], default=at)
        run_rows.append((stage, model, 0, core, run // 4, at, end, 10 * (run % 3), 20, run % 5))
        at += int(rng.integers(0, 3000))
    host = [(m, 0, kind, 2 * m, kind % 2, 100 * kind + m, 100 * kind + 90 + m) for m in (0, 1) for kind in (0, 1, 2)]
    total = max(r[6] for r in run_rows + host) + 100
    requests = [(k % 2, 5 * k, 7 * k, total - k, 1) for k in range(-(-runs // 4))]
    rows = {"runs": run_rows, "instructions": word_rows, "transfers": move_rows, "host": host, "requests": requests}
    return Trace(**{n: _columns(n, r) for n, r in rows.items()}, tick_hz=tick_hz, target="inf1.6xlarge",
                 total_ticks=total, neff_hashes=("a", "b"))


def _columns(table: str, rows: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    values = np.array(rows, np.int64).reshape(len(rows), len(TABLES[table]))
    return {name: values[:, k].astype(dtype) for k, (name, dtype) in enumerate(TABLES[table].items())}


# ---- what every writer has to show, worked out row by row
ENGINE_ROWS = ("TensorE", "VectorE", "ScalarE", "GpSimdE", "SyncE")
Shown = tuple[str, int, int, int]  # row, start in ns, duration in ns, duration in ticks


def ns(tick: int, tick_hz: int) -> int:
    return tick * 10**9 // tick_hz


def shown(trace: Trace, kinds: Sequence[str] = tuple(TABLES), cores_per_chip: int = 4) -> Counter[Shown]:
    """Every row of the trace as the slice it has to become."""
    found: Counter[Shown] = Counter()
    for kind in kinds:
        table = getattr(trace, kind)
        starts = table["arrival" if kind == "requests" else "start"].tolist()
        for k, (start, end) in enumerate(zip(starts, table["end"].tolist(), strict=True)):
            first, last = ns(start, trace.tick_hz), ns(end, trace.tick_hz)
            found[row_of(trace, kind, k, cores_per_chip), first, last - first, end - start] += 1
    return found


def row_of(trace: Trace, kind: str, k: int, cores_per_chip: int = 4) -> str:
    table = getattr(trace, kind)
    if kind == "requests":
        return f"requests {table['model'][k]}"
    if kind == "host":
        return "CPU" if table["kind"][k] == HostKind.CPU else f"device {table['where'][k]}/host link"
    core = int(table["core"][k])
    place = f"device {core // cores_per_chip}/NeuronCore {core}"
    if kind == "runs":
        return f"{place}/stages"
    if kind == "transfers":
        return f"{place}/q{ENGINE_ROWS[table['trigger_engine'][k]][:-1]}{table['queue'][k]}"
    matmul = table["opcode"][k] == SPEC.by_name["matmul"].opcode
    return f"{place}/{'TensorMatrixE' if matmul and table['engine'][k] == 0 else ENGINE_ROWS[table['engine'][k]]}"


def waits(trace: Trace) -> dict[int, int]:
    """Op id of what each waiting instruction waited for."""
    t = trace.instructions
    pairs = zip(t["wait_start"].tolist(), t["start"].tolist(), t["cause_op"].tolist(), strict=True)
    return {op: source for op, (ready, start, source) in enumerate(pairs) if start > ready and source >= 0}
