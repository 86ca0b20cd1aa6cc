"""The DMA queue sets of a stage (`dma_queue` of def.json): which engine triggers which queue, for what."""
from __future__ import annotations

import numpy as np

from isa import word
from isa.program import INPUT, OUTPUT, Stage
from isa.spec import SPEC


def queue_sets(stage: Stage) -> dict[str, dict[str, object]]:
    """Return queue set name -> {type, owner, num_queues}, one set for each (engine, queue) that is triggered.

    `type` is "in" when the queue only reads model inputs, "out" when it only writes model outputs, else "data".
    `pinned` is there, and true, when only loading the stage triggers the queue: what it brings stays in SBUF.
    """
    sets: dict[str, dict[str, object]] = {}
    for engine in word.ENGINES:
        running, loading = (_triggers(s.stream(engine)) for s in (stage, stage.loading))
        triggers = np.concatenate([running, loading])
        for queue in np.unique(triggers["op0"]).tolist():
            of_queue = triggers[triggers["op0"] == queue]
            made = {"type": _type(stage, of_queue), "owner": engine, "num_queues": 1}
            sets[f"{engine}{queue}"] = made if queue in running["op0"] else made | {"pinned": True}
    return sets


def _triggers(stream: np.ndarray) -> np.ndarray:
    made: np.ndarray = stream[stream["opcode"] == SPEC.by_name["dma_trigger"].opcode]
    return made


def _type(stage: Stage, triggers: np.ndarray) -> str:
    used = _rows(triggers, len(stage.descriptors))
    descriptors = stage.descriptors[used]
    ids = {kind: [v.id for v in stage.variables if v.kind == kind] for kind in (INPUT, OUTPUT)}
    if len(descriptors) and np.isin(descriptors["src_var"], ids[INPUT]).all():
        return "in"
    if len(descriptors) and np.isin(descriptors["dst_var"], ids[OUTPUT]).all():
        return "out"
    return "data"


def _rows(triggers: np.ndarray, descriptors: int) -> np.ndarray:
    """Return the [descriptors] bool mask of rows that any of `triggers` starts; rows out of range do not count."""
    edges = np.zeros(descriptors + 1, dtype=np.int64)
    first = np.minimum(triggers["arg"].astype(np.int64), descriptors)
    last = np.minimum(triggers["arg"].astype(np.int64) + triggers["count"], descriptors)
    np.add.at(edges, first, 1)
    np.add.at(edges, last, -1)
    mask: np.ndarray = np.cumsum(edges)[:descriptors] > 0
    return mask
