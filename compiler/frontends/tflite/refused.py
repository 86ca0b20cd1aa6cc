"""Why an operator has no converter."""
from __future__ import annotations


def reason(name: str) -> str:
    """A phrase for the user."""
    return "it has no converter yet"
