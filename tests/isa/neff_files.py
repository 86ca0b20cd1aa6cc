"""A small program and its NEFF, for the container tests."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from isa import word
from isa.dtypes import dtype
from isa.neff import archive
from isa.program import DebugEntry, Node, Program, Stage, TensorInfo, Variable
from isa.spec import SPEC

WEIGHT_MEMBER = "sg00/weights/00003.bin"


def stream(*opcodes: str) -> np.ndarray:
    words = np.zeros(len(opcodes), dtype=word.WORD)
    words["opcode"] = [SPEC.by_name[o].opcode for o in opcodes]
    return words


def make_stage() -> Stage:
    sync = stream("dma_trigger", "dma_trigger")
    sync["count"], sync["arg"], sync["op0"], sync["debug"] = 1, [0, 1], [2, 3], 1
    descriptors = np.zeros(2, dtype=word.DESCRIPTOR)
    descriptors["src_var"], descriptors["dst_var"] = [1, 0], [0, 2]
    descriptors["size"], descriptors["src_dtype"], descriptors["dst_dtype"] = (1, 1, 4, 8), 1, [1, 2]
    weight = np.random.default_rng(7).integers(0, 256, 100, dtype=np.uint8)
    variables = [
        Variable(1, "x", "input", dtype("fp32"), (4, 8)),
        Variable(2, "y", "output", dtype("bf16"), (4, 8)),
        Variable(3, "conv1.weight", "file", dtype("fp32"), (5, 5), weight),
        Variable(4, "t", "tmp-buf", dtype("fp32"), (1,)),
        Variable(5, "empty", "file", dtype("fp32"), (0, 5), np.zeros(0, dtype=np.uint8)),
    ]
    debug = [DebugEntry(), DebugEntry("conv1", "Conv+Relu", "n1,n2", "compute", 12345)]
    return Stage({"sync": sync, "tensor": stream("nop")}, descriptors, variables, debug, 1024, 64, {"spill_bytes": 0})


def make_program() -> Program:
    nodes = [Node("s0", "neuron_core", ("x",), ("h",), 0), Node("c0", "cpu", ("h",), ("y",), -1, "cpu/seg0.onnx")]
    return Program("net", "trn1.2xlarge", "v2", [TensorInfo("x", (4, 8), "float32")],
                   [TensorInfo("y", (4, 8), "bfloat16")], nodes, [make_stage()], {"cpu/seg0.onnx": b"onnx bytes"},
                   {"operators": {"total": 3, "on_device": 2, "on_cpu": 1}, "compile_seconds": 1.5},
                   {"batch": np.int64(1), "neuroncore_pipeline_cores": 1})


def weight_offset(path: Path) -> int:
    view = memoryview(path.read_bytes())
    return next(m.offset for m in archive.members(view) if m.name == WEIGHT_MEMBER)
