"""Calls on quantised tensors, as TorchScript makes them, in the form of exported programs.

A quantised tensor becomes the real numbers that it stands for: each call computes with real numbers, and its result is
quantised and dequantised again with the scale and zero point that torch gave it. Weights stay integers that are
dequantised. torch sums in integers and rounds biases to the accumulator's scale, so that a result can differ by one
step where it lies between two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from compiler.errors import UnsupportedOp
from compiler.frontends.pytorch.program import Dtype, Ref

_TYPES = {"qint8": ("int8", -128, 127), "quint8": ("uint8", 0, 255)}
#: Calls whose results are elements of their operand, or nothing that its scale could not say exactly.
_KEEPS = frozenset({"view", "reshape", "_unsafe_view", "slice", "select", "squeeze", "unsqueeze", "expand", "transpose",
                    "permute", "contiguous", "flatten", "clone", "detach", "alias", "t", "max_pool2d", "max_pool1d",
                    "quantized_max_pool2d", "quantized_max_pool1d", "relu", "relu_", "upsample_nearest2d", "chunk",
                    "split", "_reshape_alias", "split_with_sizes", "unbind", "to", "_to_copy"})
#: The smallest scale that torch chooses for activations at run time (SMALL_SCALE_THRESHOLD of QuantUtils.h).
_SMALLEST = 6.1e-5


class Emit(Protocol):
    """Records a call by name and arguments and gives the name of its result."""

    def __call__(self, target: str, **arguments: Any) -> Ref: ...


def concerns(torch: Any, function: Any, tensors: Sequence[Any]) -> bool:
    """Whether a call has to do with quantised tensors or packed weights."""
    return function.namespace == "quantized" or any(t.is_quantized for t in tensors) or str(function).startswith(
        ("aten.quantize_per_tensor.", "aten.dequantize."))


def substitute(torch: Any, emit: Emit, target: str, given: dict[str, Any], args: Sequence[Any], result: Any) -> Any:
    """Record other calls in a call's place.

    Args:
        given: arguments by the schema's names, tensors as `Ref`. args: torch's own. result: of the call.
    Returns: the names of its results: a `Ref`, or a list of these.
    Raises: UnsupportedOp for a call that has no such form.
    """
    space, name = target.split(".")[:2]
    relu = name.endswith("_relu") or "_relu_" in name
    plain = name.replace("_relu", "") if relu and name != "leaky_relu" else name
    if space == "aten":
        found = _ordinary(emit, target, name, given)
    elif plain in _CALLS:
        found = _CALLS[plain](torch, emit, given, args)
    else:
        raise UnsupportedOp("quantised tensors in such a call", actual=target,
                            help="compile the model as it was before quantisation, or export it with torch.export")
    if relu and plain != name:
        found = emit("aten.relu.default", self=found)
    if isinstance(found, list) or not result.is_quantized or (space == "aten" and name in _KEEPS):
        return found
    found = _rounded(emit, found, result)
    if name.endswith("_") and space == "aten":
        return emit("aten.copy_.default", self=next(iter(given.values())), src=found)
    return found


def weights(torch: Any, emit: Emit, tensor: Any) -> Ref:
    """A quantised constant, kept in integers."""
    name, low, high = _kind(tensor)
    inner = tensor.int_repr()
    if tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
        return emit("quantized_decomposed.dequantize_per_channel.default", input=inner,
                    scales=tensor.q_per_channel_scales().float(), zero_points=tensor.q_per_channel_zero_points(),
                    axis=tensor.q_per_channel_axis(), quant_min=low, quant_max=high, dtype=Dtype(name))
    if tensor.qscheme() == torch.per_channel_affine_float_qparams:
        raise UnsupportedOp("weights quantised with real zero points", actual=str(tensor.qscheme()))
    return emit("quantized_decomposed.dequantize_per_tensor.default", input=inner, scale=tensor.q_scale(),
                zero_point=tensor.q_zero_point(), quant_min=low, quant_max=high, dtype=Dtype(name))


def _kind(tensor: Any) -> tuple[str, int, int]:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _TYPES:
        raise UnsupportedOp("tensors quantised to such a type", actual=name)
    return _TYPES[name]


def _rounded(emit: Emit, value: Ref, like: Any) -> Ref:
    """Quantised and dequantised as torch has the result."""
    name, low, high = _kind(like)
    rest = {"scale": like.q_scale(), "zero_point": like.q_zero_point(), "quant_min": low, "quant_max": high,
            "dtype": Dtype(name)}
    inner = emit("quantized_decomposed.quantize_per_tensor.default", input=value, **rest)
    return emit("quantized_decomposed.dequantize_per_tensor.default", input=inner, **rest)


def _ordinary(emit: Emit, target: str, name: str, given: dict[str, Any]) -> Any:
    """An operator of ATen that also takes quantised tensors."""
    first = next(iter(given.values()))
    if name.startswith("quantize_per_tensor"):
        return first
    if name == "dequantize":
        return [emit("aten.clone.default", self=v) for v in first] if isinstance(first, list) else emit(
            "aten.clone.default", self=first)
    if name.startswith("quantized_max_pool"):
        return emit(f"aten.{name.removeprefix('quantized_')}.default", **given)
    if name.endswith("_") and name not in _KEEPS:
        target = target.replace(f".{name}.", f".{name[:-1]}.")
    return emit(target, **given)


def _unpacked(args: Sequence[Any]) -> Any:
    return next(a for a in args if hasattr(a, "unpack"))


def _convolution(torch: Any, emit: Emit, given: dict[str, Any], args: Sequence[Any]) -> Ref:
    packed = _unpacked(args)
    weight, bias = packed.unpack()
    rank = weight.dim() - 2
    sizes = {k: list(getattr(packed, k)())[-rank:] for k in ("stride", "padding", "dilation", "output_padding")}
    return emit("aten.convolution.default", input=next(iter(given.values())), weight=weights(torch, emit, weight),
                bias=bias, transposed=bool(packed.transpose()), groups=int(packed.groups()), **sizes)


def _linear(torch: Any, emit: Emit, given: dict[str, Any], args: Sequence[Any]) -> Ref:
    weight, bias = _unpacked(args).unpack()
    return emit("aten.linear.default", input=next(iter(given.values())), weight=weights(torch, emit, weight), bias=bias)


def _linear_half(torch: Any, emit: Emit, given: dict[str, Any], args: Sequence[Any]) -> Ref:
    weight, bias = _unpacked(args).unpack()  # float32 again, with the precision of float16
    return emit("aten.linear.default", input=next(iter(given.values())), weight=weight.half().float(), bias=bias)


def _linear_dynamic(torch: Any, emit: Emit, given: dict[str, Any], args: Sequence[Any]) -> Ref:
    """Scale and zero point come from the least and the greatest activation (ChooseQuantizationParams, QuantUtils.h)."""
    weight, bias = _unpacked(args).unpack()
    if not weight.is_quantized:
        return _linear_half(torch, emit, given, args)
    x = next(iter(given.values()))
    steps = 127 if given.get("reduce_range") and torch.backends.quantized.engine != "qnnpack" else 255
    low = emit("aten.clamp.default", self=emit("aten.amin.default", self=x, dim=[], keepdim=False), max=0.0)
    high = emit("aten.clamp.default", self=emit("aten.amax.default", self=x, dim=[], keepdim=False), min=0.0)
    scale = emit("aten.div.Tensor", self=emit("aten.sub.Tensor", self=high, other=low), other=float(steps))
    scale = emit("aten.clamp.default", self=scale, min=_SMALLEST)
    zero = emit("aten.round.default", self=emit("aten.div.Tensor", self=low, other=scale))  # below zero here
    steps_of = emit("aten.round.default", self=emit("aten.div.Tensor", self=x, other=scale))
    whole = emit("aten.clamp.default", self=emit("aten.sub.Tensor", self=steps_of, other=zero), min=0.0, max=255.0)
    near = emit("aten.mul.Tensor", self=emit("aten.add.Tensor", self=whole, other=zero), other=scale)
    return emit("aten.linear.default", input=near, weight=weights(torch, emit, weight), bias=bias)


def _named(target: str, *places: str) -> Callable[..., Ref]:
    """The same operator of ATen, with arguments of these names."""

    def call(torch: Any, emit: Emit, given: dict[str, Any], args: Sequence[Any]) -> Ref:
        values = list(given.values())
        return emit(target, **dict(zip(places, values)))

    return call


_CALLS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
                    _convolution),
    "linear": _linear, "linear_dynamic": _linear_dynamic, "linear_dynamic_fp16": _linear_half,
    "add": _named("aten.add.Tensor", "self", "other"), "mul": _named("aten.mul.Tensor", "self", "other"),
    "add_scalar": _named("aten.add.Tensor", "self", "other"), "mul_scalar": _named("aten.mul.Tensor", "self", "other"),
    "matmul": _named("aten.matmul.default", "self", "other"), "cat": _named("aten.cat.default", "tensors", "dim"),
    "relu6": _named("aten.relu6.default", "self"), "hardswish": _named("aten.hardswish.default", "self"),
    "sigmoid": _named("aten.sigmoid.default", "self"),
    "leaky_relu": _named("aten.leaky_relu.default", "self", "negative_slope"),
    "softmax": _named("aten.softmax.int", "self", "dim"),
    "layer_norm": _named("aten.layer_norm.default", "input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": _named("aten.group_norm.default", "input", "num_groups", "weight", "bias", "eps"),
    "prelu": _named("aten.prelu.default", "self", "weight"),
    "batch_norm2d": lambda torch, emit, given, args: emit(
        "aten.batch_norm.default", input=given["qx"], weight=given["weight"], bias=given["bias"],
        running_mean=given["mean"], running_var=given["var"], training=False, momentum=0.0, eps=given["eps"],
        cudnn_enabled=False),
}
