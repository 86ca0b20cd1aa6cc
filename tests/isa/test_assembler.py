"""Listings: every word and descriptor survives, hand-written text is forgiving, errors point at a line and column."""
from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isa import assembler, disassembler, neff, word
from isa import target as targets
from isa.assembler import assemble
from isa.disassembler import disassemble
from isa.dtypes import DTYPES, dtype
from isa.errors import AssemblyError, ContainerError, IsaError
from isa.program import VARIABLE_SPACES, DebugEntry, Node, Program, Stage, TensorInfo, Variable
from isa.spec import SPEC, Slot
from isa.validator import validate
from tests.isa.neff_files import make_pipeline

DOCS = Path(__file__).parents[2] / "docs" / "assembly.md"


def parts(stage: Stage) -> dict[str, bytes]:
    streams = {prefix + e: part.stream(e).tobytes() for prefix, part in (("", stage), ("init.", stage.loading))
               for e in word.ENGINES}
    return streams | {"dma": stage.descriptors.tobytes()}


def only_word(line: str, engine: str = "vector", extra: str = "") -> np.void:
    stream = assemble(f"{extra}\n.engine {engine}\n{line}\n").stages[0].stream(engine)
    assert stream.shape == (1,)
    made: np.void = stream[0]
    return made


# ---- round trips

@st.composite
def records(draw: st.DrawFn) -> bytes:
    """128 bytes: noise, noise with many zeros, or a word of a real mnemonic."""
    raw = bytearray(draw(st.binary(min_size=128, max_size=128)))
    for start, end in draw(st.lists(st.tuples(st.integers(0, 127), st.integers(1, 64)), max_size=8)):
        raw[start : start + end] = bytes(len(raw[start : start + end]))
    if draw(st.booleans()):
        raw[0] = draw(st.sampled_from(sorted(SPEC.by_opcode)))
    return bytes(raw)


@settings(max_examples=300, deadline=None)
@given(words=st.lists(records(), max_size=6), init=st.lists(records(), max_size=3),
       rows=st.lists(records(), max_size=4), space=st.sampled_from(VARIABLE_SPACES))
def test_any_bytes_round_trip(words: list[bytes], init: list[bytes], rows: list[bytes], space: str) -> None:
    stage = Stage({"gpsimd": np.frombuffer(b"".join(words), dtype=word.WORD)},
                  np.frombuffer(b"".join(rows), dtype=word.DESCRIPTOR),
                  [Variable(1, "x", "input", dtype("fp32"), (4,), space=space),
                   Variable(2, "sbuf", "output", dtype("fp32"), ())],
                  init={e: np.frombuffer(b"".join(init), dtype=word.WORD) for e in ("gpsimd", "sync")})
    again = assemble(disassemble(stage)).stages[0]
    assert parts(again) == parts(stage)
    assert [v.space for v in again.variables] == [space, "dram"]


U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@st.composite
def operand_text(draw: st.DrawFn) -> str:
    first = draw(st.integers(0, 127))
    dims = draw(st.lists(st.tuples(U16, st.integers(-0x8000, 0x7FFF)), max_size=4))
    sizes = ",".join(f"{n}:{s}" for n, s in dims)
    name = draw(st.sampled_from([d.name for d in DTYPES]))
    space = draw(st.sampled_from(["sbuf", "psum", "sbuf.r5"]))
    start = draw(U32)
    return f"{space}[{first}:{first + draw(st.integers(1, 128))}]@{start:#x}:{name}[{sizes}]"


def slot_text(draw: st.DrawFn, slot: Slot) -> str:
    column = f"sbuf[{draw(st.integers(0, 127))}]@{draw(U32)}:fp32"
    real = str(draw(st.floats(width=32, allow_nan=False)))
    choices: dict[str, object] = {
        "operand": draw(operand_text()), "pattern": f"({draw(st.integers(-9, 9))},7)",
        "scalar": draw(st.sampled_from([column, real])), "imm": real, "f32": real,
        "alu": draw(st.sampled_from(sorted(SPEC.alu))), "func": draw(st.sampled_from(sorted(SPEC.functions))),
        "u8": draw(st.integers(0, 255)), "u16": draw(U16), "u32": draw(U32),
        "i16": draw(st.integers(-0x8000, 0x7FFF)), "i32": draw(st.integers(-(1 << 31), (1 << 31) - 1))}
    return f"{slot.name}={choices[slot.kind]}"


@pytest.mark.parametrize("mnemonic", sorted(SPEC.by_name))
def test_every_slot_of_every_instruction(mnemonic: str) -> None:
    """Text with every slot and flag set gives non-zero fields, and comes back as text of the same bytes."""
    instruction = SPEC.by_name[mnemonic]
    engine = instruction.engines[0]

    @settings(max_examples=15, deadline=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        texts = [slot_text(data.draw, s) for s in instruction.slots.values()]  # type: ignore[arg-type]
        line = " ".join([mnemonic, *texts, *instruction.flags, "wait(7>=3)", "wait(8>=4)", "post(9+2)", "dbg=0"])
        made = only_word(line, engine)
        assert made["opcode"] == instruction.opcode and made["flags"] == sum(instruction.flags.values())
        assert (made["wait_sem"].tolist(), made["wait_val"].tolist()) == ([7, 8], [3, 4])
        listing = disassemble(Stage({engine: np.array([made], dtype=word.WORD)}))
        assert " ." not in listing.split(".engine")[1], "no raw field is needed"
        assert assemble(listing).stages[0].stream(engine).tobytes() == made.tobytes()

    check()


def make_program() -> Program:
    rng = np.random.default_rng(5)
    stages = []
    for index in range(2):
        words = np.zeros(3, dtype=word.WORD)
        words["opcode"], words["debug"] = 0x40, [0, 1, 2]
        variables = [Variable(1, 'we"ird; name', "input", dtype("fp32"), (2, 3)),
                     Variable(2, "w", "file", dtype("bf16"), (7, 5), rng.integers(0, 256, 70, dtype=np.uint8)),
                     Variable(3, "s", "tmp-buf", dtype("int8"), ()), Variable(4, "s", "output", dtype("int8"), (0, 2)),
                     Variable(5, "/a/b:0", "tmp-buf", dtype("fp32"), (1,))]
        debug = [DebugEntry(), DebugEntry("conv;1\n", "Conv+Relu", "a,b", "compute", 1 << 40),
                 DebugEntry("ü", "", "{x}", "load")]
        descriptors = np.zeros(2, dtype=word.DESCRIPTOR)
        descriptors["src_var"], descriptors["dst_var"], descriptors["size"] = [1, 5], [2, 4], 2
        stages.append(Stage({"gpsimd": words}, descriptors, variables, debug, 100 + index, 7, {"a": [1, 2.5, "x;y"]}))
    nodes = [Node("n 0", "neuron_core", ("x",), ("h",), 0), Node("n1", "cpu", ("h",), ("k",), -1, "cpu/a.onnx"),
             Node("n2", "neuron_core", ("k",), ("y",), 1)]
    return Program("my; net", "trn1.2xlarge", "v2", [TensorInfo("x", (2, 3), "float32")],
                   [TensorInfo("y", (), "int8")], nodes, stages, {"cpu/a.onnx": b"onnx"},
                   {"operators": {"total": 3}, "note": "a;{b}"}, {"batch": 1})


def test_whole_file_comes_back(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{n}.neff" for n in "abc")
    neff.write(make_program(), first)
    listing = disassemble(neff.read(first))
    assert "src=/a/b:0@0x0" in listing and "dst=%4@0x0" in listing and "src=%1@0x0" in listing
    assembler.assemble_to_neff(listing, second, weights=first)
    assert second.read_bytes() == first.read_bytes()
    neff.unpack(first, tmp_path / "folder")
    assembler.assemble_to_neff(listing, third, weights=tmp_path / "folder")
    assert third.read_bytes() == first.read_bytes()


def test_pipeline_comes_back(tmp_path: Path) -> None:
    first, second = tmp_path / "a.neff", tmp_path / "b.neff"
    neff.write(make_pipeline(), first)
    listing = disassemble(neff.read(first))
    assert listing.count(".init sync\n") == 1 and '"upstream": "s1"' in listing
    assert ".variable skip output fp32 4x8 space=sbuf\n" in listing
    assembler.assemble_to_neff(listing, second, weights=first)
    assert second.read_bytes() == first.read_bytes()
    assert disassemble(neff.read(first), engine="sync").count("dma_trigger") == 1


def test_members_without_weights(tmp_path: Path) -> None:
    neff.write(make_program(), tmp_path / "a.neff")
    names = neff.unpack(tmp_path / "a.neff", tmp_path / "unpacked")
    program = assemble(disassemble(neff.read(tmp_path / "a.neff")))
    assert assembler.missing_weights(program) == ["w", "w"]
    written = assembler.write_members(program, tmp_path / "out")
    assert set(names) - set(written) == {"manifest.sha256", "cpu/a.onnx", "sg00/weights/00002.bin",
                                         "sg01/weights/00002.bin"}
    for name in written:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "unpacked" / name).read_bytes()
    with pytest.raises(ContainerError):
        assembler.write_members(program, tmp_path / "out")


def test_one_stage_assembles_to_its_own_members(tmp_path: Path) -> None:
    program = make_program()
    listing = disassemble(program, stage=1)
    assert ".stage 0" not in listing and ".node" not in listing
    again = assemble(listing)
    assert parts(again.stages[1]) == parts(program.stages[1])
    assert again.stages[1].debug == program.stages[1].debug


def test_choice_of_engine_and_stage() -> None:
    stage = Stage({"tensor": np.zeros(1, word.WORD), "sync": np.zeros(2, word.WORD)})
    assert disassemble(stage, "sync").count("op.0x00") == 2
    assert ".engine tensor" not in disassemble(stage, "sync")
    for engine, number, code in (("warp", None, "NO_ENGINE"), (None, 1, "NO_STAGE"), (None, -1, "NO_STAGE")):
        with pytest.raises(IsaError) as error:
            disassemble(stage, engine, number)
        assert error.value.code == code


def test_layer_comments() -> None:
    words = np.zeros(3, dtype=word.WORD)
    words["opcode"], words["debug"] = 0x40, [1, 1, 2]
    stage = Stage({"sync": words}, debug=[DebugEntry(), DebugEntry("conv1", "Conv+Relu"), DebugEntry("fc", "MatMul")])
    comments = [x.strip() for x in disassemble(stage).splitlines() if x.startswith("    ;")]
    assert comments == ["; layer conv1 (Conv+Relu)", "; layer fc (MatMul)"]


# ---- hand-written text

def test_examples_of_the_documentation() -> None:
    relu, many = re.findall(r"```asm\n(.*?)```", DOCS.read_text(), re.DOTALL)
    program = assemble(relu)
    for text in (relu, many):
        validate(assemble(text).stages[0], targets.load("trn1.2xlarge"))
    assert [(t.name, t.shape, t.dtype) for t in program.inputs] == [("x", (128, 512), "float32")]
    assert [(t.name, t.dtype) for t in program.outputs] == [("y", "bfloat16")]
    stage = program.stages[0]
    assert stage.stream("sync")["arg"].tolist() == [0, 1] and stage.stream("sync")["post_sem"].tolist() == [16, 17]
    load, store = stage.descriptors
    assert load["src_step"].tolist() == [0, 0, 2048, 4] and load["dst_step"].tolist() == [0, 0, 1 << 18, 4]
    assert (store["src_var"], store["dst_var"], store["src_off"]) == (0, 2, 0x800)
    stream = assemble(many).stages[0].stream("vector")
    assert len(stream) == 100 and stream["dst"]["start"].tolist() == [256 * k for k in range(100)]
    assert set(stream["imm0"].tolist()) == {1.5}


def test_every_field_of_an_operand() -> None:
    dst = only_word("memset dst=psum.r2[3:35]@0x1A00:bf16[2:-7, 4, 5:0, 6] value=-0.0")["dst"]
    assert (dst["start"], dst["partition"], dst["partitions"], dst["dtype"]) == (0x1A00, 3, 32, 2)
    assert dst["space"] == 2 | 3 << 2
    assert dst["size"].tolist() == [2, 4, 5, 6] and dst["step"].tolist() == [-7, 0, 0, 1]
    dst = only_word("memset dst=sbuf[9]@16:fp32[4,8]")["dst"]
    assert (dst["partition"], dst["partitions"]) == (9, 1)
    assert dst["size"].tolist() == [1, 1, 4, 8] and dst["step"].tolist() == [0, 0, 8, 1]


@pytest.mark.parametrize(("text", "bits"), [
    ("1", 0x3F800000), ("0x10", 0x41800000), ("-0.0", 0x80000000), ("inf", 0x7F800000), ("nan", 0x7FC00000),
    ("bits:0xffc00001", 0xFFC00001), ("1e-45", 1), ("0.1", 0x3DCCCCCD)])
def test_floats(text: str, bits: int) -> None:
    made = only_word(f"memset value={text}")
    assert np.array(made["imm0"]).view(np.uint32) == bits


def test_scalars_are_columns_or_numbers() -> None:
    made = only_word("tensor_scalar op0=mult a=sbuf[4]@0x40:bf16 op1=add b=2.5 swap1")
    assert made["ptr0"].tolist() == (0x40, 4, 2, 1, 0) and made["imm0"] == 0
    assert made["ptr1"].tolist() == (0, 0, 0, 0, 0) and made["imm1"] == 2.5
    assert made["flags"] == SPEC.by_name["tensor_scalar"].flags["swap1"]


def test_signed_slots_and_patterns() -> None:
    made = only_word("iota dst=sbuf[0:4]@0:int32[2,3] pattern=(3,1) base=-5 channel=-2", "gpsimd")
    assert (int(made["arg"]), int(made["count"])) == ((1 << 32) - 5, (1 << 16) - 2)
    assert made["src0"]["step"].tolist() == [0, 0, 3, 1] and made["src0"]["space"] == 0


def test_repeat_nests_and_counts() -> None:
    text = ".engine sync\n.repeat 3 a\n.repeat 2\nnop dbg={a*10+i} ; comment {x}\n.endr\nnop\n.endr"
    assert assemble(text).stages[0].stream("sync")["debug"].tolist() == [0, 1, 0, 10, 11, 0, 20, 21, 0]


def test_two_stages_by_hand() -> None:
    program = assemble(".stage 0\n.variable x input fp32 4\n.variable h output fp32 4\n"
                       ".stage 1\n.variable h input fp32 4\n.variable y output fp32 4\n")
    assert [n.inputs for n in program.nodes] == [("x",), ("h",)]
    assert [t.name for t in program.inputs] == ["x"] and [t.name for t in program.outputs] == ["y"]
    assert program.generation == "v2" and program.target == assembler.DEFAULT_TARGET


def test_pipeline_by_hand(tmp_path: Path) -> None:
    program = assembler.assemble_to_neff(
        ".stage 0\n.variable x input fp32 4\n"
        ".variable h output fp32 4 space=sbuf\n.variable y output fp32 4 space=sbuf\n"
        ".stage 1\n.variable h input fp32 4 space=sbuf\n.variable y input fp32 4 space=sbuf\n"
        ".variable y output fp32 4\n", tmp_path / "p.neff")
    assert [(n.core, n.upstream) for n in program.nodes] == [(0, ""), (1, "stage0")]
    assert [t.name for t in program.inputs] == ["x"] and [t.name for t in program.outputs] == ["y"]
    assert neff.read(tmp_path / "p.neff").nodes == program.nodes


def test_weights_from_a_mapping() -> None:
    text = ".variable w file fp32 2 file=my/w.bin\n"
    weight = assemble(text, {"my/w.bin": np.array([1, 2], dtype=np.float32)}).stages[0].variables[0]
    assert neff.weight_bytes(weight).tolist() == [0, 0, 128, 63, 0, 0, 0, 64]
    sources: list[tuple[dict[str, bytes | np.ndarray], str]] = [
        ({}, "NEFF_MEMBER_MISSING"), ({"my/w.bin": b"123"}, "NEFF_WEIGHT")]
    for weights, code in sources:
        with pytest.raises(ContainerError) as error:
            assemble(text, weights)
        assert error.value.code == code
    with pytest.raises(ContainerError) as error:
        assemble(".variable w file fp32 2 file=../w.bin", {"../w.bin": b""})
    assert error.value.code == "NEFF_MEMBER_PATH"


ERRORS = [
    ("nop", 1, 1, "section"),
    (".engine warp", 1, 9, "warp"),
    (".init warp", 1, 7, "warp"),
    (".variable x input fp32 4 space=psum", 1, 11, "space"),
    (".variable w file fp32 4 space=sbuf", 1, 11, "file=member"),
    ('.node {"name":"n","kind":"cpu","inputs":[],"outputs":[],"stage":0,"model":"","core":"1"}', 1, 7, "exactly"),
    ('.node {"name":"n","kind":"cpu","inputs":[],"outputs":[],"stage":0,"model":"","cores":1}', 1, 7, "exactly"),
    (".engine sync\n  nopp", 2, 3, "nopp"),
    (".engine sync\n  nop dgb=1", 2, 7, "dgb"),
    (".engine sync\nnop dbg=x", 2, 5, "x"),
    (".engine sync\nnop dbg=1 dbg=2", 2, 11, "twice"),
    (".engine sync\nnop post(1+1) post(1+1)", 2, 15, "twice"),
    (".engine sync\nnop wait(1>=1) wait(1>=1) wait(1>=1)", 2, 27, "two waits"),
    (".engine sync\nnop wait(70000>=1)", 2, 5, "65535"),
    (".engine sync\nnop wait(done>=1)", 2, 5, "done"),
    (".engine sync\nnop wait(1=1)", 2, 5, "wait"),
    (".engine sync\nop.0x100", 2, 1, "255"),
    (".engine sync\ndma_trigger first=load", 2, 13, "load"),
    (".engine sync\ndma_trigger queue=256", 2, 13, "255"),
    (".engine vector\nmemset dst=sbuf[0:128]@0:fp33[4]", 2, 8, "fp33"),
    (".engine vector\nmemset dst=dram[0:128]@0:fp32[4]", 2, 8, "dram"),
    (".engine vector\nmemset dst=sbuf[0:300]@0:fp32[4]", 2, 8, "255"),
    (".engine vector\nmemset dst=sbuf[0:3]@0:fp32[1,2,3,4,5]", 2, 8, "four|at most 4"),
    (".engine vector\nmemset dst=sbuf[0:3]@0:fp32[2,60000,2]", 2, 8, "outside"),
    (".engine vector\nmemset dst=sbuf[0:3", 2, 8, "operand"),
    (".engine vector\nmemset dst", 2, 8, "value"),
    (".engine vector\nmemset value=1e39", 2, 8, "fp32"),
    (".engine vector\nmemset value=ten", 2, 8, "ten"),
    (".engine vector\ntensor_tensor op=plus", 2, 15, "plus"),
    (".engine vector\nmatmul strat", 2, 8, "strat"),
    (".dma\ncopy size=[4] src=x@0:fp32 dst=sbuf[0]@0:fp32", 2, 15, "'x'"),
    (".dma\ncopy size=[4] src=sbuf[0]@0:fp32", 2, 33, "dst"),
    (".dma\ncopy size=4 src=%1@0 dst=%1@0", 2, 6, "sizes"),
    (".dma\ncopy size=[4,4] src=%1@0(1) dst=%1@0", 2, 17, "1 steps for 2 sizes"),
    (".dma\ncopy size=[4] src=%1@0 dst=%1@0 speed=9", 2, 33, "speed"),
    (".dma\nmove size=[4] src=%1@0 dst=%1@0", 2, 1, "move"),
    (".dma\na: copy size=[4] src=%1@0 dst=%1@0\na: copy size=[4] src=%1@0 dst=%1@0", 3, 1, "taken"),
    (".repeat 3", 1, 1, "endr"),
    ("\n.endr", 2, 1, "repeat"),
    (".engine sync\n.repeat 2\nnop dbg={j}\n.endr", 3, 9, "'j'"),
    (".engine sync\nnop dbg={1/2}", 2, 9, "whole"),
    (".engine sync\nnop dbg={1//0}", 2, 9, "zero"),
    (".engine sync\nnop dbg={()}", 2, 9, "evaluate"),
    (".repeat 99999999\n.endr", 1, 1, "count"),
    (".variable x input fp32", 1, 11, "expected"),
    (".variable x inputs fp32 4", 1, 11, "inputs"),
    (".variable x input fp32 4x-1", 1, 11, "shape"),
    (".variable x input fp32 999999999x999999999", 1, 11, "bytes"),
    (".debug 2 a b c d 0", 1, 8, "next row is 1"),
    (".stage 0\n.stage 0", 2, 8, "twice"),
    (".info [1]", 1, 7, "object"),
    (".node {}", 1, 7, "exactly"),
    (".frobnicate", 1, 1, "frobnicate"),
    ('.program "abc', 1, 10, ""),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors_point_at_the_place(case: int) -> None:
    text, line, column, words = ERRORS[case]
    with pytest.raises(AssemblyError) as error:
        assemble(text)
    assert (error.value.line, error.value.column) == (line, column), str(error.value)
    assert re.search(words, error.value.what), str(error.value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([
    ".engine sync\n", ".dma\n", "nop", "memset ", "copy ", "size=[4,", "]", "dst=sbuf[0:4]@0:fp32[4]", "src=%1@0(", ")",
    "wait(", "1>=2)", "post(1+1)", " ", "\n", ".repeat 2\n", ".endr\n", "{i}", "{", "}", "=", '"', ";", ".debug ",
    ".variable x input fp32 4\n", ".init sync\n", ".node {", ".stage 1\n", "op.", "0x", "9" * 30, ".flags=", ".src1=",
    "\x00", "é"]), max_size=30).map("".join))
def test_nonsense_is_an_assembly_error(text: str) -> None:
    try:
        program = assemble(text)
    except AssemblyError:
        return
    assert [parts(s) for s in assemble(disassemble(program)).stages] == [parts(s) for s in program.stages]


def test_twenty_thousand_words_in_two_seconds() -> None:
    text = (".engine scalar\n.repeat 20000\nactivation dst=sbuf[0:128]@{i*4}:bf16[4,128] "
            "src0=psum[0:128]@{i%8*2048}:fp32[512] func=relu "
            "scale=0.5 bias=sbuf[0]@{i*8}:fp32 wait(7>={i}) post(3+1) dbg={i%50}\n.endr\n")
    stage = assemble(text).stages[0]
    start = time.process_time()
    again = assemble(disassemble(stage)).stages[0]
    assert time.process_time() - start < 2
    assert parts(again) == parts(stage)


def test_dbg_rows_need_a_table_to_be_written(tmp_path: Path) -> None:
    with pytest.raises(ContainerError) as error:
        assembler.assemble_to_neff(".engine sync\nnop dbg=4\n", tmp_path / "x.neff")
    assert error.value.code == "NEFF_REFERENCE"
    text = '.debug 1 "a b" Relu n1 compute 12\n.engine sync\nnop dbg=1\n'
    assembler.assemble_to_neff(text, tmp_path / "x.neff")
    assert neff.read(tmp_path / "x.neff").stages[0].debug[1] == DebugEntry("a b", "Relu", "n1", "compute", 12)


def test_disassembler_names_its_format() -> None:
    assert disassemble(Stage()).startswith(disassembler.HEADING)
