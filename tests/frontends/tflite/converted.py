"""Functions of TensorFlow that its converter turns into operators, one or two each (run by hand, see make_corpus)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

IMAGE, ROWS, SERIES = (1, 6, 7, 4), (3, 5), (2, 6, 3)


def _weights(*shape):
    return tf.constant(np.random.default_rng(sum(shape)).normal(0, 0.4, shape).astype(np.float32))


def _unary():
    raw, math, nn = tf.raw_ops, tf.math, tf.nn
    real = {"abs": math.abs, "ceil": math.ceil, "cos": math.cos, "elu": nn.elu, "exp": math.exp, "floor": math.floor,
            "neg": math.negative, "round": math.round, "sign": math.sign, "sin": math.sin, "tanh": math.tanh,
            "logistic": math.sigmoid, "square": math.square, "relu": nn.relu, "relu6": nn.relu6,
            "relu_n1_to_1": lambda x: tf.minimum(1.0, tf.maximum(-1.0, x)),
            "relu_0_to_1": lambda x: tf.minimum(1.0, tf.maximum(0.0, x)),
            "gelu": lambda x: nn.gelu(x, approximate=False), "gelu_tanh": lambda x: nn.gelu(x, approximate=True),
            "leaky_relu": lambda x: nn.leaky_relu(x, 0.3), "hard_swish": lambda x: x * nn.relu6(x + 3) * (1 / 6),
            "softmax": nn.softmax, "log_softmax": nn.log_softmax, "softmax_beta": lambda x: nn.softmax(x * 0.5),
            "zeros_like": lambda x: tf.zeros_like(x) + x,
            "fake_quant": lambda x: raw.FakeQuantWithMinMaxArgs(inputs=x, min=-2.0, max=1.5)}
    positive = {"log": math.log, "rsqrt": math.rsqrt, "sqrt": math.sqrt}
    return ({n: (f, {"x": ROWS}) for n, f in real.items()}
            | {n: ((lambda x, f=f: f(tf.abs(x) + 0.1)), {"x": ROWS}) for n, f in positive.items()})


def _binary():
    pair = {"a": ROWS, "b": ROWS}
    found = {"add": tf.add, "sub": tf.subtract, "mul": tf.multiply, "maximum": tf.maximum, "minimum": tf.minimum,
             "squared_difference": tf.math.squared_difference, "div": lambda a, b: a / (tf.abs(b) + 1.0),
             "pow": lambda a, b: tf.pow(tf.abs(a) + 0.5, b), "atan2": tf.math.atan2, "floor_div": tf.math.floordiv,
             "floor_mod": tf.math.floormod, "add_n": lambda a, b: tf.add_n([a, b, a]),
             "less": tf.less, "less_equal": tf.less_equal, "greater": tf.greater, "greater_equal": tf.greater_equal,
             "equal": tf.equal, "not_equal": tf.not_equal, "add_relu": lambda a, b: tf.nn.relu(a + b),
             "logical": lambda a, b: tf.logical_not(tf.logical_or(tf.logical_and(a > 0, b > 0), a > 1)),
             "select": lambda a, b: tf.where(a > b, a, b * 2),
             "select_rows": lambda a, b: tf.raw_ops.Select(condition=a[:, 0] > 0, x=a, y=b)}
    return {n: (f, pair) for n, f in found.items()} | {
        "add_broadcast": (tf.add, {"a": (2, 1, 3), "b": (4, 1)}),
        "select_v2": (lambda a, b: tf.where(a[:, :1] > 0, a, b), pair),
        "prelu": (lambda x: tf.maximum(0.0, x) + _weights(4) * tf.minimum(0.0, x), {"x": IMAGE})}


def _windows():
    conv, image = tf.nn.conv2d, {"x": IMAGE}
    return {
        "conv_same": (lambda x: tf.nn.bias_add(conv(x, _weights(3, 3, 4, 5), 1, "SAME"), _weights(5)), image),
        "conv_valid_relu6": (lambda x: tf.nn.relu6(conv(x, _weights(3, 2, 4, 5), 2, "VALID") + 1.0), image),
        "conv_stride_same": (lambda x: conv(x, _weights(2, 3, 4, 3), [1, 2, 3, 1], "SAME"), image),
        "conv_dilated": (lambda x: conv(x, _weights(3, 3, 4, 3), 1, "SAME", dilations=2), image),
        "conv_groups": (lambda x: conv(x, _weights(3, 3, 2, 6), 1, "SAME"), image),
        "conv_1x1": (lambda x: conv(x, _weights(1, 1, 4, 8), 1, "SAME"), image),
        "conv_1d": (lambda x: tf.nn.conv1d(x, _weights(3, 3, 5), 1, "SAME"), {"x": SERIES}),
        "depthwise": (lambda x: tf.nn.depthwise_conv2d(x, _weights(3, 3, 4, 1), [1, 2, 2, 1], "SAME"), image),
        "depthwise_multiplier": (lambda x: tf.nn.depthwise_conv2d(x, _weights(3, 3, 4, 2), [1, 1, 1, 1], "VALID"),
                                 image),
        "depthwise_dilated": (lambda x: tf.nn.depthwise_conv2d(x, _weights(3, 3, 4, 1), [1, 1, 1, 1], "SAME",
                                                               dilations=[2, 2]), image),
        "conv_3d": (lambda x: tf.nn.conv3d(x, _weights(2, 3, 3, 2, 4), [1, 1, 2, 1, 1], "SAME"),
                    {"x": (1, 3, 5, 4, 2)}),
        "conv_3d_transpose": (lambda x: tf.nn.conv3d_transpose(x, _weights(2, 2, 2, 3, 2), (1, 4, 4, 4, 3), 2),
                              {"x": (1, 2, 2, 2, 2)}),
        "transpose_conv": (lambda x: tf.nn.conv2d_transpose(x, _weights(3, 3, 5, 4), (1, 12, 14, 5), 2), image),
        "transpose_conv_valid": (lambda x: tf.nn.conv2d_transpose(x, _weights(3, 2, 5, 4), (1, 13, 14, 5), 2, "VALID")
                                 + _weights(5), image),
        "transpose_conv_gap": (lambda x: tf.nn.conv2d_transpose(x, _weights(2, 2, 5, 4), (1, 17, 20, 5), 3, "VALID"),
                               image),
        "max_pool": (lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), image),
        "max_pool_same": (lambda x: tf.nn.max_pool2d(x, (3, 2), (2, 1), "SAME"), image),
        "average_pool": (lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"), image),
        "average_pool_same": (lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"), image),
        "local_response": (lambda x: tf.nn.local_response_normalization(x, 1, 1.0, 0.2, 0.7), image),
        "l2_normalization": (lambda x: tf.nn.l2_normalize(x, -1), {"x": ROWS}),
        "space_to_batch": (lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [1, 0]]), image),
        "batch_to_space": (lambda x: tf.batch_to_space(x, [2, 2], [[0, 1], [1, 0]]), {"x": (8, 3, 2, 2)}),
        "space_to_depth": (lambda x: tf.nn.space_to_depth(x, 2), {"x": (1, 4, 6, 3)}),
        "depth_to_space": (lambda x: tf.nn.depth_to_space(x, 2), {"x": (1, 2, 3, 12)}),
    }


def _resize():
    raw, found = tf.raw_ops, {}
    for size in ((12, 9), (4, 3)):
        for align, half in ((False, False), (True, False), (False, True)):
            name = f"{'align' if align else 'half' if half else 'plain'}_{size[0]}"
            for kind, op in (("bilinear", raw.ResizeBilinear), ("nearest", raw.ResizeNearestNeighbor)):
                found[f"resize_{kind}_{name}"] = (lambda x, op=op, size=size, align=align, half=half: op(
                    images=x, size=size, align_corners=align, half_pixel_centers=half), {"x": IMAGE})
    return found


def _products():
    dense = {"x": ROWS}
    return {
        "fully_connected": (lambda x: tf.nn.relu(tf.matmul(x, _weights(5, 7)) + _weights(7)), dense),
        "fully_connected_3d": (lambda x: tf.tensordot(x, _weights(3, 4), 1), {"x": SERIES}),
        "batch_matmul": (tf.matmul, {"a": (2, 3, 4), "b": (2, 4, 5)}),
        "batch_matmul_adjoint": (lambda a, b: tf.matmul(a, b, transpose_a=True, transpose_b=True),
                                 {"a": (2, 4, 3), "b": (1, 5, 4)}),
        "embedding": (lambda i: tf.nn.embedding_lookup(_weights(6, 4), i), {"i": tf.TensorSpec((5,), tf.int32)}),
        "cumsum": (lambda x: tf.cumsum(x, 1, exclusive=True, reverse=True) + tf.cumsum(x, 0), dense),
        "rfft2d": (lambda x: tf.abs(tf.signal.rfft2d(x)), {"x": (2, 8, 8)}),
        "rfft2d_parts": (lambda x: (tf.math.real(tf.signal.rfft2d(x, [4, 16])),
                                    tf.math.imag(tf.signal.rfft2d(x, [4, 16]))), {"x": (6, 6)}),
    }


def _moves():
    x = {"x": (2, 3, 4)}
    return {
        "reshape": (lambda x: tf.reshape(x, (4, -1)), x),
        "squeeze": (lambda x: tf.squeeze(x, [1, 3]), {"x": (2, 1, 3, 1, 1)}),
        "expand_dims": (lambda x: tf.expand_dims(x, -2), x),
        "transpose": (lambda x: tf.transpose(x, (2, 0, 1)), x),
        "concatenation": (lambda a, b: tf.concat([a, b, a * 2], -1), {"a": (2, 3), "b": (2, 1)}),
        "pack": (lambda a, b: tf.stack([a, b], 1), {"a": ROWS, "b": ROWS}),
        "unpack": (lambda x: tuple(tf.unstack(x, axis=1)), x),
        "split": (lambda x: tuple(tf.split(x, 2, axis=2)), x),
        "split_v": (lambda x: tuple(tf.split(x, [1, -1, 1], axis=2)), x),
        "tile": (lambda x: tf.tile(x, (2, 1, 2)), x),
        "broadcast_to": (lambda x: tf.broadcast_to(x, (5, 2, 3, 4)), x),
        "pad": (lambda x: tf.pad(x, [[0, 1], [2, 0], [1, 1]]), x),
        "pad_v2": (lambda x: tf.pad(x, [[0, 1], [2, 0], [1, 1]], constant_values=0.5), x),
        "mirror_reflect": (lambda x: tf.pad(x, [[0, 0], [2, 1], [1, 3]], "REFLECT"), x),
        "mirror_symmetric": (lambda x: tf.pad(x, [[1, 0], [3, 1], [1, 2]], "SYMMETRIC"), x),
        "reverse": (lambda x: tf.reverse(x, [2]), x),
        "reverse_sequence": (lambda x: tf.reverse_sequence(x, [1, 3], 1, 0), x),
        "slice": (lambda x: tf.slice(x, (0, 1, 2), (2, -1, 1)), x),
        "strided_slice": (lambda x: x[1:, ::-2, 1:3], x),
        "strided_slice_new": (lambda x: x[:, tf.newaxis, -1, ...], x),
        "strided_slice_ellipsis": (lambda x: x[..., 1::2], x),
        "gather": (lambda x: tf.gather(x, [[2, 0], [1, 1]], axis=1), x),
        "gather_batch": (lambda x, i: tf.gather(x, i, axis=2, batch_dims=1),
                         {"x": (2, 3, 4), "i": tf.TensorSpec((2, 5), tf.int32)}),
        "gather_nd": (lambda x: tf.gather_nd(x, [[[0, 2]], [[1, 0]]]), x),
        "scatter_nd": (lambda x: tf.scatter_nd([[4], [0], [4]], x, (6, 5)), {"x": ROWS}),
        "one_hot": (lambda i: tf.one_hot(i, 4, 2.0, -1.0, axis=0), {"i": tf.TensorSpec((2, 3), tf.int32)}),
        "segment_sum": (lambda x: tf.math.segment_sum(x, [0, 0, 1]), {"x": ROWS}),
        "unsorted_segment_max": (lambda x: tf.math.unsorted_segment_max(x, [2, 0, 2], 4), {"x": ROWS}),
        "unsorted_segment_sum": (lambda x, i: tf.math.unsorted_segment_sum(x, i, 4),
                                 {"x": ROWS, "i": tf.TensorSpec((3,), tf.int32)}),
        "unsorted_segment_prod": (lambda x: tf.math.unsorted_segment_prod(x, [1, 1, 0], 2), {"x": ROWS}),
        "unsorted_segment_min": (lambda x: tf.math.unsorted_segment_min(x, [1, 1, 0], 2), {"x": ROWS}),
        "matrix_diag": (tf.linalg.diag, {"x": ROWS}),
        "matrix_set_diag": (tf.linalg.set_diag, {"x": (2, 3, 5), "d": (2, 3)}),
        "dynamic_update_slice": (lambda x, u: tf.tensor_scatter_nd_update(x, [[1], [0]], u), {"x": ROWS, "u": (2, 5)}),
        "fill_shape_range": (lambda x: tf.fill(tf.shape(x), 2.0) * tf.cast(tf.range(4), tf.float32) + x
                             + tf.cast(tf.rank(x), tf.float32), x),
        "where": (lambda x: tf.where(x > 0), {"x": ROWS}),
        "unique": (lambda i: tf.unique(i), {"i": tf.TensorSpec((6,), tf.int32)}),
    }


def _reductions():
    reduce = {"mean": tf.reduce_mean, "sum": tf.reduce_sum, "max": tf.reduce_max, "min": tf.reduce_min,
              "prod": tf.reduce_prod}
    found = {f"reduce_{n}": ((lambda x, f=f: f(x, axis=[1, -1])), {"x": (2, 3, 4)}) for n, f in reduce.items()}
    return found | {
        "reduce_mean_keep": (lambda x: tf.reduce_mean(x, axis=[1, 2], keepdims=True), {"x": IMAGE}),
        "reduce_any_all": (lambda x: (tf.reduce_any(x > 1, 1), tf.reduce_all(x > -1, 0, keepdims=True)), {"x": ROWS}),
        "arg_max_min": (lambda x: (tf.argmax(x, 1, tf.int32), tf.argmin(x, 0)), {"x": ROWS}),
        "top_k": (lambda x: tuple(tf.math.top_k(x, 3)), {"x": ROWS}),
        "bucketize": (lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[-1.0, 0.0, 0.5]), {"x": ROWS}),
    }


def _integers():
    pair = {"a": tf.TensorSpec((8,), tf.int32), "b": tf.TensorSpec((8,), tf.int32)}
    nonzero = lambda b: tf.where(b == 0, 3, b)  # noqa: E731
    return {
        "int_arithmetic": (lambda a, b: (a + b) * a - tf.maximum(a, b), pair),
        "int_floor_div": (lambda a, b: a // nonzero(b), pair),
        "int_floor_mod": (lambda a, b: tf.math.floormod(a, nonzero(b)), pair),
        "int_bitwise": (lambda a, b: tf.bitwise.bitwise_xor(a, b), pair),
        "int_right_shift": (lambda a, b: tf.bitwise.right_shift(a, tf.abs(b) % 4), pair),
        "int_reductions": (lambda a, b: (tf.reduce_sum(a), tf.reduce_max(b), tf.reduce_prod(a[:3])), pair),
        "casts": (lambda a, b: (tf.cast(a, tf.float32) / 3, tf.cast(b, tf.bool), tf.cast(a, tf.int64)), pair),
    }


def _nms():
    spec = {"boxes": (12, 4), "scores": (12,)}

    def v4(boxes, scores):
        found = tf.raw_ops.NonMaxSuppressionV4(
            boxes=_corners(boxes), scores=scores, max_output_size=5, iou_threshold=0.3, score_threshold=0.1,
            pad_to_max_output_size=True)
        return tuple(found)

    def v5(boxes, scores):
        found = tf.raw_ops.NonMaxSuppressionV5(
            boxes=_corners(boxes), scores=scores, max_output_size=6, iou_threshold=0.3, score_threshold=0.1,
            soft_nms_sigma=0.0, pad_to_max_output_size=True)
        return tuple(found)

    return {"nms_v4": (v4, spec), "nms_v5": (v5, spec)}


def _corners(boxes):
    start = tf.sigmoid(boxes[:, :2])
    return tf.concat([start, start + 0.3 * tf.sigmoid(boxes[:, 2:])], 1)


def cases():
    """name -> (function, shape or tensor by argument)."""
    found = {}
    for family in (_unary, _binary, _windows, _resize, _products, _moves, _reductions, _integers, _nms):
        found |= family()
    return found
