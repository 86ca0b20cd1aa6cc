"""Quality of the generated code, in simulated time: utilisation of the PE, its bounds, what each technique is worth.

Run alone it prints the tables; `make results` puts them into docs/results.md. Nothing here depends on the host.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import models

import neuronsim

#: (label, model, target, options)
Case = tuple[str, Callable[[Path], Path], str, dict[str, Any]]

CASES: tuple[Case, ...] = (
    ("matmul 4096, bf16", lambda d: models.matmul(d, 4096), "trn1.2xlarge", {"auto_cast": "none"}),
    ("ResNet-50, batch 8", lambda d: models.resnet50(d, 8), "trn1.2xlarge", {"auto_cast": "all"}),
    ("ResNet-50, batch 1", lambda d: models.resnet50(d, 1), "trn1.2xlarge", {"auto_cast": "all"}),
    ("BERT-base, batch 8", lambda d: models.bert(d, 8), "trn1.2xlarge", {"auto_cast": "all"}),
    ("BERT-base, batch 1", lambda d: models.bert(d, 1), "trn1.2xlarge", {"auto_cast": "all"}),
    ("ResNet-50, batch 8", lambda d: models.resnet50(d, 8), "inf1.xlarge", {"auto_cast": "all"}),
    ("ResNet-50, batch 1", lambda d: models.resnet50(d, 1), "inf1.xlarge", {"auto_cast": "all"}),
    ("BERT-base, batch 8", lambda d: models.bert(d, 8), "inf1.xlarge", {"auto_cast": "all"}),
    ("BERT-base, batch 1", lambda d: models.bert(d, 1), "inf1.xlarge", {"auto_cast": "all"}),
)
ABLATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("everything on", {}),
    ("no double buffering", {"double_buffer": False}),
    ("no fusion", {"fusion": False}),
    ("no packing", {"packing": False}),
    ("none of the three", {"double_buffer": False, "fusion": False, "packing": False}),
)


@dataclass(frozen=True)
class Row:
    """One simulated run. time in seconds; the shares are percent of it."""

    label: str
    target: str
    stats: dict[str, Any]
    spill_bytes: int

    @property
    def mfu(self) -> float:
        return float(self.stats["mfu_estimated_percent"])

    @property
    def bound(self) -> str:
        """The busiest resource, and how busy."""
        shares = {
            "PE": self.stats["tensor_engine_active_time_percent"],
            "DRAM bandwidth": self.stats["mbu_estimated_percent"],
            "DMA engines": self.stats["dma_busy_percent"],
            "vector": self.stats["vector_engine_active_time_percent"],
            "scalar": self.stats["scalar_engine_active_time_percent"],
        }
        name = max(shares, key=lambda k: shares[k])
        return f"{name} {shares[name]:.0f} %"


def run(case: Case, **more: Any) -> Row:
    """Compile and simulate one case in time-only mode."""
    label, make, target, options = case
    with tempfile.TemporaryDirectory(prefix="neuronsim-quality-") as folder:
        model = make(Path(folder))
        neff = neuronsim.compile(model, Path(folder) / "model.neff", target, **options, **more)
        result = neff.run(mode="timing")
        stats = dict(result.stats)
        timeline = result.last.stages[0].timeline
        stats["dma_busy_percent"] = 100 * float(timeline.dma_busy.max()) / timeline.total_ticks
        return Row(label, target, stats, int(neff.report["spill_bytes"]))


def case_lines() -> Iterator[str]:
    yield "| model | target | device time | MFU | PE active | DRAM read | spilled | busiest |"
    yield "|---|---|---:|---:|---:|---:|---:|---|"
    for case in CASES:
        row = run(case)
        s = row.stats
        yield (
            f"| {row.label} | {row.target} | {1e3 * s['total_time']:.3f} ms | {row.mfu:.1f} % "
            f"| {s['tensor_engine_active_time_percent']:.1f} % | {s['hbm_read_bytes'] / 1e6:.0f} MB "
            f"| {row.spill_bytes / 1e6:.1f} MB | {row.bound} |"
        )


def ablation_lines() -> Iterator[str]:
    yield "| ResNet-50 batch 8, trn1.2xlarge, bf16 | device time | MFU | slower by |"
    yield "|---|---:|---:|---:|"
    base = 0.0
    for label, options in ABLATIONS:
        row = run(CASES[1], **options)
        time = row.stats["total_time"]
        base = base or time
        yield f"| {label} | {1e3 * time:.3f} ms | {row.mfu:.1f} % | {time / base:.2f} x |"


def lines() -> Iterator[str]:
    """Both tables as Markdown."""
    yield from case_lines()
    yield ""
    yield from ablation_lines()


if __name__ == "__main__":
    for line in lines():
        print(line, flush=True)
