"""Compiler: a trained network to an instruction program. Not responsible for running it."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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

    graph = frontend.load(Path(model), dict(options.input_shapes) or None, options.batch)
    return compile_graph(graph, options, keep_tensors=keep_tensors)


def compile_graph(graph: Graph, options: CompileOptions, *, keep_tensors: bool = False) -> Program:
    """Compile an imported graph, which is not changed; the rest as `compile_model`."""
    from compiler.partition import Partitioner
    from compiler.pipeline import check_names
    from compiler.report import program_of
    from compiler.segments import Compiler
    from compiler.sizes import check_sizes
    from isa import target as targets

    check_names(set(options.print_after) - {"all"})
    target = targets.load(options.target)
    check_sizes(graph, target)
    compiler = Compiler(target, options, keep_tensors)
    found, compiled = compiler.run(Partitioner(graph, target, options))
    return program_of(graph, found, compiled, target, options, compiler.precision(graph), keep_tensors)
