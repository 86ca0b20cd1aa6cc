"""Decision trees on the device and on the host: the times of ensembles of many sizes, and which side is chosen.

    python benchmarks/trees.py [--target trn1.2xlarge] [--sizes 100x6x20x1000 ...]

A size is trees x depth x features x rows; trees are complete, thresholds are those of histograms of 256 bins, as
XGBoost makes them. The device's time is simulated, the host's stated (docs/runtime.md), the compiler's measured.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import neuronsim
from compiler.frontends.inputs import Given
from compiler.frontends.xgboost.learner import Forest, Learner
from compiler.frontends.xgboost.model import graph_of
from compiler.ir import Graph

SIZES = ("10x3x10x1", "10x3x10x1000", "100x3x20x1", "100x6x20x1", "100x6x20x100", "100x6x20x1000", "500x6x50x1",
         "500x6x50x100", "1000x6x50x1", "1000x6x50x100", "2000x3x50x1", "2000x3x50x100", "100x8x50x1", "100x8x50x100",
         "100x8x50x1000", "100x10x20x1", "100x10x20x100", "1000x8x100x1", "1000x8x100x100")
TREES = "ai.onnx.ml::TreeEnsembleRegressor"
BINS = 256


def forest(trees: int, depth: int, features: int, seed: int = 0) -> Learner:
    """Complete trees with seeded random splits and leaves."""
    rng = np.random.default_rng(seed)
    nodes = 2 ** (depth + 1) - 1
    number = np.arange(nodes)
    left, right = (np.tile(np.where(number >= 2**depth - 1, -1, 2 * number + k), trees) for k in (1, 2))
    feature = rng.integers(0, features, nodes * trees)
    threshold = rng.normal(size=(features, BINS)).astype(np.float32)[feature, rng.integers(0, BINS, nodes * trees)]
    values = rng.normal(size=(nodes * trees, 1)).astype(np.float32) * np.float32(0.1)
    model = Forest(np.arange(trees + 1) * nodes, left, right, feature, threshold, rng.random(nodes * trees) < 0.5,
                   values, np.zeros(trees, np.int64), np.ones(trees, np.float32))
    return Learner("gbtree", "reg:squarederror", features, 1, np.zeros(1, np.float32), False, model, (3, 2))


def measured(graph: Graph, target: str, **options: Any) -> tuple[float, float, int, list[str]]:
    """Microseconds of a run, seconds of the compilation, operators on the device, reasons of those that are not."""
    started = time.perf_counter()
    neff = neuronsim.compile(graph, target=target, **options)
    seconds = time.perf_counter() - started
    latency = 1e3 * neff.run(mode="timing").stats["latency_ms"]["p50"]
    return latency, seconds, neff.report["operators"]["on_device"], [c["reason"] for c in neff.report["cpu_operators"]]


def row(size: str, target: str) -> str:
    """One line of the table."""
    trees, depth, features, rows = (int(n) for n in size.split("x"))
    graph = graph_of(forest(trees, depth, features), "trees", "trees", Given({"features": (rows, features)}))
    chosen, seconds, on_device, _ = measured(graph, target)
    forced, _, possible, why = measured(graph, target, transfer_cost=False)
    host, *_ = measured(graph, target, cpu_ops=[TREES])
    device = f"{forced:.0f}" if possible else f"no: {why[0]}"
    side = "device" if on_device else "host"
    cells = (trees, depth, features, rows, device, f"{host:.0f}", side, f"{chosen:.0f}", f"{seconds:.1f}")
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="trn1.2xlarge")
    parser.add_argument("--sizes", nargs="*", default=SIZES)
    args = parser.parse_args()
    print("| trees | depth | features | rows | device us | host us | chosen | us | compile s |\n" + "|---" * 9 + "|")
    for size in args.sizes:
        print(row(size, args.target), flush=True)


if __name__ == "__main__":
    main()
