"""Custom operators of MediaPipe's models, and TensorFlow operators that models carry as they are ("Flex")."""

from __future__ import annotations

import struct
from typing import Any

from compiler.errors import ModelError
from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.onnx.types import tensor_type
from compiler.frontends.tflite.convert import Call, custom
from compiler.frontends.tflite.windows import padding, transposed

#: Operators of TensorFlow that are one operator here.
FLEX: dict[str, str] = {
    "Acos": "Acos", "Acosh": "Acosh", "Asin": "Asin", "Asinh": "Asinh", "Atan": "Atan", "Atanh": "Atanh",
    "Cosh": "Cosh", "Erf": "Erf", "Inv": "Reciprocal", "IsInf": "IsInf", "IsNan": "IsNaN", "Reciprocal": "Reciprocal",
    "Selu": "Selu", "Sinh": "Sinh", "Softplus": "Softplus", "Softsign": "Softsign", "Tan": "Tan",
}


@custom(*(f"Flex{name}" for name in FLEX))
def _flex(c: Call) -> None:
    c.store(c.b.op(FLEX[c.op.type.removeprefix("Flex")], [c.real(0)]))


@custom("Convolution2DTransposeBias")
def _transpose_conv_bias(c: Call) -> None:
    """Operands: input, weights (Cout, kh, kw, Cin), bias. Options: padding (1 SAME, 2 VALID), strides across, down."""
    kind, across, down = _numbers(c, 3)
    sizes, (_, *kernel, _) = c.shape(0)[1:3], c.shape(1)
    strides = [down, across]
    same = kind == 1
    wanted = [n * s if same else (n - 1) * s + k for n, s, k in zip(sizes, strides, kernel, strict=True)]
    c.op.options.update(padding=0 if same else 1, stride_w=across, stride_h=down)
    transposed(c, [0, *wanted, 0], (0, 1, 2), (3, 0, 1, 2), 2)


@custom("MaxPoolingWithArgmax2D")
def _argmax_pool(c: Call) -> None:
    """Results: largest of each window, and its place in the image (row * width + column) as a real number.

    Options: padding (1 SAME, 2 VALID), strides and size, each across and then down.
    """
    kind, across, down, width, height = _numbers(c, 5)
    window: dict[str, Any] = {"kernel_shape": [height, width], "strides": [down, across]}
    window["pads"] = padding(kind - 1, c.shape(0)[1:-1], window["kernel_shape"], window["strides"], (1, 1))
    x = channels_first(c.b, c.real(0))
    values, places = c.b.ops("MaxPool", [x], 2, **window)
    c.store(channels_last(c.b, values))
    if c.wants(1):
        channel = c.b.shape(x)[-1] * c.b.shape(x)[-2]
        within = c.b.op("Mod", [places, c.b.add([channel])])
        c.store(channels_last(c.b, c.b.op("Cast", [within], to=tensor_type(c.result(1).dtype))), 1)


def _numbers(c: Call, count: int) -> tuple[int, ...]:
    """The first 32-bit numbers of the options, a structure of C."""
    if len(c.op.custom_options) < 4 * count:
        raise ModelError("the options of a custom operator cannot be read", code="TFLITE_OPTIONS", limit=4 * count,
                         actual=len(c.op.custom_options))
    found = struct.unpack_from(f"<{count}i", c.op.custom_options)
    if min(found) < 1:
        raise ModelError("the options of a custom operator do not fit it", code="TFLITE_OPTIONS", actual=found)
    return found
