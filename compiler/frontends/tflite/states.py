"""What outlives an operator: resource variables and tables for look-up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.tflite.convert import Call, converter, room


@dataclass(frozen=True)
class Handle:
    """A resource variable by name."""

    name: str


@dataclass
class Table:
    """A table for look-up, which an initialising subgraph fills."""

    dtype: str
    keys: list[object] = field(default_factory=list)
    values: list[object] = field(default_factory=list)


@converter("VAR_HANDLE")
def _var_handle(c: Call) -> None:
    c.store(Handle(f"{c.option('container', '')}/{c.option('shared_name', '')}"))


@converter("ASSIGN_VARIABLE")
def _assign(c: Call) -> None:
    c.b.note("states kept between runs start from their first values in each")
    c.frame.state[_handle(c).name] = c.stored(1)


@converter("READ_VARIABLE")
def _read(c: Call) -> None:
    name = _handle(c).name
    if name not in c.frame.state:
        c.b.note("states kept between runs start from zero in each")
        c.frame.state[name] = c.b.add(np.zeros(room(c.result().shape), c.result().dtype))
    c.store(c.frame.state[name])


def _handle(c: Call) -> Handle:
    found = c.stored(0)
    if not isinstance(found, Handle):
        raise ModelError("a variable is named by something else than its handle", code="TFLITE_OPERANDS")
    return found


@converter("HASHTABLE")
def _hashtable(c: Call) -> None:
    """Tables of the same number are the same."""
    name = f"table {int(c.option('table_id', 0))}"
    dtype = "string" if int(c.option("value_dtype", 4)) == 5 else "int64"
    c.store(c.frame.state.setdefault(name, Table(dtype)))


def _table(c: Call) -> Table:
    found = c.stored(0)
    if not isinstance(found, Table):
        raise ModelError("a look-up in something that is no table", code="TFLITE_OPERANDS")
    return found


@converter("HASHTABLE_IMPORT")
def _import(c: Call) -> None:
    table = _table(c)
    keys, values = (c.known(k, "a table for look-up").reshape(-1).tolist() for k in (1, 2))
    if not table.keys:
        table.keys, table.values = keys, values


@converter("HASHTABLE_FIND")
def _find(c: Call) -> None:
    """Operands: table, keys, what keys that are not in it give."""
    table, names = _table(c), {"string": "strings", "int64": "int64s"}
    default = c.known(2, "what unknown keys give").reshape(-1)[0]
    if not table.keys:
        raise ModelError("a table for look-up is empty", code="TFLITE_OPERANDS")
    kinds = [names["string" if isinstance(part[0], str) else "int64"] for part in (table.keys, table.values)]
    attrs = {f"keys_{kinds[0]}": table.keys, f"values_{kinds[1]}": table.values,
             f"default_{kinds[1].removesuffix('s')}": str(default) if kinds[1] == "strings" else int(default)}
    c.store(c.b.op("LabelEncoder", [c.stored(1)], domain="ai.onnx.ml", **attrs))


@converter("HASHTABLE_SIZE")
def _size(c: Call) -> None:
    c.store(c.b.add(np.array([len(_table(c).keys)], np.int64)))
