"""Small models of the tasks that users have."""


def block(m, x, heads=2, wide=12):
    L = m.L
    h = L.MultiHeadAttention(heads, 4, dropout=0.1)(x, x)
    x = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, L.Dropout(0.1)(h)]))
    h = L.Dense(x.shape[-1])(L.Dense(wide, activation="gelu")(x))
    return L.LayerNormalization(epsilon=1e-6)(L.Add()([x, h]))


def _conv(m, x, filters, strides=1, act="relu"):
    L = m.L
    x = L.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    return L.Activation(act)(L.BatchNormalization()(x))


def networks(m):
    """Small models of the tasks that users have."""
    L, K = m.L, m.keras

    def mobile(x):
        for filters, strides in ((8, 2), (12, 1)):
            h = L.BatchNormalization()(L.Conv2D(filters * 2, 1, use_bias=False)(x))
            h = L.ReLU(6.0)(h)
            h = L.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(h)
            h = L.ReLU(6.0)(L.BatchNormalization()(h))
            h = L.BatchNormalization()(L.Conv2D(filters, 1, use_bias=False)(h))
            x = L.Add()([x, h]) if strides == 1 and x.shape[-1] == filters else h
        return L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(x))

    def squeeze_excite(x):
        h = _conv(m, x, 8, act="swish")
        s = L.GlobalAveragePooling2D(keepdims=True)(h)
        s = L.Conv2D(8, 1, activation="sigmoid")(L.Conv2D(2, 1, activation="swish")(s))
        return L.Dense(3)(L.GlobalMaxPooling2D()(L.Multiply()([h, s])))

    def segment(x):
        a = _conv(m, x, 4)
        b = _conv(m, L.MaxPooling2D()(a), 8)
        p = L.UpSampling2D(4, interpolation="bilinear")(L.Conv2D(4, 1)(L.AveragePooling2D(4)(x)))
        d = L.Conv2D(4, 3, dilation_rate=2, padding="same", activation="relu")(b)
        u = L.UpSampling2D()(L.Concatenate()([b, d]))
        return L.Conv2D(3, 1, activation="softmax")(L.Concatenate()([a, u, p]))

    def detect(x):
        a = _conv(m, x, 6, 2)
        b = _conv(m, a, 8, 2)
        boxes = [L.Reshape((-1, 4))(L.Conv2D(8, 3, padding="same")(f)) for f in (a, b)]
        kinds = [L.Reshape((-1, 3))(L.Conv2D(6, 3, padding="same")(f)) for f in (a, b)]
        return [L.Concatenate(axis=1, name="boxes")(boxes), L.Softmax(name="scores")(L.Concatenate(axis=1)(kinds))]

    def pose(x):
        h = _conv(m, x, 6, 2)
        h = L.Conv2DTranspose(5, 4, strides=2, padding="same", use_bias=False)(h)
        return L.Conv2D(3, 1)(L.ReLU()(L.BatchNormalization()(h)))

    def action(x):
        h = L.Conv3D(4, 3, padding="same", activation="relu")(x)
        h = L.MaxPooling3D((1, 2, 2))(L.BatchNormalization()(h))
        return L.Dense(3, activation="softmax")(L.GlobalAveragePooling3D()(L.Conv3D(6, (2, 3, 3))(h)))

    def gestures(x):
        h = L.ConvLSTM2D(4, 3, padding="same", return_sequences=True)(x)
        h = L.BatchNormalization()(h)
        return L.Dense(3)(L.Flatten()(L.ConvLSTM2D(2, 3)(h)))

    def encoder(x):
        h = L.Embedding(10, 8)(x)
        for _ in range(2):
            h = block(m, h)
        return L.Dense(3)(L.GlobalAveragePooling1D()(h))

    def autoencoder(x):
        code = L.Dense(2, name="code")(L.Flatten()(L.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)))
        h = L.Reshape((4, 4, 4))(L.Dense(64, activation="relu")(code))
        return L.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(h)

    def convnext(x):
        h = L.Conv2D(8, 2, strides=2)(x)
        d = L.LayerNormalization(epsilon=1e-6)(L.DepthwiseConv2D(5, padding="same")(h))
        return L.Dense(3)(L.GlobalAveragePooling2D()(L.Add()([h, L.Dense(8)(L.Dense(16, activation="gelu")(d))])))

    def sound(x):
        h = L.MaxPooling1D()(L.Conv1D(6, 5, padding="same", activation="relu")(x))
        h = L.Bidirectional(L.GRU(4, return_sequences=True))(L.SeparableConv1D(8, 3)(h))
        return L.TimeDistributed(L.Dense(3, activation="softmax"))(h)

    square = (1, 16, 16, 3)
    m.call("net_mobile", mobile, square)
    m.call("net_squeeze_excite", squeeze_excite, square)
    m.call("net_segment", segment, square)
    m.call("net_detect", detect, square)
    m.call("net_pose", pose, (1, 16, 12, 3))
    m.call("net_action", action, (1, 4, 8, 8, 3))
    m.call("net_gestures", gestures, (1, 3, 6, 6, 2))
    m.call("net_encoder", encoder, ((2, 6), "int32"))
    m.call("net_autoencoder", autoencoder, (2, 8, 8, 1))
    m.call("net_convnext", convnext, square)
    m.call("net_sound", sound, (2, 20, 3))
    base = K.Sequential([L.Conv2D(4, 3, activation="relu"), L.BatchNormalization(), L.Conv2D(4, 3)], name="base")
    base.trainable = False
    full = K.Sequential([K.Input((8, 8, 3)), L.Rescaling(1 / 255.0), base, L.GlobalAveragePooling2D(), L.Dense(2)])
    m.save("net_transfer", full, {m.input_name(full.inputs[0]): m.array((2, 8, 8, 3))})
