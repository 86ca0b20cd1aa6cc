"""Operators that move elements, by expansion and by views, against ONNX Runtime or the reference evaluator."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from compiler.ir import Graph
from compiler.lowering import CONDITIONS
from compiler.pipeline import load_pass
from isa import target as targets
from tests.compiler.evaluate import Feeds, imported, make
from tests.compiler.lowering_run import compare, feeds_of, run
from tests.compiler.random_operators import floats, node

RNG = np.random.default_rng(13)
KINDS = [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.INT32, TensorProto.BOOL]


def against_definition(model: onnx.ModelProto, feeds: Feeds, limit: float = 1e-5) -> None:
    want = ReferenceEvaluator(model).run(None, dict(feeds))[0]
    result = run(model, feeds)
    assert not result.findings
    got = result.outputs[model.graph.output[0].name]
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got, want, atol=limit * float(np.abs(want).max(initial=0)))


def elements(kind: int, *shape: int) -> np.ndarray:
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    top = {"f": 3, "b": 1, "i": 2 ** (8 * min(dtype.itemsize, 4) - 1) - 1}[dtype.kind]
    return np.asarray(np.round(RNG.uniform(-top, top, shape), 1 if dtype.kind == "f" else 0)).astype(dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [0, -2, 3, None])
def test_trilu(kind: int, k: int | None) -> None:
    """A diagonal that is known, and one computed at run time."""
    for upper in (0, 1):
        inputs = {"x": [2, 4, 6]} if k is not None else {"x": [2, 4, 6], "k": []}
        weights = {"k": np.array(k)} if k is not None else {}
        model = make([node("Trilu", ["x", "k"], ["y"], upper=upper)], inputs, ["y"], weights,
                     types={"x": kind, "y": kind, "k": TensorProto.INT64})
        feeds = {"x": elements(kind, 2, 4, 6), **({} if weights else {"k": np.array(1)})}
        against_definition(model, feeds)


@pytest.mark.parametrize("kind", KINDS)
def test_tile_and_pad_of_any_type(kind: int) -> None:
    kinds = dict.fromkeys("xyv", kind)
    model = make([node("Tile", ["x", "r"], ["y"])], {"x": [2, 1, 5]}, ["y"], {"r": np.array([3, 4, 2])}, types=kinds)
    against_definition(model, {"x": elements(kind, 2, 1, 5)})
    pads = {"p": np.array([1, -1, 2, 0]), "a": np.array([2, 0])}
    model = make([node("Pad", ["x", "p", "v", "a"], ["y"])], {"x": [2, 3, 5], "v": []}, ["y"], pads, types=kinds)
    compare(model, feeds={"x": elements(kind, 2, 3, 5), "v": elements(kind)})


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_pad_modes(mode: str) -> None:
    """Reading the border again, forwards and backwards, along axes on partitions and on the free dimension."""
    for shape, pads in (([2, 3, 5, 4], [0, 0, 2, 3, 0, 0, 4, 1]), ([5, 4], [2, -1, 3, 2]), ([7], [3, 4])):
        compare(make([node("Pad", ["x", "p"], ["y"], mode=mode)], {"x": shape}, ["y"], {"p": np.array(pads)}))


def test_pad_with_an_integer_beyond_floats() -> None:
    kinds = dict.fromkeys("xy", TensorProto.INT32)
    weights = {"p": np.array([1, 2]), "v": np.array(2**24 + 1, np.int32)}
    model = make([node("Pad", ["x", "p", "v"], ["y"])], {"x": [4]}, ["y"], weights, types=kinds)
    compare(model, feeds={"x": elements(TensorProto.INT32, 4)})


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT])
def test_one_hot(kind: int, axis: int) -> None:
    """Indices from the end, outside and of any type; both values computed."""
    model = make([node("OneHot", ["i", "d", "v"], ["y"], axis=axis)], {"i": [3, 4], "v": [2]}, ["y"],
                 {"d": np.array(6)}, types={"i": kind})
    index = np.array([[0, 5, -1, -6], [4, 2, 3, -5], [1, 1, 4, 0]])
    feeds = {"i": index.astype(helper.tensor_dtype_to_np_dtype(kind)), "v": np.array([-2.5, 3], np.float32)}
    against_definition(model, feeds)
    if kind == TensorProto.INT64:
        compare(model, feeds={**feeds, "i": np.array([[0, 6, -7, -6]] * 3)})


def test_center_crop_pad() -> None:
    for shape, axes in (([9, 4, 7], None), ([3, 10], [2, 0])):
        attrs = {} if axes is None else {"axes": axes}
        model = make([node("CenterCropPad", ["x", "s"], ["y"], **attrs)], {"x": [6, 7, 4]}, ["y"],
                     {"s": np.array(shape)})
        against_definition(model, feeds_of(model))


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.INT32])
def test_eye_like(dtype: int) -> None:
    for k in (-1, 2):
        nodes = [node("EyeLike", ["x"], ["e"], k=k, dtype=dtype), node("Concat", ["e", "x"], ["y"], axis=0)]
        model = make(nodes, {"x": [3, 5]}, ["y"], types=dict.fromkeys("xy", dtype))
        compare(model, feeds={"x": np.arange(15).reshape(3, 5).astype(helper.tensor_dtype_to_np_dtype(dtype))})


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
def test_reverse_sequence(time: int, batch: int) -> None:
    shape = [6, 4, 3] if time == 0 else [4, 6, 3]
    model = make([node("ReverseSequence", ["x", "l"], ["y"], time_axis=time, batch_axis=batch)],
                 {"x": shape, "l": [4]}, ["y"], types={"l": TensorProto.INT64})
    compare(model, feeds={"x": floats(RNG, *shape), "l": np.array([1, 6, 3, 4])})


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize(("axis", "shape", "part"), [(-2, [2, 3, 8, 5], [2, 3, 3, 5]), (1, [2, 7, 5], [2, 2, 5])])
def test_tensor_scatter(mode: str, axis: int, shape: list[int], part: list[int]) -> None:
    model = make([node("TensorScatter", ["c", "u", "w"], ["y"], axis=axis, mode=mode)],
                 {"c": shape, "u": part, "w": [2]}, ["y"], types={"w": TensorProto.INT64}, opset=24)
    first = [1, 4] if mode == "linear" else [shape[axis] - 1, 4]
    against_definition(model, {"c": floats(RNG, *shape), "u": floats(RNG, *part), "w": np.array(first)}, 0)
    model = make([node("TensorScatter", ["c", "u"], ["y"], axis=axis, mode=mode)], {"c": shape, "u": part}, ["y"],
                 opset=24)
    against_definition(model, {"c": floats(RNG, *shape), "u": floats(RNG, *part)}, 0)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_to_depth_and_back(mode: str) -> None:
    nodes = [node("DepthToSpace", ["x"], ["a"], blocksize=2, mode=mode), node("Tanh", ["a"], ["y"])]
    compare(make(nodes, {"x": [2, 12, 3, 4]}, ["y"]))
    model = make([node("SpaceToDepth", ["x"], ["y"], blocksize=2, mode=mode)], {"x": [2, 3, 6, 4]}, ["y"],
                 opset=onnx.defs.onnx_opset_version())
    against_definition(model, feeds_of(model))


def test_slices_backwards() -> None:
    """Negative steps along free and partition axes, bounds beyond the ends."""
    for starts, ends, axes, steps in (([-1, 8], [-99, 1], [2, 1], [-1, -3]), ([9, 1], [0, 5], [0, 2], [-2, 2])):
        weights = {k: np.array(v) for k, v in zip("seap", (starts, ends, axes, steps), strict=True)}
        compare(make([node("Slice", ["x", "s", "e", "a", "p"], ["y"])], {"x": [9, 10, 7]}, ["y"], weights))


@pytest.mark.parametrize("parts", [3, 4])
def test_uneven_split(parts: int) -> None:
    names = [f"y{k}" for k in range(parts)]
    compare(make([node("Split", ["x"], names, axis=1, num_outputs=parts)], {"x": [3, 10, 2]}, names))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_sample(mode: str, padding: str) -> None:
    for align in (0, 1):
        model = make([node("GridSample", ["x", "g"], ["y"], mode=mode, padding_mode=padding, align_corners=align)],
                     {"x": [2, 3, 5, 6], "g": [2, 4, 7, 2]}, ["y"])
        against_definition(model, {"x": floats(RNG, 2, 3, 5, 6), "g": RNG.uniform(-2, 2, (2, 4, 7, 2)).astype("f")},
                           1e-4)


def test_grid_sample_of_volumes() -> None:
    model = make([node("GridSample", ["x", "g"], ["y"])], {"x": [1, 2, 3, 4, 5], "g": [1, 2, 2, 3, 3]}, ["y"])
    against_definition(model, {"x": floats(RNG, 1, 2, 3, 4, 5),
                               "g": RNG.uniform(-1.2, 1.2, (1, 2, 2, 3, 3)).astype("f")}, 1e-4)


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("sizes", [[5, 6], [2, 3, 4]])
def test_affine_grid(sizes: list[int], align: int) -> None:
    k = len(sizes)
    model = make([node("AffineGrid", ["t", "s"], ["y"], align_corners=align)], {"t": [2, k, k + 1]}, ["y"],
                 {"s": np.array([2, 3, *sizes])})
    against_definition(model, feeds_of(model))


@pytest.mark.parametrize("attrs", [{}, {"strides": [2, 1], "pads": [1, 0, 1, 2]}, {"dilations": [2, 1]}], ids=str)
def test_col2im(attrs: dict[str, list[int]]) -> None:
    image, block = np.array([7, 6]), np.array([3, 2])
    pads, dilations = np.array(attrs.get("pads", [0] * 4)), np.array(attrs.get("dilations", [1, 1]))
    room = image + pads[:2] + pads[2:] - (block - 1) * dilations - 1
    count = int(np.prod(room // np.array(attrs.get("strides", [1, 1])) + 1))
    model = make([node("Col2Im", ["x", "i", "b"], ["y"], **attrs)], {"x": [2, 3 * 6, count]}, ["y"],
                 {"i": image, "b": block})
    against_definition(model, feeds_of(model))


def test_reasons() -> None:
    """Operands that say where, computed at run time; what the expansions leave."""
    whole = {"p": TensorProto.INT64}
    cut = imported(make([node("Pad", ["x", "p"], ["y"])], {"x": [3, 4]}, ["y"], {"p": np.array([1, 0, 0, 1])}))
    assert reason(cut) == ""
    cut.values["p"].const = None
    assert "pads" in reason(cut)
    ints = make([node("Col2Im", ["x", "i", "p"], ["y"])], {"x": [1, 4, 4]}, ["y"],
                {"i": np.array([3, 3]), "p": np.array([2, 2])}, types=dict.fromkeys("xy", TensorProto.INT32))
    assert "integers" in reason(imported(ints))
    huge = make([node("OneHot", ["p", "d", "v"], ["y"])], {"p": [1], "v": [2]}, ["y"], {"d": np.array(2**25)},
                types=whole)
    assert "2^24" in reason(imported(huge))
    grid = make([node("AffineGrid", ["t", "s"], ["y"], align_corners=1)], {"t": [1, 2, 3]}, ["y"],
                {"s": np.array([1, 1, 1, 4])})
    assert "corners" in reason(imported(grid))


def reason(graph: Graph) -> str:
    load_pass("expand")(graph)
    return CONDITIONS[graph.nodes[0].op](graph, graph.nodes[0], targets.load("trn1.2xlarge"))
