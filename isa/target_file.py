"""The YAML form of a target: numbers, each with its source, or marked inferred with the reason."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isa.errors import TargetError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Parameter:
    """One number of a machine: its value and either the document it comes from or why it was inferred."""

    value: Any
    source: str = ""
    inferred: bool = False
    reason: str = ""


def read(path: Path) -> dict[str, Any]:
    """The mapping a target file holds. Raises: TargetError."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TargetError(f"cannot read the target: {error}", where=str(path)) from error
    if not isinstance(data, dict):
        raise TargetError("a target file is a YAML mapping", where=str(path))
    return data


def parameters(data: Mapping[str, Any], where: str) -> dict[str, Parameter]:
    """The `parameters` of a target file `where`, each with its source or reason. Raises: TargetError."""
    entries = data.get("parameters") or {}
    if not isinstance(entries, dict):
        raise TargetError("`parameters` must be a mapping", where=where)
    return {str(k): _parameter(str(k), v, where) for k, v in entries.items()}


def _parameter(name: str, entry: Any, where: str) -> Parameter:
    if not isinstance(entry, dict):
        return Parameter(entry, source=where)
    unknown = set(entry) - {"value", "source", "inferred", "reason"}
    if unknown or "value" not in entry:
        raise TargetError(f"{name}: expected value with source, or inferred with reason", where=where, actual=entry)
    inferred = bool(entry.get("inferred", False))
    text = str(entry.get("reason" if inferred else "source", ""))
    if not text:
        raise TargetError(f"{name}: a value needs its source, or `inferred: true` with a reason", where=where)
    return Parameter(entry["value"], "" if inferred else text, inferred, text if inferred else "")


def written(name: str, summary: str, extends: str, values: Mapping[str, Parameter]) -> str:
    """The text of a target file, which gives the same parameters when it is read."""
    own = {k: {"value": p.value, "inferred": True, "reason": p.reason} if p.inferred
           else {"value": p.value, "source": p.source} for k, p in values.items()}
    return str(yaml.safe_dump({"name": name, "summary": summary, "extends": extends, "parameters": own}, width=120))
