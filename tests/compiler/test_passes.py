"""Every pass keeps the meaning of the graph and does what it is for."""
from __future__ import annotations

import io
import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compiler.errors import CompileError
from compiler.ir import Graph
from compiler.passes.simplify_layout import permutation
from compiler.pipeline import GRAPH_PASSES, load_pass, optimise, pass_names
from compiler.verify import verify
from neuronsim.demo.he_weights import light_model
from tests.compiler.evaluate import assert_close, imported, make, random_feeds, run_graph, run_model

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def check(model: onnx.ModelProto, limit: float = 2e-6) -> Graph:
    """Run the pipeline pass by pass against the model itself; returns the final graph."""
    graph = imported(model)
    feeds = random_feeds(graph, 5)
    want = run_model(model, feeds)
    assert_close(run_graph(graph, feeds), want, limit)
    for name, _ in GRAPH_PASSES:
        load_pass(name)(graph)
        verify(graph, after=name)
        assert_close(run_graph(graph, feeds), want, limit)
    return graph


def node(op: str, inputs: str, outputs: str, **attrs: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), f"{op}_{outputs.split()[0]}", **attrs)


def epilogue(graph: Graph, index: int = 0) -> list[str]:
    return [step[1] if step[0] == "act" else step[0] for step in graph.nodes[index].attrs.get("epilogue", ())]


# ---- the networks ------------------------------------------------------------


@pytest.mark.parametrize("name, ops", [
    ("squeezenet", {"Concat", "Conv", "MaxPool", "ReduceMean", "Reshape", "Softmax"}),
    ("shufflenet", {"AveragePool", "Concat", "Conv", "MatMul", "MaxPool", "ReduceMean", "Relu", "Reshape", "Softmax",
                    "Transpose"}),
    ("inception_v1", {"Concat", "Conv", "LRN", "MatMul", "MaxPool", "ReduceMean", "Reshape", "Softmax"}),
])
def test_light_networks(name: str, ops: set[str]) -> None:
    model = light_model(name)
    graph = optimise(imported(model))
    assert set(graph.op_counts()) == ops
    feeds = random_feeds(graph)
    assert_close(run_graph(graph, feeds), run_model(model, feeds), 1e-5)


@pytest.mark.parametrize("name, ops", [
    ("bvlc_alexnet", {"Conv", "LRN", "MatMul", "MaxPool", "Reshape", "Softmax"}),
    ("densenet121", {"Affine", "AveragePool", "Concat", "Conv", "MaxPool", "ReduceMean"}),
    ("inception_v2", {"AveragePool", "Concat", "Conv", "MatMul", "MaxPool", "ReduceMean", "Reshape", "Softmax"}),
    ("resnet50", {"Conv", "MatMul", "MaxPool", "ReduceMean", "Reshape", "Softmax"}),
    ("vgg19", {"Conv", "MatMul", "MaxPool", "Reshape", "Softmax"}),
    ("zfnet512", {"Conv", "LRN", "MatMul", "MaxPool", "Reshape", "Softmax"}),
])
def test_what_is_left_of_the_other_networks(name: str, ops: set[str]) -> None:
    from neuronsim.demo.he_weights import network_path
    graph = optimise(imported(onnx.load(network_path(name))))
    assert set(graph.op_counts()) == ops
    assert len(set(graph.to_text().splitlines())) > len(graph)


def test_sources_of_resnet50_are_all_kept() -> None:
    from neuronsim.demo.he_weights import network_path
    graph = imported(onnx.load(network_path("resnet50")))
    before = {s for n in graph.nodes for s in n.sources}
    optimise(graph)
    after = [s for n in graph.nodes for s in n.sources]
    assert set(after) == before
    assert len(after) == len(set(after))


# ---- single passes ------------------------------------------------------------


@pytest.mark.parametrize("trans_a, trans_b, alpha, beta, c", [
    (0, 0, 1.0, 1.0, (5,)), (1, 1, 0.5, 2.0, (5,)), (0, 1, 1.0, 1.0, (1, 5)), (0, 0, 1.0, 1.0, (3, 5)),
    (0, 0, 2.0, 3.0, (3, 1)), (0, 1, 1.0, 1.0, ()), (0, 0, 1.5, 1.0, None)])
def test_gemm(trans_a: int, trans_b: int, alpha: float, beta: float, c: tuple[int, ...] | None) -> None:
    weights = {"w": normal(*((5, 4) if trans_b else (4, 5)))}
    if c is not None:
        weights["c"] = normal(*c)
    names = "x w" if c is None else "x w c"
    gemm = node("Gemm", names, "y", transA=trans_a, transB=trans_b, alpha=alpha, beta=beta)
    graph = check(make([gemm], {"x": (4, 3) if trans_a else (3, 4)}, ["y"], weights))
    assert "Gemm" not in graph.op_counts()
    assert graph.op_counts()["MatMul"] == 1


def test_conv_batch_norm_scale_residual_relu_become_one_node() -> None:
    nodes = [node("Conv", "x w b", "a", pads=[1] * 4), node("BatchNormalization", "a g h m v", "n"),
             node("Mul", "n s", "p"), node("Add", "p t", "q"), node("Add", "q x", "r"), node("Relu", "r", "y")]
    weights = {"w": normal(3, 3, 3, 3), "b": normal(3), "g": normal(3), "h": normal(3), "m": normal(3),
               "v": np.abs(normal(3)), "s": normal(3, 1, 1), "t": normal(1, 3, 1, 1)}
    graph = check(make(nodes, {"x": (2, 3, 5, 6)}, ["y"], weights))
    assert graph.op_counts() == {"Conv": 1}
    assert epilogue(graph) == ["bias", "add", "relu"]
    assert len(graph.nodes[0].sources) == 6


@pytest.mark.parametrize("groups", [1, 2])
def test_affine_into_grouped_transposed_convolution(groups: int) -> None:
    nodes = [node("ConvTranspose", "x w", "a", group=groups, strides=[2, 2]),
             node("BatchNormalization", "a g h m v", "n"), node("Clip", "n lo hi", "y")]
    weights = {"w": normal(4, 3, 2, 2), **{k: np.abs(normal(3 * groups)) for k in "ghmv"},
               "lo": np.array(0, np.float32), "hi": np.array(6, np.float32)}
    graph = check(make(nodes, {"x": (1, 4, 3, 3)}, ["y"], weights))
    assert graph.op_counts() == {"ConvTranspose": 1}
    assert epilogue(graph) == ["bias", "clip"]


def test_pre_activation_becomes_affine_with_relu() -> None:
    nodes = [node("BatchNormalization", "x g h m v", "n"), node("Mul", "n s", "p"), node("Relu", "p", "y")]
    weights = {**{k: np.abs(normal(3)) for k in "ghmv"}, "s": normal(3, 1, 1)}
    graph = check(make(nodes, {"x": (1, 3, 4, 4)}, ["y"], weights))
    assert graph.op_counts() == {"Affine": 1}
    assert epilogue(graph) == ["relu"]


def test_a_value_read_elsewhere_is_not_fused_away() -> None:
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "y"), node("Sigmoid", "a", "z")]
    graph = check(make(nodes, {"x": (1, 3, 4, 4)}, ["y", "z"], {"w": normal(3, 3, 1, 1)}))
    assert graph.op_counts() == {"Conv": 1, "Relu": 1, "Sigmoid": 1}
    outputs = check(make(nodes[:2], {"x": (1, 3, 4, 4)}, ["a", "y"], {"w": normal(3, 3, 1, 1)}))
    assert outputs.op_counts() == {"Conv": 1, "Relu": 1}


def test_residual_computed_after_the_product() -> None:
    nodes = [node("Conv", "x w", "a"), node("Sigmoid", "x", "b"), node("Exp", "b", "c"), node("Add", "c a", "y")]
    graph = check(make(nodes, {"x": (1, 3, 4, 4)}, ["y"], {"w": normal(3, 3, 1, 1)}))
    assert graph.nodes[-1].op == "Conv"
    assert epilogue(graph, -1) == ["add"]


def test_sum_of_a_product_with_itself_stays() -> None:
    nodes = [node("Conv", "x w", "a"), node("Add", "a a", "y")]
    check(make(nodes, {"x": (1, 3, 4, 4)}, ["y"], {"w": normal(3, 3, 1, 1)}))


GELU_ROOT = np.array(math.sqrt(2), np.float32)
C = {"r": GELU_ROOT, "ir": np.array(math.sqrt(0.5), np.float32), "one": np.array(1, np.float32),
     "half": np.array(0.5, np.float32), "k": np.array(0.044715, np.float32), "three": np.array(3, np.float32),
     "p": np.array(math.sqrt(2 / math.pi), np.float32), "zero": np.array(0, np.float32),
     "six": np.array(6, np.float32), "two": np.array(2, np.float32)}
ACTIVATIONS = {
    "erf gelu": ("Gelu", "Div x r a|Erf a b|Add b one c|Mul half c d|Mul x d y"),
    "erf gelu, halves first": ("Gelu", "Mul x ir a|Erf a b|Add one b c|Mul x half d|Mul d c y"),
    "erf gelu, half last": ("Gelu", "Div x r a|Erf a b|Add b one c|Mul x c d|Mul d half y"),
    "erf gelu by division": ("Gelu", "Div x r a|Erf a b|Add b one c|Mul x c d|Div d two y"),
    "tanh gelu": ("Gelu", "Pow x three a|Mul k a b|Add x b c|Mul p c d|Tanh d e|Add e one f|Mul half f g|Mul x g y"),
    "tanh gelu, product": ("Gelu", "Mul x x a|Mul a x b|Mul b k c|Add c x d|Mul d p e|Tanh e f|Add one f g|Mul x g h"
                                   "|Mul h half y"),
    "tanh gelu, factored": ("Gelu", "Mul x x a|Mul a k b|Add b one c|Mul x p d|Mul d c e|Tanh e f|Add f one g|Mul x g h"
                                    "|Mul half h y"),
    "silu": ("Silu", "Sigmoid x a|Mul x a y"),
    "hard swish": ("HardSwish", "Add x three a|Clip a zero six b|Mul x b c|Div c six y"),
    "mish": ("Mish", "Softplus x a|Tanh a b|Mul b x y"),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_recognised(name: str) -> None:
    op, text = ACTIVATIONS[name]
    nodes = [node(w[0], " ".join(w[1:-1]), w[-1]) for w in (line.split() for line in text.split("|"))]
    graph = check(make(nodes, {"x": (2, 3, 4)}, ["y"], C), 1e-5)
    assert graph.op_counts() == {op: 1}
    assert len(graph.nodes[0].sources) == len(nodes)


@pytest.mark.parametrize("text", [
    "Div x two a|Erf a b|Add b one c|Mul half c d|Mul x d y", "Div x r a|Erf a b|Add b half c|Mul half c d|Mul x d y",
    "Div x r a|Erf a b|Add b one c|Mul x c y", "Sigmoid x a|Mul a half b|Mul x b y"])
def test_near_misses_are_left_alone(text: str) -> None:
    nodes = [node(w[0], " ".join(w[1:-1]), w[-1]) for w in (line.split() for line in text.split("|"))]
    graph = check(make(nodes, {"x": (2, 3, 4)}, ["y"], C))
    assert not {"Gelu", "Silu"} & set(graph.op_counts())


@pytest.mark.parametrize("text", [
    "ReduceMean x ax m|Sub x m d|Pow d two q|ReduceMean q ax v|Add v e f|Sqrt f s|Div d s n|Mul n g o|Add o h y",
    "ReduceMean x ax m|Sub x m d|Mul d d q|ReduceMean q ax v|Add e v f|Sqrt f s|Reciprocal s t|Mul d t n|Mul g n y",
    "ReduceMean x ax m|Sub x m d|Sub x m c|Pow c two q|ReduceMean q ax v|Add v e f|Sqrt f s|Div d s y"])
def test_layer_norm_is_recognised(text: str) -> None:
    nodes = [node(w[0], " ".join(w[1:-1]), w[-1]) for w in (line.split() for line in text.split("|"))]
    weights = {**C, "ax": np.array([-1], np.int64), "e": np.array(1e-5, np.float32), "g": normal(6), "h": normal(6)}
    graph = check(make(nodes, {"x": (2, 3, 6)}, ["y"], weights), 1e-5)
    assert graph.op_counts() == {"LayerNormalization": 1}


def test_layer_norm_of_other_axes_is_not() -> None:
    text = "ReduceMean x ax m|Sub x m d|Pow d two q|ReduceMean q ax v|Add v e f|Sqrt f s|Div d s y"
    nodes = [node(w[0], " ".join(w[1:-1]), w[-1]) for w in (line.split() for line in text.split("|"))]
    weights = {**C, "ax": np.array([1], np.int64), "e": np.array(1e-5, np.float32)}
    assert "LayerNormalization" not in check(make(nodes, {"x": (2, 3, 6)}, ["y"], weights)).op_counts()


def attention(mask: float | np.ndarray | None) -> onnx.ModelProto:
    """One head: q and k from a normalised x, a mask (a number for what may be masked, or whole), torch's NaN guard."""
    nodes = [node("LayerNormalization", "x g h", "l"), node("MatMul", "l wq", "q"), node("MatMul", "l wk", "k"),
             node("Transpose", "k", "kt", perm=[0, 2, 1]), node("MatMul", "q kt", "z")]
    scores, inputs, types = "z", {"x": (1, 4, 6)}, {}
    if isinstance(mask, np.ndarray):
        nodes, scores = [*nodes, node("Add", "z causal", "zm")], "zm"
    elif mask is not None:
        nodes += [node("Where", "keep zero low", "m"), node("Add", "z m", "zm")]
        scores, inputs, types = "zm", {**inputs, "keep": (1, 1, 4)}, {"keep": TensorProto.BOOL}
    nodes += [node("Softmax", scores, "s"), node("IsNaN", "s", "i"), node("Where", "i zero s", "t"),
              node("MatMul", "t l", "y")]
    weights = {"g": normal(6), "h": normal(6), "wq": normal(6, 6), "wk": normal(6, 6), "zero": C["zero"],
               "low": np.array(0 if mask is None else mask, np.float32), "causal": np.asarray(mask, np.float32)}
    return make(nodes, inputs, ["y"], weights, types=types)


def test_softmax_guard_goes_only_where_no_nan_can_be() -> None:
    assert "IsNaN" not in check(attention(None)).op_counts()
    assert "IsNaN" not in check(attention(-1e9)).op_counts()
    assert "IsNaN" in check(attention(-math.inf)).op_counts()
    causal = np.where(np.tri(4, dtype=bool), 0, -np.inf)
    assert "IsNaN" not in check(attention(causal)).op_counts()
    assert "IsNaN" in check(attention(np.where(np.arange(4)[:, None] == 2, -np.inf, causal))).op_counts()


def test_scalars_and_layout_changes_move_into_weights() -> None:
    shapes = {"s1": np.array([2, 4, 2, 3], np.int64), "s2": np.array([4, 4, 3], np.int64),
              "s3": np.array([2, 2, 3, 4], np.int64), "f": np.array(0.25, np.float32)}
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "c"), node("Reshape", "c s1", "d"),
             node("Transpose", "d", "e", perm=[0, 2, 1, 3]), node("Reshape", "e s2", "f1"),
             node("Transpose", "f1", "g", perm=[0, 2, 1]), node("Reshape", "g s3", "h"), node("Mul", "h f", "y")]
    graph = check(make(nodes, {"x": (2, 4, 5)}, ["y"], {"w": normal(5, 6), "b": normal(6), **shapes}))
    assert graph.op_counts() == {"MatMul": 1, "Reshape": 1, "Transpose": 1}
    assert epilogue(graph) == ["bias"]


def test_padding_is_folded() -> None:
    pads = {"p": np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64)}
    nodes = [node("Pad", "x p", "a"), node("Conv", "a w", "y", pads=[1, 0, 0, 0])]
    graph = check(make(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": normal(2, 2, 3, 3), **pads}))
    assert graph.nodes[0].attrs["pads"] == [2, 2, 0, 1]
    pool = [node("Pad", "x p", "a"), node("AveragePool", "a", "y", kernel_shape=[3, 3])]
    assert check(make(pool, {"x": (1, 2, 5, 5)}, ["y"], pads)).op_counts() == {"AveragePool": 1}
    highest = [node("Pad", "x p", "a"), node("MaxPool", "a", "y", kernel_shape=[3, 3])]
    assert "Pad" in check(make(highest, {"x": (1, 2, 5, 5)}, ["y"], pads)).op_counts()


@pytest.mark.parametrize("text, ops", [
    ("Identity x a|Dropout a b|Relu b y", {"Relu"}), ("GlobalAveragePool x a|Flatten a y", {"ReduceMean", "Reshape"}),
    ("Sum x x x y", {"Add"}), ("Neg x y", {"Mul"}), ("Sub x half y", {"Add"}), ("Sub half x y", {"Sub"}),
    ("Mean x x y", {"Add", "Mul"}), ("Div x half y", {"Mul"}), ("Div half x y", {"Div"}), ("Pow x two y", {"Mul"}),
    ("Clip x zero y", {"Relu"}), ("PRelu x half y", {"LeakyRelu"}), ("Split x y z", {"Slice"}),
    ("Add x zero a|Mul a one b|Exp b y", {"Exp"}), ("Identity x y", {"Identity"}), ("GlobalMaxPool x y", {"ReduceMax"}),
    ("Max x half x y", {"Max"}), ("ReduceMean x y", {"ReduceMean"}), ("Gather x index y", {"Slice"}),
    ("Gather x scattered y", {"Gather"})])
def test_canonical_forms(text: str, ops: set[str]) -> None:
    attrs = {"Split": {"num_outputs": 2}, "Gather": {"axis": 2}}
    nodes = []
    for words in (line.split() for line in text.split("|")):
        outputs = 2 if words[0] == "Split" else 1
        nodes.append(node(words[0], " ".join(words[1:-outputs]), " ".join(words[-outputs:]), **attrs.get(words[0], {})))
    weights = {**C, "index": np.array([1, 2], np.int64), "scattered": np.array([2, 0], np.int64)}
    outputs = ["y", "z"] if "z" in text.split() else ["y"]
    assert set(check(make(nodes, {"x": (2, 3, 4, 5)}, outputs, weights)).op_counts()) == ops


def test_quantised_weights_become_floats_and_activations_stay() -> None:
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
             node("DequantizeLinear", "wq ws wz", "w", axis=0), node("Conv", "d w", "y")]
    weights = {"s": np.array(0.05, np.float32), "z": np.array(3, np.int8),
               "wq": RNG.integers(-127, 127, (4, 3, 1, 1)).astype(np.int8), "ws": np.abs(normal(4)),
               "wz": np.zeros(4, np.int8)}
    graph = check(make(nodes, {"x": (1, 3, 4, 4)}, ["y"], weights))
    assert graph.op_counts() == {"Conv": 1, "DequantizeLinear": 1, "QuantizeLinear": 1}


# ---- properties ------------------------------------------------------------

UNARY = ("Relu", "Sigmoid", "Tanh", "Neg", "Identity", "Abs", "Dropout")


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """A random dag over [2, 4, 3, 3] tensors with constants of many shapes."""
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray] = {}
    values = ["x"]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    for k in range(draw(st.integers(1, 9))):
        source, output = draw(st.sampled_from(values)), f"v{k}"
        kind = draw(st.sampled_from(("unary", "const", "binary", "conv", "norm", "turn", "pad")))
        if kind == "unary":
            nodes.append(node(draw(st.sampled_from(UNARY)), source, output))
        elif kind == "const":
            shape = draw(st.sampled_from([(), (1,), (4, 1, 1), (1, 4, 1, 1), (3,), (2, 4, 3, 3), (3, 3)]))
            weights[f"c{k}"] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
            pair = f"{source} c{k}" if draw(st.booleans()) else f"c{k} {source}"
            nodes.append(node(draw(st.sampled_from(("Add", "Mul", "Sub"))), pair, output))
        elif kind == "binary":
            pair = f"{source} {draw(st.sampled_from(values))}"
            nodes.append(node(draw(st.sampled_from(("Add", "Mul"))), pair, output))
        elif kind == "conv":
            weights[f"w{k}"] = (rng.standard_normal((4, 4, 3, 3)) / 6).astype(np.float32)
            nodes.append(node("Conv", f"{source} w{k}", output, pads=[1] * 4))
        elif kind == "norm":
            weights |= {f"{p}{k}": rng.uniform(0.5, 1.5, 4).astype(np.float32) for p in "ghmu"}
            nodes.append(node("BatchNormalization", f"{source} g{k} h{k} m{k} u{k}", output))
        elif kind == "turn":
            nodes.append(node("Transpose", source, output, perm=[0, 1, 3, 2]))
        else:
            weights[f"p{k}"] = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
            weights[f"k{k}"] = (rng.standard_normal((4, 4, 3, 3)) / 6).astype(np.float32)
            nodes += [node("Pad", f"{source} p{k}", f"{output}p"), node("Conv", f"{output}p k{k}", output)]
        values.append(output)
    outputs = draw(st.lists(st.sampled_from(values[1:]), min_size=1, max_size=3, unique=True))
    return make(nodes, {"x": (2, 4, 3, 3)}, outputs, weights)


@settings(max_examples=60, deadline=None)
@given(models(), st.booleans())
def test_random_graphs_keep_their_meaning(model: onnx.ModelProto, fusion: bool) -> None:
    graph = imported(model)
    feeds = random_feeds(graph, 1)
    want = run_model(model, feeds)
    assert_close(run_graph(optimise(graph, fusion=fusion), feeds), want, 2e-5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_permutation_equals_reshape_transpose_reshape(shape: list[int], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shape)), max_size=len(shape)))) or [len(shape)]
    groups = [shape[a:b] for a, b in zip([0, *cuts], [*cuts, len(shape)], strict=True) if a < b]
    grouped = [math.prod(g) for g in groups]
    perm = data.draw(st.permutations(range(len(grouped))))
    end = [d for p in perm for d in groups[p]]
    found = permutation(tuple(shape), tuple(grouped), list(perm), tuple(end))
    array = np.arange(math.prod(shape)).reshape(shape)
    want = array.reshape(grouped).transpose(perm).reshape(end)
    if found is not None:
        np.testing.assert_array_equal(array.transpose(found), want)


@pytest.mark.parametrize("size, left", [(5, {"Gather": 1}), (4, {"Add": 1, "Gather": 1, "Less": 1, "Where": 1})])
def test_indices_counted_from_either_end(size: int, left: dict[str, int]) -> None:
    """Adding the table's size to negative indices is what Gather does itself; another number has to stay."""
    nodes = [node("Less", "i zero", "below"), node("Add", "size i", "moved"), node("Where", "below moved i", "places"),
             node("Gather", "table places", "y")]
    weights = {"zero": np.int32(0), "size": np.array(size, np.int32), "table": normal(5, 3)}
    model = make(nodes, {"i": (2, 4)}, ["y"], weights, types={"i": TensorProto.INT32})
    graph = imported(model)
    feeds = {"i": np.int32([[-4, -1, 0, 4], [1, -2, 3, -3]])}
    assert_close(run_graph(optimise(graph), feeds), run_model(model, feeds))
    assert graph.op_counts() == left


# ---- the pipeline ------------------------------------------------------------


def test_print_after_and_unknown_names() -> None:
    model = make([node("Identity", "x", "a"), node("Relu", "a", "y")], {"x": (2,)}, ["y"])
    stream = io.StringIO()
    optimise(imported(model), print_after=["remove-identities"], stream=stream)
    assert stream.getvalue().startswith("# after remove-identities\ngraph test\n")
    with pytest.raises(CompileError) as caught:
        optimise(imported(model), print_after=["no-such-pass"])
    assert caught.value.code == "PASS_NAME"
    assert "canonicalise" in pass_names()


def test_fusion_can_be_switched_off() -> None:
    nodes = [node("Conv", "x w", "a"), node("BatchNormalization", "a g h m v", "n"), node("Relu", "n", "y")]
    model = make(nodes, {"x": (1, 3, 4, 4)}, ["y"], {"w": normal(3, 3, 1, 1), **{k: np.abs(normal(3)) for k in "ghmv"}})
    assert optimise(imported(model)).op_counts() == {"Conv": 1}
    assert optimise(imported(model), fusion=False).op_counts() == {"Affine": 1, "Conv": 1, "Relu": 1}
    assert optimise(imported(model), level=0).op_counts() == {"Affine": 1, "Conv": 1, "Relu": 1}


def test_weights_of_other_types_keep_their_type() -> None:
    nodes = [node("Conv", "x w", "a"), node("Mul", "a s", "y")]
    model = make(nodes, {"x": (1, 3, 4, 4)}, ["y"], {"w": normal(3, 3, 1, 1).astype(np.float16),
                                                    "s": normal(3, 1, 1).astype(np.float16)},
                 types={"x": TensorProto.FLOAT16, "y": TensorProto.FLOAT16})
    graph = optimise(imported(model))
    assert {v.dtype for v in graph.constants() if len(v.shape) == 4} == {"float16"}
