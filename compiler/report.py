"""What a compilation says about itself: the `Program` around the stage and the fields of report.json."""
from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Graph, Value
from compiler.options import CompileOptions
from compiler.precision import Precision
from isa.program import Node, Program, Stage, TensorInfo
from isa.target import Target


def program_of(
    graph: Graph, faces: tuple[Sequence[Value], Sequence[Value]], stage: Stage, target: Target, options: CompileOptions,
    precision: Precision, operators: int, seconds: float,
) -> Program:
    """The program of a graph that runs wholly on one core."""
    inputs = [TensorInfo(v.name, v.shape, v.dtype) for v in faces[0]]
    outputs = [TensorInfo(n, graph.shape(n), graph.dtype(n)) for n in graph.outputs]
    node = Node(
        graph.name or "model", "neuron_core", tuple(t.name for t in inputs), tuple(t.name for t in outputs), stage=0
    )
    report = {
        "operators": {"total": operators, "on_device": operators, "on_cpu": 0},
        "cpu_operators": [],
        "stages": [stage_report(stage)],
        "spill_bytes": stage.info["spill_bytes"],
        "auto_cast": precision.auto_cast,
        "notes": [n for n in (*graph.notes, precision.announce) if n],
    }
    del seconds  # measured by the caller's report.json: a program's bytes do not depend on the clock
    return Program(
        name=graph.name or "model",
        target=target.name,
        generation=target.generation,
        inputs=inputs,
        outputs=outputs,
        nodes=[node],
        stages=[stage],
        report=report,
        options=options.record(),
    )


def stage_report(stage: Stage) -> dict[str, object]:
    """The `stages` entry of report.json."""
    weights = stage.info["weights_bytes"]
    return {
        "core": 0,
        "weights_bytes": weights,
        "sbuf_peak_bytes": stage.sbuf_peak_bytes,
        "psum_peak_bytes": stage.psum_peak_bytes,
        "instructions": stage.info["instructions"],
        "estimated_ns": stage.info["estimated_ns"],
        "pinned_bytes": 0,
        "streamed_bytes": weights,
    }
