"""What the validator asks of streams that run at load and of handover buffers."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isa.assembler import assemble
from isa.errors import ErrorList
from isa.program import Stage
from isa.target import load
from isa.validator import validate

TARGET = load("trn1.2xlarge")
TOP = TARGET.sbuf_partition_bytes
LISTING = """
.variable x input fp32 128x16 space={space}
.variable w file fp32 128x16
.variable t tmp-buf fp32 128x16
.variable y output fp32 128x16
.dma
    copy size=[128,16] src={source}@0:fp32 dst=sbuf[0]@{byte}:fp32
    copy size=[128,16] src=sbuf[0]@0:fp32 dst={sink}@0:fp32
.init sync
    dma_trigger first={first} count=1
.engine vector
    memset dst=sbuf[0:128]@{start}:fp32[16] value=1
"""


def stage(space: str = "dram", source: str = "w", sink: str = "t", byte: int = 0, start: int = 0,
          first: int = 0) -> Stage:
    text = LISTING.format(space=space, source=source, sink=sink, byte=byte, start=start, first=first)
    return assemble(text).stages[0]


def found(what: Stage) -> list[tuple[str, str]]:
    with pytest.raises(ErrorList) as caught:
        validate(what, TARGET)
    return [(str(getattr(e, "code", "")), str(getattr(e, "where", ""))) for e in caught.value.errors]


def test_loading_weights_is_legal() -> None:
    validate(stage(), TARGET)
    validate(stage(first=1), TARGET)  # scratch


def test_words_of_loading_are_words() -> None:
    bad = stage()
    words = bad.init["sync"].copy()
    words["imm0"] = 1
    bad.init = {"sync": words, "vector": bad.stream("vector").copy()}
    bad.init["vector"]["dst"]["start"] = TOP
    assert found(bad) == [("OUT_OF_BOUNDS", "init.vector[0] memset.dst"), ("PADDING", "init.sync[0] dma_trigger")]
    assert found(replace(bad, init={"warp": words})) == [("ENGINE", "init.warp")]
    assert ("LAYOUT", "init.sync") in found(replace(bad, init={"sync": np.zeros(3, np.uint8)}))


@pytest.mark.parametrize(("source", "sink", "first", "where"), [
    ("x", "t", 0, "descriptor[0] src"), ("y", "t", 0, "descriptor[0] src"), ("w", "y", 1, "descriptor[1] dst"),
    ("w", "x", 1, "descriptor[1] dst")])
def test_loading_knows_no_inputs_and_outputs(source: str, sink: str, first: int, where: str) -> None:
    assert found(stage(source=source, sink=sink, first=first)) == [("INIT", where)]
    validate(stage(source=source, sink=sink, first=1 - first), TARGET)  # what a run does with them is its own matter


def test_handover_buffers_are_nobody_elses() -> None:
    """Two buffers of 16 * 4 bytes per partition at the top."""
    assert stage("sbuf").handover_bytes == 128
    free = TOP - 128 - 64
    validate(stage("sbuf", start=free, byte=free), TARGET)
    assert found(stage("sbuf", start=free + 4)) == [("OUT_OF_BOUNDS", "vector[0] memset.dst")]
    assert found(stage("sbuf", byte=free + 4)) == [("OUT_OF_BOUNDS", "descriptor[0] dst")]
    validate(stage("dram", start=free + 4, byte=free + 4), TARGET)


def test_handover_buffers_that_do_not_fit() -> None:
    small = stage("sbuf")
    most = replace(small.variables[0], shape=(128, TOP // 8))
    bare = replace(small, streams={}, init={}, descriptors=small.descriptors[:0])
    validate(replace(bare, variables=[most, *small.variables[1:]]), TARGET)
    more = replace(most, shape=(128, TOP // 8 + 1))
    assert ("HANDOVER", "variables") in found(replace(small, variables=[more, *small.variables[1:]]))
