"""What a compilation says about itself: the `Program` around its segments and the fields of report.json."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from compiler.frontends.onnx_faces import tensor_info
from compiler.ir import Graph, Value
from compiler.options import CompileOptions
from compiler.partition import Partition
from compiler.partition.choice import operator_name
from compiler.precision import Precision
from compiler.segments import Compiled
from isa.program import Node, Program, Stage
from isa.target import Target


def program_of(
    graph: Graph, found: Partition, compiled: Sequence[Compiled], target: Target, options: CompileOptions,
    precision: Precision, kept: bool,
) -> Program:
    """The program of a graph whose segments are compiled.

    Args:
        graph: as imported.
        kept: every result of a segment is an output of the program, after the model's own.
    """
    name = graph.name or "model"
    nodes: list[Node] = []
    stages: list[Stage] = []
    models: dict[str, bytes] = {}
    values: dict[str, Value] = {o: graph.value(o) for o in graph.outputs}
    for part in compiled:
        values |= {o: v for o in part.outputs if kept and o not in values and not (v := part.graph.value(o)).host}
        label = name if len(compiled) == 1 else part.segment.graph.name
        faces = tuple(part.inputs), tuple(part.outputs)
        if part.stage is None:
            models[f"cpu/{label}.onnx"] = part.model
            nodes.append(Node(label, "cpu", *faces, model=f"cpu/{label}.onnx"))
        else:
            nodes.append(Node(label, "neuron_core", *faces, stage=len(stages)))
            stages.append(part.stage)
    return Program(
        name=name,
        target=target.name,
        generation=target.generation,
        inputs=[tensor_info(graph.value(i)) for i in graph.inputs],
        outputs=[tensor_info(v) for v in values.values()],
        nodes=nodes,
        stages=stages,
        cpu_models=models,
        report={
            **partition_report(graph, found),
            "stages": [stage_report(s) for s in stages],
            "spill_bytes": sum(cast(int, s.info["spill_bytes"]) for s in stages),
            "auto_cast": precision.auto_cast,
            "notes": [n for n in (*graph.notes, precision.announce) if n],
        },
        options=options.record(),
    )


def partition_report(graph: Graph, found: Partition) -> dict[str, Any]:
    """The fields of report.json that say what runs where. Operators are the model's: `graph` is as imported."""
    every = {s: None for n in graph.nodes for s in (n.sources or [n.name])}
    listed: dict[str, dict[str, str]] = {}
    for node in graph.nodes:
        for source in (node.sources or [node.name]) if node.name in found.reasons else ():
            listed.setdefault(source, {"name": source, "op_type": operator_name(node),
                                       "reason": found.reasons[node.name]})
    return {
        "operators": {"total": len(every), "on_device": len(every) - len(listed), "on_cpu": len(listed)},
        "cpu_operators": list(listed.values()),
        "segments": [
            {
                "name": s.graph.name, "kind": s.kind, "operators": len(s.sources), "inputs": list(s.graph.inputs),
                "outputs": list(s.graph.outputs), "input_bytes": _bytes(s.graph, s.graph.inputs),
                "output_bytes": _bytes(s.graph, s.graph.outputs),
            }
            for s in found.segments
        ],
    }


def one_line(report: Mapping[str, Any]) -> str:
    """The line that every compilation prints."""
    counts, segments = report["operators"], len(report["segments"])
    return (f"{counts['on_device']} of {counts['total']} operators on device, {counts['on_cpu']} on CPU in "
            f"{segments} segment{'' if segments == 1 else 's'}")


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


def _bytes(graph: Graph, names: Sequence[str]) -> int:
    return sum(graph.value(n).nbytes for n in names)
