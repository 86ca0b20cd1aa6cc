"""What a CPU segment costs on the host, by a stated model: nothing is measured, so a NEFF always has the same latency.

Every operator costs `host.dispatch_ns`, and the longer of two times of one core: its inputs and outputs at
`host.cpu_bytes_per_ns`, its multiplications and additions at `host.flops_per_ns`. Only convolutions, matrix products
and support vectors count as arithmetic; elsewhere moving the data takes longer. A step down a decision tree moves a
cache line, and a row takes as many as a balanced tree of that many leaves has levels. The k largest of a row are found
by log2 k passes that read and write every element with its 64-bit place, as a merge sort of that depth does. Sizes
known only at run time count as 1, subgraphs as run once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import log2, prod
from typing import Any

from isa.target import Target

#: Bytes that a processor fetches at once, of which a node of a tree takes the most.
_CACHE_LINE = 64
#: Bytes of the place of an element.
_PLACE = 8

Shapes = Mapping[str, tuple[int, ...]]


def segment_seconds(model: Any, target: Target) -> float:
    """Time charged for one run of a segment (an onnx ModelProto) on one core of the host of `target`."""
    import onnx

    try:
        model = onnx.shape_inference.infer_shapes(model)
    except (RuntimeError, ValueError):  # sizes between its nodes stay unknown
        pass
    return _graph_ns(model.graph, {}, {}, target) * 1e-9


def _graph_ns(graph: Any, shapes: Shapes, itemsizes: Mapping[str, int], target: Target) -> float:
    """Nanoseconds of a graph; a subgraph sees the `shapes` and `itemsizes` of the graph around it."""
    infos = [*graph.input, *graph.value_info, *graph.output]
    inner = {**shapes, **{i.name: _shape(i) for i in infos}, **{t.name: tuple(t.dims) for t in graph.initializer}}
    sizes = {
        **itemsizes,
        **{i.name: _itemsize(i.type.tensor_type.elem_type) for i in infos},
        **{t.name: _itemsize(t.data_type) for t in graph.initializer},
    }
    total = 0.0
    for node in graph.node:
        moved = sum(prod(inner.get(n, ())) * sizes.get(n, 1) for n in (*node.input, *node.output) if n)
        moved += _CACHE_LINE * _steps(node, inner)
        if node.op_type == "TopK" and not node.domain:
            moved += _sorted_bytes(node, inner, sizes)
        flops = _FLOPS.get(node.op_type, _none)(node, inner)
        total += target.host_dispatch_ns
        total += max(moved / target.host_bytes_per_cpu_ns, flops / target.host_flops_per_ns)
        total += sum(_graph_ns(g, inner, sizes, target) for g in subgraphs(node))
    return total


def subgraphs(node: Any) -> Iterable[Any]:
    """The graphs among a NodeProto's attributes (branches, loop bodies)."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _steps(node: Any, shapes: Shapes) -> float:
    """Steps down the trees of a tree ensemble for all rows; 0 for other operators."""
    if node.domain != "ai.onnx.ml" or not node.op_type.startswith("TreeEnsemble"):
        return 0.0
    rows = (shapes.get(node.input[0], ()) or (1,))[0]
    attributes = {a.name: a for a in node.attribute}
    if "tree_roots" in attributes:
        trees = len(attributes["tree_roots"].ints)
        return rows * trees * log2(max(2.0, len(attributes["leaf_targetids"].ints) / max(1, trees)))
    kinds = zip(attributes["nodes_treeids"].ints, attributes["nodes_modes"].strings, strict=True)
    leaves = Counter(tree for tree, mode in kinds if mode == b"LEAF")
    return rows * sum(log2(max(2, count)) for count in leaves.values())


def _sorted_bytes(node: Any, shapes: Shapes, itemsizes: Mapping[str, int]) -> float:
    """Bytes that the passes of a TopK read and write beyond its operands and results."""
    data, found = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
    count = found[axis] if found else 1
    return 2 * prod(data) * (itemsizes.get(node.input[0], 1) + _PLACE) * log2(max(2, count))


def _shape(info: Any) -> tuple[int, ...]:
    return tuple(d.dim_value or 1 for d in info.type.tensor_type.shape.dim)


def _itemsize(element_type: int) -> int:
    """Bytes of an element in memory; 1 for what is no tensor."""
    from onnx import helper

    return int(helper.tensor_dtype_to_np_dtype(element_type).itemsize) if element_type else 1


def _none(node: Any, shapes: Shapes) -> int:
    return 0


def _convolution(weights: int) -> Callable[[Any, Shapes], int]:
    def flops(node: Any, shapes: Shapes) -> int:
        """Each element of the result takes a product with one filter."""
        return 2 * prod(shapes.get(node.output[0], ())) * prod(shapes.get(node.input[weights], ())[1:])

    return flops


def _transposed(node: Any, shapes: Shapes) -> int:
    """Each element of the data is multiplied with all of its filters."""
    return 2 * prod(shapes.get(node.input[0], ())) * prod(shapes.get(node.input[1], ())[1:])


def _product(node: Any, shapes: Shapes) -> int:
    return 2 * prod(shapes.get(node.output[0], ())) * (shapes.get(node.input[0], ()) or (1,))[-1]


def _gemm(node: Any, shapes: Shapes) -> int:
    a = shapes.get(node.input[0], ())
    flipped = any(x.name == "transA" and x.i for x in node.attribute)
    return 2 * prod(shapes.get(node.output[0], ())) * (a[0 if flipped else 1] if len(a) == 2 else 1)


def _vectors(attribute: str) -> Callable[[Any, Shapes], int]:
    def flops(node: Any, shapes: Shapes) -> int:
        """Each row is multiplied with every vector of the attribute."""
        rows = (shapes.get(node.input[0], ()) or (1,))[0]
        return 2 * rows * sum(len(a.floats) for a in node.attribute if a.name == attribute)

    return flops


_FLOPS: dict[str, Callable[[Any, Shapes], int]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _gemm,
    "LinearClassifier": _vectors("coefficients"),
    "LinearRegressor": _vectors("coefficients"),
    "SVMClassifier": _vectors("support_vectors"),
    "SVMRegressor": _vectors("support_vectors"),
}
