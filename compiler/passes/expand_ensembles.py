"""Tree ensembles as matrix products.

Features are picked by a product with a one-hot matrix, compared with all thresholds at once, the answers are summed
along the path of every leaf by a second product, compared with what a reached leaf sums to, and a third product adds
up the weights of the reached leaves. The second is cut into blocks (`tree_blocks`). Picking must be exact, whatever
type the PE multiplies: a float32 is the exact sum of three bfloat16, each of which a product hands on unchanged.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.ir import Graph, Node, numpy_dtype
from compiler.passes.classes import label, post_transform, post_transform_reason
from compiler.passes.expansion import Expansion
from compiler.passes.split_products import PARTS, constant_parts, parts
from compiler.passes.tree_blocks import BLOCK, Plan, blocks_of
from compiler.passes.tree_ensemble import MODES, Nodes, Tests
from compiler.passes.tree_spellings import classic, modern
from isa.target import Target

#: engines read and write partitions from multiples of this on
QUADRANT = 32
#: bytes of one partition for the answers to tests that are held at once
HELD_BYTES = 1 << 15
#: features beyond are taken for this, and a threshold must be smaller: their leading bfloat16 stays finite
LARGEST = 2.0**127
#: float32 before it; with a threshold of infinity, which all but NaN are below, it is the largest feature
BEFORE_LARGEST = LARGEST * (1 - 2.0**-24)

AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def tree_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why a tree ensemble does not run on the device, "" when it does."""
    return _form_reason(graph, node) or _size_reason(graph, node)


def expand_trees(graph: Graph, node: Node) -> bool:
    """TreeEnsembleRegressor, TreeEnsembleClassifier, TreeEnsemble."""
    plan = "no" if _form_reason(graph, node) else _planned(graph, node)
    if isinstance(plan, str):
        return False
    f = Expansion(graph, node)
    targets = _targets(node)
    classifier = node.op == "TreeEnsembleClassifier"
    columns = 1 if classifier and targets == 2 else targets
    total = _aggregated(f, plan, columns)
    if len(_base(node.attrs)):
        total = f.add(total, f.const(_base(node.attrs)[None, :]))
    if not classifier:
        kind = f.dtype(node.inputs[0])
        return f.finish([f.cast(post_transform(f, total, _transform(node.attrs)), kind)])
    positive = bool(np.all(plan.nodes.weight >= 0))
    labels = list(node.attrs["classlabels_int64s"])
    chosen = label(f, total, labels, 0.5 if positive else 0.0)
    transform = _transform(node.attrs)
    if columns == 1:
        total = f.concat([f.sub(1.0, total) if positive and transform == "NONE" else f.mul(total, -1.0), total], 1)
    return f.finish([chosen, post_transform(f, total, transform)])


def _form_reason(graph: Graph, node: Node) -> str:
    """Why an ensemble in this form cannot run on the device, whatever its trees are."""
    attrs = node.attrs
    if graph.dtype(node.inputs[0]) not in ("float32", "float16"):
        return "its features are neither float32 nor float16"
    if len(graph.shape(node.inputs[0])) != 2:
        return "its features are no matrix"
    if any(np.asarray(v).dtype == np.float64 for k, v in attrs.items() if k.endswith("_as_tensor") and v is not None):
        return "its numbers are float64"
    return post_transform_reason(_transform(attrs))


def _size_reason(graph: Graph, node: Node) -> str:
    """Why the device cannot have these trees, mostly for their size."""
    found = _planned(graph, node)
    return found if isinstance(found, str) else ""


def _planned(graph: Graph, node: Node) -> Plan | str:
    """The blocks of an ensemble, or why the device cannot have it."""
    try:
        nodes = nodes_of(node)
    except ValueError as error:
        return f"{error} is not known"
    if why := _weights_reason(node, nodes):
        return why
    compared = (nodes.yes >= 0) & (nodes.mode != MODES.index("BRANCH_MEMBER"))
    infinite = (nodes.value == np.inf) & np.isin(nodes.mode, [MODES.index(m) for m in ("BRANCH_LEQ", "BRANCH_GT")])
    values = [np.where(compared, np.abs(nodes.value), 0), *(np.abs(m) for m in nodes.members.values())]
    if not np.all((values[0] < BEFORE_LARGEST) | infinite) or not all(np.all(v < BEFORE_LARGEST) for v in values[1:]):
        return f"a threshold is not below {LARGEST:g}"
    return blocks_of(nodes, graph.shape(node.inputs[0])[1])


def _weights_reason(node: Node, nodes: Nodes) -> str:
    """Why the weights of its leaves cannot be added or compared, "" when they can."""
    attrs, targets = node.attrs, _targets(node)
    if _aggregate(attrs) in ("MIN", "MAX"):
        leaves = nodes.yes < 0
        if np.any(np.bincount(nodes.leaf, minlength=len(leaves))[leaves] != targets):
            return "a leaf has no weight for one of the targets, whose minimum or maximum is then not defined"
    if node.op == "TreeEnsembleClassifier":
        if targets < 2 or (targets == 2 and set(nodes.target.tolist()) != {0}):
            return "it has two classes with weights of their own, or less than two"
        if targets == 2 and (_transform(attrs) == "SOFTMAX" or len(_base(attrs)) > 1):
            return "what a softmax, or two base values, mean to two classes with one score is not agreed upon"
    return ""


def nodes_of(node: Node) -> Nodes:
    """The trees of any of the three operators. Raises: ValueError for a node mode or child that does not exist."""
    if node.op == "TreeEnsemble":
        return modern(node.attrs)
    return classic(node.attrs, "class" if node.op == "TreeEnsembleClassifier" else "target")


# ---- the products ----------------------------------------------------------------------------------------------------


def _aggregated(f: Expansion, plan: Plan, targets: int) -> str:
    """[rows, targets] float32: weights of the reached leaves, summed or compared."""
    how = _aggregate(f.node.attrs)
    rows, blocks = f.shape(f.node.inputs[0])[0], len(plan.asked)
    features = _features(f, plan.tests) if len(plan.tests.feature) else ("", plan.tests.feature)
    weights = _weights(plan, targets)
    if how == "AVERAGE":
        weights /= int(plan.leaves.tree.max()) + 1
    step = max(1, HELD_BYTES // (4 * max(1, rows)))  # an empty batch is the host's, which this cannot know yet
    made = []
    for low in range(0, blocks, step):
        high = min(low + step, blocks)
        reached = _reached(f, plan, *features, low, high)
        here = weights[low * BLOCK:high * BLOCK]
        made.append(_extreme(f, reached, here, how) if how in ("MIN", "MAX")
                    else _convolution(f, reached, _side_by_side(here)))
    if how in ("MIN", "MAX"):
        best = made[0]
        for part in made[1:]:
            best = f.binary(how.capitalize(), best, part)
        return best
    total = f.total(made)
    apart = (f.shape(total)[1] - targets) // (PARTS - 1)
    terms = [f.slice(total, 1, k * apart, k * apart + targets) for k in reversed(range(PARTS))]
    return f.reshape(f.total(terms), [rows, targets])


def _side_by_side(weights: np.ndarray) -> np.ndarray:
    """[leaves, columns]: the parts of weights [leaves, targets], each where engines can start to read partitions."""
    apart = -(-weights.shape[1] // QUADRANT) * QUADRANT
    wide = np.zeros((len(weights), (PARTS - 1) * apart + weights.shape[1]), np.float32)
    for k, part in enumerate(constant_parts(weights)):
        wide[:, k * apart:k * apart + weights.shape[1]] = part
    return wide


def _features(f: Expansion, tests: Tests) -> tuple[str, np.ndarray]:
    """The features as exact sums of bfloat16, with a number for NaN that answers each test as it states.

    Returns: bfloat16 [rows, columns, 1], and the first column of each test's feature, int64 [tests]; its other parts
        follow at equal distances, the number of features.
    """
    x = f.cast(f.node.inputs[0], "float32")
    used, place = np.unique(tests.feature, return_inverse=True)
    if 2 * len(used) <= f.shape(x)[1]:
        x = f.gather(x, f.const(used), 1)
    else:
        used, place = np.arange(f.shape(x)[1]), tests.feature
    missing = f.unary("IsNaN", x)
    apart = bool(np.any(np.isinf(tests.threshold)))  # NaN must compare as larger than every number, if not as less
    known = f.clip(f.where(missing, f.const(0.0), x), -BEFORE_LARGEST, BEFORE_LARGEST) if apart else x
    columns: list[str] = []
    start = np.zeros(2, np.int64)
    for nan in np.unique(tests.nan).tolist():
        start[int(nan)] = PARTS * len(used) * bool(columns)
        number = f.const(-LARGEST if nan else LARGEST)
        filled = f.where(missing, number, known)
        columns += parts(f, filled if apart else f.clip(filled, -LARGEST, LARGEST))
    wide = f.concat(columns, 1)
    return f.reshape(wide, [*f.shape(wide), 1]), place.reshape(-1) + start[tests.nan.astype(np.int64)]


def _reached(f: Expansion, plan: Plan, features: str, column: np.ndarray, low: int, high: int) -> str:
    """bfloat16 [rows, leaves, 1], 1 or 0, of the blocks low .. high - 1, BLOCK leaves each, 0 at places left over."""
    asked = plan.asked[low:high].reshape(-1)
    if not len(plan.tests.feature):  # trees of one leaf
        reached = np.zeros((1, len(asked), 1), numpy_dtype("bfloat16"))
        reached[0, (plan.block - low) * BLOCK + plan.slot] = True
        return f.expand(f.const(reached), [f.shape(f.node.inputs[0])[0], len(asked), 1])
    place = np.flatnonzero(asked >= 0)
    test = asked[place]
    width = f.shape(features)[1] // PARTS // len(np.unique(plan.tests.nan))
    pick = np.zeros((f.shape(features)[1], len(asked)), numpy_dtype("bfloat16"))
    for part in range(PARTS):
        pick[column[test] + part * width, place] = 1
    threshold = np.zeros((1, len(asked), 1), np.float32)
    threshold[0, place, 0] = np.minimum(plan.tests.threshold[test], LARGEST)
    answers = f.cast(f.binary("Less", _convolution(f, features, pick), f.const(threshold)), "bfloat16")
    first, last = np.searchsorted(plan.block, [low, high])
    entries = slice(int(plan.leaves.first[first]), int(plan.leaves.first[last]))
    leaf = np.repeat(np.arange(first, last), np.diff(plan.leaves.first[first:last + 1]))
    paths = np.zeros(((high - low) * BLOCK, BLOCK), numpy_dtype("bfloat16"))
    spot = (plan.block - low) * BLOCK + plan.slot
    paths[spot[leaf], plan.row[entries]] = plan.leaves.sign[entries]
    missing = np.full(len(asked), np.float32(-BLOCK))  # at the most what is asked for: what is left over is 1 or 0
    missing[spot[first:last]] = 1 - plan.leaves.needed[first:last]
    return f.unary("Relu", _convolution(f, answers, paths.T, high - low, missing))


def _weights(plan: Plan, targets: int) -> np.ndarray:
    """float32 [blocks * BLOCK, targets]: the weights of the leaf at every place."""
    nodes, out = plan.nodes, np.zeros((len(plan.asked) * BLOCK, targets), np.float32)
    first, last = np.searchsorted(nodes.leaf, plan.leaves.node), np.searchsorted(nodes.leaf, plan.leaves.node, "right")
    spot, counts = plan.block * BLOCK + plan.slot, last - first
    entry = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
    np.add.at(out, (np.repeat(spot, counts), nodes.target[entry]), nodes.weight[entry])
    return out


def _convolution(f: Expansion, x: str, matrix: np.ndarray, group: int = 1, bias: np.ndarray | None = None) -> str:
    """bfloat16 [rows, K, 1] times [K / group, N], each group of columns with its own K / group: [rows, N, 1].

    As a convolution, channels stay on the partitions from one product to the next. The sums are float32, with a bias
    [N] of whole numbers bfloat16.
    """
    weight = f.const(np.ascontiguousarray(matrix.T.astype(numpy_dtype("bfloat16")))[:, :, None])
    kind = "float32" if bias is None else "bfloat16"
    more = [] if bias is None else [f.const(bias.astype(numpy_dtype("bfloat16")))]
    return f.op("Conv", [x, weight, *more], [f.shape(x)[0], matrix.shape[1], 1], kind, group=group, kernel_shape=[1],
                strides=[1], dilations=[1], pads=[0, 0])


def _extreme(f: Expansion, reached: str, weights: np.ndarray, how: str) -> str:
    """[rows, targets]: the smallest or largest weight of the reached leaves for every target."""
    none = f.const(float(np.finfo(np.float32).max if how == "MIN" else np.finfo(np.float32).min))
    reached = f.binary("Greater", f.reshape(reached, f.shape(reached)[:2]), 0.0)
    columns = [f.reduce(f"Reduce{how.capitalize()}", f.where(reached, f.const(weights[None, :, t]), none), [1])
               for t in range(weights.shape[1])]
    return f.concat(columns, 1)


# ---- attributes ------------------------------------------------------------------------------------------------------


def _aggregate(attrs: dict[str, Any]) -> str:
    how = attrs.get("aggregate_function", "SUM")
    return how if isinstance(how, str) else AGGREGATES[how]


def _base(attrs: dict[str, Any]) -> np.ndarray:
    tensor = attrs.get("base_values_as_tensor")
    return np.asarray(tensor if tensor is not None else attrs.get("base_values") or [], np.float32)


def _transform(attrs: dict[str, Any]) -> str:
    name = attrs.get("post_transform", "NONE")
    return name if isinstance(name, str) else TRANSFORMS[name]


def _targets(node: Node) -> int:
    if node.op == "TreeEnsembleClassifier":
        return len(node.attrs.get("classlabels_int64s") or ())
    return int(node.attrs.get("n_targets") or 1)


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    f"ai.onnx.ml::{op}": expand_trees for op in ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")
}
