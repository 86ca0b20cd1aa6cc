"""Chunks: the order in which nodes are lowered, and which part of the batch and of the image rows each visit computes.

A stretch of the graph whose whole activations would not fit in SBUF is computed several times over, each time for some
images or some rows of its results; what the producers must deliver follows from the consumers' windows (with the rows
that neighbouring chunks share computed twice). Everything else is lowered once, whole.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from compiler.ir import Graph, Node
from compiler.lowering.homes import Place
from compiler.precision import Precision
from compiler.windows import BATCH, ROWS, WINDOWED, Box, area, full, hull, image_part, needs, row_part, tileable
from isa.dtypes import dtype as dtype_of
from isa.target import Target
from isa.word import PARTITIONS

# Shares of SBUF, tuned on the networks of docs/results.md: whole activations beyond the first make a stretch worth
# cutting (the rest is for weights in flight); a chunk within the second leaves room for its neighbour: two overlap.
WHOLE_SHARE, CHUNK_SHARE = 0.55, 0.30
#: assembled values and one visit together
LIVE_SHARE = 0.70
#: stretches with at most this many untroubled nodes between them are joined
GAP = 8
#: while the values that leave a stretch exceed this together, it grows towards something smaller; if that does not
#: help, the largest of them go to DRAM
HOME_SHARE = 0.40
#: work done twice on shared rows, as a multiple of all work, beyond which a stretch is computed in two
MOST_OVERHEAD = 1.35


@dataclass
class Chunk:
    """One visit to some nodes.

    Attributes:
        nodes: to lower, in order. windows: the part of each value to compute (absent: all of it).
        assembled: values written piece by piece over several visits, and the box of the tensor that collects them.
        streamed: values whose window is written to DRAM after the visit.
        fresh: values recomputed by this visit. finished: assembled values complete after it.
        dead: values not needed after it.
        counts: whether the nodes' useful work is booked on this visit (once over all visits).
    """

    nodes: list[Node]
    windows: dict[str, Box] = field(default_factory=dict)
    assembled: dict[str, Box] = field(default_factory=dict)
    streamed: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    number: int = 0
    counts: bool = True


class Tiler:
    """Plans the chunks of one graph. `streamed`: values that live in DRAM because they are too large."""

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
        self.streamed: set[str] = set()
        self.stretch: dict[str, int] = {}  # values computed in visits -> first node of their stretch
        self.outgrown: set[str] = set()  # parts of which a visit computes other rows than of the concatenation
        self.images = self._images()

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

    def in_place(self) -> dict[str, Place]:
        """The places that still make sense after planning.

        A part is computed in the visits that compute the whole, and the same rows of it: other readers may want more.
        A value in DRAM is no part of a tensor in SBUF.
        """
        return {
            name: place
            for name, place in self.places.items()
            if name == place.root
            or (
                name not in self.streamed | self.outgrown
                and self.stretch.get(name) == self.stretch.get(place.root)
            )
        }

    def _outgrown(self, chunk: Chunk) -> list[str]:
        windows = chunk.windows
        roots = {n: p.root for n, p in self.places.items() if n in windows and p.root in windows}
        return [n for n, root in roots.items() if root not in chunk.assembled and windows[n] != windows[root]]

    def _plain(self, k: int) -> Chunk:
        return Chunk([self.graph.nodes[k]], dead=self._dead(k, k + 1))

    def _dead(self, begin: int, end: int) -> list[str]:
        names = dict.fromkeys(n for node in self.graph.nodes[begin:end] for n in (*node.inputs, *node.outputs) if n)
        return [n for n in names if self.last_use.get(n, -1) < end]

    # ---- where to cut --------------------------------------------------------------------------------------------

    def _images(self) -> set[str]:
        """Values with channels on partitions: around convolutions and pools, and what is pointwise to those."""
        found = {n for node in self.graph.nodes if node.op in WINDOWED for n in (node.inputs[0], node.output)}
        for node in self.graph.nodes:
            if tileable(self.graph, node) and any(i in found for i in node.inputs):
                found.add(node.output)
        for node in reversed(self.graph.nodes):
            if node.op not in WINDOWED and node.output in found and tileable(self.graph, node):
                found.update(i for i in node.inputs if i and self.graph.shape(i) == self.graph.shape(node.output))
        return found

    def bytes_of(self, name: str, box: Box | None = None) -> int:
        """SBUF bytes per partition of a value or of a window of it, fill included."""
        shape = self.graph.shape(name)
        if self.graph.is_const(name) or not shape:
            return 0
        sizes = [box[a][1] - box[a][0] if box and a in box else n for a, n in enumerate(shape)]
        width = dtype_of(self.precision.storage(name)).size
        if name not in self.images and box is None:
            rows = max(sizes[:-1], default=1) if len(sizes) > 3 else prod(sizes[:-1])  # as `natural_axes` lays it out
            return -(-rows // PARTITIONS) * prod(sizes) // rows * width
        pads = self.pads.get(name, {})
        free = prod(n + sum(pads.get(a, (0, 0))) for a, n in enumerate(sizes) if a != 1)
        return -(-sizes[1] // PARTITIONS) * free * width

    def _tileable(self, node: Node) -> bool:
        if not tileable(self.graph, node):
            return False
        return node.output in self.images or self.bytes_of(node.output) > HOME_SHARE * self.room

    def _stretches(self) -> list[tuple[int, int]]:
        """Ranges of nodes whose whole activations exceed their share of SBUF, joined over small gaps."""
        out: list[tuple[int, int]] = []
        for k in self._over():
            if out and k < out[-1][1]:
                continue
            joins = out and k - out[-1][1] <= GAP and all(self._tileable(n) for n in self.graph.nodes[out[-1][1] : k])
            begin = out.pop()[0] if joins else k
            out.append((begin, self._grown(begin, k + 1)))
        return out

    def _over(self) -> list[int]:
        live: dict[str, int] = {}
        over: list[int] = []
        for k, node in enumerate(self.graph.nodes):
            for name in (*node.inputs, *node.outputs):
                if name and name not in live and not self._hands_on(node):
                    live[name] = self.bytes_of(name)
            if sum(live.values()) > WHOLE_SHARE * self.room and self._tileable(node):
                over.append(k)
            for name in [n for n in live if self.last_use.get(n, -1) <= k]:
                del live[name]
        return over

    def _hands_on(self, node: Node) -> bool:
        """Whether a node only brings an input to an output: from DRAM to DRAM."""
        return node.op == "Identity" and node.inputs[0] in self.graph.inputs and node.output in self.graph.outputs

    def _grown(self, begin: int, end: int) -> int:
        """The end moved on, over a few nodes, to where the values that leave the stretch fit."""
        nodes = self.graph.nodes
        for stop in range(end, min(end + GAP, len(nodes)) + 1):
            if stop > end and not self._tileable(nodes[stop - 1]):
                break
            if sum(self.bytes_of(n) for n in self._leaving(begin, stop)) <= HOME_SHARE * self.room:
                return stop
        return end

    def _leaving(self, begin: int, end: int) -> list[str]:
        return [n.output for n in self.graph.nodes[begin:end] if self.last_use.get(n.output, -1) >= end]

    # ---- what each chunk computes --------------------------------------------------------------------------------

    def _cut(self, begin: int, end: int) -> list[Chunk]:
        """A stretch as visits: per group of images, and inside one by rows where even a single image is too large."""
        nodes = self.graph.nodes[begin:end]
        made = {n.output for n in nodes}
        leaving = self._leaving(begin, end)
        whole = self._kept(leaving)
        results = {n: full(self.graph.shape(n)) for n in leaving}
        outer = sum(self.bytes_of(n) for n in whole)
        outer += sum(self.bytes_of(n) for n in self._inputs(nodes, made) if not self._in_dram(n))
        limit = min(CHUNK_SHARE, max(CHUNK_SHARE / 2, LIVE_SHARE - outer / self.room)) * self.room
        windows, runs = self._groups(nodes, leaving, whole, limit)
        boxes = {n: results[n] for n in whole}
        chunks: list[Chunk] = []
        for k, own in enumerate(windows):
            at = 0
            for lo, hi in runs:
                chunks += self._visit(nodes[at:lo], own, boxes, k == 0)
                chunks += self._rows(nodes[lo:hi], own, boxes, leaving, limit, k == 0)
                at = hi
            chunks += self._visit(nodes[at:], own, boxes, k == 0)
        if len(nodes) > 1 and self._overhead(nodes, chunks) > MOST_OVERHEAD:
            self.streamed -= set(leaving)
            middle = begin + self._waist(begin, end)
            return self._cut(begin, middle) + self._cut(middle, end)
        self.stretch.update(dict.fromkeys(made, begin))
        for number, chunk in enumerate(chunks):
            chunk.number = number
            chunk.streamed = [n.output for n in chunk.nodes if n.output in leaving and n.output not in whole]
        self.outgrown |= {n for chunk in chunks for n in self._outgrown(chunk)}
        chunks[-1].finished = [*chunks[-1].finished, *whole]
        chunks[-1].dead = self._dead(begin, end)
        return chunks

    def _kept(self, leaving: list[str]) -> list[str]:
        """The values that leave a stretch and stay in SBUF; the largest go to DRAM until the rest has its share."""
        kept = sorted(leaving, key=self.bytes_of)
        while kept and sum(self.bytes_of(n) for n in kept) > HOME_SHARE * self.room:
            self.streamed.add(kept.pop())
        return [n for n in leaving if n in kept]

    def _in_dram(self, name: str) -> bool:
        made = self.graph.producer(name)
        if made is not None and (made.op in ("Transpose", "Reshape") or _is_rows(made)):
            return self._in_dram(made.inputs[0])  # read where the whole value is
        return name in self.graph.inputs or name in self.streamed

    def _groups(
        self, nodes: list[Node], leaving: list[str], whole: list[str], limit: float
    ) -> tuple[list[dict[str, Box]], list[tuple[int, int]]]:
        """Windows per group of images, as large as possible, and the ranges of nodes that need rows even so."""
        shapes = {n: self.graph.shape(n) for n in leaving}
        batch = max(shape[BATCH] for shape in shapes.values())

        def parts(groups: int) -> list[dict[str, Box]]:
            return [
                self._windows(nodes, {n: image_part(s, k, groups) for n, s in shapes.items()}) for k in range(groups)
            ]

        finest = sum(hi - lo for lo, hi in self._runs(nodes, whole, parts(batch)[0], limit))
        for groups in (g for g in range(1, batch + 1) if batch % g == 0):
            windows = parts(groups)
            runs = self._runs(nodes, whole, windows[0], limit)
            narrow = all(self._one_row(nodes[lo:hi], windows[0], whole) <= limit for lo, hi in runs)
            if groups == batch or (narrow and sum(hi - lo for lo, hi in runs) <= finest):
                break
        return windows, runs

    def _one_row(self, nodes: list[Node], outer: dict[str, Box], whole: list[str]) -> int:
        """Most bytes live when these nodes compute a single row, in the middle, of what later nodes read."""
        inside = {i for n in nodes for i in n.inputs}
        results = [n.output for n in nodes if n.output in whole or n.output not in inside]
        rows = max(outer[n][ROWS][1] - outer[n][ROWS][0] for n in results)
        windows = self._windows(nodes, {n: row_part(outer[n], rows // 2, rows) for n in results})
        return max(self._levels(nodes, whole, windows))

    def _overhead(self, nodes: list[Node], chunks: list[Chunk]) -> float:
        """Elements computed over all visits as a multiple of those of the results."""
        done = sum(
            area(self.graph.shape(n.output), c.windows[n.output]) for c in chunks for n in c.nodes if n.op in WINDOWED
        )
        return done / max(1, sum(prod(self.graph.shape(n.output)) for n in nodes if n.op in WINDOWED))

    def _waist(self, begin: int, end: int) -> int:
        """Number of nodes before the cut nearest the middle that the fewest bytes cross."""
        count = end - begin
        crossing = {k: sum(self.bytes_of(n) for n in self._leaving(begin, begin + k)) for k in range(1, count)}
        return min(crossing, key=lambda k: (crossing[k] * (1 + abs(2 * k - count) / count), k))

    def _visit(self, nodes: list[Node], windows: dict[str, Box], boxes: dict[str, Box], counts: bool) -> list[Chunk]:
        if not nodes:
            return []
        made = {n.output for n in nodes}
        return [Chunk(nodes, windows, boxes, fresh=self._fresh(nodes, made - set(boxes)), counts=counts)]

    def _fresh(self, nodes: list[Node], made: set[str]) -> list[str]:
        roots = sorted({p.root for n, p in self.places.items() if n in made})
        inputs = [n for n in self._inputs(nodes, {n.output for n in nodes}) if self._in_dram(n)]
        return [*sorted(made), *roots, *inputs]

    def _rows(
        self,
        nodes: list[Node],
        outer: dict[str, Box],
        boxes: dict[str, Box],
        leaving: list[str],
        limit: float,
        counts: bool,
    ) -> list[Chunk]:
        """Nodes too large for one image at once, by rows of their results; results of this image are assembled."""
        made = {n.output for n in nodes}
        inside = {i for n in nodes for i in n.inputs}
        used = {i for n in self.graph.nodes for i in n.inputs if n not in nodes}
        results = [n.output for n in nodes if n.output in leaving or n.output in used or n.output not in inside]
        kept = [n for n in results if n in boxes or n not in leaving]
        assembled = {**boxes, **{n: outer[n] for n in kept if n not in boxes}}
        rows = max(outer[n][ROWS][1] - outer[n][ROWS][0] for n in results)

        def piece(k: int, parts: int) -> dict[str, Box]:
            return self._windows(nodes, {n: row_part(outer[n], k, parts) for n in results})

        for parts in _part_counts(rows):
            tried = [piece(k, parts) for k in sorted({0, parts // 2, parts - 1})]
            if max(max(self._levels(nodes, kept, w)) for w in tried) <= limit / 2:
                break
        pieces = [piece(k, parts) for k in range(parts)]
        fresh = self._fresh(nodes, made - set(kept))
        chunks = [Chunk(nodes, w, assembled, fresh=fresh, counts=counts and k == 0) for k, w in enumerate(pieces)]
        chunks[-1].finished = [n for n in kept if n not in boxes]
        return chunks

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

    def _windows(self, nodes: list[Node], results: dict[str, Box]) -> dict[str, Box]:
        """What each value must hold for these parts of the results, from the last node back."""
        made = {n.output for n in nodes}
        windows = dict(results)
        for node in reversed(nodes):
            box = windows[node.output]
            for name in node.inputs:
                if not name or self.graph.is_const(name) or (name not in made and not self._in_dram(name)):
                    continue
                windows[name] = hull(windows.get(name), needs(self.graph, node, name, box))
        return windows

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


def _is_rows(node: Node) -> bool:
    """Whether a node cuts the rows out that a part of a layer reads."""
    return node.op == "Slice" and bool(node.attrs.get("rows"))


def _part_counts(rows: int) -> list[int]:
    """Numbers of parts to try, growing by about a quarter; never more parts than rows."""
    counts = [1]
    while counts[-1] < rows:
        counts.append(min(rows, max(counts[-1] + 1, counts[-1] * 5 // 4)))
    return counts
