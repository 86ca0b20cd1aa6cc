"""Trace files: what is written comes back; what is not a trace is refused by name."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isa import trace
from isa.trace import INSTRUCTIONS, TRANSFERS, Cause, Trace, TraceError, load


def sample(rows: int = 3) -> Trace:
    instructions = {c: np.arange(rows).astype(t) for c, t in INSTRUCTIONS.items()}
    instructions["cause"][:] = [Cause.NONE, Cause.SEMAPHORE, Cause.RAW][:rows]
    instructions["cause_op"][:1] = -1
    transfers = {c: np.arange(2).astype(t) for c, t in TRANSFERS.items()}
    return Trace(instructions, transfers, 5_600_000_000, "trn1.2xlarge", 77)


def assert_same(a: Trace, b: Trace) -> None:
    for table in ("instructions", "transfers"):
        for column, values in getattr(a, table).items():
            assert np.array_equal(values, getattr(b, table)[column]), column
    assert (a.tick_hz, a.target, a.total_ticks) == (b.tick_hz, b.target, b.total_ticks)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run.trace"
    sample().save(path)
    assert_same(load(path), sample())


def test_same_trace_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sample().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_join_puts_traces_on_one_clock() -> None:
    joined = Trace.join([sample(), sample()])
    assert joined.total_ticks == 154
    assert list(joined.instructions["core"]) == [0, 0, 0, 1, 1, 1]
    assert list(joined.instructions["start"]) == [0, 1, 2, 77, 78, 79]
    assert list(joined.instructions["cause_op"]) == [-1, 1, 2, -1, 4, 5]
    assert list(joined.instructions["cause_id"]) == [0, 1, 2, 0, 1, 5]  # a semaphore keeps its number, a word does not
    assert list(joined.transfers["op"]) == [0, 1, 3, 4]
    with pytest.raises(TraceError):
        Trace.join([])


def test_join_on_stated_cores_with_waits() -> None:
    joined = Trace.join([sample(), sample()], cores=[4, 2], waits=[3, 10])
    assert joined.total_ticks == 3 + 77 + 10 + 77
    assert list(joined.instructions["core"]) == [4, 4, 4, 2, 2, 2]
    assert list(joined.transfers["core"]) == [4, 4, 2, 2]
    assert list(joined.instructions["start"]) == [3, 4, 5, 90, 91, 92]


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_truncated_file_is_corrupt(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "run.npz"
    sample().save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(TraceError) as error:
        load(path)
    assert error.value.code == "TRACE_CORRUPT" and error.value.where == str(path)


def test_flipped_bytes_never_escape_as_other_errors(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    sample().save(path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(data), 1500):
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            load(path)
        except TraceError:
            continue


def test_other_version_and_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.npz"
    with monkeypatch.context() as m:
        m.setattr(trace, "SCHEMA_VERSION", 99)
        sample().save(path)
    with pytest.raises(TraceError) as error:
        load(path)
    assert (error.value.code, error.value.actual) == ("TRACE_VERSION", 99)
    with pytest.raises(TraceError) as error:
        load(tmp_path / "absent.npz")
    assert error.value.code == "TRACE_MISSING"


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, schema_version=np.array([object()], dtype=object))
    with pytest.raises(TraceError):
        load(path)


def test_wrong_columns_are_refused() -> None:
    good = sample()
    for change in ({"start": good.instructions["start"][:1]}, {"start": good.instructions["start"].astype(np.float64)}):
        with pytest.raises(TraceError):
            Trace({**good.instructions, **change}, good.transfers, 1, "x", 0)
