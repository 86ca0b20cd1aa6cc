"""Conversions between element types with ONNX's meaning, which differs from an engine's at the edges."""
from __future__ import annotations

import ml_dtypes

from compiler.interval_rules import type_range, within
from compiler.ir import Node, numpy_dtype
from compiler.lowering.context import Context
from compiler.lowering.lanes import BLOCK, Lanes
from compiler.lowering.move import Emit
from compiler.precision import STORAGE
from isa.lang import View

#: 8-bit floats saturate unless the node says otherwise; engines overflow to NaN or infinity
LARGEST = {
    "float8_e4m3fn": float(ml_dtypes.finfo(ml_dtypes.float8_e4m3fn).max),
    "float8_e5m2": float(ml_dtypes.finfo(ml_dtypes.float8_e5m2).max),
}


def cast_emit(ctx: Context, node: Node) -> tuple[Emit, int | None]:
    """How a block of a Cast is computed, and the most elements it may have (None: any number)."""
    before, after = ctx.graph.dtype(node.inputs[0]), ctx.graph.dtype(node.output)
    source, target = numpy_dtype(before), numpy_dtype(after)
    p = ctx.program
    if target.kind == "b":
        return lambda dst, src, n: p.tensor_scalar(
            dst, src[0], "not_equal", 0.0, engine=ctx.pick(("vector",), n)), None
    if target.kind in "iu" and source.kind not in "iub":
        return lambda dst, src, n: _to_integer(Lanes(ctx, dst, n), src[0], after), BLOCK
    if target.kind in "iu" and source.kind in "iu" and not _keeps(before, after):
        return lambda dst, src, n: _low_bits(Lanes(ctx, dst, n), src[0], after), BLOCK
    if after in LARGEST and node.attrs.get("saturate", 1):
        most = LARGEST[after]
        return lambda dst, src, n: p.tensor_scalar(
            dst, src[0], "max", -most, "min", most, engine=ctx.pick(("vector",), n)), None
    return lambda dst, src, n: p.tensor_copy(dst, src[0], engine=ctx.pick(("vector", "scalar"), n)), None


def _keeps(before: str, after: str) -> bool:
    """Whether a copy keeps every value: it goes through fp32 unless both are stored alike."""
    if STORAGE[before] == STORAGE[after]:
        return True
    return within(type_range(before), type_range(after)) and numpy_dtype(before).itemsize < 4


def _to_integer(lanes: Lanes, x: View, after: str) -> None:
    """Towards zero (an engine alone rounds to even); to a narrow type through 32 bits, whose low ones stay."""
    if numpy_dtype(after).itemsize >= 4:
        lanes.whole(x, out=lanes.dst)
    else:
        lanes.wrap(lanes.whole(x, out=lanes.tile("int32")), after, out=lanes.dst)


def _low_bits(lanes: Lanes, x: View, after: str) -> None:
    """What numpy keeps of an integer."""
    if numpy_dtype(after).itemsize >= 4:
        lanes.scalar(x, "bitwise_or", 0.0, out=lanes.dst)
    else:
        lanes.wrap(x, after, out=lanes.dst)
