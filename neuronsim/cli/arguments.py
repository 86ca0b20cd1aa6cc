"""Values of command-line arguments: numbers in a range, and files that a command will write."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from isa.errors import NeuronError


class OutputError(NeuronError):
    """A file that cannot be written where the user wants it."""

    code = "OUTPUT"


def positive(text: str) -> int:
    """A whole number from 1 on. Raises: argparse.ArgumentTypeError."""
    return _at_least(text, 1)


def natural(text: str) -> int:
    """A whole number from 0 on. Raises: argparse.ArgumentTypeError."""
    return _at_least(text, 0)


def amount(text: str) -> float:
    """A finite number from 0 on, such as a price. Raises: argparse.ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def check_output(path: str | Path | None, *inputs: str | Path) -> None:
    """Check before long work that `path` can be written, and that it is none of the command's own inputs.

    Files appear by renaming a complete one into place, so directories, devices and pipes are refused.
    Raises: OutputError.
    """
    if path is None:
        return
    target = Path(path)
    if target.is_dir():
        raise OutputError("the output is a directory", where=str(path), help="name a file in it")
    if target.exists() and not target.is_file():
        raise OutputError("the output is a device or a pipe", where=str(path), help="name a regular file")
    if not target.parent.is_dir():
        raise OutputError("the folder of the output does not exist", where=str(path), help=f"mkdir -p {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise OutputError("the folder of the output is not writable", where=str(path))
    if any(target.exists() and Path(i).exists() and target.samefile(i) for i in inputs):
        raise OutputError("the output would overwrite the input", where=str(path), help="name another file with -o")


def _at_least(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return number
