"""What XGBoost's objectives make of the sums of leaves (margins), and of the base score that is added to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.builder import GraphBuilder

Transform = Callable[[GraphBuilder, str], str]
Link = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Objective:
    """`link` takes a base score [outputs] float64 to a margin, `transform` margins [rows, outputs] to predictions.

    Attributes:
        low, high: the base score has to lie between, and equal neither.
        until: from this release on base scores are margins already.
    """

    transform: Transform
    link: Link = lambda score: score
    low: float = -np.inf
    high: float = np.inf
    until: tuple[int, ...] | None = None


def _same(b: GraphBuilder, margin: str) -> str:
    return margin


def _logistic(b: GraphBuilder, margin: str) -> str:
    return b.op("Sigmoid", [margin])


def _exponential(b: GraphBuilder, margin: str) -> str:
    return b.op("Exp", [margin])


def _hinge(b: GraphBuilder, margin: str) -> str:
    return b.op("Cast", [b.op("Greater", [margin, np.float32(0)])], to=1)


def _probabilities(b: GraphBuilder, margin: str) -> str:
    return b.op("Softmax", [margin], axis=1)


def _likeliest(b: GraphBuilder, margin: str) -> str:
    """The class of the largest margin, the first of equals, as XGBoost gives it: float32 [rows]."""
    return b.op("Cast", [b.op("ArgMax", [margin], axis=1, keepdims=0)], to=1)


def _logit(score: np.ndarray) -> np.ndarray:
    return -np.log(1.0 / score - 1.0)


_SAME = Objective(_same)
_LOGISTIC = Objective(_logistic, _logit, 0.0, 1.0)
_RAW = Objective(_same, _logit, 0.0, 1.0, until=(1, 3))
_LOG = Objective(_exponential, np.log, 0.0)

#: By the name in the file. Those with "gpu:" are of releases before 0.82.
OBJECTIVES: dict[str, Objective] = {
    "binary:hinge": Objective(_hinge),
    "binary:logistic": _LOGISTIC,
    "binary:logitraw": _RAW,
    "count:poisson": _LOG,
    "gpu:binary:logistic": _LOGISTIC,
    "gpu:binary:logitraw": _RAW,
    "gpu:reg:linear": _SAME,
    "gpu:reg:logistic": _LOGISTIC,
    "multi:softmax": Objective(_likeliest),
    "multi:softprob": Objective(_probabilities),
    "rank:map": _SAME,
    "rank:ndcg": _SAME,
    "rank:pairwise": _SAME,
    "reg:absoluteerror": _SAME,
    "reg:gamma": _LOG,
    "reg:linear": _SAME,
    "reg:logistic": _LOGISTIC,
    "reg:pseudohubererror": _SAME,
    "reg:quantileerror": _SAME,
    "reg:squarederror": _SAME,
    "reg:squaredlogerror": _SAME,
    "reg:tweedie": _LOG,
    "survival:aft": _LOG,
    "survival:cox": _LOG,
}


def margin_of(objective: Objective, score: np.ndarray, version: tuple[int, ...], where: str) -> np.ndarray:
    """float32: the margin of a base score in a file of some release. Raises: ModelError XGBOOST_BASE_SCORE."""
    linked = objective.until is None or version < objective.until
    low, high = (objective.low, objective.high) if linked else (-np.inf, np.inf)
    if not np.all((score > low) & (score < high)):
        raise ModelError("the base score does not fit the objective", code="XGBOOST_BASE_SCORE", where=where,
                         limit=f"between {low:g} and {high:g}", actual=score.tolist())
    return (objective.link(score.astype(np.float64)) if linked else score).astype(np.float32)
