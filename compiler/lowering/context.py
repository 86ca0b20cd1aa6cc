"""What every lowering shares: the tile program being made, where each value lives, precision, engine balance."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import Atom, F, P, Tensor, align_dims, blocks
from compiler.lowering.homes import Homes
from compiler.lowering.wish import wish
from compiler.precision import Precision
from isa import lang
from isa.dtypes import dtype as dtype_of
from isa.lang import DramView, View
from isa.target import Target
from isa.word import PARTITIONS

#: an access of a vector or scalar engine may span this many elements of one partition (SBUF, PSUM);
#: source: nki/guides/architecture/trainium_inferentia2_arch.rst
MOST_FREE = {"sbuf": 65535, "psum": 4096}


def default_positions(sizes: Sequence[int]) -> np.ndarray:
    """Positions for P axes of these sizes: the innermost is dense, outer ones start where an access may start.

    One axis is simply dense. With several, the inner extent is rounded up to 32, 64 or a multiple of 128 partitions, so
    that each outer index can be addressed alone.
    """
    if not sizes:
        return np.zeros((), dtype=np.int32)
    inner = sizes[-1]
    if len(sizes) == 1:
        return np.arange(inner, dtype=np.int32)
    step = 32 if inner <= 32 else 64 if inner <= 64 else -(-inner // PARTITIONS) * PARTITIONS
    outer = np.arange(prod(sizes[:-1]), dtype=np.int32) * step
    return (outer[:, None] + np.arange(inner, dtype=np.int32)).reshape(sizes)


@dataclass
class Context:
    """State of lowering one stage.

    Attributes:
        tensors: values on chip now. dram: values (also) in DRAM, as a row-major view of the value's shape.
        outputs: where model outputs go, so that a lowering that works in DRAM can write there at once.
        pads: per value, fill wanted around its spatial axes: axis -> (before, after).
        images: values with channels on partitions (see `Tiler`).
        homes: places of values that are parts of a channel-wise concatenation.
        whole: values computed chunk by chunk into one tensor that outlives the chunks.
        load_ns: estimated busy time per engine so far, to balance work between engines.
        windows: per value, index ranges (axis -> (lo, hi)) of the part the current chunk computes.
        nonfinite: values that may hold infinities or NaN by design.
        by_dma: whether the present layer has such operands, which no product with the identity may move.
        joint: values whose tiles lie side by side.
        wishes: axis that the readers of a value want on partitions, where they are not in this graph.
    """

    program: lang.TileProgram
    graph: Graph
    target: Target
    precision: Precision
    packing: bool = True
    tensors: dict[str, Tensor] = field(default_factory=dict)
    dram: dict[str, DramView] = field(default_factory=dict)
    outputs: dict[str, DramView] = field(default_factory=dict)
    pads: Mapping[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    fills: Mapping[str, float] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    homes: Homes = field(default_factory=lambda: Homes({}, {}))
    whole: dict[str, Tensor] = field(default_factory=dict)
    cache: dict[object, Any] = field(default_factory=dict)
    chunk: int = 0
    load_ns: dict[str, float] = field(default_factory=dict)
    windows: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    nonfinite: frozenset[str] = frozenset()
    by_dma: bool = False
    joint: frozenset[str] = frozenset()
    wishes: Mapping[str, int | None] = field(default_factory=dict)

    def attend(self, names: Sequence[str]) -> None:
        """Begin a layer that reads and writes these values."""
        self.by_dma = not self.nonfinite.isdisjoint(names)

    # ---- allocation ----------------------------------------------------------------------------------------------

    def alloc(
        self,
        shape: Sequence[int],
        p_axes: Sequence[int],
        dtype: str,
        *,
        pmap: np.ndarray | None = None,
        pads: Mapping[int, tuple[int, int]] | None = None,
        fill: float = 0.0,
        origin: Mapping[int, int] | None = None,
        name: str = "",
        joint: bool = False,
    ) -> Tensor:
        """A new tensor with `p_axes` on partitions and the other axes row-major along F, pads filled.

        Args:
            joint: tiles of 128 partitions lie side by side, so that one transfer moves them as long runs.
        """
        p_axes = [a for a in p_axes if shape[a] > 1]
        if pmap is None:
            pmap = default_positions([shape[a] for a in p_axes])
        pads = {a: b for a, b in (pads or {}).items() if b != (0, 0) and a not in p_axes}
        strides, extent, offset = self._free_strides(shape, p_axes, pads)
        top = int(pmap.max()) + 1 if pmap.size else 1
        tiles = self._tiles(top, extent, dtype, name, joint)
        axes = tuple((Atom(size, P),) if i in p_axes else (Atom(size, F, strides[i]),) for i, size in enumerate(shape))
        # pmap keeps one dimension per P atom in logical order
        order = np.argsort(np.argsort(p_axes)) if len(p_axes) > 1 else None
        if order is not None and list(p_axes) != sorted(p_axes):
            pmap = pmap.transpose([list(p_axes).index(a) for a in sorted(p_axes)])
        tensor = Tensor(tuple(tiles), dtype, axes, pmap, offset, dict(pads), fill, dict(origin or {}))
        # a product reads whole partition ranges, unused partitions between used ones included
        self.zero_gaps(tensor, extent)
        if pads:
            self._fill_pads(tensor, strides, extent, fill)
        return tensor

    def _tiles(self, top: int, extent: int, dtype: str, name: str, joint: bool) -> list[View]:
        """Tiles of `extent` elements for positions below `top`."""
        count = -(-top // PARTITIONS)
        if joint and count > 1 and count * extent * itemsize(dtype) <= self.target.sbuf_partition_bytes // 4:
            full = top // PARTITIONS
            block = self.program.sbuf((PARTITIONS, full * extent), dtype, name=name)
            tiles = [block[:, k * extent : (k + 1) * extent] for k in range(full)]
            return tiles if full == count else [*tiles, self._tiles(top % PARTITIONS, extent, dtype, name, False)[0]]
        return [self.program.sbuf((min(PARTITIONS, top - k * PARTITIONS), extent), dtype,
                                  name=f"{name}.{k}" if count > 1 else name) for k in range(count)]

    @staticmethod
    def _free_strides(
        shape: Sequence[int], p_axes: Sequence[int], pads: Mapping[int, tuple[int, int]]
    ) -> tuple[dict[int, int], int, int]:
        strides: dict[int, int] = {}
        extent, offset = 1, 0
        for axis in reversed(range(len(shape))):
            if axis in p_axes:
                continue
            before, after = pads.get(axis, (0, 0))
            strides[axis] = extent
            offset += before * extent
            extent *= shape[axis] + before + after
        return strides, extent, offset

    def _fill_pads(self, tensor: Tensor, strides: Mapping[int, int], extent: int, fill: float) -> None:
        """Write the fill value into the border strips only; inner axes' strips cover the whole outer range."""
        shape = tensor.shape
        full = {a: shape[a] + sum(tensor.pads.get(a, (0, 0))) for a in strides}
        for axis, (before, after) in tensor.pads.items():
            outer = [(full[a], strides[a]) for a in sorted(strides) if a < axis]
            inner = strides[axis]
            for start, count in ((0, before), (full[axis] - after, after)):
                if count:
                    self._memset(tensor, [*outer, (count * inner, 1)], start * inner, fill)

    def _memset(self, tensor: Tensor, dims: list[tuple[int, int]], start: int, fill: float) -> None:
        engine = self.pick(("gpsimd", "vector"), prod(s for s, _ in dims))
        for tile in tensor.tiles:
            for offsets, (cut,) in blocks(align_dims([dims]), 4, MOST_FREE["sbuf"]):
                view = tile.ap(start + offsets[0], [d for _, d in cut], [s for s, _ in cut])
                self.program.memset(view, fill, engine=engine)

    def fill(self, tensor: Tensor, value: float) -> None:
        """Write one value to every element of a tensor (and to unused partitions), not to its pads."""
        self._memset(tensor, [(a.size, a.stride) for a in tensor.free_atoms()], tensor.offset, value)

    def zero_gaps(self, tensor: Tensor, extent: int) -> None:
        """Fill with zero the 32-partition groups of a tensor's tiles that hold unused partitions."""
        positions = tensor.positions()
        used = np.zeros(len(tensor.tiles) * PARTITIONS, dtype=bool)
        used[positions] = True
        if used[: int(positions.max()) + 1].all():
            return
        for k, tile in enumerate(tensor.tiles):
            for base in range(0, tile.partitions, 32):
                rows = min(32, tile.partitions - base)
                if not used[k * PARTITIONS + base : k * PARTITIONS + base + rows].all():
                    for start in range(0, extent, MOST_FREE["sbuf"]):
                        n = min(MOST_FREE["sbuf"], extent - start)
                        view = tile.ap(start, [1], [n], partition=base, partitions=rows)
                        self.program.memset(view, 0.0, engine=self.pick(("gpsimd", "vector"), n))

    # ---- outputs and windows ---------------------------------------------------------------------------------------

    def window_shape(self, name: str) -> tuple[int, ...]:
        """Shape of the part of a value that the current chunk computes."""
        box = self.windows.get(name, {})
        return tuple(box[i][1] - box[i][0] if i in box else n for i, n in enumerate(self.shape(name)))

    def output(self, name: str, p_axes: Sequence[int], *, pmap: np.ndarray | None = None) -> Tensor:
        """Where a node writes `name`: its place in a shared or whole tensor when it has one, else a new tensor."""
        box = self.windows.get(name, {})
        if name in self.whole:
            return window(self.whole[name], box)
        if name in self.homes:
            return window(self.home(name), box)
        origin = {axis: lo for axis, (lo, _) in box.items()}
        return self.alloc(
            self.window_shape(name),
            p_axes,
            self.storage(name),
            pmap=pmap,
            pads=self.border(name, self.pads.get(name, {})),
            fill=self.fills.get(name, 0.0),
            origin=origin,
            name=name,
            joint=name in self.joint,
        )

    def home(self, name: str) -> Tensor:
        """The part of its concatenation's shared tensor that belongs to `name`; allocated by the first part written."""
        root = self.homes.root(name)
        if root not in self.homes.tensors:
            if root in self.whole:
                self.homes.put(root, self.whole[root])
            else:
                self.homes.put(root, self.new_home(root, self.windows.get(root, {})))
        return self.homes.cut(name)

    def new_home(self, root: str, box: Mapping[int, tuple[int, int]]) -> Tensor:
        """A tensor for a concatenation (or the window `box` of it)."""
        shape = tuple(box[a][1] - box[a][0] if a in box else n for a, n in enumerate(self.shape(root)))
        return self.alloc(
            shape,
            (1,),
            self.storage(root),
            pmap=self.homes.positions[root],
            pads=self.border(root, self.pads.get(root, {})),
            fill=self.fills.get(root, 0.0),
            origin={a: lo for a, (lo, _) in box.items()},
            name=root,
        )

    def border(self, name: str, need: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
        """Pads of the current window: those of the whole tensor on the sides where the window touches its border."""
        box, shape = self.windows.get(name, {}), self.shape(name)
        out = {}
        for axis, (before, after) in need.items():
            lo, hi = box.get(axis, (0, shape[axis]))
            out[axis] = (before if lo == 0 else 0, after if hi == shape[axis] else 0)
        return out

    def part(self, name: str, box: Mapping[int, tuple[int, int]]) -> Tensor:
        """The value on chip, cut to a box of whole-tensor index ranges."""
        from compiler.lowering.transpose import relayout

        if box and not self.tensor(name).plain:
            self.tensors[name] = relayout(self, self.tensor(name), (1,))
        return window(self.tensor(name), box)

    # ---- engines -------------------------------------------------------------------------------------------------

    def pick(self, engines: Sequence[str], cycles: float) -> str:
        """The candidate engine that would finish this work first, and charge it."""
        present = [e for e in engines if self.target.engines[e].present]
        cost = {e: max(cycles, 64) / self.target.engines[e].clock_ghz for e in present}
        best = min(present, key=lambda e: (self.load_ns.get(e, 0.0) + cost[e], engines.index(e)))
        self.charge(best, cost[best])
        return best

    def divides(self) -> bool:
        """Whether the vector engine divides (v1 multiplies by a reciprocal instead)."""
        return self.target.generation != "v1"

    def charge(self, engine: str, ns: float) -> None:
        self.load_ns[engine] = self.load_ns.get(engine, 0.0) + ns

    # ---- constants -----------------------------------------------------------------------------------------------

    def columns(self, key: object, values: np.ndarray, positions: np.ndarray, tiles: int) -> Tensor:
        """A per-partition constant: values[i] at positions[i] of [128, tiles] fp32; one DMA, kept while used."""
        if key in self.cache:
            return self.cache[key]
        table = np.zeros((PARTITIONS, tiles), dtype=np.float32)
        table[positions % PARTITIONS, positions // PARTITIONS] = values
        rows = PARTITIONS if tiles > 1 else int(positions.max()) + 1
        dram = self.constant(f"{key[0] if isinstance(key, tuple) else key}.columns", table[:rows])
        tile = self.program.sbuf((rows, tiles), "fp32", name=f"{dram.name}")
        self.program.dma(tile, dram, purpose="load")
        tensor = Tensor((tile,), "fp32", (), np.zeros((), dtype=np.int32))
        self.cache[key] = tensor
        return tensor

    def constant(self, name: str, values: np.ndarray) -> DramView:
        """A weight in DRAM under a name made unique."""
        count = self.names[name] = self.names.get(name, 0) + 1
        return self.program.constant(name if count == 1 else f"{name}#{count}", values)

    def scratch(self, name: str, shape: Sequence[int], dtype: str) -> DramView:
        """Temporary DRAM under a name made unique."""
        count = self.names[name] = self.names.get(name, 0) + 1
        view = self.program.scratch(name if count == 1 else f"{name}#{count}", shape or (1,), dtype)
        return view.reshape(tuple(shape))

    # ---- values --------------------------------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.shape(name)

    def tensor(self, name: str) -> Tensor:
        """The value on chip, loaded from DRAM in its natural layout when it is not there yet."""
        from compiler.lowering.dram import load_value

        if name not in self.tensors:
            self.tensors[name] = load_value(self, name)
        return self.tensors[name]

    def temp(self, rows: int, free: int, dtype: str = "fp32", name: str = "tmp") -> View:
        """A scratch tile of `rows` partitions."""
        return self.program.sbuf((rows, free), dtype, name=name)

    def storage(self, name: str) -> str:
        return self.precision.storage(name)

    def wish(self, name: str) -> int | None:
        """Axis of a value that its readers want on partitions."""
        return self.wishes[name] if name in self.wishes else wish(self.graph, name)


def window(t: Tensor, box: Mapping[int, tuple[int, int]]) -> Tensor:
    """`t` cut to whole-tensor index ranges; `t` may itself be a window."""
    origin = dict(t.origin)
    for axis, (lo, hi) in box.items():
        at = origin.get(axis, 0)
        if (lo, hi) == (at, at + t.shape[axis]):
            continue
        size, pads = t.shape[axis], dict(t.pads)
        cut = t.slice_axis(axis, lo - at, hi - at)
        assert cut is not None, "windows cut plain axes only"
        before, after = pads.get(axis, (0, 0))
        pads[axis] = (before if lo == at else 0, after if hi == at + size else 0)
        t, origin[axis] = replace(cut, pads=pads), lo
    return replace(t, origin=origin)


def itemsize(dtype: str) -> int:
    """Bytes of one element of an isa data type."""
    return dtype_of(dtype).size


def node_label(node: Node) -> str:
    """Operator with its fused tail, for reports: "Conv+Relu"."""
    tail = []
    for step in node.attrs.get("epilogue", ()):
        kind = step[0]
        tail.append(
            {"bias": "", "add": "Add", "clip": "Clip"}.get(kind, str(step[1]).capitalize() if kind == "act" else kind)
        )
    return "+".join([node.op, *[t for t in tail if t]])
