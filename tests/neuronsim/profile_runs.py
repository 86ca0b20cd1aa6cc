"""NEFF files and recorded profiles for the tests of the profiler's commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from isa import neff as container
from isa.program import IN_SBUF
from neuronsim import cli
from tests.neuronsim.runtime_programs import pipeline
from tests.neuronsim.serving_programs import program


class Files:
    """A folder with NEFFs of one core, of a pipeline, and what commands make of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.single, self.other, self.chain = (folder / f"{name}.neff" for name in ("single", "other", "chain"))
        container.write(program(3, 256, 16), self.single)
        container.write(program(2, 256, 16), self.other)
        container.write(pipeline(3, space=IN_SBUF), self.chain)

    def profile(self, name: str, *arguments: object) -> Path:
        """Folder of `neuronsim profile`."""
        out = self.folder / name
        assert cli.main(["profile", *map(str, arguments), "-o", str(out)]) == 0
        return out


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("profiles"))
