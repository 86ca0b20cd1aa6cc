"""The DMA queue sets of a stage (`dma_queue` of def.json): which engine triggers which queue, for what."""
from __future__ import annotations

import numpy as np

from isa import word
from isa.program import INPUT, OUTPUT, Stage
from isa.transfers import started, triggers


def queue_sets(stage: Stage) -> dict[str, dict[str, object]]:
    """Return queue set name -> {type, owner, num_queues}, one set for each (engine, queue) that is triggered.

    `type` is "in" when the queue only reads model inputs, "out" when it only writes model outputs, else "data".
    `pinned` is there, and true, when only loading the stage triggers the queue: what it brings stays in SBUF.
    """
    sets: dict[str, dict[str, object]] = {}
    for engine in word.ENGINES:
        running, loading = (triggers(s.stream(engine)) for s in (stage, stage.loading))
        both = np.concatenate([running, loading])
        for queue in np.unique(both["op0"]).tolist():
            of_queue = both[both["op0"] == queue]
            made: dict[str, object] = {"type": _type(stage, of_queue), "owner": engine, "num_queues": 1}
            sets[f"{engine}{queue}"] = made if queue in running["op0"] else made | {"pinned": True}
    return sets


def _type(stage: Stage, of_queue: np.ndarray) -> str:
    descriptors = stage.descriptors[started([of_queue], len(stage.descriptors))]
    ids = {kind: [v.id for v in stage.variables if v.kind == kind] for kind in (INPUT, OUTPUT)}
    if len(descriptors) and np.isin(descriptors["src_var"], ids[INPUT]).all():
        return "in"
    if len(descriptors) and np.isin(descriptors["dst_var"], ids[OUTPUT]).all():
        return "out"
    return "data"
