"""Arithmetic of several steps on one block of a pointwise result, in scratch tiles: fp32 whatever the operands are."""
from __future__ import annotations

from compiler.lowering.context import Context
from isa.lang import View

#: elements of one partition that a block of several steps has: its scratch tiles are 8 KiB each
BLOCK = 2048
#: from here on every fp32 number is an integer
WHOLE = 2.0**23


class Lanes:
    """Engine operations on the partitions of `dst`, [P, n]; each returns what it wrote: `out`, else a new tile.

    Operands are views of `n` elements per partition. Numbers are rounded to fp32 after every step.
    """

    def __init__(self, ctx: Context, dst: View, n: int) -> None:
        self.ctx, self.dst, self.n = ctx, dst, n
        self._p = ctx.program

    def tile(self, dtype: str = "fp32") -> View:
        """A scratch tile beside `dst`."""
        rows = self.dst.partition + self.dst.partitions
        whole = self._p.sbuf((rows, self.n), dtype, name="lane")
        return whole.ap(0, [1], [self.n], partition=self.dst.partition, partitions=self.dst.partitions)

    def scalar(self, x: View, op0: str, a: float = 0.0, op1: str = "bypass", b: float = 0.0, *,
               out: View | None = None, dtype: str = "fp32") -> View:
        """(x op0 a) op1 b."""
        out = out or self.tile(dtype)
        self._p.tensor_scalar(out, x, op0, a, op1, b, engine=self.ctx.pick(("vector",), self.n))
        return out

    def pair(self, x: View, y: View, op: str, *, out: View | None = None, dtype: str = "fp32") -> View:
        """x op y."""
        out = out or self.tile(dtype)
        self._p.tensor_tensor(out, x, y, op, engine=self.ctx.pick(("vector",), 2 * self.n))
        return out

    def triple(self, x: View, op0: str, a: float, op1: str, y: View, *, out: View | None = None,
               dtype: str = "fp32") -> View:
        """(x op0 a) op1 y."""
        out = out or self.tile(dtype)
        self.ctx.pick(("vector",), 2 * self.n)
        self._p.scalar_tensor_tensor(out, x, op0, a, op1, y)
        return out

    def act(self, x: View, function: str, scale: float = 1.0, bias: float = 0.0, *, out: View | None = None) -> View:
        """function(x * scale + bias)."""
        out = out or self.tile()
        self.ctx.pick(("scalar",), self.n)
        self._p.activation(out, x, function, scale, bias)
        return out

    def divide(self, x: View, y: View, *, out: View | None = None) -> View:
        """x / y; on an engine that does not divide x * (1 / y)."""
        if self.ctx.divides():
            return self.pair(x, y, "divide", out=out)
        return self.pair(x, self.inverse(y), "mult", out=out)

    def inverse(self, x: View) -> View:
        """1 / x."""
        out = self.tile()
        self.ctx.pick(("vector",), 8 * self.n)
        self._p.reciprocal(out, x)
        return out

    def copy(self, x: View, *, out: View | None = None, dtype: str = "fp32") -> View:
        """x in another type: to an integer type rounded half to even and saturated."""
        out = out or self.tile(dtype)
        self._p.tensor_copy(out, x, engine=self.ctx.pick(("vector", "scalar"), self.n))
        return out

    def fill(self, value: float) -> View:
        """The same number everywhere."""
        out = self.tile()
        self._p.memset(out, value, engine=self.ctx.pick(("gpsimd", "vector"), self.n))
        return out

    def mask(self, x: View, op0: str, a: float, op1: str = "bypass", b: float = 0.0) -> View:
        """A comparison with numbers, as `choose` wants it."""
        return self.scalar(x, op0, a, op1, b, dtype="uint8")

    def choose(self, mask: View, x: View, onto: View) -> View:
        """`onto` (a tile, changed) becomes x where the mask is set; both of one type."""
        self.ctx.pick(("vector",), 2 * self.n)
        self._p.tensor_copy_predicated(onto, x, mask)
        return onto

    # ---- rounding to integers ------------------------------------------------------------------------------------

    def nearest(self, x: View) -> View:
        """The nearest integer, half to even; what is large, infinite or NaN stays."""
        near = self.copy(self.copy(x, dtype="int32"))
        return self.choose(self.mask(x, "abs", 0.0, "is_lt", WHOLE), near, self.copy(x))

    def floor(self, x: View, *, out: View | None = None) -> View:
        """The largest integer that is not above x."""
        near = self.nearest(x)
        return self.pair(near, self.pair(near, x, "is_gt"), "subtract", out=out)

    def ceil(self, x: View, *, out: View | None = None) -> View:
        """The smallest integer that is not below x."""
        near = self.nearest(x)
        return self.pair(near, self.pair(near, x, "is_lt"), "add", out=out)

    def signed(self, size: View, x: View, *, out: View | None = None) -> View:
        """-size where x < 0, else size."""
        return self.triple(self.scalar(x, "is_lt", 0.0, "mult", -2.0), "add", 1.0, "mult", size, out=out)

    def whole(self, x: View, *, out: View | None = None) -> View:
        """x rounded towards zero, for an integer type of 32 bits."""
        size = self.scalar(x, "abs")
        near = self.copy(size, dtype="uint32")
        return self.signed(self.pair(near, self.pair(near, size, "is_gt"), "subtract"), x, out=out)

    def wrap(self, x: View, kind: str, *, out: View) -> View:
        """Integers (int32) modulo the size of the narrower type `kind`, as numpy keeps their low bits."""
        bits = int(kind.lstrip("uint"))
        if kind.startswith("u"):
            return self.scalar(x, "bitwise_and", float(2**bits - 1), out=out)
        return self.scalar(x, "shift_left", 32.0 - bits, "shift_right", 32.0 - bits, out=out)
