"""Snapshots of running simulations: what tools get to see, and what they refuse to believe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from neuronsim.runtime import Instance
from neuronsim.runtime.environment import NUM_CORES, PROCESS_TAG
from neuronsim.runtime.ownership import snapshot_path
from neuronsim.runtime.telemetry import SNAPSHOT, Each, Maybe, checked, read_snapshots, write_snapshot


def example(schema: Any = SNAPSHOT) -> Any:
    """A smallest value that the schema allows."""
    match schema:
        case Maybe():
            return None
        case Each(inner):
            return {"0": example(inner)}
        case [inner]:
            return [example(inner)]
        case Mapping():
            return {key: example(inner) for key, inner in schema.items()}
    return schema(1)


def test_snapshots_of_living_runtimes_only(tmp_path: Path) -> None:
    assert read_snapshots(tmp_path) == []
    environ = {NUM_CORES: "2", PROCESS_TAG: "one"}
    with Instance("inf1.xlarge", environ, tmp_path) as one, Instance("inf1.xlarge", environ, tmp_path) as two:
        core = example(SNAPSHOT["neuroncores_in_use"].value)
        for number, instance in enumerate((two, one)):
            cores = {str(c): core for c in instance.cores}
            write_snapshot(instance._claim, {**example(), "pid": number, "neuroncores_in_use": cores})
        assert [s["pid"] for s in read_snapshots(tmp_path)] == [1, 0]  # by first core
        assert [s["pid"] for s in read_snapshots(tmp_path, "inf1.xlarge")] == [1, 0]
        assert read_snapshots(tmp_path, "trn1.2xlarge") == []
    assert read_snapshots(tmp_path) == []
    assert sorted(p.name for p in (tmp_path / "inf1.xlarge").iterdir()) == ["mutex"]


def test_machines_of_their_own_are_seen_and_leave_nothing(tmp_path: Path) -> None:
    """Both own all cores of an inf1.xlarge, since neither shares its machine."""
    with Instance("inf1.xlarge", {}, tmp_path, private=True) as one, Instance("inf1.xlarge", {}, tmp_path, True) as two:
        assert one.cores == two.cores == (0, 1, 2, 3)
        for number, instance in enumerate((one, two)):
            write_snapshot(instance._claim, {**example(), "pid": number})
        assert sorted(s["pid"] for s in read_snapshots(tmp_path)) == [0, 1]
        assert len(read_snapshots(tmp_path, "inf1.xlarge")) == 2 and read_snapshots(tmp_path, "inf1.6xlarge") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [
    {"pid": -1}, {"pid": "7"}, {"pid": True}, {"pid": 1.5}, {"simulated_ns": float("inf")}, {"version": 2},
    {"neuroncores_in_use": []}, {"neuroncores_in_use": {str(k): {} for k in range(3)}},
    {"memory_used": {"neuron_runtime_used_bytes": 3, "loaded_models": []}}, {"execution_stats": None},
])  # fmt: skip
def test_what_is_no_snapshot_is_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    with Instance("inf1.xlarge", {}, tmp_path) as instance:
        path = snapshot_path(instance._claim.path)
        path.write_text(json.dumps({**example(), **change}))
        assert read_snapshots(tmp_path) == []
        path.write_text(json.dumps(example()))
        assert read_snapshots(tmp_path) == [example()]


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b" " * (2 << 20), b"null"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    with Instance("inf1.xlarge", {}, tmp_path) as instance:
        snapshot_path(instance._claim.path).write_bytes(content)
        assert read_snapshots(tmp_path) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(example()))
    with Instance("inf1.xlarge", {}, tmp_path) as instance:
        snapshot_path(instance._claim.path).symlink_to(elsewhere)
        assert read_snapshots(tmp_path) == []
        write_snapshot(instance._claim, example())
        assert read_snapshots(tmp_path) == [example()]
    assert elsewhere.exists()


def test_texts_cannot_command_a_terminal() -> None:
    assert checked("a\x1b[2Jb\n" + "x" * 1000, str) == "a?[2Jb?" + "x" * 249


def test_a_snapshot_that_is_too_large_goes_without_models(tmp_path: Path) -> None:
    large = {**example(), "memory_used": {**example()["memory_used"], "loaded_models": ["x" * 100] * 20_000}}
    with Instance("inf1.xlarge", {}, tmp_path) as instance:
        write_snapshot(instance._claim, large)
        assert read_snapshots(tmp_path)[0]["memory_used"]["loaded_models"] == []
