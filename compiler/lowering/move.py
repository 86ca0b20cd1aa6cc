"""Moving values without changing them: DRAM to and from chip, PE transposes, casts, copies, constants in a layout."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from compiler.ir import numpy_dtype
from compiler.layout import Atom, F, P, Run, Tensor, align_dims, blocks, runs_of
from compiler.lowering.context import MOST_FREE, Context
from isa.dtypes import dtype as dtype_of
from isa.lang import DramView, View
from isa.word import PARTITIONS

Emit = Callable[[View, list[View], int], None]


# ---- DRAM ------------------------------------------------------------------------------------------------------------


def _axis_atoms(tensor: Tensor, steps: Sequence[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
    """DRAM byte steps of the atoms: (size, step) of P atoms and (size, tile stride, step) of F atoms, logical order."""
    p_dims: list[tuple[int, int]] = []
    f_dims: list[tuple[int, int, int]] = []
    for axis, step in zip(tensor.axes, steps, strict=True):
        inner = 1
        found: list[tuple[Atom, int]] = []
        for atom in reversed(axis):
            found.append((atom, step * inner))
            inner *= atom.size
        for atom, byte_step in reversed(found):
            if atom.space == P:
                p_dims.append((atom.size, byte_step))
            else:
                f_dims.append((atom.size, atom.stride, byte_step))
    return p_dims, f_dims


def dma_tensor(ctx: Context, tensor: Tensor, dram: DramView, *, store: bool, purpose: str) -> None:
    """Copy a whole tensor from or to a DRAM view of the same logical shape, whatever the layout."""
    p_dims, f_dims = _axis_atoms(tensor, dram.steps)
    offsets = np.zeros((), dtype=np.int64)
    for size, step in p_dims:
        offsets = offsets[..., None] + np.arange(size, dtype=np.int64) * step
    flat = offsets.reshape(-1)
    pos = tensor.positions()
    for first, count, step in _affine_runs(pos, flat):
        tile, partition = divmod(int(pos[first]), PARTITIONS)
        chip_dims, dram_dims = align_dims([[(s, t) for s, t, _ in f_dims], [(s, d) for s, _, d in f_dims]])
        for (at, byte), (chip, far) in blocks([chip_dims, dram_dims], 4, MOST_FREE["sbuf"]):
            view = tensor.tiles[tile].ap(
                tensor.offset + at, [d for _, d in chip], [s for s, _ in chip], partition=partition, partitions=count
            )
            side = dram.ap(int(flat[first]) + byte, [step, *(d for _, d in far)], [count, *(s for s, _ in far)])
            if store:
                ctx.program.dma(side, view, purpose=purpose)
            else:
                ctx.program.dma(view, side, purpose=purpose)


def _affine_runs(pos: np.ndarray, offsets: np.ndarray) -> list[tuple[int, int, int]]:
    """(first, count, byte step) of runs consecutive in partitions and affine in DRAM."""
    out = []
    n, i = len(pos), 0
    while i < n:
        j, step = i + 1, 0
        while j < n and pos[j] == pos[j - 1] + 1 and pos[j] % PARTITIONS:
            delta = int(offsets[j] - offsets[j - 1])
            if j == i + 1:
                step = delta
            elif delta != step:
                break
            j += 1
        out.append((i, j - i, step))
        i = j
    return out


def load_value(ctx: Context, name: str) -> Tensor:
    """Bring a DRAM value (model input or constant) on chip in its natural layout."""
    box = ctx.windows.get(name, {})
    tensor = ctx.alloc(
        ctx.window_shape(name),
        natural_axes(ctx, name),
        ctx.storage(name),
        pads=ctx.border(name, ctx.pads.get(name, {})),
        fill=ctx.fills.get(name, 0.0),
        origin={a: lo for a, (lo, _) in box.items()},
        name=name,
    )
    source = dram_value(ctx, name)
    cut = tuple(slice(*box[a]) if a in box else slice(None) for a in range(len(source.shape)))
    dma_tensor(ctx, tensor, source[cut] if box else source, store=False, purpose="load")
    return tensor


def natural_axes(ctx: Context, name: str) -> tuple[int, ...]:
    """Channels on partitions for images, tokens (all leading axes) for everything else."""
    shape = ctx.shape(name)
    if len(shape) >= 4 and ctx.graph.const(name) is None:
        return (1,)
    lead = [i for i in range(len(shape) - 1) if shape[i] > 1]
    return tuple(lead[-1:]) if len(shape) > 3 else tuple(lead)


def dram_value(ctx: Context, name: str) -> DramView:
    """The value as a row-major DRAM view in its storage type, constants included; values on chip are written out."""
    if name in ctx.dram:
        return ctx.dram[name]
    array = ctx.graph.const(name)
    dtype = ctx.storage(name)
    if array is not None:
        data = np.ascontiguousarray(to_storage(array, dtype))
        view = ctx.constant(name, data.reshape(-1))
        view = view.reshape(array.shape or (1,))
        if not array.shape:
            view = view.reshape(())
    else:
        tensor = ctx.tensors[name]
        view = ctx.scratch(f"{name}.dram", tensor.shape, tensor.dtype)
        if not tensor.shape:
            view = view.reshape(())
        dma_tensor(ctx, rows_last(ctx, tensor), view, store=True, purpose="relayout")
    ctx.dram[name] = view
    return view


def to_storage(array: np.ndarray, dtype: str) -> np.ndarray:
    """A constant in its on-chip type; 64-bit integers saturate to 32 bits (masks use the extremes of int64)."""
    want = dtype_of(dtype).numpy
    if array.dtype == want:
        return array
    if array.dtype.kind in "iu" and want.kind in "iu":
        info = np.iinfo(want)
        return np.clip(array, info.min, info.max).astype(want)
    return array.astype(want)


def store_output(ctx: Context, name: str, dram: DramView) -> None:
    """Write a model output; its innermost axis is brought to the free dimension first, so that rows are contiguous."""
    if name not in ctx.tensors and ctx.dram.get(name) is dram:
        return  # written where it belongs already
    if ctx.graph.const(name) is not None or name not in ctx.tensors:
        ctx.program.dma(dram, dram_value(ctx, name), purpose="store")
        return
    tensor = rows_last(ctx, ctx.tensors[name])
    if tensor.dtype != dram.dtype.name:
        tensor = cast(ctx, tensor, dram.dtype.name)
    dma_tensor(ctx, tensor, dram, store=True, purpose="store")


def rows_last(ctx: Context, tensor: Tensor) -> Tensor:
    """The same tensor with its last axis free when writing it out element by element would be slow."""
    last = next((a for a in reversed(range(len(tensor.shape))) if tensor.shape[a] > 1), None)
    if last is None or tensor.space_of(last) != P or prod(tensor.shape) < 4096:
        return tensor
    lead = [a for a in range(last) if tensor.shape[a] > 1 and tensor.space_of(a) == F and len(tensor.axes[a]) == 1]
    if not lead:
        return tensor
    return transpose_pe(ctx, tensor, max(lead, key=lambda a: min(tensor.shape[a], PARTITIONS)))


# ---- engine copies ---------------------------------------------------------------------------------------------------


def pointwise(ctx: Context, out: Tensor, ins: Sequence[Tensor], emit: Emit, most: int = MOST_FREE["sbuf"]) -> bool:
    """Call `emit(dst, sources, elements)` for blocks covering `out`; False when the layouts do not meet.

    Sources have `out`'s logical shape, broadcast axes as F atoms of stride 0, and the same P index space.
    """
    positions = [t.positions() for t in ins]
    if any(
        len(p) not in (1, len(out.positions())) or (t.p_axes() != out.p_axes() and len(p) != 1)
        for p, t in zip(positions, ins)
    ):
        return False
    if any(len(p) == 1 and len(out.positions()) > 1 for p in positions):
        return False
    cut = runs_of(out.positions(), *positions, any_order=True)
    if cut is None:
        return False
    dims = align_dims([_free_dims(t) for t in (out, *ins)])
    for runs in cut:
        for offsets, parts in blocks(dims, 4, most):
            views = [t.view(r, d, o) for t, r, d, o in zip((out, *ins), runs, parts, offsets, strict=True)]
            emit(views[0], views[1:], prod(s for s, _ in parts[0]))
    return True


def _free_dims(tensor: Tensor) -> list[tuple[int, int]]:
    return [(a.size, a.stride) for a in tensor.free_atoms()]


def like(ctx: Context, src: Tensor, dtype: str, name: str = "", pads: Mapping[int, tuple[int, int]] | None = None,
         fill: float = 0.0) -> Tensor:
    """A new tensor with the P positions of `src` and a compact free dimension."""
    shape, p_axes = src.shape, src.p_axes()
    if any(len({a.space for a in src.axes[i] if a.size > 1}) > 1 for i in p_axes):
        return _like_atoms(ctx, src, dtype, name)
    pmap = src.pmap.reshape([shape[a] for a in p_axes])
    return ctx.alloc(shape, p_axes, dtype, pmap=pmap, pads=pads, fill=fill, origin=src.origin, name=name)


def _like_atoms(ctx: Context, src: Tensor, dtype: str, name: str) -> Tensor:
    """`like` when one logical axis is partly on P and partly on F: allocate over the atoms, then regroup."""
    atoms = [a for axis in src.axes for a in axis]
    sizes = [a.size for a in atoms]
    flat = ctx.alloc(sizes, [i for i, a in enumerate(atoms) if a.space == P and a.size > 1], dtype,
                     pmap=src.pmap.reshape([a.size for a in atoms if a.space == P and a.size > 1]), name=name)
    out = flat.reshape(src.shape)
    assert out is not None
    return out


def copy(ctx: Context, dst: Tensor, src: Tensor, engines: Sequence[str] = ("scalar", "vector", "gpsimd")) -> None:
    """dst = src (cast on write), by engine copies where partitions allow, else by DMA."""
    def emit(out: View, sources: list[View], n: int) -> None:
        ctx.program.tensor_copy(out, sources[0], engine=ctx.pick(engines, n))

    if not pointwise(ctx, dst, [src], emit):
        move_dma(ctx, dst, src)


def move_dma(ctx: Context, dst: Tensor, src: Tensor) -> None:
    """dst = src between any two partition placements of one type, SBUF to SBUF by DMA."""
    if dst.dtype != src.dtype:
        src = cast(ctx, src, dst.dtype)
    if dst.p_axes() != src.p_axes():
        scratch = ctx.scratch("relayout", src.shape, src.dtype)
        dma_tensor(ctx, src, scratch, store=True, purpose="relayout")
        dma_tensor(ctx, dst, scratch, store=False, purpose="relayout")
        return
    dims = align_dims([_free_dims(dst), _free_dims(src)])
    for to, fro in runs_of(dst.positions(), src.positions(), legal=False, any_order=True) or []:
        for offsets, parts in blocks(dims, 3, MOST_FREE["sbuf"]):
            ctx.program.dma(dst.view(to, parts[0], offsets[0]), src.view(fro, parts[1], offsets[1]), purpose="relayout")


def cast(
    ctx: Context, src: Tensor, dtype: str, *, pads: Mapping[int, tuple[int, int]] | None = None, fill: float = 0.0
) -> Tensor:
    """A copy of `src` in another type (and perhaps with pads)."""
    out = like(ctx, src, dtype, "cast", pads=pads, fill=fill)
    copy(ctx, out, src)
    return out


def padded(ctx: Context, src: Tensor, need: Mapping[int, tuple[int, int]], fill: float) -> Tensor:
    """`src` itself when it already has at least these pads with that fill, else a padded copy."""
    wanted = {a: b for a, b in need.items() if b != (0, 0)}
    enough = all(src.pads.get(a, (0, 0))[0] >= b[0] and src.pads.get(a, (0, 0))[1] >= b[1] for a, b in wanted.items())
    if enough and (not wanted or src.fill == fill):
        return src
    return cast(ctx, src, src.dtype, pads=wanted, fill=fill)


# ---- transposes ------------------------------------------------------------------------------------------------------


def identity(ctx: Context, dtype: str) -> View:
    """The 128 x 128 identity in SBUF, loaded once."""
    key = ("identity", dtype)
    if key not in ctx.cache:
        eye = np.eye(PARTITIONS, dtype=dtype_of(dtype).numpy)
        tile = ctx.program.sbuf((PARTITIONS, PARTITIONS), dtype, name=f"identity.{dtype}")
        ctx.program.dma(tile, ctx.constant(f"identity.{dtype}", eye), purpose="load")
        ctx.cache[key] = tile
    return ctx.cache[key]  # type: ignore[return-value]


def transpose_pe(ctx: Context, src: Tensor, axis: int, dtype: str | None = None) -> Tensor:
    """Bring F axis `axis` to partitions and the present P axes to F, by products with the identity on the PE.

    The result is exact except where the PE cannot multiply the source's type (fp32 on v1: rounded to bf16, the
    documented fast relayout of that generation).
    """
    out_dtype = dtype or src.dtype
    pe = (
        ctx.precision.matmul(src.dtype)
        if src.dtype not in ("fp32", "tf32") or "fp32" not in ctx.target.matmul_dtypes
        else "fp32"
    )
    if pe != src.dtype:
        src = cast(ctx, src, pe)
    shape = src.shape
    out = ctx.alloc(shape, (axis,), out_dtype, name="transposed")
    eye = identity(ctx, pe)
    atom = next(a for a in src.axes[axis] if a.size > 1)
    others = [i for i in range(len(shape)) if i != axis and src.space_of(i) == F]
    chunks = [(s, min(PARTITIONS, shape[axis] - s)) for s in range(0, shape[axis], PARTITIONS)]
    for index in np.ndindex(*[shape[i] for i in others]):
        far, near = src, out
        for i, k in sorted(zip(others, index, strict=True), reverse=True):
            far, near = far.index_axis(i, k), near.index_axis(i, k)
        _transpose_plane(ctx, far, near, atom, eye, chunks)
    return out


def _transpose_plane(
    ctx: Context, src: Tensor, out: Tensor, atom: Atom, eye: View, chunks: list[tuple[int, int]]
) -> None:
    """src: P axes x one F axis; out: the F axis on P, the P axes along F in logical order."""
    runs = [r for (r,) in runs_of(src.positions()) or []]
    strides = _linear_strides([a for axis in out.axes for a in axis if a.space == F])
    per_bank = ctx.target.psum_bank_bytes // 4
    out_pos = out.positions()
    for start, rows in chunks:
        at = 0
        while at < len(runs):
            group = [runs[at]]
            while at + len(group) < len(runs) and sum(r.count for r in group) + runs[at + len(group)].count <= per_bank:
                group.append(runs[at + len(group)])
            at += len(group)
            columns = sum(r.count for r in group)
            psum = ctx.program.psum((rows, columns), "fp32", name="transpose")
            col = 0
            for r in group:
                ctx.program.load_stationary(src.view(r, [(rows, atom.stride)], start * atom.stride))
                ident = eye.ap(r.partition, [1], [r.count], partition=r.partition, partitions=r.count)
                ctx.program.matmul(psum[:, col : col + r.count], ident, start=True, stop=True, transpose=True)
                col += r.count
            tile, partition = divmod(int(out_pos[start]), PARTITIONS)
            for lo, hi, offset, step in _affine_span(group, strides):
                dst = out.view(Run(0, tile, partition, rows), [(hi - lo, step)], offset)
                engine = ctx.pick(("scalar", "vector"), hi - lo)
                ctx.program.tensor_copy(dst, psum[:, lo:hi], engine=engine)


def _linear_strides(atoms: list[Atom]) -> np.ndarray:
    """Free offset of every linear index over these atoms."""
    offsets = np.zeros((), dtype=np.int64)
    for a in atoms:
        offsets = offsets[..., None] + np.arange(a.size, dtype=np.int64) * a.stride
    return offsets.reshape(-1)


def _affine_span(group: list[Run], offsets: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Column ranges of one PSUM tile whose destinations are affine: (from, to, offset, step)."""
    where = np.concatenate([offsets[r.first : r.first + r.count] for r in group])
    out, lo = [], 0
    n = len(where)
    while lo < n:
        hi = lo + 1
        step = int(where[hi] - where[lo]) if hi < n else 1
        while hi < n and int(where[hi] - where[hi - 1]) == step:
            hi += 1
        out.append((lo, hi, int(where[lo]), step))
        lo = hi
    return out


def relayout(ctx: Context, src: Tensor, p_axes: Sequence[int], dtype: str | None = None) -> Tensor:
    """The tensor with exactly these logical axes on partitions (size-1 axes do not count)."""
    want = tuple(a for a in p_axes if src.shape[a] > 1)
    have = src.p_axes()
    clean = all(src.space_of(a) in (P, F, "") for a in range(len(src.shape)))
    if have == want and clean:
        return src if dtype in (None, src.dtype) else cast(ctx, src, dtype or src.dtype)
    single = len(want) == 1 and clean and want[0] not in have and len([a for a in src.axes[want[0]] if a.size > 1]) == 1
    plain = src.dtype in ("fp32", "bf16", "fp16", "tf32")
    if single and plain and runs_of(src.positions()) is not None and len(have) > 0:
        return transpose_pe(ctx, src, want[0], dtype)
    out = ctx.alloc(src.shape, want, dtype or src.dtype, name="relayout")
    move_dma(ctx, out, src)
    return out


# ---- constants -------------------------------------------------------------------------------------------------------


def const_like(ctx: Context, name: str, array: np.ndarray, ref: Tensor, dtype: str = "fp32") -> Tensor:
    """A constant broadcast to `ref`'s logical shape, on chip in `ref`'s partition placement.

    Axes along which it does not vary cost no space: F axes get stride 0, and rows equal on all partitions are
    broadcast by the DMA.
    """
    shape = ref.shape
    array = np.asarray(array)
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    key = ("const", name, shape, dtype, ref.positions().tobytes())
    if key in ctx.cache:
        return ctx.cache[key]  # type: ignore[return-value]
    p_axes = ref.p_axes()
    vary = [i for i in range(len(shape)) if array.shape[i] > 1]
    mixed = any(ref.space_of(i) == "PF" for i in vary)
    if mixed:
        array = np.broadcast_to(array, shape)
        vary = list(range(len(shape)))
    f_sizes, f_axes = _const_axes(ref, vary)
    rows = _const_rows(ref, array, f_sizes)
    pos = ref.positions()
    tiles = len(ref.tiles)
    extent = max(1, prod(f_sizes))
    storage = dtype_of(dtype).numpy
    if not any(i in p_axes for i in vary) and not mixed:
        row = rows[:1].astype(storage)
        dram = ctx.constant(f"{name}.row", row.reshape(1, extent))
        top = min(PARTITIONS, int(pos.max()) + 1)
        tile = ctx.program.sbuf((top, extent), dtype, name=name)
        ctx.program.dma(tile, dram.ap(0, [0, dram.dtype.size], [top, extent]), purpose="load")
        out = Tensor((tile,) * tiles, dtype, f_axes, ref.pmap)
    else:
        table = np.zeros((tiles * PARTITIONS, extent), dtype=storage)
        table[pos] = rows.astype(storage)
        views = []
        dram = ctx.constant(f"{name}.rows", table)
        for k in range(tiles):
            top = min(PARTITIONS, int(pos.max()) + 1 - k * PARTITIONS)
            tile = ctx.program.sbuf((top, extent), dtype, name=name)
            ctx.program.dma(tile, dram[k * PARTITIONS : k * PARTITIONS + top], purpose="load")
            views.append(tile)
        out = Tensor(tuple(views), dtype, f_axes, ref.pmap)
    ctx.cache[key] = out
    return out


def _const_axes(ref: Tensor, vary: list[int]) -> tuple[list[int], tuple[tuple[Atom, ...], ...]]:
    """Sizes of the F atoms along which the constant varies, and the axes of the result."""
    sizes = [a.size for i, axis in enumerate(ref.axes) for a in axis if a.space == F and i in vary]
    stride = prod(sizes)
    axes: list[tuple[Atom, ...]] = []
    for i, axis in enumerate(ref.axes):
        atoms = []
        for a in axis:
            if a.space == P:
                atoms.append(a)
            elif i in vary:
                stride //= a.size
                atoms.append(Atom(a.size, F, stride))
            else:
                atoms.append(Atom(a.size, F, 0))
        axes.append(tuple(atoms))
    return sizes, tuple(axes)


def _const_rows(ref: Tensor, array: np.ndarray, f_sizes: list[int]) -> np.ndarray:
    """[P positions in order, F elements] of the constant, F restricted to the axes along which it varies."""
    target = [ref.shape[i] if (array.shape[i] > 1 or ref.space_of(i) == P) else 1 for i in range(len(ref.shape))]
    full = np.broadcast_to(array, target)
    atom_sizes: list[int] = []
    p_dims: list[int] = []
    f_dims: list[int] = []
    for i, axis in enumerate(ref.axes):
        if target[i] == 1:
            continue
        for a in axis:
            (p_dims if a.space == P else f_dims).append(len(atom_sizes))
            atom_sizes.append(a.size)
    spread = full.reshape(atom_sizes).transpose(p_dims + f_dims)
    return spread.reshape(len(ref.positions()), max(1, prod(f_sizes)))


def numpy_of(ctx: Context, name: str) -> np.dtype:
    """The numpy type of a value's elements in the model."""
    return numpy_dtype(ctx.graph.dtype(name))


def psum_view(ctx: Context, rows: int, columns: int, name: str = "acc") -> View:
    """One PSUM accumulator of `columns` fp32 elements per partition (at most one bank)."""
    assert columns * 4 <= ctx.target.psum_bank_bytes
    return ctx.program.psum((rows, columns), "fp32", name=name)
