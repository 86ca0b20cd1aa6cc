"""Compiles for several numbers of cores: one after another here, or in processes of their own, some at once.

    python -m compiler.search.trials MODEL   # options as JSON on stdin, facts as JSON on stdout
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler.options import CompileOptions, from_keywords
from compiler.search.estimate import Facts, facts_of
from isa.errors import NeuronError
from isa.program import Program

Progress = Callable[[int, int], None]  # how many are done, of how many
Evaluate = Callable[[Sequence[int]], list[Facts]]  # compiles for each of some numbers of cores


def here(compile_for: Callable[[int], Program], progress: Progress | None = None) -> Evaluate:
    """Evaluate numbers of cores one after another, in this process."""

    def evaluate(numbers: Sequence[int]) -> list[Facts]:
        found = []
        for done, cores in enumerate(numbers, start=1):
            found.append(facts(compile_for, cores))
            if progress is not None:
                progress(done, len(numbers))
        return found

    return evaluate


def facts(compile_for: Callable[[int], Program], cores: int) -> Facts:
    """Compile for a number of cores; an error of the compiler is a fact too."""
    try:
        return facts_of(compile_for(cores), cores)
    except NeuronError as error:
        return Facts(cores, error=str(error).splitlines()[0])


def in_processes(model: Path, options: CompileOptions, progress: Progress | None = None) -> Evaluate:
    """Evaluate numbers of cores in as many processes at once as the host has hardware threads.

    Large numbers, which take longest, start first. An interruption ends the processes.
    """

    def evaluate(numbers: Sequence[int]) -> list[Facts]:
        workers: set[subprocess.Popen[str]] = set()
        pool = ThreadPoolExecutor(os.cpu_count() or 1)
        try:
            jobs = [pool.submit(_process, model, replace(options, neuroncore_pipeline_cores=n), workers)
                    for n in sorted(numbers, reverse=True)]
            for done, _ in enumerate(as_completed(jobs), start=1):
                if progress is not None:
                    progress(done, len(jobs))
            return [job.result() for job in jobs]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in list(workers):
                worker.kill()
            pool.shutdown()

    return evaluate


def _process(model: Path, options: CompileOptions, workers: set[subprocess.Popen[str]]) -> Facts:
    cores = options.neuroncore_pipeline_cores
    assert isinstance(cores, int)
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
    command = [sys.executable, "-m", "compiler.search.trials", str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": path}) as worker:
        workers.add(worker)
        try:
            out, err = worker.communicate(json.dumps(options.record()))
        finally:
            workers.discard(worker)
    if worker.returncode:
        return Facts(cores, error=(err.strip().splitlines() or [f"ended with status {worker.returncode}"])[-1])
    return Facts.from_json(json.loads(out))


def main(arguments: Sequence[str], given: str) -> str:
    """The facts of one compilation as JSON. `given`: `CompileOptions.record()` as JSON."""
    from compiler import compile_model

    values: dict[str, Any] = json.loads(given)
    options = from_keywords(values)
    assert isinstance(options.neuroncore_pipeline_cores, int)
    found = facts(lambda _: compile_model(arguments[0], options), options.neuroncore_pipeline_cores)
    return json.dumps(found.as_json())


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:], sys.stdin.read()))
