"""What a user says of a model's inputs and outputs: `--input-shape`, `--input-dtype`, and neuron-cc's io-config.

    {"inputs": {"image": [[1, 224, 224, 3], "float32"]}, "outputs": ["probabilities"]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from compiler.options import OptionError

DTYPES: tuple[str, ...] = (
    "float32", "float16", "bfloat16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "bool", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
#: Other frameworks' spellings.
_ALIASES = {
    "float": "float32", "fp32": "float32", "half": "float16", "fp16": "float16", "bf16": "bfloat16",
    "double": "float64", "fp64": "float64", "int": "int32", "long": "int64", "boolean": "bool", "bool_": "bool",
}  # fmt: skip
#: More than the face of any model needs; such a file is something else.
_MOST_BYTES = 1 << 24


def dtype_name(text: object) -> str:
    """An element type in numpy's spelling; what is none comes back as it is."""
    name = re.sub(r"\A(tf\.|torch\.|np\.|dt_)", "", str(getattr(text, "__name__", text)).strip().lower())
    return _ALIASES.get(name, name)


def parse_input_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of `NAME:1x3x224x224` texts (a name may hold colons; a scalar is `NAME:`). Raises: OptionError."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, colon, dims = text.rpartition(":")
        try:
            shape = tuple(int(d) for d in dims.split("x")) if dims else ()
        except ValueError:
            shape = (-1,)
        if not colon or not name or min(shape, default=1) < 0:
            raise OptionError(f"cannot read input shape {text!r}", where="--input-shape",
                              help="write NAME:1x3x224x224, sizes as whole numbers")
        if name in shapes:
            raise OptionError(f"input shape of {name!r} given twice", where="--input-shape")
        shapes[name] = shape
    return shapes


def parse_input_dtypes(texts: Iterable[str]) -> dict[str, str]:
    """Element types of `NAME:int32` texts (a name may hold colons). Raises: OptionError."""
    dtypes: dict[str, str] = {}
    for text in texts:
        name, colon, dtype = text.rpartition(":")
        if not colon or not name or not dtype:
            raise OptionError(f"cannot read input type {text!r}", where="--input-dtype", help="write NAME:int32")
        if name in dtypes:
            raise OptionError(f"input type of {name!r} given twice", where="--input-dtype")
        dtypes[name] = dtype_name(dtype)
    return dtypes


def with_io_config(values: Mapping[str, Any], config: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `CompileOptions` with what an io-config says added.

    Args:
        values: keyword arguments, `input_shapes` and `input_dtypes` as mappings.
        config: JSON as text, the path of a JSON file, or what such JSON holds.
    Raises: OptionError (not to be read, or an input or the outputs are given twice).
    """
    inputs, outputs = _checked(config if isinstance(config, Mapping) else _loaded(config))
    for name in inputs:
        if name in values.get("input_shapes", {}) or name in values.get("input_dtypes", {}):
            raise _wrong(f"input {name!r} is given twice", "say it in the io-config or by the other options")
    if outputs and values.get("outputs"):
        raise _wrong("the outputs are given twice", "name them in one place")
    shapes = {**values.get("input_shapes", {}), **{name: shape for name, (shape, _) in inputs.items()}}
    dtypes = {**values.get("input_dtypes", {}), **{name: dtype for name, (_, dtype) in inputs.items()}}
    return {**values, "input_shapes": shapes, "input_dtypes": dtypes, "outputs": outputs or values.get("outputs", ())}


def _loaded(config: str | Path) -> object:
    """The JSON of a text or a file."""
    text = str(config).removeprefix("file://")
    if not text.lstrip().startswith("{"):
        path = Path(text)
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise _wrong(f"{text!r} is too large to be an io-config", "give a JSON file of inputs and outputs")
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no text"
            raise _wrong(f"{text!r} is neither JSON nor a file that can be read: {reason}", _FORM) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"the io-config is no JSON: {error}", _FORM) from None


def _checked(config: object) -> tuple[dict[str, tuple[tuple[int, ...], str]], tuple[str, ...]]:
    """Shape and type by input, and the outputs."""
    if not isinstance(config, Mapping) or not set(config) <= {"inputs", "outputs"}:
        raise _wrong("the io-config has not the two keys 'inputs' and 'outputs'", _FORM)
    inputs, outputs = config.get("inputs", {}), config.get("outputs", [])
    outputs = [outputs] if isinstance(outputs, str) else outputs
    if not isinstance(inputs, Mapping) or not isinstance(outputs, (list, tuple)):
        raise _wrong("'inputs' has to be an object and 'outputs' a list of names", _FORM)
    for name in outputs:
        if not isinstance(name, str):
            raise _wrong(f"an output has no name: {name!r}", _FORM)
    found = {}
    for name, value in inputs.items():
        if not (isinstance(value, (list, tuple)) and len(value) == 2 and _is_shape(value[0])
                and isinstance(value[1], str)):  # fmt: skip
            raise _wrong(f"input {name!r} has not the form [shape, type]", _FORM)
        found[str(name)] = (tuple(value[0]), dtype_name(value[1]))
    return found, tuple(outputs)


def _is_shape(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(type(d) is int and d >= 0 for d in value)


def _wrong(what: str, help: str) -> OptionError:
    return OptionError(what, where="--io-config", help=help)


_FORM = 'write {"inputs": {"NAME": [[1, 224, 224, 3], "float32"]}, "outputs": ["NAME"]}'
