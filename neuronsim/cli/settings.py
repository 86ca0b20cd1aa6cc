"""`--set NAME=VALUE`: parameters of the machine changed on the command line, checked like those of a target file."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Sequence
from typing import Any

import yaml

from isa import target as targets
from isa.errors import TargetError
from isa.target import Target
from isa.target_checks import RATES
from neuronsim.cli.output import note

INFINITE = ("inf", "infinite", "infinity", "+inf", ".inf")
_NEAR = 5  # names shown for one that does not exist


def add_setting(parser: argparse.ArgumentParser) -> None:
    """The repeatable `--set`."""
    parser.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="NAME=VALUE",
        help="change a parameter of the machine, e.g. tensor.clock_ghz=1.4 or dram.bytes_per_ns=inf; repeatable",
    )  # fmt: skip


def machine(instance: str | None, compiled_for: str, settings: Sequence[str]) -> Target:
    """The machine named, or the one compiled for, with what `--set` changes; what changed is told on stderr.

    Raises: TargetError.
    """
    target = targets.load(instance or compiled_for)
    if not settings:
        return target
    found = changes(target, settings)
    changed = target.with_params(found)
    told = ", ".join(f"{name} {value_text(value)} (was {value_text(target[name])})" for name, value in found.items())
    note(f"{target.name} with {told}")
    return changed


def changes(target: Target, settings: Sequence[str]) -> dict[str, Any]:
    """Parameters and their new values. Raises: TargetError (TARGET_SETTING) unless each is NAME=VALUE of the target."""
    out: dict[str, Any] = {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            raise _error("a setting is NAME=VALUE", text, help="--set tensor.clock_ghz=1.4")
        if name not in target.parameters:
            raise _error(f"{target.name} has no parameter {name!r}", text, help=_near(name, target))
        if name in out:
            raise _error(f"{name} is set twice", text)
        out[name] = _checked(name, _parsed(value), target[name], text)
    return out


def value_text(value: Any) -> str:
    """A parameter's value for people."""
    if isinstance(value, list | tuple):
        return ", ".join("+".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for v in value) or "none"
    if isinstance(value, float):
        return "infinite" if math.isinf(value) else f"{value:g}"
    return "none" if value is None else str(value)


def _parsed(text: str) -> Any:
    """The value as a target file would hold it; also `inf`, and numbers such as 1e9, which YAML reads as text."""
    if text.lower() in INFINITE:
        return math.inf
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _error("not a value", text, help="a number, inf, true, false or a list: [[vector, scalar]]") from error


def _checked(name: str, value: Any, present: Any, text: str) -> Any:
    """The value, if it is of the parameter's kind; `Target.with_params` judges its size."""
    kinds = {bool: "true or false", list: "a list, such as []", str: "a text"}
    wanted = type(present) if type(present) in kinds else int | float
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise _error(f"{name} is {kinds.get(type(present), 'a number')}", text, actual=value)
    counts = isinstance(present, int) and not isinstance(present, bool) and not name.endswith((*RATES, "_ns", "_hour"))
    if counts and ".cycles_per_row." not in name and not float(value).is_integer():
        raise _error(f"{name} is a whole number", text, actual=value)
    return value


def _near(name: str, target: Target) -> str:
    """Known parameters that resemble the name: by its last part, then by its letters."""
    known = sorted(target.parameters)
    part = name.rpartition(".")[2]
    same = [k for k in known if part and k.rpartition(".")[2] == part]
    close = difflib.get_close_matches(name, known, n=_NEAR, cutoff=0.4)
    family = [k for k in known if k.startswith(name.partition(".")[0] + ".")]
    found = list(dict.fromkeys([*close, *same, *family]))[:_NEAR]
    return f"did you mean {', '.join(found)}?" if found else "known: " + ", ".join(known)


def _error(what: str, text: str, **more: Any) -> TargetError:
    return TargetError(what, code="TARGET_SETTING", where=f"--set {text}", **more)
