"""Files of one operator, written field by field: what the converter writes only in special cases (run by hand)."""

from __future__ import annotations

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers
from tensorflow.lite.python import schema_py_generated as schema

_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9, "int4": 17}
_ENUM = schema.BuiltinOperator


class File:
    """A model of one subgraph, operator by operator."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, "made by hand"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.graph = [], schema.SubGraphT()
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []

    def tensor(self, name, shape, dtype="float32", data=None, scale=None, zero=0, axis=0, variable=False, kind=""):
        """Add a tensor; returns its number. kind: the type in the file where it is packed."""
        made = schema.TensorT()
        made.name, made.shape, made.type, made.isVariable = name, list(shape), _TYPES[kind or dtype], variable
        if data is not None:
            buffer = schema.BufferT()
            raw = data if isinstance(data, bytes) else np.asarray(data, dtype).tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        else:
            made.buffer = 0
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            scales = np.atleast_1d(scale)
            made.quantization.scale = scales.astype(np.float32).tolist()
            made.quantization.zeroPoint = np.broadcast_to(zero, scales.shape).tolist()
            made.quantization.quantizedDimension = axis
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def input(self, name, shape, dtype="float32", **more):
        """Add an input."""
        self.graph.inputs.append(self.tensor(name, shape, dtype, **more))
        return self.graph.inputs[-1]

    def op(self, kind, inputs, outputs, options=None, version=1, custom=None, **fields):
        """Add an operator; `outputs` become the subgraph's results. options: the schema's class for `fields`."""
        code = schema.OperatorCodeT()
        code.builtinCode = _ENUM.CUSTOM if custom is not None else getattr(_ENUM, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        made = schema.OperatorT()
        if custom is not None:
            code.customCode, made.customOptions = kind, np.frombuffer(custom, np.uint8)
        self.model.operatorCodes.append(code)
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, list(inputs), list(outputs)
        if options:
            made.builtinOptions = getattr(schema, options + "T")()
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            for name, value in fields.items():
                assert hasattr(made.builtinOptions, name), name
                setattr(made.builtinOptions, name, value)
        self.graph.operators.append(made)
        self.graph.outputs = list(outputs)
        return made

    def bytes(self):
        """The file."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _real(rng, *shape):
    return rng.normal(0, 0.5, shape).astype(np.float32)


def _whole(rng, dtype, *shape):
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -127), info.max, shape).astype(dtype)


# ---- recurrent layers ----------------------------------------------------------------------------------------------


def lstm(rng, kind="UNIDIRECTIONAL_SEQUENCE_LSTM", coupled=False, peephole=False, projection=0, norm=False, clip=0.0,
         time_major=False):
    """An LSTM of 4 inputs and 5 units."""
    f, n, units, batch, time = File(), 4, 5, 2, 3
    out = projection or units
    sequence = kind != "LSTM"
    shape = [time, batch] if time_major else [batch, time]
    x = f.input("x", [*shape, n] if sequence else [batch, n])

    def const(name, *shape):
        return f.tensor(name, shape, data=_real(rng, *shape))

    gates = "ifco"
    w = [-1 if coupled and g == "i" else const(f"w{g}", units, n) for g in gates]
    r = [-1 if coupled and g == "i" else const(f"r{g}", units, out) for g in gates]
    p = [const(f"p{g}", units) if peephole and not (coupled and g == "i") else -1 for g in "ifo"]
    b = [-1 if coupled and g == "i" else const(f"b{g}", units) for g in gates]
    extra = [const("projection", projection, units) if projection else -1, -1]
    states = [f.tensor("h", [batch, out], variable=True), f.tensor("s", [batch, units], variable=True)]
    norms = [-1 if coupled and g == "i" else const(f"n{g}", units) for g in gates] if norm else [-1] * 4
    y = f.tensor("y", [*shape, out] if sequence else [batch, out])
    fields = {"fusedActivationFunction": 4, "cellClip": clip, "projClip": 0.0}
    if sequence:
        f.op(kind, [x, *w, *r, *p, *b, *extra, *states, *norms], [y], "UnidirectionalSequenceLSTMOptions",
             timeMajor=time_major, **fields)
    else:
        f.op(kind, [x, *w, *r, *p, *b, *extra, *states, *norms], [y], "LSTMOptions", kernelType=0, **fields)
    return f.bytes(), {"x": _real(rng, *([*shape, n] if sequence else [batch, n]))}


def both_lstm(rng, merge=True):
    """A bidirectional LSTM."""
    f, n, units, batch, time = File(), 4, 3, 1, 5  # with larger batches its kernel varies from run to run
    x = f.input("x", [batch, time, n])
    operands = [x]
    for side in "fb":
        operands += [f.tensor(f"{side}w{k}", [units, n], data=_real(rng, units, n)) for k in range(4)]
        operands += [f.tensor(f"{side}r{k}", [units, units], data=_real(rng, units, units)) for k in range(4)]
        operands += [-1] * 3 + [f.tensor(f"{side}b{k}", [units], data=_real(rng, units)) for k in range(4)] + [-1] * 2
    operands += [f.tensor(f"s{k}", [batch, units], variable=True) for k in range(4)] + [-1] * 9
    ys = [f.tensor("y", [batch, time, 2 * units])] if merge else [f.tensor(f"y{k}", [batch, time, units]) for k in "fb"]
    f.op("BIDIRECTIONAL_SEQUENCE_LSTM", operands, ys, "BidirectionalSequenceLSTMOptions", fusedActivationFunction=4,
         mergeOutputs=merge, timeMajor=False, cellClip=0.0, projClip=0.0)
    return f.bytes(), {"x": _real(rng, batch, time, n)}


def basic_lstm(rng):
    """The early kernel of one step."""
    f, n, units = File(), 3, 4
    x, h, s = f.input("x", [2, n]), f.input("h", [2, units]), f.input("s", [2, units])
    w = f.tensor("w", [4 * units, n + units], data=_real(rng, 4 * units, n + units))
    b = f.tensor("b", [4 * units], data=_real(rng, 4 * units))
    ys = [f.tensor("y", [2, units]), f.tensor("cell", [2, units]), f.tensor("joined", [2, n + units]),
          f.tensor("gates", [2, 4 * units])]
    f.op("LSTM", [x, h, w, b, s], ys, "LSTMOptions", kernelType=1, fusedActivationFunction=4)
    f.graph.outputs = ys[:2]
    return f.bytes(), {"x": _real(rng, 2, n), "h": _real(rng, 2, units), "s": _real(rng, 2, units)}


def rnn(rng, kind):
    """A plain recurrent layer of one direction or both."""
    f, n, units, batch, time = File(), 3, 4, 2, 5
    one = kind == "RNN"
    x = f.input("x", [batch, n] if one else [batch, time, n])
    operands = [x]
    for side in "fb" if kind.startswith("BI") else "f":
        operands += [f.tensor(f"{side}w", [units, n], data=_real(rng, units, n)),
                     f.tensor(f"{side}r", [units, units], data=_real(rng, units, units)),
                     f.tensor(f"{side}b", [units], data=_real(rng, units)),
                     f.tensor(f"{side}h", [batch, units], variable=True)]
    shape = [batch, units] if one else [batch, time, units]
    if kind.startswith("BI"):
        ys = [f.tensor("yf", shape), f.tensor("yb", shape)]
        f.op(kind, [*operands, -1, -1, -1], ys, "BidirectionalSequenceRNNOptions", fusedActivationFunction=4,
             mergeOutputs=False)
    else:
        f.op(kind, operands, [f.tensor("y", shape)], "RNNOptions" if one else "SequenceRNNOptions",
             fusedActivationFunction=1)
    return f.bytes(), {"x": _real(rng, *([batch, n] if one else [batch, time, n]))}


def svdf(rng):
    """One step, rank 2."""
    f, n, units, rank, memory = File(), 5, 3, 2, 4
    x, filters = f.input("x", [2, n]), units * rank
    operands = [x, f.tensor("wf", [filters, n], data=_real(rng, filters, n)),
                f.tensor("wt", [filters, memory], data=_real(rng, filters, memory)),
                f.tensor("b", [units], data=_real(rng, units)),
                f.tensor("state", [2, filters * memory], variable=True)]
    f.op("SVDF", operands, [f.tensor("y", [2, units])], "SVDFOptions", rank=rank, fusedActivationFunction=1)
    return f.bytes(), {"x": _real(rng, 2, n)}


# ---- unsigned and packed integers ----------------------------------------------------------------------------------


def conv_uint8(rng, depthwise=False, activation=1):
    """A convolution of early quantised models: everything unsigned, one scale and zero point for all weights."""
    f = File()
    x = f.input("x", [1, 5, 6, 3], "uint8", scale=0.02, zero=120)
    shape = [1, 3, 3, 6] if depthwise else [4, 3, 3, 3]
    w = f.tensor("w", shape, "uint8", data=_whole(rng, "uint8", *shape), scale=0.01, zero=131)
    channels = shape[3] if depthwise else shape[0]
    b = f.tensor("b", [channels], "int32", data=rng.integers(-2000, 2000, channels), scale=0.0002)
    y = f.tensor("y", [1, 3, 3, channels], "uint8", scale=0.05, zero=100)
    fields = {"padding": 0, "strideW": 2, "strideH": 2, "fusedActivationFunction": activation}
    if depthwise:
        f.op("DEPTHWISE_CONV_2D", [x, w, b], [y], "DepthwiseConv2DOptions", depthMultiplier=2, dilationWFactor=1,
             dilationHFactor=1, **fields)
    else:
        f.op("CONV_2D", [x, w, b], [y], "Conv2DOptions", dilationWFactor=1, dilationHFactor=1, **fields)
    return f.bytes(), {"x": _whole(rng, "uint8", 1, 5, 6, 3)}


def dense_uint8(rng):
    """A matrix product of early quantised models, then softmax."""
    f = File()
    x = f.input("x", [2, 8], "uint8", scale=0.03, zero=128)
    w = f.tensor("w", [5, 8], "uint8", data=_whole(rng, "uint8", 5, 8), scale=0.02, zero=117)
    b = f.tensor("b", [5], "int32", data=rng.integers(-2000, 2000, 5), scale=0.0006)
    z = f.tensor("z", [2, 5], "uint8", scale=0.1, zero=128)
    f.op("FULLY_CONNECTED", [x, w, b], [z], "FullyConnectedOptions", fusedActivationFunction=0)
    y = f.tensor("y", [2, 5], "uint8", scale=1 / 256, zero=0)
    f.op("SOFTMAX", [z], [y], "SoftmaxOptions", beta=1.0)
    return f.bytes(), {"x": _whole(rng, "uint8", 2, 8)}


def rescaled_uint8(rng, kind):
    """Addition, product or joining of tensors with scales of their own."""
    f = File()
    a = f.input("a", [2, 3], "uint8", scale=0.02, zero=120)
    b = f.input("b", [2, 3], "uint8", scale=0.05, zero=10)
    y = f.tensor("y", [2, 6] if kind == "CONCATENATION" else [2, 3], "uint8", scale=0.06, zero=60)
    options = {"ADD": "AddOptions", "MUL": "MulOptions", "CONCATENATION": "ConcatenationOptions"}[kind]
    more = {"axis": 1} if kind == "CONCATENATION" else {"fusedActivationFunction": 1}
    f.op(kind, [a, b], [y], options, **more)
    return f.bytes(), {"a": _whole(rng, "uint8", 2, 3), "b": _whole(rng, "uint8", 2, 3)}


def dense_int4(rng):
    """A matrix product with weights of 4 bits, two to a byte."""
    f = File()
    x = f.input("x", [2, 8], "int8", scale=0.03, zero=3)
    values = rng.integers(-7, 8, (5, 8)).astype(np.int8).reshape(-1)
    packed = ((values[::2] & 15) | (values[1::2] << 4)).astype(np.uint8).tobytes()
    w = f.tensor("w", [5, 8], data=packed, scale=0.1, kind="int4")
    b = f.tensor("b", [5], "int32", data=rng.integers(-200, 200, 5), scale=0.003)
    y = f.tensor("y", [2, 5], "int8", scale=0.08, zero=-5)
    f.op("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", fusedActivationFunction=0, version=10)
    return f.bytes(), {"x": _whole(rng, "int8", 2, 8)}


def dense_hybrid(rng):
    """A matrix product of real numbers and weights of 8 bits, as "dynamic range" quantisation writes it."""
    f = File()
    x = f.input("x", [2, 16])
    w = f.tensor("w", [5, 16], "int8", data=_whole(rng, "int8", 5, 16), scale=0.01)
    y = f.tensor("y", [2, 5])
    f.op("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions", fusedActivationFunction=0,
         asymmetricQuantizeInputs=True, version=9)
    return f.bytes(), {"x": _real(rng, 2, 16)}


def dense_sparse(rng):
    """A matrix product with weights of which the file has the blocks (1, 4) that are not zero."""
    f = File()
    x = f.input("x", [2, 8])
    blocks = _real(rng, 3, 4)  # at rows 0, 2, 2, block columns 1, 0, 1
    w = f.tensor("w", [4, 8], data=blocks)
    s = f.graph.tensors[w].sparsity = schema.SparsityParametersT()
    s.traversalOrder, s.blockMap, s.dimMetadata = [0, 1, 2], [1], [schema.DimensionMetadataT() for _ in range(3)]
    s.dimMetadata[0].format, s.dimMetadata[0].denseSize = 0, 4
    s.dimMetadata[1].format, s.dimMetadata[2].format, s.dimMetadata[2].denseSize = 1, 0, 4
    for field, values in (("arraySegments", [0, 1, 1, 3, 3]), ("arrayIndices", [1, 0, 1])):
        numbers = schema.Int32VectorT()
        numbers.values = values
        setattr(s.dimMetadata[1], field, numbers)
        setattr(s.dimMetadata[1], field + "Type", 1)
    y = f.tensor("y", [2, 4])
    f.op("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions", fusedActivationFunction=0, version=8)
    return f.bytes(), {"x": _real(rng, 2, 8)}


# ---- others --------------------------------------------------------------------------------------------------------


def simple(rng, kind, inputs, result, options="", consts=(), outputs=(), first=False, **fields):
    """One operator: shape and dtype by input, constants after them (or first), and of the result(s)."""
    f = File()
    numbers = [f.input(n, shape, dtype) for n, (shape, dtype) in inputs.items()]
    known = [f.tensor(f"const{k}", np.shape(v), v.dtype.name, data=v) for k, v in enumerate(consts)]
    numbers = known + numbers if first else numbers + known
    results = [f.tensor(f"y{k}", shape, dtype) for k, (shape, dtype) in enumerate([result, *outputs])]
    f.op(kind, numbers, results, options, **fields)
    given = {n: _real(rng, *s) if d == "float32" else rng.integers(0, 4, s).astype(d) for n, (s, d) in inputs.items()}
    return f.bytes(), given


def detection(rng, regular, per_box=1):
    """The custom operator at the end of detectors."""
    f, count, classes, most = File(), 24, 3, 6
    codes, scores = f.input("codes", [1, count, 4]), f.input("scores", [1, count, classes + 1])
    centres = rng.uniform(0.1, 0.9, (count, 2))
    anchors = np.concatenate([centres, np.full((count, 2), 0.3)], 1).astype(np.float32)
    a = f.tensor("anchors", [count, 4], data=anchors)
    options = {"max_detections": most, "max_classes_per_detection": per_box, "detections_per_class": 4,
               "use_regular_nms": regular, "nms_score_threshold": 0.3, "nms_iou_threshold": 0.5,
               "num_classes": classes, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
    most *= per_box
    ys = [f.tensor(n, s) for n, s in (("boxes", [1, most, 4]), ("classes", [1, most]), ("ranks", [1, most]),
                                      ("count", [1]))]
    f.op("TFLite_Detection_PostProcess", [codes, scores, a], ys, custom=bytes(flexbuffers.Dumps(options)))
    probabilities = 1 / (1 + np.exp(-rng.normal(-1, 1.2, (1, count, classes + 1))))
    return f.bytes(), {"codes": _real(rng, 1, count, 4), "scores": probabilities.astype(np.float32)}


def cases():
    """name -> (file, inputs)."""
    rng = np.random.default_rng(6)
    image = {"x": ([1, 6, 7, 2], "float32")}
    pool = {"filterWidth": 2, "filterHeight": 3, "strideW": 2, "strideH": 2}
    found = {
        "lstm_hand": lstm(rng), "lstm_coupled": lstm(rng, coupled=True), "lstm_peephole": lstm(rng, peephole=True),
        "lstm_projection": lstm(rng, projection=3, clip=0.4), "lstm_norm": lstm(rng, norm=True),
        "lstm_time_major": lstm(rng, time_major=True, coupled=True, peephole=True),
        "lstm_step": lstm(rng, kind="LSTM", peephole=True), "lstm_basic": basic_lstm(rng),
        "lstm_both": both_lstm(rng), "lstm_both_apart": both_lstm(rng, merge=False), "svdf": svdf(rng),
        "conv_uint8": conv_uint8(rng), "conv_uint8_relu6": conv_uint8(rng, activation=3),
        "depthwise_uint8": conv_uint8(rng, True), "dense_uint8": dense_uint8(rng),
        "dense_int4": dense_int4(rng), "dense_sparse": dense_sparse(rng),
        "detection": detection(rng, False), "detection_regular": detection(rng, True),
        "detection_two": detection(rng, False, 2),
        "l2_pool": simple(rng, "L2_POOL_2D", image, ([1, 3, 4, 2], "float32"), "Pool2DOptions", padding=0, **pool),
        "embedding_lookup": simple(rng, "EMBEDDING_LOOKUP", {"i": ([3], "int32")}, ([3, 2, 2], "float32"),
                                   consts=[_real(rng, 5, 2, 2)]),
        "hashtable_lookup": simple(
            rng, "HASHTABLE_LOOKUP", {"i": ([4], "int32")}, ([4, 2], "float32"), outputs=[([4], "uint8")],
            consts=[np.array([0, 2, 3], np.int32), _real(rng, 3, 2)]),
        "strided_slice_offset": simple(
            rng, "STRIDED_SLICE", {"x": ([5, 6], "float32")}, ([2, 3], "float32"), "StridedSliceOptions", offset=True,
            consts=[np.array(v, np.int32) for v in ((1, 2), (2, 3), (1, 1))], version=8),
        "mul_relu_n1": simple(rng, "MUL", {"a": ([7], "float32"), "b": ([7], "float32")}, ([7], "float32"),
                              "MulOptions", fusedActivationFunction=2),
    }
    x = {"x": ([2, 3], "float32")}
    found |= {
        "dilate": simple(rng, "DILATE", x, ([3, 7], "float32"), consts=[np.array([2, 3], np.int32), np.float32(-1)]),
        "dynamic_update": simple(rng, "DYNAMIC_UPDATE_SLICE", x | {"u": ([1, 2], "float32"), "at": ([2], "int32")},
                                 ([2, 3], "float32")),
        "expand_dims_hand": simple(rng, "EXPAND_DIMS", x, ([2, 1, 3], "float32"), consts=[np.int32(-2)]),
        "squeeze_hand": simple(rng, "SQUEEZE", {"x": ([1, 2, 1], "float32")}, ([2, 1], "float32"), "SqueezeOptions",
                               squeezeDims=[0]),
        "fake_quant_hand": simple(rng, "FAKE_QUANT", x, ([2, 3], "float32"), "FakeQuantOptions", min=-0.7, max=1.1,
                                  numBits=4, narrowRange=False),
        "fill": simple(rng, "FILL", {"v": ([], "float32")}, ([2, 2], "float32"), consts=[np.array([2, 2], np.int32)],
                       first=True),
        "prelu_hand": simple(rng, "PRELU", image, ([1, 6, 7, 2], "float32"), consts=[_real(rng, 1, 1, 2)]),
        "rank": simple(rng, "RANK", x, ([], "int32")),
        "shape": simple(rng, "SHAPE", x, ([2], "int32"), "ShapeOptions", outType=2),
        "zeros_like_hand": simple(rng, "ZEROS_LIKE", x, ([2, 3], "float32")),
    }
    f = File()
    places = f.tensor("at", [3, 2], "int32", data=[[0, 1], [2, 2], [3, 0]])
    shape, value = f.tensor("shape", [2], "int32", data=[4, 3]), f.input("v", [3])
    f.op("SPARSE_TO_DENSE", [places, shape, value, f.tensor("rest", [], data=np.float32(-1.0))],
         [f.tensor("y", [4, 3])], "SparseToDenseOptions")
    found["sparse_to_dense"] = (f.bytes(), {"v": _real(rng, 3)})
    found |= {f"rnn_{k.lower()}": rnn(rng, k) for k in ("RNN", "UNIDIRECTIONAL_SEQUENCE_RNN",
                                                         "BIDIRECTIONAL_SEQUENCE_RNN")}
    found["dense_hybrid"] = dense_hybrid(rng)
    return found | {f"{k.lower()}_uint8": rescaled_uint8(rng, k) for k in ("ADD", "MUL", "CONCATENATION")}
