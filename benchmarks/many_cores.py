"""Pipelines over many cores, in simulated time: throughput, latency, stages, weights, DRAM traffic; `make results`.

Run alone it prints the tables. Nothing here depends on the host.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parent))
import models

import neuronsim
from isa import target as targets
from isa.program import Program
from isa.target import Target
from neuronsim.serving import Load, Served, serve
from neuronsim.serving.planning import plan

REQUESTS = 2000
QUEUE_PER_CORE = 2  # requests in flight for each core: every stage has its next input waiting


@dataclass(frozen=True)
class Case:
    """A model compiled for a number of cores (None: no pipeline), on an instance that its copies fill."""

    label: str
    model: Callable[[Path], Path]
    instance: str
    cores: int | None


def _bert(cores: int | None, instance: str = "inf1.6xlarge") -> Case:
    return Case("BERT-base", lambda d: models.bert(d, 1), instance, cores)


def _resnet(cores: int | None, instance: str = "inf1.6xlarge") -> Case:
    return Case("ResNet-50", lambda d: models.resnet50(d, 1), instance, cores)


CASES = (
    *(_bert(n) for n in (None, 1, 2, 4, 8, 16)),
    *(_bert(n, "inf1.24xlarge") for n in (None, 16, 64)),
    *(_resnet(n) for n in (None, 1, 4, 16)),
    _bert(None, "trn2.48xlarge"), _bert(128, "trn2.48xlarge"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One case: the program, a full instance under load, and one request alone."""

    case: Case
    target: Target
    program: Program
    full: Served
    single: Served

    @property
    def copies(self) -> int:
        return self.target.cores // self.program.cores

    @property
    def stage_ns(self) -> list[float]:
        """Time of each stage of a copy, simulated alone."""
        return [s.alone_ns for s in self.full.stages if s.copy == 0]

    def weights(self, key: str) -> int:
        """Bytes of a kind of weights in the stage that has most of them."""
        return max(cast(int, s.info.get(key, 0)) for s in self.program.stages)

    def cells(self) -> list[str]:
        times, load = self.stage_ns, self.full.loads[0]
        stages, dram = self.full.stages, sum(int(n) for n in self.full.dram_bytes)
        mean = sum(times) / len(times)
        bubbles = sum(s.bubble_share for s in stages) / len(stages)
        pinned = self.weights("pinned_bytes")
        fetched = sum(cast(int, s.info.get("streamed_bytes", s.info["weights_bytes"])) for s in self.program.stages)
        return [
            self.case.label, self.target.name, str(self.case.cores or "no pipeline"), str(self.copies),
            f"{load.steady_per_s:,.0f}", f"{self.single.loads[0].percentile_s(50) * 1e3:.3f}",
            f"{max(times) / 1e3:.1f}", f"{max(times) / mean:.3f}", f"{pinned / 1e6:.1f}", f"{fetched / 1e6:.1f}",
            f"{100 * bubbles:.1f} %", f"{dram / len(load.end) / 1e6:.1f}", _method(self.full),
        ]  # fmt: skip


COLUMNS = (
    "model", "instance", "cores", "copies", "inferences/s", "latency, ms", "slowest stage, us", "slowest / mean",
    "pinned per core, MB", "fetched per run, MB", "bubbles", "DRAM per inference, MB", "method",
)  # fmt: skip


def measure(case: Case, folder: Path) -> Row:
    """Compile, fill the instance with copies under load, and send one request after another to one copy."""
    options: dict[str, Any] = {} if case.cores is None else {"neuroncore_pipeline_cores": case.cores}
    model = case.model(folder)
    neff = neuronsim.compile(model, folder / "model.neff", case.instance, auto_cast="all", **options)
    target, program = targets.load(case.instance), neff.program
    copies = [range(k, k + program.cores) for k in range(0, target.cores - program.cores + 1, program.cores)]
    full = plan(program, target, copies)
    in_flight = QUEUE_PER_CORE * program.cores * len(copies)
    return Row(
        case, target, program,
        serve([full], [Load(REQUESTS, in_flight=in_flight)], target),
        serve([plan(program, target, copies[:1])], [Load(10, in_flight=1)], target),
    )


def rows(cases: Sequence[Case] = CASES) -> Iterator[Row]:
    """One row per case; progress on stderr."""
    with tempfile.TemporaryDirectory(prefix="neuronsim-cores-") as folder:
        for case in cases:
            row = measure(case, Path(folder))
            sys.stderr.write(" | ".join(row.cells()) + "\n")
            yield row


def _method(served: Served) -> str:
    return served.method if served.exact else f"{served.method}, approximate"


def lines(cases: Sequence[Case] = CASES) -> list[str]:
    """The table in Markdown."""
    aligned = ["---"] * 2 + ["---:"] * (len(COLUMNS) - 3) + ["---"]
    table = ["| " + " | ".join(COLUMNS) + " |", "|" + "|".join(aligned) + "|"]
    return [*table, *("| " + " | ".join(row.cells()) + " |" for row in rows(cases))]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
