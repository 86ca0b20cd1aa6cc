"""Regions of images: pooling and aligning them, proposals of them, convolutions at learnt offsets."""

from __future__ import annotations

import math

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.frontends.mxnet.boxes import Ranked, columns, in_order, kept
from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.windows import spatial


@operator("ROIPooling", "_npx_roi_pooling", outputs=("output", "maxidx"))
def roi_pooling(c: Call) -> str:
    """ONNX's MaxRoiPool has the same rounding."""
    return c.do("MaxRoiPool", c.x, c[1], pooled_shape=list(c.ints("pooled_size")),
                spatial_scale=c.real("spatial_scale"))


@operator("_contrib_ROIAlign")
def roi_align(c: Call) -> str:
    """Regions (n, 5): image, corners. Images below 0 give zeros."""
    if c.flag("position_sensitive"):
        raise c.unsupported("position-sensitive regions")
    rows = c.cast(c[1], c.dtype())
    image = c.do("Gather", rows, np.int64(0), axis=1)
    corners = c.do("Slice", rows, np.array([1]), np.array([5]), np.array([1]))
    height, width = c.ints("pooled_size")
    found = c.do("RoiAlign", c.x, corners, c.cast(c.do("Relu", image), "int64"), output_height=height,
                 output_width=width, spatial_scale=c.real("spatial_scale"), mode="avg",
                 sampling_ratio=max(c.integer("sample_ratio", -1), 0),
                 coordinate_transformation_mode="half_pixel" if c.flag("aligned") else "output_half_pixel")
    there = c.do("GreaterOrEqual", image, c.like(image, 0))
    return c.do("Where", c.reshape(there, [-1, 1, 1, 1]), found, c.like(found, 0))


_OFFSETS = ("data", "offset", "weight", "bias")


@operator("_contrib_DeformableConvolution", roles=_OFFSETS)
def _deformable_convolution(c: Call) -> str:
    """Samples outside the image are 0; those between its last pixel and its edge are that pixel's.

    ONNX's operator (like the modulated one) blends towards 0 around the edge instead: the positions are cut before,
    and a mask takes away what is outside.
    """
    weight, offset = c[2], c[1]
    kernel, (rows, columns) = c.shape(weight)[2:], c.shape()[2:]
    batch, count, height, width = c.shape(offset)
    stride, pad, dilate = (spatial(c, k, 2, d) for k, d in (("stride", 1), ("pad", 0), ("dilate", 1)))
    starts = [np.arange(n) * s - p for n, s, p in zip((height, width), stride, pad, strict=True)]
    taps = [np.arange(k) * d for k, d in zip(kernel, dilate, strict=True)]
    place = np.stack(np.broadcast_arrays(
        taps[0][:, None, None, None] + starts[0][:, None], taps[1][:, None, None] + starts[1]), axis=2)
    place = place.reshape(1, 1, math.prod(kernel), 2, height, width)
    apart = c.reshape(offset, [batch, -1, *place.shape[2:]])
    where = c.do("Add", apart, c.like(apart, place))
    size = c.like(apart, np.array([rows, columns]).reshape(2, 1, 1))
    inside = c.do("And", c.do("GreaterOrEqual", where, c.like(apart, 0)), c.do("Less", where, size))
    mask = c.do("ReduceMin", c.cast(inside, c.dtype(apart)), np.array([3]), keepdims=0)
    cut = c.do("Min", where, c.do("Sub", size, c.like(apart, 1)))
    moved = c.reshape(c.do("Sub", cut, c.like(apart, place)), [batch, count, height, width])
    return _deformable(c, weight, moved, "" if c.flag("no_bias") else c[3],
                       c.reshape(mask, [batch, count // 2, height, width]))


@operator("_contrib_ModulatedDeformableConvolution", roles=("data", "offset", "mask", "weight", "bias"))
def _modulated_convolution(c: Call) -> str:
    return _deformable(c, c[3], c[1], "" if c.flag("no_bias") else c[4], c[2])


def _deformable(c: Call, weight: str, offset: str, bias: str, mask: str) -> str:
    pad = spatial(c, "pad", 2, 0)
    return c.do("DeformConv", c.x, weight, offset, bias, mask, kernel_shape=list(c.shape(weight)[2:]), pads=pad + pad,
                strides=spatial(c, "stride", 2, 1), dilations=spatial(c, "dilate", 2, 1),
                group=c.integer("num_group", 1), offset_group=c.integer("num_deformable_group", 1))


# ---- proposals of a region network -----------------------------------------------------------------------------------


@operator("_contrib_Proposal", "_contrib_MultiProposal", outputs=("output", "score"))
def proposal(c: Call) -> list[str]:
    """The best regions of each image after suppression, (images x n, 5): image, corners; and their scores.

    Where fewer stay, they come again from the first (src/operator/contrib/multi_proposal.cc).
    """
    if c.flag("iou_loss"):
        raise _no_iou_loss(c)
    images, twice, rows, width = c.shape(0)
    kinds = twice // 2
    stride, limits = c.integer("feature_stride", 16), c[2]
    anchors = _anchors(c, kinds, stride, rows, width)
    count = rows * width * kinds
    scores = c.do("Slice", c.x, np.array([kinds]), np.array([twice]), np.array([1]))
    scores = c.reshape(c.transpose(scores, [0, 2, 3, 1]), [images, count])
    deltas = c.reshape(c.transpose(c.reshape(c[1], [images, kinds, 4, rows, width]), [0, 3, 4, 1, 2]),
                       [images, count, 4])
    boxes, scores = _proposed(c, deltas, scores, anchors, limits, (rows, width), stride)
    before = min(c.integer("rpn_pre_nms_top_n", 6000), count)
    before = count if before <= 0 else before
    after = min(c.integer("rpn_post_nms_top_n", 300), before)
    best, order = c.b.ops("TopK", [scores, np.array([before])], 2, axis=1)
    top = in_order(c, boxes, order)
    # the overlap counts the last pixel: one more to the right and below
    wider = c.do("Add", top, c.like(top, [0, 0, 1, 1]))
    there = c.do("Equal", best, best)
    stays = kept(c, Ranked(wider, there), c.real("threshold", 0.7))
    _, front = c.b.ops("TopK", [c.cast(stays, "float32"), np.array([after])], 2, axis=1)
    many = c.do("Max", c.do("ReduceSum", c.cast(stays, "int64"), np.array([1])), np.int64(1))
    front = c.do("GatherElements", front, c.do("Mod", c.do("Expand", np.arange(after).reshape(1, -1),
                                                           np.array([images, after])), many), axis=1)
    image = np.broadcast_to(np.arange(images).reshape(-1, 1, 1), (images, after, 1)).astype(c.like(top, 0).dtype)
    found = c.do("Concat", image, in_order(c, top, front), axis=2)
    chosen = c.do("GatherElements", best, front, axis=1)
    return [c.reshape(found, [images * after, 5]), c.reshape(chosen, [images * after, 1])]


def _no_iou_loss(c: Call) -> UnsupportedOp:
    return c.unsupported("regions predicted as corners (iou_loss)")


def _anchors(c: Call, kinds: int, stride: int, rows: int, width: int) -> np.ndarray:
    """(1, rows x width x kinds, 4): corners of every ratio and scale at every place (proposal-inl.h)."""
    ratios, scales = c.floats("ratios", (0.5, 1, 2)), c.floats("scales", (4, 8, 16, 32))
    if len(ratios) * len(scales) != kinds:
        raise c.wrong("ratios", ratios, f"with the scales {kinds} anchors a place")
    middle, made = (stride - 1) / 2, []
    for ratio in ratios:
        across = np.floor(np.sqrt(np.floor(stride * stride / ratio)) + 0.5)
        along = np.floor(across * ratio + 0.5)
        for scale in scales:
            half = (np.array([across, along]) * scale - 1) / 2
            made.append([*(middle - half), *(middle + half)])
    shift = np.stack(np.meshgrid(np.arange(width), np.arange(rows)), axis=-1) * stride
    return (np.tile(shift, 2)[:, :, None] + np.array(made)).reshape(1, -1, 4)


def _proposed(c: Call, deltas: str, scores: str, anchors: np.ndarray, limits: str, size: tuple[int, int],
              stride: int) -> tuple[str, str]:
    """Moved anchors cut at the image's edge; scores -1 outside the image and where they are too small."""
    span = anchors[..., 2:] - anchors[..., :2] + 1
    centre = anchors[..., :2] + (span - 1) / 2
    moved, grown = columns(c, deltas, 0, 2), columns(c, deltas, 2, 4)
    middle = c.do("Add", c.do("Mul", moved, c.like(moved, span)), c.like(moved, centre))
    half = c.do("Mul", c.do("Sub", c.do("Mul", c.do("Exp", grown), c.like(grown, span)), c.like(grown, 1)),
                c.like(grown, 0.5))
    corners = c.do("Concat", c.do("Sub", middle, half), c.do("Add", middle, half), axis=2)
    edge = c.do("Sub", c.do("Gather", limits, np.array([1, 0, 1, 0]), axis=1), c.like(limits, 1))
    edge = c.do("Unsqueeze", edge, np.array([1]))
    boxes = c.do("Max", c.do("Min", corners, edge), c.like(corners, 0))
    least = c.do("Mul", c.do("Gather", limits, np.array([2]), axis=1), c.like(limits, c.integer("rpn_min_size", 16)))
    sides = c.do("Add", c.do("Sub", columns(c, boxes, 2, 4), columns(c, boxes, 0, 2)), c.like(boxes, 1))
    small = c.do("Less", c.do("ReduceMin", sides, np.array([2]), keepdims=0), least)
    # small ones grow by half the least size on every side and get no score; so do places beyond the image
    grow = c.do("Mul", c.do("Unsqueeze", least, np.array([2])), c.like(boxes, [-0.5, -0.5, 0.5, 0.5]))
    boxes = c.do("Where", c.do("Unsqueeze", small, np.array([2])), c.do("Add", boxes, grow), boxes)
    place = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), axis=-1).reshape(1, -1, 2)
    first = np.repeat(place, anchors.shape[1] // place.shape[1], axis=1)
    real = c.do("Unsqueeze", c.do("Gather", limits, np.array([1, 0]), axis=1), np.array([1]))
    whole = c.do("Floor", c.do("Div", real, c.like(real, stride)))
    beyond = c.do("GreaterOrEqual", c.like(limits, first), whole)
    outside = c.do("Or", columns(c, beyond, 0), columns(c, beyond, 1))
    return boxes, c.do("Where", c.do("Or", small, outside), c.like(scores, -1), scores)
