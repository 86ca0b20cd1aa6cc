"""Running sums and products along one axis, row by row on the vector engine."""
from __future__ import annotations

from compiler.errors import UnsupportedOp
from compiler.ir import Graph, Node
from compiler.layout import Tensor
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.reduce import free_dims, free_last
from compiler.lowering.rows import lines, reverse
from isa.target import Target

RUNNING = {"CumSum": ("add", 0.0), "CumProd": ("mult", 1.0)}


def cumulative_condition(graph: Graph, node: Node, target: Target) -> str:
    """The axis has to be known, and a row within reach of one access."""
    shape, axis = graph.shape(node.inputs[0]), graph.const(node.inputs[1])
    if not shape:
        return f"a {node.op} of a single number has no axis"
    if axis is None:
        return f"the axis of a {node.op} is computed at run time"
    width = shape[int(axis.reshape(-1)[0])]
    if width > MOST_FREE["sbuf"]:
        return f"a {node.op} along {width} elements; an engine reaches {MOST_FREE['sbuf']} of a row"
    return ""


def lower_cumulative(ctx: Context, node: Node) -> None:
    """Result i combines elements 0..i, without i itself if `exclusive`, from the other end if `reverse`."""
    name = node.output
    constant = ctx.graph.const(node.inputs[1])
    if constant is None:
        raise UnsupportedOp(cumulative_condition(ctx.graph, node, ctx.target), where=node.name)
    axis = int(constant.reshape(-1)[0]) % len(ctx.shape(name))
    op, neutral = RUNNING[node.op]
    x = free_last(ctx, ctx.tensor(node.inputs[0]), [axis])
    pmap = x.pmap.reshape([x.shape[a] for a in x.p_axes()])
    out = ctx.alloc(x.shape, x.p_axes(), ctx.storage(name), pmap=pmap, name=name)
    ctx.tensors[name] = out
    if node.attrs.get("reverse"):
        x, out = reverse(x, axis), reverse(out, axis)
    if node.attrs.get("exclusive"):
        ctx.fill(_part(out, axis, 0, 1), neutral)
        if x.shape[axis] == 1:
            return
        x, out = _part(x, axis, 0, x.shape[axis] - 1), _part(out, axis, 1, x.shape[axis])
    for line in lines((x, [axis]), (out, [axis])):
        src, dst = (t.view(run, free_dims(t, [axis]), at)
                    for t, run, at in zip((x, out), line.runs, line.at, strict=True))
        ctx.charge("vector", src.count / ctx.target.engines["vector"].clock_ghz)
        ctx.program.tensor_scalar_cumulative(dst, src, "mult", 1.0, op, neutral)


def _part(t: Tensor, axis: int, start: int, stop: int) -> Tensor:
    cut = t.slice_axis(axis, start, stop)
    assert cut is not None, "the axis is one atom"
    return cut
