"""Writes corpus.npz: operators and small models in TensorFlow Lite's files, with its reference kernels' results.

    python -m tests.frontends.tflite.make_corpus        (where tensorflow 2.21 and ai-edge-litert 2.3 are installed)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.frontends.corpus import Writer
from tests.frontends.tflite import converted, handmade, networks, record

HERE = Path(__file__).resolve().parent
#: cases that have no form in 8-bit integers, or one that says nothing new
_NO_INTEGERS = ("zeros_like", "fake_quant", "rfft2d", "int_", "casts", "where", "unique", "bucketize", "nms", "one_hot",
                "embedding", "logical", "atan2", "floor_", "segment", "unsorted", "matrix", "reverse_sequence",
                "gather_batch", "fill_shape", "gelu", "cumsum", "conv_3d", "scatter", "round", "sign", "ceil",
                "floor", "elu", "cos", "sin", "local", "resize_nearest_align", "resize_bilinear_align", "add_n",
                "dynamic_update", "reduce_any", "zeros", "select_rows", "square", "broadcast", "space_to_batch")
#: the reference kernels of these leave out a channel, and saturate
_OPTIMISED = ("local_response", "reduce_sum_int8")


def _specs(shapes):
    return {n: s if isinstance(s, tf.TensorSpec) else tf.TensorSpec(s, tf.float32) for n, s in shapes.items()}


def _inputs(specs, rng):
    def one(spec):
        if spec.dtype.is_integer:
            return rng.integers(-1 if spec.shape.rank == 2 and spec.shape[0] == 2 and spec.shape[1] == 3 else 0, 4,
                                spec.shape).astype(spec.dtype.as_numpy_dtype)
        return rng.normal(0, 1.2, spec.shape).astype(np.float32)

    return {n: one(s) for n, s in specs.items()}


def _add(writer, seen, name, content, inputs, **limits):
    given, outputs = record.interpreted(content, inputs, name not in _OPTIMISED)
    seen |= record.types(content)
    whole = any(o.dtype in (np.int8, np.uint8, np.int16) for o in outputs)
    limits = limits or ({"rtol": 0, "atol": 1} if whole else {"rtol": 1e-4, "atol": 1e-5})
    writer.add(name, {"model.tflite": content}, given, outputs, options={"framework": "tflite"}, **limits)


def operators(writer, seen):
    """Every function, in real numbers and, where it makes sense, in 8-bit integers."""
    for name, (function, shapes) in converted.cases().items():
        specs, rng = _specs(shapes), np.random.default_rng(len(name))
        inputs = _inputs(specs, rng)
        for kind in ("", "int8"):
            if kind and name.startswith(_NO_INTEGERS):
                continue
            samples = [inputs] + [_inputs(specs, rng) for _ in range(4)]
            try:
                content = record.converted(function, specs, quantised=kind, samples=samples)
                _add(writer, seen, f"{name}{kind and '_' + kind}", content, inputs)
            except Exception as error:  # the converter's own limits: seen when the corpus is made
                print("not made:", name, kind, str(error).strip()[-200:], file=sys.stderr)


def by_hand(writer, seen):
    """Operators that the converter writes only in special cases."""
    for name, (content, inputs) in handmade.cases().items():
        try:
            _add(writer, seen, name, content, inputs, **({"rtol": 0, "atol": 0.03} if name == "dense_hybrid" else {}))
        except Exception as error:
            print("not made:", name, str(error).strip()[-200:], file=sys.stderr)


#: kind of numbers -> (rtol, atol); integers in steps. Dynamic: TensorFlow Lite rounds activations to 8 bits at run time
_LIMITS = {"int8": (0, 2), "dynamic": (0, 0.03), "float16": (1e-3, 1e-4), "int16x8": (0, 1e-3)}


def networks_(writer, seen):
    """Whole models."""
    for name, (model, kinds) in networks.models().items():
        specs = {i.name: tf.TensorSpec(i.shape, i.dtype) for i in model.inputs}
        rng = np.random.default_rng(len(name))
        for kind in kinds:
            samples = [_inputs(specs, rng) for _ in range(8)]
            content = record.converted(lambda *a, model=model: model(list(a) if len(a) > 1 else a[0]), specs,
                                       quantised=kind, samples=samples)
            rtol, atol = _LIMITS.get(kind, (1e-3, 1e-4))
            _add(writer, seen, f"{name}{kind and '_' + kind}", content, samples[0], rtol=rtol, atol=atol)
    for name, (function, specs) in networks.functions().items():
        content = record.converted(function, specs)
        _add(writer, seen, name, content, _inputs(specs, np.random.default_rng(5)))
    for name, (content, inputs) in networks.resources().items():
        _add(writer, seen, name, content, inputs)
    detector = networks.ssd()
    specs = {"image": tf.TensorSpec((1, 16, 16, 3), tf.float32)}
    content = networks.with_postprocessing(record.converted(lambda x: tuple(detector(x)), specs))
    _add(writer, seen, "ssd", content, _inputs(specs, np.random.default_rng(3)))


def main():
    """Make everything."""
    writer, seen = Writer(HERE / "corpus.npz"), set()
    operators(writer, seen)
    by_hand(writer, seen)
    networks_(writer, seen)
    print("operators seen:", " ".join(sorted(seen)), file=sys.stderr)
    writer.save()


if __name__ == "__main__":
    main()
