"""Cases that were once computed wrongly or not at all, each as small as it could be made."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, small_target
from tests.compiler.random_operators import floats, node

RNG = np.random.default_rng(9)


def test_batch_of_one_channel_images() -> None:
    """The batch lies on partitions of a 3-D input; a convolution of one channel has to fetch it from there."""
    compare(make([node("Conv", ["x", "w"], ["y"], pads=[2, 1])], {"x": [3, 1, 12]}, ["y"], {"w": floats(RNG, 6, 1, 2)}))
    compare(make([node("MaxPool", ["x"], ["y"], kernel_shape=[2])], {"x": [3, 1, 12]}, ["y"]))


def test_transposed_convolution_with_stride_beyond_the_kernel() -> None:
    """Outputs that no tap reaches are the bias."""
    weights = {"w": floats(RNG, 4, 5, 1, 2), "b": floats(RNG, 5)}
    compare(make([node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[3, 3])], {"x": [2, 4, 3, 3]}, ["y"], weights))


def test_constant_larger_than_the_operand() -> None:
    weights = {"z": floats(RNG, 64, 5, 4, 2, 1)}
    compare(make([node("Add", ["x", "z"], ["y"])], {"x": [1, 1, 1, 1, 1]}, ["y"], weights))


def test_constants_of_windows(tmp_path: Path) -> None:
    """A constant that varies along rows is another one in every chunk."""
    nodes = [node("Conv", ["x", "w"], ["a"], pads=[1] * 4), node("Add", ["a", "z"], ["b"]), node("Relu", ["b"], ["y"])]
    weights = {"w": floats(RNG, 48, 3, 3, 3), "z": floats(RNG, 1, 1, 64, 40)}
    compare(make(nodes, {"x": [1, 3, 64, 40]}, ["y"], weights), small_target(tmp_path, 24))


@pytest.mark.parametrize("shape", [(6, 1, 1, 1), (6, 1, 1, 16), (6, 1, 16, 16)])
def test_operand_of_windows_of_the_batch(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """What is repeated over channels is another one in every chunk of images."""
    nodes = [node("Conv", ["x", "w"], ["a"], pads=[1] * 4), node("Where", ["c", "a", "z"], ["y"])]
    model = make(nodes, {"x": [6, 3, 16, 16], "c": list(shape)}, ["y"],
                 {"w": floats(RNG, 160, 3, 3, 3), "z": np.float32(0)}, types={"c": TensorProto.BOOL})
    compare(model, small_target(tmp_path, 12))


def test_part_of_a_concatenation_of_which_a_visit_computes_more_rows(tmp_path: Path) -> None:
    """The way through the pool reads rows around those that the concatenation takes."""
    pad = {"pads": [1] * 4}
    nodes = [node("Conv", ["x", "k"], ["a"], **pad), node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
             node("Conv", ["b", "m"], ["c"], **pad), node("ConvTranspose", ["c", "u"], ["d"], strides=[2, 2]),
             node("Concat", ["d", "a"], ["e"], axis=1), node("Conv", ["e", "v"], ["y"], **pad)]
    shapes = {"k": (8, 4, 3, 3), "m": (8, 8, 3, 3), "u": (8, 8, 2, 2), "v": (8, 16, 3, 3)}
    weights = {name: floats(RNG, *shape) for name, shape in shapes.items()}
    compare(make(nodes, {"x": [1, 4, 128, 8]}, ["y"], weights), small_target(tmp_path, 12))


def test_contraction_of_size_one_at_an_odd_partition() -> None:
    """One token, one head: the batch is on partitions 0 and 1, and no access may start at 1."""
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Reshape", ["a", "s"], ["b"]),
             node("Transpose", ["b"], ["c"], perm=[0, 2, 1, 3]), node("Transpose", ["c"], ["d"], perm=[0, 1, 3, 2]),
             node("MatMul", ["d", "c"], ["y"])]
    weights = {"w": floats(RNG, 33, 33), "s": np.array([2, 1, 1, 33])}
    compare(make(nodes, {"x": [2, 1, 33]}, ["y"], weights))


@pytest.mark.parametrize("mode", ["reflect", "edge", "constant"])
def test_pad(mode: str) -> None:
    pads = np.array([0, 2, 2, 1, 2, 1]) if mode != "constant" else np.array([1, -2, 0, -1, 2, -1])
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 2, 0]), node("Pad", ["t", "p"], ["y"], mode=mode)]
    compare(make(nodes, {"x": [9, 9, 4]}, ["y"], {"p": pads}))


def test_pad_before_a_pool_of_signed_data() -> None:
    """The fill of a Pad does not overwrite the -inf around it that the pool reads."""
    nodes = [node("Tanh", ["x"], ["t"]), node("Pad", ["t", "p"], ["q"]),
             node("MaxPool", ["q"], ["y"], kernel_shape=[2, 2], pads=[1] * 4)]
    compare(make(nodes, {"x": [2, 3, 5, 6]}, ["y"], {"p": np.array([0, 0, 1, 0, 0, 0, 1, 2])}))


def test_concat_along_an_axis_that_is_half_on_partitions() -> None:
    nodes = [node("Reshape", ["x", "s"], ["a"]), node("Concat", ["a", "a"], ["y"], axis=0)]
    compare(make(nodes, {"x": [1, 2, 7, 1]}, ["y"], {"s": np.array([14, 1])}))


def test_reshape_of_a_transpose_in_memory() -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 3, 2, 1]), node("Reshape", ["t", "s"], ["y"])]
    compare(make(nodes, {"x": [7, 4, 7, 5]}, ["y"], {"s": np.array([2, 35, 14])}))


def shuffled(tail: list, outputs: list[str], weights: dict[str, np.ndarray] | None = None) -> object:
    """A channel shuffle of 32 channels [1, 32, 6, 6] as value "s", then `tail`."""
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Reshape", ["c", "apart"], ["a"]),
             node("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3, 4]), node("Reshape", ["t", "joined"], ["s"]), *tail]
    parts = {"w": floats(RNG, 32, 3, 1, 1), "apart": np.array([1, 2, 16, 6, 6]), "joined": np.array([1, 32, 6, 6])}
    return make(nodes, {"x": [1, 3, 6, 6]}, outputs, {**parts, **(weights or {})})


@pytest.mark.parametrize("op", ["Relu", "LRN", "MaxPool", "GlobalAveragePool", "Resize", "Softmax", "Split"])
def test_permuted_channels(op: str) -> None:
    """Channels in permuted partitions, read by everything that reads partition runs."""
    attrs = {"LRN": {"size": 5}, "MaxPool": {"kernel_shape": [2, 2]}, "Softmax": {"axis": 1}}
    if op == "Resize":
        tail = [node("Resize", ["s", "", "k"], ["y"], mode="linear")]
        compare(shuffled(tail, ["y"], {"k": np.array([1, 1, 2, 2], np.float32)}))
    elif op == "Split":
        tail = [node("Split", ["s", "k"], ["l", "r"], axis=1), node("Relu", ["l"], ["y"]), node("Tanh", ["r"], ["z"])]
        compare(shuffled(tail, ["y", "z"], {"k": np.array([13, 19])}))
    else:
        compare(shuffled([node(op, ["s"], ["y"], **attrs.get(op, {}))], ["y"]))


@pytest.mark.parametrize("target", ["trn1.2xlarge", "inf1.xlarge"])
def test_channels_from_the_middle(target: str) -> None:
    """A slice of channels begins where no access may start: pools, sums and casts bring it elsewhere first."""
    weights = {"k": np.array([17, 16]), "u": floats(RNG, 16, 16, 1, 1)}
    nodes = [node("Tanh", ["x"], ["t"]), node("Split", ["t", "k"], ["a", "b"], axis=1),
             node("AveragePool", ["b"], ["p"], kernel_shape=[2, 2], pads=[0, 0, 1, 1]), node("Conv", ["b", "u"], ["c"]),
             node("Add", ["c", "b"], ["y"]), node("ReduceSum", ["b"], ["r"], keepdims=0)]
    compare(make(nodes, {"x": [2, 33, 7, 9]}, ["p", "y", "r"], weights), target)


def test_lrn_of_a_kept_value_at_other_positions(tmp_path: Path) -> None:
    tail = [node("LRN", ["s"], ["n"], size=3), node("MaxPool", ["n"], ["y"], kernel_shape=[3, 3])]
    compare(shuffled(tail, ["y"]), small_target(tmp_path, 4), keep_tensors=True)


def test_results_of_different_heights(tmp_path: Path) -> None:
    """Parts by rows of results with few and many rows: some parts hold nothing of the short one."""
    weights = {"w": floats(RNG, 64, 3, 3, 3), "v": floats(RNG, 64, 64, 1, 1) / 8}
    nodes = [node("Conv", ["x", "w"], ["a"], pads=[1] * 4), node("Conv", ["a", "v"], ["y"]),
             node("MaxPool", ["a"], ["z"], kernel_shape=[3, 3], strides=[3, 3])]
    for kib in (12, 16, 24):
        compare(make(nodes, {"x": [1, 3, 36, 24]}, ["y", "z"], weights), small_target(tmp_path, kib))


def test_spilled_in_part(tmp_path: Path) -> None:
    """A tensor of which only some channels are written when it is spilled: nothing unwritten is read."""
    nodes, parts = [], []
    weights = {"w": floats(RNG, 17, 3, 3, 3), "v": floats(RNG, 40, 17, 3, 3) / 10}
    for k in range(4):
        nodes.append(node("Conv", ["x", "w"], [f"a{k}"], pads=[1] * 4))
        nodes.append(node("Conv", [f"a{k}", "v"], [f"b{k}"], pads=[1] * 4))
        parts.append(f"a{k}")
    nodes += [node("Concat", parts, ["y"], axis=1), node("Concat", ["b3", "b2", "b1", "b0", "y"], ["z"], axis=1)]
    for kib in (10, 16):
        compare(make(nodes, {"x": [1, 3, 20, 20]}, ["z"], weights), small_target(tmp_path, kib))


def test_selections_by_constant_indices() -> None:
    """Any rank of indices along an inner axis is some transfers per piece, not one per element."""
    index = RNG.integers(-9, 9, size=(4, 5, 4))
    compare(make([node("Gather", ["x", "i"], ["y"], axis=2)], {"x": [200, 9, 9, 1]}, ["y"], {"i": index}))


def test_a_view_in_another_type_on_v1() -> None:
    """A view in DRAM of a float32 value whose own reader wants bf16: the DMA of v1 does not convert."""
    nodes = [node("Reshape", ["x", "s"], ["a"]), node("MatMul", ["a", "w"], ["y"]), node("Tanh", ["x"], ["z"])]
    weights = {"s": np.array([8, 30]), "w": floats(RNG, 30, 12)}
    compare(make(nodes, {"x": [4, 2, 30]}, ["y", "z"], weights), "inf1.xlarge")


@pytest.mark.parametrize("counted", [0, 1])
def test_average_over_more_than_the_image(counted: int) -> None:
    """A window far larger than the image (ceil_mode) averages what there is of it."""
    pool = node("AveragePool", ["x"], ["y"], kernel_shape=[640, 640], strides=[640, 640], ceil_mode=1,
                count_include_pad=counted)
    compare(make([pool], {"x": [2, 5, 4, 3]}, ["y"]))

def test_rows_of_a_product_that_are_not_one_list() -> None:
    """Tokens that were transposed lie in several lists; each would end between the partitions that engines reach."""
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Transpose", ["a"], ["t"], perm=[1, 0, 2]),
             node("Reshape", ["t", "s"], ["r"]), node("MatMul", ["r", "w"], ["m"]), node("Softmax", ["m"], ["y"])]
    weights = {"w": floats(RNG, 32, 32), "s": np.array([28, 32])}
    compare(make(nodes, {"x": [2, 14, 32]}, ["y"], weights))
    nodes[3] = node("MatMul", ["r", "z"], ["m"])
    compare(make(nodes, {"x": [2, 14, 32], "z": [32, 24]}, ["y"], weights))


def test_choice_between_float32_and_operands() -> None:
    """The result only feeds a product and is bf16 on v1; what is chosen is float32, and a choice does not convert."""
    nodes = [node("Add", ["x", "x"], ["a"]), node("Where", ["c", "a", "z"], ["b"]), node("MatMul", ["b", "w"], ["m"]),
             node("Relu", ["a"], ["r"]), node("Add", ["r", "m"], ["y"])]
    model = make(nodes, {"c": [5, 16], "x": [5, 16], "z": [5, 16]}, ["y"], {"w": floats(RNG, 16, 16)},
                 types={"c": TensorProto.BOOL})
    compare(model, "inf1.xlarge")


def test_narrow_value_in_dram_that_is_an_output() -> None:
    """Under --auto-cast all an output is float32 and what it shows bf16, in DRAM: the DMA of v1 does not convert."""
    model = make([node("Relu", ["x"], ["r"]), node("Reshape", ["r", "s"], ["y"])], {"x": [5, 7, 6]}, ["y"],
                 {"s": np.array([6, 35])})
    compare(model, "inf1.xlarge", auto_cast="all")
