"""What the user calls inputs and results of a PyTorch model, whose files know only the arguments of `forward`.

A name that the user gives for a model's input counts by place when none of the given names is an argument's: data
formats of deployed PyTorch models list their inputs in order under names of the user's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compiler.frontends.inputs import Given


def user_names(names: Sequence[str], given: Given) -> list[str]:
    """The names that the inputs shall have: the file's, or the given ones in order where all of them are new."""
    stated = list(dict.fromkeys([*given.shapes, *given.dtypes]))
    if len(stated) == len(names) and not set(stated) & set(names):
        return stated
    return list(names)


def renaming_note(names: Sequence[str], chosen: Sequence[str]) -> str:
    """A sentence on names that count by place, or ""."""
    pairs = [f"{n} as {c}" for n, c in zip(names, chosen) if n != c]
    return f"inputs are named as given, in order: {', '.join(pairs)}" if pairs else ""


def output_names(keys: Sequence[str]) -> list[str]:
    """Names for results in order, "" where the model has no key for one: output, or output_0, output_1 ..."""
    if len(keys) == 1:
        return [keys[0] or "output"]
    return [key or f"output_{k}" for k, key in enumerate(keys)]


def only(given: Given, names: Sequence[str]) -> Given:
    """What is given of some inputs."""
    return replace(given, shapes={n: s for n, s in given.shapes.items() if n in names},
                   dtypes={n: d for n, d in given.dtypes.items() if n in names})
