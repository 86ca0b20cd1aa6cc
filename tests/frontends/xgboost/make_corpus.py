"""Writes corpus_<release>.npz: small models of one release of xgboost, in each format it writes, and what it predicts.

    python tests/frontends/xgboost/make_corpus.py            # in an environment with that release
"""
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import xgboost as xgb

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.frontends.corpus import Writer

HERE = Path(__file__).resolve().parent
VERSION = tuple(int(n) for n in xgb.__version__.split(".")[:2])
FEATURES = 6
TINY = np.finfo(np.float32).tiny  # what is nearer to zero the device takes for zero

FORMATS = ["model"] if VERSION < (1, 0) else ["model", "json"] if VERSION < (1, 6) else ["model", "json", "ubj"]
if VERSION >= (3, 1):
    FORMATS.remove("model")

#: objective -> parameters, and what its labels look like
OBJECTIVES = {
    "reg:linear": ({}, "real"),
    "reg:squarederror": ({"base_score": 1.5}, "real"),
    "reg:squaredlogerror": ({}, "positive"),
    "reg:logistic": ({"base_score": 0.3}, "share"),
    "reg:pseudohubererror": ({}, "real"),
    "reg:absoluteerror": ({}, "real"),
    "reg:quantileerror": ({"quantile_alpha": [0.1, 0.5, 0.9]}, "real"),
    "binary:logistic": ({"base_score": 0.2}, "binary"),
    "binary:logitraw": ({"base_score": 0.4}, "binary"),
    "binary:hinge": ({}, "binary"),
    "count:poisson": ({"base_score": 2.0}, "count"),
    "survival:cox": ({}, "positive"),
    "survival:aft": ({"base_score": 0.7}, "bounds"),
    "multi:softmax": ({"num_class": 4}, "class"),
    "multi:softprob": ({"num_class": 4, "base_score": 0.25}, "class"),
    "rank:pairwise": ({}, "rank"),
    "rank:ndcg": ({"base_score": 0.1}, "rank"),
    "rank:map": ({}, "rank"),
    "reg:gamma": ({}, "positive"),
    "reg:tweedie": ({"tweedie_variance_power": 1.3}, "count"),
}
SINCE = {"reg:squaredlogerror": (1, 0), "reg:pseudohubererror": (1, 3), "reg:absoluteerror": (1, 7),
         "reg:quantileerror": (2, 0), "survival:aft": (1, 1)}


def data(kind, rng, rows=160, features=FEATURES, whole=False):
    """Features with missing values and ties, and labels."""
    x = rng.normal(size=(rows, features)).astype(np.float32)
    x = np.floor(x * 4) if whole else np.round(x, 1)
    score = np.nan_to_num(x[:, 0] - 2 * x[:, 1 % features] * (x[:, 2 % features] > 0)) + rng.normal(size=rows) * 0.3
    x[rng.random(x.shape) < 0.1] = np.nan
    y = {
        "real": score, "positive": np.exp(score / 4), "share": 1 / (1 + np.exp(-score)), "binary": score > 0,
        "count": np.floor(np.exp(score / 4)), "class": np.clip(np.floor(score + 2), 0, 3), "bounds": score,
        "rank": np.clip(np.floor(score + 1), 0, 1),
    }[kind]
    matrix = xgb.DMatrix(x, y.astype(np.float32))
    if kind == "rank":
        matrix.set_group([rows // 8] * 8)
    if kind == "bounds":
        matrix.set_float_info("label_lower_bound", np.exp(score / 4).astype(np.float32))
        matrix.set_float_info("label_upper_bound", np.exp(score / 4).astype(np.float32) + 1)
    return x, matrix


def asked(booster, x, rng, rows=24, kinds=None):
    """Rows to predict: some features are at, or right beside, a threshold of the model."""
    out = np.array(x[:rows])
    found = [m for tree in booster.get_dump() for m in re.findall(r"\[f(\d+)<([^\]]+)\]", tree)]
    for row in out if found else []:
        for feature, at in (found[k] for k in rng.integers(0, len(found), 2)):
            at = np.float32(at)
            near = np.nextafter(at, np.float32([-np.inf, np.inf])) if at else np.float32([-TINY, TINY])
            row[int(feature)] = [at, *near][rng.integers(3)]
    return np.ascontiguousarray(out, np.float32)


def store(writer, name, booster, rows, formats, **matrix):
    """One case for each format, with what the model predicts that was read back from it."""
    d = xgb.DMatrix(rows, **matrix)
    for form in formats:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m." + form)
            if form == "model" and VERSION >= (2, 0):
                Path(path).write_bytes(booster.save_raw("deprecated"))
            else:
                booster.save_model(path)
            try:
                again = xgb.Booster(model_file=path)
            except xgb.core.XGBoostError:  # 1.0 writes JSON of pruned trees that it does not read
                assert VERSION == (1, 0) and form == "json"
                again = booster
            raw = Path(path).read_bytes()
        # before 1.0, dart drops trees at random in predictions that have no limit
        given = {"ntree_limit": 1000} if VERSION < (1, 0) and name.startswith("dart") else {}
        wanted = {"prediction": again.predict(d, **given), "margin": again.predict(d, output_margin=True, **given)}
        wanted = {k: v.astype(np.float32) for k, v in wanted.items()}
        writer.add(f"{name}-{form}", {"m." + form: raw}, {"features": rows}, wanted,
                   options={"framework": "xgboost"})


def objectives(writer, rng):
    known = [o for o in OBJECTIVES if VERSION >= SINCE.get(o, (0, 0))]
    for k, name in enumerate(known):
        given, kind = OBJECTIVES[name]
        x, matrix = data(kind, rng)
        booster = xgb.train(dict(given, objective=name, max_depth=3, verbosity=0), matrix, 4)
        store(writer, "objective-" + name.replace(":", "_"), booster, asked(booster, x, rng),
              [FORMATS[k % len(FORMATS)]])


def boosters(writer, rng):
    cases = {
        "dart": {"booster": "dart", "rate_drop": 0.4, "one_drop": 1},
        "dart-classes": {"booster": "dart", "rate_drop": 0.4, "objective": "multi:softprob", "num_class": 4},
        "linear": {"booster": "gblinear"},
        "linear-classes": {"booster": "gblinear", "objective": "multi:softmax", "num_class": 4},
        "forest": {"num_parallel_tree": 4, "subsample": 0.6, "colsample_bynode": 0.7, "eta": 1},
        "forest-classes": {"num_parallel_tree": 3, "subsample": 0.6, "objective": "multi:softprob", "num_class": 4},
        "lossguide": {"tree_method": "hist", "grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0},
        "monotone": {"monotone_constraints": "(1,-1,0,0,0,0)"},
        "pruned": {"gamma": 30, "max_depth": 5, "tree_method": "exact"},
    }
    for name, given in cases.items():
        x, matrix = data("class" if "num_class" in given else "real", rng)
        seen = dict({"max_depth": 3, "verbosity": 0, "seed": 3}, **given)
        if given.get("booster") == "gblinear":
            del seen["max_depth"]
        booster = xgb.train(seen, matrix, 4)
        store(writer, name, booster, asked(booster, x, rng), FORMATS)


def shapes(writer, rng):
    """One feature, very many, trees of one leaf, early stopping, attributes and names."""
    x, matrix = data("real", rng, features=1)
    store(writer, "one-feature", xgb.train({"max_depth": 2}, matrix, 3), x[:16], FORMATS[-1:])
    x, matrix = data("binary", rng, features=2000)
    store(writer, "many-features", xgb.train({"objective": "binary:logistic", "max_depth": 4}, matrix, 3),
          np.array(x[:3]), FORMATS[-1:])
    x, matrix = data("real", rng)
    store(writer, "one-leaf", xgb.train({"gamma": 1e9}, matrix, 2), x[:8], FORMATS)
    watched = xgb.DMatrix(x[:40], matrix.get_label()[:40] * -1)
    matrix.feature_names = watched.feature_names = ["a", "b c", "d", "e", "f", "g"][:FEATURES]
    early = xgb.train({"max_depth": 3}, matrix, 12, evals=[(watched, "w")], early_stopping_rounds=2,
                      verbose_eval=False)
    early.set_attr(note="h\u00e9")
    store(writer, "early-stopping", early, x[:16], FORMATS, feature_names=matrix.feature_names)
    x, matrix = data("real", rng)
    if VERSION < (2, 0):
        return
    store(writer, "estimated-base", xgb.train({"objective": "count:poisson"}, data("count", rng)[1], 2), x[:16],
          ["json"])


def categorical(writer, rng):
    """Sets of categories, one by one and as partitions, with values no training row had."""
    kinds = ["q", "c", "q", "c"]
    rows = 300
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    x[:, 1], x[:, 3] = rng.integers(0, 5, rows), rng.integers(0, 70, rows)
    y = x[:, 0] + (x[:, 1] == 2) * 2 + np.sin(x[:, 3] * 7) * 3
    x[rng.random(x.shape) < 0.05] = np.nan
    extra = np.tile(x[:1], (12, 1))
    extra[:, 3] = [-1, -0.5, 2.7, 63, 64, 70, 95, 96, 1000, 2.0**24, 3e9, np.nan]
    extra[:, 1] = [0, 1, 2, 3, 4, 5, 31, 32, 33, -3, np.nan, 1e9]
    given = {"feature_types": kinds, "enable_categorical": True}
    matrix = xgb.DMatrix(x, y, **given)
    for name, limit in (("categories-sets", 1), ("categories-single", 1000)):
        booster = xgb.train({"tree_method": "approx" if VERSION < (1, 7) else "hist", "max_cat_to_onehot": limit,
                             "max_depth": 4}, matrix, 4)
        store(writer, name, booster, np.concatenate([x[:24], extra]), ["json", "ubj"], **given)


def targets(writer, rng):
    """Several targets: a tree for each, and leaves of several numbers."""
    x, _ = data("real", rng)
    y = np.stack([np.nan_to_num(x[:, 0]), np.nan_to_num(x[:, 1] * x[:, 2]), np.nan_to_num(x[:, 3]) > 0], 1)
    cases = {"targets-trees": {}}
    if VERSION >= (2, 0):
        cases["targets-leaves"] = {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
        cases["targets-labels"] = {"multi_strategy": "multi_output_tree", "tree_method": "hist",
                                   "objective": "binary:logistic"}
    for name, given in cases.items():
        labels = y > 0 if "objective" in given else y
        booster = xgb.train(dict(given, max_depth=3), xgb.DMatrix(x, labels.astype(np.float32)), 3)
        store(writer, name, booster, asked(booster, x, rng) if name == "targets-trees" else x[:24],
              ["json", "ubj"])


if __name__ == "__main__":
    found = Writer(HERE / "corpus_{}_{}.npz".format(*VERSION))
    random = np.random.default_rng(7)
    for part in (objectives, boosters, shapes):
        part(found, random)
    if VERSION >= (1, 6):
        categorical(found, random)
        targets(found, random)
    found.save()
