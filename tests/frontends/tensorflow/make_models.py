"""Writes models.npz: whole small models as TensorFlow 2 and Keras 3 save them, with what they computed.

    python tests/frontends/tensorflow/make_models.py        (where TensorFlow 2 is installed; seeded)
"""
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from keras import layers as kl
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.frontends.corpus import Writer

RNG = np.random.default_rng(11)


def f(*shape, low=-1.0, high=1.0):
    """Real numbers."""
    return RNG.uniform(low, high, shape).astype(np.float32)


def shaken(model):
    """The model with weights away from zero and one, statistics of batch norm included."""
    for weight in model.weights:
        value = RNG.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in getattr(weight, "path", weight.name) else value)
    return model


def files(folder):
    """Bytes of a SavedModel by name."""
    return {f"model/{p.relative_to(folder)}": p.read_bytes() for p in sorted(Path(folder).rglob("*"))
            if p.is_file() and p.name not in ("fingerprint.pb", "keras_metadata.pb")}


def exported(writer, name, model, inputs, **tolerances):
    """A Keras model by `export`."""
    shaken(model)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        served = tf.saved_model.load(folder).signatures["serving_default"]
        results = served(**{k: tf.constant(v) for k, v in inputs.items()})
        writer.add(name, files(folder), inputs, {k: v.numpy() for k, v in results.items()}, main="model", **tolerances)


def saved(writer, name, module, signatures, inputs, options=None, **tolerances):
    """A tf.Module by `tf.saved_model.save`."""
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        served = next(iter(tf.saved_model.load(folder).signatures.values()))
        results = served(**{k: tf.constant(v) for k, v in inputs.items()})
        writer.add(name, files(folder), inputs, {k: v.numpy() for k, v in results.items()}, main="model",
                   options=options, **tolerances)


def frozen(writer, name, model, inputs, text=False, **tolerances):
    """A Keras model frozen, in binary or text form."""
    shaken(model)
    specs = [tf.TensorSpec(v.shape, v.dtype, name=k) for k, v in inputs.items()]
    concrete = tf.function(lambda *a: model(list(a) if len(a) > 1 else a[0])).get_concrete_function(*specs)
    constant = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    results = constant(*[tf.constant(v) for v in inputs.values()])
    results = results if isinstance(results, (list, tuple)) else [results]
    graph = constant.graph.as_graph_def()
    data = str(graph).encode() if text else graph.SerializeToString()
    writer.add(name, {"model.pbtxt" if text else "model.pb": data}, inputs,
               {t.name[:-2]: r.numpy() for t, r in zip(constant.outputs, results)}, **tolerances)


def block(x, width, stride=1):
    """Inverted residual with squeeze and excitation, as MobileNetV3 and EfficientNet have it."""
    y = kl.Conv2D(2 * width, 1, use_bias=False)(x)
    y = kl.Activation("hard_swish")(kl.BatchNormalization()(y))
    y = kl.ZeroPadding2D(((0, 1), (0, 1)))(y) if stride == 2 else y
    y = kl.DepthwiseConv2D(3, stride, "valid" if stride == 2 else "same", use_bias=False)(y)
    y = kl.Activation("silu")(kl.BatchNormalization()(y))
    gate = kl.GlobalAveragePooling2D(keepdims=True)(y)
    gate = kl.Conv2D(2 * width, 1, activation="hard_sigmoid")(kl.Conv2D(4, 1, activation="relu")(gate))
    y = kl.BatchNormalization()(kl.Conv2D(width, 1, use_bias=False)(kl.Multiply()([y, gate])))
    return kl.Add()([x, y]) if stride == 1 and x.shape[-1] == width else y


def convolutional(w):
    x = keras.Input((24, 24, 3), name="image")
    y = kl.Rescaling(1 / 127.5, -1)(x)
    y = kl.Activation("hard_swish")(kl.BatchNormalization()(kl.Conv2D(8, 3, 2, "same", use_bias=False)(y)))
    y = block(block(block(y, 8), 12, 2), 12)
    y = kl.Dense(6)(kl.Dropout(0.2)(kl.GlobalAveragePooling2D()(y)))
    exported(w, "mobilenet_v3", keras.Model(x, y), {"image": f(2, 24, 24, 3, low=0, high=255)})

    x = keras.Input((16, 16, 3), name="image")
    parts = [kl.Conv2D(4, 1, activation="relu")(x), kl.Conv2D(4, 3, padding="same", activation="elu")(x),
             kl.Conv2D(3, (1, 3), padding="same")(kl.AveragePooling2D(3, 1, "same")(x)),
             kl.MaxPooling2D(3, 1, "same")(x)]
    y = kl.Concatenate()(parts)
    y = kl.Concatenate()([y, kl.Conv2D(4, 3, padding="same")(kl.ReLU()(kl.BatchNormalization()(y)))])
    y = kl.SeparableConv2D(6, 3, dilation_rate=2, padding="same")(kl.LeakyReLU(0.1)(y))
    y = kl.GroupNormalization(2)(kl.PReLU(shared_axes=[1, 2])(y))
    y = kl.Softmax()(kl.Dense(5)(kl.Flatten()(kl.MaxPooling2D()(y))))
    frozen(w, "inception_densenet", keras.Model(x, y), {"image": f(1, 16, 16, 3)}, text=True)

    x = keras.Input((16, 16, 3), name="image")
    a = kl.Conv2D(4, 3, padding="same", activation="relu")(x)
    b = kl.Conv2D(8, 3, padding="same", activation="relu")(kl.MaxPooling2D()(a))
    atrous = kl.Conv2D(8, 3, padding="same", dilation_rate=2)(b)
    pooled = kl.UpSampling2D(8, interpolation="bilinear")(kl.Conv2D(8, 1)(kl.GlobalAveragePooling2D(keepdims=True)(b)))
    c = kl.Concatenate()([b, atrous, pooled])
    up = kl.Conv2DTranspose(4, 3, 2, "same")(c)
    y = kl.Conv2D(3, 1, activation="softmax")(kl.Concatenate()([a, up, kl.UpSampling2D(2)(b)]))
    exported(w, "deeplab_unet", keras.Model(x, y), {"image": f(1, 16, 16, 3)})


class Detector(tf.Module):
    """Boxes, scores and suppression; two variables of the same name; a lookup by gather."""

    def __init__(self):
        super().__init__()
        self.filters = tf.Variable(f(3, 3, 3, 8), name="same")
        self.heads = {"boxes": tf.Variable(f(8, 4), name="same"), "scores": [tf.Variable(f(8, 3), name="same")]}

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], name="image")])
    def detect(self, image):
        """Named results."""
        x = tf.nn.relu(tf.nn.conv2d(image, self.filters, 4, "SAME"))
        flat = tf.reshape(x, [tf.shape(x)[0], -1, 8])
        centre = tf.sigmoid(tf.matmul(flat, self.heads["boxes"]))
        boxes = tf.concat([centre[..., :2] * 0.5, centre[..., :2] * 0.5 + 0.1 + 0.4 * centre[..., 2:]], -1)
        scores = tf.nn.softmax(tf.matmul(flat, self.heads["scores"][0]))
        found = tf.image.combined_non_max_suppression(boxes[:, :, None], scores, 5, 8, 0.4, 0.3)
        return {"boxes": found.nmsed_boxes, "scores": found.nmsed_scores, "classes": found.nmsed_classes,
                "count": found.valid_detections}


def detection(w):
    saved(w, "detector", module := Detector(), {"serving_default": module.detect}, {"image": f(2, 16, 16, 3)})
    saved(w, "one_signature", module, {"find": module.detect}, {"image": f(1, 16, 16, 3)})


class Encoder(kl.Layer):
    """An encoder written with operators."""

    def __init__(self):
        super().__init__()
        self.attention = kl.MultiHeadAttention(2, 6)
        self.norms = [kl.LayerNormalization(), kl.LayerNormalization()]
        self.dense = [kl.Dense(24, activation="gelu"), kl.Dense(12)]

    def call(self, x, mask):
        """x: (N, T, 12), mask: (N, T)."""
        x = self.norms[0](x + self.attention(x, x, attention_mask=mask[:, None, :]))
        return self.norms[1](x + self.dense[1](self.dense[0](x)))


def sequences(w):
    ids, mask = keras.Input((7,), dtype="int32", name="ids"), keras.Input((7,), dtype="bool", name="mask")
    x = kl.Embedding(20, 12)(ids) + kl.Embedding(7, 12)(keras.ops.arange(7))
    y = kl.Dense(3)(Encoder()(Encoder()(x, mask), mask)[:, 0])
    shown = np.array([[True] * 7, [True] * 4 + [False] * 3])
    exported(w, "encoder", keras.Model([ids, mask], y),
             {"ids": RNG.integers(0, 20, (2, 7)).astype(np.int32), "mask": shown}, atol=1e-4)

    x = keras.Input((6, 5), name="steps")
    y = kl.Bidirectional(kl.LSTM(4, return_sequences=True))(x)
    y = kl.GRU(4, reset_after=True)(kl.Conv1D(5, 3, padding="causal", activation="tanh")(y))
    exported(w, "lstm_gru", keras.Model(x, kl.Dense(2)(y)), {"steps": f(2, 6, 5)})

    x = keras.Input((5, 8, 8, 2), name="frames")
    y = kl.TimeDistributed(kl.Conv2D(3, 3, activation="relu"))(x)
    y = kl.ConvLSTM2D(3, 3, padding="same")(y)
    y = kl.Conv3D(2, 3, padding="same")(kl.Reshape((2, 3, 6, 3))(y))
    exported(w, "video", keras.Model(x, kl.GlobalMaxPooling3D()(y)), {"frames": f(1, 5, 8, 8, 2)})

    x = keras.Input((6, 5), name="steps")
    y = kl.RNN(kl.StackedRNNCells([kl.SimpleRNNCell(4), kl.GRUCell(3, reset_after=False)]))(x)
    frozen(w, "rnn_cells", keras.Model(x, y), {"steps": f(2, 6, 5)})


def legacy(w):
    """Models of Keras 2, whose layers keep their fused operators and their own functions."""
    old = tf_keras.layers
    x = old.Input((12, 12, 3), name="image")
    y = old.BatchNormalization()(old.Conv2D(6, 3, strides=2, padding="same")(x))
    y = old.Activation("swish")(old.BatchNormalization(renorm=False, fused=False)(old.SeparableConv2D(6, 3)(y)))
    y = old.Dense(4, activation="softmax")(old.Dropout(0.3)(old.GlobalMaxPooling2D()(y)))
    model = shaken(tf_keras.Model(x, y))
    saved(w, "keras2_convolutions", model, None, {"image": f(2, 12, 12, 3)})

    x = old.Input((6,), dtype="int32", name="ids")
    y = old.Embedding(15, 5, mask_zero=True)(x)
    y = old.Bidirectional(old.LSTM(4, return_sequences=True))(y)
    y = old.GRU(3)(old.LayerNormalization()(y))
    model = shaken(tf_keras.Model(x, old.Dense(2, activation="sigmoid", name="score")(y)))
    saved(w, "keras2_masked_lstm", model, None, {"ids": np.array([[3, 7, 2, 0, 0, 0], [1, 14, 5, 9, 4, 2]], np.int32)})

    model = shaken(tf_keras.Sequential([old.Input((7, 4)), old.LSTM(3, return_sequences=True, unroll=True),
                                        old.TimeDistributed(old.Dense(2)), old.Flatten()]))
    inputs = {model.input_names[0]: f(2, 7, 4)}
    saved(w, "keras2_unrolled", model, None, inputs)


def main():
    keras.utils.set_random_seed(5)
    writer = Writer(Path(__file__).with_name("models.npz"))
    for family in (convolutional, detection, sequences, legacy):
        family(writer)
    writer.save()


if __name__ == "__main__":
    main()
