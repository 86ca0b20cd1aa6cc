"""Seeded random models of one operator family each: many configurations, small tensors. None: an impossible draw."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.compiler.evaluate import make

Random = np.random.Generator
Model = onnx.ModelProto | None
node = helper.make_node

CHANNELS = (1, 2, 3, 5, 7, 16, 31, 32, 33, 64, 100, 128, 129, 160, 200, 257)


def floats(r: Random, *shape: int) -> np.ndarray:
    return r.standard_normal(shape).astype(np.float32)


def one_of(r: Random, *choices: Any) -> Any:
    return choices[int(r.integers(len(choices)))]


def spatial(r: Random, rank: int) -> list[int]:
    return [int(r.integers(3, (40, 14, 8)[rank - 1])) for _ in range(rank)]


def shape(r: Random, low: int = 1, high: int = 5) -> list[int]:
    out = [int(one_of(r, 1, 2, 3, 4, 5, 7, 9)) for _ in range(int(r.integers(low, high)))]
    if out and r.random() < 0.5:
        out[int(r.integers(len(out)))] = int(one_of(r, 16, 33, 64, 130, 200))
    return out


def broadcastable(r: Random, full: list[int]) -> list[int]:
    out = [1 if r.random() < 0.4 else n for n in full]
    return out[int(r.integers(len(out) + 1)) :] if r.random() < 0.3 else out


# ---- windows ---------------------------------------------------------------------------------------------------------


def conv(r: Random) -> Model:
    """Dense, grouped and depthwise convolutions of rank 1 to 3 with a tail: activation, BatchNorm, residual."""
    rank, batch, kind = int(r.integers(1, 4)), int(one_of(r, 1, 1, 2, 3)), one_of(r, "dense", "dense", "depth", "group")
    cin, cout, group = int(one_of(r, *CHANNELS)), int(one_of(r, *CHANNELS)), 1
    if kind == "depth":
        group, cout = cin, cin * int(one_of(r, 1, 1, 2))
    elif kind == "group":
        group = int(one_of(r, 2, 3, 4))
        cin, cout = group * int(r.integers(1, 40)), group * int(r.integers(1, 40))
    elif rank == 3:
        cin, cout = min(cin, 33), min(cout, 33)
    size = spatial(r, rank)
    kernel = [int(r.integers(1, 4)) for _ in range(rank)]
    dilation = [int(one_of(r, 1, 1, 2)) for _ in range(rank)]
    stride = [int(one_of(r, 1, 1, 2, 3)) for _ in range(rank)]
    pads = [int(r.integers(0, 4)) for _ in range(2 * rank)] if r.random() < 0.7 else [0] * 2 * rank
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(n + a + b < s for n, a, b, s in zip(size, pads, pads[rank:], span, strict=False)):
        return None
    weight = floats(r, cout, cin // group, *kernel)
    weights = {"w": weight / np.float32(np.sqrt(weight[0].size))}
    inputs = ["x", "w"]
    if r.random() < 0.5:
        inputs.append("b")
        weights["b"] = floats(r, cout)
    attrs = {"strides": stride, "dilations": dilation, "group": group, "pads": pads}
    nodes = [node("Conv", inputs, ["c"], **attrs), *_tail(r, weights, cout, attrs)]
    nodes[-1].output[0] = "y"
    return make(nodes, {"x": [batch, cin, *size]}, ["y"], weights)


def _tail(r: Random, weights: dict[str, np.ndarray], channels: int, attrs: dict[str, Any]) -> list[onnx.NodeProto]:
    kind = one_of(r, "", "relu", "clip", "sigmoid", "norm", "add")
    if kind == "clip":
        weights.update(lo=np.float32(0), hi=np.float32(6))
        return [node("Clip", ["c", "lo", "hi"], ["y"])]
    if kind == "norm":
        weights.update({k: floats(r, channels) for k in ("scale", "shift", "mean")})
        weights["var"] = np.abs(floats(r, channels)) + np.float32(0.5)
        return [node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["y"])]
    if kind == "add":
        weights["w2"] = floats(r, *weights["w"].shape)
        return [node("Conv", ["x", "w2"], ["c2"], **attrs), node("Add", ["c", "c2"], ["a"]), node("Relu", ["a"], ["y"])]
    return [node(kind.capitalize(), ["c"], ["y"])] if kind else []


def conv_transpose(r: Random) -> Model:
    """Transposed convolutions, also with strides beyond the kernel and output padding."""
    rank, group = int(r.integers(1, 4)), int(one_of(r, 1, 1, 2, 5))
    cin, cout = group * int(r.integers(1, 30)), group * int(r.integers(1, 30))
    size = [int(r.integers(2, 6)) for _ in range(rank)]
    kernel = [int(r.integers(1, 4)) for _ in range(rank)]
    dilation = [int(one_of(r, 1, 1, 2)) for _ in range(rank)]
    stride = [int(one_of(r, 1, 2, 3)) for _ in range(rank)]
    pads = [int(r.integers(0, (k - 1) * d + 1)) for k, d in zip(kernel * 2, dilation * 2, strict=True)]
    extra = [int(r.integers(0, s)) for s in stride]
    ends = zip(size, stride, extra, kernel, dilation, pads, pads[rank:], strict=False)
    if any((n - 1) * s + e + (k - 1) * d + 1 - a - b < 1 for n, s, e, k, d, a, b in ends):
        return None
    weights = {"w": floats(r, cin, cout // group, *kernel), "b": floats(r, cout)}
    made = node("ConvTranspose", ["x", "w", "b"][: int(r.integers(2, 4))], ["c"], strides=stride, dilations=dilation,
                group=group, pads=pads, output_padding=extra)
    nodes = [made, *([node("Relu", ["c"], ["y"])] if r.random() < 0.5 else [])]
    nodes[-1].output[0] = "y"
    return make(nodes, {"x": [int(one_of(r, 1, 2)), cin, *size]}, ["y"], weights)


def pool(r: Random) -> Model:
    """MaxPool and AveragePool with strides, pads, dilations, ceil_mode, count_include_pad."""
    rank = int(r.integers(1, 4))
    size = spatial(r, rank)
    kernel, stride = ([int(r.integers(1, k)) for _ in range(rank)] for k in (5, 4))
    dilation = [int(r.integers(1, 3)) if r.random() < 0.3 else 1 for _ in range(rank)]
    pads = [int(r.integers(0, k)) for k in kernel * 2] if r.random() < 0.8 else [0] * 2 * rank
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(n + a + b < s for n, a, b, s in zip(size, pads, pads[rank:], span, strict=False)):
        return None
    op = one_of(r, "MaxPool", "AveragePool")
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": pads, "dilations": dilation}
    attrs["ceil_mode"] = int(r.integers(2))
    if op == "AveragePool":
        attrs["count_include_pad"] = int(r.integers(2))
    nodes = [node(op, ["x"], ["p"], **attrs)]
    if r.random() < 0.3:
        nodes = [node("Relu", ["x"], ["r"]), node(op, ["r"], ["p"], **attrs)]
    if r.random() < 0.3:
        nodes.append(node("Relu", ["p"], ["y"]))
    nodes[-1].output[0] = "y"
    return make(nodes, {"x": [int(one_of(r, 1, 2)), int(one_of(r, *CHANNELS)), *size]}, ["y"])


def resize(r: Random) -> Model:
    """Nearest, linear and cubic resizing of rank 1 to 3 by scales or sizes."""
    rank = int(r.integers(1, 4))
    size = [int(r.integers(1, 9)) for _ in range(rank)]
    lead = [int(one_of(r, 1, 2)), int(one_of(r, *CHANNELS))]
    attrs = {
        "mode": one_of(r, "nearest", "linear", "cubic") if rank == 2 else one_of(r, "nearest", "linear"),
        "coordinate_transformation_mode": one_of(r, "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"),
    }
    if attrs["mode"] == "nearest":
        attrs["nearest_mode"] = one_of(r, "round_prefer_floor", "floor", "ceil", "round_prefer_ceil")
    if r.random() < 0.5:
        scales = [float(one_of(r, 1, 2, 3, 0.5, 1.5)) for _ in size]
        if any(int(n * s) < 1 for n, s in zip(size, scales, strict=True)):
            return None
        cut = any(n * s % 1 for n, s in zip(size, scales, strict=True))
        if cut and attrs["coordinate_transformation_mode"] == "align_corners":  # ONNX Runtime leaves the definition
            return None
        weights = {"s": np.array([1, 1, *scales], np.float32)}
        return make([node("Resize", ["x", "", "s"], ["y"], **attrs)], {"x": lead + size}, ["y"], weights)
    weights = {"z": np.array([*lead, *(int(r.integers(1, 20)) for _ in size)])}
    return make([node("Resize", ["x", "", "", "z"], ["y"], **attrs)], {"x": lead + size}, ["y"], weights)


# ---- pointwise -------------------------------------------------------------------------------------------------------

UNARY = ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Softplus", "Erf", "Sin", "Cos", "Atan", "Sign", "Reciprocal",
         "LeakyRelu", "HardSigmoid", "Gelu", "Mish", "IsNaN", "Not", "Sqrt", "Log", "Clip", "Cast")


def unary(r: Random) -> Model:
    """One function of tensors of rank 0 to 5."""
    full, op = shape(r, 0, 6), one_of(r, *UNARY)
    x = {"x": full}
    if op == "Not":
        return make([node(op, ["x"], ["y"])], x, ["y"], types={"x": TensorProto.BOOL, "y": TensorProto.BOOL})
    if op == "IsNaN":
        return make([node(op, ["x"], ["y"])], x, ["y"], types={"y": TensorProto.BOOL})
    if op in ("Sqrt", "Log"):
        return make([node("Abs", ["x"], ["a"]), node(op, ["a"], ["y"])], x, ["y"])
    if op == "Clip":
        bounds = {"lo": np.float32(-0.5), "hi": np.float32(0.7)}
        return make([node(op, one_of(r, ["x", "lo", "hi"], ["x", "", "hi"], ["x", "lo"]), ["y"])], x, ["y"], bounds)
    if op == "Cast":
        to = one_of(r, "INT32", "BOOL", "FLOAT16", "INT8", "INT64")
        nodes = [node("Cast", ["x"], ["m"], to=TensorProto.DataType.Value(to)), node("Cast", ["m"], ["y"], to=1)]
        return make(nodes, x, ["y"])
    return make([node(op, ["x"], ["y"])], x, ["y"])


COMPARISONS = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")


def binary(r: Random) -> Model:
    """Arithmetic and comparisons with every pattern of broadcasting; constants and scalars on either side."""
    full = shape(r, 0, 6)
    op = one_of(r, "Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", *COMPARISONS)
    kind = one_of(r, "two", "const", "same", "scalar")
    inputs, weights = {"x": broadcastable(r, full)}, {}
    left, right = "x", "x" if kind == "same" else "z"
    if kind == "two":
        inputs["z"] = broadcastable(r, full)
    elif kind == "const":
        weights["z"] = floats(r, *broadcastable(r, full))
    elif kind == "scalar":
        weights["z"] = np.float32(one_of(r, 0.5, 1.0, -1.5, 2.0))
    if r.random() < 0.4:
        left, right = right, left
    nodes = []
    if op == "Pow":
        nodes, left = [node("Abs", [left], ["base"])], "base"
    nodes.append(node(op, [left, right], ["p"]))
    if op not in COMPARISONS and r.random() < 0.3:
        nodes.append(node(one_of(r, "Relu", "Sigmoid", "Tanh"), ["p"], ["y"]))
    nodes[-1].output[0] = "y"
    return make(nodes, inputs, ["y"], weights, types={"y": TensorProto.BOOL} if op in COMPARISONS else None)


def logic(r: Random) -> Model:
    """And, Or, Xor, Where with constant or computed operands, Max, Min, Sum and Mean of several operands."""
    full, kind = shape(r, 0, 5), one_of(r, "logic", "where", "many")
    booleans = {"x": TensorProto.BOOL, "z": TensorProto.BOOL, "y": TensorProto.BOOL}
    if kind == "logic":
        made = [node(one_of(r, "And", "Or", "Xor"), ["x", "z"], ["y"])]
        return make(made, {"x": broadcastable(r, full), "z": broadcastable(r, full)}, ["y"], types=booleans)
    if kind == "many":
        inputs = {f"x{k}": broadcastable(r, full) for k in range(int(r.integers(2, 4)))}
        return make([node(one_of(r, "Max", "Min", "Sum", "Mean"), list(inputs), ["y"])], inputs, ["y"])
    inputs = {k: broadcastable(r, full) for k in ("c", "x", "z")}
    constant = one_of(r, "", "c", "x", "z")
    weights = {}
    if constant:
        size = inputs.pop(constant)
        weights[constant] = r.random(size) < 0.5 if constant == "c" else floats(r, *size)
    return make([node("Where", ["c", "x", "z"], ["y"])], inputs, ["y"], weights, types={"c": TensorProto.BOOL})


def quantize(r: Random) -> Model:
    """QuantizeLinear and DequantizeLinear, signed and unsigned, per tensor and along any axis."""
    full = shape(r, 2, 5)
    axis = int(r.integers(len(full)))
    signed = bool(r.integers(2))
    size = (full[axis],) if r.random() < 0.5 else ()
    scale = (np.abs(r.standard_normal(size)) / 10 + 0.01).astype(np.float32)
    zero = r.integers(-3, 4, size).astype(np.int8) if signed else r.integers(100, 130, size).astype(np.uint8)
    parts = {"s": np.asarray(scale), "z": np.asarray(zero if r.random() < 0.8 else zero * 0)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
             node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis)]
    return make(nodes, {"x": full}, ["y"], parts)


# ---- products and reductions -----------------------------------------------------------------------------------------


def matmul(r: Random) -> Model:
    """MatMul by constants and between computed operands, vectors, batches that broadcast; Gemm with every flag."""
    m, k = int(one_of(r, 1, 2, 5, 33, 128, 130)), int(one_of(r, 1, 3, 16, 64, 130, 257))
    n, kind = int(one_of(r, 1, 4, 33, 128, 200, 520)), one_of(r, "const", "const", "two", "gemm", "vector")
    lead = [int(one_of(r, 1, 2, 3)) for _ in range(int(r.integers(0, 3)))]
    if kind == "two":
        z = [*broadcastable(r, lead), k, min(n, 200)]
        return make([node("MatMul", ["x", "z"], ["y"])], {"x": [*lead, m, k], "z": z}, ["y"])
    if kind == "vector":
        a, b = one_of(r, ([k], [k]), ([m, k], [k]), ([k], [k, n]))
        if r.random() < 0.5:
            return make([node("MatMul", ["x", "z"], ["y"])], {"x": a, "z": b}, ["y"])
        return make([node("MatMul", ["x", "z"], ["y"])], {"x": a}, ["y"], {"z": floats(r, *b)})
    if kind == "gemm":
        return _gemm(r, m, k, n)
    nodes, weights = [node("MatMul", ["x", "w"], ["m"])], {"w": floats(r, k, n) / np.float32(k**0.5)}
    if r.random() < 0.6:
        nodes.append(node("Add", ["m", "b"], ["a"]))
        weights["b"] = floats(r, n)
    if r.random() < 0.5:
        nodes.append(node(one_of(r, "Relu", "Gelu", "Sigmoid"), [nodes[-1].output[0]], ["f"]))
    nodes[-1].output[0] = "y"
    return make(nodes, {"x": [*lead, m, k]}, ["y"], weights)


def _gemm(r: Random, m: int, k: int, n: int) -> Model:
    ta, tb = int(r.integers(2)), int(r.integers(2))
    inputs, weights, names = {"x": [k, m] if ta else [m, k]}, {}, ["x", "w"]
    size = [n, k] if tb else [k, n]
    if r.random() < 0.7:
        weights["w"] = floats(r, *size)
    else:
        inputs["w"] = size
    if r.random() < 0.7:
        names.append("c")
        weights["c"] = floats(r, *one_of(r, [n], [1, n], [m, 1], [m, n], [], [1]))
    alpha, beta = float(one_of(r, 1.0, 0.5)), float(one_of(r, 1.0, 2.0))
    return make([node("Gemm", names, ["y"], transA=ta, transB=tb, alpha=alpha, beta=beta)], inputs, ["y"], weights)


def attention(r: Random) -> Model:
    """Multi-head attention with a residual, perhaps masked."""
    batch, tokens = int(one_of(r, 1, 2)), int(one_of(r, 1, 5, 16, 33, 130))
    heads, width = int(one_of(r, 1, 2, 3, 4)), int(one_of(r, 4, 16, 33, 64))
    full = heads * width
    weights: dict[str, np.ndarray] = {f"w{t}": floats(r, full, full) / np.float32(full**0.5) for t in "qkvo"}
    weights.update({f"b{t}": floats(r, full) for t in "qkv"}, split=np.array([batch, tokens, heads, width]),
                   join=np.array([batch, tokens, full]), root=np.float32(width**0.5))
    nodes = []
    for t in "qkv":
        nodes += [node("MatMul", ["x", f"w{t}"], [f"{t}0"]), node("Add", [f"{t}0", f"b{t}"], [f"{t}1"]),
                  node("Reshape", [f"{t}1", "split"], [f"{t}2"]),
                  node("Transpose", [f"{t}2"], [f"{t}3"], perm=[0, 2, 1, 3])]
    nodes += [node("Transpose", ["k3"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q3", "kt"], ["s0"]),
              node("Div", ["s0", "root"], ["s1"])]
    inputs, scores = {"x": [batch, tokens, full]}, "s1"
    if r.random() < 0.5:
        inputs["mask"], scores = [batch, 1, 1, tokens], "s2"
        nodes.append(node("Add", ["s1", "mask"], ["s2"]))
    nodes += [node("Softmax", [scores], ["p"], axis=-1), node("MatMul", ["p", "v3"], ["o0"]),
              node("Transpose", ["o0"], ["o1"], perm=[0, 2, 1, 3]), node("Reshape", ["o1", "join"], ["o2"]),
              node("MatMul", ["o2", "wo"], ["o3"]), node("Add", ["o3", "x"], ["y"])]
    return make(nodes, inputs, ["y"], weights)


def reduce(r: Random) -> Model:
    """Reductions over any axes, softmax along any axis, layer normalisation, global pooling, LRN."""
    full = shape(r, 1, 6)
    rank, kind = len(full), one_of(r, "reduce", "reduce", "softmax", "norm", "global", "lrn")
    if kind == "reduce":
        axes = r.choice(rank, int(r.integers(1, rank + 1)), replace=False)
        axes = np.array([a - rank if r.random() < 0.3 else a for a in axes.tolist()])
        op, keep = one_of(r, "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"), int(r.integers(2))
        if r.random() < 0.15:
            return make([node(op, ["x"], ["y"], keepdims=keep)], {"x": full}, ["y"])
        return make([node(op, ["x", "axes"], ["y"], keepdims=keep)], {"x": full}, ["y"], {"axes": axes})
    if kind == "softmax":
        op = one_of(r, "Softmax", "LogSoftmax")
        return make([node(op, ["x"], ["y"], axis=int(r.integers(-rank, rank)))], {"x": full}, ["y"])
    if kind == "norm":
        axis = int(r.integers(rank))
        if int(np.prod(full[axis:])) < 2:
            return None
        weights = {"g": floats(r, *full[axis:]), "b": floats(r, *full[axis:])}
        names = ["x", "g", "b"][: int(r.integers(2, 4))]
        return make([node("LayerNormalization", names, ["y"], axis=axis - rank)], {"x": full}, ["y"], weights)
    lead = [int(one_of(r, 1, 2)), int(one_of(r, *CHANNELS))]
    if kind == "global":
        op = one_of(r, "GlobalAveragePool", "GlobalMaxPool")
        return make([node(op, ["x"], ["y"])], {"x": lead + spatial(r, int(r.integers(1, 4)))}, ["y"])
    lrn = node("LRN", ["x"], ["y"], size=int(one_of(r, 1, 3, 5)), alpha=0.1)
    return make([lrn], {"x": lead + spatial(r, 2)}, ["y"])


def gather(r: Random) -> Model:
    """Embeddings by computed indices, Gather, GatherElements and GatherND by constants along any axis."""
    kind = one_of(r, "table", "computed table", "axis", "elements", "nd")
    rows, width = int(one_of(r, 5, 30, 200)), int(one_of(r, 1, 16, 130))
    many = [int(one_of(r, 1, 2, 3, 5)) for _ in range(int(r.integers(0, 4)))]
    if kind == "table":
        types = {"i": one_of(r, TensorProto.INT64, TensorProto.INT32)}
        return make([node("Gather", ["t", "i"], ["y"])], {"i": many}, ["y"], {"t": floats(r, rows, width)}, types=types)
    if kind == "computed table":
        inputs = {"i": many, "t": [rows, width]}
        return make([node("Gather", ["t", "i"], ["y"])], inputs, ["y"], types={"i": TensorProto.INT64})
    full = shape(r, 1, 4)
    axis = int(r.integers(len(full)))
    if kind == "axis":
        index = {"i": np.asarray(r.integers(-full[axis], full[axis], size=many))}
        return make([node("Gather", ["x", "i"], ["y"], axis=axis)], {"x": full}, ["y"], index)
    if kind == "elements":
        size = [int(r.integers(1, 6)) if a == axis else n for a, n in enumerate(full)]
        index = {"i": r.integers(-full[axis], full[axis], size=size)}
        return make([node("GatherElements", ["x", "i"], ["y"], axis=axis)], {"x": full}, ["y"], index)
    if not many:
        return None
    depth = int(r.integers(1, len(full) + 1))
    index = {"i": np.stack([r.integers(0, n, size=many) for n in full[:depth]], -1)}
    return make([node("GatherND", ["x", "i"], ["y"])], {"x": full}, ["y"], index)


FAMILIES: dict[str, Callable[[Random], Model]] = {
    f.__name__: f
    for f in (conv, conv_transpose, pool, resize, unary, binary, logic, quantize, matmul, attention, reduce, gather)
}
