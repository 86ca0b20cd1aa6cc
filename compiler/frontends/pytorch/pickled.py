"""What a pickle says, without running any of it: calls and classes stay names.

TorchScript keeps the shapes of a trace's example inputs in a pickle of a few opcodes (protocol 2), and older exported
programs their weights; nothing else of a pickle is understood.
"""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass
from typing import Any

from compiler.errors import ModelError

_MARK = object()
_PLAIN = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"})
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


@dataclass(frozen=True)
class Call:
    """A call that the pickle asks for: of what (a dotted name), with which arguments."""

    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Storage:
    """A persistent identifier: PyTorch's reference to bytes outside the pickle, such as ("storage", type, key, ...)."""

    args: Any


def plain(data: bytes, where: str = "") -> Any:
    """The object described by a pickle, as dicts, lists, tuples, numbers, strings, `Call`s and `Storage`s.

    Raises: ModelError PICKLE_REFUSED for opcodes that no tensor needs, or a pickle that is not whole.
    """
    try:
        return _run(data)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError, OverflowError):
        raise ModelError("the list of tensors in the file is not of the form that PyTorch writes",
                         code="PICKLE_REFUSED", where=where) from None


def tensors(data: bytes) -> list[Call]:
    """The tensors that a pickle of a TorchScript module rebuilds, as far as its opcodes are understood."""
    calls: list[Call] = []
    try:
        _run(data, calls)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError, OverflowError):
        pass  # whoever opens the pickle says what is wrong with it
    return [c for c in calls if c.name.startswith("torch._utils._rebuild_")]


def _run(data: bytes, calls: list[Call] | None = None) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, arg, _ in pickletools.genops(io.BytesIO(data)):
        name = opcode.name
        if name in _PLAIN:
            stack.append(arg)
        elif name in _VALUES:
            stack.append(_VALUES[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[int(arg)] = stack[-1]  # type: ignore[arg-type]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg)])  # type: ignore[arg-type]
        elif name == "GLOBAL":
            stack.append(str(arg).replace(" ", "."))
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            _combine(name, stack)
            if calls is not None and name == "REDUCE" and isinstance(stack[-1], Call):
                calls.append(stack[-1])
    raise ValueError("no end")


def _combine(name: str, stack: list[Any]) -> None:
    """Opcodes that take values off the stack."""
    if name == "TUPLE":
        stack.append(tuple(_to_mark(stack)))
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "APPENDS":
        values = _to_mark(stack)
        stack[-1].extend(values)
    elif name == "APPEND":
        value = stack.pop()
        stack[-1].append(value)
    elif name == "SETITEMS":
        values = _to_mark(stack)
        stack[-1].update(zip(values[::2], values[1::2]))
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        stack[-1][key] = value
    elif name == "BINPERSID":
        stack.append(Storage(stack.pop()))
    elif name == "REDUCE":
        args, called = stack.pop(), stack.pop()
        # an annotation of a container, or an empty ordered dict, is the container
        if called == "torch.jit._pickle.restore_type_tag":
            stack.append(args[0])
        else:
            stack.append({} if called == "collections.OrderedDict" else Call(called, tuple(args)))
    elif name == "NEWOBJ":
        args, called = stack.pop(), stack.pop()
        stack.append(Call(called, tuple(args)))
    elif name == "BUILD":
        stack.pop()  # attributes of a dict, a tensor or a module
    else:
        raise ValueError(name)


def _to_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1 - stack[::-1].index(_MARK)
    values = stack[at + 1 :]
    del stack[at:]
    return values
