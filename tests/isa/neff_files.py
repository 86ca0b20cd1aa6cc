"""A small program and its NEFF, for the container tests."""
from __future__ import annotations

from dataclasses import replace
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


def make_pipeline() -> Program:
    """Three stages on cores 0 to 2; the second hands `skip` on unread; weights of the first are loaded once."""
    fp32 = dtype("fp32")

    def face(kind: str, *names: str) -> list[Variable]:
        space = {"x": "dram", "y": "dram", "skip": "sbuf", "h": "sbuf"}
        return [Variable(0, n, kind, fp32, (4, 8), space=space[n]) for n in names]

    def stage(*variables: Variable, **more: object) -> Stage:
        numbered = [replace(v, id=i) for i, v in enumerate(variables, 1)]
        return Stage({"tensor": stream("nop")}, variables=numbered, **more)  # type: ignore[arg-type]

    weight = Variable(0, "w", "file", fp32, (4,), np.arange(16, dtype=np.uint8))
    load = stream("dma_trigger")
    load["count"], load["op0"] = 1, 5
    descriptors = np.zeros(1, dtype=word.DESCRIPTOR)
    descriptors["src_var"], descriptors["size"] = 2, (1, 1, 1, 4)
    descriptors["src_dtype"] = descriptors["dst_dtype"] = 1
    first = stage(*face("input", "x"), weight, *face("output", "h", "skip"), init={"sync": load},
                  descriptors=descriptors, info={"pinned_bytes": 16, "streamed_bytes": 0})
    second = stage(*face("input", "h", "skip"), *face("output", "h", "skip"))
    last = stage(*face("input", "skip", "h"), *face("output", "y"))
    nodes = [Node("s0", "neuron_core", ("x",), ("h", "skip"), 0),
             Node("s1", "neuron_core", ("h", "skip"), ("h", "skip"), 1, core=1, upstream="s0"),
             Node("s2", "neuron_core", ("skip", "h"), ("y",), 2, core=2, upstream="s1")]
    return Program("pipe", "inf1.xlarge", "v1", [TensorInfo("x", (4, 8), "float32")],
                   [TensorInfo("y", (4, 8), "float32")], nodes, [first, second, last],
                   options={"neuroncore_pipeline_cores": 3})
