"""Chunks: the order in which nodes are lowered, and which part of the batch and of the image rows each visit computes.

A stretch of the graph whose whole activations would not fit in SBUF is computed several times over, each time for some
images or some rows of its results; what the producers must deliver follows from the consumers' windows (with the rows
that neighbouring chunks share computed twice). Everything else is lowered once, whole.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from compiler.ir import Graph, Node
from compiler.lowering.conv_plan import Phase, conv_phases, transposed_phases
from compiler.lowering.homes import Place
from compiler.precision import Precision
from isa.dtypes import dtype as dtype_of
from isa.target import Target
from isa.word import PARTITIONS

Box = dict[int, tuple[int, int]]

WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
#: operators whose result at a row depends on the same row of operands of the same height only
POINTWISE = (
    "Abs", "Add", "Affine", "And", "Cast", "Clip", "Concat", "DequantizeLinear", "Div", "Equal", "Erf", "Exp",
    "Gelu", "Greater", "HardSigmoid", "LRN", "LeakyRelu", "Less", "Log", "Max", "Min", "Mul", "Neg", "Not", "Or",
    "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Sigmoid", "Silu", "Softplus", "Sqrt", "Sub", "Tanh", "Where",
)
BATCH, ROWS = 0, 2  # the axes that chunks cut

# Shares of SBUF, tuned on the networks of docs/results.md: whole activations beyond the first make a stretch worth
# cutting (the rest is for weights in flight); a chunk within the second leaves room for its neighbour: two overlap.
WHOLE_SHARE, CHUNK_SHARE = 0.55, 0.30
#: assembled values and one visit together
LIVE_SHARE = 0.70
#: stretches with at most this many untroubled nodes between them are joined
GAP = 8
MOST_PARTS = 256


@dataclass
class Chunk:
    """One visit to some nodes.

    Attributes:
        nodes: to lower, in order. windows: the part of each value to compute (absent: all of it).
        assembled: values written piece by piece over several visits, and the box of the tensor that collects them.
        fresh: values recomputed by this visit. finished: assembled values complete after it.
        dead: values not needed after it.
        counts: whether the nodes' useful work is booked on this visit (once over all visits).
    """

    nodes: list[Node]
    windows: dict[str, Box] = field(default_factory=dict)
    assembled: dict[str, Box] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    number: int = 0
    counts: bool = True


class Tiler:
    """Plans the chunks of one graph."""

    def __init__(
        self,
        graph: Graph,
        target: Target,
        precision: Precision,
        pads: dict[str, dict[int, tuple[int, int]]],
        places: dict[str, Place],
    ) -> None:
        self.graph, self.target, self.precision, self.pads, self.places = graph, target, precision, pads, places
        self.last_use = {name: k for k, node in enumerate(graph.nodes) for name in node.inputs if name}
        for name in graph.outputs:
            self.last_use[name] = len(graph.nodes)
        self.room = target.sbuf_partition_bytes

    def plan(self) -> list[Chunk]:
        """All nodes as chunks, in order."""
        chunks: list[Chunk] = []
        at = 0
        for begin, end in self._stretches():
            chunks += [self._plain(k) for k in range(at, begin)]
            chunks += self._cut(begin, end)
            at = end
        chunks += [self._plain(k) for k in range(at, len(self.graph.nodes))]
        return chunks

    def _plain(self, k: int) -> Chunk:
        return Chunk([self.graph.nodes[k]], dead=self._dead(k, k + 1))

    def _dead(self, begin: int, end: int) -> list[str]:
        names = dict.fromkeys(n for node in self.graph.nodes[begin:end] for n in (*node.inputs, *node.outputs) if n)
        return [n for n in names if self.last_use.get(n, -1) < end]

    # ---- where to cut --------------------------------------------------------------------------------------------

    def bytes_of(self, name: str, box: Box | None = None) -> int:
        """SBUF bytes per partition of a value or of a window of it, fill included."""
        shape = self.graph.shape(name)
        if self.graph.is_const(name) or not shape:
            return 0
        sizes = [box[a][1] - box[a][0] if box and a in box else n for a, n in enumerate(shape)]
        width = dtype_of(self.precision.storage(name)).size
        if len(shape) < 4:
            rows = prod(sizes[:-1]) if len(sizes) > 1 else 1
            return -(-rows // PARTITIONS) * sizes[-1] * width
        pads = self.pads.get(name, {})
        free = prod(n + sum(pads.get(a, (0, 0))) for a, n in enumerate(sizes) if a != 1)
        return -(-sizes[1] // PARTITIONS) * free * width

    def _stretches(self) -> list[tuple[int, int]]:
        """Ranges of nodes whose whole activations exceed their share of SBUF, joined over small gaps."""
        live: dict[str, int] = {}
        over: list[int] = []
        for k, node in enumerate(self.graph.nodes):
            for name in (*node.inputs, *node.outputs):
                if name and name not in live:
                    live[name] = self.bytes_of(name)
            if sum(live.values()) > WHOLE_SHARE * self.room and self._tileable(node):
                over.append(k)
            for name in [n for n in live if self.last_use.get(n, -1) <= k]:
                del live[name]
        out: list[tuple[int, int]] = []
        for k in over:
            joins = out and k - out[-1][1] <= GAP and all(self._tileable(n) for n in self.graph.nodes[out[-1][1] : k])
            if joins:
                out[-1] = (out[-1][0], k + 1)
            else:
                out.append((k, k + 1))
        return out

    def _tileable(self, node: Node) -> bool:
        shape = self.graph.shape(node.output)
        if len(node.outputs) != 1 or len(shape) < 4:
            return False
        if node.op in WINDOWED:
            return True
        if node.op == "Concat":
            return bool(node.attrs["axis"] % len(shape) == 1)
        return node.op in POINTWISE and all(
            self.graph.is_const(i) or self.graph.shape(i) == shape for i in node.inputs if i
        )

    # ---- what each chunk computes --------------------------------------------------------------------------------

    def _cut(self, begin: int, end: int) -> list[Chunk]:
        """A stretch as visits: per group of images, and inside one by rows where even a single image is too large."""
        nodes = self.graph.nodes[begin:end]
        made = {n.output for n in nodes}
        whole = [n.output for n in nodes if self.last_use.get(n.output, -1) >= end]
        outer = sum(self.bytes_of(n) for n in whole)
        outer += sum(self.bytes_of(n) for n in self._inputs(nodes, made) if n not in self.graph.inputs)
        limit = min(CHUNK_SHARE, max(CHUNK_SHARE / 2, LIVE_SHARE - outer / self.room)) * self.room
        batch = max(self.graph.shape(n)[BATCH] for n in whole)
        finest = self._runs(
            nodes, whole, self._windows(nodes, {n: self._part(n, 0, batch) for n in whole}, made), limit
        )
        for groups in (g for g in range(1, batch + 1) if batch % g == 0):
            windows = [self._windows(nodes, {n: self._part(n, k, groups) for n in whole}, made) for k in range(groups)]
            runs = self._runs(nodes, whole, windows[0], limit)
            if groups == batch or sum(hi - lo for lo, hi in runs) <= sum(hi - lo for lo, hi in finest):
                break
        boxes = {n: _full(self.graph.shape(n)) for n in whole}
        chunks: list[Chunk] = []
        for k, own in enumerate(windows):
            at = 0
            for lo, hi in runs:
                chunks += self._visit(nodes[at:lo], own, boxes, k == 0)
                chunks += self._rows(nodes[lo:hi], own, boxes, limit, made, k == 0)
                at = hi
            chunks += self._visit(nodes[at:], own, boxes, k == 0)
        for number, chunk in enumerate(chunks):
            chunk.number = number
        chunks[-1].finished = [*chunks[-1].finished, *whole]
        chunks[-1].dead = self._dead(begin, end)
        return chunks

    def _visit(self, nodes: list[Node], windows: dict[str, Box], boxes: dict[str, Box], counts: bool) -> list[Chunk]:
        if not nodes:
            return []
        made = {n.output for n in nodes}
        return [Chunk(nodes, windows, boxes, self._fresh(nodes, made - set(boxes)), counts=counts)]

    def _fresh(self, nodes: list[Node], made: set[str]) -> list[str]:
        roots = sorted({p.root for n, p in self.places.items() if n in made and p.root in made})
        inputs = [n for n in self._inputs(nodes, made) if n in self.graph.inputs]
        return [*sorted(made), *roots, *inputs]

    def _rows(
        self,
        nodes: list[Node],
        outer: dict[str, Box],
        boxes: dict[str, Box],
        limit: float,
        stretch: set[str],
        counts: bool,
    ) -> list[Chunk]:
        """Nodes too large for one image at once, by rows of their results; results of this image are assembled."""
        made = {n.output for n in nodes}
        inside = {i for n in nodes for i in n.inputs}
        used = {i for n in self.graph.nodes for i in n.inputs if n not in nodes}
        results = [n.output for n in nodes if n.output in boxes or n.output in used or n.output not in inside]
        assembled = {**boxes, **{n: outer[n] for n in results if n not in boxes}}
        rows = max(outer[n][ROWS][1] - outer[n][ROWS][0] for n in results)
        for parts in range(2, min(rows, MOST_PARTS) + 1):
            pieces = [
                self._windows(nodes, {n: _row_part(outer[n], k, parts) for n in results}, made) for k in range(parts)
            ]
            if max(self._peak(nodes, results, w) for w in pieces) <= limit / 2:
                break
        fresh = self._fresh(nodes, made - set(results))
        chunks = [Chunk(nodes, w, assembled, fresh, counts=counts and k == 0) for k, w in enumerate(pieces)]
        chunks[-1].finished = [n for n in results if n not in boxes]
        return chunks

    def _part(self, name: str, k: int, groups: int) -> Box:
        shape = self.graph.shape(name)
        return {BATCH: (shape[BATCH] * k // groups, shape[BATCH] * (k + 1) // groups), ROWS: (0, shape[ROWS])}

    def _runs(
        self, nodes: list[Node], whole: list[str], windows: dict[str, Box], limit: float
    ) -> list[tuple[int, int]]:
        """Ranges of nodes during which a visit with these windows holds more than `limit` bytes."""
        over = [k for k, size in enumerate(self._levels(nodes, whole, windows)) if size > limit]
        out: list[tuple[int, int]] = []
        for k in over:
            if out and k - out[-1][1] <= GAP // 4:
                out[-1] = (out[-1][0], k + 1)
            else:
                out.append((k, k + 1))
        return out

    def _inputs(self, nodes: list[Node], made: set[str]) -> list[str]:
        names = dict.fromkeys(i for n in nodes for i in n.inputs if i)
        return [i for i in names if i not in made and not self.graph.is_const(i)]

    def _windows(self, nodes: list[Node], results: dict[str, Box], made: set[str]) -> dict[str, Box]:
        """What each value must hold for these parts of the results, from the last node back."""
        windows = dict(results)
        for node in reversed(nodes):
            box = windows[node.output]
            for name in node.inputs:
                if not name or self.graph.is_const(name) or (name not in made and name not in self.graph.inputs):
                    continue
                windows[name] = _hull(windows.get(name), self._needs(node, name, box))
        return windows

    def _needs(self, node: Node, name: str, box: Box) -> Box:
        """The window of an operand that a window of the result depends on."""
        rows = self.graph.shape(name)[ROWS]
        if node.op not in WINDOWED or name != node.inputs[0]:
            return dict(box)
        spatial = self.graph.shape(node.output)[2:]
        phases = (transposed_phases if node.op == "ConvTranspose" else conv_phases)(node, spatial)
        lo, hi = rows, 0
        for phase in phases:
            for first, last in _reach(phase, box[ROWS]):
                lo, hi = min(lo, first), max(hi, last + 1)
        lo, hi = max(0, min(lo, rows - 1)), min(rows, max(hi, 1))
        return {BATCH: box[BATCH], ROWS: (lo, max(hi, lo + 1))}

    def _peak(self, nodes: list[Node], whole: list[str], windows: dict[str, Box]) -> int:
        return max(self._levels(nodes, whole, windows))

    def _levels(self, nodes: list[Node], whole: list[str], windows: dict[str, Box]) -> list[int]:
        """Bytes per partition live at each node of a visit, not counting the assembled values."""
        last = {i: k for k, n in enumerate(nodes) for i in n.inputs if i}
        live: dict[str, int] = {}
        levels = []
        for k, node in enumerate(nodes):
            for name in (*node.inputs, node.output):
                if name in windows and name not in whole and name not in live:
                    live[name] = self.bytes_of(name, windows[name])
            levels.append(sum(live.values()))
            for name in [n for n in live if last.get(n, -1) <= k]:
                del live[name]
        return levels


def _full(shape: tuple[int, ...]) -> Box:
    return {BATCH: (0, shape[BATCH]), ROWS: (0, shape[ROWS])}


def _row_part(box: Box, k: int, parts: int) -> Box:
    lo, hi = box[ROWS]
    return {**box, ROWS: (lo + (hi - lo) * k // parts, lo + (hi - lo) * (k + 1) // parts)}


def _reach(phase: Phase, rows: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(first, last) input rows that the phase's outputs within `rows` read."""
    a, s = phase.start[0], phase.step[0]
    j0, j1 = max(0, -(-(rows[0] - a) // s)), min(phase.count[0], -(-(rows[1] - a) // s))
    if j1 <= j0 or not phase.taps:
        return
    offsets = [t.offset[0] for t in phase.taps]
    yield j0 * phase.in_step[0] + min(offsets), (j1 - 1) * phase.in_step[0] + max(offsets)


def _hull(a: Box | None, b: Box) -> Box:
    if a is None:
        return b
    return {axis: (min(a[axis][0], b[axis][0]), max(a[axis][1], b[axis][1])) for axis in a}
