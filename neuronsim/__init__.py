"""Compile trained networks for NeuronCore-like accelerators and run them: real values and time from one program.

    neff = neuronsim.compile("model.onnx", target="trn1.2xlarge")
    result = neff.run({"image": array})
    result.outputs, result.stats["latency_ms"], result.trace

Names are imported when first used (PEP 562), so that running a NEFF loads neither the compiler, nor the profiler, nor
onnx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuronsim import mxnet as mxnet
    from neuronsim import onnx_backend as onnx_backend
    from neuronsim import tensorflow as tensorflow
    from neuronsim import torch as torch
    from neuronsim import xgboost as xgboost
    from neuronsim.api import Neff, Result, compile, load
    from neuronsim.runtime import Instance

__version__ = "0.1.0"
__all__ = ["Instance", "Neff", "Result", "compile", "load"]
#: Doors that users of a framework know; not in `__all__`, since `torch` needs the framework itself.
_MODULES = frozenset({"mxnet", "onnx_backend", "tensorflow", "torch", "xgboost"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(f"neuronsim.{name}")
    elif name not in __all__:
        raise AttributeError(f"module 'neuronsim' has no attribute {name!r}")
    else:
        value = getattr(import_module("neuronsim.runtime" if name == "Instance" else "neuronsim.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
