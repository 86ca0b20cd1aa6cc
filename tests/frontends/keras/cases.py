"""The models of the corpus, for every version of Keras (and Python 3.7): what a version lacks is left out."""
# ruff: noqa: B023  (every function is called at once, while its loop stands still)

from tests.frontends.keras import cases_recurrent


def every(m):
    """Add all cases."""
    for group in (
        activations,
        dense,
        convolutions,
        transposed,
        pooling,
        shaping,
        merging,
        normalization,
        cases_recurrent.recurrent,
        cases_recurrent.masked,
        cases_recurrent.wrappers,
        structures,
    ):
        group(m)
    if not m.early:
        from tests.frontends.keras import cases_later

        cases_later.every(m)


def names(m):
    """Names of all layers of this Keras."""
    found = {n for n in dir(m.L) if isinstance(getattr(m.L, n), type) and issubclass(getattr(m.L, n), m.L.Layer)}
    return sorted(n for n in found if n not in ("Layer", "InputSpec", "Wrapper"))


def activations(m):
    L = m.L
    every_name = (
        "softmax elu selu softplus softsign relu tanh sigmoid hard_sigmoid exponential linear gelu silu swish "
        "relu6 leaky_relu mish log_softmax celu glu hard_tanh hard_silu hard_swish log_sigmoid hard_shrink "
        "soft_shrink tanh_shrink squareplus sparse_plus sparse_sigmoid sparsemax"
    ).split()
    m.many("activations", {n: lambda x, n=n: L.Activation(n)(x) for n in every_name}, (3, 6))
    m.layer("relu_plain", lambda: L.ReLU(), (2, 5))
    m.layer("relu_top", lambda: L.ReLU(max_value=1.5), (2, 5))
    m.layer("relu_all", lambda: L.ReLU(max_value=1.5, negative_slope=0.2, threshold=0.3), (4, 9))
    m.layer("relu_threshold", lambda: L.ReLU(threshold=0.4), (4, 9))
    m.layer("leaky", lambda: L.LeakyReLU(0.15), (2, 5))
    m.layer("elu_alpha", lambda: L.ELU(0.5), (2, 5))
    m.layer("prelu", lambda: L.PReLU(), (2, 4, 3))
    m.layer("prelu_shared", lambda: L.PReLU(shared_axes=[1, 2]), (2, 4, 3, 5))
    m.layer("thresholded", lambda: L.ThresholdedReLU(0.3), (2, 5))
    m.layer("softmax_axis", lambda: L.Softmax(axis=1), (2, 4, 3))
    m.layer("softmax_axes", lambda: L.Softmax(axis=[1, 2]), (2, 4, 3))
    m.layer("dense_leaky", lambda: L.Dense(4, activation=L.LeakyReLU(0.2)), (2, 5))


def dense(m):
    L = m.L
    m.layer("dense_bias", lambda: L.Dense(4, activation="tanh"), (3, 5))
    m.layer("dense_plain", lambda: L.Dense(4, use_bias=False), (3, 5))
    m.layer("dense_rank3", lambda: L.Dense(4, activation="relu"), (2, 3, 5))
    m.layer("embedding", lambda: L.Embedding(10, 4), ((2, 5), "int32"))
    m.layer(
        "identities",
        lambda: m.keras.models.Sequential(
            [
                L.Dropout(0.5),
                L.GaussianNoise(0.3),
                L.GaussianDropout(0.3),
                L.AlphaDropout(0.2),
                L.ActivityRegularization(0.1),
                L.SpatialDropout1D(0.2),
                L.Dense(2),
            ]
        ),
        (2, 3, 4),
    )


def convolutions(m):
    L = m.L
    m.layer("conv1d_causal", lambda: L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu"), (2, 9, 3))
    m.layer("conv1d_same", lambda: L.Conv1D(4, 4, strides=3, padding="same"), (2, 10, 3))
    m.layer("conv2d_same", lambda: L.Conv2D(4, 3, strides=2, padding="same", activation="relu"), (2, 7, 8, 3))
    m.layer("conv2d_valid", lambda: L.Conv2D(4, (3, 2), strides=(1, 2), use_bias=False), (2, 7, 8, 3))
    m.layer("conv2d_dilated", lambda: L.Conv2D(4, 3, dilation_rate=(2, 3), padding="same"), (1, 9, 9, 2))
    m.layer("conv3d", lambda: L.Conv3D(3, (2, 3, 3), strides=(1, 2, 2), padding="same"), (1, 4, 6, 5, 2))
    m.layer(
        "depthwise2d", lambda: L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu"), (2, 6, 6, 3)
    )
    m.layer("depthwise2d_strides", lambda: L.DepthwiseConv2D((3, 5), strides=2, use_bias=False), (2, 8, 9, 3))
    m.layer("depthwise1d", lambda: L.DepthwiseConv1D(3, depth_multiplier=2), (2, 8, 3))
    m.layer("separable1d", lambda: L.SeparableConv1D(5, 3, padding="same", depth_multiplier=2), (2, 8, 3))
    m.layer("separable1d_causal", lambda: L.SeparableConv1D(5, 3, padding="causal"), (2, 8, 3))
    m.layer("separable2d", lambda: L.SeparableConv2D(5, 3, strides=2, padding="same", activation="relu"), (2, 8, 7, 3))
    m.layer("local1d", lambda: L.LocallyConnected1D(4, 3, strides=2, activation="relu"), (2, 8, 3))
    m.layer("local2d", lambda: L.LocallyConnected2D(4, (3, 2), strides=(1, 2)), (2, 5, 6, 3))


def transposed(m):
    L = m.L
    for padding in ("same", "valid"):
        for kernel, strides in ((3, 2), (4, 2), (2, 3), (3, 1)):
            m.layer(
                f"conv2d_transpose_{padding}_{kernel}_{strides}",
                lambda: L.Conv2DTranspose(3, kernel, strides=strides, padding=padding),
                (2, 4, 5, 2),
            )
    m.layer(
        "conv2d_transpose_extra",
        lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=1),
        (1, 4, 5, 2),
    )
    m.layer(
        "conv2d_transpose_extra_valid", lambda: L.Conv2DTranspose(3, 3, strides=2, output_padding=(1, 0)), (1, 4, 5, 2)
    )
    m.layer("conv3d_transpose", lambda: L.Conv3DTranspose(3, 3, strides=2, padding="same"), (1, 2, 3, 3, 2))
    m.layer(
        "conv1d_transpose", lambda: L.Conv1DTranspose(3, 4, strides=2, padding="same", activation="relu"), (2, 5, 2)
    )


def pooling(m):
    L = m.L
    for dims in (1, 2, 3):
        shape = (*(2, 7, 6, 5)[: dims + 1], 3)
        for kind in ("Max", "Average"):
            make = getattr(L, f"{kind}Pooling{dims}D")
            m.layer(f"pool_{kind}{dims}_valid".lower(), lambda: make(2), shape)
            m.layer(f"pool_{kind}{dims}_same".lower(), lambda: make(3, strides=2, padding="same"), shape)
            make_global = getattr(L, f"Global{kind}Pooling{dims}D")
            m.layer(f"global_{kind}{dims}".lower(), lambda: make_global(), shape)
            m.layer(f"global_{kind}{dims}_keep".lower(), lambda: make_global(keepdims=True), shape)


def shaping(m):
    L = m.L
    m.layer("flatten", lambda: L.Flatten(), (2, 3, 4, 2))
    m.layer("reshape", lambda: L.Reshape((4, -1)), (2, 6, 2))
    m.layer("permute", lambda: L.Permute((3, 1, 2)), (2, 3, 4, 5))
    m.layer("repeat", lambda: L.RepeatVector(3), (2, 4))
    m.layer("pad1d", lambda: L.ZeroPadding1D((1, 2)), (2, 4, 3))
    m.layer("pad2d", lambda: L.ZeroPadding2D(((1, 2), (0, 3))), (2, 4, 3, 2))
    m.layer("pad2d_number", lambda: L.ZeroPadding2D(1), (2, 4, 3, 2))
    m.layer("pad3d", lambda: L.ZeroPadding3D((1, 0, 2)), (1, 2, 3, 2, 2))
    m.layer("crop1d", lambda: L.Cropping1D((1, 2)), (2, 6, 3))
    m.layer("crop2d", lambda: L.Cropping2D(((1, 2), (0, 1))), (2, 6, 5, 3))
    m.layer("crop3d", lambda: L.Cropping3D(1), (1, 4, 5, 3, 2))
    m.layer("up1d", lambda: L.UpSampling1D(3), (2, 4, 3))
    m.layer("up2d", lambda: L.UpSampling2D((2, 3)), (2, 4, 3, 2))
    m.layer("up2d_bilinear", lambda: L.UpSampling2D(2, interpolation="bilinear"), (2, 4, 3, 2))
    m.layer("up2d_bicubic", lambda: L.UpSampling2D(2, interpolation="bicubic"), (1, 5, 4, 2))
    m.layer("up3d", lambda: L.UpSampling3D((1, 2, 2)), (1, 2, 3, 2, 2))


def merging(m):
    L = m.L
    for kind in ("Add", "Multiply", "Average", "Maximum", "Minimum"):
        m.layer("merge_" + kind.lower(), getattr(L, kind), (2, 3, 4), (2, 3, 4), (2, 3, 4))
    m.layer("merge_broadcast", L.Add, (2, 4, 3), (2, 3))
    m.layer("subtract", L.Subtract, (2, 3), (2, 3))
    m.layer("concatenate", lambda: L.Concatenate(axis=1), (2, 3, 4), (2, 2, 4))
    m.layer("concatenate_last", lambda: L.Concatenate(), (2, 3, 4), (2, 3, 1))
    m.layer("dot_vectors", lambda: L.Dot(axes=1), (2, 4), (2, 4))
    m.layer("dot_cosine", lambda: L.Dot(axes=1, normalize=True), (2, 4), (2, 4))
    m.layer("dot_matrices", lambda: L.Dot(axes=(2, 1)), (2, 3, 4), (2, 4, 5))
    m.layer("dot_mixed", lambda: L.Dot(axes=(1, 2)), (2, 4), (2, 3, 4))
    m.layer("dot_last", lambda: L.Dot(axes=-1), (2, 3, 4), (2, 5, 4))


def normalization(m):
    L = m.L
    m.layer("batchnorm", lambda: L.BatchNormalization(), (2, 4, 3, 5))
    m.layer("batchnorm_plain", lambda: L.BatchNormalization(scale=False, center=False, epsilon=1e-2), (2, 5))
    m.layer("batchnorm_axis", lambda: L.BatchNormalization(axis=1), (2, 4, 3, 5))
    m.layer("batchnorm_middle", lambda: L.BatchNormalization(axis=2, scale=False), (2, 4, 3, 5))
    m.layer("batchnorm_frozen", lambda: L.BatchNormalization(trainable=False), (2, 4, 3))


def structures(m):
    L, K = m.L, m.keras

    def nested(x):
        inner = K.models.Sequential(
            [L.Dense(4, input_shape=(5,), activation="relu"), L.BatchNormalization(), L.Dense(5)]
        )
        return L.Dense(2)(inner(inner(x)))

    def frozen(x):
        base = K.models.Sequential(
            [L.Conv2D(3, 3, input_shape=(6, 6, 2)), L.BatchNormalization(), L.Activation("relu"), L.Conv2D(4, 3)]
        )
        base.trainable = False
        return L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(base(x)))

    def half_frozen(x):
        first = L.Dense(4)
        first.trainable = False
        inner = K.models.Sequential([first, L.BatchNormalization(), L.Dense(3), L.BatchNormalization()])
        return inner(x)

    def siamese(x, y):
        i = L.Input(shape=(6, 6, 1))
        embed = K.models.Model(i, L.Dense(4)(L.Flatten()(L.Conv2D(3, 3, activation="relu")(i))))
        return L.Dense(1, activation="sigmoid")(L.Subtract()([embed(x), embed(y)]))

    def shared(x):
        d = L.Dense(5, activation="tanh")
        a = d(x)
        b = d(a)
        return [L.Add()([a, b]), d(b)]

    def tabular(x, y, z):
        h = L.Concatenate()([L.Dense(3, activation="relu")(x), L.Flatten()(L.Embedding(10, 2)(y)), z])
        return [L.Dense(1, name="price")(h), L.Dense(3, activation="softmax", name="kind")(h)]

    def two_results(x):
        i = L.Input(shape=(4,))
        d = L.Dense(3)(i)
        inner = K.models.Model(i, [d, L.Activation("relu")(d)])
        a, b = inner(x)
        return L.Add()([a, b])

    def body():
        i = L.Input(shape=(8, 8, 3))
        return K.models.Model(i, L.BatchNormalization()(L.Conv2D(4, 3, activation="relu")(i)), name="body")

    m.call(
        "model_time_body",
        lambda x: L.GRU(3)(L.TimeDistributed(L.Flatten())(L.TimeDistributed(body())(x))),
        (2, 3, 8, 8, 3),
    )
    m.call("model_nested", nested, (2, 5))
    m.call("model_frozen", frozen, (2, 6, 6, 2))
    m.call("model_half_frozen", half_frozen, (2, 5))
    m.call("model_siamese", siamese, (2, 6, 6, 1), (2, 6, 6, 1))
    m.call("model_shared", shared, (2, 5))
    m.call("model_tabular", tabular, (2, 4), ((2, 3), "int32"), (2, 2))
    m.call("model_two_results", two_results, (2, 4))
    m.call("model_same_twice", lambda x: (lambda d: [d, d])(L.Dense(3)(x)), (2, 4))
    s = K.models.Sequential(
        [
            L.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 2)),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(3, activation="softmax"),
        ]
    )
    m.save("sequential", s, {_entry(m, s): m.array((2, 8, 8, 2))}, form="h5")


def _entry(m, model):
    return m.input_name(model.inputs[0])
