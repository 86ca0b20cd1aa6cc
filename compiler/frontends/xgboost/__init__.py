"""XGBoost: models that `Booster.save_model` wrote, in any of its three formats.

`binary`, `ubjson` and `document` read bytes into a `learner.Learner`; `trees`, `linear` and `objectives` write it as a
graph. Nothing of the xgboost package is needed.
"""
