"""Writes of a run to what loading the stage has brought: the next run would read something else.

Machines differ from the simulation here: values (`neuronsim/values.py`) put pinned bytes back before every run.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from neuronsim.check.regions import SBUF_MEMORY, Accesses
from neuronsim.check.report import Finding, Reporter


def find(accesses: Accesses, loaded: Accesses, reporter: Reporter, loading: Reporter, limit: int) -> list[Finding]:
    """Return one finding per word that writes bytes of `loaded`, at most `limit`.

    `loaded` are the writes to SBUF of loading, `loading` names their words.
    """
    writes = accesses.written_sbuf().records
    findings: dict[int, Finding] = {}
    for write, pin in _meeting(writes, loaded.records):
        if len(findings) == limit:
            break
        findings.setdefault(int(write["op"]), _finding(write, pin, reporter, loading))
    return list(findings.values())


def _meeting(writes: np.ndarray, pins: np.ndarray) -> Iterator[tuple[np.void, np.void]]:
    """Yield each write that shares a byte with a pinned region, and the first such region."""
    if not len(pins):
        return
    by_start = pins[np.argsort(pins["lo"], kind="stable")]
    before = np.searchsorted(by_start["lo"], writes["hi"])  # regions that start before the write ends
    reach = np.concatenate([[0], np.maximum.accumulate(by_start["hi"])])
    joined = Accesses(np.concatenate([pins, writes]), np.zeros(0, dtype=np.int64))
    for i in np.flatnonzero(reach[before] > writes["lo"]).tolist():
        w = writes[i]
        near = (pins["lo"] < w["hi"]) & (pins["hi"] > w["lo"]) & (pins["p0"] < w["p1"]) & (pins["p1"] > w["p0"])
        hit = next((k for k in np.flatnonzero(near).tolist() if joined.overlap(k, len(pins) + i)), None)
        if hit is not None:
            yield w, pins[hit]


def _finding(write: np.void, pin: np.void, reporter: Reporter, loading: Reporter) -> Finding:
    source = int(pin["op"])
    engine, index = loading.flat.place(source)
    found = reporter.finding(
        "pinned", "WRITE_PINNED", f"writes what {loading.name(source)} brings once: the next run would read "
        "something else", int(write["op"]), memory=SBUF_MEMORY,
        partitions=(max(int(write["p0"]), int(pin["p0"])), min(int(write["p1"]), int(pin["p1"]))),
        bytes=(max(int(write["lo"]), int(pin["lo"])), min(int(write["hi"]), int(pin["hi"]))),
        help="write elsewhere, or fetch in every run what does not stay")
    return replace(found, other_engine=engine, other_index=index, other_layer=loading.layer(source))
