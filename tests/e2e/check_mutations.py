"""Drop waits of compiled programs one at a time: the checker must report each drop, or the wait must be implied.

    python tests/e2e/check_mutations.py [NEFF ...] [--drops 1000] [--seed 0] [--json FILE]

Without files, random tile programs and the tiled matmul example are compiled. A wait is implied when every pair of
conflicting accesses stays ordered without it; that is proved by visiting all pairs (`Checker.implied`), not by the
absence of a report. Exit code 1 when a program is not clean as compiled, or a drop is neither reported nor implied.
"""
from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from isa import neff, target
from isa.lang import TileProgram
from isa.program import Stage
from isa.target import Target
from neuronsim.check import Checker


@dataclass
class Count:
    """Outcome for one program."""

    program: str
    words: int
    waits: int
    findings: int
    dropped: int = 0
    reported: int = 0
    implied: int = 0
    missed: int = 0
    check_seconds: float = 0.0
    seconds_per_drop: float = 0.0


def built_in() -> Iterator[tuple[str, Stage, Target]]:
    """Programs the backend compiles now: seeded random mixes on a small machine, and the example kernel."""
    import numpy as np

    from compiler.backend import build
    from examples.tiled_matmul import FEATURES, INPUTS, kernel
    from tests.compiler.backend_programs import random_program, small_target

    machine = small_target()
    for seed in range(12):
        yield f"random{seed}", build(random_program(seed, 120, machine)), machine
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((INPUTS, FEATURES)).astype("bfloat16")
    program: TileProgram = kernel(weights, rng.standard_normal(FEATURES).astype(np.float32))
    yield "tiled_matmul", build(program), program.target


def of_files(paths: list[str]) -> Iterator[tuple[str, Stage, Target]]:
    for path in paths:
        program = neff.read(Path(path))
        for k, stage in enumerate(program.stages):
            yield f"{Path(path).name} stage {k}", stage, target.load(program.target)


def drop(checker: Checker, count: Count, waits: list[tuple[int, int]]) -> None:
    start = time.perf_counter()
    for op, slot in waits:
        count.dropped += 1
        if checker.races_without(op, slot):
            count.reported += 1
        elif checker.implied(op, slot):
            count.implied += 1
        else:
            count.missed += 1
    count.seconds_per_drop = (time.perf_counter() - start) / max(len(waits), 1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("neff", nargs="*")
    parser.add_argument("--drops", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args(arguments)
    checkers, counts = [], []
    for name, stage, machine in of_files(options.neff) if options.neff else built_in():
        start = time.perf_counter()
        checker = Checker(stage, machine)
        findings = checker.findings()
        seconds = time.perf_counter() - start
        for finding in findings[:3]:
            print(finding)
        checkers.append(checker)
        counts.append(Count(name, len(checker.flat.words), len(checker.waits()), len(findings), check_seconds=seconds))
    waits = [(k, wait) for k, checker in enumerate(checkers) for wait in checker.waits()]
    chosen = random.Random(options.seed).sample(waits, min(options.drops, len(waits)))
    for k, (checker, count) in enumerate(zip(checkers, counts)):
        drop(checker, count, [wait for i, wait in chosen if i == k])
        print(f"{count.program}: {count.words} words, {count.waits} waits, {count.findings} findings in "
              f"{count.check_seconds:.3f} s; dropped {count.dropped}: reported {count.reported}, implied "
              f"{count.implied}, missed {count.missed} ({1000 * count.seconds_per_drop:.1f} ms each)")
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(c) for c in counts], indent=1) + "\n")
    return int(any(c.findings or c.missed for c in counts))


if __name__ == "__main__":
    sys.exit(main())
