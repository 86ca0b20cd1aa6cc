"""Graphs cut into stages: names and shapes at the cuts, and values that do not change."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from compiler.ir import Graph
from compiler.pipeline import optimise
from compiler.precision import Precision
from compiler.sharding.arrange import Arrangement
from compiler.sharding.cut import cut
from compiler.sharding.order import crossing_bytes, order
from compiler.tiling import Tiler
from isa.target import load
from tests.compiler.evaluate import assert_close, imported, make, random_feeds, run_graph
from tests.compiler.random_graphs import FAMILIES
from tests.compiler.random_operators import floats, node
from tests.compiler.sharding_run import compile_stages, run_stages

RNG = np.random.default_rng(11)


def optimised(model: onnx.ModelProto) -> Graph:
    return optimise(imported(model))


def random_groups(rng: np.random.Generator, names: list[str], most: int = 5) -> list[list[str]]:
    """The names in order, cut at random places; groups may be empty."""
    cuts = sorted(int(c) for c in rng.integers(0, len(names) + 1, int(rng.integers(0, most))))
    return [names[a:b] for a, b in zip([0, *cuts], [*cuts, len(names)], strict=True)]


def skip_model() -> onnx.ModelProto:
    """Two products and a sum over both ends; an output is made early, another is constant."""
    nodes = [node("MatMul", ["x", "a"], ["u"]), node("Relu", ["u"], ["early"]), node("MatMul", ["early", "b"], ["v"]),
             node("Add", ["v", "x"], ["w"]), node("Softmax", ["w"], ["late"], axis=-1)]
    return make(nodes, {"x": [3, 40, 24]}, ["early", "late"], {"a": floats(RNG, 24, 50), "b": floats(RNG, 50, 24)})


def test_only_neighbours_talk_and_names_agree() -> None:
    graph = optimised(skip_model())
    names = [n.name for n in graph.nodes]
    parts = cut(graph, [names[:1], [], names[1:2], names[2:]])
    assert parts.stages[0].inputs == ["x"]
    assert parts.stages[-1].outputs == ["early", "late"]
    for before, after in zip(parts.stages, parts.stages[1:], strict=False):
        assert before.outputs == after.inputs
        assert not set(after.inputs) & set(after.outputs)
        assert [before.value(v) for v in before.outputs] == [after.value(v) for v in after.inputs]
    held = [parts.copies.get(v, v) for v in parts.stages[1].outputs]
    assert held == ["x", "early"]


def test_values_nobody_needs_later_stop() -> None:
    graph = optimised(skip_model())
    names = [n.name for n in graph.nodes]
    assert len(names) == 3
    parts = cut(graph, [names[:2], names[2:]])
    assert [parts.copies.get(v, v) for v in parts.stages[0].outputs] == ["early", graph.nodes[1].output]
    assert not set(parts.stages[1].values) & {"x", graph.nodes[0].inputs[1]}  # neither the skip nor the weights


def test_a_value_handed_on_is_one_plain_transfer() -> None:
    """From variable to variable without touching SBUF, whatever its type and shape, a scalar included."""
    kinds = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL, "h": TensorProto.FLOAT16}
    shapes = {"f": [2, 3, 5], "i": [], "b": [7], "h": [1, 130, 3, 3]}
    nodes = [node("Neg", ["f"], ["f.out"]), node("Neg", ["i"], ["i.out"]), node("Not", ["b"], ["b.out"]),
             node("Neg", ["h"], ["h.out"])]
    outs = [f"{k}.out" for k in kinds]
    graph = optimised(make(nodes, shapes, outs, types={**kinds, **{f"{k}.out": t for k, t in kinds.items()}}))
    parts = cut(graph, [[], [], [n.name for n in graph.nodes]])
    stages = compile_stages(graph, parts)
    for stage in stages[:2]:
        assert len(stage.descriptors) == len(kinds)
        assert stage.descriptors["src_var"].all() and stage.descriptors["dst_var"].all()
        assert not stage.sbuf_peak_bytes
    feeds = random_feeds(graph)
    ran = run_stages(stages, feeds)
    for name, want in zip(graph.outputs, run_graph(graph, feeds), strict=True):
        np.testing.assert_array_equal(ran.outputs[name].reshape(want.shape), want)


@pytest.mark.parametrize("groups", [[["a"]], [["b", "a"]], [["a", "a", "b"]], [["a", "b", "c"]], []])
def test_groups_that_do_not_divide_the_graph(groups: list[list[str]]) -> None:
    graph = imported(make([node("Relu", ["x"], ["y"], name="a"), node("Exp", ["y"], ["z"], name="b")], {"x": [4]},
                          ["z"]))
    with pytest.raises(ValueError, match="node|after"):
        cut(graph, groups)


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("block", range(2))
def test_random_graphs_cut_at_random_places(family: str, block: int) -> None:
    """The stages compute what the uncut graph does; orders put producers first and never keep more alive in sum."""
    for seed in range(100 + 8 * block, 108 + 8 * block):
        rng = np.random.default_rng(seed)
        model = FAMILIES[family](rng)
        if model is None:
            continue
        graph = optimised(model)
        if not graph.nodes:
            continue
        names = order(graph)
        given = [n.name for n in graph.nodes]
        sums = [sum(crossing_bytes(graph, one, lambda _: "fp32")) for one in (names, given)]
        assert sums[0] <= sums[1]
        feeds = random_feeds(graph, seed)
        parts = cut(graph, random_groups(rng, names))
        ran = run_stages(compile_stages(graph, parts), feeds)
        wanted = dict(zip(graph.outputs, run_graph(graph, feeds), strict=True))
        try:
            assert ran.outputs.keys() == wanted.keys() - set(graph.inputs)
            assert_close([ran.outputs[o].reshape(wanted[o].shape) for o in ran.outputs],
                         [wanted[o] for o in ran.outputs], 3e-5)
        except AssertionError as error:
            error.add_note(f"{family}, seed {seed}")
            raise


def test_crossing_bytes_counts_what_is_alive() -> None:
    graph = optimised(skip_model())
    names = [n.name for n in graph.nodes]
    x, early = 3 * 40 * 24, 3 * 40 * 50
    assert crossing_bytes(graph, names, lambda _: "bf16") == [2 * (x + early), 2 * (early + x)]


def layer(width: int = 256, heads: int = 4, tokens: int = 40) -> onnx.ModelProto:
    """A transformer layer: values cross its cuts in every layout there is."""
    size = width // heads
    nodes, weights = [], {"split": np.array([1, tokens, heads, size]), "join": np.array([1, tokens, width])}

    def dense(name: str, source: str, rows: int, columns: int) -> str:
        weights[f"{name}.w"], weights[f"{name}.b"] = floats(RNG, rows, columns) / rows**0.5, floats(RNG, columns)
        nodes.append(node("MatMul", [source, f"{name}.w"], [f"{name}.p"]))
        nodes.append(node("Add", [f"{name}.p", f"{name}.b"], [name]))
        return name

    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes.append(node("Reshape", [dense(name, "x", width, width), "split"], [f"{name}.r"]))
        nodes.append(node("Transpose", [f"{name}.r"], [f"{name}.t"], perm=perm))
    nodes += [node("MatMul", ["q.t", "k.t"], ["s"]), node("Softmax", ["s"], ["p"], axis=-1),
              node("MatMul", ["p", "v.t"], ["m"]), node("Transpose", ["m"], ["m.t"], perm=[0, 2, 1, 3]),
              node("Reshape", ["m.t", "join"], ["m.j"])]
    nodes.append(node("Add", [dense("o", "m.j", width, width), "x"], ["r"]))
    weights["scale"], weights["shift"] = floats(RNG, width), floats(RNG, width)
    nodes.append(node("LayerNormalization", ["r", "scale", "shift"], ["n"], axis=-1))
    nodes.append(node("Relu", [dense("f", "n", width, 2 * width)], ["g"]))
    nodes.append(node("Add", [dense("h", "g", 2 * width, width), "n"], ["y"]))
    return make(nodes, {"x": [1, tokens, width]}, ["y"], weights)


def test_a_layer_cut_anywhere_computes_the_same_bits() -> None:
    """Wherever a value comes as it lay: products then add in the same order."""
    graph = optimised(layer())
    names = [n.name for n in graph.nodes]
    feeds = random_feeds(graph)
    whole = run_stages(compile_stages(graph, cut(graph, [names])), feeds).outputs["y"]
    assert_close([whole], run_graph(graph, feeds), 2e-5)
    for k in range(1, len(names)):
        found = cut(graph, [names[:k], names[k:]])
        ran = run_stages(compile_stages(graph, found), feeds).outputs["y"]
        flat = {n.op for n in graph.nodes[:k]} & {"Reshape"} and "m.j" in found.stages[0].outputs
        if flat:  # row-major, on all partitions: the next product adds in another order
            assert_close([ran], [whole], 1e-6)
        else:
            np.testing.assert_array_equal(ran, whole, err_msg=names[k])


def test_what_lies_otherwise_than_foreseen_crosses_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arrangement decides about time only: features first, tokens first, or in pieces."""
    graph = optimised(layer())
    names = [n.name for n in graph.nodes]
    feeds = random_feeds(graph)
    want = run_graph(graph, feeds)
    packed = 0
    for places, rows in (((1, 2, 0), 2), ((0, 1, 2), 1), ((2, 0, 1), 1)):
        def guess(graph: Graph, name: str, places: tuple[int, ...] = places, rows: int = rows) -> Arrangement | None:
            shape = graph.shape(name)
            return Arrangement((shape[1], shape[2] // 64, 64), places, rows) if len(shape) == 3 else None

        monkeypatch.setattr("compiler.sharding.cut.arrangement", guess)
        for k in [k for k, n in enumerate(graph.nodes, 1) if n.op in ("MatMul", "LayerNormalization")][::3]:
            parts = cut(graph, [names[:k], names[k:]])
            packed += parts.stages[0].op_counts().get("PackRows", 0)
            assert_close([run_stages(compile_stages(graph, parts), feeds).outputs["y"]], want, 2e-5)
    assert packed >= 6


def test_a_partition_of_a_handed_value_is_one_run() -> None:
    """512 features on four tiles cross in one transfer each way, 128 runs of 640 bytes."""
    graph = optimised(layer())
    names = [n.name for n in graph.nodes]
    k = next(i for i, n in enumerate(graph.nodes) if graph.shape(n.output)[-1] == 512) + 1
    stages = compile_stages(graph, cut(graph, [names[:k], names[k:]]))
    for stage, column in ((stages[0], "dst_var"), (stages[1], "src_var")):
        handed = next(v for v in stage.variables if "@" in v.name)
        moved = stage.descriptors[stage.descriptors[column] == handed.id]
        assert len(moved) == 1


def test_a_flattened_image_does_not_come_on_one_partition() -> None:
    """Pooled and flattened features cross as they lay, channels on partitions."""
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["r"]),
             node("GlobalAveragePool", ["r"], ["g"]), node("Flatten", ["r"], ["f"]), node("Flatten", ["g"], ["p"]),
             node("MatMul", ["f", "a"], ["u"]), node("MatMul", ["p", "b"], ["v"]), node("Add", ["u", "v"], ["y"])]
    weights = {"w": floats(RNG, 300, 20, 3, 3), "a": floats(RNG, 300 * 30, 7), "b": floats(RNG, 300, 7)}
    graph = optimised(make(nodes, {"x": [1, 20, 5, 6]}, ["y"], weights))
    names = [n.name for n in graph.nodes]
    k = next(i for i, n in enumerate(graph.nodes) if n.op == "MatMul")
    parts = cut(graph, [names[:k], names[k:]])
    assert parts.stages[1].op_counts()["UnpackRows"] == len(parts.stages[1].inputs) == 2
    stages = compile_stages(graph, parts)
    feeds = random_feeds(graph)
    assert_close([run_stages(stages, feeds).outputs["y"]], run_graph(graph, feeds), 2e-5)
    for variable in (v for v in stages[1].variables if "@" in v.name):
        read = stages[1].descriptors[stages[1].descriptors["src_var"] == variable.id]
        assert len(read) == 2  # two tiles side by side, and the 44 rows that are left


def test_a_long_skip_begins_late_and_producers_come_first() -> None:
    """The model lists the large skip branch first; little is alive between nodes when it comes just before the sum."""
    nodes = [node("MatMul", ["x", "wide"], ["skip"]), node("MatMul", ["x", "small"], ["a"]), node("Exp", ["a"], ["b"]),
             node("MatMul", ["b", "large"], ["c"]), node("Mul", ["c", "skip"], ["y"])]
    weights = {"wide": floats(RNG, 8, 90), "small": floats(RNG, 8, 4), "large": floats(RNG, 4, 90)}
    graph = optimised(make(nodes, {"x": [20, 8]}, ["y"], weights))
    names = order(graph)
    outputs = [next(n.output for n in graph.nodes if n.name == name) for name in names]
    assert outputs.index("skip") > outputs.index("b")
    assert names == order(graph.copy())
    alive = crossing_bytes(graph, names, lambda _: "fp32")
    assert alive[0] == 4 * 20 * (8 + 4)
    assert sum(alive) < sum(crossing_bytes(graph, [n.name for n in graph.nodes], lambda _: "fp32"))


def test_what_a_stage_hands_on_takes_no_room_on_chip() -> None:
    """An image beyond SBUF goes from DRAM to DRAM: it makes no window of the layers beside it."""
    nodes = [node("Identity", ["x"], ["y"]), node("Conv", ["z", "w"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["r"])]
    model = make(nodes, {"x": [1, 32, 384, 384], "z": [1, 8, 16, 16]}, ["y", "r"], {"w": np.zeros((8, 8, 3, 3), "f4")})
    graph, machine = imported(model), load("trn1.2xlarge")
    chunks = Tiler(graph, machine, Precision(graph, machine, "none", "bf16"), {}, {}).plan()
    assert [c.nodes for c in chunks] == [[n] for n in graph.nodes]
    assert not any(c.windows for c in chunks)
