"""An XGBoost model file as a graph: `features` [rows, features] to `prediction` and `margin`.

Both are what `Booster.predict` gives, with `output_margin` for the second: [rows], or [rows, outputs] where a row has
several. All trees count; the early stopping's best iteration is a matter of XGBoost's scikit-learn classes.
"""

from __future__ import annotations

import numpy as np

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.xgboost import binary, categories, document, trees
from compiler.frontends.xgboost.learner import Forest, Learner, Linear
from compiler.frontends.xgboost.objectives import OBJECTIVES, margin_of
from compiler.ir import Graph

#: A larger file is not read.
_MOST_BYTES = 1 << 32
_PARTS = {
    "booster gbtree": "", "booster dart": "", "booster gblinear": "",
    "split numerical": "", "split categorical": "", "leaf scalar": "", "leaf vector": "",
}


def operators() -> dict[str, str]:
    """Boosters, kinds of splits and leaves, and objectives."""
    return {**_PARTS, **{f"objective {name}": "" for name in OBJECTIVES}}


def load(files: ModelFiles, given: Given) -> Graph:
    """Read a model. Raises: ModelError, ShapeError (see `compiler.frontends.inputs`), UnsupportedOp."""
    size = files.main.stat().st_size
    if size > _MOST_BYTES:
        raise ModelError("the file is too large", code="XGBOOST_SIZE", where=str(files.main), limit=_MOST_BYTES,
                         actual=size)
    return graph_of(read(files.main.read_bytes(), str(files.main)), files.main.stem, str(files.main), given)


def read(data: bytes, where: str) -> Learner:
    """The model in a file's bytes, whichever of the three formats they are."""
    if data[:1] == b"\x80":
        raise ModelError("this is a pickled object, which could run anything when it is opened; it is not read",
                         code="PICKLE", where=where, help="save the model with booster.save_model('model.ubj')")
    if data[:1] == b"{":
        return document.read(data, where)
    return binary.read(data, where)


def graph_of(learner: Learner, name: str, where: str, given: Given) -> Graph:
    """The graph of a model."""
    if learner.objective not in OBJECTIVES:
        error = UnsupportedOp(f"the objective {learner.objective[:60]!r} is not known", where=where,
                              limit=", ".join(sorted(OBJECTIVES)))
        error.op = f"objective {learner.objective[:60]}"
        raise error
    objective = OBJECTIVES[learner.objective]
    base = _base(learner, where)
    b = GraphBuilder(name, where)
    (features,) = b.inputs([Declared("features", ("batch", learner.features), "float32")], given)
    rows = b.shape(features)[0]
    with b.layer(learner.booster):
        margin = _margin(b, features, learner, base)
    with b.layer(learner.objective):
        prediction = objective.transform(b, margin)
        for value, called in ((prediction, "prediction"), (margin, "margin")):
            if learner.outputs == 1 and b.rank(value) == 2:
                value = b.op("Reshape", [value, np.array([rows])])
            b.output(value, called)
    return b.finish()


def _base(learner: Learner, where: str) -> np.ndarray:
    """float32 [outputs]: what is added to every row's sums."""
    score = learner.base_score
    if not learner.base_is_margin:
        score = margin_of(OBJECTIVES[learner.objective], score, learner.version, where)
    elif not np.all(np.isfinite(score)):
        raise ModelError("the base score is not a finite number", code="XGBOOST_BASE_SCORE", where=where,
                         actual=score.tolist())
    if learner.booster == "gblinear":
        score = score[:1]  # the releases that have one for each output (3.1 on) add the first to all of them here
    return np.broadcast_to(score, (learner.outputs,)).astype(np.float32)


def _margin(b: GraphBuilder, features: str, learner: Learner, base: np.ndarray) -> str:
    """float32 [rows, outputs]."""
    if isinstance(learner.model, Linear):
        known = b.op("Where", [b.op("IsNaN", [features]), np.float32(0), features])
        return b.op("Gemm", [known, learner.model.weights, base + learner.model.bias])
    forest: Forest = learner.model
    if forest.categories:
        features, forest = categories.as_columns(b, features, forest, learner.version)
    return trees.margins(b, features, forest, base)
