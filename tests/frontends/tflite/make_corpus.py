"""Writes corpus.npz: operators and small models in TensorFlow Lite's files, with its reference kernels' results.

    python -m tests.frontends.tflite.make_corpus        (where tensorflow 2.21 and ai-edge-litert 2.3 are installed)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.frontends.corpus import Writer
from tests.frontends.tflite import converted, handmade, record

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
            _add(writer, seen, name, content, inputs)
        except Exception as error:
            print("not made:", name, str(error).strip()[-200:], file=sys.stderr)


def main():
    """Make everything."""
    writer, seen = Writer(HERE / "corpus.npz"), set()
    operators(writer, seen)
    by_hand(writer, seen)
    print("operators seen:", " ".join(sorted(seen)), file=sys.stderr)
    writer.save()


if __name__ == "__main__":
    main()
