"""Writes corpus.npz: operators of TensorFlow 2 one by one, with what TensorFlow computed.

    python tests/frontends/tensorflow/make_corpus.py        (where TensorFlow 2 is installed; seeded)

Whole models are written by make_models.py, graphs of TensorFlow 1 by make_corpus1.py.
"""
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.frontends.corpus import Writer

R = tf.raw_ops
RNG = np.random.default_rng(7)


def f(*shape, low=-2.0, high=2.0):
    """Real numbers."""
    return RNG.uniform(low, high, shape).astype(np.float32)


def i(*shape, low=-9, high=9, dtype=np.int32):
    """Whole numbers."""
    return RNG.integers(low, high, shape).astype(dtype)


def add(writer, name, function, rtol=1e-4, atol=1e-5, options=None, **inputs):
    """One case: the function's graph as it is, and its results."""
    specs = [tf.TensorSpec(v.shape, v.dtype, name=k) for k, v in inputs.items()]
    concrete = tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
    results = concrete(*[tf.constant(v) for v in inputs.values()])
    results = results if isinstance(results, (list, tuple)) else [results]
    names = [t.name[:-2] for t in concrete.outputs]
    data = concrete.graph.as_graph_def().SerializeToString()
    writer.add(name, {"model.pb": data}, inputs, dict(zip(names, [r.numpy() for r in results])), rtol, atol,
               options=options)


def elementwise(w):
    for op in ("Abs Neg Exp Sign Floor Ceil Round Rint Sin Cos Tan Atan Sinh Cosh Asinh Erf Erfc Square Expm1 Relu"
               " Relu6 Sigmoid Tanh Elu Selu Softplus Softsign Softmax LogSoftmax Inv Reciprocal LeakyRelu IsNan IsInf"
               " IsFinite ZerosLike OnesLike Identity StopGradient").split():
        key = "features" if op in ("Relu Relu6 Elu Selu Softplus Softsign LeakyRelu".split()) else \
            "logits" if "Softmax" in op else "input" if op in ("Identity", "StopGradient") else "x"
        if op == "StopGradient":
            add(w, op, lambda x: tf.stop_gradient(x) + 1, x=f(2, 5))
        else:
            add(w, op, lambda x, op=op, key=key: getattr(R, op)(**{key: x}), x=f(2, 3, 5))
    for op in "Log Log1p Sqrt Rsqrt Acosh".split():
        add(w, op, lambda x, op=op: getattr(R, op)(x=x), x=f(2, 3, low=1.01, high=5))
    for op in "Asin Acos Atanh".split():
        add(w, op, lambda x, op=op: getattr(R, op)(x=x), x=f(2, 3, low=-0.9, high=0.9))
    for op in ("Add AddV2 Sub Mul RealDiv Div Maximum Minimum SquaredDifference FloorDiv FloorMod Mod TruncateMod Atan2"
               " DivNoNan MulNoNan Xdivy Equal NotEqual Less LessEqual Greater GreaterEqual ApproximateEqual").split():
        same = op == "ApproximateEqual"
        add(w, op, lambda x, y, op=op: getattr(R, op)(x=x, y=y), x=f(2, 3, 4), y=f(2, 3, 4) if same else f(3, 1))
    for op in "FloorDiv FloorMod TruncateDiv TruncateMod Maximum Sub Mul".split():
        add(w, op + "_int", lambda x, y, op=op: getattr(R, op)(x=x, y=y), x=i(4, 5, low=-20, high=20),
            y=RNG.choice([-3, -2, 2, 3, 7], (4, 5)).astype(np.int32))
    for op in "BitwiseAnd BitwiseOr BitwiseXor".split():
        add(w, op, lambda x, y, op=op: getattr(R, op)(x=x, y=y), x=i(4), y=i(4))
    add(w, "Invert", lambda x: R.Invert(x=x), x=i(4))
    add(w, "LeftShift", lambda x: R.LeftShift(x=x, y=tf.constant([1, 2, 3, 0])), x=i(4))
    add(w, "RightShift", lambda x: R.RightShift(x=x, y=tf.constant([1, 2, 3, 0])), x=i(4))
    for op in "Pow Xlogy Xlog1py".split():
        add(w, op, lambda x, y, op=op: getattr(R, op)(x=x, y=y), x=f(2, 3, low=0.1), y=f(2, 3, low=0.1))
    zero = np.array([[0, 1, 2]], np.float32)
    for op in "DivNoNan MulNoNan Xdivy Xlogy".split():
        add(w, op + "_zero", lambda x, y, op=op: getattr(R, op)(x=x, y=y), x=zero.T, y=zero)
    add(w, "AddN", lambda x, y: R.AddN(inputs=[x, y, x]), x=f(2, 3), y=f(2, 3))
    add(w, "LeakyRelu_alpha", lambda x: R.LeakyRelu(features=x, alpha=0.3), x=f(3, 4))
    add(w, "ClipByValue", lambda x: tf.clip_by_value(x, -0.5, 1.0), x=f(3, 4))
    for to in (tf.int32, tf.bool, tf.float16, tf.int64):
        add(w, f"Cast_{to.name}", lambda x, to=to: tf.cast(x, to), x=f(3, 4))
    for op in "LogicalAnd LogicalOr".split():
        add(w, op, lambda x, y, op=op: getattr(R, op)(x=x > 0, y=y > 0), x=f(3, 4), y=f(3, 4))
    add(w, "LogicalNot", lambda x: tf.logical_not(x > 0), x=f(3, 4))
    add(w, "Select", lambda c, x, y: R.Select(condition=c > 0, x=x, y=y), c=f(3), x=f(3, 4), y=f(3, 4))
    add(w, "SelectV2", lambda c, x, y: R.SelectV2(condition=c > 0, t=x, e=y), c=f(3, 1), x=f(3, 4), y=f(4))
    add(w, "Where", lambda x: tf.where(x > 0), x=f(3, 4))
    add(w, "L2Loss", lambda x: tf.nn.l2_loss(x), x=f(3, 4))
    add(w, "InTopKV2", lambda p, t: tf.math.in_top_k(t, p, 2), p=f(4, 5), t=i(4, low=0, high=5))
    add(w, "gelu_exact", lambda x: tf.nn.gelu(x), x=f(3, 4))
    add(w, "gelu_tanh", lambda x: tf.nn.gelu(x, True), x=f(3, 4))
    add(w, "hard_swish", lambda x: x * tf.nn.relu6(x + 3) * (1 / 6), x=f(3, 4))
    args = tf.quantization.fake_quant_with_min_max_args
    add(w, "FakeQuantArgs", lambda x: args(x, -1.5, 1.7, 8), x=f(3, 4))
    add(w, "FakeQuantArgs_narrow", lambda x: args(x, 0.0, 1.7, 4, True), x=f(3, 4))
    add(w, "FakeQuantVars", lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -1.2, 0.9), x=f(3, 4))
    add(w, "FakeQuantPerChannel", lambda x: tf.quantization.fake_quant_with_min_max_vars_per_channel(
        x, [-1.2, -0.5], [0.9, 1.5]), x=f(3, 2))
    add(w, "QuantizeAndDequantizeV2", lambda x: R.QuantizeAndDequantizeV2(
        input=x, input_min=-1.0, input_max=1.5, signed_input=True, num_bits=8, range_given=True), x=f(3, 4))


def windows(w):
    for padding in ("SAME", "VALID"):
        for stride in (1, 2):
            add(w, f"Conv2D_{padding}_{stride}", lambda x, p=padding, s=stride: tf.nn.conv2d(
                x, f(3, 2, 3, 4), s, p), x=f(2, 7, 6, 3))
        add(w, f"Depthwise_{padding}", lambda x, p=padding: tf.nn.depthwise_conv2d(
            x, f(3, 3, 3, 2), [1, 2, 2, 1], p), x=f(1, 7, 8, 3))
        add(w, f"MaxPool_{padding}", lambda x, p=padding: tf.nn.max_pool2d(x, 3, 2, p), x=f(1, 7, 8, 3))
        add(w, f"AvgPool_{padding}", lambda x, p=padding: tf.nn.avg_pool2d(x, 3, 2, p), x=f(1, 7, 8, 3))
        add(w, f"Conv2DBackpropInput_{padding}", lambda x, p=padding: tf.nn.conv2d_transpose(
            x, f(3, 3, 4, 3), [1, 8 if p == "SAME" else 9, 10 if p == "SAME" else 11, 4], 2, p), x=f(1, 4, 5, 3))
        add(w, f"Conv3DBackpropInputV2_{padding}", lambda x, p=padding: tf.nn.conv3d_transpose(
            x, f(3, 3, 3, 2, 3), [1, 6, 6, 4, 2] if p == "SAME" else [1, 7, 7, 5, 2], 2, p), x=f(1, 3, 3, 2, 3))
        add(w, f"Conv3D_{padding}", lambda x, p=padding: tf.nn.conv3d(x, f(2, 3, 3, 2, 3), [1, 1, 2, 2, 1], p),
            x=f(1, 4, 5, 6, 2))
        add(w, f"MaxPool3D_{padding}", lambda x, p=padding: tf.nn.max_pool3d(x, 2, 2, p), x=f(1, 4, 5, 6, 2))
        add(w, f"AvgPool3D_{padding}", lambda x, p=padding: tf.nn.avg_pool3d(x, 2, 2, p), x=f(1, 4, 5, 6, 2))
        add(w, f"ExtractImagePatches_{padding}", lambda x, p=padding: tf.image.extract_patches(
            x, [1, 3, 2, 1], [1, 2, 1, 1], [1, 1, 1, 1], p), x=f(1, 6, 5, 2))
    add(w, "Conv2D_explicit", lambda x: tf.nn.conv2d(x, f(3, 3, 3, 4), 2, [[0, 0], [1, 2], [0, 3], [0, 0]]),
        x=f(1, 7, 6, 3))
    add(w, "Conv2D_dilated", lambda x: tf.nn.conv2d(x, f(3, 3, 3, 4), 1, "SAME", dilations=2), x=f(1, 9, 8, 3))
    add(w, "Depthwise_dilated", lambda x: tf.nn.depthwise_conv2d(x, f(3, 3, 3, 1), [1, 1, 1, 1], "SAME",
                                                                  dilations=[2, 2]), x=f(1, 9, 8, 3))
    add(w, "conv1d", lambda x: tf.nn.conv1d(x, f(3, 3, 4), 2, "SAME"), x=f(2, 9, 3))
    add(w, "conv1d_transpose", lambda x: tf.nn.conv1d_transpose(x, f(3, 4, 3), [2, 18, 4], 2), x=f(2, 9, 3))
    add(w, "atrous_conv2d", lambda x: tf.nn.atrous_conv2d(x, f(3, 3, 3, 4), 2, "SAME"), x=f(1, 9, 8, 3))
    add(w, "atrous_spelled_out", lambda x: tf.batch_to_space(tf.nn.conv2d(tf.space_to_batch(
        x, [2, 2], [[2, 3], [2, 2]]), f(3, 3, 3, 4), 1, "VALID"), [2, 2], [[0, 1], [0, 0]]), x=f(1, 9, 8, 3))
    add(w, "SpaceToBatchND", lambda x: tf.space_to_batch(x, [2, 3], [[0, 1], [2, 1]]), x=f(2, 5, 6, 3))
    add(w, "BatchToSpaceND", lambda x: tf.batch_to_space(x, [2, 3], [[0, 1], [1, 0]]), x=f(12, 3, 2, 3))
    add(w, "MaxPoolV2", lambda x: R.MaxPoolV2(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"),
        x=f(1, 6, 6, 2))
    add(w, "MaxPoolWithArgmax", lambda x: list(R.MaxPoolWithArgmax(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1],
                                                                   padding="VALID")), x=f(2, 6, 6, 3))
    add(w, "LRN", lambda x: tf.nn.local_response_normalization(x, 2, 1.5, 0.4, 0.7), x=f(1, 4, 4, 7))
    add(w, "BiasAdd", lambda x: tf.nn.bias_add(x, f(3)), x=f(1, 4, 4, 3))
    add(w, "BiasAdd_NCHW", lambda x: tf.nn.bias_add(x, f(4), "NCHW"), x=f(1, 4, 5, 3))
    for version in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
        add(w, version, lambda x, v=version: getattr(R, v)(
            x=x, scale=f(3), offset=f(3), mean=f(3), variance=f(3, low=0.5), epsilon=0.01, is_training=False)[0],
            x=f(2, 4, 4, 3))
    add(w, "FusedBatchNormV3_training", lambda x: list(R.FusedBatchNormV3(
        x=x, scale=f(3), offset=f(3), mean=[], variance=[], epsilon=0.01, is_training=True)[:3]), x=f(2, 4, 4, 3))
    add(w, "conv_bn_relu", lambda x: tf.nn.relu(R.FusedBatchNormV3(
        x=tf.nn.conv2d(x, f(3, 3, 3, 4), 1, "SAME"), scale=f(4), offset=f(4), mean=f(4), variance=f(4, low=0.5),
        is_training=False)[0]), x=f(1, 6, 6, 3))
    for op in ("DepthToSpace", "SpaceToDepth"):
        add(w, op, lambda x, op=op: getattr(R, op)(input=x, block_size=2), x=f(1, 4, 6, 8))


def images(w):
    for op in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic"):
        for corners, half in ((False, False), (True, False), (False, True)):
            for size in ((10, 9), (3, 4)):
                add(w, f"{op}_{size[0]}" + "_corners" * corners + "_half" * half,
                    lambda x, op=op, c=corners, h=half, s=size: getattr(R, op)(
                        images=x, size=list(s), align_corners=c, half_pixel_centers=h), x=f(1, 5, 7, 2), atol=1e-4)
    boxes = np.array([[0.1, 0.1, 0.8, 0.9], [0, 0, 1, 1], [-0.2, 0.3, 0.5, 1.2], [0.9, 0.8, 0.2, 0.1]], np.float32)
    for method in ("bilinear", "nearest"):
        add(w, f"CropAndResize_{method}", lambda x, b, m=method: R.CropAndResize(
            image=x, boxes=b, box_ind=[0, 1, 0, 1], crop_size=[4, 3], method=m, extrapolation_value=0.5),
            x=f(2, 6, 7, 2), b=boxes)
    add(w, "CropAndResize_1", lambda x, b: R.CropAndResize(image=x, boxes=b, box_ind=[0, 1, 0, 1], crop_size=[1, 1]),
        x=f(2, 6, 7, 2), b=boxes)
    add(w, "AdjustContrastv2", lambda x: R.AdjustContrastv2(images=x, contrast_factor=1.7), x=f(2, 5, 5, 3))
    corner = RNG.uniform(0, 0.7, (12, 2))
    several = np.concatenate([corner, corner + RNG.uniform(0.1, 0.4, (12, 2))], 1).astype(np.float32)
    scores = RNG.permutation(12).astype(np.float32) / 12
    add(w, "NonMaxSuppressionV3", lambda b, s: R.NonMaxSuppressionV3(
        boxes=b, scores=s, max_output_size=5, iou_threshold=0.3, score_threshold=0.2), b=several, s=scores)
    for pad in (False, True):
        add(w, f"NonMaxSuppressionV4_{pad}", lambda b, s, p=pad: list(R.NonMaxSuppressionV4(
            boxes=b, scores=s, max_output_size=10, iou_threshold=0.3, score_threshold=0.2, pad_to_max_output_size=p)),
            b=several, s=scores)
        add(w, f"NonMaxSuppressionV5_{pad}", lambda b, s, p=pad: list(R.NonMaxSuppressionV5(
            boxes=b, scores=s, max_output_size=10, iou_threshold=0.3, score_threshold=0.2, soft_nms_sigma=0.0,
            pad_to_max_output_size=p)), b=several, s=scores)
    add(w, "NonMaxSuppression_filled", lambda b, s: list(_filled(b, s)), b=several, s=scores)
    for sets in (1, 3):
        for total in (6, 40):
            add(w, f"CombinedNonMaxSuppression_{sets}_{total}", lambda b, s, t=total: list(
                tf.image.combined_non_max_suppression(b, s, 4, t, 0.3, 0.25)),
                b=np.stack([several, several[::-1]])[:, :, None].repeat(sets, 2)
                + RNG.uniform(0, 0.01, (2, 12, sets, 4)).astype(np.float32),
                s=RNG.permutation(72).reshape(2, 12, 3).astype(np.float32) / 72)


def _filled(boxes, scores):
    """As detection models make the number of boxes known again."""
    kept, best = tf.image.non_max_suppression_with_scores(boxes, scores, 10, 0.3, 0.2)
    count = tf.shape(kept)[0]
    kept = tf.concat([kept, tf.zeros([10 - count], tf.int32)], 0)
    best = tf.concat([best, tf.zeros([10 - count]) - 1], 0)
    best = tf.where(tf.range(10) < count, tf.concat([best[:count], tf.fill([10 - count], 0.5)], 0), -1.0)
    return tf.gather(boxes, kept), best


def movement(w):
    add(w, "Reshape", lambda x: tf.reshape(x, [2, -1]), x=f(2, 3, 4))
    add(w, "Reshape_shape_of", lambda x: tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1] * tf.shape(x)[2]]), x=f(2, 3, 4))
    add(w, "Squeeze", lambda x: tf.squeeze(x, [1, -1]), x=f(2, 1, 3, 1))
    add(w, "Squeeze_all", lambda x: tf.squeeze(x), x=f(2, 1, 3, 1))
    add(w, "ExpandDims", lambda x: tf.expand_dims(x, -2), x=f(2, 3))
    add(w, "Transpose", lambda x: tf.transpose(x, [2, 0, 1]), x=f(2, 3, 4))
    add(w, "Pack", lambda x, y: tf.stack([x, y], -1), x=f(2, 3), y=f(2, 3))
    add(w, "Unpack", lambda x: tf.unstack(x, axis=1), x=f(2, 3, 2))
    add(w, "ConcatV2", lambda x, y: tf.concat([x, y], -1), x=f(2, 3), y=f(2, 2))
    add(w, "Tile", lambda x: tf.tile(x, [2, 3]), x=f(2, 2))
    add(w, "BroadcastTo", lambda x: tf.broadcast_to(x, [4, 2, 3]), x=f(2, 1))
    add(w, "Fill", lambda x: tf.fill(tf.shape(x), 2.5) + x, x=f(2, 3))
    add(w, "Range", lambda x: tf.cast(tf.range(0, tf.shape(x)[1], 2), tf.float32) + x[:, ::2], x=f(2, 5))
    add(w, "LinSpace", lambda x: tf.linspace(0.0, 1.0, 5) + x, x=f(2, 5))
    for mode in ("REFLECT", "SYMMETRIC"):
        add(w, f"MirrorPad_{mode}", lambda x, m=mode: tf.pad(x, [[0, 0], [2, 1], [0, 2]], m), x=f(2, 4, 3))
    add(w, "Pad", lambda x: tf.pad(x, [[0, 1], [2, 0]]), x=f(2, 3))
    add(w, "PadV2", lambda x: tf.pad(x, [[0, 1], [2, 0]], constant_values=1.5), x=f(2, 3))
    add(w, "StridedSlice", lambda x: x[1:, ::-1, tf.newaxis, ..., 2], x=f(3, 4, 2, 3))
    add(w, "StridedSlice_ends", lambda x: [x[-2:, 3:0:-2], x[:, -1], x[..., :-1], x[1], x[2:1], x[:100, -100:]],
        x=f(3, 4))
    add(w, "StridedSlice_new", lambda x: x[tf.newaxis, :, 1, tf.newaxis, tf.newaxis], x=f(3, 4))
    add(w, "Slice", lambda x: tf.slice(x, [1, 0, 2], [1, -1, 2]), x=f(3, 4, 5))
    add(w, "Split", lambda x: tf.split(x, 3, 1), x=f(2, 6))
    add(w, "SplitV", lambda x: tf.split(x, [1, -1, 2], 1), x=f(2, 6))
    add(w, "ReverseV2", lambda x: tf.reverse(x, [0, -1]), x=f(2, 3, 4))
    add(w, "ReverseSequence", lambda x: tf.reverse_sequence(x, [2, 3, 1], 1, 0), x=f(3, 4, 2))
    add(w, "ReverseSequence_batch2", lambda x: tf.reverse_sequence(x, [2, 3], 0, 2), x=f(3, 4, 2))
    add(w, "Roll", lambda x: tf.roll(x, [1, -2], [0, 1]), x=f(3, 5))
    add(w, "MatrixBandPart", lambda x: tf.linalg.band_part(x, 1, -1), x=f(2, 4, 5))
    add(w, "MatrixDiag", lambda x: tf.linalg.diag(x), x=f(2, 4))
    add(w, "MatrixDiagPart", lambda x: tf.linalg.diag_part(x), x=f(2, 4, 5))
    add(w, "MatrixSetDiag", lambda x, y: tf.linalg.set_diag(x, y), x=f(2, 4, 4), y=f(2, 4))
    add(w, "Shape", lambda x: [tf.shape(x), tf.size(x), tf.rank(x), x + 1], x=f(2, 4, 5))
    add(w, "Gather", lambda x, n: tf.gather(x, n, axis=1), x=f(3, 5), n=i(2, 2, low=0, high=5))
    add(w, "Gather_batch", lambda x, n: tf.gather(x, n, batch_dims=1), x=f(3, 5, 2), n=i(3, 4, low=0, high=5))
    add(w, "Gather_batch_axis", lambda x, n: tf.gather(x, n, axis=2, batch_dims=1), x=f(3, 2, 5, 2),
        n=i(3, 4, low=0, high=5))
    add(w, "GatherNd", lambda x, n: tf.gather_nd(x, n), x=f(3, 5, 2), n=i(4, 2, low=0, high=3))
    add(w, "GatherNd_batch", lambda x, n: tf.gather_nd(x, n, 1), x=f(3, 5, 2), n=i(3, 4, 1, low=0, high=5))
    add(w, "ScatterNd", lambda u: tf.scatter_nd([[1], [3], [1]], u, [5, 2]), u=f(3, 2))
    for op in ("Update", "Add", "Sub", "Max", "Min"):
        add(w, f"TensorScatter{op}", lambda x, u, op=op: getattr(R, "TensorScatter" + op)(
            tensor=x, indices=[[0, 1], [2, 0]], updates=u), x=f(3, 2), u=f(2))
    add(w, "StridedSlice_computed", lambda x, n: [x[n[0]], x[:, n[1], ::2], x[n[0], 1:n[1]], x[n[0] - 3:, :, n[1]]],
        x=f(3, 4, 5), n=np.array([1, 2], np.int32))
    add(w, "OneHot", lambda x: tf.one_hot(x, 4, 2.0, -1.0), x=i(2, 3, low=-1, high=5))
    add(w, "OneHot_axis", lambda x: tf.one_hot(x, 4, axis=0), x=i(2, 3, low=0, high=4))
    add(w, "TopKV2", lambda x: list(tf.math.top_k(x, 3)), x=f(2, 7))
    add(w, "NthElement", lambda x: R.NthElement(input=x, n=2), x=f(2, 7))
    add(w, "Unique", lambda x: list(tf.unique(x)), x=i(8, low=0, high=4))
    add(w, "DynamicStitch", lambda x, y: tf.dynamic_stitch([[0, 3], [2, 1]], [x, y]), x=f(2, 3), y=f(2, 3))
    add(w, "InvertPermutation", lambda x: tf.gather(x, tf.math.invert_permutation([2, 0, 1])), x=f(3))
    add(w, "UnravelIndex", lambda x: tf.unravel_index(x, [3, 4]), x=i(5, low=0, high=12))


def sums(w):
    for op in "Sum Mean Max Min Prod".split():
        add(w, op, lambda x, op=op: getattr(R, op)(input=x, axis=[1, -1]), x=f(2, 3, 4))
        add(w, op + "_keep", lambda x, op=op: getattr(R, op)(input=x, axis=1, keep_dims=True), x=f(2, 3, 4))
    add(w, "Sum_nothing", lambda x: R.Sum(input=x, axis=tf.constant([], tf.int32)) + 1, x=f(2, 3))
    add(w, "EuclideanNorm", lambda x: R.EuclideanNorm(input=x, axis=[1]), x=f(2, 3))
    add(w, "All", lambda x: [tf.reduce_all(x > 0, 1), tf.reduce_any(x > 1)], x=f(4, 2))
    add(w, "ArgMax", lambda x: [tf.argmax(x, 1), tf.argmin(x, 0, tf.int32)], x=f(3, 4))
    for exclusive in (False, True):
        for reverse in (False, True):
            name = "_exclusive" * exclusive + "_reverse" * reverse
            add(w, "Cumsum" + name, lambda x, e=exclusive, r=reverse: tf.cumsum(x, 1, e, r), x=f(2, 5))
            add(w, "Cumprod" + name, lambda x, e=exclusive, r=reverse: tf.math.cumprod(x, 1, e, r), x=f(2, 5))
    add(w, "SegmentSum", lambda x: tf.math.segment_sum(x, [0, 0, 2, 2]), x=f(4, 3))
    add(w, "UnsortedSegmentSum", lambda x, n: tf.math.unsorted_segment_sum(x, n, 4), x=f(5, 3), n=i(5, low=0, high=4))
    add(w, "MatMul", lambda x, y: tf.matmul(x, y, transpose_a=True, transpose_b=True), x=f(3, 2), y=f(4, 3))
    add(w, "BatchMatMulV2", lambda x, y: tf.matmul(x, y, transpose_b=True), x=f(2, 3, 2, 4), y=f(3, 5, 4))
    add(w, "BatchMatMul", lambda x, y: R.BatchMatMul(x=x, y=y, adj_x=True), x=f(2, 4, 3), y=f(2, 4, 5))
    add(w, "Einsum", lambda x, y: tf.einsum("bqhd,bkhd->bhqk", x, y), x=f(2, 3, 2, 4), y=f(2, 5, 2, 4))
    add(w, "Einsum_dots", lambda x, y: tf.einsum("...ij,jk->...ik", x, y), x=f(2, 3, 2, 4), y=f(4, 5))
    add(w, "Bucketize", lambda x: [R.Bucketize(input=x, boundaries=[-1.0, 0.0, 0.5]),
                                   R.Bucketize(input=tf.cast(x * 2, tf.int32), boundaries=[-1.5, 1.0])], x=f(3, 4))
    add(w, "Bincount", lambda x, y: [tf.math.bincount(x, y, minlength=4, maxlength=4),
                                     R.Bincount(arr=x, size=6, weights=y)], x=i(7, low=0, high=6), y=f(7))
    for binary in (False, True):
        add(w, f"DenseBincount_{binary}", lambda x, b=binary: tf.math.bincount(
            x, minlength=5, maxlength=5, axis=-1, binary_output=b, dtype=tf.float32), x=i(3, 6, low=0, high=7))
    add(w, "Cross", lambda x, y: tf.linalg.cross(x, y), x=f(2, 3), y=f(2, 3))


def control(w):
    def loop(x):
        return tf.while_loop(lambda k, v: k < 4, lambda k, v: (k + 1, tf.nn.relu(v) * 1.5 - 0.25), (0, x))[1]

    def listed(x):
        array = tf.TensorArray(tf.float32, 3)
        array = tf.while_loop(lambda k, a: k < 3, lambda k, a: (k + 1, a.write(k, x[:, k] * 2.0)), (0, array))[1]
        return array.stack()

    inner = tf.function(lambda v: tf.nn.relu(v) + 1.0)
    add(w, "While", loop, x=f(2, 3))
    add(w, "TensorList", listed, x=f(2, 3))
    add(w, "If", lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x - 1.0), x=f(2, 3))
    add(w, "If_known", lambda x: tf.cond(tf.shape(x)[0] > 1, lambda: x * 2.0, lambda: x - 1.0), x=f(2, 3))
    add(w, "Case", lambda x, n: tf.switch_case(n, [lambda: x, lambda: x * 2.0, lambda: x * 3.0]), x=f(2, 3),
        n=np.int32(1) * np.ones((), np.int32))
    add(w, "PartitionedCall", lambda x: inner(inner(x)), x=f(2, 3))
    add(w, "map_fn", lambda x: tf.map_fn(lambda row: tf.nn.softmax(row) * 2.0, x), x=f(3, 4))
    add(w, "scan", lambda x: tf.scan(lambda a, row: a * 0.5 + row, x), x=f(4, 3))
    add(w, "Assert", lambda x: _asserted(x), x=f(2, 3))


def _asserted(x):
    with tf.control_dependencies([tf.debugging.assert_less(tf.reduce_max(x), 100.0)]):
        return tf.identity(x) + 1.0


def recurrent(w):
    size, wide = 3, 4
    weight, bias, peephole = f(wide + size, 4 * size), f(4 * size), f(size)
    for watch in (False, True):
        add(w, f"LSTMBlockCell_{watch}", lambda x, c, h, p=watch: list(R.LSTMBlockCell(
            x=x, cs_prev=c, h_prev=h, w=weight, wci=peephole, wcf=peephole, wco=peephole, b=bias, use_peephole=p,
            cell_clip=0.5)), x=f(2, wide), c=f(2, size), h=f(2, size))
    for op in ("BlockLSTM", "BlockLSTMV2"):
        more = {"forget_bias": 1.0} if op == "BlockLSTM" else {}
        add(w, op, lambda x, c, h, op=op, more=more: [y[:3] for y in getattr(R, op)(
            seq_len_max=tf.constant(3, tf.int64), x=x, cs_prev=c, h_prev=h, w=weight, wci=peephole, wcf=peephole,
            wco=peephole, b=bias, **more)], x=f(4, 2, wide), c=f(2, size), h=f(2, size))
    add(w, "GRUBlockCell", lambda x, h: list(R.GRUBlockCell(
        x=x, h_prev=h, w_ru=f(wide + size, 2 * size), w_c=f(wide + size, size), b_ru=f(2 * size), b_c=f(size))),
        x=f(2, wide), h=f(2, size))


def main():
    writer = Writer(Path(__file__).with_name("corpus.npz"))
    for family in (elementwise, windows, images, movement, sums, control, recurrent):
        family(writer)
    writer.save()


if __name__ == "__main__":
    main()
