"""Pipelines in the container: what is loaded once, who hands what to whom; and files without them keep their bytes."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from isa import neff
from isa.dtypes import dtype
from isa.errors import ContainerError
from isa.neff import container, encode
from isa.neff.pipeline import check_pipeline
from isa.program import Node, Program, Stage, Variable
from tests.isa.neff_files import make_pipeline, make_program
from tests.isa.test_assembler import make_program as make_two_segments
from tests.isa.test_neff_rules import seal

# sha256 of files written before pipelines were part of the format
BEFORE = {make_program: "3aa645ecab51b8e8e171562f44986774c776a88090530ca7f3aaee9f155c0dab",
          make_two_segments: "9ad4a74702df897231d3e27dd01a5f2141d07245cad7d7447a4d74837fd5afa1"}


@pytest.mark.parametrize("make", BEFORE)
def test_files_without_a_pipeline_keep_their_bytes(make: Callable[[], Program], tmp_path: Path) -> None:
    neff.write(make(), tmp_path / "x.neff")
    assert hashlib.sha256((tmp_path / "x.neff").read_bytes()).hexdigest() == BEFORE[make]


def test_round_trip(tmp_path: Path) -> None:
    made, path = make_pipeline(), tmp_path / "x.neff"
    neff.write(made, path)
    back = neff.read(path, verify=True)
    assert back.nodes == made.nodes and back.cores == 3
    for old, new in zip(made.stages, back.stages, strict=True):
        assert [(v.name, v.kind, v.space) for v in new.variables] == [(v.name, v.kind, v.space) for v in old.variables]
        assert {e: s.tobytes() for e, s in new.init.items()} == {e: s.tobytes() for e, s in old.init.items()}
    neff.write(back, tmp_path / "again.neff")
    assert (tmp_path / "again.neff").read_bytes() == path.read_bytes()


def test_members_and_queue_sets(tmp_path: Path) -> None:
    neff.write(make_pipeline(), tmp_path / "x.neff")
    opened = container.Container(tmp_path / "x.neff")
    assert "sg00/Sync.init.bin" in opened.names and "sg01/Sync.init.bin" not in opened.names
    definition = json.loads(opened.bytes("sg00/def.json").tobytes())
    assert definition["init"] == {"sync": {"file_name": "sg00/Sync.init.bin", "instructions": 1}}
    assert definition["dma_queue"]["sync5"] == {"type": "data", "owner": "sync", "num_queues": 1, "pinned": True}
    assert [v.get("space") for v in definition["var"]] == [None, None, "sbuf", "sbuf"]
    assert "init" not in json.loads(opened.bytes("sg01/def.json").tobytes())


def test_queue_that_runs_trigger_too_is_not_pinned(tmp_path: Path) -> None:
    program = make_pipeline()
    program.stages[0].streams["sync"] = program.stages[0].init["sync"]
    neff.write(program, tmp_path / "x.neff")
    definition = json.loads(container.Container(tmp_path / "x.neff").bytes("sg00/def.json").tobytes())
    assert "pinned" not in definition["dma_queue"]["sync5"]


def test_header_counts_the_cores() -> None:
    program = make_pipeline()
    header = neff.writer.Header.of(program, 0)
    assert (header.num_tpb, header.requested_tpb_count, header.tpb_per_node[:4]) == (3, 3, (1, 1, 1, 0))
    asked = replace(program, options={"neuroncore_pipeline_cores": 16})
    assert neff.writer.Header.of(asked, 0).requested_tpb_count == 16
    searched = replace(program, options={"neuroncore_pipeline_cores": "auto"})
    assert neff.writer.Header.of(searched, 0).requested_tpb_count == 3
    apart = replace(program, nodes=[*program.nodes[:2], replace(program.nodes[2], core=6)])
    assert neff.writer.Header.of(apart, 0).num_tpb == apart.cores == 7


def test_inspection_shows_the_pipeline(tmp_path: Path) -> None:
    neff.write(make_pipeline(), tmp_path / "x.neff")
    seen: dict[str, Any] = neff.inspect(tmp_path / "x.neff")
    assert json.loads(json.dumps(seen)) == seen
    assert [(n["core"], n["upstream"]) for n in seen["nodes"]] == [(0, ""), (1, "s0"), (2, "s1")]
    first, second, last = seen["stages"]
    assert (first["init_instructions"], first["pinned_bytes"], first["streamed_bytes"]) == ({"sync": 1}, 16, 0)
    assert (second["init_instructions"], second["pinned_bytes"], second["streamed_bytes"]) == ({}, None, None)
    assert [s["cores"] for s in seen["stages"]] == [[0], [1], [2]]
    assert [v["name"] for v in first["handover"]] == ["h", "skip"] and last["handover"] == []
    assert second["handover"][0] == {"name": "h", "bytes": 128, "space": "sbuf"}
    assert [s["handover_bytes"] for s in seen["stages"]] == [0, 128, 128]  # two buffers of 32 bytes for each of two


def edited(program: Program, node: int, **changes: Any) -> Program:
    return replace(program, nodes=[replace(n, **changes) if i == node else n for i, n in enumerate(program.nodes)])


def with_variable(program: Program, stage: int, name: str, kind: str, /, **changes: Any) -> Program:
    stages = list(program.stages)
    variables = [replace(v, **changes) if (v.name, v.kind) == (name, kind) else v for v in stages[stage].variables]
    assert variables != stages[stage].variables
    stages[stage] = replace(stages[stage], variables=variables)
    return replace(program, stages=stages)


def two_readers(program: Program) -> Program:
    return replace(program, nodes=[*program.nodes, Node("s3", "neuron_core", (), (), 1, core=3, upstream="s0")])


def same_names(program: Program) -> Program:
    return replace(program, nodes=[*program.nodes, Node("s0", "neuron_core", (), (), 2, core=3)])


def handed_twice(program: Program) -> Program:
    """`h` stands twice on both sides."""
    for stage, kind in zip(program.stages[:2], ("output", "input"), strict=True):
        stage.variables.append(Variable(len(stage.variables) + 1, "h", kind, dtype("fp32"), (4, 8), space="sbuf"))
    return program


def cpu_segment(program: Program, **place: Any) -> Program:
    return replace(program, nodes=[*program.nodes, Node("c", "cpu", (), (), -1, "cpu/c.onnx", **place)],
                   cpu_models={"cpu/c.onnx": b"onnx"})


REFUSED: list[tuple[str, str, Callable[[Program], Program]]] = [
    ("NEFF_LIMIT", "core", lambda p: edited(p, 2, core=4096)),
    ("NEFF_LIMIT", "core", lambda p: edited(p, 2, core=-1)),
    ("NEFF_REFERENCE", "no earlier node", lambda p: edited(p, 1, upstream="s2")),
    ("NEFF_REFERENCE", "no earlier node", lambda p: edited(p, 1, upstream="s1")),
    ("NEFF_REFERENCE", "no earlier node", lambda p: edited(p, 1, upstream="nobody")),
    ("NEFF_REFERENCE", "names 2 nodes", same_names),
    ("NEFF_REFERENCE", "upstream of two", two_readers),
    ("NEFF_REFERENCE", "no device stage", lambda p: replace(q := cpu_segment(p), nodes=[
        q.nodes[3], edited(p, 0, upstream="c").nodes[0], *q.nodes[1:3]])),
    ("NEFF_REFERENCE", "CPU node", lambda p: cpu_segment(p, core=1)),
    ("NEFF_REFERENCE", "CPU node", lambda p: cpu_segment(p, upstream="s2")),
    ("NEFF_REFERENCE", "core 1", lambda p: edited(p, 2, core=1)),
    ("NEFF_REFERENCE", "core 0", lambda p: edited(p, 2, core=0)),
    ("NEFF_REFERENCE", "one side only", lambda p: with_variable(p, 1, "h", "input", name="g")),
    ("NEFF_REFERENCE", "one side only", lambda p: with_variable(p, 1, "h", "input", shape=(8, 4))),
    ("NEFF_REFERENCE", "one side only", lambda p: with_variable(p, 1, "h", "input", dtype=dtype("int32"))),
    ("NEFF_REFERENCE", "one side only", lambda p: with_variable(p, 1, "h", "input", space="dram")),
    ("NEFF_REFERENCE", "twice", handed_twice),
    ("NEFF_REFERENCE", "no other core", lambda p: with_variable(p, 0, "x", "input", space="sbuf")),
    ("NEFF_REFERENCE", "no other core", lambda p: with_variable(p, 2, "y", "output", space="sbuf")),
    ("NEFF_REFERENCE", "'w'", lambda p: with_variable(p, 0, "w", "file", space="sbuf")),
    ("NEFF_REFERENCE", "unknown space", lambda p: with_variable(p, 2, "y", "output", space="psum")),
    ("NEFF_REFERENCE", "no other core", lambda p: replace(p, nodes=p.nodes[:1])),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_writer_refuses(case: int, tmp_path: Path) -> None:
    code, words, edit = REFUSED[case]
    with pytest.raises(ContainerError, match=words) as error:
        neff.write(edit(make_pipeline()), tmp_path / "bad.neff")
    assert error.value.code == code


def graph_node(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda graph: graph["nodes"][1].update(changes)


JSON_EDITS: list[tuple[str, str, Callable[[dict[str, Any]], object]]] = [
    ("NEFF_LIMIT", "kelf-a.json", graph_node(core=0)),  # what is not said has no second spelling
    ("NEFF_LIMIT", "kelf-a.json", graph_node(core=1 << 12)),
    ("NEFF_JSON", "kelf-a.json", graph_node(core="1")),
    ("NEFF_JSON", "kelf-a.json", graph_node(upstream=0)),
    ("NEFF_REFERENCE", "kelf-a.json", graph_node(upstream="s2")),
    ("NEFF_REFERENCE", "kelf-a.json", lambda d: d["nodes"][1].pop("upstream")),
    ("NEFF_JSON", "sg00/def.json", lambda d: d["var"][2].update(space="dram")),
    ("NEFF_REFERENCE", "sg00/def.json", lambda d: d["var"][0].update(space="sbuf")),
    ("NEFF_REFERENCE", "sg00/def.json", lambda d: d["var"][1].update(space="sbuf")),
    ("NEFF_REFERENCE", "sg00/def.json", lambda d: d["var"][2].pop("space")),
    ("NEFF_STREAM", "sg00/def.json", lambda d: d["init"]["sync"].update(instructions=2)),
    ("NEFF_JSON", "sg00/def.json", lambda d: d["init"]["sync"].update(file_name="sg00/Sync.bin")),
    ("NEFF_JSON", "sg00/def.json", lambda d: d["init"].update(warp={})),
    ("NEFF_REFERENCE", "sg00/def.json", lambda d: d.update(init={})),
    ("NEFF_MEMBER_EXTRA", "sg00/def.json", lambda d: d.pop("init")),
]


@pytest.mark.parametrize("case", range(len(JSON_EDITS)))
def test_reader_refuses(case: int, tmp_path: Path) -> None:
    code, member, edit = JSON_EDITS[case]
    members = {n: d.tobytes() for n, d in encode.members(make_pipeline()).items()}
    document = json.loads(members[member])
    edit(document)
    seal(tmp_path / "bad.neff", members | {member: json.dumps(document).encode()}, num_tpb=3, requested_tpb_count=3,
         tpb_per_node=(1, 1, 1) + (0,) * 61, name="pipe")
    with pytest.raises(ContainerError) as error:
        neff.read(tmp_path / "bad.neff")
    assert error.value.code == code


def test_debug_rows_of_what_is_loaded(tmp_path: Path) -> None:
    program = make_pipeline()
    program.stages[0].init["sync"]["debug"] = 1
    with pytest.raises(ContainerError, match="debug row 1") as error:
        neff.write(program, tmp_path / "bad.neff")
    assert error.value.code == "NEFF_REFERENCE"
    program.stages[0].init = {"warp": np.zeros(1, program.stages[0].init["sync"].dtype)}
    with pytest.raises(ContainerError, match="warp"):
        neff.write(program, tmp_path / "bad.neff")


SPACES = st.sampled_from(["sbuf", "dram"])
FACES = st.lists(st.tuples(st.sampled_from("xy"), SPACES), max_size=2)


@st.composite
def nearly_pipelines(draw: st.DrawFn) -> tuple[list[Node], list[Stage]]:
    """Up to four nodes in a chain, with a slip here and there."""
    count = draw(st.integers(1, 4))
    faces = [draw(FACES) for _ in range(count + 1)]
    stages, nodes = [], []
    slips = draw(st.lists(st.integers(0, 6 * count), max_size=2))
    for k in range(count):
        taken = draw(FACES) if 6 * k in slips else faces[k] if k else [(n, "dram") for n, _ in faces[0]]
        made = draw(FACES) if 6 * k + 1 in slips else faces[k + 1] if k + 1 < count else []
        pairs = [(v, kind) for kind, face in (("input", taken), ("output", made)) for v in face]
        stages.append(Stage(variables=[Variable(i, name, kind, dtype("fp32"), (1,), space=space)
                                       for i, ((name, space), kind) in enumerate(pairs, 1)]))
        nodes.append(Node(
            draw(st.sampled_from("abcd")) if 6 * k + 2 in slips else "abcd"[k],
            "cpu" if 6 * k + 3 in slips else "neuron_core", (), (),
            draw(st.integers(0, k)) if 6 * k + 4 in slips else k,
            core=draw(st.integers(-1, 3)) if 6 * k + 5 in slips else k,
            upstream=draw(st.sampled_from(["", "a", "b", "c"])) if 6 * k + 6 in slips else "abcd"[k - 1] if k else ""))
    return nodes, stages


@settings(max_examples=500, deadline=None)
@given(nearly_pipelines())
def test_what_passes_is_a_set_of_chains(case: tuple[list[Node], list[Stage]]) -> None:
    nodes, stages = case
    try:
        check_pipeline(nodes, stages)
    except ContainerError:
        return
    event(f"passes with {sum(bool(n.upstream) for n in nodes)} handovers")
    handing = [n.upstream for n in nodes if n.upstream]
    assert len(handing) == len(set(handing))
    for at, node in enumerate(nodes):
        if node.upstream:
            (before,) = (n for n in nodes[:at] if n.name == node.upstream)
            assert before.kind == node.kind == "neuron_core" and before.core != node.core
            given = {(v.name, v.space) for v in stages[before.stage].variables if v.kind == "output"}
            assert given == {(v.name, v.space) for v in stages[node.stage].variables if v.kind == "input"}
    for index, stage in enumerate(stages):
        users = [n for n in nodes if n.stage == index]
        for v in stage.variables:
            ends = [n.upstream != "" if v.kind == "input" else n.name in handing for n in users]
            assert v.space == "dram" or (ends and all(ends))
