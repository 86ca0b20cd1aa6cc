from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import word
from isa.dtypes import BY_NAME
from isa.errors import ErrorList, IllegalInstruction
from isa.program import INPUT, OUTPUT, WEIGHT, Stage, Variable
from isa.spec import SPEC
from isa.target import Target, load
from isa.validator import validate
from tests.isa.words import descriptor, load_tile, make, operand, stage

V1, V2, V3 = load("v1"), load("v2"), load("v3")
FP32 = BY_NAME["fp32"]
PARTITION = word.SBUF_PARTITION_STRIDE


def codes(what: Stage, target: Target = V2) -> list[str]:
    """Codes of the errors found, [] for a legal stage."""
    errors: list[Any] = []
    try:
        validate(what, target)
    except ErrorList as found:
        errors = found.errors
    assert all(isinstance(e, IllegalInstruction) and e.where for e in errors)
    return [e.code for e in errors]


def pair(n: int = 128, dtype: str = "fp32", **extra: Any) -> dict[str, Any]:
    return {"dst": operand((n,), dtype), "src0": operand((n,), dtype, start=8192), **extra}


def three(**extra: Any) -> dict[str, Any]:
    return {**pair(), "src1": operand((128,), start=16384), **extra}


def pointer(**fields: Any) -> np.void:
    out = np.zeros((), dtype=word.POINTER)
    for name, value in {"dtype": FP32.code, "space": word.SBUF, **fields}.items():
        out[name] = value
    return out[()]


def load_word(**fields: Any) -> np.ndarray:
    return make("load_stationary", src0=operand((128,), "bf16", **fields))


def matmul(**fields: Any) -> np.ndarray:
    given = {"dst": operand((512,), "fp32", "psum"), "src0": operand((512,), "bf16", start=4096), "flags": 3}
    return make("matmul", **{**given, **fields})


LEGAL = {
    "load_stationary": {"src0": operand((128,), "bf16")},
    "tensor_tensor": three(), "tensor_scalar": pair(op0="mult", op1="add", imm0=2.0), "scalar_tensor_tensor": three(),
    "tensor_scalar_reduce": pair(src1=operand((1,), start=16384)),
    "tensor_reduce": {"dst": operand((4,)), "src0": operand((4, 32), start=64)}, "tensor_copy": pair(),
    "tensor_copy_predicated": pair(src1=operand((128,), "uint8")), "reciprocal": pair(), "memset": {"dst": operand()},
    "bn_stats": {"dst": operand((6,)), "src0": operand((512,), start=64)},
    "bn_aggr": {"dst": operand((2,)), "src0": operand((12,), start=64)},
    "max8": {"dst": operand((8,)), "src0": operand((512,), start=64)},
    "find_index8": {"dst": operand((8,), "uint32"), "src0": operand((512,), start=64), "src1": operand((8,))},
    "match_replace8": {"dst": operand((512,)), "src0": operand((512,)), "src1": operand((8,))},
    "transpose": {"dst": operand((32,), partitions=16), "src0": operand((16,), partitions=32)},
    "tensor_tensor_scan": three(op0="mult", op1="add"), "tensor_scalar_cumulative": pair(),
    "iota": {"dst": operand((64,), "int32"), "arg": 5, "count": 3}, "affine_select": pair(),
    "partition_reduce": {"dst": operand((64,), partitions=1), "src0": operand((64,))},
    "activation": pair(func="exp", imm0=1.0, ptr1=pointer(start=512)),
    "activation_reduce": pair(func="exp", imm0=1.0, src1=operand((1,))),
    "nop": {"wait_sem": (3, 0), "wait_val": (9, 0)},
}


@pytest.mark.parametrize("mnemonic", [i.mnemonic for i in SPEC if i.mnemonic not in ("matmul", "dma_trigger")])
def test_legal_words_pass(mnemonic: str) -> None:
    for engine in SPEC.by_name[mnemonic].engines:
        fields = dict(LEGAL[mnemonic])
        if (mnemonic, engine) == ("tensor_scalar", "gpsimd"):
            fields.update(op0="rsqrt", op1="bypass")
        assert codes(stage(engine, make(mnemonic, **fields)), V3) == []


def test_legal_matmul_and_dma_pass() -> None:
    assert codes(stage("tensor", load_word(), matmul(), matmul())) == []
    d = descriptor(**load_tile())
    trigger = make("dma_trigger", count=1, post_sem=16)
    assert codes(stage("sync", trigger, descriptors=d, variables=[Variable(1, "x", INPUT, FP32, (128, 1024))])) == []


def only(code: str, mnemonic: str, engine: str = "vector", target: Target = V2, **fields: Any) -> None:
    """The word breaks that rule and no other."""
    found = codes(stage(engine, make(mnemonic, **{**LEGAL[mnemonic], **fields})), target)
    assert set(found) == {code}


@pytest.mark.parametrize("start, partitions, ok", [
    (0, 128, True), (64, 65, False), (32, 64, False), (64, 64, True), (64, 33, True), (32, 33, False), (96, 32, True),
    (32, 32, True), (16, 1, False), (96, 1, True), (0, 65, True),
])
def test_start_partition_rule(start: int, partitions: int, ok: bool) -> None:
    at = {"partition": start, "partitions": partitions}
    found = codes(stage("vector", make("tensor_copy", dst=operand(**at), src0=operand(partitions=partitions))))
    assert ("PARTITION_START" not in found) == ok


def test_partition_counts() -> None:
    for count in (0, 129, 255):
        assert "PARTITIONS" in codes(stage("vector", make("memset", dst=operand(partitions=count))))
    only("PARTITIONS", "tensor_copy", src0=operand(partitions=64))


@pytest.mark.parametrize("step, size, start, ok", [
    (1, 49152, 0, True), (1, 49153, 0, False), (1, 49152, 4, False), (-1, 100, 396, True), (-1, 100, 392, False),
    (0, 65535, 196604, True), (32767, 3, 0, False), (-32768, 2, 131072, True),
])
def test_bounds(step: int, size: int, start: int, ok: bool) -> None:
    only_word = make("memset", dst=operand((size,), steps=(step,), start=start))
    assert codes(stage("vector", only_word)) == ([] if ok else ["OUT_OF_BOUNDS"])


def test_limits_depend_on_the_target() -> None:
    tall = stage("vector", make("memset", dst=operand((50000,))))
    assert codes(tall, V2) == ["OUT_OF_BOUNDS"] and codes(tall, V3) == []
    with pytest.raises(ErrorList) as caught:
        validate(tall, V2)
    error = caught.value.errors[0]
    assert (error.limit, error.actual, error.where) == (196608, 200000, "vector[0] memset.dst")


def test_free_sizes() -> None:
    only("FREE_SIZE", "memset", dst=operand((65535, 2), steps=(0, 1)))
    only("FREE_SIZE", "memset", dst=operand((4097,), "uint8", "psum"))
    assert "FREE_SIZE" in codes(stage("vector", make("memset", dst=operand((0,)))))
    only("FREE_SIZE", "bn_stats", src0=operand((513,)))
    only("FREE_SIZE", "bn_stats", dst=operand((5,)))
    only("FREE_SIZE", "bn_aggr", src0=operand((10,)))
    only("FREE_SIZE", "max8", src0=operand((7,)))


def test_alignment_and_dtypes() -> None:
    only("ALIGNMENT", "memset", dst=operand(start=2))
    assert codes(stage("vector", make("memset", dst=operand(dtype="bf16", start=2)))) == []
    only("DTYPE", "memset", dst=operand(dtype="int64"))
    unknown = make("memset", dst=operand())
    unknown["dst"]["dtype"] = 99
    assert "DTYPE" in codes(stage("vector", unknown))
    only("DTYPE", "tensor_copy_predicated", src1=operand((128,), "fp32"))
    only("DTYPE", "tensor_tensor", op0="bitwise_and")
    ints = {name: operand((128,), "int32") for name in ("dst", "src0", "src1")}
    assert codes(stage("vector", make("tensor_tensor", op0="bitwise_and", **ints))) == []


def test_memories() -> None:
    psum = operand((128,), space="psum")
    only("BOTH_PSUM", "tensor_tensor", src0=psum, src1=psum)
    assert codes(stage("vector", make("tensor_tensor", **{**three(), "src0": psum}))) == []
    only("GPSIMD_PSUM", "tensor_tensor", "gpsimd", src0=psum)
    only("MEMORY", "load_stationary", "tensor", src0=operand((128,), "bf16", "psum"))
    only("OPERAND", "memset", dst=np.zeros((), dtype=word.OPERAND)[()])
    based = make("memset", dst=operand())
    based["dst"]["space"] |= 4
    assert codes(stage("vector", based)) == ["BASE_REGISTER"]


def test_element_counts() -> None:
    only("ELEMENTS", "tensor_copy", src0=operand((64,)))
    assert codes(stage("vector", make("tensor_copy", dst=operand((128,)), src0=operand((2, 64))))) == []
    only("ELEMENTS", "tensor_reduce", dst=operand((5,)))
    assert codes(stage("vector", make("tensor_reduce", dst=operand((1,)), src0=operand((4, 32)), axes=2))) == []
    only("RANGE", "tensor_reduce", axes=5, dst=operand((1,)))
    only("ELEMENTS", "transpose", dst=operand((16,), partitions=16))
    only("PARTITIONS", "partition_reduce", "gpsimd", dst=operand((64,), partitions=2))


def test_operations() -> None:
    only("OPERATION", "tensor_tensor", op0=200)
    only("OPERATION", "tensor_reduce", op0="power")
    only("OPERATION", "activation", "scalar", func=21)
    only("OPERATION", "tensor_scalar", "scalar", op0="max")
    only("OPERATION", "tensor_scalar", "gpsimd", op0="add")
    ints = {name: operand((128,), "int32") for name in ("dst", "src0", "src1")}
    only("OPERATION", "tensor_tensor_scan", op0="bitwise_or", **ints)
    only("OPERATION", "tensor_tensor", target=V1, op0="divide")


def test_pointers() -> None:
    only("ALIGNMENT", "activation", "scalar", ptr1=pointer(start=2))
    only("OUT_OF_BOUNDS", "activation", "scalar", ptr1=pointer(start=196608))
    only("PARTITIONS", "activation", "scalar", ptr1=pointer(partition=128))
    only("DTYPE", "activation", "scalar", ptr1=pointer(dtype=BY_NAME["int32"].code))
    only("PADDING", "activation", "scalar", ptr1=pointer(space=0))
    only("PADDING", "activation", "scalar", ptr1=pointer(zero=1))


@pytest.mark.parametrize("field, value", [
    ("flags", 1), ("op0", 1), ("op1", 1), ("func", 1), ("axes", 1), ("count", 1), ("imm0", 1.0), ("imm1", 1.0),
    ("arg", 1), ("ptr0", pointer()), ("src1", operand()),
])
def test_unused_fields_are_zero(field: str, value: Any) -> None:
    word_ = make("tensor_copy", **pair(), **{field: value})
    with pytest.raises(ErrorList) as caught:
        validate(stage("vector", word_), V2)
    assert [(e.code, e.actual) for e in caught.value.errors] == [("PADDING", field)]


def test_patterns_have_only_steps() -> None:
    pattern = np.zeros((), dtype=word.OPERAND)
    pattern["step"] = (0, 0, 5, -1)
    assert codes(stage("gpsimd", make("iota", **{**LEGAL["iota"], "src0": pattern[()]}))) == []
    only("PADDING", "iota", "gpsimd", src0=operand((64,)))


def test_opcodes_and_engines() -> None:
    reserved = make("nop")
    reserved["opcode"] = 0xF4
    with pytest.raises(ErrorList) as caught:
        validate(stage("sync", reserved), V2)
    assert caught.value.errors[0].code == "OPCODE_RESERVED" and "branch" in caught.value.errors[0].what
    unknown = make("nop")
    unknown["opcode"] = 0x99
    assert codes(stage("sync", unknown)) == ["OPCODE"]
    assert codes(stage("sync", np.zeros(1, dtype=word.WORD))) == ["OPCODE"]
    assert codes(stage("scalar", make("memset", dst=operand()))) == ["ENGINE"]
    assert codes(stage("gpsimd", make("nop")), V1) == ["ENGINE_ABSENT"]
    assert codes(stage("host", make("nop"))) == ["ENGINE"]
    assert codes(Stage(streams={"sync": np.zeros(4, dtype=np.uint8)})) == ["LAYOUT"]


def test_semaphores_and_debug() -> None:
    assert codes(stage("sync", make("nop", wait_sem=(256, 0), wait_val=(1, 0)))) == ["SEMAPHORE"]
    assert codes(stage("sync", make("nop", post_sem=300, post_inc=1))) == ["SEMAPHORE"]
    assert codes(stage("sync", make("nop", post_sem=3))) == ["SEMAPHORE"]
    assert codes(stage("sync", make("nop", wait_val=(1, 0)))) == ["PADDING"]
    assert codes(stage("sync", make("nop", post_inc=1))) == ["PADDING"]
    assert codes(stage("sync", make("nop", debug=1))) == ["DEBUG"]


def test_matmul_rules() -> None:
    def found(*words: np.ndarray, target: Target = V2) -> set[str]:
        return set(codes(stage("tensor", *words), target))

    assert found(matmul()) == {"STATIONARY"}
    assert found(matmul(), load_word()) == {"STATIONARY"}
    half = operand((512,), "bf16", partitions=64)
    assert found(load_word(), matmul(src0=half)) == {"STATIONARY"}
    assert found(load_word(partitions=64), matmul(src0=half)) == set()
    upper = operand((512,), "bf16", partitions=64, partition=64)
    assert found(load_word(partitions=64), matmul(src0=upper)) == {"STATIONARY"}
    assert found(load_word(), matmul(dst=operand((512,), "fp32", "psum", partitions=64))) == {"STATIONARY"}
    assert "PSUM_BANK" in found(load_word(), matmul(dst=operand((512,), "fp32", "psum", start=4)))
    assert "FREE_SIZE" in found(load_word(), matmul(dst=operand((513,), "fp32", "psum"), src0=operand((513,), "bf16")))
    assert found(load_word(), matmul(src0=operand((512,), "fp32"))) == {"MATMUL_DTYPE"}
    assert found(load_word(), matmul(src0=operand((512,), "fp8_e4m3"))) == set()
    full = make("load_stationary", src0=operand((128,), "fp32"))
    tf32 = matmul(src0=operand((512,), "tf32"))
    assert found(full, tf32) == set()
    assert found(full, tf32, target=V1) == {"MATMUL_DTYPE"}
    assert found(load_word(), matmul(dst=operand((512,), "int32", "psum"))) == {"MATMUL_DTYPE"}
    whole = make("load_stationary", src0=operand((128,), "int8"))
    ints = matmul(dst=operand((512,), "int32", "psum"), src0=operand((512,), "int8"))
    assert found(whole, ints, target=V1) == set()
    assert found(whole, ints, target=V2) == {"MATMUL_DTYPE"}
    assert found(load_word(), matmul(dst=operand((512,), "fp32"))) == {"MEMORY"}


def test_triggers() -> None:
    d = np.concatenate([descriptor(**load_tile())] * 2)
    x = [Variable(1, "x", INPUT, FP32, (128, 1024))]

    def found(**fields: Any) -> list[str]:
        return codes(stage("sync", make("dma_trigger", **fields), descriptors=d, variables=x))

    assert found(count=2) == []
    assert found(arg=1, count=2) == ["DESCRIPTOR_RANGE"]
    assert found(arg=2**32 - 1, count=2) == ["DESCRIPTOR_RANGE"]
    assert found(count=0) == ["RANGE"]
    assert found(count=1, op0=16) == ["RANGE"]


def moved(target: Target = V2, **fields: Any) -> list[str]:
    """Codes for one descriptor among an input, an output and a weight of 128 x 1024 fp32."""
    kinds = (INPUT, OUTPUT, WEIGHT)
    variables = [Variable(k + 1, f"v{k}", kind, FP32, (128, 1024)) for k, kind in enumerate(kinds)]
    return codes(stage("sync", descriptors=descriptor(**load_tile(**fields)), variables=variables), target)


@pytest.mark.parametrize("fields, code", [
    ({"src_var": 4}, "VARIABLE"), ({"dst_var": 9}, "VARIABLE"), ({"dst_var": 3, "dst_step": (0, 0, 0, 4)}, "VARIABLE"),
    ({"src_off": 4}, "OUT_OF_BOUNDS"), ({"src_off": 2**63}, "OUT_OF_BOUNDS"),
    ({"src_step": (0, 0, -4096, 4)}, "OUT_OF_BOUNDS"), ({"src_step": (0, 0, 2**62, 4)}, "OUT_OF_BOUNDS"),
    ({"dst_off": PARTITION}, "PARTITIONS"), ({"dst_off": 196608 - 4092}, "OUT_OF_BOUNDS"),
    ({"dst_step": (0, 0, -PARTITION, 4)}, "PARTITIONS"), ({"dst_step": (0, 0, PARTITION, -4)}, "OUT_OF_BOUNDS"),
    ({"dst_step": (0, 0, 2 * PARTITION, 4)}, "PARTITIONS"), ({"dst_off": 2**64 - 8}, "PARTITIONS"),
    ({"size": (1, 1, 0, 4)}, "FREE_SIZE"), ({"flags": 1}, "PADDING"), ({"index_limit": 3}, "PADDING"),
    ({"op": 77}, "DMA_OP"), ({"dst_dtype": 2}, "DTYPE"), ({"src_dtype": 99}, "DTYPE"), ({"debug": 7}, "DEBUG"),
    ({"op": word.DMA_GATHER}, "RANGE"),
    ({"op": word.DMA_GATHER, "index_limit": 2, "src_step": (4096 * 127 + 4, 0, 4096, 4)}, "OUT_OF_BOUNDS"),
    ({"op": word.DMA_GATHER, "index_limit": 1, "index_off": 128 * PARTITION}, "PARTITIONS"),
    ({"op": word.DMA_TRANSPOSE, "src_dtype": 8, "dst_dtype": 8}, "DTYPE"),
])
def test_descriptors(fields: dict[str, Any], code: str) -> None:
    assert code in moved(**fields)


@pytest.mark.parametrize("fields", [
    {}, {"dst_off": 196608 - 4096}, {"src_step": (0, 0, -4096, 4), "src_off": 4096 * 127},
    {"dst_step": (0, 0, -PARTITION, 4), "dst_off": 127 * PARTITION},
    {"size": (1, 1, 2, 4), "dst_step": (0, 0, 190000, 4)},
    {"op": word.DMA_CAST, "dst_dtype": 2, "dst_step": (0, 0, PARTITION, 2)},
    {"size": (1, 1, 2, 4), "dst_step": (0, 0, 2 * PARTITION - 400, 4), "dst_off": 400},
    {"op": word.DMA_GATHER, "index_limit": 2, "size": (8, 1, 64, 1024), "src_step": (64 * 4096, 0, 4096, 4),
     "dst_step": (4096, 0, PARTITION, 4), "index_step": 4},
])
def test_legal_descriptors(fields: dict[str, Any]) -> None:
    assert moved(**fields) == []


def test_v1_only_copies() -> None:
    assert moved(V1) == []
    assert moved(V1, op=word.DMA_CAST, dst_dtype=2, dst_step=(0, 0, PARTITION, 2)) == ["DMA_OP"]


def test_errors_speak_names() -> None:
    with pytest.raises(ErrorList) as caught:
        validate(stage("vector", make("tensor_reduce", **{**LEGAL["tensor_reduce"], "op0": "power"}),
                       make("memset", dst=operand(dtype="int64"))), V2)
    assert [e.actual for e in caught.value.errors] == ["power", "int64"]
    with pytest.raises(ErrorList) as caught:
        validate(stage("scalar", make("tensor_scalar", op0="max", op1="add", **pair())), V2)
    assert caught.value.errors[0].actual == "max add"


def test_at_most_twenty_errors_in_order() -> None:
    bad = make("memset", dst=operand(start=2))
    good = make("memset", dst=operand())
    with pytest.raises(ErrorList) as caught:
        validate(stage("vector", good, *[bad] * 50), V2)
    assert [e.where for e in caught.value.errors] == [f"vector[{k}] memset.dst" for k in range(1, 21)]


def test_long_streams_are_checked_fast() -> None:
    names = ("tensor_tensor", "tensor_scalar", "memset")
    stream = np.tile(np.concatenate([make(m, **LEGAL[m]) for m in names]), 20_000)
    started = time.perf_counter()
    validate(Stage(streams={"vector": stream}), V2)
    assert time.perf_counter() - started < 1.0  # 0.1 s alone; room for a busy host
    stream["dst"]["start"][41] = 2
    assert codes(Stage(streams={"vector": stream})) == ["ALIGNMENT"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(-9, 9)), min_size=1, max_size=4), st.integers(0, 60),
       st.sampled_from(["fp32", "bf16", "uint8"]), st.sampled_from([64, 128]))
def test_bounds_equal_listing_the_elements(dims: list[tuple[int, int]], start: int, dtype: str, limit: int) -> None:
    width = BY_NAME[dtype].size
    sizes, steps = tuple(n for n, _ in dims), tuple(s for _, s in dims)
    small = V2.with_params({"sbuf.partition_bytes": limit})
    touched = [start + width * sum(i * s for i, s in zip(index, steps)) for index in np.ndindex(*sizes)]
    legal = min(touched) >= 0 and max(touched) + width <= limit
    found = codes(stage("vector", make("memset", dst=operand(sizes, dtype, steps=steps, start=start))), small)
    assert ("OUT_OF_BOUNDS" not in found) == legal
    assert ("ALIGNMENT" in found) == (start % width != 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-2, 2), st.integers(-40, 40)), min_size=4, max_size=4),
       st.integers(0, 127), st.integers(0, 90))
def test_legal_descriptors_stay_in_sbuf(dims: list[tuple[int, int, int]], first: int, byte: int) -> None:
    """Whatever passes touches only bytes of partitions, and steps as a compiler writes them are not refused."""
    small = V2.with_params({"sbuf.partition_bytes": 96})
    size = tuple(n for n, _, _ in dims)
    d = descriptor(**load_tile(size=size, src_step=(0, 0, 0, 0), dst_step=tuple(p * PARTITION + b for _, p, b in dims),
                               dst_off=first * PARTITION + byte))
    found = codes(stage("sync", descriptors=d, variables=[Variable(1, "x", INPUT, FP32, (4,))]), small)
    places = [(first + sum(i * p for i, (_, p, _) in zip(index, dims)),
               byte + sum(i * b for i, (_, _, b) in zip(index, dims))) for index in np.ndindex(*size)]
    assert (found == []) == all(0 <= p < 128 and 0 <= b <= 92 for p, b in places)


@pytest.mark.filterwarnings("error")
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(list(SPEC.by_opcode)))
def test_garbage_is_refused_and_never_crashes(seed: int, opcode: int) -> None:
    raw = np.random.default_rng(seed).integers(0, 256, 4 * word.WORD_BYTES, dtype=np.uint8)
    words = raw.view(word.WORD).copy()
    words["opcode"] = opcode
    garbage = Stage(streams={e: words for e in SPEC.by_opcode[opcode].engines}, descriptors=raw.view(word.DESCRIPTOR))
    assert codes(garbage)
