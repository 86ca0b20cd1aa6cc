"""Converts functions with TensorFlow's converter and records what its reference kernels compute (run by hand)."""

from __future__ import annotations

import ai_edge_litert.interpreter as litert
import numpy as np
import tensorflow as tf


def converted(function, specs, *, quantised="", samples=None, flex=False):
    """The file of a function of named tensors.

    Args:
        specs: `tf.TensorSpec` by argument name, in order.
        quantised: "" float, "int8" all integers, "int16x8", "dynamic" weights only, "float16" weights only.
        samples: representative inputs by name, a list of dicts.
    """
    named = tf.function(function, input_signature=[tf.TensorSpec(s.shape, s.dtype, n) for n, s in specs.items()])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([named.get_concrete_function()], named)
    return finished(converter, quantised, samples, flex)


def finished(converter, quantised="", samples=None, flex=False):
    """A converter's file; arguments as `converted`."""
    builtin, dialect = tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet
    converter.target_spec.supported_ops = [builtin, dialect.SELECT_TF_OPS] if flex else [builtin]
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantised == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantised in ("int8", "int16x8"):
        converter.representative_dataset = lambda: ([s[n] for n in s] for s in samples)
        kind = {"int8": dialect.TFLITE_BUILTINS_INT8,
                "int16x8": dialect.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8}[quantised]
        converter.target_spec.supported_ops = [kind]
        if quantised == "int8":
            converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def _runner(content, reference=True):
    """An interpreter with the reference kernels, or with the optimised ones where the others are not complete."""
    kinds = litert.OpResolverType
    try:
        kind = kinds.BUILTIN_REF if reference else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        return litert.Interpreter(model_content=content, experimental_op_resolver_type=kind)
    except ValueError:
        return litert.Interpreter(model_content=content,
                                  experimental_op_resolver_type=kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def interpreted(content, inputs, reference=True):
    """(inputs as the file takes them, results in order) of the kernels; real inputs are quantised."""
    runner = _runner(content, reference)
    details = runner.get_input_details()
    names = input_names(runner, details)
    given = {}
    for detail, name in zip(details, names):
        array = np.asarray(inputs[name])
        scale, zero = detail["quantization"]
        if scale and array.dtype.kind == "f" and detail["dtype"] != np.float32:
            info = np.iinfo(detail["dtype"])
            array = np.clip(np.round(array / scale) + zero, info.min, info.max).astype(detail["dtype"])
        given[name] = array
        if tuple(detail["shape"]) != array.shape:
            runner.resize_tensor_input(detail["index"], array.shape)
    runner.allocate_tensors()
    runner.reset_all_variables()
    for detail, name in zip(details, names):
        runner.set_tensor(detail["index"], given[name])
    runner.invoke()
    return given, [runner.get_tensor(d["index"]) for d in runner.get_output_details()]


def input_names(runner, details):
    """What users call the inputs: the first signature's names, else the tensors' own."""
    signatures = runner.get_signature_list()
    if not signatures:
        return [d["name"] for d in details]
    inner = runner.get_signature_runner(next(iter(signatures)))
    by_index = {d["index"]: n for n, d in inner.get_input_details().items()}
    return [by_index.get(d["index"], d["name"]) for d in details]


def types(content):
    """Names of the operators of a file."""
    runner = _runner(content)
    return {d["op_name"] for d in runner._get_ops_details()}
