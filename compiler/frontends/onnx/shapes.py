"""Result shapes of operators for which onnx's inference has gaps: what their documentation says.

Sources: onnx's operator pages for ai.onnx and ai.onnx.ml. Not said there, and as onnxruntime computes them: features
extracted from a vector are one row; SVMClassifier without probabilities gives one score for each pair of classes, two
for two classes.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from compiler.ir import Value

Fact = tuple[tuple[int, ...], str]
Rule = Callable[[Sequence[Value], dict[str, Any]], list[Fact]]


def documented(op: str, domain: str, inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact] | None:
    """(shape, dtype) of each output, or None when nothing is documented here either."""
    rule = _RULES.get((domain, op))
    return rule(inputs, attrs) if rule and inputs else None


def _same(inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact]:
    return [(inputs[0].shape, inputs[0].dtype)]


def _same_float(inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact]:
    return [(inputs[0].shape, "float32")]


def _rows(inputs: Sequence[Value]) -> int:
    shape = inputs[0].shape
    return shape[0] if len(shape) > 1 else 1


def _one_score(inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact]:
    return [((_rows(inputs), 1), "float32")]


def _targets(inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact]:
    return [((_rows(inputs), attrs.get("targets", attrs.get("n_targets", 1))), "float32")]


def _side_by_side(inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact]:
    return [((inputs[0].shape[0], sum(attrs["inputdimensions"])), "float32")]


def _extracted(inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact]:
    x, indices = inputs
    return [((*(x.shape[:-1] or (1,)), indices.size), x.dtype)]


def _labels(attrs: dict[str, Any]) -> tuple[int, str]:
    for key in ("classlabels_ints", "classlabels_int64s", "classlabels_strings"):
        if attrs.get(key):
            return len(attrs[key]), "object" if key.endswith("strings") else "int64"
    return 2, "int64"


def _classifier(inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact]:
    count, dtype = _labels(attrs)
    return [((_rows(inputs),), dtype), ((_rows(inputs), max(count, 2)), "float32")]


def _svm_classifier(inputs: Sequence[Value], attrs: dict[str, Any]) -> list[Fact]:
    count, dtype = _labels(attrs)
    pairs = attrs.get("vectors_per_class") and not attrs.get("prob_a") and count > 2
    scores = count * (count - 1) // 2 if pairs else max(count, 2)
    return [((_rows(inputs),), dtype), ((_rows(inputs), scores), "float32")]


_ML = "ai.onnx.ml"
_RULES: dict[tuple[str, str], Rule] = {
    ("", "GroupNormalization"): _same,
    ("", "MeanVarianceNormalization"): _same,
    (_ML, "ArrayFeatureExtractor"): _extracted,
    (_ML, "FeatureVectorizer"): _side_by_side,
    (_ML, "Scaler"): _same_float,
    (_ML, "Normalizer"): _same_float,
    (_ML, "Imputer"): _same,
    (_ML, "Binarizer"): _same,
    (_ML, "SVMRegressor"): _one_score,
    (_ML, "SVMClassifier"): _svm_classifier,
    (_ML, "LinearRegressor"): _targets,
    (_ML, "LinearClassifier"): _classifier,
    (_ML, "TreeEnsembleRegressor"): _targets,
    (_ML, "TreeEnsembleClassifier"): _classifier,
}
