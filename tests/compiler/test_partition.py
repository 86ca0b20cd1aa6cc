"""What goes where and why: rules, options, refusals and values of models cut into segments."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler import compile_graph, segments
from compiler.errors import AllocationError, UnsupportedOp, VerifyError
from compiler.ir import Graph
from compiler.options import OptionError, from_keywords
from compiler.partition import Partition, partition
from compiler.partition.opsets import cut_by_opset
from compiler.report import one_line
from isa import target as targets
from isa.errors import ErrorList
from isa.program import Program
from neuronsim.api import Neff
from tests.compiler.evaluate import imported, make, run_model
from tests.compiler.lowering_run import feeds_of

node = helper.make_node
RNG = np.random.default_rng(5)
WIDE = RNG.standard_normal((256, 256)).astype(np.float32) / 16
TARGET = "trn1.2xlarge"
ALL = {"minimum_segment_size": 1, "transfer_cost": False}


def dense(x: str, y: str) -> onnx.NodeProto:
    return node("MatMul", [x, "w"], [y], f"to_{y}")


def only_host(x: str, y: str, name: str) -> onnx.NodeProto:
    """A branch that data decides, which no device has."""
    kind = helper.make_tensor_value_info("out", TensorProto.FLOAT, [256, 256])
    ways = [helper.make_graph([node(op, [x], ["out"])], op, [], [kind]) for op in ("Neg", "Abs")]
    return node("If", ["flag"], [y], name, then_branch=ways[0], else_branch=ways[1])


def network(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",), **weights: np.ndarray) -> onnx.ModelProto:
    return make(nodes, {"x": [256, 256], "flag": []}, list(outputs), {"w": WIDE, **weights}, opset=18,
                types={"flag": TensorProto.BOOL})


#: dense, Relu | If | Add, dense: a device segment on either side of an operator only the host has
AROUND = network(
    dense("x", "a"), node("Relu", ["a"], ["b"], "relu"), only_host("b", "c", "det"),
    node("Add", ["b", "c"], ["d"], "add"), dense("d", "y"),
)  # fmt: skip


def cut(model: onnx.ModelProto, target: str = TARGET, **options: Any) -> Partition:
    return partition(imported(model), targets.load(target), from_keywords({"target": target, **options}))


@pytest.fixture
def far(tmp_path: Path) -> str:
    """A machine whose host link is slow."""
    path = tmp_path / "far.yaml"
    path.write_text(f"extends: {TARGET}\nname: far\nparameters:\n  host.bytes_per_ns: 1\n")
    return str(path)


def shape_of(found: Partition) -> list[tuple[str, list[str]]]:
    return [(s.kind, s.sources) for s in found.segments]


def compiled(model: onnx.ModelProto, **options: Any) -> Program:
    return compile_graph(imported(model), from_keywords({"target": TARGET, **options}))


def agrees(model: onnx.ModelProto, **options: Any) -> Program:
    """Compile, run with the checker, compare with ONNX Runtime; the program."""
    program = compiled(model, **options)
    feeds = feeds_of(model)
    result = Neff(program).run(feeds, check=True, threads=1)
    assert not result.findings
    for info, want in zip(model.graph.output, run_model(model, feeds), strict=True):
        got = result.outputs[info.name]
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max(initial=1))
    return program


def test_a_model_that_can_runs_wholly_on_the_device() -> None:
    """No rule on small or costly segments applies: there is no neighbour on the CPU to stay with."""
    tiny = make([node("Relu", ["x"], ["y"], "r")], {"x": [2, 3]}, ["y"])
    assert shape_of(cut(tiny)) == [("device", ["r"])]
    assert agrees(tiny).report["operators"] == {"total": 1, "on_device": 1, "on_cpu": 0}


def test_device_cpu_device() -> None:
    found = cut(AROUND)
    assert shape_of(found) == [("device", ["to_a", "relu"]), ("cpu", ["det"]), ("device", ["add", "to_y"])]
    assert found.reasons == {"det": "control flow"}
    assert [s.graph.inputs for s in found.segments] == [["x"], ["flag", "b"], ["b", "c"]]
    program = agrees(AROUND)
    assert [n.kind for n in program.nodes] == ["neuron_core", "cpu", "neuron_core"]
    assert [n.stage for n in program.nodes if n.kind != "cpu"] == [0, 1]
    assert one_line(program.report) == "4 of 5 operators on device, 1 on CPU in 3 segments"


def test_cpu_ops_by_operator_and_by_node() -> None:
    by_type = cut(AROUND, cpu_ops="Add", **ALL)
    by_name = cut(AROUND, cpu_ops=["add"], **ALL)
    assert by_type.reasons == by_name.reasons
    assert by_type.reasons == {"det": "control flow", "add": "kept on the CPU by cpu_ops"}
    assert shape_of(by_type)[1] == ("cpu", ["det", "add"])
    agrees(AROUND, cpu_ops="Add", **ALL)


@pytest.mark.parametrize("option", ["cpu_ops", "device_ops"])
def test_unknown_names_list_near_ones(option: str) -> None:
    with pytest.raises(ErrorList) as caught:
        cut(AROUND, **{option: ["Relux", "to_q"]})
    assert [e.code for e in caught.value.errors] == [OptionError.code] * 2
    assert "Relu" in caught.value.errors[0].help
    assert "to_y" in caught.value.errors[1].help


def test_an_operator_cannot_be_wanted_in_both_places() -> None:
    with pytest.raises(ErrorList) as caught:
        cut(AROUND, cpu_ops="Add", device_ops="Add")
    assert caught.value.errors[0].code == OptionError.code
    found = cut(AROUND, cpu_ops="MatMul", device_ops="to_y", **ALL)  # the name of a node says more than its operator
    assert set(found.reasons) == {"det", "to_a"}


def test_device_ops_override_the_rules_and_have_to_be_possible(far: str) -> None:
    island = network(only_host("x", "a", "d1"), node("Relu", ["a"], ["b"], "r"), only_host("x", "e", "d2"),
                     node("Add", ["b", "e"], ["f"], "add"), node("Mul", ["f", "x"], ["g"], "m"),
                     only_host("g", "y", "d3"))  # fmt: skip
    assert "r" in cut(island, far).reasons
    assert "r" not in cut(island, far, device_ops="Relu").reasons
    with pytest.raises(ErrorList) as caught:
        cut(island, device_ops="d1")
    assert caught.value.errors[0].where == "node 'd1'"
    assert "control flow" in caught.value.errors[0].what


def test_subgraph_builder_function_is_asked_once_for_each_node() -> None:
    asked = []

    def wanted(one: Any) -> bool:
        asked.append(one.name)
        return bool(one.op != "Relu")

    found = cut(AROUND, subgraph_builder_function=wanted, **ALL)
    assert asked == ["to_a", "relu", "det", "add", "to_y"]
    assert found.reasons["relu"] == "kept on the CPU by subgraph_builder_function"


def test_minimum_segment_size() -> None:
    assert "add" not in cut(AROUND, minimum_segment_size=2).reasons
    found = cut(AROUND, minimum_segment_size=3)
    assert found.reasons["add"] == "a segment of 2 is smaller than the minimum segment size, 3"
    assert [s.kind for s in found.segments] == ["cpu"]


def test_no_fallback_lists_everything() -> None:
    two = network(dense("x", "a"), only_host("a", "b", "d1"), only_host("x", "c", "d2"),
                  node("Add", ["b", "c"], ["y"], "add"))  # fmt: skip
    with pytest.raises(ErrorList) as caught:
        cut(two, fallback=False)
    assert [e.where for e in caught.value.errors] == ["node 'd1'", "node 'd2'"]
    assert all(isinstance(e, UnsupportedOp) for e in caught.value.errors)
    assert "If cannot run on the device: control flow" in str(caught.value)


def test_an_island_that_costs_more_in_transfers_stays_with_its_neighbours(far: str) -> None:
    """Two cheap operators on a large tensor between operators of the host; two products in the same place do pay."""

    def between(*inner: onnx.NodeProto) -> onnx.ModelProto:
        return network(node("Unique", ["x"], ["u", "", "back", ""], "u"), node("Cast", ["back"], ["k"], "k", to=1),
                       node("Reshape", ["k", "s"], ["a"], "rs"), *inner, only_host("c", "y", "det"),
                       s=np.array([256, 256]))  # fmt: skip

    cheap = cut(between(node("Relu", ["a"], ["b"], "r1"), node("Abs", ["b"], ["c"], "r2")), far)
    assert cheap.reasons["r1"].startswith("would cost more in transfers: ")
    assert "us on the device and the link, " in cheap.reasons["r2"]
    assert [s.kind for s in cheap.segments] == ["cpu"]
    dear = cut(between(*(dense(f"a{k}" if k else "a", f"a{k + 1}" if k < 9 else "c") for k in range(10))), far)
    assert [s.kind for s in dear.segments][-2:] == ["device", "cpu"]
    assert not any("transfers" in why for why in dear.reasons.values())


def test_without_the_transfer_rule(far: str) -> None:
    model = network(only_host("x", "a", "d1"), node("Relu", ["a"], ["b"], "r"),
                    node("Add", ["b", "x"], ["c"], "s"), only_host("c", "y", "d2"))  # fmt: skip
    assert {"r", "s"} <= set(cut(model, far).reasons)
    assert set(cut(model, far, transfer_cost=False).reasons) == {"d1", "d2"}


def test_nodes_that_hand_data_on_make_no_segment() -> None:
    model = network(only_host("x", "a", "d1"), node("Reshape", ["a", "one"], ["b"], "rs"),
                    node("Identity", ["b"], ["c"], "id"), node("Mul", ["c", "x"], ["e"], "m"),
                    only_host("e", "y", "d2"), one=np.array([256, 256]))  # fmt: skip
    found = cut(model, cpu_ops="Mul", **ALL)
    assert [s.kind for s in found.segments] == ["cpu"]
    assert found.reasons["rs"] == "only hands data on, next to operators on the CPU"


def test_values_of_the_host_stay_on_the_cpu() -> None:
    double = make([node("Cast", ["x"], ["d"], "up", to=TensorProto.DOUBLE), node("Exp", ["d"], ["e"], "exp"),
                   node("Cast", ["e"], ["f"], "down", to=TensorProto.FLOAT), dense("f", "g"),
                   node("Tanh", ["g"], ["y"], "tanh")],
                  {"x": [256, 256]}, ["y"], {"w": WIDE})  # fmt: skip
    program = agrees(double)
    assert {o["name"] for o in program.report["cpu_operators"]} == {"up", "exp", "down"}  # type: ignore[attr-defined]


def test_outputs_that_are_inputs_constants_or_shared() -> None:
    """y and b cross segments and are outputs, z is an input handed on, k is known at compile time."""
    model = network(
        dense("x", "a"), node("Relu", ["a"], ["b"], "relu"), only_host("b", "c", "det"),
        node("Add", ["b", "c"], ["d"], "add"), dense("d", "y"), node("Identity", ["x"], ["z"], "id"),
        node("Neg", ["w"], ["k"], "neg"), outputs=("y", "b", "z", "k", "c"),
    )  # fmt: skip
    agrees(model)
    agrees(model, cpu_ops=["MatMul", "Relu", "Add"])


def test_constants_of_the_model_are_constants_of_every_segment() -> None:
    """The axes are computed from constants, and read on the far side of the cut."""
    model = network(node("Neg", ["ax"], ["axes"], "n"), only_host("x", "d", "d1"),
                    node("Add", ["d", "x"], ["a"], "add"),
                    node("Tanh", ["a"], ["e"], "tanh"), node("ReduceSum", ["e", "axes"], ["y"], "sum", keepdims=0),
                    ax=np.array([1]))  # fmt: skip
    assert set(cut(model, **ALL).reasons) == {"d1"}
    agrees(model, **ALL)


def test_deterministic() -> None:
    first, second = (compiled(AROUND) for _ in range(2))
    assert first.report == second.report
    assert first.cpu_models == second.cpu_models
    assert [n.outputs for n in first.nodes] == [n.outputs for n in second.nodes]


def test_cpu_segments_have_one_version_for_all_their_nodes() -> None:
    """Hardmax of opset 11 coerces to two dimensions, that of 13 does not: no model has both."""
    graph = Graph("versions")
    value = graph.add_input("x", (2, 3, 4), "float32")
    for k, version in enumerate((11, 13, 11, 13, 0)):
        made = graph.add_value(f"v{k}", (2, 3, 4), "float32")
        reads = "x" if k == 3 else value
        graph.add_node("Hardmax" if version else "Relu", [reads], [made], {"axis": 1} if version else {}, name=f"n{k}",
                       host="old", version=version)  # fmt: skip
        value = made
    graph.outputs = ["v2", "v4"]
    parts = cut_by_opset(graph, graph.nodes, {})
    assert [[n.name for n in part] for part in parts] == [["n0"], ["n1", "n3", "n4"], ["n2"]]
    found = partition(graph, targets.load(TARGET), from_keywords({"target": TARGET}))
    assert [s.sources for s in found.segments] == [["n0"], ["n1", "n3", "n4"], ["n2"]]


# ---- device segments that do not compile -----------------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, op: str, error: Exception) -> None:
    """Lowering raises `error` as long as a graph holds that operator."""
    real = segments.lower_graph

    def lower(graph: Any, *rest: Any) -> Any:
        if any(n.op == op for n in graph.nodes):
            raise error
        return real(graph, *rest)

    monkeypatch.setattr(segments, "lower_graph", lower)


def refused(where: str = "", nodes: tuple[str, ...] = ()) -> UnsupportedOp:
    error = UnsupportedOp("does not work here", where=where, limit=1, actual=2)
    error.nodes = nodes
    return error


@pytest.mark.parametrize("error", [refused(nodes=("exp",)), refused("exp"), AllocationError("sbuf", 9, 5, "e"),
                                   AllocationError("sbuf", 9, 5, "output e"), ErrorList([refused("exp")])])  # fmt: skip
def test_a_refused_node_goes_to_the_cpu(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    model = network(dense("x", "a"), node("Tanh", ["a"], ["b"], "tanh"), node("Exp", ["b"], ["e"], "exp"),
                    dense("e", "y"), node("Erf", ["y"], ["z"], "erf"), outputs=("z",))  # fmt: skip
    failing(monkeypatch, "Exp", error)
    program = agrees(model, fusion=False)
    (listed,) = program.report["cpu_operators"]  # type: ignore[misc]
    assert listed["name"] == "exp"
    assert "limit" in listed["reason"]
    assert [n.kind for n in program.nodes] == ["neuron_core", "cpu", "neuron_core"]


def test_an_error_without_a_name_moves_the_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "Relu", refused())
    program = agrees(AROUND, fusion=False)
    assert [n.kind for n in program.nodes] == ["cpu", "neuron_core"]


def test_a_segment_that_never_fits_goes_to_the_cpu_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """After PATIENCE compilations; each has moved the node that its error named."""
    rounds = []

    def lower(graph: Any, *rest: Any) -> Any:
        rounds.append(graph.nodes[-1].name)
        raise AllocationError("sbuf", 9, 5, graph.nodes[-1].output)

    monkeypatch.setattr(segments, "lower_graph", lower)
    chain = [node("Sin", [f"v{k}"], [f"v{k + 1}"], f"sin{k}") for k in range(3 * segments.PATIENCE)]
    model = make(chain, {"v0": [4]}, [f"v{len(chain)}"])
    program = compiled(model, fusion=False)
    assert [n.kind for n in program.nodes] == ["cpu"]
    assert len(rounds) == segments.PATIENCE + 1 == len(set(rounds))


def test_defects_and_refusals_without_fallback_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, options in ((VerifyError("a defect"), {}), (KeyError("x"), {}), (refused("relu"), {"fallback": False})):
        with monkeypatch.context() as patch:
            failing(patch, "Relu", error)
            model = network(dense("x", "a"), node("Relu", ["a"], ["y"], "relu"))
            with pytest.raises(type(error)):
                compiled(model, fusion=False, **options)


def test_inputs_without_elements_that_only_lend_their_type() -> None:
    model = make([node("CastLike", ["x", "like"], ["y"], "as")], {"x": [4], "like": [0]}, ["y"],
                 types={"like": TensorProto.FLOAT16, "y": TensorProto.FLOAT16})  # fmt: skip
    program = agrees(model)
    assert [n.kind for n in program.nodes] == ["neuron_core"]
    assert [v.name for v in program.stages[0].variables if v.kind == "input"] == ["x"]


def test_outputs_without_elements_that_are_known() -> None:
    """Nothing is left to run but the hand-over of a constant."""
    program = agrees(make([node("Shape", ["x"], ["y"], "s", start=2, end=1)], {"x": [4, 5, 6]}, ["y"],
                          types={"y": TensorProto.INT64}))  # fmt: skip
    assert program.report["operators"]["on_cpu"] == 0  # type: ignore[index]


def test_tensors_without_elements_are_for_the_host() -> None:
    model = make([node("Relu", ["x"], ["r"], "relu"), node("ReduceSum", ["r", "axes"], ["y"], "sum")],
                 {"x": [0, 3]}, ["y"], {"axes": np.array([0])})  # fmt: skip
    assert cut(model).reasons["sum"] == "tensor 'r' has no elements"
    agrees(model)


# ---- models only the host can run ------------------------------------------------------------------------------------


def test_a_model_for_the_host_alone() -> None:
    program = agrees(network(only_host("x", "y", "det")))
    assert [n.kind for n in program.nodes] == ["cpu"]
    assert not program.stages


def test_the_program_survives_its_file(tmp_path: Path) -> None:
    from isa import neff

    program = compiled(AROUND)
    neff.write(program, tmp_path / "m.neff")
    seen = neff.inspect(tmp_path / "m.neff")
    assert seen["operators"] == program.report["operators"]
    assert seen["cpu_operators"] == program.report["cpu_operators"]
    feeds = feeds_of(AROUND)
    result = Neff(dataclasses.replace(neff.read(tmp_path / "m.neff"))).run(feeds, threads=1)
    np.testing.assert_allclose(result.outputs["y"], run_model(AROUND, feeds)[0], rtol=1e-3, atol=1e-3)
