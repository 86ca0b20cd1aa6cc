"""Convolutions, pools and what is done to images point by point, split by rows: the same bits in any division."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.lowering import pack
from compiler.sharding.cut import Cut, cut
from compiler.sharding.rows import Reach
from compiler.sharding.split import BY_ROWS, split, split_of
from compiler.verify import verify
from tests.compiler.evaluate import assert_close, make, random_feeds, run_graph
from tests.compiler.lowering_run import small_target
from tests.compiler.random_operators import floats, node
from tests.compiler.sharding_run import compile_stages, run_stages
from tests.compiler.test_sharding_cut import optimised, random_groups


def random_images(rng: np.random.Generator, channels: int) -> onnx.ModelProto:
    """A convolution with a residual and activation, a pool, and point by point operators, of odd sizes."""
    dims = int(rng.choice([1, 2, 2, 3]))
    group = int(rng.choice([1, 1, 2, channels]))
    kernel, stride, dilation = (rng.integers(1, most + 1, dims).tolist() for most in (5 if dims < 3 else 3, 2, 2))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = [int(rng.integers(0, s)) for s in spans * 2]
    sizes = [int(rng.integers(*((600, 1500) if dims == 1 else (37, 60) if dims == 2 else (11, 15)))) for _ in spans]
    batch = int(rng.integers(1, 3))
    outs = [(n + pads[k] + pads[k + dims] - s) // t + 1
            for k, (n, s, t) in enumerate(zip(sizes, spans, stride, strict=True))]
    pool = rng.choice(["MaxPool", "AveragePool"])
    window = [min(3, n) for n in outs]
    more = {"count_include_pad": int(rng.integers(2))} if pool == "AveragePool" else {}
    nodes = [
        node("Conv", ["x", "w", "b"], ["u"], pads=pads, strides=stride, dilations=dilation, group=group),
        node("Add", ["u", "skip"], ["s"]), node("Relu", ["s"], ["r"]),
        node(str(pool), ["r"], ["p"], kernel_shape=window, strides=[int(rng.integers(1, 3))] * dims,
             pads=[min(1, n - 1) for n in window] * 2, **more),
        node("Mul", ["p", "scale"], ["m"]), node("Sigmoid", ["p"], ["g"]), node("Mul", ["m", "g"], ["z"]),
        node("Conv", ["z", "k"], ["y"], pads=[1] * 2 * dims),
    ]
    weights = {"w": floats(rng, channels, channels // group, *kernel), "b": floats(rng, channels),
               "scale": floats(rng, 1, channels, *[1] * dims), "k": floats(rng, 8, channels, *[3] * dims)}
    return make(nodes, {"x": [batch, channels, *sizes], "skip": [batch, channels, *outs]}, ["y"], weights)


@pytest.mark.parametrize("seed", range(16))
def test_rows_of_random_images(seed: int) -> None:
    """Every node that can be, split at random rows, in one stage and in stages cut anywhere.

    Products over few channels are summed in another order where a part is too small to pack kernel elements.
    """
    rng = np.random.default_rng(700 + seed)
    packed = seed % 4 == 3
    graph = optimised(random_images(rng, 6 if packed else 36))
    feeds = random_feeds(graph, seed)
    whole = run_stages(compile_stages(graph, cut(graph, [[n.name for n in graph.nodes]])), feeds)
    want = run_graph(graph, feeds)
    found = 0
    for one in list(graph.nodes):
        how = split_of(graph, one)
        if how is not None and how.by == BY_ROWS and how.limit > 1:
            inner = np.arange(how.unit, how.size, how.unit)
            ends = sorted(rng.choice(inner, min(2, len(inner)), replace=False).tolist())
            split(graph, one.name, np.diff([0, *ends, how.size]).tolist())
            found += 1
    verify(graph)
    assert found
    names = [n.name for n in graph.nodes]
    for groups in ([names], random_groups(rng, names)):
        ran = run_stages(compile_stages(graph, cut(graph, groups)), feeds)
        assert_close([ran.outputs[o] for o in graph.outputs], want, 3e-5)
        if not packed:
            np.testing.assert_array_equal(ran.outputs["y"], whole.outputs["y"])


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 4), st.integers(0, 4), st.integers(6, 30), st.data())
def test_reach_is_what_windows_touch(stride: int, span: int, before: int, after: int, height: int,
                                    data: st.DataObject) -> None:
    """By the definition, padding included; rows and padding together make exactly the rows of the part."""
    before, after = min(before, span - 1), min(after, span - 1)
    outs = (height + before + after - span) // stride + 1
    low = data.draw(st.integers(0, outs - 1))
    high = data.draw(st.integers(low + 1, outs))
    first, end, above, below = Reach(stride, span, before, height).of(low, high)
    touched = {o * stride - before + k for o in range(low, high) for k in range(span)}
    inside = sorted(r for r in touched if 0 <= r < height)
    assert (first, end) == (inside[0], inside[-1] + 1)
    assert (above, below) == (max(0, -min(touched)), max(0, max(touched) - height + 1))
    assert (end - first + above + below - span) // stride + 1 == high - low


def stem(size: int = 96) -> onnx.ModelProto:
    """A strided convolution of an image with three channels, then a pool."""
    nodes = [node("Conv", ["x", "w"], ["u"], pads=[3] * 4, strides=[2, 2]), node("Relu", ["u"], ["r"]),
             node("MaxPool", ["r"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)]
    return make(nodes, {"x": [1, 3, size, size]}, ["y"], {"w": floats(np.random.default_rng(2), 64, 3, 7, 7)})


def test_later_parts_pack_the_rows_that_were_handed_on() -> None:
    """A quarter of the first convolution takes the same time in a later stage as in the first, and the same bits."""
    graph = optimised(stem())
    feeds = random_feeds(graph)
    whole = run_stages(compile_stages(graph, cut(graph, [[n.name for n in graph.nodes]])), feeds)
    made = split(graph, graph.nodes[0].name, [10, 10, 10, 18])
    names = [n.name for n in graph.nodes]
    ends = [names.index(name) + 1 for name in made[:-1]]
    groups = [names[lo:hi] for lo, hi in zip([0, *ends], [*ends, len(names)], strict=True)]
    ran = run_stages(compile_stages(graph, cut(graph, groups)), feeds)
    np.testing.assert_array_equal(ran.outputs["y"], whole.outputs["y"])
    assert ran.ticks[1] < 1.3 * ran.ticks[0]


def test_products_of_the_first_rows_do_not_wait_for_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large part of an image arrives in pieces while the PE is at work: the stage is faster than with one load."""
    def second() -> tuple[int, np.ndarray]:
        graph = optimised(stem(192))
        made = split(graph, graph.nodes[0].name, [48, 48])
        names = [n.name for n in graph.nodes]
        end = names.index(made[0]) + 1
        stages = compile_stages(graph, cut(graph, [names[:end], names[end:]]), "inf1.xlarge", "all", pin=True)
        ran = run_stages(stages, random_feeds(graph), "inf1.xlarge")
        return ran.ticks[1], ran.outputs["y"]

    ticks, values = second()
    monkeypatch.setattr(pack, "PIECES", 1)
    at_once, same = second()
    assert ticks < 0.95 * at_once
    np.testing.assert_array_equal(values, same)


@pytest.mark.parametrize("leaves", [False, True])
def test_only_the_rows_still_needed_are_handed_on(leaves: bool) -> None:
    """Rows are cut out where the whole is read last, unless all of it leaves the segment."""
    graph = optimised(stem())
    pool = next(n for n in graph.nodes if n.op == "MaxPool")
    graph.outputs += [pool.inputs[0]] * leaves
    first = split(graph, pool.name, [12, 12])[0]
    names = [n.name for n in graph.nodes]
    behind = names.index(first) + 1
    early, late = cut(graph, [names[:behind], names[behind:]]).stages
    rest = 48 if leaves else 25
    assert sorted(early.value(v).size for v in early.outputs) == [64 * 12 * 24, 64 * rest * 48]
    assert ("Slice" in late.op_counts()) == leaves


def test_rows_of_what_has_come_on_chip_already(tmp_path: Path) -> None:
    """A part of the image is joined with the rest; what reads rows of it later, in windows, finds them on chip."""
    rng = np.random.default_rng(3)
    pad = [1] * 4
    nodes = [node("Concat", ["p", "q"], ["m"], axis=2), node("Conv", ["m", "k"], ["r"], pads=pad),
             node("Slice", ["r", "zero", "rows", "axis"], ["s"]), node("Slice", ["p", "zero", "rows", "axis"], ["t"]),
             node("Conv", ["s", "j"], ["c"], pads=pad), node("Add", ["c", "t"], ["y"])]
    weights = {"k": floats(rng, 384, 8, 3, 3), "j": floats(rng, 8, 384, 3, 3), "zero": np.array([0]),
               "rows": np.array([56]), "axis": np.array([2])}
    graph = optimised(make(nodes, {"p": [1, 8, 64, 16], "q": [1, 8, 64, 16]}, ["y"], weights))
    for one in graph.nodes:
        if one.op in ("Slice", "Concat"):
            one.attrs["rows"] = True
    feeds, target = random_feeds(graph, 1), small_target(tmp_path, 24)
    ran = run_stages(compile_stages(graph, Cut([graph], {}), target), feeds, target)
    assert_close([ran.outputs["y"]], run_graph(graph, feeds), 3e-5)
