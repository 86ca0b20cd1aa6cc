"""Products of 8-bit integers, which `expand` has made into products of bfloat16 with exact sums, and their sums."""
from __future__ import annotations

from compiler.ir import Graph, Node
from compiler.lowering.context import Context
from compiler.lowering.conv import conv_condition, lower_conv
from compiler.lowering.matmul import lower_matmul
from compiler.lowering.move import apply
from compiler.lowering.operand import operand_like
from isa.lang import View
from isa.target import Target

#: the only engine that adds 32-bit integers exactly
INTEGER_ENGINE = "gpsimd"


def integer_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why this integer product was not expanded, or has no lowering after that; "" when it has one."""
    if graph.dtype(node.inputs[0]) != "bfloat16":
        return "sums of so many products may exceed the integers that fp32 holds exactly, and cannot be cut"
    if node.attrs.get("wide") and not target.engines[INTEGER_ENGINE].present:
        return f"sums may exceed 2^24, and {target.generation} has no engine that adds 32-bit integers exactly"
    return conv_condition(graph, node, target) if node.op == "ConvInteger" else ""


def lower_matmul_integer(ctx: Context, node: Node) -> None:
    """bf16 [.., M, K] x [.., K, N] to int32, plus the fifth input."""
    lower_matmul(ctx, node)
    _add(ctx, node)


def lower_conv_integer(ctx: Context, node: Node) -> None:
    """bf16 convolution to int32, plus the fifth input."""
    lower_conv(ctx, node)
    _add(ctx, node)


def _add(ctx: Context, node: Node) -> None:
    """The fifth input added to the result in place, unless the convolution's own tail adds it."""
    if not node.input(4) or node.attrs.get("epilogue"):
        return
    name = node.output
    out = ctx.tensor(name)
    engines = (INTEGER_ENGINE,) if node.attrs.get("wide") else ("vector", INTEGER_ENGINE)

    def emit(dst: View, src: list[View], n: int) -> None:
        ctx.program.tensor_tensor(dst, src[0], src[1], "add", engine=ctx.pick(engines, 2 * n))

    apply(ctx, out, [out, operand_like(ctx, node.inputs[4], out)], emit)
    ctx.tensors[name] = out
    ctx.dram.pop(name, None)  # a large product may be in DRAM, without the sum
