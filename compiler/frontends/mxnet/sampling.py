"""Resizing and sampling at computed positions: UpSampling, bilinear resizing, grids, spatial transformers."""

from __future__ import annotations

import numpy as np

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.pieces import joined


@operator("UpSampling", roles=("data",))
def _upsampling(c: Call) -> str:
    scale = c.integer("scale")
    if c.text("sample_type", None, ("nearest", "bilinear")) == "bilinear":  # a Deconvolution with the weights given
        pad = -(-(scale - 1) // 2)
        kernel = 2 * scale - scale % 2
        return c.do("ConvTranspose", c.x, c[1], kernel_shape=[kernel] * 2, strides=[scale] * 2, pads=[pad] * 4,
                    group=c.shape()[1])
    size = c.shape()[2] * scale
    grown = [_nearest(c, v, size // c.shape(v)[2]) for v in c.inputs]
    if c.text("multi_input_mode", "concat", ("concat", "sum")) == "sum" and len(grown) > 1:
        return c.do("Sum", *grown)
    return joined(c, grown, 1)


def _nearest(c: Call, x: str, scale: int) -> str:
    return c.do("Resize", x, "", np.array([1, 1, scale, scale], np.float32), mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def bilinear(c: Call, x: str, height: int, width: int, aligned: bool) -> str:
    """Images in another size; `aligned`: the corners of both lie on each other."""
    if (height, width) == c.shape(x)[2:]:
        return x
    sizes = np.array([*c.shape(x)[:2], height, width], np.int64)
    return c.do("Resize", x, "", "", sizes, mode="linear",
                coordinate_transformation_mode="align_corners" if aligned else "half_pixel")


@operator("_contrib_BilinearResize2D")
def _bilinear_resize(c: Call) -> str:
    mode = c.text("mode", "size", ("size", "odd_scale", "like", "to_even_down", "to_even_up", "to_odd_down",
                                   "to_odd_up"))
    rows, columns = c.shape()[2:]
    height, width = _resized(c, mode, rows, "height"), _resized(c, mode, columns, "width")
    return bilinear(c, c.x, height, width, c.flag("align_corners", True))


def _resized(c: Call, mode: str, size: int, axis: str) -> int:
    scale = 0.0 if c.is_none(f"scale_{axis}") else c.real(f"scale_{axis}")
    if mode == "like":
        return c.shape(1)[2 if axis == "height" else 3]
    if mode == "size":
        return int(scale * size) if scale > 0 else c.integer(axis, 1)
    if mode == "odd_scale":
        return int(size * scale) if size % 2 == 0 else int((size - 1) * scale) + 1
    even, up = "even" in mode, mode.endswith("up")
    return size if (size % 2 == 0) == even else size + (1 if up else -1)


@operator("BilinearSampler")
def bilinear_sampler(c: Call) -> str:
    """`grid` (n, 2, h, w): x and y from -1 to 1; nothing is outside."""
    return _sampled(c, c.x, c.transpose(c[1], [0, 2, 3, 1]))


def _sampled(c: Call, x: str, grid: str) -> str:
    return c.do("GridSample", x, grid, mode="linear", padding_mode="zeros", align_corners=1)


@operator("GridGenerator")
def _grid_generator(c: Call) -> str:
    if c.text("transform_type", None, ("affine", "warp")) == "affine":
        return c.transpose(_affine_grid(c, c.x), [0, 3, 1, 2])
    rows, columns = c.shape()[2:]
    base = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)))
    scale = np.array([2 / max(columns - 1, 1), 2 / max(rows - 1, 1)]).reshape(2, 1, 1)
    moved = c.do("Mul", c.do("Add", c.x, c.like(c.x, base)), c.like(c.x, scale))
    return c.do("Sub", moved, c.like(c.x, 1))


def _affine_grid(c: Call, theta: str) -> str:
    """(n, h, w, 2): where (n, 6) transformations put the places of `target_shape`."""
    rows, columns = c.ints("target_shape")
    c.sized(rows, columns, 3)
    y, x = np.linspace(-1, 1, rows), np.linspace(-1, 1, columns)
    places = np.stack([*np.meshgrid(x, y), np.ones((rows, columns))], axis=-1).reshape(rows * columns, 3)
    matrices = c.transpose(c.reshape(theta, [-1, 2, 3]), [0, 2, 1])
    return c.reshape(c.do("MatMul", c.like(theta, places), matrices), [-1, rows, columns, 2])


@operator("SpatialTransformer", roles=("data",))
def _spatial_transformer(c: Call) -> str:
    if c.text("transform_type", "affine") != "affine" or c.text("sampler_type", "bilinear") != "bilinear":
        raise c.unsupported("transformations other than affine and samplers other than bilinear are not MXNet's")
    if not any(c.ints("target_shape", (0, 0))):
        c.attrs = {**c.attrs, "target_shape": str(c.shape()[2:])}
    return _sampled(c, c.x, _affine_grid(c, c[1]))
