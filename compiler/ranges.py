"""Proven bounds of integer values, and whether an operator's integer arithmetic is exact on the device.

Engines compute in fp32: integers are exact up to 2^24 in magnitude. Bounds follow from constants, element types and
the operators in between (`compiler/interval_rules.py`); nothing is assumed about inputs but their type.
"""
from __future__ import annotations

import numpy as np

from compiler.interval_rules import EXACT, RULES, Facts, Range, type_range, within
from compiler.ir import Graph, Node

#: types that can hold more than fp32 represents exactly
WIDE = frozenset({"int32", "int64", "uint32", "uint64"})
#: results are elements of operands, bits of them, positions, comparisons or conversions: exact for all 32 bits
MOVES = frozenset({
    "And", "BitCast", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "CenterCropPad", "Compress",
    "Concat", "ConstantOfShape", "DepthToSpace", "Dropout", "DynamicQuantizeLinear", "Equal", "Expand", "EyeLike",
    "Flatten", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
    "Max", "MaxUnpool", "Min", "NonZero", "Not", "OneHot", "Or", "Pad", "QuantizeLinear", "Reshape", "Resize",
    "ReverseSequence", "RotaryEmbedding", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze",
    "TensorScatter", "Tile", "Transpose", "Trilu", "Unsqueeze", "Upsample", "Where", "Xor",
})
SCATTERS = frozenset({"ScatterElements", "ScatterND"})
#: multiply-accumulate of 8-bit integers: the condition of their lowering says how long a sum may be
QUANTISED = frozenset({"ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"})
#: inputs from this position on are axes, sizes, lengths or labels, which are compared or select, never computed with
PARAMETERS = {
    **dict.fromkeys((
        "AffineGrid", "Col2Im", "CumSum", "DFT", "NegativeLogLikelihoodLoss", "ReduceL1", "ReduceL2", "ReduceLogSum",
        "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
        "SoftmaxCrossEntropyLoss", "TopK",
    ), 1),
    "RoiAlign": 2, "GRU": 4, "LSTM": 4, "RNN": 4, "Attention": 6,
}


def ranges(graph: Graph) -> dict[str, Range]:
    """Inclusive bounds of integer and bool values, by name; absent: only what the element type says.

    Nodes that the host runs give no bounds. A result that may leave its type's range, and so wrap, gets none either.
    """
    known: dict[str, Range] = {}
    for value in graph.constants():
        if value.const is not None and value.const.size and _integer(value.dtype):
            array = value.const if value.const.dtype.kind in "biu" else value.const.astype(np.int8)  # 4 bits and fewer
            known[value.name] = int(array.min()), int(array.max())
    for node in graph.nodes:
        for index, name in enumerate(node.outputs):
            if not name or node.host or not _integer(graph.dtype(name)):
                continue
            found = _result(graph, node, index, known)
            if found is not None and within(found, type_range(graph.dtype(name))):
                known[name] = found
    return known


def integer_reason(graph: Graph, node: Node, known: dict[str, Range]) -> str:
    """Why the device cannot compute a node's integers exactly; "" when it can.

    Args:
        known: `ranges(graph)`.
    An integer exponent of a float counts as a float, as it does in ONNX Runtime.
    """
    computed = PARAMETERS.get(node.op) if node.op != "Pow" or _integer(graph.dtype(node.inputs[0])) else 1
    selects = node.input(1) if node.op in SCATTERS else ""
    operands = [n for n in node.inputs[:computed] if n and n != selects and graph.dtype(n) in WIDE]
    results = [(k, n) for k, n in enumerate(node.outputs) if n and graph.dtype(n) in WIDE]
    if node.domain or node.op in QUANTISED or not (operands or results):
        return ""
    if node.op in ("BitShift", "BitwiseNot"):
        return _bits_reason(graph, node, known)
    if node.op in MOVES or (node.op in SCATTERS and node.attrs.get("reduction", "none") == "none"):
        return ""
    for name in operands:
        if not _below(_bounds(graph, name, known), EXACT):
            return _sentence(graph.dtype(name))
    for index, name in results:
        found = _result(graph, node, index, known)
        if found is None or not _below(found, EXACT):
            return _sentence(graph.dtype(name))
    return ""


def _sentence(dtype: str) -> str:
    return f"{dtype} values may exceed 2^24, up to which the engines are exact"


def _bits_reason(graph: Graph, node: Node, known: dict[str, Range]) -> str:
    """64-bit integers ride in 32 bits: shifts to the left, and the complement of an unsigned one, may need the rest."""
    dtype = graph.dtype(node.output)
    if dtype not in ("int64", "uint64") or node.attrs.get("direction") == "RIGHT":
        return ""
    if node.op == "BitwiseNot" and dtype == "int64":
        return ""
    found = _result(graph, node, 0, known)
    if found is not None and within(found, type_range("int32")):
        return ""
    return f"a bit of an {dtype} beyond the 32nd may be set, and the engines have 32"


def _integer(dtype: str) -> bool:
    return dtype == "bool" or dtype.startswith(("int", "uint"))


def _bounds(graph: Graph, name: str, known: dict[str, Range]) -> Range:
    return known.get(name) or type_range(graph.dtype(name))


def _below(found: Range, limit: int) -> bool:
    return within(found, (-limit, limit))


def _result(graph: Graph, node: Node, index: int, known: dict[str, Range]) -> Range | None:
    """Bounds of the exact result of an output, and of what is accumulated on the way; None where nothing is known."""
    rule = RULES.get(node.op) if not node.domain else None
    if rule is None or any(graph.value(n).host for n in [*node.inputs, node.outputs[index]] if n):
        return None
    operands = [_bounds(graph, n, known) if n and _integer(graph.dtype(n)) else None for n in node.inputs]
    return rule(Facts(graph, node, index, operands))
