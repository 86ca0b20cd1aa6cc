"""Runs the cases of the value tests by compiled kernels and by numpy meanings.

Run as a script it prints a digest of the memories after all cases, so that CPU levels can be compared across processes:
`python values_runs.py kernels|meanings`.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np

from isa.word import DESCRIPTOR, ENGINES, WORD
from neuronsim._core.values import Executor
from neuronsim.insns import dma_trigger, execute, load_stationary, matmul
from neuronsim.insns.memory import Memory, Tiles
from neuronsim.replay import ACTION, EXECUTE, LOAD
from tests.neuronsim.values_cases import (
    Case,
    activation_cases,
    alu_cases,
    base,
    copy_cases,
    dma_cases,
    matmul_cases,
    other_cases,
)
from tests.neuronsim.values_every_dtype import every_dtype
from tests.neuronsim.values_memory import make_memory


def all_cases() -> list[Case]:
    rng = np.random.default_rng(7)
    cases = []
    for make in (alu_cases, activation_cases, copy_cases, other_cases, matmul_cases):
        for i, (name, engine, words) in enumerate(make(rng)):
            cases.append(Case(name, engine, words, i))
    for i, d in enumerate(dma_cases(rng)):
        w = base("dma_trigger", rng)
        w["count"] = 1
        cases.append(Case("dma_trigger", "sync", w, i, d))
    return cases + every_dtype(cases)


def with_indices(case: Case, memory: Memory) -> Memory:
    if case.descriptors is not None:
        rng = np.random.default_rng(case.seed)
        memory.sbuf[0, 4096 : 4096 + 128] = rng.integers(-1, 30, 32).astype(np.int32).view(np.uint8)
    return memory


def run_meaning(case: Case) -> Memory:
    memory = with_indices(case, make_memory(case.seed))
    if case.descriptors is not None:
        dma_trigger.meaning(memory, case.descriptors)
        return memory
    stationary = np.zeros((0, 0), np.float32)
    for word in case.words:
        if word["opcode"] == 1:
            stationary = load_stationary.meaning(Tiles(word, memory))
        elif word["opcode"] == 2:
            matmul.meaning(Tiles(word, memory), stationary)
        else:
            execute(word, memory, ENGINES.index(case.engine))
    return memory


def run_kernel(case: Case) -> Memory:
    memory = with_indices(case, make_memory(case.seed))
    streams = [case.words if e == case.engine else np.zeros(0, WORD) for e in ENGINES]
    descriptors = np.zeros(1, DESCRIPTOR) if case.descriptors is None else case.descriptors

    def numpy_op(op: int, sample: np.ndarray | None) -> None:
        execute(case.words[op], memory, ENGINES.index(case.engine), sample)

    executor = Executor(memory.sbuf, memory.psum, streams, descriptors, list(memory.variables.values()), numpy_op)
    actions = np.zeros(len(case.words), ACTION)
    actions["op"], actions["sample"] = np.arange(len(actions)), -1
    actions["kind"] = np.where(case.words["opcode"] == 1, LOAD, EXECUTE)
    executor.set_actions(actions, 0, 1)
    executor.run()
    return memory


def differences(a: Memory, b: Memory) -> list[str]:
    names = ["sbuf", "psum", *(f"variable {i}" for i in a.variables)]
    left, right = ([m.sbuf, m.psum, *m.variables.values()] for m in (a, b))
    return [n for n, x, y in zip(names, left, right, strict=True) if not np.array_equal(x, y)]


def digest(which: str) -> str:
    """Hash of every byte that each case changed, and where."""
    run = {"kernels": run_kernel, "meanings": run_meaning}[which]
    h = hashlib.sha256()
    for case in all_cases():
        before, after = with_indices(case, make_memory(case.seed)), run(case)
        for a, b in zip(_parts(before), _parts(after), strict=True):
            places = np.flatnonzero(a != b)
            h.update(places.tobytes())
            h.update(b[places].tobytes())
    return h.hexdigest()


def _parts(memory: Memory) -> list[np.ndarray]:
    """All memories as flat 64-bit words."""
    return [
        np.ascontiguousarray(x).reshape(-1).view(np.uint64)
        for x in (memory.sbuf, memory.psum, *memory.variables.values())
    ]


if __name__ == "__main__":
    print(digest(sys.argv[1]))
