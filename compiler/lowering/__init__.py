"""Operator -> lowering, one explicit alphabetical table; a lowering emits one node's instructions into the context.

Beside it, operator -> condition: what a lowering cannot do. The partitioner asks before anything is emitted.
"""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node
from compiler.lowering.arithmetic import arithmetic_condition
from compiler.lowering.context import Context
from compiler.lowering.conv import lower_conv
from compiler.lowering.elementwise import lower_affine, lower_binary, lower_identity, lower_unary, lower_where
from compiler.lowering.gather import (
    gather_condition,
    gather_elements_condition,
    lower_gather,
    lower_gather_elements,
)
from compiler.lowering.integer import integer_condition, lower_conv_integer, lower_matmul_integer
from compiler.lowering.lrn import lower_lrn
from compiler.lowering.matmul import lower_matmul
from compiler.lowering.pool import lower_pool
from compiler.lowering.quantize import lower_dequantize, lower_quantize, quantise_condition
from compiler.lowering.reduce import lower_layer_norm, lower_reduce
from compiler.lowering.resize import lower_resize, resize_condition
from compiler.lowering.scatter import lower_scatter, scatter_condition
from compiler.lowering.softmax import lower_softmax
from compiler.lowering.views import (
    lower_concat,
    lower_expand,
    lower_pad,
    lower_reshape,
    lower_slice,
    lower_split,
    lower_transpose,
)
from isa.target import Target

Lowering = Callable[[Context, Node], None]

LOWERINGS: dict[str, Lowering] = {
    "Abs": lower_unary,
    "Acos": lower_unary,
    "Acosh": lower_unary,
    "Add": lower_binary,
    "Affine": lower_affine,
    "And": lower_binary,
    "Asin": lower_unary,
    "Asinh": lower_unary,
    "Atan": lower_unary,
    "Atanh": lower_unary,
    "AveragePool": lower_pool,
    "BitCast": lower_identity,
    "BitShift": lower_binary,
    "BitwiseAnd": lower_binary,
    "BitwiseNot": lower_unary,
    "BitwiseOr": lower_binary,
    "BitwiseXor": lower_binary,
    "Cast": lower_unary,
    "Ceil": lower_unary,
    "Celu": lower_unary,
    "Clip": lower_unary,
    "Concat": lower_concat,
    "Conv": lower_conv,
    "ConvInteger": lower_conv_integer,
    "ConvTranspose": lower_conv,
    "Cos": lower_unary,
    "Cosh": lower_unary,
    "DequantizeLinear": lower_dequantize,
    "Div": lower_binary,
    "Elu": lower_unary,
    "Equal": lower_binary,
    "Erf": lower_unary,
    "Exp": lower_unary,
    "Expand": lower_expand,
    "Flatten": lower_reshape,
    "Floor": lower_unary,
    "Gather": lower_gather,
    "GatherElements": lower_gather_elements,
    "GatherND": lower_gather_elements,
    "Gelu": lower_unary,
    "GlobalAveragePool": lower_reduce,
    "GlobalMaxPool": lower_reduce,
    "Greater": lower_binary,
    "GreaterOrEqual": lower_binary,
    "HardSigmoid": lower_unary,
    "HardSwish": lower_unary,
    "Identity": lower_identity,
    "IsInf": lower_unary,
    "IsNaN": lower_unary,
    "LRN": lower_lrn,
    "LayerNormalization": lower_layer_norm,
    "LeakyRelu": lower_unary,
    "Less": lower_binary,
    "LessOrEqual": lower_binary,
    "Log": lower_unary,
    "LogSoftmax": lower_softmax,
    "MatMul": lower_matmul,
    "MatMulInteger": lower_matmul_integer,
    "Max": lower_binary,
    "MaxPool": lower_pool,
    "Min": lower_binary,
    "Mish": lower_unary,
    "Mod": lower_binary,
    "Mul": lower_binary,
    "Neg": lower_unary,
    "Not": lower_unary,
    "Or": lower_binary,
    "PRelu": lower_binary,
    "Pad": lower_pad,
    "Pow": lower_binary,
    "QuantizeLinear": lower_quantize,
    "Reciprocal": lower_unary,
    "ReduceMax": lower_reduce,
    "ReduceMean": lower_reduce,
    "ReduceMin": lower_reduce,
    "ReduceSum": lower_reduce,
    "Relu": lower_unary,
    "Reshape": lower_reshape,
    "Resize": lower_resize,
    "Round": lower_unary,
    "ScatterElements": lower_scatter,
    "ScatterND": lower_scatter,
    "Selu": lower_unary,
    "Shrink": lower_unary,
    "Sigmoid": lower_unary,
    "Sign": lower_unary,
    "Silu": lower_unary,
    "Sin": lower_unary,
    "Sinh": lower_unary,
    "Slice": lower_slice,
    "Softmax": lower_softmax,
    "Softplus": lower_unary,
    "Softsign": lower_unary,
    "Split": lower_split,
    "Sqrt": lower_unary,
    "Squeeze": lower_reshape,
    "Sub": lower_binary,
    "SwiGLU": lower_binary,
    "Swish": lower_unary,
    "Tan": lower_unary,
    "Tanh": lower_unary,
    "ThresholdedRelu": lower_unary,
    "Transpose": lower_transpose,
    "Unsqueeze": lower_reshape,
    "Where": lower_where,
    "Xor": lower_binary,
}

#: Reason why a node has no lowering in this form ("" when it has one), asked of the graph after `canonicalise` and
#: `expand`, for any operator, also one that is not in `LOWERINGS`. Each function lives beside its lowering.
Condition = Callable[[Graph, Node, Target], str]

CONDITIONS: dict[str, Condition] = {
    "BitCast": arithmetic_condition,
    "ConvInteger": integer_condition,
    "DequantizeLinear": quantise_condition,
    "Div": arithmetic_condition,
    "Gather": gather_condition,
    "GatherElements": gather_elements_condition,
    "GatherND": gather_elements_condition,
    "MatMulInteger": integer_condition,
    "Mod": arithmetic_condition,
    "QuantizeLinear": quantise_condition,
    "Resize": resize_condition,
    "ScatterElements": scatter_condition,
    "ScatterND": scatter_condition,
    "Shrink": arithmetic_condition,
}
