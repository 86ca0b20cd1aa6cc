"""Programs of a wanted number of cores, and of a wanted size, for the tests of the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from compiler.backend import build
from isa import target as targets
from isa.dtypes import dtype
from isa.lang import TileProgram
from isa.program import (
    HANDOVER_ALIGNMENT,
    HANDOVER_BUFFERS,
    IN_DRAM,
    IN_SBUF,
    INPUT,
    Node,
    Program,
    Stage,
    TensorInfo,
    Variable,
)
from neuronsim.values import Core
from tests.neuronsim.pinned_programs import COLUMNS as PINNED_COLUMNS
from tests.neuronsim.pinned_programs import product

ROWS, COLUMNS = 8, 16
HANDED = HANDOVER_BUFFERS * HANDOVER_ALIGNMENT  # bytes of a partition for a tensor of 4 bytes in each
GENERATION = {"inf1": "v1", "trn1": "v2", "trn2": "v3"}


@cache
def relu_stage(
    target: str, source: str, result: str, source_space: str = IN_DRAM, result_space: str = IN_DRAM
) -> Stage:
    """result = relu(source), [ROWS, COLUMNS] fp32."""
    p = TileProgram(target)
    x = p.input(source, (ROWS, COLUMNS), "fp32", source_space)
    y = p.output(result, (ROWS, COLUMNS), "fp32", result_space)
    with p.layer("relu", "Relu", "relu"):
        loaded, made = p.sbuf((ROWS, COLUMNS), "fp32"), p.sbuf((ROWS, COLUMNS), "fp32")
        p.dma(loaded, x)
        p.activation(made, loaded, "relu")
        p.dma(y, made)
    return build(p, handover_bytes=HANDED if source_space == IN_SBUF else 0)


def pipeline(cores: int, target: str = "inf1.6xlarge", name: str = "m", space: str = IN_DRAM) -> Program:
    """A chain of relus, t0 -> t1 -> ..., one stage on each of `cores` cores, handed on by way of `space`."""
    spaces = [IN_DRAM, *[space] * (cores - 1), IN_DRAM]
    stages = [relu_stage(target, f"t{k}", f"t{k + 1}", *spaces[k : k + 2]) for k in range(cores)]
    nodes = [
        Node(f"n{k}", "neuron_core", (f"t{k}",), (f"t{k + 1}",), k, core=k, upstream=f"n{k - 1}" if k else "")
        for k in range(cores)
    ]
    inputs, outputs = ([TensorInfo(n, (ROWS, COLUMNS), "float32")] for n in ("t0", f"t{cores}"))
    return Program(name, target, GENERATION[target[:4]], inputs, outputs, nodes, stages)


def on_one_core(program: Program) -> Program:
    """The same stages one after the other on one core, their tensors by way of device memory and the host."""
    return replace(program, nodes=[replace(node, core=0, upstream="") for node in program.nodes])


def run_alone(program: Program, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of the last device stage, each run on one core after the one before it has been unloaded."""
    tensors = dict(inputs)
    for stage in program.stages:
        tensors = Core(stage, targets.load(program.target)).run(
            None, {v.name: tensors[v.name] for v in stage.variables if v.kind == INPUT}
        )
    return tensors


def heavy(weights: int, scratch: int = 0, target: str = "inf1.6xlarge", name: str = "big") -> Program:
    """One stage that declares so many bytes of weights and of scratch, and no data for them."""
    base = relu_stage(target, "t0", "t1")
    sizes = (("w", "file", weights), ("s", "tmp-buf", scratch))
    extra = [Variable(3 + k, name, kind, dtype("int8"), (n,)) for k, (name, kind, n) in enumerate(sizes)]
    stage = Stage(base.streams, base.descriptors, [*base.variables, *extra], base.debug)
    inputs, outputs = ([TensorInfo(n, (ROWS, COLUMNS), "float32")] for n in ("t0", "t1"))
    nodes = [Node("n", "neuron_core", ("t0",), ("t1",), 0)]
    return Program(name, target, GENERATION[target[:4]], inputs, outputs, nodes, [stage])


def pinned(name: str = "pinned", is_pinned: bool = True) -> Program:
    """y = relu(w @ x) on one core of a trn1.2xlarge, its weight loaded once, or by every run."""
    inputs, outputs = ([TensorInfo(n, (128, PINNED_COLUMNS), "float32")] for n in ("x", "y"))
    nodes = [Node("n", "neuron_core", ("x",), ("y",), 0)]
    return Program(name, "trn1.2xlarge", "v2", inputs, outputs, nodes, [product(is_pinned)])
