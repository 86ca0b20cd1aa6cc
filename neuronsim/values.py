"""Computes real values: a stage loaded on one core, and its runs.

What happens in which order is `neuronsim/replay.py`; not responsible for time (`neuronsim/timing.py`). Cores share
nothing that is written, and kernels run without the GIL: different cores may run in different threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isa.program import INPUT, OUTPUT, SCRATCH, Stage, Variable
from isa.target import Target
from neuronsim.errors import InputError, SimulationError
from neuronsim.insns import bounds
from neuronsim.insns.memory import new_memory
from neuronsim.replay import Replay
from neuronsim.timing import Timeline, simulate


class Core:
    """A stage loaded on one core: its memories, its variables and the compiled executor.

    A run begins with SBUF as loading the stage left it: zero but for what `Stage.init` wrote. All other memory is zero.
    One core is run by one thread at a time, different cores by any number.

    Attributes:
        first_nonfinite: op id of the first word that made a NaN or infinity from finite sources in the last run with
            `find_nonfinite`, or None.
    Raises: MemoryFault when a word or descriptor leaves its memory.
    """

    def __init__(self, stage: Stage, target: Target) -> None:
        bounds.check(stage, target)
        self.stage = stage
        self.target = target
        self.first_nonfinite: int | None = None
        self._variables = [_buffer(v) for v in stage.variables]
        self._memory = new_memory(target.sbuf_partition_bytes, target.psum_partition_bytes, stage.sbuf_peak_bytes)
        self._memory.variables = dict(enumerate(self._variables, start=1))
        self._replay = Replay(stage, target, self._memory)
        self._loaded = self._fresh = False  # init has run; nothing has since
        self._kept: list[tuple[int, int, np.ndarray | None]] = []  # what a run may write: bytes, contents before it

    def load(self) -> None:
        """Run `Stage.init`, once; the first `run` does it otherwise. Raises: SimulationError."""
        if self._loaded:
            return
        pins = any(len(stream) for stream in self.stage.init.values())
        if pins:
            loading = self.stage.loading
            Replay(loading, self.target, self._memory).run(simulate(loading, self.target))
            self._clear_outside_sbuf()
        for low, high in bounds.written_columns(self.stage):
            part = self._memory.sbuf[:, low:high]
            self._kept.append((low, high, part.copy() if pins and part.any() else None))
        self._loaded = self._fresh = True

    def run(
        self,
        timeline: Timeline | None,
        inputs: Mapping[str, np.ndarray],
        threads: int = 1,
        find_nonfinite: bool = False,
    ) -> dict[str, np.ndarray]:
        """Run the stage once, after loading it.

        Args:
            timeline: of this stage; None simulates it.
            inputs: every INPUT variable by name, of its shape and `dtype.numpy`.
            threads: host threads; the outputs do not depend on it.
            find_nonfinite: set `first_nonfinite` (one thread).
        Returns: every OUTPUT variable by name.
        Raises: InputError, SimulationError.
        """
        self.load()
        self._reset()
        for v in self.stage.variables:
            if v.kind == INPUT:
                self._array(v)[...] = _checked(v, inputs)
        timeline = simulate(self.stage, self.target) if timeline is None else timeline
        found = self._replay.run(timeline, threads, find_nonfinite)
        if find_nonfinite:
            self.first_nonfinite = found
        return {v.name: self._array(v).copy() for v in self.stage.variables if v.kind == OUTPUT}

    def _array(self, variable: Variable) -> np.ndarray:
        return self._variables[variable.id - 1].view(variable.dtype.numpy).reshape(variable.shape)

    def _reset(self) -> None:
        """Put back what the last run may have written, and nothing else: memories are large."""
        if not self._fresh:
            for low, high, contents in self._kept:
                self._memory.sbuf[:, low:high] = 0 if contents is None else contents
            self._clear_outside_sbuf()
        self._fresh = False

    def _clear_outside_sbuf(self) -> None:
        self._memory.psum.fill(0)
        for v in self.stage.variables:
            if v.kind in (OUTPUT, SCRATCH):
                self._variables[v.id - 1].fill(0)


def _buffer(variable: Variable) -> np.ndarray:
    """Bytes of a DRAM variable: the weight's own, mapped bytes, or a new buffer."""
    if variable.data is None:
        return np.zeros(variable.size_bytes, np.uint8)
    data = variable.data.reshape(-1).view(np.uint8)
    if data.size != variable.size_bytes:
        raise SimulationError(
            "weight data of the wrong size",
            code="WEIGHT_SIZE",
            where=variable.name,
            limit=variable.size_bytes,
            actual=data.size,
        )
    return data


def _checked(variable: Variable, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    array = inputs.get(variable.name)
    if array is None:
        raise InputError("input missing", where=variable.name, help="inputs are: " + (", ".join(inputs) or "none"))
    if array.shape != variable.shape or array.dtype != variable.dtype.numpy:
        raise InputError(
            "input of another shape or type",
            where=variable.name,
            limit=f"{variable.shape} {variable.dtype.numpy}",
            actual=f"{array.shape} {array.dtype}",
        )
    return array
