"""Operator -> lowering, one explicit alphabetical table; a lowering emits one node's instructions into the context.

Beside it, operator -> condition: what a lowering cannot do. The partitioner asks before anything is emitted.
"""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node
from compiler.lowering.arithmetic import arithmetic_condition
from compiler.lowering.context import Context
from compiler.lowering.conv import conv_condition, lower_conv
from compiler.lowering.cumulative import cumulative_condition, lower_cumulative
from compiler.lowering.elementwise import lower_affine, lower_binary, lower_identity, lower_unary, lower_where
from compiler.lowering.gather import (
    gather_condition,
    gather_elements_condition,
    lower_gather,
    lower_gather_elements,
)
from compiler.lowering.handover import lower_pack_rows, lower_unpack_rows
from compiler.lowering.integer import integer_condition, lower_conv_integer, lower_matmul_integer
from compiler.lowering.lrn import lower_lrn, lrn_condition
from compiler.lowering.matmul import lower_matmul
from compiler.lowering.moments import lower_moments, lower_scale_shift
from compiler.lowering.normalise import lower_layer_norm, lower_rms_norm, row_condition
from compiler.lowering.pool import lower_pool, pool_condition, unpool_condition
from compiler.lowering.quantize import lower_dequantize, lower_quantize
from compiler.lowering.reduce import lower_reduce, reduce_condition
from compiler.lowering.resize import lower_resize, resize_condition
from compiler.lowering.scatter import lower_scatter, scatter_condition
from compiler.lowering.softmax import lower_softmax
from compiler.lowering.top_k import arg_condition, lower_arg, lower_top_k, top_k_condition
from compiler.lowering.views import (
    expansion_condition,
    lower_concat,
    lower_expand,
    lower_pad,
    lower_reshape,
    lower_slice,
    lower_split,
    lower_transpose,
    operands_condition,
)
from compiler.passes.expand_attention import attention_reason, flex_reason
from compiler.passes.expand_encoders import encoder_reason
from compiler.passes.expand_ensembles import tree_reason
from compiler.passes.expand_features import features_reason
from compiler.passes.expand_linear_attention import linear_attention_reason
from compiler.passes.expand_recurrent import recurrent_reason
from compiler.passes.expand_svm import linear_reason, svm_reason
from isa.target import Target

Lowering = Callable[[Context, Node], None]

LOWERINGS: dict[str, Lowering] = {
    "Abs": lower_unary,
    "Acos": lower_unary,
    "Acosh": lower_unary,
    "Add": lower_binary,
    "Affine": lower_affine,
    "And": lower_binary,
    "ArgMax": lower_arg,
    "ArgMin": lower_arg,
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
    "CumProd": lower_cumulative,
    "CumSum": lower_cumulative,
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
    "Moments": lower_moments,
    "Mul": lower_binary,
    "Neg": lower_unary,
    "Not": lower_unary,
    "Or": lower_binary,
    "PRelu": lower_binary,
    "PackRows": lower_pack_rows,
    "Pad": lower_pad,
    "Pow": lower_binary,
    "QuantizeLinear": lower_quantize,
    "RMSNormalization": lower_rms_norm,
    "Reciprocal": lower_unary,
    "ReduceMax": lower_reduce,
    "ReduceMean": lower_reduce,
    "ReduceMin": lower_reduce,
    "ReduceProd": lower_reduce,
    "ReduceSum": lower_reduce,
    "Relu": lower_unary,
    "Reshape": lower_reshape,
    "Resize": lower_resize,
    "ScatterElements": lower_scatter,
    "ScatterND": lower_scatter,
    "Round": lower_unary,
    "ScaleShift": lower_scale_shift,
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
    "TopK": lower_top_k,
    "Transpose": lower_transpose,
    "UnpackRows": lower_unpack_rows,
    "Unsqueeze": lower_reshape,
    "Where": lower_where,
    "Xor": lower_binary,
}

#: Reason why a node has no lowering in this form ("" when it has one), asked of the graph after `canonicalise` and
#: `expand`, for any operator, also one that is not in `LOWERINGS`. Each function lives beside its lowering.
Condition = Callable[[Graph, Node, Target], str]

CONDITIONS: dict[str, Condition] = {
    "AffineGrid": expansion_condition,
    "ArgMax": arg_condition,
    "ArgMin": arg_condition,
    "Attention": attention_reason,
    "AveragePool": pool_condition,
    "BitCast": arithmetic_condition,
    "Col2Im": expansion_condition,
    "Conv": conv_condition,
    "ConvInteger": integer_condition,
    "ConvTranspose": conv_condition,
    "CumProd": cumulative_condition,
    "CumSum": cumulative_condition,
    "Div": arithmetic_condition,
    "GRU": recurrent_reason,
    "Gather": gather_condition,
    "GatherElements": gather_elements_condition,
    "GatherND": gather_elements_condition,
    "GridSample": expansion_condition,
    "LRN": lrn_condition,
    "LSTM": recurrent_reason,
    "LayerNormalization": row_condition,
    "LinearAttention": linear_attention_reason,
    "LogSoftmax": row_condition,
    "MatMulInteger": integer_condition,
    "MaxPool": pool_condition,
    "MaxUnpool": unpool_condition,
    "Mod": arithmetic_condition,
    "OneHot": expansion_condition,
    "Pad": operands_condition,
    "QLinearConv": integer_condition,
    "QLinearMatMul": integer_condition,
    "RMSNormalization": row_condition,
    "RNN": recurrent_reason,
    "ReduceL1": reduce_condition,
    "ReduceL2": reduce_condition,
    "ReduceLogSum": reduce_condition,
    "ReduceLogSumExp": reduce_condition,
    "ReduceMax": reduce_condition,
    "ReduceMean": reduce_condition,
    "ReduceMin": reduce_condition,
    "ReduceProd": reduce_condition,
    "ReduceSum": reduce_condition,
    "ReduceSumSquare": reduce_condition,
    "Resize": resize_condition,
    "ScatterElements": scatter_condition,
    "ScatterND": scatter_condition,
    "Shrink": arithmetic_condition,
    "Slice": operands_condition,
    "Softmax": row_condition,
    "TopK": top_k_condition,
    "ai.onnx.ml::Binarizer": features_reason,
    "ai.onnx.ml::FeatureVectorizer": features_reason,
    "ai.onnx.ml::Imputer": features_reason,
    "ai.onnx.ml::LabelEncoder": encoder_reason,
    "ai.onnx.ml::LinearClassifier": linear_reason,
    "ai.onnx.ml::LinearRegressor": linear_reason,
    "ai.onnx.ml::Normalizer": features_reason,
    "ai.onnx.ml::OneHotEncoder": encoder_reason,
    "ai.onnx.ml::SVMClassifier": svm_reason,
    "ai.onnx.ml::SVMRegressor": svm_reason,
    "ai.onnx.ml::Scaler": features_reason,
    "ai.onnx.ml::TreeEnsemble": tree_reason,
    "ai.onnx.ml::TreeEnsembleClassifier": tree_reason,
    "ai.onnx.ml::TreeEnsembleRegressor": tree_reason,
    "ai.onnx.preview::FlexAttention": flex_reason,
}
