"""The partitioner: judges nodes, assigns phases, applies the rules on small and costly segments until none applies."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compiler import sizes
from compiler.errors import UnsupportedOp
from compiler.ir import Graph, Node
from compiler.options import CompileOptions
from compiler.partition import cost
from compiler.partition.choice import chosen, operator_name
from compiler.partition.opsets import Versions, cut_by_opset
from compiler.partition.phases import Place, phases
from compiler.partition.reasons import Verdict, judge, touches_host
from compiler.partition.subgraph import subgraph
from isa.errors import ErrorList, NeuronError
from isa.target import Target

DEVICE, CPU = "device", "cpu"
#: Operators that hand their elements on; alone at a boundary they are not worth a segment, and run on either side.
PASSING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
#: Times sooner that the host has to be done with a search: what reads the results is cut off from what comes before.
SEARCH_MARGIN = 4
PASSED_ON = "only hands data on, next to operators on the CPU"


@dataclass(frozen=True)
class Segment:
    """Nodes that run together.

    Attributes:
        kind: "device" or "cpu".
        graph: the nodes; its inputs and outputs are the values that cross.
        sources: names of the nodes, in the model's order.
    """

    kind: str
    graph: Graph
    sources: list[str]


@dataclass(frozen=True)
class Partition:
    """Segments in execution order, and the reason of every node on the CPU, in the model's order."""

    segments: list[Segment]
    reasons: dict[str, str]


class Partitioner:
    """Partitions one graph, again after each refusal of a compiled segment.

    Args:
        graph: not changed.
        target: whose device it is.
        options: what the user asked for; `subgraph_builder_function` is asked once for each node.
    Raises: ErrorList of OptionError.
    """

    def __init__(self, graph: Graph, target: Target, options: CompileOptions) -> None:
        self.graph = graph.copy()
        self.target, self.options = target, options
        cpu, self.device = chosen(graph, options)
        self.reasons: dict[str, str] = {}
        self._versions: dict[str, Versions] = {}
        for node in graph.nodes:
            why = touches_host(graph, node) or cpu.get(node.name, "")
            if why:
                self.reasons[node.name] = why
        self.verdict = self._judge()

    def refuse(self, reasons: Mapping[str, str]) -> bool:
        """Keep nodes off the device from now on, `reasons` by node name; whether any of them is new."""
        new = {name: why for name, why in reasons.items() if name not in self.reasons}
        self.reasons |= new
        return bool(new)

    def partition(self) -> Partition:
        """The segments. Raises: ErrorList of UnsupportedOp (`fallback=False`, or a `device_ops` node that cannot)."""
        while True:
            self._complain()
            found, weighed = self._weigh()
            misfits = self._misfits(found)
            if not misfits:
                break
            self.refuse(misfits)
        on_cpu = {name: weighed.get(name, PASSED_ON) for s in found if s.kind == CPU for name in s.sources}
        return Partition(found, {n.name: on_cpu[n.name] for n in self.graph.nodes if n.name in on_cpu})

    # ---- judging single nodes ------------------------------------------------------------------------------------

    def _judge(self) -> Verdict:
        """Judge what may go to the device; what is known at compile time becomes constant in the graph itself."""
        able = {n.name for n in self.graph.nodes} - self.reasons.keys()
        verdict = judge(subgraph(self.graph, able), self.target)
        self.refuse(verdict.reasons)
        for name, array in verdict.constants.items():
            self.graph.make_const(name, array)
        return verdict

    def _misfits(self, segments: Sequence[Segment]) -> dict[str, str]:
        """Nodes that the device can have in the whole model but not in their segment.

        What follows from neighbours in the model may no longer follow behind a cut.
        """
        if len(segments) == 1:
            return {}
        found: dict[str, str] = {}
        for segment in segments:
            if segment.kind == DEVICE:
                found |= judge(segment.graph, self.target, integers=False).reasons
        return found

    def _complain(self) -> None:
        """Raise what the user forbade: any node on the CPU, or one of `device_ops`."""
        bad = [n for n in self.graph.nodes if n.name in self.reasons
               and (n.name in self.device or not self.options.fallback)]
        errors: list[NeuronError] = []
        for node in bad:
            error = UnsupportedOp(f"{operator_name(node)} cannot run on the device: {self.reasons[node.name]}",
                                  where=f"node {node.name!r}",
                                  help="allow the CPU: leave out --no-fallback" if node.name not in self.device else
                                  "leave it out of --device-ops")
            error.op, error.nodes = operator_name(node), (node.name,)
            errors.append(error)
        if errors:
            raise ErrorList(errors)

    # ---- segments ------------------------------------------------------------------------------------------------

    def _weigh(self) -> tuple[list[Segment], dict[str, str]]:
        """Segments that keep the rules, and the reasons of the nodes on the CPU, those of the rules included."""
        reasons = dict(self.reasons)
        while True:
            segments = self._segments(reasons)
            moved = self._small(segments) or self._costly(segments) or self._slow(segments)
            if not moved:
                return segments, reasons
            reasons |= moved

    def _segments(self, reasons: Mapping[str, str]) -> list[Segment]:
        graph = self.graph
        places = {n.name: self._place(n, reasons) for n in graph.nodes}
        if Place.CPU not in places.values() and self._holds_faces():
            return [Segment(DEVICE, graph.copy(), [n.name for n in graph.nodes])]
        groups: list[tuple[str, list[Node]]] = []
        for place, nodes in phases(graph, places).groups(graph):
            parts = [nodes] if place is Place.DEVICE else cut_by_opset(graph, nodes, self._versions)
            groups += [(place.value, part) for part in parts]
        constants = [o for o in graph.outputs if graph.is_const(o)]
        if constants and all(kind == DEVICE for kind, _ in groups):
            groups.append((CPU, []))
        at = next((k for k, (kind, _) in enumerate(groups) if kind == CPU), -1)
        count = {DEVICE: 0, CPU: 0}
        segments = []
        for k, (kind, nodes) in enumerate(groups):
            names = [n.name for n in nodes]
            part = subgraph(graph, set(names), f"{kind}{count[kind]}", constants if k == at else ())
            segments.append(Segment(kind, part, names))
            count[kind] += 1
        return segments

    def _place(self, node: Node, reasons: Mapping[str, str]) -> Place:
        if node.name in reasons:
            return Place.CPU
        if node.name in self.device:
            return Place.DEVICE
        passing = not self.verdict.made_of[node.name] or (not node.domain and node.op in PASSING)
        return Place.EITHER if passing else Place.DEVICE

    def _holds_faces(self) -> bool:
        """Whether the device can hold all inputs and outputs of the model."""
        faces = Node("", "", self.graph.inputs, self.graph.outputs)
        if touches_host(self.graph, faces) or sizes.reason(self.graph, faces, self.target):
            return False
        return all(self.graph.value(o).size for o in self.graph.outputs)

    def _may_move(self, segments: Sequence[Segment]) -> list[Segment]:
        """Device segments next to the CPU; a model that can run on the device as a whole does."""
        if not self.options.fallback or all(s.kind == DEVICE for s in segments):
            return []
        return [s for s in segments if s.kind == DEVICE]

    def _small(self, segments: Sequence[Segment]) -> dict[str, str]:
        least = self.options.minimum_segment_size
        moved: dict[str, str] = {}
        for segment in self._may_move(segments):
            real = self._working(segment.graph.nodes)
            if len(real) < least and not self.device & set(segment.sources):
                why = f"a segment of {len(real)} is smaller than the minimum segment size, {least}"
                moved |= {n.name: why for n in (real or segment.graph.nodes)}
        return moved

    def _costly(self, segments: Sequence[Segment]) -> dict[str, str]:
        moved: dict[str, str] = {}
        for segment in self._may_move(segments) if self.options.transfer_cost else ():
            for nodes in islands(segment.graph):
                if not self.device & {n.name for n in nodes}:
                    moved |= self._too_costly(nodes)
        return moved

    def _slow(self, segments: Sequence[Segment]) -> dict[str, str]:
        """Tree ensembles and sorts that the host is done with sooner, alone or with all that hangs together with them.

        Matrix products answer every comparison of every tree, a processor only those on the way to one leaf of each;
        the k largest of a row take k / 8 passes over it, a processor log2 k.
        """
        moved: dict[str, str] = {}
        if not self.options.fallback or not self.options.transfer_cost:
            return moved
        for nodes in (i for s in segments if s.kind == DEVICE for i in islands(s.graph)):
            slow = [n for n in nodes if (cost.is_trees(n) or cost.is_search(n)) and n.name not in self.device]
            if not slow:
                continue
            device, link, host = self._times(nodes)
            single = {n.name: why for n in slow if (why := self._sooner_alone(n, nodes, device))}
            whole = device + link > _margin(slow[0]) * host and not self.device & {n.name for n in nodes}
            if whole and not any(cost.is_search(n) for n in slow if n.name in single):
                why = f"{(device + link) / 1e3:.1f} us on the device and the link, {host / 1e3:.1f} us on the host"
                moved |= {n.name: f"{_way(slow[0])} take {why}" for n in (self._working(nodes) or nodes)}
            else:
                moved |= single
        return moved

    def _sooner_alone(self, node: Node, nodes: list[Node], device: float) -> str:
        """Why the host should have one of `nodes`, which take `device` ns together; "" where it should not."""
        others = [n for n in nodes if n is not node]
        if len(self._working(others)) < self.options.minimum_segment_size or self._too_costly(others):
            return ""
        alone, between, here = self._times([node])
        if _margin(node) * (here + between) + self._times(others)[0] >= device:
            return ""
        return f"its {_way(node)} take {alone / 1e3:.1f} us, {here / 1e3:.1f} us on the host"

    def _times(self, nodes: list[Node]) -> tuple[float, float, float]:
        """Nanoseconds of nodes on the device, of the link if they are alone there, and of the host."""
        part = subgraph(self.graph, {n.name for n in nodes})
        made_of = list({id(m): m for n in nodes for m in self.verdict.made_of[n.name]}.values())
        made = self.verdict.graph
        return (cost.device_ns(made, made_of, self.target),
                cost.link_ns(self.graph, [*part.inputs, *part.outputs], self.target),
                cost.host_ns(nodes, self.graph, made_of, made, self.target))

    def _too_costly(self, nodes: list[Node]) -> dict[str, str]:
        """The nodes with the reason when device and link together take longer than the host."""
        device, link, host = self._times(nodes)
        device += link
        if device <= host:
            return {}
        why = (f"would cost more in transfers: {device / 1e3:.1f} us on the device and the link, "
               f"{host / 1e3:.1f} us on the host")
        return {n.name: why for n in (self._working(nodes) or nodes)}

    def _working(self, nodes: Iterable[Node]) -> list[Node]:
        return [n for n in nodes if self._place(n, {}) is Place.DEVICE]


def _margin(node: Node) -> int:
    """How many times sooner the host has to be done."""
    return 1 if cost.is_trees(node) else SEARCH_MARGIN


def _way(node: Node) -> str:
    """How the device does what a processor does in fewer steps."""
    return "trees as matrix products" if cost.is_trees(node) else "passes over all elements"


def islands(graph: Graph) -> list[list[Node]]:
    """Nodes that hang together by values they make, in the order of their first nodes."""
    leader = {n.name: n.name for n in graph.nodes}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = name = leader[leader[name]]
        return name

    for node in graph.nodes:
        for maker in (graph.producer(i) for i in node.inputs if i):
            if maker is not None:
                leader[find(node.name)] = find(maker.name)
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        found.setdefault(find(node.name), []).append(node)
    return list(found.values())

