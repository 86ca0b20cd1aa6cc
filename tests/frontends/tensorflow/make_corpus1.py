"""Writes corpus1.npz: graphs and SavedModels of TensorFlow 1, with what it computed. Runs with Python 3.7.

    python tests/frontends/tensorflow/make_corpus1.py        (where TensorFlow 1.15 is installed; seeded)
"""
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.frontends.corpus import Writer

RNG = np.random.RandomState(13)


def f(*shape, low=-1.0, high=1.0):
    """Real numbers."""
    return RNG.uniform(low, high, shape).astype(np.float32)


def built(function, inputs):
    """Session, placeholders and results of a graph."""
    tf.compat.v1.reset_default_graph()
    tf.compat.v1.set_random_seed(3)
    places = {k: tf.compat.v1.placeholder(v.dtype, [None, *v.shape[1:]] if v.ndim else [], name=k)
              for k, v in inputs.items()}
    results = function(**places)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    results = [tf.identity(r, name=f"result{k}") for k, r in enumerate(results)]
    session = tf.compat.v1.Session()
    session.run(tf.compat.v1.global_variables_initializer())
    for variable in tf.compat.v1.global_variables():
        if "variance" in variable.name:
            variable.load(RNG.uniform(0.5, 1.5, variable.shape.as_list()).astype(np.float32), session)
        elif "moving" in variable.name or "gamma" in variable.name:
            variable.load(f(*variable.shape.as_list()), session)
    return session, places, results, session.run(results, {places[k]: v for k, v in inputs.items()})


def frozen(w, name, function, options=None, text=False, **inputs):
    """A frozen graph."""
    session, _, results, values = built(function, inputs)
    names = [r.op.name for r in results]
    graph = tf.compat.v1.graph_util.convert_variables_to_constants(session, session.graph_def, names)
    data = str(graph).encode() if text else graph.SerializeToString()
    w.add(name, {"model.pbtxt" if text else "model.pb": data}, inputs, dict(zip(names, values)), options=options)


def saved(w, name, function, more=None, **inputs):
    """A SavedModel by simple_save, or with further graphs and signatures by `more`."""
    session, places, results, values = built(function, inputs)
    outputs = {f"y{k}": r for k, r in enumerate(results)}
    folder = Path(tempfile.mkdtemp()) / "model"
    with session.graph.as_default():
        if more:
            more(session, str(folder), places, outputs)
        else:
            tf.compat.v1.saved_model.simple_save(session, str(folder), places, outputs)
    found = {"model/" + str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    w.add(name, found, inputs, dict(zip(outputs, values)), main="model")
    shutil.rmtree(str(folder.parent))


def norm(x, training):
    """Batch norm that decides at run time whether it trains."""
    return tf.compat.v1.layers.batch_normalization(x, training=training)


def slim(x):
    """A network of the old kind, with a switch for training."""
    training = tf.compat.v1.placeholder_with_default(False, [], name="is_training")
    y = tf.compat.v1.layers.conv2d(x, 8, 3, 2, "same", use_bias=False)
    y = tf.nn.relu(norm(y, training))
    y = tf.compat.v1.layers.dropout(y, 0.5, training=training)
    z = tf.compat.v1.layers.separable_conv2d(y, 8, 3, padding="same")
    y = tf.nn.relu6(norm(y + z, training))
    y = tf.compat.v1.layers.flatten(tf.compat.v1.layers.max_pooling2d(y, 2, 2))
    return tf.nn.softmax(tf.compat.v1.layers.dense(y, 4))


def atrous(x):
    """Dilated convolutions, which this version writes with SpaceToBatchND."""
    y = tf.compat.v1.layers.conv2d(x, 4, 3, padding="same", dilation_rate=2, activation=tf.nn.relu)
    y = tf.nn.depthwise_conv2d(y, tf.constant(f(3, 3, 4, 1)), [1, 1, 1, 1], "SAME", rate=[3, 3])
    return tf.compat.v1.image.resize_bilinear(y, [19, 21], align_corners=True)


def dynamic(cell, **options):
    """A network over time."""
    def function(x, **more):
        outputs, state = tf.compat.v1.nn.dynamic_rnn(cell(), x, dtype=tf.float32, **options, **more)
        return [outputs, state[0] if isinstance(state, tuple) else state]
    return function


def with_lengths(x, lengths):
    """Sequences of lengths that data say."""
    outputs, state = tf.compat.v1.nn.dynamic_rnn(tf.compat.v1.nn.rnn_cell.LSTMCell(4), x, lengths, dtype=tf.float32)
    return [outputs, state.c, state.h]


def until(x):
    """A loop that data end, but not after more than six turns."""
    found = tf.while_loop(lambda k, v: tf.reduce_sum(v) < 9, lambda k, v: (k + 1, v * 1.5), (tf.constant(0), x),
                          maximum_iterations=6)
    return list(found)


def masked(x):
    """Elements that data choose."""
    kept = tf.boolean_mask(x, tf.reduce_max(x, 1) > 0.5)
    return [kept[:, ::-1] * 2.0, tf.reduce_sum(kept, 0), kept[..., 1]]


def both_ways(x):
    """Two directions, layers in each."""
    cells = [tf.compat.v1.nn.rnn_cell.MultiRNNCell([tf.compat.v1.nn.rnn_cell.LSTMCell(3, use_peepholes=True),
                                                    tf.compat.v1.nn.rnn_cell.GRUCell(4)]) for _ in range(2)]
    outputs, _ = tf.compat.v1.nn.bidirectional_dynamic_rnn(cells[0], cells[1], x, dtype=tf.float32)
    return tf.concat(outputs, 2)


def loops(x):
    """A loop in a loop, with a branch and a value that stays the same."""
    def inner(k, v):
        return k + 1, v + x * tf.cast(k, tf.float32)

    def outer(n, v):
        v = tf.while_loop(lambda k, _: k < n, inner, (tf.constant(0), v))[1]
        return n + 1, tf.cond(tf.equal(n, 1), lambda: v * 0.5, lambda: v - 1.0)

    return tf.while_loop(lambda n, _: n < 4, outer, (tf.constant(0), x))[1]


def branches(x):
    """Branches that data decide, one in the other."""
    positive = tf.reduce_sum(x) > 0
    large = tf.reduce_max(x) > 0.5
    return tf.cond(positive, lambda: tf.cond(large, lambda: x * 2, lambda: tf.zeros_like(x)), lambda: x - 1)


def old_operators(x):
    """Operators that later versions replaced."""
    y = tf.nn.batch_norm_with_global_normalization(x, f(3), f(3, low=0.5), f(3), f(3), 0.01, True)
    y = tf.compat.v1.image.resize_nearest_neighbor(y, [5, 9])
    y = tf.nn.lrn(y) + tf.reverse(y, [1])
    bytes_ = tf.constant(RNG.randint(0, 255, (3,)).astype(np.uint8))
    y += tf.compat.v1.quantization.dequantize(tf.bitcast(bytes_, tf.quint8), -1.0, 2.0)
    packed = tf.compat.v1.where(tf.reduce_mean(y, [1, 2, 3]) > 0, y, -y)
    return [packed, tf.concat(tf.split(y, 3, 3)[::-1], 3), tf.extract_image_patches(y, [1, 2, 2, 1], [1, 2, 2, 1],
                                                                                     [1, 1, 1, 1], "VALID")]


def partitioned(x):
    """A variable kept in two parts."""
    with tf.compat.v1.variable_scope("net", partitioner=tf.compat.v1.fixed_size_partitioner(2)):
        return tf.nn.relu(tf.matmul(x, tf.compat.v1.get_variable("w", [6, 4])))


def resources(x):
    """Resource variables."""
    with tf.compat.v1.variable_scope("net", use_resource=True):
        return tf.compat.v1.layers.dense(x, 3, activation=tf.nn.sigmoid)


def several(session, folder, places, outputs):
    """Two graphs, one for training, and two signatures."""
    make = tf.compat.v1.saved_model.signature_def_utils.predict_signature_def
    builder = tf.compat.v1.saved_model.builder.SavedModelBuilder(folder)
    signatures = {"serving_default": make(places, outputs), "other": make(places, {"z": outputs["y0"]})}
    builder.add_meta_graph_and_variables(session, ["train"], signature_def_map={"fit": make(places, outputs)})
    builder.add_meta_graph(["serve"], signature_def_map=signatures)
    builder.save()


def kept(x):
    """Dropout with a probability to keep that is 1 unless it is given, in a loop too."""
    keep = tf.compat.v1.placeholder_with_default(1.0, [], "keep")
    cell = tf.compat.v1.nn.rnn_cell.DropoutWrapper(tf.compat.v1.nn.rnn_cell.GRUCell(3), output_keep_prob=keep)
    return tf.compat.v1.nn.dynamic_rnn(cell, tf.nn.dropout(x, keep_prob=keep), dtype=tf.float32)[0]


def columns(kind, other, numeric):
    """Columns of features, as tables of embeddings and as counts; -1 is no entry."""
    feature = tf.feature_column
    kinds, others = (feature.categorical_column_with_identity(key, 6) for key in ("kind", "other"))
    made = [feature.bucketized_column(feature.numeric_column("numeric"), [0.0, 0.5]), feature.indicator_column(kinds)]
    made += [feature.embedding_column(kinds, 3), feature.embedding_column(others, 2, combiner="sqrtn")]
    return tf.compat.v1.feature_column.input_layer({"kind": kind, "other": other, "numeric": numeric}, made)


def entries(x):
    """Entries that data choose: as they are, and put back."""
    places = tf.compat.v1.where(x > 0.1)
    values = tf.gather_nd(x, places)
    sparse = tf.SparseTensor(places, values, tf.shape(x, out_type=tf.int64))
    return [places, values + 1, tf.boolean_mask(x, x > 0.1), tf.compat.v1.sparse_tensor_to_dense(sparse, -1.0)]


def main():
    w = Writer(Path(__file__).with_name("corpus1.npz"))
    image = f(2, 12, 12, 3)
    cells = tf.compat.v1.nn.rnn_cell
    frozen(w, "slim", slim, x=image)
    frozen(w, "slim_text", slim, text=True, x=image)
    frozen(w, "atrous", atrous, x=f(1, 10, 11, 3))
    frozen(w, "dynamic_lstm", dynamic(lambda: cells.LSTMCell(4)), x=f(2, 5, 3))
    frozen(w, "dynamic_block_lstm", dynamic(lambda: tf.contrib.rnn.LSTMBlockCell(4)), x=f(2, 5, 3))
    frozen(w, "dynamic_gru_major", dynamic(lambda: cells.GRUCell(4), time_major=True), x=f(5, 2, 3))
    frozen(w, "both_ways", both_ways, x=f(2, 4, 3))
    frozen(w, "with_lengths", with_lengths, x=f(3, 5, 3), lengths=np.array([2, 4, 3], np.int32))
    frozen(w, "until_few", until, x=f(2, 3, low=0.5))
    frozen(w, "until_many", until, x=f(2, 3, low=0.0, high=0.1))
    frozen(w, "masked", masked, x=f(6, 3))
    frozen(w, "loops", loops, x=f(2, 3))
    frozen(w, "branches", branches, x=f(2, 3))
    frozen(w, "map_fn", lambda x: tf.map_fn(lambda row: tf.nn.softmax(row) * 2, x), x=f(3, 4))
    frozen(w, "kept", kept, x=f(2, 4, 3))
    frozen(w, "columns", columns, kind=np.array([[1, -1, 4], [-1, -1, -1], [0, 5, 5]]),
           other=np.array([[-1, 2], [3, 2], [-1, -1]]), numeric=f(3, 1))
    frozen(w, "entries", entries, x=f(3, 4))
    frozen(w, "old_operators", old_operators, x=f(2, 4, 6, 3))
    saved(w, "simple_save", slim, x=image)
    saved(w, "resources", resources, x=f(2, 5))
    saved(w, "partitioned", partitioned, x=f(2, 6))
    saved(w, "several_graphs", slim, several, x=image)
    w.save()


if __name__ == "__main__":
    main()
