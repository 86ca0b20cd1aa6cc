"""Compiled pipelines as files: they come back from NEFF and listing byte for byte, pass all checks, and run."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import neuronsim
from isa import neff, target
from isa.assembler import assemble_to_neff
from isa.disassembler import disassemble
from isa.program import IN_SBUF, INPUT
from neuronsim.check import check
from tests.e2e.networks import decoder, inverted_residuals

Make = Callable[[], onnx.ModelProto]


def inputs_of(loaded: neuronsim.Neff) -> dict[str, np.ndarray]:
    random = np.random.default_rng(6)
    return {i.name: random.integers(0, 50, i.shape) if "int" in i.dtype
            else random.standard_normal(i.shape).astype(i.dtype) for i in loaded.inputs}


@pytest.mark.parametrize(("make", "machine", "cores"), [
    (decoder, "trn1.2xlarge", 2), (inverted_residuals, "inf1.xlarge", 3)])
def test_compiled_pipelines(make: Make, machine: str, cores: int, tmp_path: Path) -> None:
    model = make().SerializeToString()
    path, again = tmp_path / "a.neff", tmp_path / "b.neff"
    made = neuronsim.compile(model, path, target=machine, neuroncore_pipeline_cores=cores)
    program = made.program
    assert [n.core for n in program.nodes] == list(range(cores))
    assert all(stage.init for stage in program.stages)
    handed = [v.space for s in program.stages[1:] for v in s.variables if v.kind == INPUT]
    assert handed and set(handed) == {IN_SBUF}

    assemble_to_neff(disassemble(neff.read(path)), again, weights=path)
    assert again.read_bytes() == path.read_bytes()
    for stage in program.stages:
        assert [str(f) for f in check(stage, target.load(machine))] == []
    given = inputs_of(made)
    first, second, other = (loaded.run(given).outputs for loaded in (made, made, neuronsim.load(again)))
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes() == other[name].tobytes()


@pytest.mark.parametrize("make", [decoder, inverted_residuals])
def test_pinned_weights_change_no_bit(make: Make) -> None:
    model = make().SerializeToString()
    streamed, pinned = (neuronsim.compile(model, target="trn1.2xlarge", neuroncore_pipeline_cores=c) for c in (None, 1))
    assert pinned.program.stages[0].init and not streamed.program.stages[0].init
    given = inputs_of(pinned)
    expected = streamed.run(given).outputs
    for name, array in pinned.run(given).outputs.items():
        assert array.tobytes() == expected[name].tobytes()
