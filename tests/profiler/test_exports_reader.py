"""Both timeline formats in Perfetto's own trace processor: SQL gives the trace's numbers, and no error is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isa.trace import Cause, Trace
from profiler.exports import chrome, perfetto
from tests.profiler import export_traces as traces
from tests.profiler.trace_processor import TraceProcessor, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"Perfetto's trace processor cannot run: {missing()}")

# of each format: the name of a slice's row, and its argument `ticks`
PERFETTO = ("""select g.name, p.name, s.ts, s.dur, extract_arg(s.arg_set_id, 'debug.ticks') from slice s
               join track g on g.id = s.track_id join track p on p.id = g.parent_id""")
CHROME = ("""select t.name, p.name, s.ts, s.dur, extract_arg(s.arg_set_id, 'args.ticks') from slice s
             join thread_track k on k.id = s.track_id join thread t using (utid) join process p using (upid)""")


@pytest.fixture(scope="module")
def trace() -> Trace:
    return traces.random_trace(11, runs=8, words=120)


@pytest.mark.parametrize("write, name, rows", [
    (perfetto.write, "t.pftrace", PERFETTO), (chrome.write, "t.json.gz", CHROME)])
def test_the_real_reader_finds_every_slice_arrow_and_curve(
    tmp_path: Path, trace: Trace, write: Callable[..., None], name: str, rows: str
) -> None:
    write(trace, traces.programs(), traces.machine(), tmp_path / name, usage=())
    with TraceProcessor(tmp_path / name) as reader:
        if name == "t.pftrace":
            check_tree(reader)
        assert reader.problems() == []
        found = Counter((_row(a, b), ts, dur, ticks) for a, b, ts, dur, ticks in reader.rows(rows))
        assert found == Counter({(_last_two(r), *rest): n for (r, *rest), n in traces.shown(trace).items()})
        joined = Counter(reader.rows("select a.ts, b.ts from flow f join slice a on a.id = f.slice_out "
                                     "join slice b on b.id = f.slice_in"))
        assert joined == Counter(_starts(trace)) and joined.total() > 300
        names = {n for (n,) in reader.rows("select distinct name from counter_track")}
        assert {n.split(" ")[0] for n in names} == {"pending", "DRAM", "link"}


def check_tree(reader: TraceProcessor) -> None:
    path = reader.rows("select t.name, c.name, d.name, i.name, i.parent_id from track t join track c "
                       "on c.id = t.parent_id join track d on d.id = c.parent_id join track i on "
                       "i.id = d.parent_id where t.name = 'TensorMatrixE' and c.name = 'NeuronCore 0' limit 1")
    assert path == [("TensorMatrixE", "NeuronCore 0", "device 0", "inf1.6xlarge", None)]
    assert reader.rows("select distinct name, unit from counter_track where name in ('DRAM', 'pending DMA') "
                       "order by name") == [("DRAM", "GB/s"), ("pending DMA", "transfers")]


def test_the_harness_notices_what_the_reader_refuses_and_loses(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"traceEvents":[{"ph":"X","pid":1,"tid":2,"ts":0,"dur":9,"name":"a"},'
                                     '{"ph":"X","pid":1,"tid":2,"ts":5,"dur":9,"name":"b"}]}')
    with TraceProcessor(tmp_path / "t.json") as reader:
        assert [name for name, _ in reader.problems()] == ["slice_drop_overlapping_complete_event"]


def _starts(trace: Trace) -> Iterator[tuple[int, int]]:
    """Nanosecond at which each waiting instruction and what it waited for began."""
    moves = dict(zip(trace.transfers["op"].tolist(), trace.transfers["start"].tolist(), strict=True))
    begin, cause = trace.instructions["start"], trace.instructions["cause"]
    for op, source in traces.waits(trace).items():
        first = moves[source] if cause[op] == Cause.DMA else int(begin[source])
        yield traces.ns(first, trace.tick_hz), traces.ns(int(begin[op]), trace.tick_hz)


def _row(thread: str, process: str) -> str:
    """The row's last two names: lanes and the names of models left out."""
    thread = thread.split(":")[0].split(" (")[0]
    if process == "inf1.6xlarge":
        return thread
    return f"{process.split(' NeuronCore')[0] if ' NeuronCore' not in process else process.split(' ', 2)[2]}/{thread}"


def _last_two(row: str) -> str:
    return "/".join(row.split("/")[-2:])
