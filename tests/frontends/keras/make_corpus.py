"""Writes `corpus_<which>.npz.xz`: one small model for each layer and variant, with what Keras computed.

    python tests/frontends/keras/make_corpus.py keras3|tf_keras|keras2|tf1

Run by hand from the root of the repository where that Keras is installed (keras2 and tf1: Keras 2.2 and TensorFlow
1.15, on Python 3.7). Also writes `layers_<which>.txt`, the layers that this Keras has.
"""
import os
import sys
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))
from tests.frontends.corpus import Writer  # noqa: E402


class Maker:
    """Saves models of one version of Keras with their results."""

    def __init__(self, which):
        self.which = which
        if which == "tf_keras":
            import tf_keras as keras
        elif which == "tf1":
            from tensorflow import keras
        else:
            import keras
        self.early = which in ("keras2", "tf1")
        self.keras, self.L = keras, keras.layers
        self.writer = Writer(HERE / f"corpus_{which}.npz.xz")
        self.random = np.random.default_rng(3) if which not in ("keras2", "tf1") else np.random.RandomState(3)
        self.count = 0
        self.wrong = []

    def array(self, shape, dtype="float32"):
        """Random numbers: normal ones, or whole ones below 10 with zeros at the end of every row."""
        if dtype == "float32":
            return self.random.normal(size=shape).astype("float32")
        found = (self.random.uniform(size=shape) * 10).astype(dtype)
        if len(shape) == 2 and shape[1] > 2:
            found[0, -2:] = 0
            found[-1, -1:] = 0
        return found

    def save(self, name, model, inputs, rtol=1e-3, atol=1e-4, form=None):
        """Randomise the weights of a model, save it and what it computes."""
        owners = model.layers if self.early else [model]  # the order that get_weights has there
        names = [w.name for owner in owners for w in owner.weights]
        weights = []
        for w, n in zip(model.get_weights(), names):
            if w.dtype.kind != "f" or w.size == 0:
                weights.append(w)
            elif "variance" in n:
                weights.append(self.random.uniform(0.5, 2, size=w.shape).astype("float32"))
            else:
                weights.append((self.random.normal(size=w.shape) * 0.4).astype("float32"))
        model.set_weights(weights)
        for layer in model.layers:
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
        fed = [inputs[self.input_name(i)] for i in model.inputs]
        fed = fed if len(fed) > 1 else fed[0]
        found = model.predict(fed) if self.early else model(fed, training=False)
        if isinstance(found, dict):
            outputs = {k: np.asarray(v) for k, v in found.items()}
        else:
            found = [np.asarray(v) for v in (found if isinstance(found, (list, tuple)) else [found])]
            called = self.output_names(model)
            outputs = dict(zip(called, found)) if len(set(called)) == len(called) else found
        suffix = form or ("keras" if self.count % 2 and not self.early else "h5")
        self.count += 1
        path = Path(tempfile.mkdtemp()) / ("model." + suffix)
        model.save(str(path))
        self.writer.add(name, {path.name: path.read_bytes()}, inputs, outputs, rtol=rtol, atol=atol)

    def input_name(self, tensor):
        if self.which == "keras3":
            return tensor._keras_history.operation.name
        return tensor.name.split(":")[0]

    def output_names(self, model):
        return list(getattr(model, "output_names", None) or [model.layers[-1].name])

    def input(self, k, shape, dtype="float32"):
        name = f"x{k}"
        if self.early:
            return self.keras.layers.Input(shape=shape[1:], dtype=dtype, name=name)
        return self.keras.Input(shape[1:], batch_size=None, dtype=dtype, name=name)

    def call(self, name, build, *shapes, **options):
        """A model of `build(inputs...)`; shapes with the batch, (shape, dtype) for other than float32."""
        try:
            self._call(name, build, *shapes, **options)
        except Exception as error:  # this version of Keras lacks something: the case is left out, and said so
            if os.environ.get("STRICT"):
                raise
            print("left out:", name, type(error).__name__, str(error).replace("\n", " ")[:140])

    def _call(self, name, build, *shapes, **options):
        if self.early:
            self.keras.backend.clear_session()  # or names of inputs get numbers
        stated = [s if isinstance(s[0], tuple) else (s, "float32") for s in shapes]
        inputs = [self.input(k, s, d) for k, (s, d) in enumerate(stated)]
        outputs = build(*inputs)
        if isinstance(outputs, tuple):
            outputs = list(outputs)
        model = self.keras.models.Model(inputs, outputs)
        values = options.pop("values", None)
        fed = {f"x{k}": self.array(s, d) for k, (s, d) in enumerate(stated)}
        fed.update(values or {})
        self.save(name, model, fed, **options)

    def many(self, name, builders, *shapes, **options):
        """A model with one output for each of some functions, given by name."""
        def build(*x):
            found = []
            for label, one in builders.items():
                try:
                    found.append(one(*x))
                except Exception as error:
                    print("left out:", name, label, type(error).__name__)
            return found

        self.call(name, build, *shapes, **options)

    def layer(self, name, make, *shapes, **options):
        """One layer: `make()` gives it."""
        def build(*x):
            made = make()
            return made(list(x) if len(x) > 1 else x[0])

        self.call(name, build, *shapes, **options)


if __name__ == "__main__":
    import logging

    from tests.frontends.keras import cases

    logging.disable(logging.WARNING)
    maker = Maker(sys.argv[1])
    cases.every(maker)
    maker.writer.save()
    (HERE / f"layers_{maker.which}.txt").write_text("\n".join(cases.names(maker)) + "\n")
