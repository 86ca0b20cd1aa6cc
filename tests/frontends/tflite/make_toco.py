"""Writes toco.npz: files of TensorFlow 1.15's converter (toco), with the results of its interpreter.

    python -m tests.frontends.tflite.make_toco        (Python 3.7, tensorflow 1.15; its scripts on PATH)
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.frontends.corpus import Writer

HERE = Path(__file__).resolve().parent


def _values(rng, *shape):
    return tf.constant(rng.normal(0, 0.3, shape).astype(np.float32))


def _limited(x, low, high):
    return tf.fake_quant_with_min_max_args(x, low, high)


def quantised(rng):
    """Quantisation-aware training's graph: everything unsigned."""
    x = tf.compat.v1.placeholder(tf.float32, (1, 16, 16, 3), "image")

    def conv(h, width, stride, depthwise=False):
        channels = int(h.shape[-1])
        w = _limited(_values(rng, 3, 3, channels, 1 if depthwise else width), -1, 1)
        strides = [1, stride, stride, 1]
        y = tf.nn.depthwise_conv2d(h, w, strides, "SAME") if depthwise else tf.nn.conv2d(h, w, strides, "SAME")
        return _limited(tf.nn.relu6(tf.nn.bias_add(y, _values(rng, int(y.shape[-1])))), 0, 6)

    a = conv(_limited(x, -1, 1), 8, 2)
    b = conv(a, 8, 1, depthwise=True)
    h = _limited(tf.concat([_limited(a + b, 0, 8), tf.nn.max_pool(a, 3, 1, "SAME")], 3), 0, 8)
    h = tf.reshape(tf.nn.avg_pool(h, 8, 1, "VALID"), (1, 16))
    z = _limited(tf.matmul(h, _limited(_values(rng, 16, 5), -1, 1)) + _values(rng, 5), -6, 6)
    return [x], [tf.nn.softmax(z, name="probs")]


def atrous(rng):
    """Segmentation as it was written then: dilation by blocks, resizing with aligned corners."""
    x = tf.compat.v1.placeholder(tf.float32, (1, 9, 9, 3), "image")
    h = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, _values(rng, 3, 3, 3, 4), 1, "SAME"), _values(rng, 4)))
    h = tf.nn.lrn(tf.nn.relu6(tf.nn.convolution(h, _values(rng, 3, 3, 4, 4), "SAME", dilation_rate=(2, 2))), 2)
    h = tf.space_to_batch_nd(h, [3, 3], [[0, 0], [0, 0]])
    h = tf.batch_to_space_nd(tf.nn.leaky_relu(h), [3, 3], [[0, 0], [0, 0]])
    h = tf.compat.v1.image.resize_bilinear(h, (17, 17), align_corners=True)
    return [x], [tf.identity(h, "logits"), tf.argmax(h, -1, output_type=tf.int32, name="class")]


def cell(rng):
    """A recurrent network of two written-out steps."""
    x = tf.compat.v1.placeholder(tf.float32, (1, 2, 4), "x")
    layer = tf.compat.v1.nn.rnn_cell.BasicLSTMCell(5)
    outputs, _ = tf.compat.v1.nn.static_rnn(layer, tf.unstack(x, axis=1), dtype=tf.float32)
    return [x], [tf.nn.log_softmax(tf.matmul(outputs[-1], _values(rng, 5, 3)), name="y")]


def _converted(build, rng, unsigned):
    with tf.Graph().as_default() as graph:
        tf.compat.v1.set_random_seed(1)
        inputs, outputs = build(rng)
        with tf.compat.v1.Session(graph=graph) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            converter = tf.compat.v1.lite.TFLiteConverter.from_session(session, inputs, outputs)
            if unsigned:
                converter.inference_type = tf.uint8
                converter.quantized_input_stats = {inputs[0].op.name: (127.5, 127.5)}
            return converter.convert()


def main():
    """Make everything."""
    writer = Writer(HERE / "toco.npz")
    for build in (quantised, atrous, cell):
        rng = np.random.RandomState(2)
        content = _converted(build, rng, build is quantised)
        runner = tf.lite.Interpreter(model_content=content)
        runner.allocate_tensors()
        detail = runner.get_input_details()[0]
        real = detail["dtype"] == np.float32
        array = rng.normal(size=detail["shape"]) if real else rng.randint(0, 256, detail["shape"])
        runner.set_tensor(detail["index"], array.astype(detail["dtype"]))
        runner.invoke()
        outputs = [runner.get_tensor(d["index"]) for d in runner.get_output_details()]
        writer.add("toco_" + build.__name__, {"model.tflite": content}, {detail["name"]: array.astype(detail["dtype"])},
                   outputs, rtol=1e-4 if real else 0, atol=1e-5 if real else 1)
    writer.save()


if __name__ == "__main__":
    main()
