"""What operators compute on constants: small numpy functions, and onnx's reference evaluator for the rare rest.

A function takes the node's attributes and its input arrays (None where absent) and returns the output arrays. Results
may be views of their inputs and may have stride 0: treat them as read-only.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compiler.ir import OPSET, Node, numpy_dtype

Arrays = Sequence[np.ndarray | None]
Function = Callable[[dict[str, Any], Sequence[Any]], list[np.ndarray]]

#: Never folded: a new result each time, or a subgraph, or a state.
NOT_CONSTANT = frozenset({
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli",
    "If", "Loop", "Scan", "SequenceMap",
})


def fold(node: Node, inputs: Arrays, version: int = OPSET) -> list[np.ndarray] | None:
    """Compute a node whose inputs are all known; None when it cannot be known at compile time.

    Args:
        node: attributes are complete (defaults filled in).
        inputs: one array per input, None for an absent optional one.
        version: opset to evaluate at where the reference evaluator is needed and the node does not state its own.
    """
    if node.host or node.op in NOT_CONSTANT or (node.op == "Dropout" and _truth(inputs, 2)):
        return None
    function = FUNCTIONS.get(node.op) if not node.domain else None
    if function is not None:
        return [np.asarray(a) for a in function(node.attrs, inputs)]
    return _reference(node, inputs, node.version or version)


def _truth(inputs: Arrays, index: int) -> bool:
    found = inputs[index] if index < len(inputs) else None
    return found is not None and bool(found.all())


def _reference(node: Node, inputs: Arrays, version: int) -> list[np.ndarray] | None:
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    from compiler.frontends.onnx.infer import to_proto
    if node.domain:
        return None
    proto = to_proto(node)
    unknown = [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in dict.fromkeys(node.inputs) if n]
    results = [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in node.outputs if n]
    model = helper.make_model(helper.make_graph([proto], "fold", unknown, results),
                              opset_imports=[helper.make_opsetid("", version)])
    feeds = {n: a for n, a in zip(node.inputs, inputs, strict=True) if n}
    try:
        found = iter(ReferenceEvaluator(model).run(None, feeds))
    except Exception:  # whatever it cannot do stays in the graph and is judged there
        return None
    arrays = [next(found) if n else np.empty(0) for n in node.outputs]
    return [np.asarray(a) for a in arrays] if all(isinstance(a, np.ndarray | np.generic) for a in arrays) else None


def _elementwise(function: Callable[..., Any]) -> Function:
    def run(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            result = np.asarray(function(*inputs))
        return [result]
    return run


def _same_type(function: Callable[..., Any]) -> Function:
    """Elementwise, the result has the first input's type."""
    def run(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return [np.asarray(function(*inputs)).astype(inputs[0].dtype, copy=False)]
    return run


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    safe = np.where(b == 0, 1, b)
    quotient = np.abs(a) // np.abs(safe)
    return np.asarray(np.where((a < 0) != (safe < 0), -quotient, quotient))  # ONNX rounds towards zero


def _variadic(function: Callable[[Any, Any], Any]) -> Function:
    def run(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
        result = inputs[0]
        for other in inputs[1:]:
            result = function(result, other)
        return [np.asarray(result)]
    return run


def _cast(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    from onnx.helper import tensor_dtype_to_np_dtype
    target = np.dtype(tensor_dtype_to_np_dtype(attrs["to"]))
    with np.errstate(all="ignore"):
        return [inputs[0].astype(target, copy=False)]


def _reshape(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    data, shape = inputs[0], [int(d) for d in inputs[1]]
    if not attrs.get("allowzero"):
        shape = [data.shape[k] if d == 0 else d for k, d in enumerate(shape)]
    return [data.reshape(shape)]


def _squeeze(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    axes = inputs[1] if len(inputs) > 1 else None
    return [np.squeeze(inputs[0], None if axes is None else tuple(int(a) for a in axes))]


def _unsqueeze(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    return [np.expand_dims(inputs[0], tuple(int(a) for a in np.atleast_1d(inputs[1])))]


def _flatten(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    data, axis = inputs[0], attrs.get("axis", 1)
    axis += data.ndim if axis < 0 else 0
    return [data.reshape(math.prod(data.shape[:axis]), math.prod(data.shape[axis:]))]


def _slice(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    data, starts, ends = inputs[0], inputs[1].tolist(), inputs[2].tolist()
    axes = inputs[3].tolist() if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
    steps = inputs[4].tolist() if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0 and end < -data.shape[axis]:
            end = None  # down to and including element 0
        index[axis] = slice(start, end, step)
    return [data[tuple(index)]]


def _gather_elements(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    data, indices = inputs
    axis = attrs.get("axis", 0) % data.ndim
    window = tuple(slice(None) if k == axis else slice(0, d) for k, d in enumerate(indices.shape))
    return [np.take_along_axis(data[window], indices, axis=axis)]


def _range(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    start, limit, delta = (i.reshape(()) for i in inputs)
    count = max(0, math.ceil((limit.item() - start.item()) / delta.item()))
    return [(start + np.arange(count).astype(start.dtype) * delta).astype(start.dtype)]


def _constant_of_shape(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    value = attrs.get("value")
    fill = np.zeros((), np.float32) if value is None else np.asarray(value).reshape(())
    return [np.broadcast_to(fill, tuple(int(d) for d in inputs[0]))]


def _expand(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(int(d) for d in inputs[1]))
    return [np.broadcast_to(inputs[0], shape)]


def _per_axis(x: np.ndarray, parameter: np.ndarray | None, axis: int) -> Any:
    if parameter is None or parameter.ndim != 1 or parameter.size == 1:
        return 0 if parameter is None else parameter.reshape(())
    shape = [1] * x.ndim
    shape[axis] = parameter.size
    return parameter.reshape(shape)


def _dequantize(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
    x, scale, zero = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    if scale.ndim > 1 or attrs.get("block_size"):
        raise NotFolded
    axis = attrs.get("axis", 1)
    wide = np.float32 if x.dtype.kind not in "iu" else np.int32
    shifted = x.astype(wide) if zero is None else x.astype(wide) - np.asarray(_per_axis(x, zero, axis)).astype(wide)
    return [(shifted.astype(np.float32) * np.asarray(_per_axis(x, scale, axis)).astype(np.float32)).astype(scale.dtype)]


class NotFolded(Exception):
    """Raised by a function for a form it leaves to the reference evaluator."""


def _guarded(function: Function, op: str) -> Function:
    def run(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[np.ndarray]:
        try:
            return function(attrs, inputs)
        except NotFolded:
            names = [f"i{k}" if i is not None else "" for k, i in enumerate(inputs)]
            found = _reference(Node(op, op, names, ["o"], attrs), inputs, OPSET)
            if found is None:
                raise
            return found
    return run


FUNCTIONS: dict[str, Function] = {
    "Identity": lambda a, i: [i[0]],
    "Dropout": lambda a, i: [i[0], np.broadcast_to(np.bool_(True), i[0].shape)],
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Transpose": lambda a, i: [np.transpose(i[0], a.get("perm"))],
    "Concat": lambda a, i: [np.concatenate(i, axis=a["axis"])],
    "Slice": _slice,
    "Gather": lambda a, i: [np.take(i[0], i[1], axis=a.get("axis", 0))],
    "GatherElements": _gather_elements,
    "Shape": lambda a, i: [np.array(i[0].shape, np.int64)[slice(a.get("start", 0), a.get("end"))]],
    "Size": lambda a, i: [np.array(i[0].size, np.int64)],
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": lambda a, i: [np.tile(i[0], tuple(int(r) for r in i[1]))],
    "Where": _elementwise(np.where),
    "Cast": _cast,
    "Add": _same_type(np.add),
    "Sub": _same_type(np.subtract),
    "Mul": _same_type(np.multiply),
    "Div": _same_type(_divide),
    "Neg": _same_type(np.negative),
    "Abs": _same_type(np.abs),
    "Sqrt": _same_type(np.sqrt),
    "Floor": _same_type(np.floor),
    "Ceil": _same_type(np.ceil),
    "Reciprocal": _same_type(lambda x: x.dtype.type(1) / x),
    "Pow": _same_type(np.power),
    "Equal": _elementwise(np.equal),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "And": _elementwise(np.logical_and),
    "Or": _elementwise(np.logical_or),
    "Not": _elementwise(np.logical_not),
    "IsNaN": _elementwise(np.isnan),
    "Max": _variadic(np.maximum),
    "Min": _variadic(np.minimum),
    "Sum": _variadic(np.add),
    "DequantizeLinear": _guarded(_dequantize, "DequantizeLinear"),
}


def dtype_name(array: np.ndarray) -> str:
    """`Value.dtype` of an array; raises TypeError for a type no tensor can have."""
    return array.dtype.name if array.dtype == object else numpy_dtype(array.dtype.name).name
