"""What a compilation says about itself: the `Program` around its segments and the fields of report.json."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from compiler.frontends.onnx.faces import tensor_info
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
        if not part.stages:
            models[f"cpu/{label}.onnx"] = part.model
            nodes.append(Node(label, "cpu", tuple(part.inputs), tuple(part.outputs), model=f"cpu/{label}.onnx"))
            continue
        nodes += stage_nodes(part, label, len(stages))
        stages += [built.stage for built in part.stages]
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
            "stages": [stage_report(stages[n.stage], n.core) for n in nodes if n.kind == "neuron_core"],
            "spill_bytes": sum(cast(int, s.info["spill_bytes"]) for s in stages),
            "auto_cast": precision.auto_cast,
            "notes": [n for n in (*graph.notes, precision.announce, *(n for c in compiled for n in c.notes)) if n],
        },
        options=options.record(),
    )


def stage_nodes(part: Compiled, label: str, first: int) -> list[Node]:
    """The nodes of a device segment, whose stages are the program's from number `first` on: one after the other."""
    names = [label if len(part.stages) == 1 else f"{label}.{k}" for k in range(len(part.stages))]
    return [
        Node(name, "neuron_core", tuple(built.inputs), tuple(built.outputs), stage=first + k, core=part.core + k,
             upstream=names[k - 1] if k else "")
        for k, (name, built) in enumerate(zip(names, part.stages, strict=True))
    ]


def partition_report(graph: Graph, found: Partition) -> dict[str, Any]:
    """The fields of report.json that say what runs where. Operators are the model's: `graph` is as imported."""
    every = {s: None for n in graph.nodes for s in (n.sources or [n.name])}
    listed: dict[str, dict[str, str]] = {}
    for node in graph.nodes:
        for source in (node.sources or [node.name]) if node.name in found.reasons else ():
            listed.setdefault(source, {"name": source, "op_type": operator_name(node),
                                       "reason": found.reasons[node.name]})
    return {
        **({"model": dict(graph.source)} if graph.source else {}),
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


def stage_report(stage: Stage, core: int) -> dict[str, object]:
    """The `stages` entry of report.json. Weights are streamed from DRAM in every run as far as they are not pinned."""
    info = stage.info
    return {
        "core": core,
        "weights_bytes": info["weights_bytes"],
        "sbuf_peak_bytes": stage.sbuf_peak_bytes,
        "psum_peak_bytes": stage.psum_peak_bytes,
        "instructions": info["instructions"],
        "estimated_ns": info["estimated_ns"],
        "pinned_bytes": info.get("pinned_bytes", 0),
        "streamed_bytes": info.get("streamed_bytes", info["weights_bytes"]),
        "handover_bytes": info.get("handover_bytes", 0),
    }


def _bytes(graph: Graph, names: Sequence[str]) -> int:
    return sum(graph.value(n).nbytes for n in names)
