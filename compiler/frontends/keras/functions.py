"""Operations that a functional model calls directly: those of `keras.ops`, and TensorFlow's in tf.keras."""

from __future__ import annotations

from typing import Any

from compiler.frontends.keras.call import Call
from compiler.frontends.keras.network import Layer


def function_name(layer: Layer) -> str:
    """The TensorFlow function behind a layer, without "tf."."""
    found = layer.config.get("function", "")
    return str(found)


def operation(c: Call) -> Any:
    """Build an operation of `keras.ops`."""
    raise c.refuse("not yet")


def function(c: Call) -> Any:
    """Build a TensorFlow function."""
    raise c.refuse("not yet")
