"""The fused tail of a product or pointwise operator: bias, residual, activation, clip, reading PSUM once."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir import Node
from compiler.layout import F, Run, Tensor
from compiler.lowering.constants import const_like
from compiler.lowering.context import Context
from isa.lang import View


@dataclass(frozen=True)
class Step:
    """One machine instruction of the tail.

    kind: "act" (func of x + bias), "add" (x + residual), "scale" ((x op0 a) op1 b), "compare" (x func bias: 1 or 0).
    """

    kind: str
    func: str = "copy"
    bias: Tensor | None = None
    slope: float = 0.0
    residual: Tensor | None = None
    ops: tuple[str, float, str, float] = ("bypass", 0.0, "bypass", 0.0)


class Epilogue:
    """Compiled tail of one node, applied block by block to an accumulator."""

    def __init__(self, ctx: Context, steps: Sequence[Step]) -> None:
        self.ctx = ctx
        self.steps = list(steps)

    @classmethod
    def of(cls, ctx: Context, node: Node, out: Tensor, channel_axis: int, residuals: dict[int, Tensor]) -> Epilogue:
        """Read `node.attrs["epilogue"]`; per-channel bias vectors become columns at `out`'s positions."""
        steps: list[Step] = []
        bias: np.ndarray | None = None
        along_free = out.space_of(channel_axis) == F
        for kind, *args in node.attrs.get("epilogue", ()):
            if kind == "bias":
                vector = ctx.graph.const(node.inputs[args[0]])
                assert vector is not None
                if along_free:
                    shape = [-1 if a == channel_axis % len(out.shape) else 1 for a in range(len(out.shape))]
                    steps.append(Step("add", residual=const_like(ctx, f"{node.name}.bias", vector.reshape(shape), out)))
                    continue
                bias = vector.reshape(-1) if bias is None else bias + vector.reshape(-1)
            elif kind == "add":
                steps.append(Step("add", residual=residuals[args[0]]))
            elif kind == "act":
                slope = float((args[1] or {}).get("alpha", 0.0)) if len(args) > 1 else 0.0
                column = _column(ctx, node, bias, out, channel_axis)
                steps.append(Step("act", func=args[0], bias=column, slope=slope))
                bias = None
            elif kind == "clip":
                lo, hi = (float(a) if a is not None else s for a, s in zip(args[:2], (-np.inf, np.inf), strict=True))
                if bias is not None:
                    steps.append(Step("act", bias=_column(ctx, node, bias, out, channel_axis)))
                    bias = None
                steps.append(_clip(lo, hi))
            elif kind == "compare":
                if bias is not None:
                    steps.append(Step("act", bias=_column(ctx, node, bias, out, channel_axis)))
                    bias = None
                limit = ctx.graph.const(node.inputs[args[0]])
                steps.append(Step("compare", func=args[1], bias=_column(ctx, node, limit, out, channel_axis)))
        if bias is not None:
            steps.append(Step("act", bias=_column(ctx, node, bias, out, channel_axis)))
        return cls(ctx, steps or [Step("act")])

    def apply(self, acc: View, dst: View, run: Run, sources: dict[int, View], columns: int) -> None:
        """dst = tail(acc); `run` names the partitions of `dst` (for bias columns), `sources` residual views by step."""
        current = acc
        for k, step in enumerate(self.steps):
            last = k == len(self.steps) - 1
            out = dst if last else self._temp(dst, columns)
            self._emit(step, out, current, run, sources.get(k), columns)
            current = out

    def _temp(self, dst: View, columns: int) -> View:
        rows = dst.partition + dst.partitions
        tile = self.ctx.program.sbuf((rows, columns), "fp32", name="tail")
        return tile.ap(0, [1], [columns], partition=dst.partition, partitions=dst.partitions)

    def _emit(self, step: Step, out: View, x: View, run: Run, source: View | None, n: int) -> None:
        ctx, p = self.ctx, self.ctx.program
        if step.kind == "add":
            assert source is not None
            p.tensor_tensor(out, x, source, "add", engine="vector")
            ctx.charge("vector", n / ctx.target.engines["vector"].clock_ghz)
        elif step.kind == "scale":
            op0, a, op1, b = step.ops
            p.tensor_scalar(out, x, op0, a, op1, b, engine="vector")
            ctx.charge("vector", n / ctx.target.engines["vector"].clock_ghz)
        elif step.kind == "compare":
            p.tensor_scalar(out, x, step.func, _at_run(step.bias, run), engine="vector")
            ctx.charge("vector", n / ctx.target.engines["vector"].clock_ghz)
        else:
            self._activate(step, out, x, run, n)

    def _activate(self, step: Step, out: View, x: View, run: Run, n: int) -> None:
        ctx, p = self.ctx, self.ctx.program
        bias = None if step.bias is None else _at_run(step.bias, run)
        # the vector engine knows relu and copy too: both engines share the work
        engine = ctx.pick(("scalar", "vector"), n) if step.func in ("relu", "copy") else "scalar"
        if engine == "vector":
            first = ("bypass", 0.0) if bias is None else ("add", bias)
            second = ("max", 0.0) if step.func == "relu" else ("bypass", 0.0)
            if bias is None:
                first, second = second, ("bypass", 0.0)
            if first[0] == "bypass":
                p.tensor_copy(out, x, engine="vector")
            else:
                p.tensor_scalar(out, x, first[0], first[1], second[0], second[1], engine="vector")
            return
        if step.func not in ("relu", "copy"):
            ctx.charge("scalar", n / ctx.target.engines["scalar"].clock_ghz)
        p.activation(out, x, step.func, bias=0.0 if bias is None else bias, param=step.slope)


def _at_run(column: Tensor | None, run: Run) -> View:
    """The numbers of a per-channel constant at the partitions of a run."""
    assert column is not None
    return column.tiles[0][run.partition : run.partition + run.count, run.tile : run.tile + 1]


def _clip(lo: float, hi: float) -> Step:
    if hi == np.inf:
        return Step("scale", ops=("max", lo, "bypass", 0.0))
    if lo == -np.inf:
        return Step("scale", ops=("min", hi, "bypass", 0.0))
    return Step("scale", ops=("max", lo, "min", hi))


def _column(ctx: Context, node: Node, bias: np.ndarray | None, out: Tensor, channel_axis: int) -> Tensor | None:
    if bias is None:
        return None
    dims = out.p_dims()[channel_axis]
    shape = [1] * out.pmap.ndim
    for d in dims:
        shape[d] = out.pmap.shape[d]
    spread = np.broadcast_to(bias.astype(np.float32).reshape(shape), out.pmap.shape).reshape(-1)
    return ctx.columns(
        (node.name, "bias", out.positions().tobytes(), bias.tobytes()), spread, out.positions(), len(out.tiles)
    )


def residual_inputs(node: Node) -> list[int]:
    """Input indices of the residual tensors a node's tail adds."""
    return [s[1] for s in node.attrs.get("epilogue", ()) if s[0] == "add"]
