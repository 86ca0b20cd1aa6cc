"""The backend as a whole: every hazard is ordered by the emitted semaphores, structure of small programs, spilling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.backend import build, triggers
from compiler.backend.allocate import allocate
from compiler.backend.fit import analysed, fitted
from compiler.backend.schedule import lives
from compiler.backend.synchronise import Synchroniser, Waits, _Life
from compiler.errors import AllocationError
from compiler.options import CompileOptions
from isa import validator
from isa.lang import TileProgram
from isa.program import Stage
from isa.target import Target
from isa.word import ENGINES
from tests.compiler.backend_programs import TRIGGER, Order, cells, random_program, small_target

PSUM = "2"  # memory of a cell; its banks are reused within these programs, its order is the other test's matter


def unordered(stage: Stage) -> list[str]:
    """Pairs of conflicting accesses that the semaphores leave open, or order against the program."""
    order = Order(stage)
    access = {w: cells(stage, *w) for w in order.words}
    touched: dict[tuple[str, int, int], list[tuple[str, int]]] = {}
    for w, (reads, writes) in access.items():
        for cell in reads | writes:
            touched.setdefault(cell, []).append(w)
    pairs = {
        (a, b)
        for cell, users in touched.items()
        for a in users
        for b in users
        if a < b and (cell in access[a][1] or cell in access[b][1])
    }
    found = []
    for a, b in sorted(pairs):
        transfer = any(stage.stream(e)[i]["opcode"] == TRIGGER for e, i in (a, b))
        if a[0] == b[0] and not transfer:
            continue
        if not order.precedes(a, b) and not order.precedes(b, a):
            found.append(f"{a} {b}")
    return found


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6), length=st.integers(5, 45), double_buffer=st.booleans(), level=st.sampled_from([0, 2])
)
def test_every_hazard_is_ordered(seed: int, length: int, double_buffer: bool, level: int) -> None:
    machine = small_target()
    stage = build(random_program(seed, length, machine), CompileOptions(double_buffer=double_buffer, opt_level=level))
    validator.validate(stage, machine)
    assert unordered(stage) == []


def test_a_removed_wait_is_noticed() -> None:
    stage = build(random_program(3, 16, small_target()))
    noticed = 0
    for e in ENGINES:
        for i in np.flatnonzero(stage.stream(e)["wait_sem"][:, 0]):
            kept = int(stage.stream(e)["wait_sem"][i, 0])
            stage.stream(e)["wait_sem"][i, 0] = 0
            noticed += bool(unordered(stage))
            stage.stream(e)["wait_sem"][i, 0] = kept
    assert noticed > 0


@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), length=st.integers(5, 60))
def test_conflicting_instructions_keep_program_order(seed: int, length: int) -> None:
    """On a machine with room for every tile, so that each address belongs to one tile only."""
    machine = small_target(196608)
    stage = build(random_program(seed, length, machine))
    order = Order(stage)
    number = {w: stage.debug[int(stage.stream(w[0])[w[1]]["debug"])].layer for w in order.words}
    access = {w: tuple({c for c in side if c[0] != PSUM} for side in cells(stage, *w)) for w in order.words}
    position = {str(n): n for n in range(length)} | {"last": length}
    for a in order.words:
        for b in order.words:
            if (
                position[number[a]] >= position[number[b]]
                or not access[a][1] & (access[b][0] | access[b][1]) | access[a][0] & access[b][1]
            ):
                continue
            transfer = any(stage.stream(e)[i]["opcode"] == TRIGGER for e, i in (a, b))
            assert a[1] < b[1] if a[0] == b[0] and not transfer else order.precedes(a, b)


def _doubled(loads: int, width: int = 512) -> TileProgram:
    p = TileProgram("trn1.2xlarge")
    x, y = p.input("x", (128 * loads, width), "fp32"), p.output("y", (128 * loads, width), "fp32")
    for k in range(loads):
        with p.layer(f"block{k}", "Mul"):
            t = p.sbuf((128, width), "fp32")
            p.dma(t, x[k * 128 : (k + 1) * 128])
            o = p.sbuf((128, width), "fp32")
            p.tensor_scalar(o, t, "mult", 2.0)
            p.dma(y[k * 128 : (k + 1) * 128], o)
    return p


def test_double_buffered_elementwise() -> None:
    stage = build(_doubled(8))
    loads, work, stores = (stage.stream(e) for e in ("sync", "vector", "gpsimd"))
    assert len(loads) == len(work) == len(stores) == 8
    assert not loads["wait_sem"].any()  # everything fits: no load waits for anything
    assert (work["wait_sem"][:, 0] >= 16).all()
    assert (work["wait_val"][:, 0] == 16).all()
    assert (stores["wait_sem"][:, 0] == ENGINES.index("vector") + 1).all()
    assert stores["wait_val"][:, 0].tolist() == list(range(1, 9))


def test_prefetch_shortens_the_estimate() -> None:
    on = build(_doubled(8)).info["estimated_ns"]
    off = build(_doubled(8), CompileOptions(opt_level=0)).info["estimated_ns"]
    assert on <= off  # type: ignore[operator]


def test_matmul_group_waits_once() -> None:
    p = TileProgram("trn1.2xlarge")
    x, y = p.input("x", (128, 4, 128), "bf16"), p.output("y", (128, 128), "fp32")
    t = p.sbuf((128, 4, 128), "bf16")
    p.dma(t, x)
    ps = p.psum((128, 128))
    for k in range(4):
        p.load_stationary(t[:, k])
        p.matmul(ps, t[:, k], start=k == 0, stop=k == 3)
    o = p.sbuf((128, 128), "fp32")
    p.activation(o, ps, "relu")
    p.dma(y, o)
    stage = build(p)
    tensor = stage.stream("tensor")
    assert np.count_nonzero(tensor["wait_sem"]) == 1
    assert tensor["post_sem"].tolist() == [0] * 7 + [1]
    assert stage.stream("scalar")["wait_sem"].tolist() == [[1, 0]]


def test_same_program_same_bytes() -> None:
    a, b = (build(random_program(11, 40, small_target())) for _ in range(2))
    assert a.descriptors.tobytes() == b.descriptors.tobytes()
    assert all(a.stream(e).tobytes() == b.stream(e).tobytes() for e in ENGINES)


def crowded(machine: Target) -> TileProgram:
    """Ten tiles of 1 KiB alive at once where 4 KiB fit: five written by the vector engine, five loaded."""
    p = TileProgram(machine)
    x, y = p.input("x", (10, 128, 256), "fp32"), p.output("y", (10, 128, 256), "fp32")
    tiles = [p.sbuf((128, 256), "fp32") for _ in range(10)]
    for k, t in enumerate(tiles):
        p.dma(t, x[k]) if k % 2 else p.memset(t, float(k))
        p.nop("vector")
        p.tensor_scalar(t, t, "add", 1.0) if k % 4 == 0 else p.nop("vector")
    for _ in range(12):
        p.nop("vector")
    for k, t in enumerate(tiles):
        p.dma(y[k], t)
    return p


def test_spills_when_tiles_do_not_fit() -> None:
    program = crowded(small_target())
    stage = build(program)
    validator.validate(stage, program.target)
    assert stage.sbuf_peak_bytes <= 4096
    assert stage.info["spill_bytes"] > 0  # type: ignore[operator]
    assert {"spill", "reload"} <= {d.purpose for d in stage.debug}


def test_what_cannot_fit_is_an_error_with_numbers() -> None:
    p = TileProgram(small_target())
    a, b, c = (p.sbuf((128, 512), "fp32") for _ in range(3))
    with p.layer("wide"):
        p.memset(a, 0.0)
        p.memset(b, 0.0)
        p.tensor_tensor(c, a, b, "add")
    with pytest.raises(AllocationError) as caught:
        build(p)
    error = caught.value
    assert (error.memory, error.have, error.layer) == ("sbuf", 4096, "wide")
    assert error.need == 6144


def test_reused_bytes_keep_how_far_earlier_accesses_reach() -> None:
    """A tile of few partitions orders a later, taller one only behind what it followed itself on those partitions."""
    life = _Life(9, inherited={3: 128, 4: 9, 5: 128})
    life.engines[0] = 7
    life.follow({3, 4})
    assert life.reach() == {3: 128, 5: 128, 7: 9}


@pytest.mark.parametrize("seed", range(4))
def test_what_owners_of_bytes_have_waited_for_is_not_handed_on(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, from a fraction of the positions; without it their number grows with the program's length."""
    machine = small_target()
    program = random_program(seed, 600, machine)
    code, _ = fitted(analysed(program.instrs, program.tiles, program.tensors, program.debug), machine)
    engines, _ = triggers.assign(code.instrs, machine)
    order = range(len(code.instrs))
    places = allocate(code.tiles, lives(order, code.accesses, len(code.tiles)), len(order), machine).offsets

    def handed_on() -> tuple[Waits, int]:
        sync = Synchroniser(code.instrs, code.accesses, engines, places, machine.semaphores)
        waits = sync.run(order, {})
        return waits, sum(len(sync._left_by(t)) for t in sync.tile_life)

    few, count = handed_on()
    monkeypatch.setattr(Synchroniser, "_left_by", lambda self, t: sorted(self.tile_life[t].reach().items()))
    many, all_of_them = handed_on()
    assert (few.waits, few.posts) == (many.waits, many.posts)
    assert 3 * count < all_of_them
