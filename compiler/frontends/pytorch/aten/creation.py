"""Constants, copies and changes of type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    Value,
    aten,
    cast,
    expand,
    ints,
    is_float,
    numpy_type,
    tensor,
    unsupported,
)
from compiler.frontends.pytorch.program import Dtype

_ANY = Any  # devices, layouts and memory formats mean nothing here


#: More elements than any model makes of a range, a grid or a window.
_MOST = 1 << 26


def _bounded(count: float) -> int:
    """A number of elements that are about to be made. Raises: UnsupportedOp for absurd ones."""
    if not 0 <= count <= _MOST:
        raise unsupported("a constant of so many elements", count)
    return int(count)


def filled(b: GraphBuilder, shape: Sequence[int], value: Value, dtype: str) -> Tensor:
    """A constant of one number: a view, however large."""
    if isinstance(value, str):
        return expand(b, cast(b, value, dtype), list(shape))
    return b.add(np.broadcast_to(np.asarray(value).astype(numpy_type(dtype)), tuple(shape)))


def _named(dtype: Dtype | None, default: str) -> str:
    return dtype.name if dtype else default


@aten("zeros", "empty", "empty_strided", "new_zeros", "new_empty", "zeros_like", "empty_like", "new_empty_strided")
def zeros(b: GraphBuilder, size: Sequence[int] | None = None, self: Tensor = "", dtype: Dtype | None = None,
          stride: _ANY = None, layout: _ANY = None, device: _ANY = None, pin_memory: _ANY = None,
          memory_format: _ANY = None) -> Tensor:
    """Also memory that is not set: whatever is read of it before it is written is anybody's guess."""
    shape = b.shape(self) if size is None else size
    return filled(b, shape, 0, _named(dtype, b.dtype(self) if self else "float32"))


@aten("ones", "new_ones", "ones_like")
def ones(b: GraphBuilder, size: Sequence[int] | None = None, self: Tensor = "", dtype: Dtype | None = None,
         layout: _ANY = None, device: _ANY = None, pin_memory: _ANY = None, memory_format: _ANY = None) -> Tensor:
    shape = b.shape(self) if size is None else size
    return filled(b, shape, 1, _named(dtype, b.dtype(self) if self else "float32"))


@aten("full", "new_full", "full_like")
def full(b: GraphBuilder, fill_value: Value, size: Sequence[int] | None = None, self: Tensor = "",
         dtype: Dtype | None = None, layout: _ANY = None, device: _ANY = None, pin_memory: _ANY = None,
         memory_format: _ANY = None) -> Tensor:
    shape = b.shape(self) if size is None else size
    default = b.dtype(self) if self else _of_number(b, fill_value)
    return filled(b, shape, fill_value, _named(dtype, default))


@aten("fill", "fill_")
def fill(b: GraphBuilder, self: Tensor, value: Value) -> Tensor:
    return filled(b, b.shape(self), value, b.dtype(self))


@aten("zero", "zero_")
def zero(b: GraphBuilder, self: Tensor) -> Tensor:
    return filled(b, b.shape(self), 0, b.dtype(self))


def _of_number(b: GraphBuilder, value: Value) -> str:
    if isinstance(value, str):
        return b.dtype(value)
    return "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "float32"


@aten("scalar_tensor")
def scalar_tensor(b: GraphBuilder, s: Value, dtype: Dtype | None = None, layout: _ANY = None, device: _ANY = None,
                  pin_memory: _ANY = None) -> Tensor:
    return tensor(b, s, _named(dtype, "float32"))


@aten("arange")
def arange(b: GraphBuilder, end: int | float, start: int | float = 0, step: int | float = 1,
           dtype: Dtype | None = None, layout: _ANY = None, device: _ANY = None, pin_memory: _ANY = None) -> Tensor:
    whole = all(isinstance(v, int) for v in (start, end, step))
    count = _bounded(max(int(np.ceil((end - start) / step)), 0))
    values = np.asarray([start + step * k for k in range(count)], np.int64 if whole else np.float64)
    return b.add(values.astype(numpy_type(_named(dtype, "int64" if whole else "float32"))))


@aten("linspace")
def linspace(b: GraphBuilder, start: float, end: float, steps: int, dtype: Dtype | None = None, layout: _ANY = None,
             device: _ANY = None, pin_memory: _ANY = None) -> Tensor:
    return b.add(np.linspace(start, end, _bounded(steps)).astype(numpy_type(_named(dtype, "float32"))))


@aten("logspace")
def logspace(b: GraphBuilder, start: float, end: float, steps: int, base: float = 10.0, dtype: Dtype | None = None,
             layout: _ANY = None, device: _ANY = None, pin_memory: _ANY = None) -> Tensor:
    return b.add(np.logspace(start, end, _bounded(steps), base=base).astype(numpy_type(_named(dtype, "float32"))))


@aten("eye")
def eye(b: GraphBuilder, n: int, m: int | None = None, dtype: Dtype | None = None, layout: _ANY = None,
        device: _ANY = None, pin_memory: _ANY = None) -> Tensor:
    _bounded(n * (n if m is None else m))
    return b.add(np.eye(n, m, dtype=numpy_type(_named(dtype, "float32"))))


@aten("tril_indices")
def tril_indices(b: GraphBuilder, row: int, col: int, offset: int = 0, dtype: Dtype | None = None,
                 layout: _ANY = None, device: _ANY = None, pin_memory: _ANY = None) -> Tensor:
    _bounded(row * col)
    return b.add(np.stack(np.tril_indices(row, offset, col)).astype(numpy_type(_named(dtype, "int64"))))


@aten("triu_indices")
def triu_indices(b: GraphBuilder, row: int, col: int, offset: int = 0, dtype: Dtype | None = None,
                 layout: _ANY = None, device: _ANY = None, pin_memory: _ANY = None) -> Tensor:
    _bounded(row * col)
    return b.add(np.stack(np.triu_indices(row, offset, col)).astype(numpy_type(_named(dtype, "int64"))))


@aten("hann_window")
def hann_window(b: GraphBuilder, window_length: int, periodic: bool = True, dtype: Dtype | None = None,
                layout: _ANY = None, device: _ANY = None, pin_memory: _ANY = None) -> Tensor:
    values = np.hanning(_bounded(window_length) + periodic)[:window_length]
    return b.add(values.astype(numpy_type(_named(dtype, "float32"))))


@aten("hamming_window")
def hamming_window(b: GraphBuilder, window_length: int, periodic: bool = True, alpha: float = 0.54,
                   beta: float = 0.46, dtype: Dtype | None = None, layout: _ANY = None, device: _ANY = None,
                   pin_memory: _ANY = None) -> Tensor:
    places = np.arange(_bounded(window_length)) / max(window_length - 1 + periodic, 1)
    values = alpha - beta * np.cos(2 * np.pi * places)
    return b.add(values.astype(numpy_type(_named(dtype, "float32"))))


# ---- copies and types --------------------------------------------------------------------------------------------


@aten("clone", "detach", "alias", "contiguous", "lift_fresh_copy", "lift_fresh", "lift", "detach_copy", "alias_copy",
      "resolve_conj", "resolve_neg", "positive", "conj", "conj_physical", "real", "pin_memory")
def same(b: GraphBuilder, self: Tensor, memory_format: _ANY = None, device: _ANY = None) -> Tensor:
    if b.dtype(self).startswith("complex"):
        raise unsupported("complex numbers")
    return self


@aten("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
def dropout(b: GraphBuilder, input: Tensor, p: float, train: bool) -> Tensor:
    if train and p:
        raise unsupported("dropout in training mode", help="call model.eval() before exporting")
    return input


@aten("native_dropout")
def native_dropout(b: GraphBuilder, input: Tensor, p: float, train: bool | None) -> list[Tensor]:
    return [dropout(b, input, p, bool(train)), filled(b, b.shape(input), True, "bool")]


@aten("to", "_to_copy", "type_as", "_autocast_to_reduced_precision", "_autocast_to_full_precision")
def to(b: GraphBuilder, self: Tensor, dtype: Dtype | None = None, other: Tensor = "", device: _ANY = None,
       non_blocking: bool = False, copy: bool = False, memory_format: _ANY = None, layout: _ANY = None,
       pin_memory: _ANY = None, cuda_enabled: _ANY = None, cpu_enabled: _ANY = None, cuda_dtype: _ANY = None,
       cpu_dtype: _ANY = None) -> Tensor:
    if dtype is None and not other:
        return self
    wanted = dtype.name if dtype else b.dtype(other)
    if is_float(b.dtype(self)) and wanted == "bool":
        return b.op("Not", [b.op("Equal", [self, tensor(b, 0, b.dtype(self))])])
    return cast(b, self, wanted)


@aten("item", "_local_scalar_dense")
def item(b: GraphBuilder, self: Tensor) -> Any:
    found = b.const(self)
    if found is None:  # a tensor without dimensions stands for the number
        return b.op("Reshape", [self, ints()])
    return found.reshape(-1)[0].item()


@aten("copy", "copy_")
def copy(b: GraphBuilder, self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    return expand(b, cast(b, src, b.dtype(self)), b.shape(self))


@aten("one_hot")
def one_hot(b: GraphBuilder, self: Tensor, num_classes: int = -1) -> Tensor:
    known = b.const(self)
    if num_classes < 0 and known is None:
        raise unsupported("a number of classes that depends on data", help="give num_classes")
    count = num_classes if num_classes >= 0 else int(known.max()) + 1  # type: ignore[union-attr]
    return b.op("OneHot", [self, np.int64(count), ints(0, 1)], axis=-1)


@aten("bernoulli", "rand", "randn", "randint", "rand_like", "randn_like", "randint_like", "randperm", "multinomial",
      "normal", "uniform", "exponential", "uniform_", "normal_", "bernoulli_", "exponential_", "poisson")
def random(b: GraphBuilder, **arguments: _ANY) -> Tensor:
    raise unsupported("random numbers, which no two runs share", help="make them an input of the model")
