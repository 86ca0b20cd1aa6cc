"""Small networks of the kinds that people run on phones, as TensorFlow's converter writes them (run by hand)."""

from __future__ import annotations

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from flatbuffers import flexbuffers
from keras import layers
from tensorflow.lite.python import schema_py_generated as schema

from tests.frontends.tflite import record

#: every form of a network's numbers that the converter knows
ALL = ("", "int8", "dynamic", "float16", "int16x8")


def _conv(x, width, size=3, stride=1, activation="relu", depthwise=False, dilation=1):
    if depthwise:
        x = layers.DepthwiseConv2D(size, stride, "same", use_bias=False, dilation_rate=dilation)(x)
    else:
        x = layers.Conv2D(width, size, stride, "same", use_bias=False, dilation_rate=dilation)(x)
    x = layers.BatchNormalization()(x)
    if activation == "hard_swish":
        return layers.Multiply()([x, layers.ReLU(6.0)(x + 3.0) * (1 / 6)])
    return layers.ReLU(6.0)(x) if activation == "relu6" else layers.Activation(activation)(x)


def _inverted(x, width, stride=1, activation="relu6", squeeze=False):
    inside = x.shape[-1] * 3
    y = _conv(x, inside, 1, activation=activation)
    y = _conv(y, inside, 3, stride, activation, depthwise=True)
    if squeeze:
        s = layers.GlobalAveragePooling2D(keepdims=True)(y)
        s = layers.Conv2D(4, 1, activation="relu")(s)
        s = layers.Conv2D(inside, 1, activation="hard_sigmoid")(s)
        y = layers.Multiply()([y, s])
    y = _conv(y, width, 1, activation="linear")
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == width else y


def _head(x, classes=7):
    return layers.Softmax()(layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def mobilenet(version):
    """Depthwise separable, inverted residuals, or these with squeeze and excitation."""
    x = inputs = keras.Input((24, 24, 3), batch_size=1, name="image")
    activation = "hard_swish" if version == 3 else "relu6"
    x = _conv(x, 8, 3, 2, activation)
    for width, stride in ((8, 1), (12, 2), (12, 1)):
        if version == 1:
            x = _conv(_conv(x, 0, 3, stride, activation, depthwise=True), width, 1, 1, activation)
        else:
            x = _inverted(x, width, stride, activation, version == 3)
    return keras.Model(inputs, _head(x))


def resnet():
    """Two residual blocks."""
    x = inputs = keras.Input((20, 20, 3), batch_size=1, name="image")
    x = layers.MaxPooling2D(3, 2, "same")(_conv(x, 8, 5, 1))
    for width, stride in ((8, 1), (12, 2)):
        y = _conv(_conv(x, width, 3, stride), width, activation="linear")
        short = x if stride == 1 else _conv(x, width, 1, stride, "linear")
        x = layers.Activation("relu")(layers.Add()([short, y]))
    return keras.Model(inputs, _head(x))


def inception():
    """Branches that are joined."""
    x = inputs = keras.Input((16, 16, 3), batch_size=1, name="image")
    x = _conv(x, 6)
    pooled = layers.AveragePooling2D(3, 1, "same")(x)
    x = layers.Concatenate()([_conv(x, 4, 1), _conv(_conv(x, 4, 1), 6, (1, 5)), _conv(pooled, 4, 1)])
    return keras.Model(inputs, _head(layers.MaxPooling2D(2)(x)))


def unet():
    """Transposed convolutions upwards."""
    x = inputs = keras.Input((16, 16, 3), batch_size=1, name="image")
    a = _conv(x, 4)
    b = _conv(layers.MaxPooling2D()(a), 8)
    up = layers.Conv2DTranspose(4, 2, 2, activation="relu")(b)
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="sigmoid")(layers.Concatenate()([a, up])))


def deeplab():
    """Dilated convolutions, pooled context, resizing with aligned corners, class of every pixel."""
    x = inputs = keras.Input((17, 17, 3), batch_size=1, name="image")
    x = _conv(x, 6, 3, 2, "relu6")
    a, b = _conv(x, 4, 1), _conv(x, 4, 3, dilation=2)
    c = layers.Conv2D(4, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    c = layers.UpSampling2D((9, 9), interpolation="bilinear")(c)
    return keras.Model(inputs, layers.Conv2D(5, 1)(layers.Concatenate()([a, b, c])))


def deeplab_function():
    """`deeplab` as its users export it."""
    model = deeplab()

    def run(image):
        big = tf.compat.v1.image.resize_bilinear(model(image), (17, 17), align_corners=True)
        return tf.argmax(big, -1, tf.int32)

    return run, {"image": tf.TensorSpec((1, 17, 17, 3), tf.float32)}


def pose():
    """Heat maps and offsets; places of the highest values, looked up in the offsets."""
    x = inputs = keras.Input((24, 16, 3), batch_size=1, name="image")
    x = _conv(_conv(x, 8, 3, 2, "relu6"), 8, 3, 2, "relu6", depthwise=True)
    model = keras.Model(inputs, [layers.Conv2D(5, 1)(x), layers.Conv2D(10, 1)(x)])

    def run(image):
        heat, offsets = model(image)
        flat = tf.reshape(heat, (24, 5))
        best = tf.argmax(flat, 0, tf.int32)
        rows, columns = best // 4, best % 4
        at = tf.stack([rows, columns, tf.range(5)], 1)
        moved = tf.gather_nd(tf.reshape(offsets, (6, 4, 10)), at)
        place = tf.cast(tf.stack([rows, columns], 1), tf.float32) * 4 + moved[:, None]
        return place, tf.sigmoid(tf.reduce_max(flat, 0))

    return run, {"image": tf.TensorSpec((1, 24, 16, 3), tf.float32)}


def encoder():
    """A transformer's encoder over token numbers and a mask."""
    width, heads, length = 16, 2, 6
    ids = keras.Input((length,), batch_size=1, dtype="int32", name="ids")
    mask = keras.Input((length,), batch_size=1, dtype="int32", name="mask")
    x = layers.Embedding(20, width)(ids)
    allowed = layers.Lambda(lambda m: tf.cast(m[:, None, :], tf.bool))(mask)
    y = layers.MultiHeadAttention(heads, width // heads)(x, x, attention_mask=allowed)
    x = layers.LayerNormalization(epsilon=1e-6)(x + y)
    y = layers.Dense(width)(layers.Dense(32, activation="gelu")(x))
    x = layers.LayerNormalization(epsilon=1e-6)(x + y)
    return keras.Model([ids, mask], layers.Dense(3, activation="tanh")(x[:, 0]))


def text(kind):
    """A recurrent layer over embedded tokens."""
    ids = keras.Input((5,), batch_size=1, dtype="int32", name="ids")
    x = layers.Embedding(12, 6)(ids)
    cell = {"lstm": lambda: layers.LSTM(5), "gru": lambda: layers.GRU(5), "rnn": lambda: layers.SimpleRNN(5),
            "both": lambda: layers.Bidirectional(layers.LSTM(4, return_sequences=True))}[kind]()
    x = cell(x)
    return keras.Model(ids, layers.Dense(3, activation="softmax")(x))


def activity():
    """Convolution over time, then an LSTM."""
    x = inputs = keras.Input((12, 3), batch_size=1, name="signal")
    x = layers.MaxPooling1D(2)(layers.Conv1D(6, 3, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.LSTM(5, unroll=True)(x)))


def ssd():
    """A detector without its end: codes and scores of 20 anchors."""
    x = inputs = keras.Input((16, 16, 3), batch_size=1, name="image")
    x = _conv(_conv(x, 8, 3, 2, "relu6"), 8, 3, 2, "relu6")
    maps = [x, _conv(x, 8, 3, 2, "relu6")]
    codes = [layers.Reshape((-1, 4))(layers.Conv2D(4, 1)(m)) for m in maps]
    scores = [layers.Reshape((-1, 4))(layers.Conv2D(4, 1, activation="sigmoid")(m)) for m in maps]
    return keras.Model(inputs, [layers.Concatenate(axis=1)(codes), layers.Concatenate(axis=1)(scores)])


def with_postprocessing(content):
    """A detector's file with the operator that TensorFlow's exporter of detectors adds."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    graph, count = model.subgraphs[0], 20
    side = [(c + 0.5) / n for n in (4, 2) for c in range(n)]
    grids = [(y, x, 2 / n, 2 / n) for n, s in ((4, side[:4]), (2, side[4:])) for y in s for x in s]
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.array(grids, np.float32).tobytes(), np.uint8)
    model.buffers.append(buffer)

    def tensor(name, shape, number=0):
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, shape, 0, number
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    anchors = tensor("anchors", [count, 4], len(model.buffers) - 1)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode, code.version = "TFLite_Detection_PostProcess", 1
    model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs = len(model.operatorCodes) - 1, [*graph.outputs, anchors]
    names = ("", ":1", ":2", ":3")
    op.outputs = [tensor(f"TFLite_Detection_PostProcess{n}", s) for n, s in zip(
        names, ([1, 5, 4], [1, 5], [1, 5], [1]))]
    op.customOptions = np.frombuffer(bytes(flexbuffers.Dumps({
        "max_detections": 5, "max_classes_per_detection": 1, "nms_score_threshold": 0.4, "nms_iou_threshold": 0.5,
        "num_classes": 3, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0})), np.uint8)
    graph.operators.append(op)
    graph.outputs = op.outputs
    model.signatureDefs = None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# ---- control flow and states ---------------------------------------------------------------------------------------


class Counter(tf.Module):
    """A variable that a run changes."""

    def __init__(self):
        self.sum = tf.Variable(tf.ones((3,)))

    @tf.function(input_signature=[tf.TensorSpec((3,), tf.float32, "x")])
    def __call__(self, x):
        self.sum.assign_add(x * 2)
        return self.sum + 1


class Lookup(tf.Module):
    """A table from numbers to texts."""

    def __init__(self):
        keys, values = tf.constant([3, 5, 8], tf.int64), tf.constant(["three", "five", "eight"])
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), "none")

    @tf.function(input_signature=[tf.TensorSpec((4,), tf.int64, "keys")])
    def __call__(self, keys):
        return tf.equal(self.table.lookup(keys), ["five", "none", "five", "eight"])


def choice(x):
    """A branch that data decides."""
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) * 2, lambda: x - 1)


def halving(x):
    """A loop whose number of rounds data decide."""
    return tf.while_loop(lambda v: tf.reduce_max(v) > 1, lambda v: (v * 0.5,), (x,))[0]


def counting(x):
    """A loop of four rounds."""
    return tf.while_loop(lambda i, v: i < 4, lambda i, v: (i + 1, v + tf.cast(i, tf.float32) * x), (0, x))[1]


def functions():
    """name -> (function, tensor by argument)."""
    x = {"x": tf.TensorSpec((4,), tf.float32)}
    return {"if": (choice, x), "while_data": (halving, x), "while_known": (counting, x),
            "deeplab": deeplab_function(), "pose": pose()}


def models():
    """name -> (Keras model, forms of its numbers)."""
    keras.utils.set_random_seed(9)
    return {
        "mobilenet_v1": (mobilenet(1), ("", "int16x8")), "mobilenet_v2": (mobilenet(2), ALL),
        "mobilenet_v3": (mobilenet(3), ("", "int8")), "resnet": (resnet(), ("", "int8", "int16x8")),
        "inception": (inception(), ("", "int8")), "unet_up": (unet(), ("", "int8", "dynamic")),
        "encoder": (encoder(), ("", "dynamic")), "text_lstm": (text("lstm"), ("", "dynamic")),
        "text_gru": (text("gru"), ("",)), "text_rnn": (text("rnn"), ("",)), "text_both": (text("both"), ("",)),
        "activity": (activity(), ("", "int8", "float16")),
    }


def resources():
    """name -> (file, inputs) of models with states and tables."""
    found = {}
    for name, module, inputs in (("counter", Counter(), {"x": np.float32([1, -2, 3])}),
                                 ("lookup", Lookup(), {"keys": np.array([5, 4, 3, 8])})):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.__call__.get_concrete_function()], module)
        converter.experimental_enable_resource_variables = True
        found[name] = (record.finished(converter), inputs)
    return found
