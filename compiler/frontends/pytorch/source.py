"""The source code inside a TorchScript file, searched before torch runs any of it.

TorchScript is a small language without access to Python, but a few of its functions touch files.
"""

from __future__ import annotations

import re

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.pytorch.archive import Archive, pickled

#: Functions of TorchScript that read or write files, or wait for other processes.
_OUTSIDE = frozenset({"from_file", "save", "load", "warn_file", "rpc_async", "rpc_sync", "rpc_remote", "wait"})
#: What the language allows between the parts of a name.
_GAP = r"(?:[\s\\]|#[^\n]*\n)*"
_CALL = re.compile(rf"\b(?:torch|ops{_GAP}\.{_GAP}(\w+)){_GAP}\.{_GAP}(\w+)(\()?")
#: Operators that torch has for other processes and for its own compiled code, which trusts their arguments.
_TRUSTED = frozenset({"c10d", "_c10d_functional", "_c10d_functional_autograd", "symm_mem", "debugprims", "inductor",
                      "static_runtime", "rpc", "_dtensor"})
#: Classes of torch that a model may hold, by their namespace.
_CLASSES = frozenset({b"quantized", b"rnn", b"sparse", b"xnnpack", b"profiler"})
_CLASS = re.compile(rb"torch\.classes\.(\w+)\.(\w+)")
#: Namespaces of operators that torch has without other packages.
_OWN = frozenset({"aten", "prim", "prims", "quantized", "_quantized", "mkldnn", "mkldnn_prepacked", "prepacked",
                  "sparse", "profiler"})


def check(archive: Archive) -> set[str]:
    """Refuse a file that is no TorchScript or would do more than compute.

    Returns: operators of other packages than torch, as "namespace::name".
    Raises: ModelError PICKLE_REFUSED, MODEL_CODE (functions that touch files, or memory unchecked); as `Archive.read`.
    """
    if "constants.pkl" not in archive or not any(n.startswith("code/") for n in archive.names):
        raise pickled(archive.path)
    foreign: set[str] = set()
    outside: set[str] = set()
    for name in archive.names:
        if name.startswith("code/") and name.endswith(".py"):
            text = archive.read(name).decode("utf-8", "replace")
            for space, function, called in _CALL.findall(text):
                if function in _OUTSIDE or space in _TRUSTED:
                    outside.add(f"{space or 'torch'}.{function}")
                elif called and space and space not in _OWN:
                    foreign.add(f"{space}::{function}")
        if (name.startswith("code/") and name.endswith(".py")) or name == "data.pkl":
            outside |= {b".".join(c).decode() for c in _CLASS.findall(archive.read(name)) if c[0] not in _CLASSES}
    if outside:
        raise ModelError("the model's code reads or writes files, or reaches out of it; it is not loaded",
                         code="MODEL_CODE", where=str(archive.path), actual=", ".join(sorted(outside)))
    return foreign


def unknown(operators: set[str], where: str) -> UnsupportedOp:
    """The error for operators of packages that are not here."""
    error = UnsupportedOp("the model uses operators that torch does not have", where=where,
                          actual=", ".join(sorted(operators)),
                          help="export the model to ONNX where their package is installed, and compile that")
    error.op = ", ".join(sorted(operators))
    return error
