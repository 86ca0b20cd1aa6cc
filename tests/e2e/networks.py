"""Small networks of many kinds with seeded weights: what users' own models look like, beyond the stored fixtures."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Collects nodes and weights; every method returns the name of its result."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int], dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def const(self, array: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype=dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, count: int, *inputs: str, **attributes: object) -> list[str]:
        outputs = [f"{kind.lower()}{len(self.nodes)}_{k}" for k in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, f"node{len(self.nodes)}", **attributes))
        return outputs

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.const(self.random.standard_normal(shape) * scale)

    def conv(
        self, x: str, cin: int, cout: int, kernel: Sequence[int], stride: int = 1, group: int = 1, act: str = ""
    ) -> str:
        fan = cin // group * int(np.prod(kernel))
        weight = self.normal(cout, cin // group, *kernel, scale=float(np.sqrt(2 / fan)))
        pads = [k // 2 for k in kernel] * 2
        strides = [stride] * len(kernel)
        y = self.op("Conv", x, weight, self.normal(cout, scale=0.1), strides=strides, pads=pads, group=group)
        return self.op(act, y) if act else y

    def linear(self, x: str, rows: int, columns: int) -> str:
        y = self.op("MatMul", x, self.normal(rows, columns, scale=rows**-0.5))
        return self.op("Add", y, self.normal(columns, scale=0.1))

    def norm(self, x: str, width: int) -> str:
        scale = self.const(self.random.uniform(0.5, 1.5, width))
        return self.op("LayerNormalization", x, scale, self.normal(width, scale=0.1), axis=-1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        faces = [helper.make_empty_tensor_value_info(o) for o in outputs]
        graph = helper.make_graph(self.nodes, "network", self.inputs, faces, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        onnx.checker.check_model(model)
        return model


def inverted_residuals() -> onnx.ModelProto:
    """Depthwise convolutions, clipped activations, squeeze and excitation, residual sums."""
    b = Builder(1)
    x = b.conv(b.input("x", [2, 3, 40, 36]), 3, 16, (3, 3), 2)
    six = b.const(6.0)
    for cin, cout, stride in ((16, 24, 2), (24, 24, 1), (24, 40, 2)):
        wide = 4 * cin
        y = b.op("Clip", b.conv(x, cin, wide, (1, 1)), b.const(0.0), six)
        y = b.op("Clip", b.conv(y, wide, wide, (3, 3), stride, wide), b.const(0.0), six)
        gate = b.op("ReduceMean", y, b.ints(2, 3), keepdims=1)
        gate = b.op("Sigmoid", b.conv(b.conv(gate, wide, 8, (1, 1), act="Relu"), 8, wide, (1, 1)))
        y = b.conv(b.op("Mul", y, gate), wide, cout, (1, 1))
        x = b.op("Add", x, y) if cin == cout and stride == 1 else y
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    return b.model(b.op("Softmax", b.linear(x, 40, 10), axis=-1))


def detection_head() -> onnx.ModelProto:
    """Pyramid with upsampling and concatenation; boxes decoded by slices, powers and a grid."""
    b = Builder(2)
    low = b.op("LeakyRelu", b.conv(b.input("x", [1, 3, 64, 64]), 3, 24, (3, 3), 2), alpha=0.1)
    high = b.conv(b.op("MaxPool", low, kernel_shape=[2, 2], strides=[2, 2]), 24, 40, (3, 3), act="Relu")
    pooled = b.op("MaxPool", high, kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2])
    high = b.conv(b.op("Concat", high, pooled, axis=1), 80, 32, (1, 1))
    scales = b.const([1, 1, 2, 2])
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    up = b.op("Resize", high, "", scales, **nearest)
    x = b.conv(b.op("Concat", up, low, axis=1), 56, 21, (1, 1))
    x = b.op("Transpose", b.op("Reshape", x, b.ints(1, 3, 7, 32, 32)), perm=[0, 1, 3, 4, 2])
    x = b.op("Sigmoid", x)
    centre = b.op("Slice", x, b.ints(0), b.ints(2), b.ints(4))
    size = b.op("Slice", x, b.ints(2), b.ints(4), b.ints(4))
    rest = b.op("Slice", x, b.ints(4), b.ints(7), b.ints(4))
    grid = b.const(np.stack(np.meshgrid(np.arange(32), np.arange(32)), -1)[None, None])
    centre = b.op("Mul", b.op("Add", b.op("Mul", centre, b.const(2.0)), grid), b.const(2.0))
    size = b.op("Mul", b.op("Pow", size, b.const(2.0)), b.const([10.0, 20.0]))
    return b.model(b.op("Reshape", b.op("Concat", centre, size, rest, axis=4), b.ints(1, -1, 7)))


def decoder() -> onnx.ModelProto:
    """A causal transformer: embedding by computed indices, split heads, mask, tanh GELU written out."""
    b = Builder(3)
    s, d, heads = 24, 64, 4
    ids = b.input("ids", [2, s], TensorProto.INT64)
    x = b.op("Add", b.op("Gather", b.normal(50, d, scale=0.5), ids), b.normal(s, d, scale=0.1))
    mask = b.const(np.triu(np.full((s, s), -1e9), 1))
    for _ in range(2):
        parts = b.ops("Split", 3, b.linear(b.norm(x, d), d, 3 * d), b.ints(d, d, d), axis=2)
        q, k, v = (b.op("Reshape", p, b.ints(2, s, heads, d // heads)) for p in parts)
        q, v = (b.op("Transpose", p, perm=[0, 2, 1, 3]) for p in (q, v))
        score = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 3, 1]))
        score = b.op("Softmax", b.op("Add", b.op("Div", score, b.const(4.0)), mask), axis=-1)
        mixed = b.op("Transpose", b.op("MatMul", score, v), perm=[0, 2, 1, 3])
        x = b.op("Add", x, b.linear(b.op("Reshape", mixed, b.ints(2, s, d)), d, d))
        u = b.linear(b.norm(x, d), d, 4 * d)
        cube = b.op("Mul", b.op("Pow", u, b.const(3.0)), b.const(0.044715))
        tanh = b.op("Tanh", b.op("Mul", b.op("Add", u, cube), b.const(0.7978845608)))
        u = b.op("Mul", b.op("Mul", u, b.const(0.5)), b.op("Add", tanh, b.const(1.0)))
        x = b.op("Add", x, b.linear(u, 4 * d, d))
    return b.model(b.op("LogSoftmax", b.linear(b.norm(x, d), d, 50), axis=-1))


def shifted_windows() -> onnx.ModelProto:
    """Attention inside 4 x 4 windows of a cyclically shifted image."""
    b = Builder(4)
    d, s, w = 32, 8, 4
    x = b.op("Reshape", b.conv(b.input("x", [1, 3, 16, 16]), 3, d, (2, 2), 2), b.ints(1, d, 81))
    x = b.op("Slice", b.op("Transpose", x, perm=[0, 2, 1]), b.ints(0), b.ints(64), b.ints(1))
    y = b.op("Reshape", b.norm(x, d), b.ints(1, s, s, d))
    for axis in (1, 2):
        head, tail = (b.op("Slice", y, b.ints(a), b.ints(z), b.ints(axis)) for a, z in ((2, s), (0, 2)))
        y = b.op("Concat", head, tail, axis=axis)
    y = b.op("Transpose", b.op("Reshape", y, b.ints(1, 2, w, 2, w, d)), perm=[0, 1, 3, 2, 4, 5])
    y = b.linear(b.op("Reshape", y, b.ints(4, w * w, d)), d, 3 * d)
    y = b.op("Transpose", b.op("Reshape", y, b.ints(4, w * w, 3, 2, d // 2)), perm=[2, 0, 3, 1, 4])
    q, k, v = (b.op("Gather", y, b.const(i, np.int64), axis=0) for i in range(3))
    score = b.op("MatMul", b.op("Mul", q, b.const(0.25)), b.op("Transpose", k, perm=[0, 1, 3, 2]))
    score = b.op("Softmax", b.op("Add", score, b.normal(1, 2, w * w, w * w)), axis=-1)
    y = b.op("Transpose", b.op("MatMul", score, v), perm=[0, 2, 1, 3])
    y = b.op("Reshape", b.linear(b.op("Reshape", y, b.ints(4, w * w, d)), d, d), b.ints(1, 2, 2, w, w, d))
    y = b.op("Reshape", b.op("Transpose", y, perm=[0, 1, 3, 2, 4, 5]), b.ints(1, s * s, d))
    return b.model(b.linear(b.op("Gelu", b.op("Add", x, y)), d, 10))


def encoder_decoder() -> onnx.ModelProto:
    """A U-Net: skips joined by concatenation, transposed convolutions, two outputs."""
    b = Builder(5)
    x, channels, skips = b.input("x", [2, 1, 48, 40]), 1, []
    for width in (16, 32):
        x = b.conv(x, channels, width, (3, 3), act="Relu")
        skips.append((x, width))
        x, channels = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), width
    x, channels = b.conv(x, channels, 48, (3, 3), act="Relu"), 48
    for skip, width in reversed(skips):
        x = b.op("ConvTranspose", x, b.normal(channels, width, 2, 2, scale=0.1), kernel_shape=[2, 2], strides=[2, 2])
        x = b.conv(b.op("Concat", x, skip, axis=1), 2 * width, width, (3, 3), act="Relu")
        channels = width
    x = b.conv(x, 16, 3, (1, 1))
    return b.model(b.op("Softmax", x, axis=1), b.op("Sigmoid", x))


def super_resolution() -> onnx.ModelProto:
    """No downsampling, a skip from the input to the end, depth to space."""
    b = Builder(6)
    image = b.input("x", [1, 4, 36, 28])
    x = first = b.conv(image, 4, 24, (5, 5), act="Relu")
    for _ in range(2):
        x = b.op("Add", x, b.conv(b.conv(x, 24, 24, (3, 3), act="Relu"), 24, 24, (3, 3)))
    x = b.op("Add", b.conv(b.op("Add", x, first), 24, 4, (3, 3)), image)
    return b.model(b.op("DepthToSpace", x, blocksize=2), b.op("ReduceMean", image, b.ints(2, 3), keepdims=0))


def video() -> onnx.ModelProto:
    """3-D convolutions over two clips."""
    b = Builder(7)
    x, channels = b.input("x", [2, 3, 6, 20, 20]), 3
    for width, stride in ((16, 1), (32, 2), (40, 2)):
        x, channels = b.conv(x, channels, width, (3, 3, 3), stride, act="Relu"), width
    return b.model(b.linear(b.op("ReduceMean", x, b.ints(2, 3, 4), keepdims=0), 40, 6))


def waveform() -> onnx.ModelProto:
    """1-D convolutions with a long first kernel, channels last at the face."""
    b = Builder(8)
    x, channels = b.op("Transpose", b.input("x", [2, 600, 1]), perm=[0, 2, 1]), 1
    for width, kernel, stride in ((32, 41, 4), (48, 3, 2)):
        x = b.conv(x, channels, width, (kernel,), stride, act="Relu")
        x, channels = b.op("MaxPool", x, kernel_shape=[2], strides=[2]), width
    return b.model(b.op("Transpose", x, perm=[0, 2, 1]), b.linear(b.op("ReduceMean", x, b.ints(2), keepdims=0), 48, 5))


NETWORKS: tuple[Callable[[], onnx.ModelProto], ...] = (
    decoder,
    detection_head,
    encoder_decoder,
    inverted_residuals,
    shifted_windows,
    super_resolution,
    video,
    waveform,
)
