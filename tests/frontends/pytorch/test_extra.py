"""What users without PyTorch are told."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None\n"


def told(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH + code], capture_output=True, text=True, cwd=ROOT,
                          check=False)
    return done.stdout + done.stderr


def test_front_door() -> None:
    message = told("import neuronsim.torch")
    assert "EXTRA_MISSING" in message
    assert 'pip install "neuronsim[torch]"' in message


def test_torchscript_file() -> None:
    path = ROOT / "tests/data/pytorch/mobilenet_cls/model.pth"
    message = told(f"from compiler import frontends\nfrontends.load({str(path)!r})")
    assert "EXTRA_MISSING" in message
    assert 'pip install "neuronsim[torch]"' in message


def test_exported_program_needs_no_torch() -> None:
    path = ROOT / "tests/data/pytorch/bert2_export/model.pt2"
    assert told(f"from compiler import frontends\nprint(len(frontends.load({str(path)!r}).nodes) > 20)") == "True\n"
