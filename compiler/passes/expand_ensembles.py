"""Tree ensembles as matrix products, a block of trees at a time.

Features are picked by a product with a one-hot matrix, compared with all thresholds at once, the answers are summed
along the path of every leaf by a second product, compared with what a reached leaf sums to, and a third product adds
up the weights of the reached leaves. Picking must be exact, whatever type the PE multiplies: a float32 is the exact
sum of three bfloat16, each of which a product hands on unchanged.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.ir import Graph, Node, numpy_dtype
from compiler.passes.classes import label, post_transform, post_transform_reason
from compiler.passes.expansion import Expansion
from compiler.passes.split_products import PARTS, parts, selection_product
from compiler.passes.tree_ensemble import Leaf, Test, Tree, classic, modern
from isa.target import Target

#: tests of one block, unless one tree alone has more: what one product contracts at once
BLOCK = 128
#: most elements of the path matrices of one ensemble, 16 MiB of bfloat16
MOST_ELEMENTS = 1 << 23
#: most blocks, some seven operators each
MOST_BLOCKS = 512
#: features beyond are taken for this, and a threshold must be smaller: their leading bfloat16 stays finite
LARGEST = 2.0**127
#: float32 before it; with a threshold of infinity, which all but NaN are below, it is the largest feature
BEFORE_LARGEST = LARGEST * (1 - 2.0**-24)

AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def trees_of(node: Node) -> list[Tree]:
    """The trees of any of the three operators. Raises: ValueError for a node mode that does not exist."""
    if node.op == "TreeEnsemble":
        return modern(node.attrs)
    return classic(node.attrs, "class" if node.op == "TreeEnsembleClassifier" else "target")


def tree_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why a tree ensemble does not run on the device, "" when it does."""
    attrs = node.attrs
    if graph.dtype(node.inputs[0]) not in ("float32", "float16"):
        return "its features are neither float32 nor float16"
    if len(graph.shape(node.inputs[0])) != 2:
        return "its features are no matrix"
    if any(np.asarray(v).dtype == np.float64 for k, v in attrs.items() if k.endswith("_as_tensor") and v is not None):
        return "its numbers are float64"
    try:
        trees = trees_of(node)
    except ValueError as error:
        return f"{error} is not known"
    if not all(abs(t.threshold) < BEFORE_LARGEST or _is_infinite(t) for tree in trees for t in tree.tests()):
        return f"a threshold is not below {LARGEST:g}"
    groups = blocks_of(trees)
    elements = sum(len(tests) * len(leaves) for tests, leaves in groups)
    if elements > MOST_ELEMENTS or len(groups) > MOST_BLOCKS:
        return f"its path matrices would have {elements} elements in {len(groups)} blocks, more than " \
               f"{MOST_ELEMENTS} in {MOST_BLOCKS}"
    if _aggregate(attrs) in ("MIN", "MAX") and not _complete(trees, _targets(node)):
        return "a leaf has no weight for one of the targets, whose minimum or maximum is then not defined"
    if node.op == "TreeEnsembleClassifier":
        ids = {t for tree in trees for leaf in tree.leaves for t in leaf.weights}
        if _targets(node) < 2 or (_targets(node) == 2 and ids != {0}):
            return "it has two classes with weights of their own, or less than two"
        if _targets(node) == 2 and (_transform(attrs) == "SOFTMAX" or len(_base(attrs)) > 1):
            return "what a softmax, or two base values, mean to two classes with one score is not agreed upon"
    return post_transform_reason(_transform(attrs))


def expand_trees(graph: Graph, node: Node) -> bool:
    """TreeEnsembleRegressor, TreeEnsembleClassifier, TreeEnsemble."""
    if tree_reason(graph, node):
        return False
    f = Expansion(graph, node)
    trees, targets = trees_of(node), _targets(node)
    classifier = node.op == "TreeEnsembleClassifier"
    columns = 1 if classifier and targets == 2 else targets
    total = _aggregated(f, trees, columns)
    if len(_base(node.attrs)):
        total = f.add(total, f.const(_base(node.attrs)[None, :]))
    if not classifier:
        kind = f.dtype(node.inputs[0])
        return f.finish([f.cast(post_transform(f, total, _transform(node.attrs)), kind)])
    positive = all(w >= 0 for tree in trees for leaf in tree.leaves for w in leaf.weights.values())
    labels = list(node.attrs["classlabels_int64s"])
    chosen = label(f, total, labels, 0.5 if positive else 0.0)
    transform = _transform(node.attrs)
    if columns == 1:
        total = f.concat([f.sub(1.0, total) if positive and transform == "NONE" else f.mul(total, -1.0), total], 1)
    return f.finish([chosen, post_transform(f, total, transform)])


def blocks_of(trees: list[Tree]) -> list[tuple[list[Test], list[Leaf]]]:
    """Neighbouring trees together while they have at most BLOCK tests: tests, each once, and leaves of every block."""
    out: list[tuple[list[Test], list[Leaf]]] = []
    for tree in trees:
        mine = set(tree.tests())
        if out and len(mine.union(out[-1][0])) <= BLOCK and mine:
            tests, leaves = out[-1]
            out[-1] = (sorted(mine.union(tests)), leaves + tree.leaves)
        else:
            out.append((sorted(mine), list(tree.leaves)))
    return out


# ---- the products ----------------------------------------------------------------------------------------------------


def _aggregated(f: Expansion, trees: list[Tree], targets: int) -> str:
    """[rows, targets] float32: weights of the reached leaves, summed or compared."""
    features = _Features(f, any(_is_infinite(t) for tree in trees for t in tree.tests()))
    how = _aggregate(f.node.attrs)
    blocks = []
    for tests, leaves in blocks_of(trees):
        reached = _reached(f, features, tests, leaves)
        weights = np.zeros((len(leaves), targets), np.float32)
        for k, leaf in enumerate(leaves):
            for target, weight in leaf.weights.items():
                weights[k, target] = weight / (len(trees) if how == "AVERAGE" else 1)
        if how in ("MIN", "MAX"):
            blocks.append(_extreme(f, reached, weights, how))
        else:
            blocks.append(selection_product(f, reached, weights))
    if how not in ("MIN", "MAX"):
        return f.total(blocks)
    best = blocks[0]
    for part in blocks[1:]:
        best = f.binary(how.capitalize(), best, part)
    return best


def _extreme(f: Expansion, reached: str, weights: np.ndarray, how: str) -> str:
    """The smallest or largest weight of the reached leaves for every target."""
    none = f.const(float(np.finfo(np.float32).max if how == "MIN" else np.finfo(np.float32).min))
    columns = [f.reduce(f"Reduce{how.capitalize()}", f.where(reached, f.const(weights[None, :, t]), none), [1])
               for t in range(weights.shape[1])]
    return f.concat(columns, 1)


def _is_infinite(test: Test) -> bool:
    """Whether a test is whether a feature is there: x <= infinity."""
    return test.closed and test.threshold == np.inf


class _Features:
    """The features with a stated number for NaN, as bfloat16 parts side by side; made once for each answer to NaN.

    Args:
        apart: NaN must compare as larger than every number, if not as less.
    """

    def __init__(self, f: Expansion, apart: bool) -> None:
        self.f = f
        self.apart = apart
        self.x = f.cast(f.node.inputs[0], "float32")
        self.made: dict[bool, str] = {}

    def parts(self, nan: bool) -> str:
        """[rows, PARTS * features]; NaN compares as less than every threshold exactly when `nan`."""
        if nan not in self.made:
            f = self.f
            number = f.const(-LARGEST if nan else LARGEST)
            missing = f.unary("IsNaN", self.x)
            if self.apart:
                known = f.clip(f.where(missing, f.const(0.0), self.x), -BEFORE_LARGEST, BEFORE_LARGEST)
                known = f.where(missing, number, known)
            else:
                known = f.clip(f.where(missing, number, self.x), -LARGEST, LARGEST)
            self.made[nan] = f.concat(parts(f, known), 1)
        return self.made[nan]

    def picked(self, tests: list[Test]) -> str:
        """[rows, tests] float32: the feature of every test, exactly."""
        f = self.f
        count = f.shape(self.x)[1]
        one_hot = np.zeros((PARTS, count, len(tests)), numpy_dtype("bfloat16"))
        one_hot[:, [t.feature for t in tests], range(len(tests))] = 1
        return f.matmul(self.parts(tests[0].nan), f.const(one_hot.reshape(PARTS * count, -1)), "float32")


def _reached(f: Expansion, features: _Features, tests: list[Test], leaves: list[Leaf]) -> str:
    """[rows, leaves] bool. Tests of one kind are compared together."""
    sums = []
    for closed, nan in ((True, False), (True, True), (False, False), (False, True)):
        mine = [t for t in tests if (t.closed, t.nan) == (closed, nan)]
        if not mine:
            continue
        thresholds = f.const(np.array([[min(t.threshold, BEFORE_LARGEST) for t in mine]], np.float32))
        answers = f.binary("LessOrEqual" if closed else "Less", features.picked(mine), thresholds)
        number = {t: k for k, t in enumerate(mine)}
        paths = np.zeros((len(mine), len(leaves)), numpy_dtype("bfloat16"))
        for k, leaf in enumerate(leaves):
            for test, sign in leaf.signs.items():
                if test in number:
                    paths[number[test], k] = sign
        sums.append(f.matmul(f.cast(answers, "bfloat16"), f.const(paths), "float32"))
    needed = np.array([[leaf.needed - 0.5 for leaf in leaves]], np.float32)
    if not sums:  # trees of one leaf
        rows = f.shape(f.node.inputs[0])[0]
        return f.const(np.ones((rows, len(leaves)), bool))
    return f.binary("Greater", f.total(sums), f.const(needed))


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


def _complete(trees: list[Tree], targets: int) -> bool:
    return all(len(leaf.weights) == targets for tree in trees for leaf in tree.leaves)


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    f"ai.onnx.ml::{op}": expand_trees for op in ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")
}
