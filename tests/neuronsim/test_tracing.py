"""What a profile records: every word and transfer of every run exactly once, at its time, with what it waited for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import cost
from isa import target as targets
from isa.neff import identity
from isa.program import Program, Stage
from isa.spec import SPEC
from isa.trace import TABLES, HostKind, RunWait, Trace, TraceError
from isa.word import ENGINES, WORD
from neuronsim.api import Neff, Profile
from neuronsim.runtime import Instance
from neuronsim.runtime.environment import GROUP_SIZES, NUM_CORES
from neuronsim.serving import Load, ServingError, closed, poisson, serve
from neuronsim.tracing import MAX_ROWS, Recorder
from tests.neuronsim.host_models import sandwich
from tests.neuronsim.runtime_programs import on_one_core, pinned, pipeline
from tests.neuronsim.serving_programs import placed, program

XLARGE, INF1 = targets.load("inf1.xlarge"), targets.load("inf1.6xlarge")
SIGNAL = XLARGE.ns_to_ticks(XLARGE.semaphore_latency_ns)


def profiled(programs: Sequence[Program], loads: Sequence[Load], environ: dict[str, str],
             max_rows: int = MAX_ROWS) -> Profile:
    """Each program in its group, or all on the same cores, under its load."""
    with Instance("inf1.xlarge", environ, private=True) as instance:
        models = [instance.load(p) for p in programs]
        return instance.profile(list(zip(models, loads, strict=True)), max_rows)


def assert_same(a: Trace, b: Trace) -> None:
    for table, schema in TABLES.items():
        for column in schema:
            assert np.array_equal(getattr(a, table)[column], getattr(b, table)[column]), f"{table}.{column}"
    assert (a.total_ticks, a.target, a.neff_hashes) == (b.total_ticks, b.target, b.neff_hashes)


def check(trace: Trace, programs: Sequence[Program], credit: int = SIGNAL) -> None:
    """What holds for every complete trace."""
    trace.check(programs)
    runs = trace.runs
    for run in range(len(runs["start"])):
        stage = programs[runs["model"][run]].stages[runs["stage"][run]]
        check_run(trace, run, stage)
    for core in np.unique(runs["core"]):
        mine = runs["core"] == core
        before = np.concatenate([[0], runs["end"][mine][:-1]])
        assert np.array_equal(runs["start"][mine] - before, runs["wait"][mine])
        assert (runs["wait"][mine] >= runs["switch"][mine] + credit).all()
    at_once = (runs["wait_for"] == RunWait.NONE)
    assert (runs["wait"][at_once] == runs["switch"][at_once] + credit).all()
    assert (runs["wait"][~at_once] > credit).all()
    check_requests(trace)


def check_run(trace: Trace, run: int, stage: Stage) -> None:
    """The words and transfers of the stage, each once, within the run."""
    words, moves = trace.words(run), trace.moves(run)
    rows = {c: a[words] for c, a in trace.instructions.items()}
    streams = [stage.stream(e) for e in ENGINES]
    assert rows["engine"].tolist() == [k for k, s in enumerate(streams) for _ in s]
    assert rows["index"].tolist() == [i for s in streams for i in range(len(s))]
    for column in ("opcode", "debug"):
        assert np.array_equal(rows[column], np.concatenate([s[column] for s in streams]))
    start, end = trace.runs["start"][run], trace.runs["end"][run]
    assert (rows["wait_start"] >= start).all() and rows["retire"].max(initial=0) <= end
    some = rows["cause_op"] >= 0
    assert (rows["cause_op"][some] >= words.start).all() and (rows["cause_op"][some] < words.stop).all()
    moved = {c: a[moves] for c, a in trace.transfers.items()}
    assert (moved["enqueue"] >= start).all() and moved["end"].max(initial=0) <= end
    ops = np.flatnonzero(rows["opcode"] == SPEC.by_name["dma_trigger"].opcode)
    assert np.array_equal(moved["op"], ops + words.start)
    assert max(rows["retire"].max(initial=0), moved["end"].max(initial=0)) == end
    triggers = np.concatenate(streams)[ops]
    named = np.concatenate([np.arange(a, a + n) for a, n in zip(triggers["arg"], triggers["count"], strict=True)])
    read, written, delivered = cost.dma_bytes(stage.descriptors[named], cost.sbuf_variables(stage))
    assert [moved[c].sum() for c in ("read", "written", "bytes")] == [read.sum(), written.sum(), delivered.sum()]


def check_requests(trace: Trace) -> None:
    """Everything for a request happens between its start and its end."""
    for table in (trace.runs, trace.host):
        request = table["request"]
        assert np.array_equal(table["model"], trace.requests["model"][request])
        assert (table["start"] >= trace.requests["start"][request]).all()
        assert (table["end"] <= trace.requests["end"][request]).all()
    assert trace.total_ticks == trace.requests["end"].max(initial=0)


# ---- one run, and many
def test_a_single_run_is_a_profile_of_one_request() -> None:
    neff = Neff(program(8, 512, 64, pipeline=4))
    assert_same(neff.run(mode="timing").trace, neff.profile().trace)
    check(neff.profile().trace, [neff.program])


def test_segments_of_the_host_are_recorded() -> None:
    neff = Neff(sandwich())
    trace = neff.profile(requests=3, in_flight=3).trace
    kinds = [HostKind(k) for k in trace.host["kind"][trace.host["request"] == 1]]
    assert kinds == [HostKind.CPU, HostKind.LINK_IN, HostKind.LINK_OUT, HostKind.CPU]
    assert trace.host["node"][trace.host["request"] == 1].tolist() == [0, 1, 1, 2]
    alone = neff.run(mode="timing").trace
    assert (alone.host["end"] - alone.host["start"]).tolist() == (
        trace.host["end"] - trace.host["start"])[trace.host["request"] == 1].tolist()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 2), st.booleans())
def test_everything_of_every_run_is_there_once(requests: int, in_flight: int, copies: int, shared: bool) -> None:
    """Copies that fetch their weights from the same DRAM, or pipelines; and recording changes nothing."""
    compiled = program(2, 256, 32) if shared else program(2, 256, 32, pipeline=2)
    with Instance("inf1.xlarge", {}, private=True) as instance:
        model, load = instance.data_parallel(Neff(compiled), copies), closed(requests, in_flight)
        profile, served = instance.profile([(model, load)]), instance.serve([(model, load)], "machine")
    trace = profile.trace
    check(trace, [compiled])
    stages = len(compiled.stages)
    assert len(trace.runs["start"]) == requests * stages and len(trace.host["start"]) == 2 * requests
    assert trace.requests["end"].tolist() == served.loads[0].end.tolist() == profile.served.loads[0].end.tolist()
    words = sum(len(s) for stage in compiled.stages for s in stage.streams.values())
    assert len(trace.instructions["start"]) == requests * words
    assert trace.transfers["read"].sum() + trace.transfers["written"].sum() == served.dram_bytes.sum()
    busy = {c.index: round(c.busy_ns * XLARGE.tick_hz / 1e9) for c in served.cores}
    for core, ticks in busy.items():
        mine = trace.runs["core"] == core
        assert (trace.runs["end"] - trace.runs["start"])[mine].sum() == ticks


def test_rows_of_requests_and_the_identity_of_programs() -> None:
    compiled = program(2, 256, 32)
    (load,) = [Load(3, in_flight=3, rows=[32, 80, 1])]
    trace = profiled([compiled], [load], {NUM_CORES: "1"}).trace
    assert trace.requests["rows"].tolist() == [32, 80, 1]
    assert np.bincount(trace.runs["request"]).tolist() == [1, 3, 1]  # pieces of 32 rows
    assert trace.neff_hashes == (identity(compiled),)
    with pytest.raises(TraceError, match="another NEFF"):
        trace.check([program(2, 256, 16)])


def test_values_come_with_the_profile_where_asked() -> None:
    neff = Neff(pipeline(2))
    x = np.linspace(-1, 1, 8 * 16, dtype=np.float32).reshape(8, 16)
    profile = neff.profile({"t0": x}, requests=2)
    assert profile.result is not None and np.array_equal(profile.result.outputs["t2"], np.maximum(x, 0))
    assert neff.profile().result is None
    assert profile.summary.metrics["dma_transfer_total_bytes"] == profile.trace.transfers["bytes"].sum() > 0


# ---- what cores wait for
def causes(trace: Trace, core: int) -> list[RunWait]:
    return [RunWait(c) for c in trace.runs["wait_for"][trace.runs["core"] == core]]


def test_one_client_leaves_cores_without_work() -> None:
    trace = Neff(pipeline(2)).profile(requests=3).trace
    assert causes(trace, 0) == [RunWait.INPUT, RunWait.WORK, RunWait.WORK]
    check(trace, [pipeline(2)])


def test_a_slow_stage_starves_the_next_and_blocks_the_one_before() -> None:
    """The first waits for room, the last for input, the slow one for nothing."""
    slow = uneven()
    trace = Neff(slow).profile(requests=12, in_flight=12).trace
    assert set(causes(trace, 0)[4:-1]) == {RunWait.ROOM}
    assert set(causes(trace, 1)[2:]) == {RunWait.NONE}
    assert set(causes(trace, 2)[1:]) == {RunWait.INPUT}


def uneven() -> Program:
    """A pipeline of three relus; the scalar engine of the second one does nothing 40,000 times before its own."""
    made = pipeline(3, space="sbuf")
    stage = made.stages[1]
    pause = np.zeros(40_000, WORD)
    pause["opcode"] = SPEC.by_name["nop"].opcode
    longer = {**stage.streams, "scalar": np.concatenate([pause, stage.stream("scalar")])}
    return replace(made, stages=[made.stages[0], replace(stage, streams=longer), made.stages[2]])


def test_models_on_one_core_take_turns_and_switch() -> None:
    first, second = program(2, 256, 32), program(3, 256, 32)
    profile = profiled([first, second], [closed(3, 1)] * 2, {NUM_CORES: "1"})
    trace = profile.trace
    check(trace, [first, second])
    assert trace.runs["model"].tolist() == [0, 1, 0, 1, 0, 1]
    (core,) = profile.served.cores
    assert core.switches == 5 == (trace.runs["switch"] > 0).sum()
    assert trace.runs["switch"].sum() == round(core.switch_ns * XLARGE.tick_hz / 1e9)
    assert causes(trace, 0)[1:] == [RunWait.SWITCH] * 5
    assert [trace.of(m).neff_hashes for m in (0, 1)] == [(identity(first),), (identity(second),)]
    check_run(trace.of(1), 2, second.stages[0])


def test_runs_are_in_order_of_their_start_when_others_switch() -> None:
    """Between the choice of a run and its start the core is switched; runs that others begin meanwhile come first."""
    programs = [program(2, 256, 32), program(3, 256, 32), program(2, 256, 16)]
    with Instance("inf1.xlarge", {GROUP_SIZES: "1,1"}, private=True) as instance:
        loaded = [instance.load(p, group=g) for p, g in zip(programs, (0, 0, 1), strict=True)]
        trace = instance.profile([(m, closed(n, 1)) for m, n in zip(loaded, (3, 3, 40), strict=True)]).trace
    check(trace, programs)
    assert (np.diff(trace.runs["start"]) >= 0).all()
    switched = np.flatnonzero(trace.runs["switch"])
    settled = trace.runs["start"] - trace.runs["switch"]
    assert any((settled[k] < settled[:k]).any() for k in switched)  # it was chosen before some that stand before it


# ---- bounds
@pytest.mark.parametrize("requests_kept", [0, 1, 3])
def test_runs_beyond_the_bound_are_counted_and_announced(requests_kept: int) -> None:
    compiled = program(2, 256, 32)
    whole = profiled([compiled], [closed(5, 1)], {}).trace
    sizes = {t: len(getattr(whole, t)["start"]) // 5 for t in ("runs", "instructions", "transfers", "host")}
    part = profiled([compiled], [closed(5, 1)], {}, max_rows=sum(sizes.values()) * requests_kept).trace
    assert part.dropped == {t: (5 - requests_kept) * n for t, n in sizes.items()}
    assert len(part.requests["end"]) == 5 and part.total_ticks == whole.total_ticks
    for table, n in sizes.items():
        for column in TABLES[table]:
            kept = getattr(whole, table)[column][: requests_kept * n]
            assert np.array_equal(getattr(part, table)[column], kept), column
    (note,) = part.notes
    assert f"{part.dropped['instructions']} instructions" in note and "dropped" in note
    assert not whole.dropped and not whole.notes


def test_recording_costs_less_than_what_is_recorded() -> None:
    """A pipeline of small stages, for which a run costs most beside its words; 1.2 to 1.7 times on an idle machine."""
    with Instance("inf1.xlarge", {}, private=True) as instance:
        loads = [(instance.load(program(8, 512, 64, pipeline=4)), closed(150, 8))]
        times = [(seconds(lambda: instance.serve(loads, "machine")), seconds(lambda: instance.profile(loads)))
                 for _ in range(9)]
    assert min(profile for _, profile in times) < 2 * min(plain for plain, _ in times)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_only_the_machine_can_be_recorded() -> None:
    compiled = program(2, 256, 32)
    with pytest.raises(ServingError, match="no instructions"):
        serve([placed(compiled, (0,))], [closed(3, 1)], XLARGE, "approximate", recorder=Recorder([compiled], XLARGE))


# ---- what transfers wait for
def test_copies_on_one_chip_wait_for_its_dram() -> None:
    compiled = program(2, 512, 32)
    alone = profiled([compiled], [closed(2, 1)], {NUM_CORES: "1"}).trace
    with Instance("inf1.xlarge", {}, private=True) as instance:
        together = instance.profile([(instance.data_parallel(Neff(compiled), 4), closed(8, 4))]).trace
    assert together.transfers["dram_wait"].sum() > 3 * alone.transfers["dram_wait"].sum() / 2
    for trace in (alone, together):
        moved = trace.transfers
        assert (moved["dram_wait"] <= moved["end"] - moved["start"]).all() and not moved["link_wait"].any()


def test_links_between_chips_are_waited_for() -> None:
    slow = INF1.with_params({"link.bytes_per_ns": 0.05})
    for space, machine in itertools.product(("sbuf", "dram"), (INF1, slow)):
        trace = Neff(pipeline(6, space=space)).profile(requests=4, in_flight=4, instance=machine).trace
        across = trace.transfers["link_bytes"] > 0
        assert set(trace.transfers["core"][across]) == {3}  # the last core of the first chip hands on to the next
        assert trace.transfers["link_bytes"][across].tolist() == trace.transfers["bytes"][across].tolist()
        waited = trace.transfers["link_wait"]
        assert not waited[~across].any() and (machine is INF1 or (waited[across] > 0).all())
        assert (waited <= trace.transfers["end"] - trace.transfers["start"]).all()


def test_arrivals_at_random_are_recorded() -> None:
    compiled = program(2, 256, 32, pipeline=2)
    trace = profiled([compiled], [poisson(20, 40_000, seed=3)], {}).trace
    check(trace, [compiled])
    assert RunWait.WORK in causes(trace, 0)


def test_a_program_without_pipeline_runs_its_stages_by_way_of_the_host() -> None:
    compiled = on_one_core(pipeline(3))
    neff = Neff(compiled)
    trace = neff.run(mode="timing").trace
    assert trace.runs["stage"].tolist() == [0, 1, 2] and set(trace.runs["core"]) == {0}
    assert trace.host["kind"].tolist() == [HostKind.LINK_IN, HostKind.LINK_OUT] * 3
    check(trace, [compiled], credit=0)
    check(neff.profile(requests=2, in_flight=2).trace, [compiled])


def test_pinned_weights_and_groups() -> None:
    model = pinned()
    with Instance("trn1.2xlarge", {GROUP_SIZES: "1,1"}, private=True) as instance:
        loaded = [instance.load(model, group=k) for k in (0, 1)]
        profile = instance.profile([(m, closed(2, 1)) for m in loaded])
    assert profile.trace.models == 2 and sorted(set(profile.trace.runs["core"])) == [0, 1]
    assert profile.trace.neff_hashes[0] == profile.trace.neff_hashes[1]
