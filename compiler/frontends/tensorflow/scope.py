"""One graph, one call of a function, or one turn of a loop while it is imported: nodes by name and their results."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.errors import ModelError
from compiler.frontends.tensorflow.values import Value

#: Operators with several named results, in order: references inside functions say the name ("node:values:0").
_RESULTS: dict[str, tuple[str, ...]] = {
    "BatchNormWithGlobalNormalization": ("result",),
    "BlockLSTM": ("i", "cs", "f", "o", "ci", "co", "h"),
    "BlockLSTMV2": ("i", "cs", "f", "o", "ci", "co", "h"),
    "CombinedNonMaxSuppression": ("nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections"),
    "CudnnRNN": ("output", "output_h", "output_c", "reserve_space"),
    "CudnnRNNV2": ("output", "output_h", "output_c", "reserve_space", "host_reserved"),
    "CudnnRNNV3": ("output", "output_h", "output_c", "reserve_space", "host_reserved"),
    "FusedBatchNorm": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "FusedBatchNormV2": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "FusedBatchNormV3": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"),
    "GRUBlockCell": ("r", "u", "c", "h"),
    "LSTMBlockCell": ("i", "cs", "f", "o", "ci", "co", "h"),
    "Merge": ("output", "value_index"),
    "MaxPoolWithArgmax": ("output", "argmax"),
    "NonMaxSuppressionV4": ("selected_indices", "valid_outputs"),
    "NonMaxSuppressionV5": ("selected_indices", "selected_scores", "valid_outputs"),
    "RefSwitch": ("output_false", "output_true"),
    "SparseFillEmptyRows": ("output_indices", "output_values", "empty_row_indicator", "reverse_index_map"),
    "SparseReshape": ("output_indices", "output_shape"),
    "Switch": ("output_false", "output_true"),
    "TensorArrayV3": ("handle", "flow"),
    "TensorListPopBack": ("output_handle", "tensor"),
    "TensorListConcat": ("tensor", "lengths"),
    "TensorListConcatV2": ("tensor", "lengths"),
    "TensorArrayConcatV3": ("value", "lengths"),
    "TopK": ("values", "indices"),
    "TopKV2": ("values", "indices"),
    "Unique": ("y", "idx"),
    "UniqueV2": ("y", "idx"),
    "UniqueWithCounts": ("y", "idx", "count"),
}


class Scope:
    """Where names of nodes mean something.

    Attributes:
        nodes: NodeDef by name. prefix: put before the names of nodes for the user.
        args: arguments of the function by name.
        results: outputs of the nodes evaluated so far.
        parent: the scope that a turn of a loop sees around itself.
        frames: loops found so far, by name of their LoopCond.
    """

    def __init__(self, nodes: Mapping[str, Any], where: str, prefix: str = "", args: Mapping[str, Value] | None = None,
                 parent: Scope | None = None, depth: int = 0) -> None:
        self.nodes, self.where, self.prefix, self.args = nodes, where, prefix, dict(args or {})
        self.parent, self.depth = parent, depth
        self.results: dict[str, list[Value]] = {}
        self.frames: dict[str, Any] = {} if parent is None else parent.frames

    def turn(self) -> Scope:
        """A scope for one turn of a loop: it sees what is known here and keeps what depends on the turn."""
        return Scope(self.nodes, self.where, self.prefix, self.args, self, self.depth + 1)

    def found(self, name: str) -> list[Value] | None:
        """The outputs of a node if it was evaluated."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.results:
                return scope.results[name]
            scope = scope.parent
        return None

    def node(self, name: str) -> Any:
        """A node. Raises: ModelError MODEL_INVALID."""
        if name not in self.nodes:
            raise ModelError(f"the graph has no node {name!r}, which another one reads", code="MODEL_INVALID",
                             where=self.where, help="the file is damaged or was cut wrongly: export it again")
        return self.nodes[name]

    def is_argument(self, ref: str) -> bool:
        """Whether a reference is to an argument of the function."""
        return ref.partition(":")[0] in self.args

    def value(self, ref: str) -> Value:
        """What a reference to an evaluated node (or an argument) stands for. Raises: ModelError MODEL_INVALID."""
        name = ref.partition(":")[0]
        if name in self.args:
            return self.args[name]
        outputs = self.found(name)
        index = self.index(ref)
        if outputs is None or index >= len(outputs):
            raise ModelError(f"the graph reads {ref!r}, which its node does not compute", code="MODEL_INVALID",
                             where=self.where)
        return outputs[index]

    def index(self, ref: str) -> int:
        """Which output of its node a reference is to: "node", "node:1" or, in functions, "node:result:0"."""
        parts = ref.split(":")
        number = parts[-1] if len(parts) > 1 else "0"
        if not number.isdigit() or len(number) > 9:
            raise ModelError(f"{ref!r} is no reference to a node", code="MODEL_INVALID", where=self.where)
        names = _RESULTS.get(self.node(parts[0]).op, ()) if len(parts) == 3 else ()
        return names.index(parts[1]) if len(parts) == 3 and parts[1] in names else int(number)


def data_inputs(node: Any) -> list[str]:
    """References to what a node computes with; those that only order nodes are left out."""
    return [i for i in node.input if not i.startswith("^")]
