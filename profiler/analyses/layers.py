"""Where the time goes, by layer of the source model, by operator type and by instruction kind; and what binds each.

Every instant counts once: it is split equally among the layers with an instruction in flight; an instant in which no
engine works but data moves is split among the layers of the transfers; the rest is waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isa.program import Program
from isa.spec import SPEC
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from profiler import work
from profiler.analyses import source
from profiler.analyses.engine_time import issued
from profiler.analyses.run_paths import Reason, Steps, run_paths
from profiler.analyses.source import Source
from profiler.intervals import merge, share
from profiler.metrics import peak_seconds, percent
from profiler.ran import device_ticks
from profiler.table import Table
from profiler.text import bytes_text, seconds_text

COMPUTE, MEMORY, OVERHEAD, DEPENDENCY, HIDDEN = "compute", "memory", "overhead", "dependency", "hidden"
BOUNDS = (COMPUTE, MEMORY, OVERHEAD, DEPENDENCY)
_MEMORY = (Reason.DMA_QUEUE, Reason.DMA_SERVICE, Reason.DRAM, Reason.LINK)
_OVERHEAD = (Reason.SIGNAL, Reason.DMA_START)
SHOWN = 10


@dataclass(frozen=True)
class Share:
    """What a layer, operator type or instruction kind takes.

    Attributes:
        time, time_percent: seconds, and of the device time.
        core_time: seconds of cores: every instant of every core split among what is busy on that core.
        macs: useful multiply-accumulates; flops: operations issued to the PE.
        bytes: moved by DMA; dram_bytes: read and written in DRAM.
        mfu_percent: 2 x macs of the PE's peak in `core_time`.
        path_percent: of the critical paths of all runs.
        bound: what most of its part of those is: compute, memory, overhead, dependency; hidden: it has none.
    """

    time: float
    time_percent: float
    core_time: float
    macs: int
    flops: int
    bytes: int
    dram_bytes: int
    mfu_percent: float
    path_percent: float
    bound: str


@dataclass(frozen=True)
class Layer(Share):
    """One layer of one model."""

    model: int
    name: str
    op_type: str


@dataclass(frozen=True)
class Operator(Share):
    """All layers of an operator type."""

    op_type: str
    layers: int


@dataclass(frozen=True)
class Kind:
    """An instruction of one engine: how many, seconds issuing (their costs) and in flight, of the engine's time."""

    engine: str
    mnemonic: str
    count: int
    issue_time: float
    instruction_time: float
    engine_percent: float
    bytes: int
    flops: int
    bound: str


@dataclass(frozen=True)
class Layers:
    """Each list with the longest first."""

    layers: list[Layer]
    operators: list[Operator]
    kinds: list[Kind]

    def as_json(self) -> dict[str, Any]:
        """The lists as objects with the names of the attributes."""
        return {name: [asdict(row) for row in getattr(self, name)] for name in ("layers", "operators", "kinds")}

    def tables(self, top: int = SHOWN) -> list[Table]:
        """The longest layers, operator types and instruction kinds."""
        found = Table(
            f"Longest {min(top, len(self.layers))} of {len(self.layers)} layers", ["layer", "operator", *_HEADS]
        )
        found.rows += [[row.name, row.op_type, *_cells(row)] for row in self.layers[:top]]
        kinds = Table("Instructions", ["engine", "instruction", ">count", ">issuing", ">of its engine", "bound"])
        kinds.rows += [[k.engine, k.mnemonic, str(k.count), seconds_text(k.issue_time), f"{k.engine_percent:.1f} %",
                        k.bound] for k in self.kinds[:top]]  # fmt: skip
        operators = Table("Operators", ["operator", ">layers", *_HEADS])
        operators.rows += [[row.op_type, str(row.layers), *_cells(row)] for row in self.operators[:top]]
        return [found, operators, kinds]


def layers(trace: Trace, programs: Sequence[Program], target: Target, paths: Steps | None = None) -> Layers:
    """All layers, operator types and instruction kinds of a trace; `paths`: its run_paths, where known already."""
    known, steps = source.read(trace, programs), paths or run_paths(trace, target)
    categories = _categories(trace, target, steps)
    count = len(known.layers)
    columns = _columns(known, trace)
    columns["path"] = _matrix(known.word_layer[steps.op], categories, steps, count)
    make = _maker(trace, known, target)
    found = [Layer(**make({c: v[k] for c, v in columns.items()}), **key._asdict())
             for k, key in enumerate(known.layers) if key.name]  # fmt: skip
    types = sorted({key.op_type for key in known.layers if key.name})
    of_type = {t: [k for k, key in enumerate(known.layers) if key.name and key.op_type == t] for t in types}
    operators = [
        Operator(**make({c: v[rows].sum(axis=0) for c, v in columns.items()}), op_type=t, layers=len(rows))
        for t, rows in of_type.items()
    ]
    return Layers(
        sorted(found, key=lambda row: (-row.time, row.model, row.name)),
        sorted(operators, key=lambda row: (-row.time, row.op_type)),
        _kinds(trace, known, target, steps, categories),
    )


def _maker(trace: Trace, known: Source, target: Target) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Turns sums over some layers into the fields of a Share."""
    total = device_ticks(trace)
    hardware = sum(r.runs * sum(work.matmul_flops(r.stage).values()) for r in known.ran)
    at_peak = peak_seconds(known.ran, target) / hardware if hardware else 0.0
    whole = int((trace.runs["end"] - trace.runs["start"]).sum())

    def make(sums: dict[str, Any]) -> dict[str, Any]:
        macs, core_time = int(sums["macs"]), float(sums["core_ticks"]) / trace.tick_hz
        return {
            "time": float(sums["ticks"]) / trace.tick_hz,
            "time_percent": percent(float(sums["ticks"]), total),
            "core_time": core_time,
            "macs": macs,
            **{c: int(sums[c]) for c in ("flops", "bytes", "dram_bytes")},
            "mfu_percent": percent(2 * macs * at_peak, core_time),
            "path_percent": percent(int(sums["path"].sum()), whole),
            "bound": _bound(sums["path"]),
        }

    return make


def _columns(known: Source, trace: Trace) -> dict[str, np.ndarray]:
    """Sums by layer number."""
    count, moves = len(known.layers), trace.transfers
    macs, flops = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for number, r in enumerate(known.ran):
        of_debug = known.layers_of(number)
        np.add.at(macs, of_debug, [r.runs * d.macs for d in r.stage.debug])
        debug, each = work.matmul_work(r.stage)
        np.add.at(flops, of_debug[debug], r.runs * each)
    return {
        "ticks": _times(trace, known, None),
        "core_ticks": sum((_times(trace, known, int(c)) for c in np.unique(trace.runs["core"])), np.zeros(count)),
        "macs": macs,
        "flops": flops,
        "bytes": _sum(known.transfer_layer, moves["bytes"], count),
        "dram_bytes": _sum(known.transfer_layer, moves["read"] + moves["written"], count),
    }


def _sum(key: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sums by key; exact below 2^53."""
    return np.bincount(key, weights=values, minlength=count).astype(np.int64)


# ---- time
def _times(trace: Trace, known: Source, core: int | None) -> np.ndarray:
    """Ticks of each layer; on one core, or of all together."""
    words = _intervals(trace.instructions, known.word_layer, core)
    moves = _intervals(trace.transfers, known.transfer_layer, core)
    ticks = np.zeros(len(known.layers))
    for (layer, start, end), hidden in ((words, None), (moves, merge(*words[1:]))):
        numbers, groups = _grouped(layer, start, end)
        ticks[numbers] += share(groups, hidden)
    return ticks


_Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def _intervals(table: dict[str, np.ndarray], layer: np.ndarray, core: int | None) -> _Columns:
    rows = slice(None) if core is None else np.flatnonzero(table["core"] == core)
    return layer[rows], table["start"][rows], table["end"][rows]


def _grouped(layer: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:  # fmt: skip # noqa: E501
    """Layers that occur, and their intervals."""
    order = np.argsort(layer, kind="stable")
    numbers, first = np.unique(layer[order], return_index=True)
    cuts = first[1:]
    return numbers, list(zip(np.split(start[order], cuts), np.split(end[order], cuts), strict=True))


# ---- bounds
def _categories(trace: Trace, target: Target, steps: Steps) -> np.ndarray:
    """[p] index in `BOUNDS` of each step of the paths."""
    out = np.full(len(steps.op), BOUNDS.index(DEPENDENCY))
    out[steps.reason == Reason.ISSUE] = BOUNDS.index(COMPUTE)
    out[np.isin(steps.reason, _MEMORY)] = BOUNDS.index(MEMORY)
    fixed = fixed_cost(trace, target)[steps.op] & (steps.reason == Reason.ISSUE)
    out[fixed | np.isin(steps.reason, _OVERHEAD)] = BOUNDS.index(OVERHEAD)
    return out


def fixed_cost(trace: Trace, target: Target) -> np.ndarray:
    """[n] whether a word costs no more than any word of its engine does, however little it computes."""
    least = {"gpsimd": target["gpsimd.start_cycles"] + target["min_ii_cycles"], "sync": np.inf}
    ticks = np.zeros(len(ENGINES))
    for number, name in enumerate(ENGINES):
        cycles = least.get(name, target["min_ii_cycles"])
        each = target.engines[name].ticks_per_cycle * trace.tick_hz / target.tick_hz
        ticks[number] = cycles if cycles == np.inf else cycles * each
    table = trace.instructions
    return issued(trace, target) - table["start"] <= np.round(ticks)[table["engine"]]


def _matrix(key: np.ndarray, category: np.ndarray, steps: Steps, count: int) -> np.ndarray:
    """Ticks by (key, category)."""
    width = len(BOUNDS)
    return _sum(key * width + category, steps.end - steps.start, count * width).reshape(count, width)


def _bound(ticks: np.ndarray) -> str:
    return BOUNDS[int(np.argmax(ticks))] if ticks.any() else HIDDEN


# ---- instruction kinds
def _kinds(trace: Trace, known: Source, target: Target, steps: Steps, categories: np.ndarray) -> list[Kind]:
    table, cores = trace.instructions, len(np.unique(trace.runs["core"]))
    key = table["engine"].astype(np.int64) * 256 + table["opcode"]
    size = len(ENGINES) * 256
    count, issue = np.bincount(key, minlength=size), _sum(key, issued(trace, target) - table["start"], size)
    flight = _sum(key, table["end"] - table["start"], size)
    moved = _sum(key[trace.transfers["op"]], trace.transfers["bytes"], size)
    path = _matrix(key[steps.op], categories, steps, size)
    flops = sum(r.runs * sum(work.matmul_flops(r.stage).values()) for r in known.ran)
    found = []
    for number in np.argsort(-issue, kind="stable"):
        if not count[number]:
            continue
        engine, opcode = divmod(int(number), 256)
        instruction = SPEC.by_opcode.get(opcode)
        mnemonic = f"opcode {opcode}" if instruction is None else instruction.mnemonic
        found.append(Kind(
            ENGINES[engine], mnemonic, int(count[number]), float(issue[number]) / trace.tick_hz,
            float(flight[number]) / trace.tick_hz, percent(int(issue[number]), device_ticks(trace) * cores),
            int(moved[number]), flops if mnemonic == "matmul" else 0, _bound(path[number]),
        ))  # fmt: skip
    return found


_HEADS = (">time", ">share", ">MACs", ">DMA bytes", ">MFU", "bound")


def _cells(row: Share) -> list[str]:
    return [
        seconds_text(row.time),
        f"{row.time_percent:.1f} %",
        f"{row.macs:.3g}" if row.macs else "-",
        bytes_text(row.bytes),
        f"{row.mfu_percent:.1f} %" if row.macs else "-",
        row.bound,
    ]
