"""Small programs that one resource of the machine limits, or two that hide each other; by hand, on inf1.6xlarge."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from isa import target as targets
from isa.dtypes import BY_NAME
from isa.program import IN_SBUF, INPUT, OUTPUT, Node, Program, Stage, Variable
from isa.target import Target
from tests.neuronsim.timing_programs import activation, copy, dram_to_sbuf, load, matmul, stage, trigger, word
from tests.neuronsim.timing_slots import handing

INSTANCE = "inf1.6xlarge"
ONE_CORE_CHIPS = targets.load(INSTANCE).with_params({"cores_per_chip": 1})  # neighbouring cores are on different chips
HALF = 65536  # of a partition: sources below, results above
SLOW_SIGNALS = targets.load(INSTANCE).with_params({"semaphore_latency_ns": 500})


def program(*stages: Stage) -> Program:
    """A pipeline of the stages, one core each; a single one is a program for one core."""
    nodes = [
        Node(f"n{k}", "neuron_core", (), (), k, core=k, upstream=f"n{k - 1}" if k else "") for k in range(len(stages))
    ]
    return Program("bound", INSTANCE, "v1", [], [], nodes, list(stages))


def products(count: int) -> list[np.ndarray]:
    """`count` matmuls of one stationary matrix, 1024 cycles each."""
    return [load(), *(matmul() for _ in range(count))]


def copies(count: int, columns: int = 1024, **fields: object) -> list[np.ndarray]:
    """Copies on the vector engine, none of which reads what another writes."""
    return [copy(HALF, 0, columns, **fields) for _ in range(count)]


def rallies(count: int) -> Stage:
    """Two sequencers that wait for each other in turn, with nothing else to do."""
    turn = range(1, count + 1)
    return stage(
        sync=[word("nop", wait=((1, n - 1),) if n > 1 else (), post=(2, 1)) for n in turn],
        tensor=[word("nop", wait=((2, n),), post=(1, 1)) for n in turn],
    )


def hops(count: int) -> Stage:
    """Tiny transfers, each started when the last has come."""
    words = [trigger(0, wait=((16, 16 * n),) if n else ()) for n in range(count)]
    return stage([dram_to_sbuf(128, 4)], sync=words)


def fetches(count: int, row_bytes: int) -> Stage:
    """`count` transfers at once, of rows of so many bytes to all partitions."""
    return stage([dram_to_sbuf(128, row_bytes)], sync=[trigger(0, semaphore=16 + k) for k in range(count)])


def stores(count: int) -> Stage:
    """The same to the SBUF of the next core."""
    sending = handing(fetches(count, 8192), IN_SBUF, stored=[True])
    sending.variables = [replace(v, shape=(1,)) if v.kind == INPUT else v for v in sending.variables]
    return sending


def with_tensors(inner: Stage, size_bytes: int) -> Stage:
    """The stage with an input and an output of that size, which cross the host link."""
    fp32 = BY_NAME["fp32"]
    inner.variables = [Variable(1, "x", INPUT, fp32, (size_bytes // 4,)), Variable(2, "y", OUTPUT, fp32, (1,))]
    return inner


def side_by_side(products_: int, copies_: int) -> Stage:
    """Two engines at work at once."""
    return stage(tensor=products(products_), vector=copies(copies_))


# what limits it -> program and machine
BOUND: dict[tuple[str, ...], Callable[[], tuple[Program, Target]]] = {
    ("tensor engine",): lambda: (program(stage(tensor=products(60), vector=copies(20))), targets.load(INSTANCE)),
    ("vector engine",): lambda: (program(stage(vector=copies(60), tensor=products(20))), targets.load(INSTANCE)),
    ("scalar engine",): lambda: (
        program(stage(scalar=[activation(HALF, 0, 1024) for _ in range(60)], vector=copies(20))), targets.load(INSTANCE)
    ),
    ("DMA engines",): lambda: (program(fetches(30, 4)), targets.load(INSTANCE)),
    ("DMA start latency",): lambda: (program(hops(30)), targets.load(INSTANCE)),
    ("DRAM bandwidth",): lambda: (program(fetches(10, 8192)), targets.load(INSTANCE)),
    ("semaphore latency",): lambda: (program(rallies(50)), SLOW_SIGNALS),
    ("host link",): lambda: (program(with_tensors(side_by_side(2, 2), 1 << 20)), targets.load(INSTANCE)),
    ("chip-to-chip link",): lambda: (
        program(stores(8), stores(8), stores(8), stage(vector=copies(330))), ONE_CORE_CHIPS
    ),
    ("stage balance",): lambda: (program(stage(vector=copies(10)), stage(vector=copies(60))), ONE_CORE_CHIPS),
    ("tensor engine", "vector engine"): lambda: (program(side_by_side(60, 60)), targets.load(INSTANCE)),
}  # fmt: skip
