"""From an optimised graph to a tile program: inputs, a lowering per node, outputs. Order and chunks are `tiling`'s."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from compiler.errors import AllocationError, UnsupportedOp
from compiler.interval_rules import Range
from compiler.ir import Graph, Node
from compiler.lowering import LOWERINGS
from compiler.lowering.context import Context, itemsize, node_label
from compiler.lowering.conv_plan import conv_phases, pads_needed, transposed_phases
from compiler.lowering.dma import dma_tensor
from compiler.lowering.dram import store_output
from compiler.lowering.handover import joint_values
from compiler.lowering.homes import Homes, plan_homes
from compiler.nonfinite import nonfinite
from compiler.options import CompileOptions
from compiler.precision import Precision
from compiler.tiling import Chunk, Tiler
from compiler.windows import ROWS, WINDOWED, is_empty
from isa import lang
from isa.errors import ErrorList
from isa.program import IN_DRAM
from isa.target import Target

SELECTS_NONNEGATIVE = ("MaxPool", "Concat", "Reshape", "AveragePool")


def lower_graph(
    graph: Graph, target: Target, precision: Precision, options: CompileOptions, outputs: list[str],
    known_nonfinite: frozenset[str] | None = None, known_ranges: Mapping[str, Range] | None = None,
    spaces: Mapping[str, str] | None = None, known_wishes: Mapping[str, int | None] | None = None,
) -> tuple[lang.TileProgram, int]:
    """The tile program of a whole graph on one core, and the bytes of values that live in DRAM for want of room.

    Args:
        precision: of the graph, or of one it was cut from.
        known_nonfinite: the graph's values that may hold infinities by design, where it was cut from a larger one.
        known_ranges: bounds of its integers that were proven on the larger one.
        known_wishes: axes that readers in other parts of it want on partitions (`lowering.wish.wishes`).
        spaces: memory ("sbuf") of what comes from the stage before or goes to the next; other faces are in DRAM.
    Raises: ErrorList of UnsupportedOp naming every node without a lowering.
    """
    check_supported(graph)
    program = lang.TileProgram(target, graph.name)
    places, positions = plan_homes(graph, precision) if options.fusion else ({}, {})
    pads, fills = plan_pads(graph)
    for root in positions:
        merge_pads(pads, root, [n for n, p in places.items() if p.root == root])
    tiler = Tiler(graph, target, precision, pads, places)
    chunks = tiler.plan()
    homes = Homes(tiler.in_place(), positions)
    ctx = Context(program, graph, target, precision, packing=options.packing, pads=pads, fills=fills, homes=homes)
    ctx.images = tiler.images
    ctx.joint = joint_values(graph)
    ctx.wishes = known_wishes or {}
    ctx.nonfinite = nonfinite(graph) if known_nonfinite is None else known_nonfinite
    if known_ranges is not None:
        ctx.cache["ranges"] = known_ranges
    spaces = spaces or {}
    for name in graph.inputs:
        shape, kind, space = graph.shape(name), precision.storage(name), spaces.get(name, IN_DRAM)
        ctx.dram[name] = program.input(name, shape or (1,), kind, space).reshape(shape)
    for name in outputs:
        shape, kind, space = graph.shape(name), precision.storage(name), spaces.get(name, IN_DRAM)
        ctx.outputs[name] = program.output(_output_name(graph, name), shape or (1,), kind, space).reshape(shape)
    for chunk in chunks:
        _lower_chunk(ctx, chunk)
    for name in outputs:
        ctx.attend([name])
        with program.layer(f"output {name}", op_type="Output", source=name):
            store_output(ctx, name, ctx.outputs[name])
    streamed = sorted(tiler.streamed - set(outputs))
    return program, sum(graph.value(n).size * itemsize(precision.storage(n)) for n in streamed)


def _output_name(graph: Graph, name: str) -> str:
    return f"{name}.out" if name in graph.inputs else name


def check_supported(graph: Graph) -> None:
    """Raises: ErrorList of UnsupportedOp, one for every node without a lowering."""
    missing = [n for n in graph.nodes if n.op not in LOWERINGS]
    if missing:
        raise ErrorList([_unsupported(n, f"operator {n.op} has no lowering on the device") for n in missing])


def _unsupported(node: Node, what: str) -> UnsupportedOp:
    error = UnsupportedOp(what, where=node.name)
    error.op, error.nodes = node.op, tuple(node.sources)
    return error


def _lower_chunk(ctx: Context, chunk: Chunk) -> None:
    made = {name for node in chunk.nodes for name in node.outputs}
    given = {name for node in chunk.nodes for name in node.inputs} - made
    for name in chunk.fresh:
        ctx.homes.forget(name)
        if name not in given or name in ctx.dram:  # rows of a value may be on chip alone, where all of it came before
            ctx.tensors.pop(name, None)
    for name, box in chunk.assembled.items():
        if name not in ctx.whole:
            ctx.windows = {name: box}
            ctx.whole[name] = ctx.output(name, (1,))
    ctx.windows, ctx.chunk = chunk.windows, chunk.number
    for name in dict.fromkeys(n for node in chunk.nodes for n in node.inputs):
        if name in ctx.whole and name not in made:  # earlier visits assembled more of it than the last one wrote
            ctx.tensors[name] = ctx.whole[name]
    for node in chunk.nodes:
        if is_empty(chunk.windows.get(node.output, {})):
            continue
        work = macs(ctx.graph, node) if chunk.counts else 0
        with ctx.program.layer(node.output, op_type=node_label(node), source=",".join(node.sources), macs=work):
            ctx.attend([*node.inputs, *node.outputs])
            _lower_node(ctx, node)
    for name in chunk.streamed:
        if not is_empty(chunk.windows.get(name, {})):
            _stream(ctx, name)
    for name in chunk.fresh:
        if name in ctx.dram:
            ctx.tensors.pop(name, None)  # a window loaded for this visit only
    for name in chunk.finished:
        ctx.tensors[name] = ctx.whole.pop(name)
    for name in chunk.dead:
        ctx.tensors.pop(name, None)


def _lower_node(ctx: Context, node: Node) -> None:
    """Emit one node. Raises: UnsupportedOp; AllocationError when one of its tensors alone exceeds a partition."""
    try:
        LOWERINGS[node.op](ctx, node)
    except UnsupportedOp as error:
        error.nodes = error.nodes or tuple(node.sources)
        raise
    except lang.LangError as error:
        if error.code != "LANG_MEMORY" or not isinstance(error.actual, int) or not isinstance(error.limit, int):
            raise _unsupported(node, f"no machine word can express it: {error.what}") from error
        raise AllocationError("sbuf", error.actual, error.limit, node.output) from error


def _stream(ctx: Context, name: str) -> None:
    """Write the window of a value that is too large for SBUF to its place in DRAM."""
    if name not in ctx.dram:
        face = ctx.outputs.get(name)
        fits = face is not None and face.dtype.name == ctx.storage(name)
        ctx.dram[name] = face if face is not None and fits else ctx.scratch(name, ctx.shape(name), ctx.storage(name))
    tensor = ctx.tensors.pop(name)
    box = ctx.windows[name]
    part = ctx.dram[name][tuple(slice(*box[a]) if a in box else slice(None) for a in range(len(tensor.shape)))]
    with ctx.program.layer(name, op_type="Stream", source=name):
        dma_tensor(ctx, tensor, part, store=True, purpose="store" if name in ctx.outputs else "spill")


def macs(graph: Graph, node: Node) -> int:
    """Useful multiply-accumulates of a node: those of the model's own products, nothing the compiler adds."""
    if node.op in ("Conv", "ConvInteger", "ConvTranspose"):
        weight = graph.shape(node.inputs[1])
        pixels = prod(graph.shape(node.inputs[0] if node.op == "ConvTranspose" else node.output)[2:])
        return graph.shape(node.inputs[0])[0] * pixels * prod(weight)
    if node.op in ("MatMul", "MatMulInteger"):
        return prod(graph.shape(node.output)) * graph.shape(node.inputs[0])[-1]
    return 0


def plan_pads(graph: Graph) -> tuple[dict[str, dict[int, tuple[int, int]]], dict[str, float]]:
    """Fill that windowed consumers read around each value, and its value (-inf before a padded MaxPool of signed)."""
    pads: dict[str, dict[int, tuple[int, int]]] = {}
    fills: dict[str, float] = {}
    for node in graph.nodes:
        if node.op not in WINDOWED:
            continue
        source = node.inputs[0]
        phases = (transposed_phases if node.op == "ConvTranspose" else conv_phases)(node, graph.shape(node.output)[2:])
        need = pads_needed(phases, graph.shape(source)[2:])
        mine = pads.setdefault(source, {})
        for axis, (before, after) in need.items():
            have = mine.get(axis, (0, 0))
            mine[axis] = (max(have[0], before), max(have[1], after))
        if node.op == "MaxPool" and any(b != (0, 0) for b in need.values()) and not nonnegative(graph, source):
            fills[source] = -np.inf
    for node in reversed(graph.nodes):
        _through_views(graph, node, pads)
    return pads, fills


def _through_views(graph: Graph, node: Node, pads: dict[str, dict[int, tuple[int, int]]]) -> None:
    """Fill wanted by a view's readers is wanted of the tensor behind it, where the trailing axes are the same."""
    if node.op == "Slice" and node.attrs.get("rows") and node.output in pads:
        _around_rows(graph, node, pads)
    if node.op not in ("Reshape", "Transpose") or node.output not in pads:
        return
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    perm = node.attrs.get("perm", list(range(len(before)))) if node.op == "Transpose" else list(range(len(before)))
    for axis, need in pads[node.output].items():
        back = len(after) - axis
        same = back <= len(before) and before[-back:] == after[-back:]
        if node.op == "Transpose":
            same = same and perm[-back:] == list(range(len(before) - back, len(before)))
        if same and need != (0, 0):
            mine = pads.setdefault(node.inputs[0], {})
            have = mine.get(len(before) - back, (0, 0))
            mine[len(before) - back] = (max(have[0], need[0]), max(have[1], need[1]))


def _around_rows(graph: Graph, node: Node, pads: dict[str, dict[int, tuple[int, int]]]) -> None:
    """Rows of an image lie between its pads; those above and below only where they are its first and last."""
    first, end = (int(bound[0]) for k in (1, 2) if (bound := graph.const(node.inputs[k])) is not None)
    need = dict(pads[node.output])
    before, after = need.get(ROWS, (0, 0))
    need[ROWS] = before if first == 0 else 0, after if end == graph.shape(node.inputs[0])[ROWS] else 0
    mine = pads.setdefault(node.inputs[0], {})
    for axis, (before, after) in need.items():
        have = mine.get(axis, (0, 0))
        mine[axis] = max(have[0], before), max(have[1], after)


def merge_pads(pads: dict[str, dict[int, tuple[int, int]]], root: str, parts: list[str]) -> None:
    """Parts of a shared tensor have its pads: the most any of them needs."""
    mine = pads.setdefault(root, {})
    for part in parts:
        for axis, (before, after) in pads.get(part, {}).items():
            have = mine.get(axis, (0, 0))
            mine[axis] = (max(have[0], before), max(have[1], after))


def nonnegative(graph: Graph, name: str, depth: int = 0) -> bool:
    """Whether a value is known to be at least 0."""
    node = graph.producer(name)
    if node is None or depth > 16:
        return False
    steps = node.attrs.get("epilogue", ())
    if steps:
        last = steps[-1]
        return (last[0] == "act" and last[1] in ("relu", "sigmoid", "exp", "abs")) or (
            last[0] == "clip" and last[1] >= 0
        )
    if node.op in ("Relu", "Sigmoid", "Exp", "Abs", "Softmax"):
        return True
    if node.op == "Clip":
        low = graph.const(node.input(1))
        return low is not None and float(low) >= 0
    return (node.op in SELECTS_NONNEGATIVE or node.attrs.get("rows", False)) and all(
        nonnegative(graph, i, depth + 1) for i in node.inputs if i and not graph.is_const(i)
    )
