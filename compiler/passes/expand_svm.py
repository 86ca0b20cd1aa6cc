"""Support vector machines and linear models as matrix products.

The distances of an RBF kernel are differences, squared and summed, while that many elements fit; beyond, products of
centred numbers, so that as little as possible cancels in |x|^2 + |s|^2 - 2 x s. Products keep the accuracy of float32
under every cast policy: kernels raise them to powers and decisions compare them.
"""
from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.classes import label, post_transform, post_transform_reason
from compiler.passes.expansion import Expansion
from compiler.passes.split_products import product
from isa.target import Target

#: most elements of rows x support vectors x features whose differences are made one by one
MOST_DIFFERENCES = 1 << 20
#: a polynomial kernel of higher degree is not multiplied out
MOST_DEGREE = 16
KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")


def svm_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why an SVMRegressor or SVMClassifier does not run on the device, "" when it does."""
    attrs = node.attrs
    degree = _parameters(attrs)[2]
    kernel = attrs.get("kernel_type", "LINEAR")
    if graph.dtype(node.inputs[0]) != "float32":
        return "its features are not float32"
    if len(graph.shape(node.inputs[0])) != 2:
        return "its features are no matrix"
    if kernel not in KERNELS:
        return f"its kernel {kernel} is not known"
    if kernel == "POLY" and (degree != int(degree) or not 1 <= degree <= MOST_DEGREE):
        return f"the degree {degree:g} of its polynomial is no whole number from 1 to {MOST_DEGREE}"
    if attrs.get("prob_a"):
        return "its probabilities are found by an iteration"
    if node.op == "SVMRegressor":
        return post_transform_reason(attrs.get("post_transform", "NONE"))
    if not attrs.get("vectors_per_class"):
        return "it has no support vectors"
    if len(attrs["classlabels_ints"]) == 2 and min(attrs["coefficients"]) >= 0:
        return "two classes with only positive coefficients have a rule of their own"
    return "" if attrs.get("post_transform", "NONE") == "NONE" else "its scores are transformed"


def svm_regressor(graph: Graph, node: Node) -> bool:
    """Any kernel; one class or not."""
    if svm_reason(graph, node):
        return False
    f, attrs = Expansion(graph, node), node.attrs
    x, weights = node.inputs[0], np.array(attrs["coefficients"], np.float32)
    if attrs.get("n_supports", 0) > 0:
        kernel = _kernel(f, x, np.array(attrs["support_vectors"], np.float32).reshape(attrs["n_supports"], -1))
        total = product(f, kernel, weights[:, None])
    else:
        total = product(f, x, weights[:, None])
    total = f.add(total, f.const(float(attrs["rho"][0])))
    if attrs.get("one_class"):
        return f.finish([f.where(f.binary("Greater", total, 0.0), f.const(1.0), f.const(-1.0))])
    return f.finish([post_transform(f, total, attrs.get("post_transform", "NONE"))])


def svm_classifier(graph: Graph, node: Node) -> bool:
    """One machine for every pair of classes; the label is the class with most votes."""
    if svm_reason(graph, node):
        return False
    f, attrs = Expansion(graph, node), node.attrs
    counts = list(attrs["vectors_per_class"])
    labels = list(attrs["classlabels_ints"])
    kernel = _kernel(f, node.inputs[0], np.array(attrs["support_vectors"], np.float32).reshape(sum(counts), -1))
    scores = product(f, kernel, _pairwise(np.array(attrs["coefficients"], np.float32), counts))
    scores = f.add(scores, f.const(np.array(attrs["rho"], np.float32)))
    won = f.cast(f.binary("Greater", scores, 0.0), "float32")
    gain, start = _votes(len(counts))
    votes = f.add(f.matmul(won, f.const(gain)), f.const(start))
    if len(labels) == 2:
        scores = f.concat([f.mul(scores, -1.0), scores], 1)
    return f.finish([label(f, votes, labels, 0.0), scores])


def _pairwise(coefficients: np.ndarray, counts: list[int]) -> np.ndarray:
    """[support vectors, pairs]: what every vector adds to the score of every pair of classes."""
    classes = len(counts)
    table = coefficients.reshape(classes - 1, -1)
    first = np.concatenate([[0], np.cumsum(counts)])
    out = np.zeros((table.shape[1], classes * (classes - 1) // 2), np.float32)
    for p, (i, j) in enumerate(combinations(range(classes), 2)):
        out[first[i]:first[i + 1], p] = table[j - 1, first[i]:first[i + 1]]
        out[first[j]:first[j + 1], p] = table[i, first[j]:first[j + 1]]
    return out


def _votes(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """[pairs, classes] votes gained by winning a pair, and [classes] votes when all pairs are lost."""
    gain = np.zeros((classes * (classes - 1) // 2, classes), np.float32)
    start = np.zeros(classes, np.float32)
    for p, (i, j) in enumerate(combinations(range(classes), 2)):
        gain[p, i], gain[p, j] = 1, -1
        start[j] += 1
    return gain, start


# ---- kernels ---------------------------------------------------------------------------------------------------------


def _parameters(attrs: dict[str, Any]) -> tuple[float, float, float]:
    """gamma, coef0 and degree."""
    gamma, coefficient, degree = attrs.get("kernel_params") or (0.0, 0.0, 0.0)
    return float(gamma), float(coefficient), float(degree)


def _kernel(f: Expansion, x: str, vectors: np.ndarray) -> str:
    """[rows, support vectors]: the kernel of every row with every vector."""
    gamma, coefficient, degree = _parameters(f.node.attrs)
    kind = f.node.attrs.get("kernel_type", "LINEAR")
    if kind == "RBF":
        return f.unary("Exp", f.mul(_distances(f, x, vectors), -gamma))
    dot = product(f, x, vectors.T)
    if kind == "LINEAR":
        return dot
    dot = f.add(f.mul(dot, gamma), coefficient)
    if kind == "SIGMOID":
        return f.unary("Tanh", dot)
    power = dot
    for _ in range(int(degree) - 1):
        power = f.mul(power, dot)
    return power


def _distances(f: Expansion, x: str, vectors: np.ndarray) -> str:
    """[rows, support vectors]: squared distances."""
    rows, features = f.shape(x)
    count = len(vectors)
    if rows * count * features <= MOST_DIFFERENCES:
        difference = f.sub(f.reshape(x, [rows, 1, features]), f.const(vectors[None]))
        return f.reshape(f.reduce("ReduceSum", f.mul(difference, difference), [2]), [rows, count])
    centre = vectors.astype(np.float64).mean(0).astype(np.float32)
    x, vectors = f.sub(x, f.const(centre)), vectors - centre
    sizes = f.add(f.reduce("ReduceSum", f.mul(x, x), [1]), f.const((vectors.astype(np.float64) ** 2).sum(1)[None]))
    return f.unary("Relu", f.sub(sizes, product(f, x, 2 * vectors.T)))


# ---- linear models ---------------------------------------------------------------------------------------------------


def linear_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why a LinearRegressor or LinearClassifier does not run on the device, "" when it does."""
    attrs = node.attrs
    if graph.dtype(node.inputs[0]) != "float32":
        return "its features are not float32"
    if len(graph.shape(node.inputs[0])) != 2:
        return "its features are no matrix"
    if node.op == "LinearClassifier":
        if len(attrs.get("classlabels_ints") or ()) < 2 or len(_rows(graph, node)) != len(attrs["classlabels_ints"]):
            return "it has less than one row of coefficients for each of several labels"
    return post_transform_reason(attrs.get("post_transform", "NONE"))


def linear(graph: Graph, node: Node) -> bool:
    """LinearRegressor, and LinearClassifier."""
    if linear_reason(graph, node):
        return False
    f, attrs = Expansion(graph, node), node.attrs
    scores = product(f, node.inputs[0], _rows(graph, node).T)
    if attrs.get("intercepts"):
        scores = f.add(scores, f.const(np.array(attrs["intercepts"], np.float32)))
    transformed = post_transform(f, scores, attrs.get("post_transform", "NONE"))
    if node.op == "LinearRegressor":
        return f.finish([transformed])
    return f.finish([label(f, scores, list(attrs["classlabels_ints"]), 0.0), transformed])


def _rows(graph: Graph, node: Node) -> np.ndarray:
    """[targets, features] coefficients."""
    return np.array(node.attrs["coefficients"], np.float32).reshape(-1, graph.shape(node.inputs[0])[1])


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "ai.onnx.ml::LinearClassifier": linear,
    "ai.onnx.ml::LinearRegressor": linear,
    "ai.onnx.ml::SVMClassifier": svm_classifier,
    "ai.onnx.ml::SVMRegressor": svm_regressor,
}
