"""Cases of what Keras got after TensorFlow 1: tf.keras and Keras 3."""
# ruff: noqa: B023  (every function is called at once, while its loop stands still)

import numpy as np

from tests.frontends.keras import cases_functions, cases_networks
from tests.frontends.keras.cases_networks import block


def every(m):
    """Add all cases."""
    for group in (layers, normalization, attention, preprocessing, precision, cases_networks.networks):
        group(m)
    if m.which == "keras3":
        for group in (keras3, cases_functions.operations, dictionaries):
            group(m)
    else:
        cases_functions.functions(m)


def layers(m):
    L = m.L
    m.layer("conv2d_groups", lambda: L.Conv2D(6, 3, groups=2), (2, 6, 6, 4))
    m.layer("conv1d_groups", lambda: L.Conv1D(6, 3, groups=3, activation="gelu"), (2, 6, 3))
    m.layer(
        "einsum_dense", lambda: L.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de"), (2, 4, 5)
    )
    m.layer(
        "einsum_dense_two", lambda: L.EinsumDense("abcd,cde->abe", output_shape=(None, 6), bias_axes="e"), (2, 4, 2, 3)
    )
    m.layer(
        "einsum_dense_middle", lambda: L.EinsumDense("abc,bd->adc", output_shape=(3, 5), activation="relu"), (2, 4, 5)
    )
    m.layer("einsum_dense_batch", lambda: L.EinsumDense("abc,bcd->abd", output_shape=(4, 3)), (2, 4, 5))
    m.layer(
        "masked_gru_reset",
        lambda: m.keras.Sequential(
            [L.Embedding(10, 3, mask_zero=True), L.GRU(4, reset_after=False, return_sequences=True), L.GRU(3)]
        ),
        ((3, 6), "int32"),
    )
    m.layer("first_flatten", lambda: L.Flatten(data_format="channels_first"), (2, 3, 4, 2))
    m.layer("first_up", lambda: L.UpSampling2D(2, data_format="channels_first"), (2, 3, 4, 2))
    m.layer("first_pad", lambda: L.ZeroPadding2D(1, data_format="channels_first"), (2, 3, 4, 2))
    m.layer("first_global", lambda: L.GlobalAveragePooling2D(data_format="channels_first"), (2, 3, 4, 2))
    m.layer("identity", lambda: m.keras.Sequential([L.Identity(), L.Dense(2)]), (2, 3))
    m.layer("masked_softmax_scores", lambda: L.Softmax(), (2, 4, 3))


def normalization(m):
    L = m.L
    m.layer("layernorm", lambda: L.LayerNormalization(), (2, 4, 6))
    m.layer("layernorm_axes", lambda: L.LayerNormalization(axis=[1, 2]), (2, 4, 6))
    m.layer("layernorm_first", lambda: L.LayerNormalization(axis=1, center=False), (2, 4, 6))
    m.layer("layernorm_plain", lambda: L.LayerNormalization(scale=False, center=False, epsilon=1e-2), (2, 4, 6))
    m.layer("groupnorm", lambda: L.GroupNormalization(groups=2), (2, 4, 3, 6))
    m.layer("groupnorm_axis", lambda: L.GroupNormalization(groups=-1, axis=1, scale=False), (2, 4, 3, 6))
    m.layer("unitnorm", lambda: L.UnitNormalization(), (2, 4, 6))
    m.layer("unitnorm_axes", lambda: L.UnitNormalization(axis=[1, 2]), (2, 4, 6))
    m.layer("spectral", lambda: L.SpectralNormalization(L.Conv2D(4, 3)), (2, 5, 5, 3))
    m.layer("normalization", lambda: L.Normalization(mean=[1.0, 2.0, 3.0], variance=[2.0, 3.0, 4.0]), (2, 4, 3))
    m.layer("normalization_number", lambda: L.Normalization(axis=None, mean=1.5, variance=2.0), (2, 4, 3))
    m.layer("normalization_adapted", lambda: L.Normalization(), (2, 4))
    m.layer("normalization_invert", lambda: L.Normalization(mean=1.0, variance=4.0, axis=None, invert=True), (2, 4, 3))


def attention(m):
    L = m.L
    T = (2, 4, 6)
    m.layer("attention", lambda: L.Attention(), T, (2, 5, 6))
    m.layer("attention_scale", lambda: L.Attention(use_scale=True), T, (2, 5, 6), (2, 5, 6))
    m.layer("attention_concat", lambda: L.Attention(score_mode="concat"), T, (2, 5, 6))
    m.call("attention_causal", lambda q, v: L.Attention()([q, v], use_causal_mask=True), T, T)
    m.call("attention_scores", lambda q, v: L.Attention()([q, v], return_attention_scores=True), T, (2, 5, 6))
    m.call("attention_masked", lambda x: L.Attention()([L.Embedding(10, 3, mask_zero=True)(x)] * 2), ((3, 6), "int32"))
    m.layer("additive", lambda: L.AdditiveAttention(), T, (2, 5, 6))
    m.layer("additive_plain", lambda: L.AdditiveAttention(use_scale=False), T, (2, 5, 6))
    m.call("heads", lambda x: L.MultiHeadAttention(2, 3)(x, x), T)
    m.call(
        "heads_cross",
        lambda q, v, k: L.MultiHeadAttention(2, 3, value_dim=5, use_bias=False, output_shape=7)(q, v, key=k),
        T,
        (2, 5, 6),
        (2, 5, 4),
    )
    m.call("heads_causal", lambda x: L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True), T)
    m.call("heads_scores", lambda x: L.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True), T)
    m.call(
        "heads_mask",
        lambda x, k: L.MultiHeadAttention(2, 3)(x, x, attention_mask=k),
        T,
        ((2, 4, 4), "bool"),
        values={"x1": np.tril(np.ones((2, 4, 4), bool))},
    )
    m.call("heads_axes", lambda x: L.MultiHeadAttention(2, 3, attention_axes=(1, 2))(x, x), (2, 3, 4, 5))
    m.call("heads_axis", lambda x: L.MultiHeadAttention(2, 3, attention_axes=(2,))(x, x), (2, 3, 4, 5))
    m.call("heads_masked", lambda x: block(m, L.Embedding(10, 6, mask_zero=True)(x)), ((3, 6), "int32"))


def preprocessing(m):
    L = m.L
    image = (2, 6, 5, 3)
    m.layer("rescaling", lambda: L.Rescaling(1 / 255.0, offset=-0.5), image)
    m.layer(
        "rescaling_bytes", lambda: m.keras.Sequential([L.Rescaling(1 / 127.5, -1), L.Conv2D(2, 3)]), (image, "uint8")
    )
    m.layer("resizing", lambda: L.Resizing(8, 9), image)
    m.layer("resizing_smaller", lambda: L.Resizing(4, 3), image)
    m.layer("resizing_nearest", lambda: L.Resizing(8, 3, interpolation="nearest"), image)
    # TensorFlow takes bicubic weights from a table of 1024 steps
    m.layer("resizing_bicubic", lambda: L.Resizing(9, 8, interpolation="bicubic"), image, atol=2e-3)
    m.layer("center_crop", lambda: L.CenterCrop(3, 4), image)
    random = (
        "RandomBrightness RandomContrast RandomRotation RandomZoom RandomHue RandomSaturation RandomShear "
        "RandomSharpness RandomErasing RandomInvert RandomGrayscale RandomColorDegeneration RandomGaussianBlur "
        "RandomPerspective RandomElasticTransform RandAugment AugMix MixUp CutMix RandomColorJitter"
    ).split()
    m.many("augmentations", {n: lambda x, n=n: _random(L, n)(x) for n in random}, image)
    m.layer("augment_RandomFlip", lambda: L.RandomFlip(), image)
    m.layer("augment_RandomTranslation", lambda: L.RandomTranslation(0.1, 0.1), image)
    for mode in ("one_hot", "multi_hot", "count"):
        shape = (3, 1) if mode == "one_hot" else (3, 4)
        m.layer("category_" + mode, lambda: L.CategoryEncoding(num_tokens=10, output_mode=mode), (shape, "int32"))
        m.layer("discretization_" + mode, lambda: L.Discretization([-0.5, 0.0, 1.0], output_mode=mode), shape)
        m.layer("lookup_" + mode, lambda: L.IntegerLookup(vocabulary=[3, 1, 7], output_mode=mode), (shape, "int64"))
    m.layer("discretization", lambda: L.Discretization([-0.5, 0.0, 1.0]), (3, 4))
    m.layer("lookup", lambda: L.IntegerLookup(vocabulary=[3, 1, 7], mask_token=0), ((3, 4), "int64"))


def _random(L, name):
    made = getattr(L, name)
    for arguments in ((), (0.2,), (0.2, 0.3)):
        try:
            return made(*arguments)
        except (TypeError, ValueError):
            continue
    return made(0.2, value_range=(0, 1))


def precision(m):
    L = m.L
    m.layer(
        "half_dense",
        lambda: m.keras.Sequential([L.Dense(4, activation="relu", dtype="mixed_float16"), L.Dense(3, dtype="float32")]),
        (2, 5),
        rtol=2e-2,
        atol=1e-2,
    )
    m.layer("half_result", lambda: L.Dense(4, dtype="mixed_float16"), (2, 5), rtol=2e-2, atol=1e-2)
    m.layer("double", lambda: L.Dense(4, dtype="float64"), (2, 5))
    m.call(
        "integers", lambda x: L.Dense(3)(L.Flatten()(L.Embedding(10, 4)(L.Concatenate()([x, x])))), ((2, 3), "int64")
    )


def keras3(m):
    """Layers that only Keras 3 has."""
    L = m.L
    m.layer("rmsnorm", lambda: L.RMSNormalization(), (2, 4, 6))
    m.layer("rmsnorm_axis", lambda: L.RMSNormalization(axis=1), (2, 4, 6))
    m.layer("layernorm_rms", lambda: L.LayerNormalization(rms_scaling=True), (2, 4, 6))
    for dims, size in ((1, 3), (2, (3, 2)), (3, 2)):
        for kind in ("Average", "Max"):
            make = getattr(L, f"Adaptive{kind}Pooling{dims}D", None)
            if make is not None:
                m.layer(f"adaptive_{kind}{dims}".lower(), lambda: make(size), (*(2, 7, 6, 5)[: dims + 1], 3))
    m.call("grouped_heads", lambda x: L.GroupQueryAttention(4, 4, 2)(x, x), (2, 4, 6))
    m.call(
        "grouped_heads_causal",
        lambda x: L.GroupQueryAttention(4, 4, 1, use_bias=False)(x, x, use_causal_mask=True),
        (2, 4, 6),
    )
    m.call("heads_gate", lambda x: L.MultiHeadAttention(2, 3, use_gate=True)(x, x), (2, 4, 6))
    m.call("heads_window", lambda x: L.MultiHeadAttention(2, 3, sliding_window=2)(x, x), (2, 5, 6))
    m.call(
        "softmax_mask",
        lambda x, k: L.Softmax()(x, mask=k),
        (2, 4),
        ((2, 4), "bool"),
        values={"x1": np.array([[1, 1, 0, 1], [1, 0, 0, 1]], bool)},
    )
    m.layer(
        "bfloat",
        lambda: m.keras.Sequential([L.Dense(4, dtype="mixed_bfloat16"), L.Dense(3, dtype="float32")]),
        (2, 5),
        rtol=5e-2,
        atol=8e-2,
    )
    m.layer("reversible", lambda: L.ReversibleEmbedding(10, 4), ((2, 5), "int32"))
    s = m.keras.Sequential([L.Dense(3, activation="relu"), L.Dense(2)])
    s.build((None, 4))
    m.save("sequential_built", s, {m.input_name(s.inputs[0]): m.array((2, 4))})


def dictionaries(m):
    """Inputs and outputs that are dictionaries."""
    K, L = m.keras, m.L
    a, b = K.Input((3,), name="a"), K.Input((4,), name="b")
    h = L.Concatenate()([a, b])
    model = K.Model({"b": b, "a": a}, {"sum": L.Dense(1, name="d1")(h), "kind": L.Dense(2, name="d2")(h)})
    fed = {"a": m.array((2, 3)), "b": m.array((2, 4))}
    for form in ("h5", "keras"):
        path = __import__("pathlib").Path(__import__("tempfile").mkdtemp()) / ("model." + form)
        model.save(str(path))
        found = {k: np.asarray(v) for k, v in model(fed).items()}
        m.writer.add("dictionaries_" + form, {path.name: path.read_bytes()}, fed, found, rtol=1e-3, atol=1e-4)
