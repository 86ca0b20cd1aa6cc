"""Cases of `keras.ops` and of TensorFlow functions in functional models."""

import numpy as np


def operations(m):
    """`keras.ops` in a functional model."""
    from keras import ops

    A, B = (2, 3, 4), (2, 3, 4)
    one = (
        "absolute arcsinh arctan ceil cos cosh exp expm1 floor negative sign sin sinh square tan tanh relu sigmoid "
        "softplus softsign silu selu elu gelu hard_sigmoid hard_silu relu6 leaky_relu softmax log_softmax celu glu "
        "mish log_sigmoid hard_tanh isnan isinf erf round identity tanh_shrink"
    ).split()
    m.many("ops_one", {n: lambda x, n=n: getattr(ops, n)(x) for n in one}, A)
    positive = "sqrt rsqrt log log1p log2 log10 reciprocal".split()
    m.many(
        "ops_positive",
        {n: lambda x, n=n: getattr(ops, n)(x) for n in positive},
        A,
        values={"x0": np.abs(m.array(A)) + 0.1},
    )
    two = (
        "add subtract multiply divide maximum minimum greater greater_equal less less_equal equal not_equal mod "
        "floor_divide"
    ).split()
    m.many("ops_two", {n: lambda x, y, n=n: getattr(ops, n)(x, y) for n in two}, A, B)
    sums = "sum mean max min prod var std logsumexp".split()
    m.many("ops_sums", {n: lambda x, n=n: getattr(ops, n)(x, axis=1) for n in sums}, A)
    m.many("ops_sums_keep", {n: lambda x, n=n: getattr(ops, n)(x, axis=(1, 2), keepdims=True) for n in sums}, A)
    m.call("ops_power", lambda x: ops.power(x, 2.0), A)
    m.call("ops_arithmetic", lambda x, y: (1 - x) / (2 + y * y) + x**2 - 3 * -y, A, B)
    m.call("ops_logic", lambda x, y: ops.where(ops.logical_and(x > 0, ops.logical_not(y > 0)), x, y), A, B)
    m.call("ops_clip", lambda x: ops.clip(x, -0.5, 0.5), A)
    m.call("ops_reshape", lambda x: ops.reshape(x, (-1, 6)), A)
    m.call("ops_transpose", lambda x: ops.transpose(x, (0, 2, 1)), A)
    m.call("ops_swapaxes", lambda x: ops.swapaxes(x, 1, 2), A)
    m.call("ops_moveaxis", lambda x: ops.moveaxis(x, 1, -1), A)
    m.call("ops_squeeze", lambda x: ops.squeeze(ops.expand_dims(x, 1), 1), A)
    m.call("ops_concatenate", lambda x, y: ops.concatenate([x, y], axis=-1), A, B)
    m.call("ops_stack", lambda x, y: ops.stack([x, y], axis=1), A, B)
    m.call("ops_split", lambda x: list(ops.split(x, 2, axis=-1)), A)
    m.call("ops_split_places", lambda x: list(ops.split(x, [1, 3], axis=-1)), A)
    m.call("ops_getitem", lambda x: x[:, 1:, ::2], A)
    m.call("ops_getitem_number", lambda x: x[:, -1], A)
    m.call("ops_getitem_new", lambda x: x[:, None, ..., 1], A)
    m.call("ops_flip", lambda x: ops.flip(x, axis=1), A)
    m.call("ops_tile", lambda x: ops.tile(x, (1, 2, 1)), A)
    m.call("ops_repeat", lambda x: ops.repeat(x, 3, axis=1), A)
    m.call("ops_broadcast", lambda x: ops.broadcast_to(x[:, :1], (2, 3, 4)), A)
    m.call("ops_pad", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1))), A)
    m.call("ops_pad_reflect", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode="reflect"), A)
    m.call("ops_take", lambda x: ops.take(x, [0, 2], axis=1), A)
    m.call("ops_cast", lambda x: ops.cast(x > 0, "float32"), A)
    m.call("ops_one_hot", lambda x: ops.one_hot(x, 10), ((2, 3), "int32"))
    m.call("ops_argmax", lambda x: ops.argmax(x, axis=-1), A)
    m.call("ops_cumsum", lambda x: ops.cumsum(x, axis=1), A)
    m.call("ops_top_k", lambda x: list(ops.top_k(x, 2)), A)
    m.call("ops_matmul", lambda x, y: ops.matmul(x, ops.transpose(y, (0, 2, 1))), A, B)
    m.call("ops_einsum", lambda x, y: ops.einsum("abc,adc->abd", x, y), A, B)
    m.call("ops_normalize", lambda x: ops.normalize(x, axis=-1), A)
    m.call("ops_norm", lambda x: ops.norm(x, axis=-1), A)
    m.call("ops_tril", lambda x: ops.tril(x), A)
    m.call("ops_softmax_axis", lambda x: ops.softmax(x, axis=1), A)
    m.call("ops_resize", lambda x: ops.image.resize(x, (8, 9)), (1, 4, 5, 2))
    m.call("ops_max_pool", lambda x: ops.max_pool(x, 2, strides=2, padding="same"), (1, 5, 5, 2))
    m.call("ops_average_pool", lambda x: ops.average_pool(x, 2), (1, 5, 5, 2))
    m.call("ops_zeros_like", lambda x: x + ops.ones_like(x) - ops.zeros_like(x), A)
    m.many(
        "ops_more_one",
        {
            "fabs": ops.abs,
            "exp2": ops.exp2,
            "trunc": ops.trunc,
            "isfinite": ops.isfinite,
            "roll": lambda x: ops.roll(x, 1, axis=1),
            "diff": lambda x: ops.diff(x, axis=-1),
            "sort": lambda x: ops.sort(x, axis=1),
            "argsort": lambda x: ops.argsort(x),
            "full_like": lambda x: x + ops.full_like(x, 2.5),
            "count": lambda x: ops.count_nonzero(x, axis=1),
            "mean": lambda x: ops.moments(x, axes=[1])[0],
            "variance": lambda x: ops.moments(x, axes=[1, 2])[1],
            "rms": lambda x: ops.rms_normalization(x),
            "bias": lambda x: ops.convert_to_tensor(x) + 1,
        },
        A,
    )
    m.many(
        "ops_more_two",
        {
            "logaddexp": ops.logaddexp,
            "vstack": lambda x, y: ops.vstack([x, y]),
            "hstack": lambda x, y: ops.hstack([x, y]),
            "tensordot": lambda x, y: ops.tensordot(x, y, axes=[[0, 1], [0, 1]]),
        },
        A,
        B,
    )
    heads = (2, 4, 2, 3)
    m.call("ops_attention", lambda q, k, v: ops.dot_product_attention(q, k, v), heads, heads, heads)
    m.call("ops_attention_causal", lambda q: ops.dot_product_attention(q, q, q, is_causal=True), heads)
    m.call("ops_mixed", lambda x, y: x * ops.cast(y, "float32") + y, A, ((2, 3, 4), "int32"))


def functions(m):
    """TensorFlow functions in a functional model of tf.keras."""
    import tensorflow as tf

    A, B = (2, 3, 4), (2, 3, 4)
    one = (
        "tf.abs tf.exp tf.floor tf.negative tf.sign tf.sin tf.square tf.tanh tf.nn.relu tf.nn.relu6 "
        "tf.sigmoid tf.nn.selu tf.nn.elu tf.nn.silu tf.nn.gelu tf.nn.leaky_relu tf.nn.softmax "
        "tf.nn.log_softmax tf.math.softplus tf.nn.softsign tf.math.erf tf.identity tf.math.log_sigmoid tf.math.expm1"
    ).split()
    m.many("tf_one", {n: lambda x, n=n: eval(n, {"tf": tf})(x) for n in one}, A)
    positive = "tf.sqrt tf.math.rsqrt tf.math.log tf.math.log1p tf.math.reciprocal".split()
    m.many(
        "tf_positive",
        {n: lambda x, n=n: eval(n, {"tf": tf})(x) for n in positive},
        A,
        values={"x0": np.abs(m.array(A)) + 0.1},
    )
    two = "tf.add tf.subtract tf.multiply tf.divide tf.maximum tf.minimum tf.math.squared_difference".split()
    m.many("tf_two", {n: lambda x, y, n=n: eval(n, {"tf": tf})(x, y) for n in two}, A, B)
    sums = ["reduce_" + n for n in "sum mean max min prod variance std logsumexp".split()]
    m.many("tf_sums", {n: lambda x, n=n: getattr(tf.math, n)(x, axis=[1, 2]) for n in sums}, A)
    m.many("tf_sums_keep", {n: lambda x, n=n: getattr(tf.math, n)(x, axis=-1, keepdims=True) for n in sums}, A)
    m.call("tf_arithmetic", lambda x, y: (1 - x) / (2 + y * y) + x**2 - 3 * -y, A, B)
    m.call("tf_where", lambda x, y: tf.where(tf.logical_and(x > 0, y < 0.5), x, y), A, B)
    m.call("tf_clip", lambda x: tf.clip_by_value(x, -0.5, 0.5), A)
    m.call("tf_reshape", lambda x: tf.reshape(x, [-1, 6]), A)
    m.call("tf_reshape_shape", lambda x: tf.reshape(x, [tf.shape(x)[0], 12]), A)
    m.call("tf_transpose", lambda x: tf.transpose(x, [0, 2, 1]), A)
    m.call("tf_squeeze", lambda x: tf.squeeze(tf.expand_dims(x, 1), [1]), A)
    m.call("tf_concat", lambda x, y: tf.concat([x, y], -1), A, B)
    m.call("tf_stack", lambda x, y: tf.stack([x, y], axis=1), A, B)
    m.call("tf_split", lambda x: tf.split(x, 2, axis=-1), A)
    m.call("tf_split_sizes", lambda x: tf.split(x, [1, 3], axis=-1), A)
    m.call("tf_unstack", lambda x: tf.unstack(x, axis=1), A)
    m.call("tf_getitem", lambda x: x[:, 1:, ::2], A)
    m.call("tf_getitem_number", lambda x: x[:, -1], A)
    m.call("tf_getitem_new", lambda x: x[:, tf.newaxis, ..., 1], A)
    m.call("tf_tile", lambda x: tf.tile(x, [1, 2, 1]), A)
    m.call("tf_pad", lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]]), A)
    m.call("tf_pad_reflect", lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]], mode="REFLECT"), A)
    m.call("tf_gather", lambda x: tf.gather(x, [0, 2], axis=1), A)
    m.call("tf_cast", lambda x: tf.cast(x > 0, tf.float32), A)
    m.call("tf_one_hot", lambda x: tf.one_hot(x, 10), ((2, 3), "int32"))
    m.call("tf_argmax", lambda x: tf.argmax(x, axis=-1), A)
    m.call("tf_cumsum", lambda x: tf.cumsum(x, axis=1), A)
    m.call("tf_matmul", lambda x, y: tf.matmul(x, y, transpose_b=True), A, B)
    m.call("tf_l2_normalize", lambda x: tf.math.l2_normalize(x, axis=-1), A)
    m.call("tf_softmax_axis", lambda x: tf.nn.softmax(x, axis=1), A)
    m.call("tf_resize", lambda x: tf.image.resize(x, (8, 9)), (1, 4, 5, 2))
    m.call("tf_resize_nearest", lambda x: tf.image.resize(x, (8, 3), method="nearest"), (1, 4, 5, 2))
    m.call("tf_max_pool", lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), (1, 5, 5, 2))
    m.call("tf_avg_pool", lambda x: tf.nn.avg_pool2d(x, 3, 2, "VALID"), (1, 5, 5, 2))
    m.call("tf_depth_to_space", lambda x: tf.nn.depth_to_space(x, 2), (1, 3, 2, 8))
    m.call("tf_space_to_depth", lambda x: tf.nn.space_to_depth(x, 2), (1, 4, 2, 3))
    m.call("tf_leaky_alpha", lambda x: tf.nn.leaky_relu(x, alpha=0.3), A)
    m.call("tf_zeros", lambda x: x + tf.ones_like(x) - tf.zeros_like(x), A)
    m.call("tf_mixed", lambda x, y: x * tf.cast(y, tf.float32), A, ((2, 3, 4), "int32"))
