"""Keeps the house in order: import arrows, file sizes, registries, names that resolve inside this project."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("isa", "compiler", "neuronsim", "profiler")
MAX_LINES = 400
FACE = ("neuronsim/api.py", "neuronsim/onnx_backend.py", "neuronsim/cli/", "neuronsim/__init__.py",
        "neuronsim/tensorflow.py", "neuronsim/torch/")
# package -> packages of ours it may import
ARROWS = {
    "isa": {"isa"},
    "compiler": {"isa", "compiler"},
    "profiler": {"isa", "profiler"},
    "neuronsim": {"isa", "neuronsim"},
}
ONNX_HOMES = (
    "compiler/frontends/", "compiler/passes/", "neuronsim/host_", "neuronsim/onnx_backend.py", "neuronsim/cli/",
    "neuronsim/demo/",
)  # fmt: skip


def sources(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py") if "build" not in p.parts)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, at top level) of every import outside `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) in top


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=relative)
def test_import_arrows(path: Path) -> None:
    name = relative(path)
    allowed = ARROWS[name.split("/")[0]]
    for module, top_level in imports(path):
        package = module.split(".")[0]
        assert package != "pickle", f"{name} imports pickle"
        assert package != "tests", f"{name} imports tests"
        if package not in PACKAGES or package in allowed:
            continue
        assert name.startswith(FACE), f"{name} imports {module}"
        # the command line may draw the profiler's tables; the compiler is always imported inside a function
        assert not top_level or (package == "profiler" and name.startswith("neuronsim/cli/")), (
            f"{name}: {module} at the top"
        )


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=relative)
def test_onnx_only_where_models_are_read(path: Path) -> None:
    name = relative(path)
    found = {m for m, _ in imports(path) if m.split(".")[0] in ("onnx", "onnxruntime")}
    assert not found or name.startswith(ONNX_HOMES), f"{name} imports {found}"


def test_file_sizes() -> None:
    native = [p for suffix in ("pyx", "c", "h") for p in (ROOT / "neuronsim/_core").glob(f"*.{suffix}")]
    generated = {p.with_suffix(".c") for p in (ROOT / "neuronsim/_core").glob("*.pyx")}
    files = [
        *sources(*PACKAGES, "tests", "benchmarks", "examples", "tools"),
        *(p for p in native if p not in generated),
    ]
    long = {relative(p): n for p in files if (n := len(p.read_text(encoding="utf-8").splitlines())) > MAX_LINES}
    assert not long


def test_no_catch_all_modules() -> None:
    banned = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not [relative(p) for p in sources(*PACKAGES) if p.name in banned or p.stem.endswith(("_old", "_v2"))]


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {p.parent for p in sources(*PACKAGES)}
    assert not [relative(f) for f in folders if not (f / "__init__.py").exists()]


def test_packages_resolve_inside_this_project() -> None:
    for package in PACKAGES:
        origin = Path(str(importlib.import_module(package).__file__))
        assert origin.is_relative_to(ROOT) or "site-packages" in origin.parts, f"{package} is shadowed by {origin}"


def test_command_registry_lists_every_file() -> None:
    from neuronsim import cli

    shared = {"__init__", "arguments", "arrays", "output", "compare", "profiles", "progress", "serve", "settings"}
    files = {p.stem for p in (ROOT / "neuronsim/cli").glob("*.py")} - shared
    assert sorted(f.replace("_", "-") for f in files) == list(cli.COMMANDS)


def test_every_instruction_has_a_meaning_of_its_own_name() -> None:
    from isa.spec import SPEC

    files = {p.stem for p in (ROOT / "neuronsim/insns").glob("*.py")}
    without_values = {"nop", "dma_trigger"}  # they move semaphores and data by DMA, and compute nothing
    assert set(SPEC.by_name) - without_values <= files


def test_machine_imports_alone() -> None:
    """Timing and values load neither the compiler, nor the profiler, nor onnx."""
    code = (
        "import sys, neuronsim.timing, neuronsim.values, neuronsim.execution\n"
        "bad = {'compiler', 'profiler', 'onnx', 'onnxruntime'} & {m.split('.')[0] for m in sys.modules}\n"
        "sys.exit(', '.join(sorted(bad)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_face_is_lazy() -> None:
    code = (
        "import sys, neuronsim; sys.exit(len([m for m in sys.modules if m.startswith(('numpy', 'isa', 'compiler'))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
