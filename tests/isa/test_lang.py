"""Tile programs: views behave as numpy says, mistakes raise where they are written, transfers move the right bytes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isa.lang import Copy, DramView, LangError, TileProgram, View
from isa.word import SBUF_PARTITION_STRIDE


@pytest.fixture
def p() -> TileProgram:
    return TileProgram("trn1.2xlarge")


def _elements(v: View) -> np.ndarray:
    """Element numbers (within the tile's partition) a view walks over, one partition, in operand order."""
    steps, sizes, count, _, _ = v.pattern()
    grid = np.indices(sizes).reshape(4, -1)
    assert grid.shape[1] == count
    return v.start // v.dtype.size + np.array(steps) @ grid


STEPS = st.lists(st.sampled_from(["slice", "permute", "reshape", "none", "every"]), max_size=4)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS, st.randoms(use_true_random=False))
def test_views_walk_like_numpy(operations: list[str], rng: object) -> None:
    p = TileProgram("trn1.2xlarge")
    view = p.sbuf((8, 4, 6, 2), "bf16")
    array = np.arange(48).reshape(4, 6, 2)
    choose = rng.randrange  # type: ignore[attr-defined]
    for operation in operations:
        dims = array.ndim
        if operation == "slice":
            cut = tuple(slice(choose(n), None) for n in array.shape)
            view, array = view[(slice(None), *cut)], array[cut]
        elif operation == "every":
            view, array = view[..., ::2], array[..., ::2]
        elif operation == "none":
            view, array = view[:, None], array[None]
        elif operation == "permute":
            order = list(range(dims))
            rng.shuffle(order)  # type: ignore[attr-defined]
            view, array = view.permute(*order), array.transpose(order)
        else:
            try:
                view = view.reshape(-1)
            except LangError:
                continue
            array = array.reshape(-1)
    assert view.sizes == array.shape
    try:
        walked = _elements(view)
    except LangError as error:
        assume(error.code != "LANG_DIMS")
        raise
    assert walked.tolist() == array.reshape(-1).tolist()


def test_slicing_partitions_and_bytes(p: TileProgram) -> None:
    v = p.sbuf((128, 10, 20), "fp32")[32:64, 3, 4:10:2]
    assert (v.partition, v.partitions, v.start, v.sizes, v.steps) == (32, 32, 256, (3,), (2,))
    assert v[-1].shape == (1, 3)
    assert v.shape == (32, 3)


def test_contiguous_dimensions_merge_to_one(p: TileProgram) -> None:
    v = p.sbuf((128, 2, 3, 4, 5, 6, 7), "bf16")
    assert v.pattern()[:3] == ((0, 0, 0, 1), (1, 1, 1, 5040), 5040)


def test_broadcast_and_raw_pattern(p: TileProgram) -> None:
    t = p.sbuf((128, 16), "fp32")
    assert t[:, None].broadcast(0, 3).pattern()[0][2:] == (0, 1)
    assert t.ap(2, (4, 1), (3, 2)).pattern()[3:] == (8, 48)
    with pytest.raises(LangError, match="leaves") as caught:
        t.ap(10, (4, 1), (3, 2))
    assert caught.value.code == "LANG_BOUNDS"


def test_bitcast(p: TileProgram) -> None:
    assert p.sbuf((4, 8), "fp32").bitcast("uint16").sizes == (16,)
    x = p.input("i", (3, 5), "int64").bitcast("int32")
    assert (x.shape, x.steps) == ((3, 10), (40, 4))


MISTAKES = {
    "LANG_DIMS": lambda p, t, ps: p.memset(p.sbuf((8, 4, 4, 4, 4, 4), "fp32")[:, ::2, ::2, ::2, ::2, ::2]),
    "LANG_PARTITION": lambda p, t, ps: p.memset(t[1:65]),
    "LANG_SHAPE": lambda p, t, ps: p.tensor_tensor(t, t, t[:, :8], "add"),
    "LANG_OP": lambda p, t, ps: p.tensor_tensor(t, t, t, "plus"),
    "LANG_ENGINE": lambda p, t, ps: p.tensor_tensor(t, t, t, "add", engine="scalar"),
    "LANG_MEMORY": lambda p, t, ps: p.tensor_copy(t[:, :16], ps[:, :16], engine="gpsimd"),
    "LANG_ORDER": lambda p, t, ps: p.matmul(ps, t),
    "LANG_INDEX": lambda p, t, ps: t[:, 99],
    "LANG_RESHAPE": lambda p, t, ps: t.reshape(5, 5),
    "LANG_NAME": lambda p, t, ps: (p.input("a", (1,), "fp32"), p.output("a", (1,), "fp32")),
    "LANG_DTYPE": lambda p, t, ps: p.sbuf((1, 1), "int64"),
    "LANG_BITCAST": lambda p, t, ps: t[:, ::2].bitcast("uint8"),
}


@pytest.mark.parametrize("code", MISTAKES)
def test_mistakes_raise_at_the_call(p: TileProgram, code: str) -> None:
    with pytest.raises(LangError) as caught:
        MISTAKES[code](p, p.sbuf((128, 64), "fp32"), p.psum((128, 64)))
    assert caught.value.code == code


def test_matmul_checks(p: TileProgram) -> None:
    w, x = p.sbuf((64, 32), "bf16"), p.sbuf((128, 512), "bf16")
    p.load_stationary(w)
    p.matmul(p.psum((32, 512)), x[:64])
    with pytest.raises(LangError, match="partitions of the stationary"):
        p.matmul(p.psum((32, 512)), x)
    with pytest.raises(LangError, match="crosses a PSUM bank"):
        p.matmul(p.psum((32, 1024))[:, 256:768], x[:64])
    assert len(p.instrs) == 2


def test_absent_engine_and_dma_cast_on_v1() -> None:
    p = TileProgram("inf1.xlarge")
    t = p.sbuf((128, 4), "fp32")
    with pytest.raises(LangError) as caught:
        p.memset(t, engine="gpsimd")
    assert caught.value.code == "LANG_ENGINE"
    with pytest.raises(LangError) as caught:
        p.dma(t, p.input("x", (128, 4), "bf16"))
    assert caught.value.code == "LANG_DMA"


def test_tensor_reduce_counts_encoded_axes(p: TileProgram) -> None:
    t, r = p.sbuf((128, 3, 4, 5), "fp32"), p.sbuf((128, 12), "fp32")
    p.tensor_reduce(r, t, "max")
    assert (p.instrs[-1].axes, p.instrs[-1].src0.pattern()[1]) == (1, (1, 1, 12, 5))  # type: ignore[union-attr]
    p.tensor_reduce(r[:, :3], t[:, :, ::2, ::2], "add", axes=2)
    assert (p.instrs[-1].axes, p.instrs[-1].src0.pattern()[1]) == (2, (1, 3, 2, 3))  # type: ignore[union-attr]
    p.tensor_reduce(r, t[..., :1], "max")
    assert (p.instrs[-1].axes, p.instrs[-1].src0.pattern()[1]) == (1, (1, 1, 12, 1))  # type: ignore[union-attr]


# ---- transfers
def _addresses(c: Copy) -> tuple[np.ndarray, np.ndarray]:
    grid = np.indices(c.sizes).reshape(len(c.sizes), -1)
    return c.dst_off + np.array(c.dst_steps) @ grid, c.src_off + np.array(c.src_steps) @ grid


def _walk(v: View | DramView) -> list[int]:
    """Byte address of each element of one side, row-major."""
    if isinstance(v, DramView):
        return (v.offset + np.tensordot(np.array(v.steps), np.indices(v.shape), 1)).reshape(-1).tolist()
    steps = (SBUF_PARTITION_STRIDE, *(s * v.dtype.size for s in v.steps))
    base = v.partition * SBUF_PARTITION_STRIDE + v.start
    return (base + np.tensordot(np.array(steps), np.indices(v.shape), 1)).reshape(-1).tolist()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.permutations(range(5)), st.sampled_from([(4, 90), (8, 3, 15), (4, 2, 3, 15), (24, 15)]), st.booleans())
def test_transfers_move_every_element_once(order: list[int], shape: tuple[int, ...], strided: bool) -> None:
    p = TileProgram("trn1.2xlarge")
    x = p.input("x", (2, 4, 3, 5, 3), "bf16").permute(*order)
    dst = p.sbuf((shape[0], *shape[1:-1], shape[-1] * 2), "bf16")[..., ::2] if strided else p.sbuf(shape, "bf16")
    try:
        p.dma(dst, x)
    except LangError as error:
        assume(error.code != "LANG_SHAPE")  # dimensions that do not nest
        raise
    copies = p.instrs[-1].copies
    assert copies is not None
    assert all(len(c.sizes) <= 4 for c in copies)
    moved: dict[int, int] = {}
    for c in copies:
        d, s = _addresses(c)
        moved |= dict(zip(d.tolist(), s.tolist()))
    assert moved == dict(zip(_walk(dst), _walk(x)))


def test_many_dimensions_become_one_transfer_of_several_descriptors(p: TileProgram) -> None:
    x = p.input("x", (4, 3, 5, 7, 9), "fp32").permute(4, 1, 3, 0, 2)
    p.dma(p.sbuf((9, 3, 7, 4, 5), "fp32"), x)
    assert len(p.instrs) == 1
    assert len(p.instrs[0].copies or []) == 3


def test_gather_descriptor(p: TileProgram) -> None:
    table, index = p.input("t", (100, 32), "fp32"), p.sbuf((16, 1), "int32")
    p.dma_gather(p.sbuf((16, 32), "fp32"), table, index, 100)
    (c,) = p.instrs[-1].copies or []
    assert (c.sizes, c.src_steps, c.index_step, c.index_limit) == (
        (16, 1, 1, 32),
        (128, 0, 0, 4),
        SBUF_PARTITION_STRIDE,
        100,
    )
    with pytest.raises(LangError, match="one index for each"):
        p.dma_gather(p.sbuf((8, 32), "fp32"), table, index)


def test_constants_keep_their_bytes(p: TileProgram) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T.astype(ml_dtypes.bfloat16)
    w = p.constant("w", values)
    assert w.tensor.data is not None
    assert w.tensor.data.tobytes() == np.ascontiguousarray(values).tobytes()
    assert (w.dtype.name, w.shape) == ("bf16", (3, 2))


def test_faces_say_where_they_lie(p: TileProgram) -> None:
    near, far = p.input("near", (2,), "fp32", space="sbuf"), p.output("far", (2,), "fp32")
    assert (near.tensor.space, far.tensor.space) == ("sbuf", "dram")
    with pytest.raises(LangError, match="cannot lie"):
        p.input("x", (2,), "fp32", space="psum")


def test_layers_and_purposes_become_debug_rows(p: TileProgram) -> None:
    t, y = p.sbuf((4, 4), "fp32"), p.output("y", (4, 4), "fp32")
    with p.layer("conv1", "Conv+Relu", "a,b", macs=77):
        p.memset(t)
        p.dma(y, t)
        with p.purpose("relayout"):
            p.memset(t)
    rows = [p.debug[i.debug] for i in p.instrs]
    assert [r.purpose for r in rows] == ["compute", "store", "relayout"]
    assert {r.layer for r in rows} == {"conv1"}
    assert sum(r.macs for r in p.debug) == 77
