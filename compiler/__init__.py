"""Compiler: a trained network to an instruction program. Not responsible for running it."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.frontends.inputs import Given
    from compiler.ir import Graph
    from compiler.options import CompileOptions
    from compiler.search import Choice
    from isa.program import Program

Progress = Callable[[int, int], None]  # how many compilations of a search are done, of how many


def compile_model(
    model: str | Path, options: CompileOptions, *, keep_tensors: bool = False, progress: Progress | None = None
) -> Program:
    """Compile a model file to a program.

    Args:
        model: path of a model file, one file of several that belong together, a folder, or an archive of these.
        options: what to make of it.
        keep_tensors: every value that exists after fusion becomes an output too (for layer-by-layer comparison).
        progress: told how far a search for the number of cores is.
    Returns: the program; `isa.neff.write` stores it.
    Raises: CompileError and its kinds, ErrorList of them; TargetError.
    """
    from compiler import frontends

    graph = frontends.load(model, given(options), options.framework)
    return compile_graph(graph, options, keep_tensors=keep_tensors, progress=progress, model=Path(model))


def given(options: CompileOptions) -> Given:
    """What the options say about the model's face."""
    from compiler.frontends.inputs import Given

    return Given(options.input_shapes, options.input_dtypes, options.batch, options.outputs)


def compile_graph(
    graph: Graph, options: CompileOptions, *, keep_tensors: bool = False, progress: Progress | None = None,
    model: Path | None = None,
) -> Program:
    """Compile an imported graph, which is not changed; the rest as `compile_model`.

    Args:
        model: the file the graph was read from, so that a search can compile it in several processes at once.
    """
    from compiler.options import AUTO

    if options.neuroncore_pipeline_cores != AUTO:
        return _compile(graph, options, keep_tensors)
    choice = _search(graph, options, progress, model)
    chosen = replace(options, neuroncore_pipeline_cores=choice.cores)
    program = _compile(graph, chosen, keep_tensors)
    return replace(program, report={**program.report, "auto": choice.report()})


def _search(graph: Graph, options: CompileOptions, progress: Progress | None, model: Path | None) -> Choice:
    from compiler.search import here, in_processes, search
    from isa import target as targets

    if model is None or options.subgraph_builder_function is not None:  # a function cannot be given to a process
        evaluate = here(lambda n: _compile(graph, replace(options, neuroncore_pipeline_cores=n), False), progress)
    else:
        evaluate = in_processes(model, options, progress)
    weights = sum(value.size for value in graph.values.values() if value.const is not None)
    return search(evaluate, targets.load(options.target), options.optimize_for, weights)


def _compile(graph: Graph, options: CompileOptions, keep_tensors: bool) -> Program:
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
