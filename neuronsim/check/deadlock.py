"""Words that can never start, and the graph of who waits for whom."""
from __future__ import annotations

import numpy as np

from isa.word import ENGINES
from neuronsim.check.flat import Flat
from neuronsim.check.happens_before import Execution
from neuronsim.check.report import Finding, Reporter


def find(flat: Flat, execution: Execution, reporter: Reporter) -> list[Finding]:
    """One finding per engine that cannot reach its end."""
    graph = wait_graph(flat, execution)
    return [_finding(flat, execution, reporter, op, graph) for op in _blocked(flat, execution)]


def wait_graph(flat: Flat, execution: Execution) -> dict[str, list[tuple[str, int]]]:
    """Blocked engine -> (engine, index) of the next posts it waits for that were not reached; [] when none exists."""
    edges: dict[str, list[tuple[str, int]]] = {}
    for op in _blocked(flat, execution):
        semaphores = [sem for sem, _ in _unmet(flat, execution, op)]
        edges[flat.place(op)[0]] = [flat.place(p) for sem in semaphores for p in _missing_posts(flat, execution, sem)]
    return edges


def _blocked(flat: Flat, execution: Execution) -> list[int]:
    return [int(op) for e, op in enumerate(execution.stopped) if op < flat.offsets[e + 1]]


def _unmet(flat: Flat, execution: Execution, op: int) -> list[tuple[int, int]]:
    waits = zip(flat.wait_sem[op].tolist(), flat.wait_val[op].tolist())
    return [(sem, value) for sem, value in waits if sem and execution.values[sem] < value]


def _missing_posts(flat: Flat, execution: Execution, sem: int) -> list[int]:
    """First post to the semaphore on each engine that was never reached."""
    found = []
    for e in range(len(ENGINES)):
        rest = np.flatnonzero(flat.post_sem[execution.stopped[e] : flat.offsets[e + 1]] == sem)
        found += [int(execution.stopped[e] + rest[0])] if len(rest) else []
    return found


def _cycle(graph: dict[str, list[tuple[str, int]]], engine: str) -> list[str]:
    """Engines of a circular wait reached from one engine, or []."""
    path = [engine]
    while True:
        following = [e for e, _ in graph.get(path[-1], []) if e in graph]
        if not following:
            return []
        if following[0] in path:
            return path[path.index(following[0]) :]
        path.append(following[0])


def _finding(flat: Flat, execution: Execution, reporter: Reporter, op: int,
             graph: dict[str, list[tuple[str, int]]]) -> Finding:
    engine, index = flat.place(op)
    sem, value = _unmet(flat, execution, op)[0]
    posts = _missing_posts(flat, execution, sem)
    have = int(execution.values[sem])
    what = f"waits for semaphore {sem} >= {value}, which stays at {have}"
    if not posts:
        return reporter.finding(
            "deadlock", "WAIT_UNREACHABLE", f"{what}: no word that posts to it is left", op, data={"graph": graph},
            help=f"post {value - have} more to semaphore {sem}, or wait for at most {have}")
    cycle = _cycle(graph, engine)
    kind = "circular wait " + " -> ".join([*cycle, cycle[0]]) if cycle else "it waits for a blocked engine"
    places = ", ".join(f"{e}[{i}]" for e, i in (flat.place(p) for p in posts))
    own = any(flat.engine[p] == flat.engine[op] for p in posts)
    advice = (f"{engine}[{index}] waits for a post that stands after it in its own stream" if own else
              f"make the post at {places} reachable without {engine}[{index}], or drop one wait of the circle")
    return reporter.finding(
        "deadlock", "CIRCULAR_WAIT" if cycle else "WAIT_BLOCKED", f"{what}; the next post is at {places}; {kind}", op,
        posts[0], data={"graph": graph}, help=advice)
