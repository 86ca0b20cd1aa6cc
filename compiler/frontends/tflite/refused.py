"""Why an operator of the schema has no converter."""

from __future__ import annotations

_REASONS = {
    "CONCAT_EMBEDDINGS": "TensorFlow Lite itself has no kernel for it",
    "DELEGATE": "it stands for operators that another accelerator took over; use the model before that",
    "EMBEDDING_LOOKUP_SPARSE": "its result has as many rows as its indices say, which depend on data",
    "LSH_PROJECTION": "it hashes text on the CPU of a phone",
    "PLACEHOLDER_FOR_GREATER_OP_CODES": "it stands for a number in old files and is never executed",
    "REDUCE_WINDOW": "it is written only by experimental converters",
    "SKIP_GRAM": "it cuts text into words; do so before the model",
}
_STABLEHLO = "experimental converters write it, and its kernels are not part of the interpreter that users have"


def reason(name: str) -> str:
    """A phrase for the user: why `name` is not supported."""
    if name in _REASONS:
        return _REASONS[name]
    if name.startswith("STABLEHLO_"):
        return _STABLEHLO
    if name.startswith("Flex"):
        return "an operator of TensorFlow itself; convert the model without SELECT_TF_OPS, or use its SavedModel"
    return "it is not known here"
