"""Trace files: what is written comes back; what is not a trace, or is one of something else, is refused by name."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import trace
from isa.neff import identity, read, write
from isa.program import Program
from isa.trace import TABLES, Cause, Trace, TraceError, load, names_word
from tests.isa.neff_files import make_program

NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)


def sample(runs: int = 2, words: int = 3, seed: int = 0, **scalars: object) -> Trace:
    """A trace of `runs` runs of two models, `words` words and a transfer each, with random times and causes."""
    rng = np.random.default_rng(seed)
    rows = {"runs": runs, "instructions": runs * words, "transfers": runs, "host": 2 * runs, "requests": runs}
    tables = {name: {c: rng.integers(0, 2, n).astype(t) for c, t in TABLES[name].items()} for name, n in rows.items()}
    for name, n in rows.items():
        times = np.sort(rng.integers(0, 1 << 40, (3, n)), axis=0)
        for column, values in zip(("arrival", "start", "end"), times, strict=True):
            if column in TABLES[name]:
                tables[name][column] = values
    number = np.arange(runs)
    tables["runs"]["request"] = number.astype("<i4")
    tables["host"]["request"] = np.repeat(number, 2).astype("<i4")
    tables["runs"]["model"] = tables["requests"]["model"] = (number % 2).astype("<i4")
    tables["host"]["model"] = np.repeat(number % 2, 2).astype("<i4")
    tables["instructions"]["run"] = np.repeat(number, words).astype("<i4")
    tables["transfers"]["run"], tables["transfers"]["op"] = number.astype("<i4"), (number * words).astype("<i4")
    of_word = tables["instructions"]
    of_word["cause"] = rng.integers(0, len(Cause), runs * words).astype("|u1")
    inside = np.repeat(number * words, words) + rng.integers(0, max(words, 1), runs * words)
    of_word["cause_op"] = np.where(of_word["cause"] == Cause.NONE, -1, inside).astype("<i4")
    of_word["cause_id"] = np.where(names_word(of_word["cause"]), inside, of_word["cause_id"]).astype("<i4")
    return Trace(**tables, **{  # type: ignore[arg-type]
        "tick_hz": 5_600_000_000, "target": "trn1.2xlarge", "total_ticks": 1 << 40, **scalars})


def assert_same(a: Trace, b: Trace) -> None:
    for table, schema in TABLES.items():
        for column in schema:
            left, right = getattr(a, table)[column], getattr(b, table)[column]
            assert left.dtype == right.dtype and np.array_equal(left, right), f"{table}.{column}"
    for name in ("tick_hz", "target", "total_ticks", "neff_hashes", "dropped", "notes"):
        assert getattr(a, name) == getattr(b, name), name


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 4), st.integers(0, 5), st.integers(0, 99), NAMES, st.lists(NAMES, max_size=3),
    st.dictionaries(st.sampled_from(list(TABLES)), st.integers(1, 1 << 40)),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, runs: int, words: int, seed: int, target: str,
                    notes: list[str], dropped: dict[str, int]) -> None:
    words = max(words, 1)  # every transfer has its trigger
    made = sample(runs, words, seed, target=target, notes=tuple(notes), dropped=dropped, neff_hashes=("a" * 64, "b"))
    path = tmp_path_factory.getbasetemp() / "round.trace"
    made.save(path)
    assert_same(load(path), made)


def test_same_trace_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sample().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# ---- rows
def test_rows_of_a_run() -> None:
    made = sample(runs=3, words=4)
    assert made.words(1) == slice(4, 8) and made.moves(2) == slice(2, 3) and made.words(7) == slice(12, 12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.integers(0, 99))
def test_the_traces_of_its_models_are_the_trace(runs: int, seed: int) -> None:
    """Every row is in exactly one of them, and names there what it named before."""
    whole = sample(runs, seed=seed, neff_hashes=("first", "second"))
    parts = [whole.of(model) for model in range(whole.models)]
    assert [p.neff_hashes for p in parts] == [("first",), ("second",)]
    for table in TABLES:
        assert sum(len(getattr(p, table)["start"]) for p in parts) == len(getattr(whole, table)["start"])
    waited_for = []
    for part in parts:
        rows = part.instructions
        some = rows["cause_op"] >= 0
        waited_for += rows["start"][rows["cause_op"][some]].tolist()
        assert np.array_equal(rows["cause_id"][names_word(rows["cause"])], rows["cause_op"][names_word(rows["cause"])])
    rows = whole.instructions
    assert sorted(waited_for) == sorted(rows["start"][rows["cause_op"][rows["cause_op"] >= 0]].tolist())


# ---- identity
def test_a_trace_is_of_one_neff(tmp_path: Path) -> None:
    program, other = make_program(), make_program()
    other.name = "another"
    made = sample(neff_hashes=(identity(program), identity(program)))
    write(program, tmp_path / "a.neff")
    stored = read(tmp_path / "a.neff")
    assert stored.seal == identity(program) != identity(other) and len(stored.seal) == 64
    made.check([stored, program])
    for programs, code in (([program, other], "another NEFF"), ([program], "number of models")):
        with pytest.raises(TraceError, match=code) as error:
            made.check(programs)
        assert error.value.code == "TRACE_NEFF"


def test_a_changed_copy_of_a_program_has_its_own_identity(tmp_path: Path) -> None:
    write(make_program(), tmp_path / "a.neff")
    stored: Program = read(tmp_path / "a.neff")
    assert identity(replace(stored, name="changed")) != identity(replace(stored)) == stored.seal


# ---- what is no trace
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
    for position in rng.integers(0, len(data), 700):
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
        m.setattr(trace, "SCHEMA_VERSION", 1)
        sample().save(path)
    with pytest.raises(TraceError) as error:
        load(path)
    assert (error.value.code, error.value.limit, error.value.actual) == ("TRACE_VERSION", 2, 1)
    assert error.value.where == str(path)
    with pytest.raises(TraceError) as error:
        load(tmp_path / "absent.npz")
    assert error.value.code == "TRACE_MISSING"


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, schema_version=np.array([object()], dtype=object))
    with pytest.raises(TraceError):
        load(path)


@pytest.mark.parametrize("table", TABLES)
def test_missing_columns_are_named(tmp_path: Path, table: str) -> None:
    sample().save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as archive:
        np.savez(tmp_path / "part.npz", **{n: archive[n] for n in archive.files if n != f"{table}.start"})
    with pytest.raises(TraceError, match=f"{table}: missing columns start"):
        load(tmp_path / "part.npz")


@pytest.mark.parametrize("table, column, value, text", [
    ("instructions", "cause", 6, "out of range"),
    ("instructions", "cause_op", 6, "out of range"),
    ("instructions", "run", 2, "out of range"),
    ("transfers", "op", -1, "out of range"),
    ("runs", "request", 2, "out of range"),
    ("runs", "wait_for", 5, "out of range"),
    ("host", "kind", 3, "out of range"),
    ("runs", "start", 1 << 41, "ends before it begins"),
    ("requests", "arrival", 1 << 41, "ends before it begins"),
    ("transfers", "end", 1 << 41, "after the last tick"),
    ("instructions", "run", 1, "do not stand together"),
])
def test_rows_that_cannot_be_are_refused(table: str, column: str, value: int, text: str) -> None:
    good = sample()
    damaged = {c: a.copy() for c, a in getattr(good, table).items()}
    damaged[column][0] = value
    with pytest.raises(TraceError, match=text):
        with_table(good, table, damaged)


def test_wrong_columns_are_refused() -> None:
    good = sample()
    start = good.instructions["start"]
    for change in ({"start": start[:1]}, {"start": start.astype(np.float64)}, {"surplus": start}):
        with pytest.raises(TraceError):
            with_table(good, "instructions", {**good.instructions, **change})


def with_table(good: Trace, table: str, columns: dict[str, np.ndarray]) -> Trace:
    tables = {name: getattr(good, name) for name in TABLES}
    return Trace(**{**tables, table: columns}, tick_hz=1, target="x", total_ticks=1 << 40)
