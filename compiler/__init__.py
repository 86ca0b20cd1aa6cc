"""Compiler: a trained network to an instruction program. Not responsible for running it."""
from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from compiler.ir import Graph
    from compiler.options import CompileOptions
    from isa.program import Program


def compile_model(model: str | Path, options: CompileOptions, *, keep_tensors: bool = False) -> Program:
    """Compile a model file to a program.

    Args:
        model: path of an ONNX file.
        options: what to make of it.
        keep_tensors: every value that exists after fusion becomes an output too (for layer-by-layer comparison).
    Returns: the program; `isa.neff.write` stores it.
    Raises: CompileError and its kinds, ErrorList of them; TargetError.
    """
    from compiler.frontends import onnx as frontend

    started = time.perf_counter()
    graph = frontend.load(Path(model), dict(options.input_shapes) or None, options.batch)
    return compile_graph(graph, options, keep_tensors=keep_tensors, started=started)


def compile_graph(
    graph: Graph, options: CompileOptions, *, keep_tensors: bool = False, started: float | None = None
) -> Program:
    """Compile an imported graph; the rest as `compile_model`."""
    from compiler.backend.build import build
    from compiler.lower import lower_graph
    from compiler.pipeline import optimise
    from compiler.precision import Precision
    from compiler.report import program_of
    from compiler.sizes import check_sizes
    from isa import target as targets

    began = time.perf_counter() if started is None else started
    target = targets.load(options.target)
    check_sizes(graph, target)
    faces = [graph.value(n) for n in graph.inputs], [graph.value(n) for n in graph.outputs]
    total = len({s for node in graph.nodes for s in (node.sources or [node.name])})
    optimise(graph, level=options.opt_level, fusion=options.fusion, print_after=options.print_after)
    if keep_tensors:
        graph.outputs = list(dict.fromkeys([*graph.outputs, *(o for n in graph.nodes for o in n.outputs if o)]))
    auto_cast = options.auto_cast or ("matmult" if target.generation == "v1" else "none")
    precision = Precision(graph, target, auto_cast, options.auto_cast_type)
    program, streamed_bytes = lower_graph(graph, target, precision, options, list(graph.outputs))
    stage = build(program, options)
    stage.info["spill_bytes"] = cast(int, stage.info["spill_bytes"]) + streamed_bytes
    return program_of(graph, faces, stage, target, options, precision, total, time.perf_counter() - began)
