"""A module as the calls that torch makes while it runs once.

Branches and loops are followed as the sizes of the inputs say; where the value of a tensor that depends on an input
decides, the recording stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from compiler.errors import CompileError, UnsupportedOp
from compiler.frontends.pytorch import quantised
from compiler.frontends.pytorch.program import Block, Dtype, Node, Other, Program, Ref

_DEPTH = 16
#: Calls that turn a tensor into a number, which what follows may depend on.
_DECIDING = ("aten._local_scalar_dense", "aten.is_nonzero", "aten.item", "aten.equal", "aten.allclose")
#: Constants of fewer bytes are copied: the module may write to them later.
_SMALL = 1 << 16


def record(torch: Any, module: Any, tensors: Sequence[Any], keys: Sequence[str], where: str) -> Program:
    """The program of a module that takes tensors and returns a tensor or a tuple of them.

    Args: keys: of the results.
    Raises: UnsupportedOp where the value of a tensor decides what is done; what torch raises while it runs the module.
    """
    recorder = _Recorder(torch)
    inputs = [recorder.define(t, f"input_{k}") for k, t in enumerate(tensors)]
    recorder.dependent |= {recorder.memory(t) for t in tensors}
    try:
        with _mode(torch, recorder):
            found = module(*tensors)
    except Exception:
        if recorder.refused:  # which TorchScript has made an error of its own of
            raise recorder.refused from None
        raise
    results = [recorder.value(v) for v in (found if isinstance(found, tuple | list) else [found])]
    block = Block(inputs, recorder.nodes, results)
    dims = {i: tuple(t.shape) for i, t in zip(inputs, tensors)}
    dtypes = {i: str(t.dtype).removeprefix("torch.") for i, t in zip(inputs, tensors)}
    return Program(block, where, inputs, dims, dtypes, recorder.constants, list(zip(results, keys)))


def _mode(torch: Any, recorder: _Recorder) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            try:
                return recorder.call(func, args, kwargs or {})
            except CompileError as error:
                recorder.refused = error
                raise

    return Mode()


class _Recorder:
    """What was called so far.

    Attributes:
        nodes: the calls. constants: arrays by name: tensors that no call made.
        dependent: addresses of memory with values that depend on an input. refused: why the recording stopped.
    """

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.nodes: list[Node] = []
        self.constants: dict[str, Any] = {}
        self.dependent: set[int] = set()
        self.refused: CompileError | None = None
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []  # tensors whose identity is a key above
        self._counts: dict[str, int] = {}

    def memory(self, value: Any) -> int:
        """The address of a tensor's storage."""
        return int(value.untyped_storage()._cdata)

    def define(self, value: Any, name: str) -> str:
        """Give a tensor a name."""
        self._kept.append(value)
        self._names[id(value)] = name
        return name

    def value(self, value: Any, depth: int = 0) -> Any:
        """An argument or a result as a program has it."""
        if isinstance(value, self.torch.Tensor):
            if id(value) not in self._names:
                name = self.define(value, f"constant_{len(self.constants)}")
                self.constants[name] = array(self.torch, value)
            return Ref(self._names[id(value)])
        if isinstance(value, self.torch.dtype):
            return Dtype(str(value).removeprefix("torch."))
        if isinstance(value, list | tuple) and depth < _DEPTH:
            return [self.value(v, depth + 1) for v in value]
        if value is None or isinstance(value, bool | int | float | str | Ref | Dtype):
            return value
        return Other(type(value).__name__)

    def call(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run a call and remember it."""
        target = str(function)
        depends = any(self.memory(t) in self.dependent for t in self._tensors([*args, *kwargs.values()]))
        if target.startswith(_DECIDING):
            if depends:
                raise UnsupportedOp("the value of a tensor decides what is done", code="VALUE_DECIDES", actual=target)
            return function(*args, **kwargs)
        schema = function._schema
        given = {a.name: self.value(v) for a, v in zip(schema.arguments, args)}
        given |= {k: self.value(v) for k, v in kwargs.items()}
        was = _placed(args[0]) if target.startswith("aten.as_strided") else None
        result = function(*args, **kwargs)
        made = self._tensors([result])
        if not made:
            return result
        if was is not None and _placed(result) == was:  # strides of dimensions of one: pooling sets them so
            self.define(result, given["self"].name)
            return result
        special = quantised.concerns(self.torch, function, [*made, *self._tensors([*args, *kwargs.values()])])
        if depends:  # views share their memory's address, and writes into constants make these depend
            self.dependent |= {self.memory(t) for t in made}
        name = self._fresh(target.split(".")[1])
        if special:
            self._define(result, quantised.substitute(self.torch, self._emitter(name), target, given, args, result))
            return result
        parts = list(result) if isinstance(result, list | tuple) else [result]
        names = [Ref(self.define(p, f"{name}_{k}" if len(parts) > 1 else name)) if isinstance(p, self.torch.Tensor)
                 else None for k, p in enumerate(parts)]
        several = isinstance(result, list | tuple)
        self.nodes.append(Node(target, name, given, [names] if several else names, not several))
        return result

    def _emitter(self, name: str) -> quantised.Emit:
        """Records calls that stand for one call of this name; constants of theirs are given as tensors."""
        count = 0

        def emit(target: str, **arguments: Any) -> Ref:
            nonlocal count
            made = Ref(f"{name}.{count}")
            count += 1
            self.nodes.append(Node(target, name, {k: self.value(v) for k, v in arguments.items()}, [made]))
            return made

        return emit

    def _define(self, result: Any, names: Any) -> None:
        for part, ref in zip(self._tensors([result]), names if isinstance(names, list) else [names]):
            self.define(part, ref.name)

    def _tensors(self, value: Any, depth: int = 0) -> list[Any]:
        if isinstance(value, self.torch.Tensor):
            return [value]
        if isinstance(value, list | tuple) and depth < _DEPTH:
            return [t for v in value for t in self._tensors(v, depth + 1)]
        return []

    def _fresh(self, stem: str) -> str:
        number = self._counts[stem] = self._counts.get(stem, -1) + 1
        return f"{stem}_{number}" if number else stem


def _placed(value: Any) -> tuple[Any, ...]:
    """Where a tensor's elements lie: equal for two tensors with the same elements in the same places."""
    return value.storage_offset(), tuple(value.shape), [s for s, d in zip(value.stride(), value.shape) if d > 1]


def array(torch: Any, value: Any) -> np.ndarray:
    """A tensor as an array, bfloat16 and the like included."""
    plain = (value.dequantize() if value.is_quantized else value).detach().cpu().contiguous()
    name = str(plain.dtype).removeprefix("torch.")
    if hasattr(ml_dtypes, name):
        bits = torch.int8 if plain.element_size() == 1 else torch.int16
        found: np.ndarray = plain.view(bits).numpy().view(getattr(ml_dtypes, name))
    else:
        found = plain.numpy()
    return found.copy() if found.nbytes < _SMALL else found
