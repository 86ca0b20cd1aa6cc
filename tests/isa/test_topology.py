"""Links between chips: the published listings, shortest paths, shared bandwidth."""
from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from isa import target as targets
from isa.errors import TargetError
from isa.topology import Link, Topology

INSTANCES = [n for n in targets.names() if n not in targets.GENERATIONS]
TORUS = [  # connected devices that neuron-ls prints for trn1.32xlarge and trn2 (tools/neuron-sys-tools/neuron-ls.rst)
    (12, 3, 4, 1), (13, 0, 5, 2), (14, 1, 6, 3), (15, 2, 7, 0), (0, 7, 8, 5), (1, 4, 9, 6), (2, 5, 10, 7),
    (3, 6, 11, 4), (4, 11, 12, 9), (5, 8, 13, 10), (6, 9, 14, 11), (7, 10, 15, 8), (8, 15, 0, 13), (9, 12, 1, 14),
    (10, 13, 2, 15), (11, 14, 3, 12),
]


def topology(name: str, lnc: int = 1) -> Topology:
    return Topology(targets.load(name), lnc)


def distance(t: Topology, source: int, destination: int) -> int:
    """Hops between chips, by breadth-first search."""
    hops, queue = {source: 0}, deque([source])
    while queue:
        chip = queue.popleft()
        for other in t.neighbours(chip):
            if other not in hops:
                hops[other] = hops[chip] + 1
                queue.append(other)
    return hops[destination]


@pytest.mark.parametrize("name", ["trn1.32xlarge", "trn1n.32xlarge", "trn2.48xlarge", "trn2u.48xlarge"])
def test_trainium_is_the_listed_torus(name: str) -> None:
    assert [topology(name).neighbours(chip) for chip in range(16)] == TORUS
    assert topology(name).shape == "4x4 torus"


def test_inferentia_chains_and_rings() -> None:
    chain = topology("inf1.6xlarge")
    assert [set(chain.neighbours(c)) for c in range(4)] == [{1}, {0, 2}, {1, 3}, {2}]
    assert topology("inf1.24xlarge").neighbours(15) == (14,)
    assert topology("inf2.24xlarge").neighbours(0) == (1,)
    assert set(topology("inf2.48xlarge").neighbours(0)) == {11, 1}
    assert [topology(n).shape for n in ("inf1.xlarge", "inf1.6xlarge", "inf2.48xlarge")] == [
        "one chip", "chain of 4", "ring of 12"]


@pytest.mark.parametrize("name", INSTANCES)
def test_routes_are_connected_shortest_paths_over_links(name: str) -> None:
    t = topology(name)
    links = set(t.links())
    assert all(Link(b, a) in links for a, b in links)
    first_core = [t.cores_of(chip)[0] for chip in range(t.target.chips)]
    for a in range(t.target.chips):
        for b in range(t.target.chips):
            path = t.route(first_core[a], first_core[b])
            assert len(path) == distance(t, a, b)
            assert set(path) <= links
            stops = [a, *(link.destination for link in path)]
            assert [link.source for link in path] == stops[:-1] and stops[-1] == b


def test_within_a_chip_no_link_is_crossed() -> None:
    t = topology("inf1.6xlarge")
    assert t.route(4, 7) == ()
    assert t.route(3, 4) == (Link(0, 1),)
    assert t.route(15, 0) == (Link(3, 2), Link(2, 1), Link(1, 0))


def test_equal_ways_round_go_upwards() -> None:
    assert topology("trn1.32xlarge").route(0, 4) == (Link(0, 1), Link(1, 2))
    assert topology("trn1.32xlarge").route(0, 20) == (Link(0, 1), Link(1, 2), Link(2, 6), Link(6, 10))


@pytest.mark.parametrize("name, bytes_per_ns", [
    ("inf1.6xlarge", 16 * 2**30 / 1e9),  # 16 GiB/s per link in images/inf1-server-arch.png
    ("trn1.32xlarge", 96), ("inf2.48xlarge", 96 * 2**30 / 1e9), ("inf1.xlarge", None),
])
def test_a_links_bandwidth(name: str, bytes_per_ns: float | None) -> None:
    assert topology(name).link_bytes_per_ns == (None if bytes_per_ns is None else pytest.approx(bytes_per_ns))


def test_logical_cores() -> None:
    assert [topology("trn2.48xlarge", n).cores for n in (1, 2)] == [128, 64]
    assert topology("trn2.48xlarge", 2).chip_of(4) == 1
    with pytest.raises(TargetError):
        topology("trn1.2xlarge", 2)
    with pytest.raises(TargetError):
        topology("inf1.xlarge").chip_of(4)


def test_every_link_states_its_source() -> None:
    assert "neuron-ls" in targets.load("inf1.6xlarge").source("link.grid")
    assert "link.grid" not in targets.load("trn1.32xlarge").inferred()
    assert {"link.grid", "link.wrap"} <= set(targets.load("inf2.48xlarge").inferred())


def test_a_grid_has_all_chips(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("extends: inf1.6xlarge\nparameters: {chips: 6}\n")
    with pytest.raises(TargetError) as caught:
        targets.load(path)
    assert caught.value.help == "link.grid: [1, 6]"
    path.write_text("extends: inf1.6xlarge\nparameters: {chips: 6, link.grid: [2, 3]}\n")
    t = Topology(targets.load(path))
    assert t.shape == "2x3 mesh" and t.neighbours(4) == (1, 3, 5)
    path.write_text("extends: inf1.6xlarge\nparameters: {link.grid: 4}\n")
    with pytest.raises(TargetError):
        targets.load(path)
