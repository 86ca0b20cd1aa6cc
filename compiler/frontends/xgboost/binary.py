"""The binary format that `Booster.save_model` wrote before JSON: every release up to 1.7, on request up to 3.0.

Little-endian structures as they lay in memory, one after the other, without a version of their own; their fields are
those of learner.cc, gbtree_model.h, tree_model.h and gblinear_model.h in XGBoost's source.
"""

from __future__ import annotations

import binascii

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.xgboost.learner import Forest, Learner, Linear, checked

_WORDS = 34  # of LearnerModelParam and GBLinearModelParam
_MODEL_WORDS, _TREE_WORDS = 40, 37  # of GBTreeModelParam and TreeParam
_NODE = np.dtype([("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"), ("value", "<f4")])
_STATISTICS = 16  # bytes of a node's gain, hessian, weight and count of leaf children
_DEFAULT_LEFT = 1 << 31  # in `split`, beside the number of the feature


def read(data: bytes, where: str) -> Learner:
    """The model in the bytes of a file. Raises: ModelError XGBOOST_BINARY, XGBOOST_TREE."""
    if data[:4] == b"bs64":
        try:
            data = binascii.a2b_base64(data[4:])
        except binascii.Error:
            raise ModelError("what follows bs64 is not base64", code="XGBOOST_BINARY", where=where) from None
    return _Reader(data[4:] if data[:4] == b"binf" else data, where).learner()


class _Reader:
    """A position in the bytes."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def fail(self, what: str, limit: object = None, actual: object = None) -> ModelError:
        return ModelError(what, code="XGBOOST_BINARY", where=f"{self.where}: byte {self.at}", limit=limit,
                          actual=actual, help="the file is damaged, or is no binary model of XGBoost")

    def array(self, kind: str | np.dtype, count: int) -> np.ndarray:
        """The next `count` elements, as a view of the file."""
        kind = np.dtype(kind)
        have = (len(self.data) - self.at) // kind.itemsize
        if not 0 <= count <= have:
            raise self.fail("the file ends before what it announces", f"{have} elements", count)
        self.at += count * kind.itemsize
        return np.frombuffer(self.data, kind, count, self.at - count * kind.itemsize)

    def length(self) -> int:
        return int(self.array("<u8", 1)[0])

    def text(self, what: str) -> str:
        """A length and bytes; releases before 0.4 wrote lengths of four bytes, which leaves a gap to read."""
        length = self.length()
        if length >= 1 << 32:
            self.array("<i4", 1)
            length >>= 32
        raw = self.array("u1", length).tobytes()
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.fail(f"the {what} is no text") from None

    def learner(self) -> Learner:
        """The whole file."""
        head = self.array("<i4", _WORDS)
        base_score = head[:1].view("<f4").astype(np.float32)
        features, classes = int(head[1]), int(head[2])
        version = (int(head[5]), int(head[6])) if head[5] > 0 else (0, 90)
        targets = int(head[7]) if version >= (1, 6) else 1
        if features < 1 or classes < 0 or not 0 <= max(classes, targets) < 1 << 24:
            raise self.fail("the header is not that of a model", "features >= 1, classes >= 0", (features, classes))
        outputs = max(1, classes, targets)
        objective, booster = self.text("objective"), self.text("booster")
        model: Forest | Linear
        if booster == "gblinear":
            model = self.linear(features, outputs)
        elif booster in ("gbtree", "dart"):
            model = self.forest(features, outputs, booster == "dart")
        else:
            raise self.fail("an unknown booster", "gbtree, dart, gblinear", booster[:40])
        self.tail(bool(head[3]), objective == "count:poisson" and version < (1, 0), bool(head[4]))
        return Learner(booster, objective, features, outputs, base_score, version < (1, 0), model, version)

    def tail(self, attributes: bool, delta: bool, metrics: bool) -> None:
        """What follows the booster: texts that predictions do not depend on.

        Release 1.2 keeps metrics among the attributes, and still announces a list of them.
        """
        for pair in range(self.length() if attributes else 0):
            del pair
            self.text("attribute"), self.text("attribute")
        if delta:
            self.text("max_delta_step")
        for metric in range(self.length() if metrics and self.at < len(self.data) else 0):
            del metric
            self.text("metric")

    def linear(self, features: int, outputs: int) -> Linear:
        self.array("<i4", _WORDS)
        count = self.length()
        if count != (features + 1) * outputs:
            raise self.fail("the number of weights is not that of the features", (features + 1) * outputs, count)
        table = self.array("<f4", count).reshape(features + 1, outputs)
        return Linear(table[:-1], table[-1])

    def forest(self, features: int, outputs: int, dart: bool) -> Forest:
        head = self.array("<i4", _MODEL_WORDS)
        trees = int(head[0])
        if trees < 0:
            raise self.fail("the number of trees is negative", actual=trees)
        have = (len(self.data) - self.at) // (4 * _TREE_WORDS)
        if trees > have:
            raise self.fail("the file ends before what it announces", f"{have} trees", trees)
        nodes = [self.tree() for _ in range(trees)]
        groups = self.array("<i4", trees).astype(np.int64)
        weights = np.ones(trees, np.float32)
        if dart and trees:
            if (count := self.length()) != trees:
                raise self.fail("the number of weights is not that of the trees", trees, count)
            weights = self.array("<f4", trees)
        flat = np.concatenate([np.zeros(0, _NODE), *nodes])
        starts = np.concatenate([[0], np.cumsum([len(n) for n in nodes], dtype=np.int64)]).astype(np.int64)
        left = flat["left"]
        split = flat["split"].astype(np.int64)
        forest = Forest(starts, left, np.where(left == -1, -1, flat["right"]), split & (_DEFAULT_LEFT - 1),
                        flat["value"], split >= _DEFAULT_LEFT, flat["value"][:, None], groups, weights)
        return checked(forest, features, outputs, self.where)

    def tree(self) -> np.ndarray:
        head = self.array("<i4", _TREE_WORDS)
        count, vector = int(head[1]), int(head[5])
        nodes = self.array(_NODE, count)
        self.array(f"V{_STATISTICS}", count)
        if vector > 1:
            raise self.fail("leaves of several numbers in a binary model are not read", 1, vector)
        return nodes
