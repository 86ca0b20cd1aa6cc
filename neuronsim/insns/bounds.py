"""Checks once, in bulk, that every operand and descriptor of a stage stays inside its memory, so that kernels need not.

The validator (`isa.validator`) knows the documented limits and is stricter; this is what memory safety needs. Also says
which bytes of SBUF a program may write.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isa import dtypes
from isa.program import WEIGHT, Stage
from isa.spec import SPEC
from isa.target import Target
from isa.transfers import started
from isa.word import DMA_GATHER, DMA_OPS, DMA_SCATTER, ENGINES, PARTITIONS, PSUM, SBUF, SBUF_PARTITION_STRIDE
from neuronsim.errors import MemoryFault

LOAD_STATIONARY, MATMUL, TENSOR_REDUCE, BN_STATS, BN_AGGR, DMA_TRIGGER = 0x01, 0x02, 0x14, 0x19, 0x1A, 0x41
_POINTWISE = (0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x30, 0x31)
_BY_ROW = (*_POINTWISE, TENSOR_REDUCE, BN_STATS, BN_AGGR)
_TWO_SOURCES = (0x10, 0x12, 0x16)
_ENGINE_DTYPES = np.zeros(256, bool)
_ENGINE_DTYPES[[d.code for d in dtypes.DTYPES if d.size < 8]] = True
CACHE_LINE = 64
MAX_COLUMNS = 512  # moving columns and bn_stats elements; source: nki/guides/architecture/trainium_inferentia2_arch.rst


def check(stage: Stage, target: Target) -> None:
    """Raises: MemoryFault for the first access outside SBUF, PSUM, a variable or the descriptor table."""
    for part, prefix in ((stage, ""), (stage.loading, "init.")):
        for engine in ENGINES:
            stream = part.stream(engine)
            if len(stream):
                _check_stream(stream, prefix + engine, target, len(stage.descriptors))
    if len(stage.descriptors):
        _check_descriptors(stage, target)


def _refuse(bad: np.ndarray, what: str, where: str, limit: object = None, actual: np.ndarray | None = None) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        raise MemoryFault(
            what,
            where=where.format(int(rows[0])),
            limit=limit,
            actual=None if actual is None else int(actual[rows[0]]),
            help="validate the program with `isa.validator.validate`",
        )


def _check_stream(s: np.ndarray, engine: str, target: Target, descriptors: int) -> None:
    where = engine + "[{}]"
    trigger = s["opcode"] == DMA_TRIGGER
    last = s["arg"].astype(np.int64) + s["count"]
    _refuse(trigger & (last > descriptors), "descriptors beyond the table", where, descriptors, last)
    for slot in ("dst", "src0", "src1"):
        _check_operand(s[slot], f"{slot} of {where}", target)
    has_dst = (s["dst"]["space"] & 3) != 0
    rows = np.where(has_dst, s["dst"]["partitions"], s["src0"]["partitions"]).astype(np.int64)
    for slot in ("ptr0", "ptr1"):
        _check_pointer(s[slot], rows, f"{slot} of {where}", target)
    _check_shapes(s, where)


def _capacity(space: np.ndarray, target: Target) -> np.ndarray:
    limits = np.zeros(4, np.int64)
    limits[SBUF], limits[PSUM] = target.sbuf_partition_bytes, target.psum_partition_bytes
    return limits[space]


def _check_operand(o: np.ndarray, where: str, target: Target) -> None:
    space = o["space"] & 3
    used = space != 0
    low, high = _extent(o)
    partitions = o["partition"].astype(np.int64) + o["partitions"]
    _refuse(used & ((space == 3) | ~_ENGINE_DTYPES[o["dtype"]]), "operand of an unknown memory or type", where)
    _refuse(used & ((o["size"] == 0).any(axis=1) | (o["partitions"] == 0)), "operand without elements", where)
    _refuse(used & (partitions > PARTITIONS), "operand beyond the last partition", where, PARTITIONS, partitions)
    _refuse(
        used & ((low < 0) | (high > _capacity(space, target))),
        "operand outside its partition",
        where,
        f"{target.sbuf_partition_bytes} (SBUF), {target.psum_partition_bytes} (PSUM) bytes",
        np.where(low < 0, low, high),
    )


def _extent(o: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First byte and one past the last byte of operands in their partitions, int64 [n] each."""
    element = dtypes.SIZES[o["dtype"]]
    step = o["step"].astype(np.int64) * element[:, None]
    return _reach(o["start"].astype(np.int64), step, o["size"].astype(np.int64), element)


def _reach(
    first: np.ndarray, step: np.ndarray, size: np.ndarray, element: np.ndarray | int
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest byte and one past the highest of patterns of [n, 4] steps and sizes."""
    moved = step * (size - 1)
    return first + np.minimum(moved, 0).sum(axis=1), first + np.maximum(moved, 0).sum(axis=1) + element


def _check_pointer(p: np.ndarray, rows: np.ndarray, where: str, target: Target) -> None:
    space = p["space"] & 3
    used = space != 0
    high = p["start"].astype(np.int64) + dtypes.SIZES[p["dtype"]]
    partitions = p["partition"] + rows
    _refuse(used & ((space == 3) | ~_ENGINE_DTYPES[p["dtype"]]), "pointer of an unknown memory or type", where)
    _refuse(used & (partitions > PARTITIONS), "pointer beyond the last partition", where, PARTITIONS, partitions)
    _refuse(used & (high > _capacity(space, target)), "pointer outside its partition", where, None, high)


def _check_shapes(s: np.ndarray, where: str) -> None:
    op = s["opcode"]
    count = {x: s[x]["size"].astype(np.int64).prod(axis=1) for x in ("dst", "src0", "src1")}
    rows = {x: s[x]["partitions"] for x in ("dst", "src0", "src1")}
    by_row, pointwise, two = np.isin(op, _BY_ROW), np.isin(op, _POINTWISE), np.isin(op, _TWO_SOURCES)
    _refuse(by_row & (rows["dst"] != rows["src0"]), "partitions of dst and src0 differ", where)
    _refuse(two & (rows["dst"] != rows["src1"]), "partitions of dst and src1 differ", where)
    _refuse(pointwise & (count["dst"] != count["src0"]), "element counts of dst and src0 differ", where)
    _refuse(two & (count["dst"] != count["src1"]), "element counts of dst and src1 differ", where)
    second = np.isin(op, (0x13, 0x31))
    _refuse(
        second & ((rows["dst"] != rows["src1"]) | (count["src1"] != 1)), "dst1 is not one element per partition", where
    )
    inner = (
        np.where(np.arange(4) >= 4 - np.minimum(s["axes"], 4)[:, None], s["src0"]["size"], 1)
        .astype(np.int64)
        .prod(axis=1)
    )
    _refuse((op == TENSOR_REDUCE) & (count["dst"] * inner != count["src0"]), "dst is not src0 without its axes", where)
    _refuse((op == BN_STATS) & ((count["src0"] > MAX_COLUMNS) | (count["dst"] != 6)), "bn_stats shape", where)
    _refuse((op == BN_AGGR) & ((count["src0"] % 3 != 0) | (count["dst"] != 2)), "bn_aggr shape", where)
    _refuse(
        (op == LOAD_STATIONARY) & (count["src0"] > PARTITIONS), "stationary wider than 128", where, 128, count["src0"]
    )
    matmul = op == MATMUL
    _refuse(
        matmul & ((count["src0"] > MAX_COLUMNS) | (count["dst"] != count["src0"])),
        "columns of matmul",
        where,
        MAX_COLUMNS,
        count["src0"],
    )
    wide = np.isin(s["dst"]["dtype"], [dtypes.BY_NAME["fp32"].code, dtypes.BY_NAME["int32"].code])
    _refuse(matmul & ~(wide & ((s["dst"]["space"] & 3) == PSUM)), "matmul writes PSUM in fp32 or int32", where)


def _check_descriptors(stage: Stage, target: Target) -> None:
    d = stage.descriptors
    where = "descriptor {}"
    sizes = np.array([0] + [v.size_bytes for v in stage.variables], np.int64)
    _refuse(d["op"] >= len(DMA_OPS), "unknown descriptor operation", where)
    _refuse((d["size"] == 0).any(axis=1), "descriptor without elements", where)
    gather, scatter = d["op"] == DMA_GATHER, d["op"] == DMA_SCATTER
    limit = d["index_limit"].astype(np.int64)
    _refuse((gather | scatter) & (limit == 0), "gather or scatter without valid indices", where)
    for side in ("src", "dst"):
        variable = d[f"{side}_var"].astype(np.int64)
        _refuse(variable >= len(sizes), f"{side}: no such variable", where, len(sizes) - 1, variable)
        _refuse(dtypes.SIZES[d[f"{side}_dtype"]] == 0, f"{side}: unknown type", where)
        _check_side(
            variable,
            d[f"{side}_off"].astype(np.int64),
            d[f"{side}_step"].astype(np.int64),
            _sizes(d, side),
            dtypes.SIZES[d[f"{side}_dtype"]],
            sizes,
            f"{side} of {where}",
            target,
        )
    writes_weight = np.array([False] + [v.kind == WEIGHT for v in stage.variables])
    _refuse(writes_weight[d["dst_var"]], "descriptor writes a weight", where)
    indexed = d[gather | scatter]
    steps = np.zeros((len(indexed), 4), np.int64)
    steps[:, 0] = indexed["index_step"]
    _check_side(
        np.zeros(len(indexed), np.int64),
        indexed["index_off"].astype(np.int64),
        steps,
        np.maximum(indexed["size"] * [1, 0, 0, 0], 1).astype(np.int64),
        np.full(len(indexed), 4),
        sizes,
        "index of gather or scatter {}",
        target,
    )


def _sizes(d: np.ndarray, side: str) -> np.ndarray:
    """Elements per dimension that one side of descriptors may touch: any row of what is indexed. int64 [n, 4]."""
    size: np.ndarray = d["size"].astype(np.int64)
    indexed = d["op"] == (DMA_GATHER if side == "src" else DMA_SCATTER)
    size[indexed, 0] = d["index_limit"][indexed]
    return size


def _check_side(
    variable: np.ndarray,
    offset: np.ndarray,
    step: np.ndarray,
    size: np.ndarray,
    element: np.ndarray,
    sizes: np.ndarray,
    where: str,
    target: Target,
) -> None:
    """Bounds of one side: bytes of a variable, or partitions and bytes of SBUF."""
    sbuf = variable == 0
    partition_step = np.where(sbuf[:, None], _partition_step(step), 0)
    base = np.where(sbuf, offset % SBUF_PARTITION_STRIDE, offset)
    low, high = _reach(base, step - partition_step * SBUF_PARTITION_STRIDE, size, element)
    limit = np.where(sbuf, target.sbuf_partition_bytes, sizes[variable])
    first, last = _reach(offset // SBUF_PARTITION_STRIDE, partition_step, size, 0)
    _refuse(
        (offset < 0) | (low < 0) | (high > limit),
        "descriptor outside its memory",
        where,
        None,
        np.where(low < 0, low, high),
    )
    _refuse(sbuf & ((first < 0) | (last >= PARTITIONS)), "descriptor beyond the partitions", where, PARTITIONS, last)


def _partition_step(step: np.ndarray) -> np.ndarray:
    """Whole partitions in byte steps of an SBUF side; the rest stays inside the partition and may go either way."""
    whole: np.ndarray = (step + SBUF_PARTITION_STRIDE // 2) // SBUF_PARTITION_STRIDE
    return whole


def written_columns(stage: Stage) -> list[tuple[int, int]]:
    """Bytes of an SBUF partition that the streams of a checked stage may write: (first, one past the last), ascending.

    Neighbours closer than a cache line are one; partitions are not told apart.
    """
    spans = [*_written_by_words(stage), *_written_by_transfers(stage)]
    low, high = (np.concatenate([np.zeros(0, np.int64), *ends]) for ends in zip(*spans, strict=True))
    if not len(low):
        return []
    order = np.argsort(low, kind="stable")
    low, high = low[order], np.maximum.accumulate(high[order])
    begin = np.concatenate([[True], low[1:] > high[:-1] + CACHE_LINE])
    last = np.concatenate([np.flatnonzero(begin)[1:] - 1, [len(low) - 1]])
    return list(zip(low[begin].tolist(), high[last].tolist(), strict=True))


def _written_by_words(stage: Stage) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for engine in ENGINES:
        stream = stage.stream(engine)
        for opcode in np.intersect1d(stream["opcode"], list(SPEC.by_opcode)).tolist():
            of_opcode = stream["opcode"] == opcode
            for slot in SPEC.by_opcode[opcode].operands:
                o = stream[slot.field][of_opcode & (stream[slot.field]["space"] & 3 == SBUF)]
                if slot.role != "read":
                    yield _extent(o)


def _written_by_transfers(stage: Stage) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    streams = (stage.stream(e) for e in ENGINES)
    d = stage.descriptors[started(streams, len(stage.descriptors)) & (stage.descriptors["dst_var"] == 0)]
    step = d["dst_step"].astype(np.int64)
    first = (d["dst_off"] % SBUF_PARTITION_STRIDE).astype(np.int64)
    yield _reach(
        first, step - _partition_step(step) * SBUF_PARTITION_STRIDE, _sizes(d, "dst"), dtypes.SIZES[d["dst_dtype"]]
    )
