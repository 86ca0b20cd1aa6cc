"""The model that a JSON or UBJSON file holds: both have the same fields (doc/model.schema of XGBoost's source).

Fields that came with later releases are optional: categories (1.3), several targets (1.6), leaves of several numbers
(2.0; their numbers lie in `base_weights`, from 3.1 in `leaf_weights`), a base score for every output (3.1).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.xgboost import ubjson
from compiler.frontends.xgboost.learner import Forest, Learner, Linear, checked

_LONGEST = 1 << 16  # characters of a number that is spelled as text
_MOST_OUTPUTS = 1 << 24


def read(data: bytes, where: str) -> Learner:
    """The model in the bytes of a file. Raises: ModelError UBJSON, JSON, XGBOOST_FIELD, XGBOOST_TREE."""
    top = _Field(_json(data, where) if is_json(data) else ubjson.loads(data, where), where, "")
    learner = top["learner"]
    param = learner["learner_model_param"]
    version = tuple(int(v) for v in top.optional("version", [1, 0]).integers()[:3])
    features, classes = param["num_feature"].number(), param.optional("num_class", 0).number()
    targets = param.optional("num_target", 1).number()
    if features < 1 or not 0 <= classes <= _MOST_OUTPUTS or not 0 <= targets <= _MOST_OUTPUTS:
        raise param.error("num_feature, num_class or num_target cannot be meant",
                          actual=(features, classes, targets))
    outputs = max(1, classes, targets)
    base = param["base_score"].floats_text()
    if len(base) not in (1, outputs):
        raise param["base_score"].error("a base score for each output, or one, is expected", outputs, len(base))
    booster, model = _booster(learner["gradient_booster"], features, outputs, where)
    return Learner(booster, learner["objective"]["name"].text(), features, outputs, base, False, model, version)


def is_json(data: bytes) -> bool:
    """Whether text JSON follows the first brace, not a marker of UBJSON."""
    return data[1:64].lstrip()[:1] in (b'"', b"}", b"")


def _json(data: bytes, where: str) -> Any:
    def fail(what: str) -> ModelError:
        return ModelError(what, code="JSON", where=where, help="the file is damaged, or is no JSON model of XGBoost")

    try:
        return json.loads(data)
    except RecursionError:
        raise fail("objects are nested too deeply") from None
    except UnicodeDecodeError as error:
        raise fail(f"the text is not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise fail(f"the text is no JSON: {error}") from None


class _Field:
    """A value of the document and its path, for messages."""

    def __init__(self, value: Any, where: str, path: str) -> None:
        self.value, self.where, self.path = value, where, path

    def error(self, what: str, limit: object = None, actual: object = None) -> ModelError:
        return ModelError(what, code="XGBOOST_FIELD", where=f"{self.where}: {self.path or 'the whole'}", limit=limit,
                          actual=actual)

    def __getitem__(self, name: str) -> _Field:
        found = self.optional(name, None)
        if found.value is None:
            raise self.error(f"the field {name!r} is missing")
        return found

    def optional(self, name: str, default: Any) -> _Field:
        """The field, or the default in its place."""
        if not isinstance(self.value, dict):
            raise self.error("an object is expected", actual=type(self.value).__name__)
        path = f"{self.path}.{name}" if self.path else name
        return _Field(self.value.get(name, default), self.where, path)

    def items(self) -> list[_Field]:
        if not isinstance(self.value, list):
            raise self.error("a list is expected", actual=type(self.value).__name__)
        return [_Field(v, self.where, f"{self.path}[{k}]") for k, v in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.error("a text is expected", actual=type(self.value).__name__)
        return self.value

    def number(self) -> int:
        """A whole number, which XGBoost spells as a text."""
        try:
            found = self.value if isinstance(self.value, int) else int(self.text()[:20])
        except ValueError:
            found = -1
        if not 0 <= found < 1 << 31:
            raise self.error("a whole number is expected", "0 .. 2^31", str(self.value)[:40])
        return found

    def floats_text(self) -> np.ndarray:
        """float32: the numbers of a text like "5E-1" or "[5E-1,1E0]"; single digits need no exponent."""
        value = self.value
        if isinstance(value, str):
            try:
                value = json.loads(value) if len(value) < _LONGEST else None
            except (ValueError, RecursionError):
                value = None
        return _Field([value] if isinstance(value, (int, float)) else value, self.where, self.path).floats()

    def integers(self) -> np.ndarray:
        """int64 [entries]."""
        found = self._array()
        if found.dtype.kind not in "iub" and len(found):
            raise self.error("whole numbers are expected", actual=str(found.dtype))
        if found.dtype == np.uint64:
            raise self.error("a number is too large", "2^63")
        return found.astype(np.int64)

    def floats(self) -> np.ndarray:
        """float32 [entries], infinite where a number is too large."""
        found = self._array()
        if found.dtype.kind not in "iubf":
            raise self.error("numbers are expected", actual=str(found.dtype))
        with np.errstate(over="ignore"):
            return found.astype(np.float32)

    def _array(self) -> np.ndarray:
        if not isinstance(self.value, (list, np.ndarray)):
            raise self.error("a list of numbers is expected", actual=type(self.value).__name__)
        try:
            found = np.asarray(self.value)
        except (ValueError, OverflowError):
            raise self.error("a list of numbers is expected") from None
        if found.ndim != 1:
            raise self.error("a list of numbers is expected", actual=found.shape)
        return found


# ---- boosters --------------------------------------------------------------------------------------------------------


def _booster(found: _Field, features: int, outputs: int, where: str) -> tuple[str, Forest | Linear]:
    name = found["name"].text()
    if name == "gblinear":
        return name, _linear(found["model"], features, outputs)
    if name == "gbtree":
        return name, _forest(found["model"], features, outputs, None, where)
    if name == "dart":
        return name, _forest(found["gbtree"]["model"], features, outputs, found["weight_drop"], where)
    raise found.error("an unknown booster", "gbtree, dart, gblinear", name[:40])


def _linear(model: _Field, features: int, outputs: int) -> Linear:
    weights = model["weights"].floats()
    if len(weights) != (features + 1) * outputs:
        raise model["weights"].error("the number of weights is not that of the features", (features + 1) * outputs,
                                     len(weights))
    table = weights.reshape(features + 1, outputs)
    return Linear(table[:-1], table[-1])


def _forest(model: _Field, features: int, outputs: int, drop: _Field | None, where: str) -> Forest:
    trees = model["trees"].items()
    groups = model["tree_info"].integers()
    weights = np.ones(len(trees), np.float32) if drop is None else drop.floats()
    for what, entries in (("tree_info", groups), ("weight_drop", weights)):
        if len(entries) != len(trees):
            raise model.error(f"{what} has not one entry for each tree", len(trees), len(entries))
    parts = [_tree(tree, outputs) for tree in trees]
    if len({p.values.shape[1] for p in parts}) > 1:
        raise model["trees"].error("trees with one number in a leaf and trees with several are mixed")
    starts = np.concatenate([[0], np.cumsum([len(p.left) for p in parts])]).astype(np.int64)
    categories = {int(start) + node: c for start, p in zip(starts, parts, strict=False)
                  for node, c in p.categories.items()}
    joined = {name: np.concatenate([np.zeros(shape, kind), *(getattr(p, name) for p in parts)]).astype(kind)
              for name, kind, shape in _arrays(parts)}
    return checked(Forest(starts, groups=groups, weights=weights, categories=categories, **joined), features, outputs,
                   where)


def _arrays(parts: Sequence[Forest]) -> list[tuple[str, str, tuple[int, ...]]]:
    """What trees have for each node: name, type, and the shape of none of it."""
    return [("left", "int32", (0,)), ("right", "int32", (0,)), ("feature", "int64", (0,)),
            ("threshold", "float32", (0,)), ("default_left", "bool", (0,)),
            ("values", "float32", (0, parts[0].values.shape[1] if parts else 1))]


def _tree(tree: _Field, outputs: int) -> Forest:
    """One tree, with the limits of its arrays checked."""
    left, right = tree["left_children"].integers(), tree["right_children"].integers()
    count = len(left)
    size = tree.optional("tree_param", {}).optional("size_leaf_vector", 1).number()
    conditions = tree["split_conditions"].floats()
    split, default = tree["split_indices"].integers(), tree["default_left"].integers()
    for name, array in (("right_children", right), ("split_conditions", conditions), ("split_indices", split),
                        ("default_left", default)):
        if len(array) != count:
            raise tree[name].error("the entries are not as many as the nodes", count, len(array))
    limit = 1 << 31
    if np.any((np.abs(left) >= limit) | (np.abs(right) >= limit)):
        raise tree["left_children"].error("a child does not exist", count)
    values = conditions[:, None] if size <= 1 else _vectors(tree, left, right, size, outputs)
    return Forest(np.array([0, count]), left, np.where(left == -1, -1, right), split, conditions, default != 0, values,
                  np.zeros(1, np.int64), np.ones(1, np.float32), _categories(tree, left))


def _vectors(tree: _Field, left: np.ndarray, right: np.ndarray, size: int, outputs: int) -> np.ndarray:
    """float32 [nodes, size]: the numbers of every leaf."""
    if size != outputs:
        raise tree["tree_param"].error("a leaf has not one number for each output", outputs, size)
    leaves = tree.optional("leaf_weights", None)
    field = tree["base_weights"] if leaves.value is None else leaves
    table = field.floats()
    rows = np.arange(len(left)) if leaves.value is None else np.where(left == -1, right, 0)
    if len(table) % size or (len(left) and not 0 <= int(rows.min()) <= int(rows.max()) < len(table) // size):
        raise field.error("the numbers are not those of the leaves", size, len(table))
    return table.reshape(-1, size)[rows]


def _categories(tree: _Field, left: np.ndarray) -> dict[int, np.ndarray]:
    """Inner node -> sorted categories that go right."""
    kinds = tree.optional("split_type", []).integers()
    if not np.any(kinds):
        return {}
    nodes = tree["categories_nodes"].integers()
    starts, sizes = tree["categories_segments"].integers(), tree["categories_sizes"].integers()
    values = tree["categories"].integers()
    if not len(nodes) == len(starts) == len(sizes) or len(kinds) != len(left):
        raise tree["categories_nodes"].error("the lists of categories are not equally long")
    if np.any((starts < 0) | (sizes < 0) | (starts > len(values)) | (sizes > len(values) - starts)):
        raise tree["categories_segments"].error("a set of categories lies outside of the list", len(values))
    if np.any((values < 0) | (values >= 1 << 24)):
        raise tree["categories"].error("a category is no whole number below 2^24", 1 << 24)
    found = {int(n): np.unique(values[s : s + k]) for n, s, k in zip(nodes, starts, sizes, strict=True)}
    wanted = np.flatnonzero((kinds == 1) & (left != -1)).tolist()
    if missing := [n for n in wanted if n not in found]:
        raise tree["categories_nodes"].error(f"node {missing[0]} has no set of categories")
    return {n: found[n] for n in wanted}
