"""Cases of recurrent layers, masks, and layers around layers."""
# ruff: noqa: B023  (every function is called at once, while its loop stands still)


def recurrent(m):
    L = m.L
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        make = getattr(L, kind)
        low = kind.lower()
        m.layer(low + "_last", lambda: make(4), (2, 5, 3))
        m.layer(low + "_sequence", lambda: make(4, return_sequences=True, use_bias=False), (2, 5, 3))
        m.layer(low + "_backwards", lambda: make(4, return_sequences=True, go_backwards=True), (2, 5, 3))
        m.layer(low + "_backwards_last", lambda: make(4, go_backwards=True), (2, 5, 3))
        m.call(low + "_state", lambda x: make(4, return_state=True, return_sequences=True)(x), (2, 5, 3))
        m.layer(low + "_relu", lambda: make(4, activation="relu"), (2, 5, 3))
        m.layer(low + "_selu", lambda: make(4, activation="selu", return_sequences=True), (2, 4, 3))
        m.layer(low + "_unroll", lambda: make(4, unroll=True), (2, 5, 3))
    m.layer("lstm_hard", lambda: L.LSTM(4, recurrent_activation="hard_sigmoid"), (2, 5, 3))
    m.layer("lstm_implementation", lambda: L.LSTM(4, implementation=2), (2, 5, 3))
    m.layer("gru_before", lambda: L.GRU(4, reset_after=False, return_sequences=True), (2, 5, 3))
    m.layer("gru_after", lambda: L.GRU(4, reset_after=True, recurrent_activation="sigmoid"), (2, 5, 3))
    m.layer("gru_before_selu", lambda: L.GRU(4, reset_after=False, activation="selu"), (2, 4, 3))
    m.call("lstm_initial", lambda x, h, c: L.LSTM(4)(x, initial_state=[h, c]), (2, 5, 3), (2, 4), (2, 4))
    m.call("gru_initial", lambda x, h: L.GRU(4, return_sequences=True)(x, initial_state=h), (2, 5, 3), (2, 4))
    m.call("seq2seq", lambda x, y: _decoder(L, x, y), (2, 5, 3), (2, 4, 3))
    m.layer("rnn_cell", lambda: L.RNN(L.LSTMCell(4), return_sequences=True), (2, 5, 3))
    m.layer("rnn_stacked", lambda: L.RNN([L.GRUCell(4), L.LSTMCell(3), L.SimpleRNNCell(2)]), (2, 5, 3))
    m.layer("conv_lstm2d", lambda: L.ConvLSTM2D(3, 3, padding="same"), (2, 3, 5, 4, 2))
    m.layer("conv_lstm2d_strides", lambda: L.ConvLSTM2D(3, (2, 3), strides=2, return_sequences=True), (1, 3, 7, 6, 2))
    m.layer("conv_lstm1d", lambda: L.ConvLSTM1D(3, 4, padding="same", return_sequences=True), (1, 3, 6, 2))
    m.layer("conv_lstm3d", lambda: L.ConvLSTM3D(2, 2, padding="same", go_backwards=True), (1, 2, 3, 3, 3, 2))
    m.call("conv_lstm2d_state", lambda x: L.ConvLSTM2D(3, 3, padding="same", return_state=True)(x), (1, 3, 4, 4, 2))


def _decoder(L, x, y):
    _, h, c = L.LSTM(4, return_state=True)(x)
    return L.Dense(3)(L.LSTM(4, return_sequences=True)(y, initial_state=[h, c]))


def masked(m):
    L = m.L
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        make = getattr(L, kind)
        low = kind.lower()
        m.call("masked_" + low, lambda x: make(4)(L.Embedding(10, 3, mask_zero=True)(x)), ((3, 6), "int32"))
        m.call(
            "masked_sequence_" + low,
            lambda x: L.Dense(2)(make(4, return_sequences=True)(L.Embedding(10, 3, mask_zero=True)(x))),
            ((3, 6), "int32"),
        )
    m.call(
        "masked_bidirectional",
        lambda x: L.Bidirectional(L.LSTM(4, return_sequences=True))(L.Embedding(10, 3, mask_zero=True)(x)),
        ((3, 6), "int32"),
    )
    m.call(
        "masked_bidirectional_last",
        lambda x: L.Bidirectional(L.GRU(4), merge_mode="sum")(L.Embedding(10, 3, mask_zero=True)(x)),
        ((3, 6), "int32"),
    )
    m.call(
        "masked_two_layers",
        lambda x: L.LSTM(3)(L.LSTM(4, return_sequences=True)(L.Embedding(10, 3, mask_zero=True)(x))),
        ((3, 6), "int32"),
    )
    x = m.array((3, 5, 3))
    x[0, 3:] = 0
    x[1, 1] = 0
    m.call("masking", lambda x: L.LSTM(4)(L.Masking()(x)), (3, 5, 3), values={"x0": x})
    m.call(
        "masking_value",
        lambda x: L.GRU(4, return_sequences=True)(L.Dropout(0.2)(L.Masking(mask_value=0.0)(x))),
        (3, 5, 3),
        values={"x0": x},
    )
    m.call(
        "masked_pool", lambda x: L.GlobalAveragePooling1D()(L.Embedding(10, 3, mask_zero=True)(x)), ((3, 6), "int32")
    )
    m.call(
        "masked_time_distributed",
        lambda x: L.LSTM(4)(L.TimeDistributed(L.Dense(3))(L.Embedding(10, 3, mask_zero=True)(x))),
        ((3, 6), "int32"),
    )
    m.call(
        "masked_concatenate",
        lambda x, y: L.LSTM(4)(
            L.Concatenate()([L.Embedding(10, 3, mask_zero=True)(x), L.Embedding(10, 2, mask_zero=True)(y)])
        ),
        ((3, 6), "int32"),
        ((3, 6), "int32"),
    )
    m.call(
        "masked_add",
        lambda x, y: L.LSTM(4)(L.Add()([L.Embedding(10, 3, mask_zero=True)(x), L.Embedding(10, 3, mask_zero=True)(y)])),
        ((3, 6), "int32"),
        ((3, 6), "int32"),
    )


def wrappers(m):
    L = m.L
    for mode in ("concat", "sum", "mul", "ave", None):
        m.call(
            f"bidirectional_{mode}",
            lambda x: L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode=mode)(x),
            (2, 5, 3),
        )
    m.layer("bidirectional_last", lambda: L.Bidirectional(L.GRU(4)), (2, 5, 3))
    m.layer("bidirectional_rnn", lambda: L.Bidirectional(L.RNN(L.GRUCell(3))), (2, 5, 3))
    m.call("bidirectional_state", lambda x: L.Bidirectional(L.LSTM(4, return_state=True))(x), (2, 5, 3))
    m.layer("bidirectional_conv_lstm", lambda: L.Bidirectional(L.ConvLSTM2D(2, 2, padding="same")), (1, 3, 4, 4, 2))
    m.layer("time_dense", lambda: L.TimeDistributed(L.Dense(4)), (2, 5, 3))
    m.layer("time_conv", lambda: L.TimeDistributed(L.Conv2D(3, 3, padding="same")), (2, 3, 5, 4, 2))
    m.layer("time_pool", lambda: L.TimeDistributed(L.MaxPooling2D()), (2, 3, 4, 4, 2))
    m.layer("time_lstm", lambda: L.TimeDistributed(L.LSTM(4)), (2, 3, 4, 3))
    m.layer("time_flatten", lambda: L.TimeDistributed(L.Flatten()), (2, 3, 4, 3))
    S = m.keras.models.Sequential
    m.layer(
        "time_model",
        lambda: L.TimeDistributed(S([L.Dense(3, input_shape=(4,)), L.BatchNormalization(), L.Dense(2)])),
        (2, 3, 4),
    )
