"""Cuts the graph of a device segment into one graph per pipeline stage.

Only neighbours talk: what one stage makes and a later one reads, or what leaves the segment, is handed on by every
stage between, which copies it from a variable it reads to one it writes. A value keeps its name where it is made; the
copy of `v` that stage k hands on is called `v@k`. So a stage's inputs are its upstream's outputs, name by name, and
never bear the names of its own outputs. How a value is arranged when it crosses: `arrange`.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler.ir import Graph, Node
from compiler.sharding.arrange import Arrangement, arrangement


@dataclass(frozen=True)
class Cut:
    """The stages of one segment.

    Attributes:
        stages: graphs in pipeline order; the inputs of each are the outputs of the one before.
        copies: value that only the stages have -> the value of the segment's graph that it holds, perhaps in another
            arrangement. What was found out about that value on the whole graph (its type, bounds, whether it holds
            infinities) is true of the copy.
    """

    stages: list[Graph]
    copies: dict[str, str]


def cut(graph: Graph, groups: Sequence[Sequence[str]]) -> Cut:
    """Cut an optimised graph into stages.

    The first stage has the segment's inputs, the last its outputs, save those that are inputs too: the host has them.

    Args:
        graph: of one device segment; not changed, arrays are shared.
        groups: names of the nodes of each stage in the order in which they are lowered, every node once, producers
            before readers. A group may be empty: such a stage only hands on.
    Raises: ValueError for groups that are no such division.
    """
    return _Cutter(graph, groups).run()


class _Cutter:
    """Which stages each value is alive in, and the names and arrangements in which it crosses."""

    def __init__(self, graph: Graph, groups: Sequence[Sequence[str]]) -> None:
        self.graph = graph
        self.nodes = {n.name: n for n in graph.nodes}
        self.groups = [list(g) for g in groups]
        self.last = len(self.groups) - 1
        self.copies: dict[str, str] = {}
        self.names: dict[tuple[str, int], str] = {}
        self.taken = set(graph.values)
        self.stage_of = {name: k for k, group in enumerate(self.groups) for name in group}
        self._check()
        self.results = [o for o in graph.outputs if o not in graph.inputs]
        self._drop_dead()
        self._slice_early()
        # the stage that makes a value (inputs: the first) and the last that needs it
        self.born = {**dict.fromkeys(graph.inputs, 0),
                     **{o: k for name, k in self.stage_of.items() for o in self.nodes[name].outputs if o}}
        self.until = {v: max([k, *(self.stage_of.get(n.name, 0) for n in graph.consumers(v))])
                      for v, k in self.born.items()}
        self.until |= {o: self.last for o in self.results if o in self.born}
        self.arranged = self._arranged()

    def _check(self) -> None:
        listed = [name for group in self.groups for name in group]
        if not self.groups or sorted(listed) != sorted(self.nodes):
            raise ValueError("the groups do not name every node of the graph once")
        place = {name: k for k, name in enumerate(listed)}
        for node in self.graph.nodes:
            for name in filter(None, node.inputs):
                producer = self.graph.producer(name)
                if producer is not None and place[producer.name] > place[node.name]:
                    raise ValueError(f"{node.name!r} reads {name!r}, which comes after it")

    def _drop_dead(self) -> None:
        """Forget nodes that no result needs: the join of parts whose readers have been split likewise."""
        live = set(self.results)
        for node in reversed(self.graph.nodes):
            if live.isdisjoint(filter(None, node.outputs)):
                del self.stage_of[node.name]
            else:
                live.update(node.inputs)
        self.groups = [[name for name in group if name in self.stage_of] for group in self.groups]

    def _slice_early(self) -> None:
        """Rows that later stages need are cut out where the rest of a value is read last: they alone are handed on."""
        for v in self.graph.values:
            cuts = [n for n in self.graph.consumers(v) if n.attrs.get("rows") and n.op == "Slice"
                    and n.name in self.stage_of]
            if not cuts:
                continue
            others = [self.stage_of[n.name] for n in self.graph.consumers(v)
                      if n not in cuts and n.name in self.stage_of]
            read = [self.last] if v in self.results else others
            stage = max([min(self.stage_of[n.name] for n in cuts), *read])
            for node in cuts:
                if self.stage_of[node.name] > stage:
                    self.groups[self.stage_of[node.name]].remove(node.name)
                    self.groups[stage].append(node.name)
                    self.stage_of[node.name] = stage

    def _arranged(self) -> dict[str, Arrangement]:
        """Values that cross in another order than row-major; what the host gives or takes is row-major."""
        kept = {*self.graph.inputs, *self.results}
        crossing = [v for v, k in self.born.items() if k < self.until[v] and v not in kept]
        return {v: how for v in crossing if (how := arrangement(self.graph, v)) is not None}

    def run(self) -> Cut:
        return Cut([self._stage(k) for k in range(len(self.groups))], self.copies)

    def _stage(self, k: int) -> Graph:
        stage = Graph(f"{self.graph.name}.{k}" if self.last else self.graph.name)
        stage.opsets = dict(self.graph.opsets)
        inward = {v: self._name(v, k - 1) for v in self._crossing(k - 1)}
        outward = {v: self._name(v, k) for v in self._crossing(k)}
        mine = [v for name in self.groups[k] for v in self.nodes[name].outputs if v]
        local = {v: outward[v] for v in mine if v in outward} | inward
        for v in self.arranged:
            local.pop(v, None)
        for name in self.groups[k]:
            _add_copy(stage, self.nodes[name], local)
        stage.inputs = list(inward.values()) if k else list(self.graph.inputs)
        stage.outputs = list(outward.values()) if k < self.last else list(self.results)
        self._hand_on(stage, inward, outward, mine)
        read = {i for name in self.groups[k] for i in self.nodes[name].inputs}
        for v, how in self.arranged.items():
            if v in outward and v in mine:
                stage.add_node("PackRows", [v], [outward[v]], how.attributes, name=f"pack {v}")
            if v in inward and v in read:
                stage.add_node("UnpackRows", [inward[v]], [v], how.attributes, name=f"unpack {v}", at=0)
        self._add_values(stage)
        return stage

    def _crossing(self, k: int) -> list[str]:
        """Values handed from stage k to the next; after the last stage, the segment's results that are no constants."""
        if k == self.last:
            return [o for o in self.results if o in self.born]
        return [v for v, born in self.born.items() if born <= k < self.until[v]]

    def _name(self, v: str, k: int) -> str:
        """Name under which stage k hands on a value."""
        mine = k == self.last if v in self.results else self.born[v] == k and v not in self.graph.inputs
        if mine and v not in self.arranged:
            return v
        if (v, k) not in self.names:
            stem = name = f"{v}@{k}"
            count = 0
            while name in self.taken:
                count += 1
                name = f"{stem}.{count}"
            self.taken.add(name)
            self.names[v, k] = name
            self.copies[name] = v
        return self.names[v, k]

    @staticmethod
    def _hand_on(stage: Graph, inward: Mapping[str, str], outward: Mapping[str, str], mine: Sequence[str]) -> None:
        """Copies of what was made earlier, ahead of all else: nothing is on chip yet, so that each is one transfer."""
        passing = [v for v in outward if v not in mine]
        for at, v in enumerate(passing):
            stage.add_node("Identity", [inward.get(v, v)], [outward[v]], name=f"hand on {v}", at=at)

    def _add_values(self, stage: Graph) -> None:
        """The values that the stage names, constants included."""
        named = [*stage.inputs, *(v for n in stage.nodes for v in (*n.inputs, *n.outputs)), *stage.outputs]
        for name in dict.fromkeys(filter(None, named)):
            if name not in stage.values:
                v = self.copies.get(name, name)
                model = self.graph.value(v)
                shape = (model.size,) if name != v and v in self.arranged else model.shape
                stage.add_value(name, shape, model.dtype, model.const)


def _add_copy(stage: Graph, node: Node, local: Mapping[str, str]) -> None:
    """The node with the names that its values have in the stage."""
    attrs = {k: list(v) if isinstance(v, list) else v for k, v in node.attrs.items()}
    stage.add_node(node.op, [local.get(i, i) for i in node.inputs], [local.get(o, o) for o in node.outputs], attrs,
                   name=node.name, sources=node.sources, domain=node.domain, host=node.host, proto=node.proto,
                   version=node.version)
