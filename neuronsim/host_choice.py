"""Which runtime computes a CPU segment.

The rule, in order; it looks at the segment alone:

1. onnx's reference evaluator where ONNX Runtime is not installed;
2. the evaluator where the segment has an operator in a form listed in `DEVIATIONS`: there ONNX Runtime is known to
   compute something else than ONNX's text says, or to fail;
3. the evaluator where an input or output has an element type of which several share a byte (int4, float4): ONNX Runtime
   packs those in memory, numpy does not;
4. ONNX Runtime where it loads the segment;
5. the evaluator where it does not (an operator, version, type or attribute that it has no kernel for);
6. both, where neither takes all nodes: ONNX Runtime those that the evaluator has no kernel for.

Random operators without a seed get one, so that a NEFF always gives the same first outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from neuronsim.host_runtimes import (
    Evaluator,
    NodeFailure,
    OnnxRuntime,
    Runtime,
    Tensors,
    element_types,
    is_packed,
    onnxruntime,
)
from neuronsim.host_time import subgraphs

# ---- where ONNX Runtime (1.31 and before) deviates from ONNX's text

Types = Mapping[str, int]  # value name -> element type, where the graph states it


def _attribute(node: Any, name: str) -> Any:
    return next((a for a in node.attribute if a.name == name), None)


def _given(names: Sequence[str], index: int) -> bool:
    return len(names) > index and bool(names[index])


def _attention(node: Any, types: Types) -> bool:
    from onnx import TensorProto

    half = types.get(node.input[0]) == TensorProto.FLOAT16
    return half or _given(node.output, 3) or _given(node.input, 6)


def _resize(node: Any, types: Types) -> bool:
    mode, corners = _attribute(node, "mode"), _attribute(node, "coordinate_transformation_mode")
    interpolates = mode is not None and mode.s in (b"linear", b"cubic")
    return interpolates and corners is not None and corners.s == b"align_corners" and _given(node.input, 2)


def _of_booleans(node: Any, types: Types) -> bool:
    from onnx import TensorProto

    return TensorProto.BOOL in (types.get(node.input[0]), types.get(node.output[0]))


#: Operator -> (form, reason).
DEVIATIONS: dict[str, tuple[Callable[[Any, Types], bool], str]] = {
    "Attention": (
        _attention,
        "float16 is off by a unit in the last place, the product shown as qk_matmul_output lacks the mask's "
        "infinities, padded keys beside a mask of four dimensions fail",
    ),
    "DFT": (
        lambda node, types: True,
        "lengths that are no power of two lose four digits against a transform in float64",
    ),
    "STFT": (lambda node, types: True, "as DFT"),
    "MaxUnpool": (
        lambda node, types: _given(node.input, 2),
        "indices are taken as positions in the output shape given, instead of in the shape without it",
    ),
    "Resize": (
        _resize,
        "with scales and aligned corners, positions follow the rounded output size instead of the scaled one",
    ),
    "Dropout": (
        lambda node, types: _given(node.input, 2),
        "in training, a seed gives another sequence of random numbers than ONNX's own implementation",
    ),
    "ReduceMax": (_of_booleans, "the largest of no booleans fails instead of being false"),
    "ReduceMin": (_of_booleans, "the smallest of no booleans fails instead of being true"),
}


def deviation(graph: Any, outer: Types | None = None) -> str:
    """Why ONNX Runtime is not asked for a graph: the first listed form found, subgraphs included; else ""."""
    types = dict(outer or {})
    types.update((i.name, e) for i in (*graph.input, *graph.value_info, *graph.output) for e in element_types(i))
    types.update((t.name, t.data_type) for t in graph.initializer)
    for node in graph.node:
        form, reason = DEVIATIONS.get(node.op_type, (None, ""))
        if form is not None and node.domain in ("", "ai.onnx") and form(node, types):
            return f"{node.op_type}: {reason}"
        for found in filter(None, (deviation(inner, types) for inner in subgraphs(node))):
            return found
    return ""


# ---- choosing

RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def seed(graph: Any) -> bool:
    """Give every random node without a seed one by its position; whether there was any."""
    from onnx import helper

    changed = False
    for position, node in enumerate(graph.node):
        changed |= any([seed(inner) for inner in subgraphs(node)])
        draws = node.op_type in RANDOM or (node.op_type == "Dropout" and _given(node.input, 2))
        if draws and _attribute(node, "seed") is None:
            value = 1 + position  # to some generators 0 and 1 are the same
            node.attribute.append(helper.make_attribute("seed", value if node.op_type == "Dropout" else float(value)))
            changed = True
    return changed


def choose(model: Any, data: bytes) -> Runtime:
    """The runtime for a segment by the rule above.

    Args:
        model, data: the segment as an onnx ModelProto, which may be changed, and its bytes.
    Raises: NodeFailure when no runtime loads it.
    """
    if seed(model.graph):
        data = model.SerializeToString()
    faces = [*model.graph.input, *model.graph.output]
    refusal = "" if onnxruntime() else "ONNX Runtime is not installed"
    refusal = refusal or deviation(model.graph)
    if not refusal and any(is_packed(i) for i in faces):
        refusal = "elements that share a byte"
    if not refusal:
        try:
            return OnnxRuntime(data, faces)
        except Exception as error:  # its own kinds, one per status code
            refusal = _first_line(error)
    try:
        return Evaluator(model)
    except Exception as error:  # missing operators and malformed attributes raise many kinds
        missing = without_kernel(model)
        if not missing:
            raise NodeFailure("", "", f"{_first_line(error)} (ONNX Runtime: {refusal})") from error
        if onnxruntime() and len(missing) < len(model.graph.node):
            try:
                return Pieces(model, {name for name, _ in missing})
            except Exception as refused:
                refusal = _first_line(refused)
        names = ", ".join(f"{op} ({name})" for name, op in missing)
        raise NodeFailure("", "", f"no CPU kernel for {names} (ONNX Runtime: {refusal})") from error


def without_kernel(model: Any) -> list[tuple[str, str]]:
    """Name and operator of every node that the evaluator has no kernel for."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    found = []
    for node in model.graph.node:
        graph = helper.make_graph([node], "node", [], [])
        alone = helper.make_model(graph, opset_imports=model.opset_import, functions=model.functions)
        try:
            ReferenceEvaluator(alone)
        except Exception:  # as above
            found.append((node.name, f"{node.domain}::{node.op_type}" if node.domain else node.op_type))
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Pieces:
    """A segment in pieces: ONNX Runtime runs the nodes that the evaluator has no kernel for, the evaluator the others.

    Args:
        model: whose nodes all have names.
        without: names of the nodes that ONNX Runtime has to take.
    Raises: ONNX Runtime's own kinds for a piece it refuses, or whose inputs have no known type.
    """

    name = "pieces"

    def __init__(self, model: Any, without: set[str]) -> None:
        import onnx

        typed = onnx.shape_inference.infer_shapes(model)
        self._outputs = [o.name for o in model.graph.output]
        self._pieces: list[tuple[Runtime, list[str], list[str]]] = []
        nodes = list(typed.graph.node)
        for apart, group in groupby(nodes, key=lambda node: node.name in without):
            piece = _extracted(typed, list(group))
            faces = [*piece.graph.input, *piece.graph.output]
            runtime: Runtime = OnnxRuntime(piece.SerializeToString(), faces) if apart else Evaluator(piece)
            names = [i.name for i in piece.graph.input], [o.name for o in piece.graph.output]
            self._pieces.append((runtime, *names))

    def run(self, inputs: Tensors) -> list[Any]:
        """Outputs in order. Raises: NodeFailure naming the node."""
        values = dict(inputs)
        for runtime, reads, makes in self._pieces:
            values.update(zip(makes, runtime.run({name: values[name] for name in reads}), strict=True))
        return [values[name] for name in self._outputs]


def _extracted(model: Any, nodes: list[Any]) -> Any:
    """A model of some consecutive nodes: it takes what they read of others, and gives what others read of them."""
    from onnx import ValueInfoProto, helper

    graph = model.graph
    initialisers = {t.name: t for t in graph.initializer}
    infos = {i.name: i for i in (*graph.input, *graph.value_info, *graph.output)}
    here = {node.name for node in nodes}
    made = {name for node in nodes for name in node.output if name}
    known = {*initialisers, *(i.name for i in graph.input), *(o for node in graph.node for o in node.output)} - {""}
    read = dict.fromkeys(name for node in nodes for name in _reads(node) if name in known - made)
    wanted = {o.name for o in graph.output}
    wanted.update(name for node in graph.node if node.name not in here for name in _reads(node))
    inputs, outputs = (
        [infos.get(n) or ValueInfoProto(name=n) for n in names]
        for names in ([n for n in read if n not in initialisers], sorted(made & wanted))
    )
    kept = [initialisers[n] for n in read if n in initialisers]
    piece = helper.make_graph(nodes, graph.name, inputs, outputs, kept)
    return helper.make_model(
        piece, opset_imports=model.opset_import, functions=model.functions, ir_version=model.ir_version
    )


def _reads(node: Any) -> list[str]:
    """Names that a node and its subgraphs read, those included that a subgraph makes itself."""
    inner = [name for graph in subgraphs(node) for n in graph.node for name in _reads(n)]
    return [*node.input, *inner, *(o.name for graph in subgraphs(node) for o in graph.output)]
