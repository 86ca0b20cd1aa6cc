"""The source code inside a TorchScript file, searched before torch runs any of it.

TorchScript is a small language without access to Python, but a few of its functions touch files.
"""

from __future__ import annotations

import re

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.pytorch.archive import Archive, pickled

#: Functions of TorchScript that read or write files, or wait for other processes.
_OUTSIDE = frozenset({"from_file", "save", "load", "warn_file", "rpc_async", "rpc_sync", "rpc_remote", "wait"})
_CALL = re.compile(r"\b(?:torch|ops\.(\w+))\.(\w+)\(")
#: Namespaces of operators that torch has without other packages.
_OWN = frozenset({"aten", "prim", "prims", "quantized", "_quantized", "mkldnn", "mkldnn_prepacked", "prepacked",
                  "sparse", "inductor", "profiler"})


def check(archive: Archive) -> set[str]:
    """Refuse a file that is no TorchScript or would do more than compute.

    Returns: operators of other packages than torch, as "namespace::name".
    Raises: ModelError PICKLE_REFUSED, MODEL_CODE (functions that touch files); as `Archive.read`.
    """
    if "constants.pkl" not in archive or not any(n.startswith("code/") for n in archive.names):
        raise pickled(archive.path)
    foreign: set[str] = set()
    outside: set[str] = set()
    for name in archive.names:
        if name.startswith("code/") and name.endswith(".py"):
            text = archive.read(name).decode("utf-8", "replace")
            for space, function in _CALL.findall(text):
                if function in _OUTSIDE:
                    outside.add(f"{space or 'torch'}.{function}")
                elif space and space not in _OWN:
                    foreign.add(f"{space}::{function}")
    if outside:
        raise ModelError("the model's code reads or writes files, or waits for others; it is not loaded",
                         code="MODEL_CODE", where=str(archive.path), actual=", ".join(sorted(outside)))
    return foreign


def unknown(operators: set[str], where: str) -> UnsupportedOp:
    """The error for operators of packages that are not here."""
    error = UnsupportedOp("the model uses operators that torch does not have", where=where,
                          actual=", ".join(sorted(operators)),
                          help="export the model to ONNX where their package is installed, and compile that")
    error.op = ", ".join(sorted(operators))
    return error
