"""Hand-made stages and traces whose every number can be checked by eye."""

from __future__ import annotations

import numpy as np

from isa import dtypes, word
from isa.program import INPUT, DebugEntry, Node, Program, Stage, Variable
from isa.spec import SPEC
from isa.trace import TABLES, Trace

TICK_HZ = 1_000_000  # a tick is a microsecond
Row = tuple[int, int, int, int]  # engine or queue, debug, start, end


def operand(space: int, partitions: int, elements: int, dtype: str) -> np.ndarray:
    """A contiguous operand of one free dimension."""
    cell = np.zeros((), word.OPERAND)
    cell["space"], cell["partitions"], cell["dtype"] = space, partitions, dtypes.dtype(dtype).code
    cell["step"], cell["size"] = [0, 0, 0, 1], [1, 1, 1, elements]
    return cell


def one_word(mnemonic: str, debug: int, **fields: object) -> np.ndarray:
    """A stream of one word."""
    stream = np.zeros(1, word.WORD)
    stream["opcode"], stream["debug"] = SPEC.by_name[mnemonic].opcode, debug
    for name, value in fields.items():
        stream[name] = value
    return stream


def two_layer_stage() -> Stage:
    """A load of [16, 32] fp32, a bf16 matmul K=16 M=8 N=32 of layer `fc`, an activation of layer `act`."""
    descriptor = np.zeros(1, word.DESCRIPTOR)
    code = dtypes.dtype("fp32").code
    descriptor["src_dtype"] = descriptor["dst_dtype"] = code
    descriptor["src_var"] = 1
    descriptor["size"] = [1, 1, 16, 32]
    descriptor["src_step"] = [0, 0, 128, 4]
    descriptor["dst_step"] = [0, 0, word.SBUF_PARTITION_STRIDE, 4]
    moving = operand(word.SBUF, 16, 32, "bf16")
    result = operand(word.PSUM, 8, 32, "fp32")
    return Stage(
        streams={
            "tensor": one_word("matmul", 1, dst=result, src0=moving, flags=3),
            "scalar": one_word("activation", 2, dst=operand(word.SBUF, 8, 32, "fp32"), src0=result, imm0=1.0),
            "sync": one_word("dma_trigger", 1, arg=0, count=1),
        },
        descriptors=descriptor,
        variables=[Variable(1, "x", INPUT, dtypes.dtype("fp32"), (16, 32))],
        debug=[DebugEntry(), DebugEntry("fc", "Gemm", macs=4096), DebugEntry("act", "Relu")],
    )


def program_of(*stages: Stage) -> Program:
    """A program of these stages, each on a core of its own."""
    nodes = [Node(f"stage{k}", "neuron_core", (), (), stage=k, core=k) for k in range(len(stages))]
    return Program("test", "trn1.2xlarge", "v2", [], [], nodes, list(stages))


def trace_of(instructions: list[Row], transfers: list[Row]) -> Trace:
    """A trace of one run on one core with these (engine, debug, start, end) rows."""
    last = max(end for *_, end in (*instructions, *transfers))
    return Trace(
        runs={c: np.array([last if c == "end" else 0], t) for c, t in TABLES["runs"].items()},
        requests={c: np.array([last if c == "end" else 0], t) for c, t in TABLES["requests"].items()},
        instructions=_table("instructions", instructions, "engine"), transfers=_table("transfers", transfers, "queue"),
        tick_hz=TICK_HZ, target="test", total_ticks=last,
    )  # fmt: skip


def _table(name: str, rows: list[Row], first: str) -> dict[str, np.ndarray]:
    columns = {first: 0, "debug": 1, "start": 2, "end": 3}
    array = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return {
        column: array[:, columns[column]].astype(dtype) if column in columns else np.zeros(len(rows), dtype)
        for column, dtype in TABLES[name].items()
    }
