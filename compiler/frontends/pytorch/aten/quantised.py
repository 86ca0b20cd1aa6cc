"""Quantisation as torch.export keeps it, and operators of torchvision."""

from __future__ import annotations

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    aten,
    cast,
    numpy_type,
    reshape,
    tensor,
    unsqueeze,
    unsupported,
)
from compiler.frontends.pytorch.program import Dtype

_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def _quantized(b: GraphBuilder, x: Tensor, scale: Tensor, zero: Tensor, low: int, high: int, kind: str,
               place: int | None) -> Tensor:
    if kind not in _RANGES:
        raise unsupported("quantisation to such a type", kind)
    if (low, high) != _RANGES[kind] and place is None:  # as real numbers, which the device can cut
        known = b.const(scale), b.const(zero)
        if known[0] is None or known[1] is None:
            raise unsupported("quantisation to a part of a type, with a scale that depends on data", f"{low} to {high}")
        ends = [np.float32((end - int(known[1].item())) * float(known[0].item())) for end in (low, high)]
        x = b.op("Clip", [x, *[tensor(b, float(end), b.dtype(x)) for end in ends]])
    return b.op("QuantizeLinear", [x, cast(b, scale, "float32"), cast(b, zero, kind)], axis=place)


@aten("quantize_per_tensor", space="quantized_decomposed")
def quantize(b: GraphBuilder, input: Tensor, scale: float | Tensor, zero_point: int | Tensor, quant_min: int,
             quant_max: int, dtype: Dtype) -> Tensor:
    return _quantized(b, input, tensor(b, scale, "float32"), tensor(b, zero_point, dtype.name), quant_min, quant_max,
                      dtype.name, None)


@aten("quantize_per_channel", space="quantized_decomposed")
def quantize_channels(b: GraphBuilder, input: Tensor, scales: Tensor, zero_points: Tensor, axis: int, quant_min: int,
                      quant_max: int, dtype: Dtype) -> Tensor:
    return _quantized(b, input, scales, zero_points, quant_min, quant_max, dtype.name, axis)


@aten("dequantize_per_tensor", space="quantized_decomposed")
def dequantize(b: GraphBuilder, input: Tensor, scale: float | Tensor, zero_point: int | Tensor, quant_min: int,
               quant_max: int, dtype: Dtype, out_dtype: Dtype | None = None) -> Tensor:
    kind = b.dtype(input)
    return b.op("DequantizeLinear", [input, tensor(b, scale, "float32"), tensor(b, zero_point, kind)])


@aten("dequantize_per_channel", space="quantized_decomposed")
def dequantize_channels(b: GraphBuilder, input: Tensor, scales: Tensor, zero_points: Tensor | None, axis: int,
                        quant_min: int, quant_max: int, dtype: Dtype, out_dtype: Dtype | None = None) -> Tensor:
    kind = b.dtype(input)
    zero = cast(b, zero_points, kind) if zero_points else b.add(np.zeros(b.shape(scales), numpy_type(kind)))
    return b.op("DequantizeLinear", [input, cast(b, scales, "float32"), zero], axis=axis)


# ---- torchvision -------------------------------------------------------------------------------------------------


@aten("nms", space="torchvision")
def nms(b: GraphBuilder, dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes kept, best first."""
    found = b.op("NonMaxSuppression", [unsqueeze(b, dets, 0), unsqueeze(b, scores, 0, 1),
                                       np.int64(np.iinfo(np.int32).max), np.float32(iou_threshold)])
    return b.op("Gather", [found, np.int64(2)], axis=1)


@aten("roi_align", space="torchvision")
def roi_align(b: GraphBuilder, input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int,
              pooled_width: int, sampling_ratio: int, aligned: bool) -> Tensor:
    columns = [b.op("Slice", [rois, np.array([s]), np.array([e]), np.array([1])]) for s, e in ((0, 1), (1, 5))]
    batch = cast(b, reshape(b, columns[0], [-1]), "int64")
    return b.op("RoiAlign", [input, columns[1], batch], mode="avg", output_height=pooled_height,
                output_width=pooled_width, sampling_ratio=max(sampling_ratio, 0), spatial_scale=float(spatial_scale),
                coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel")


@aten("deform_conv2d", space="torchvision")
def deform_conv2d(b: GraphBuilder, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor,
                  stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int, dilation_w: int, groups: int,
                  offset_groups: int, use_mask: bool) -> Tensor:
    return b.op("DeformConv", [input, weight, offset, bias, mask if use_mask else ""],
                strides=[stride_h, stride_w], pads=[pad_h, pad_w] * 2, dilations=[dilation_h, dilation_w],
                kernel_shape=list(b.shape(weight)[2:]), group=groups, offset_group=offset_groups)
