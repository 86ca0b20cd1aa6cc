"""TorchScript files, traced and scripted, against torch."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.frontends import load_files
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from tests.frontends.corpus import _evaluated

torch = pytest.importorskip("torch", reason="make test-slow installs the `models` extra")

from tests.frontends.pytorch.cases import CASES  # noqa: E402

pytestmark = pytest.mark.slow
#: Cases that torch.jit.trace itself does not take.
NOT_TRACED = {"max_unpool", "lstm_state", "results"}


def load(path: Path, given: Given):
    return load_files(ModelFiles("pytorch", "torchscript", path), given)


def compare(graph, feeds, wanted) -> None:
    found = list(_evaluated(graph, feeds).values())
    assert len(found) == len(wanted)
    for array, want in zip(found, wanted):
        assert (array.shape, array.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(array, want, 1e-4, 1e-5)


def leaves(value):
    return [v.detach().numpy() for v in torch.utils._pytree.tree_leaves(value) if isinstance(v, torch.Tensor)]


@pytest.mark.parametrize("case", sorted(set(CASES) - NOT_TRACED))
def test_traced(case: str, tmp_path: Path) -> None:
    build, *inputs = CASES[case]
    module = build if isinstance(build, torch.nn.Module) else torch.nn.Module()
    if module is not build:
        module.forward = build
    module.eval()
    tensors = [torch.as_tensor(x) for x in inputs]
    with torch.no_grad():
        wanted = leaves(module(*[t.clone() for t in tensors]))
        traced = torch.jit.trace(module if module is build else build, tuple(t.clone() for t in tensors),
                                 strict=False, check_trace=False)
        traced.save(str(tmp_path / "m.pt"))
    names = [f"in_{k}" for k in range(len(tensors))]
    graph = load(tmp_path / "m.pt", Given({n: tuple(t.shape) for n, t in zip(names, tensors)},
                                          {n: str(t.dtype)[6:] for n, t in zip(names, tensors)}))
    compare(graph, {n: t.numpy() for n, t in zip(names, tensors)}, wanted)


class Decides(torch.nn.Module):
    """A branch that the sizes decide, one that values decide, and a dict of results."""

    def forward(self, x, pair: tuple[torch.Tensor, torch.Tensor], scale: float = 2.0):
        if x.shape[0] > 1:
            x = x + pair[0]
        if bool(x.sum() > 0):
            x = x * scale
        return x, {"low": x.min(), "second": pair[1] - 1}["second"]


def test_values_decide_at_run_time(tmp_path: Path) -> None:
    torch.jit.script(Decides()).save(str(tmp_path / "m.pt"))
    shapes = {"x": (2, 3), "pair_0": (3,), "pair_1": (2,)}
    graph = load(tmp_path / "m.pt", Given(shapes))
    for sign in (1, -1):
        feeds = {n: sign * np.ones(s, np.float32) for n, s in shapes.items()}
        tensors = [torch.from_numpy(v) for v in feeds.values()]
        compare(graph, feeds, leaves(Decides()(tensors[0], (tensors[1], tensors[2]))))


def test_recorded_shapes_and_indices(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2)).eval()
    torch.jit.script(model).save(str(tmp_path / "m.pt"))
    with pytest.raises(CompileError) as error:
        load(tmp_path / "m.pt", Given())
    assert error.value.code.startswith("INPUT")
    graph = load(tmp_path / "m.pt", Given({"ids": (2, 5)}))
    assert graph.dtype("ids") == "int64"  # used as indices


def test_half_precision(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(4, 2).half().eval()).save(str(tmp_path / "m.pt"))
    assert load(tmp_path / "m.pt", Given({"input": (1, 4)})).dtype("input") == "float16"


class Dropped(torch.nn.Module):
    """Channels last, where pooling to one sets strides, and a call in place whose schema has other names."""

    def __init__(self):
        super().__init__()
        self.layer, self.pool = torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        y = self.layer(x).to(memory_format=torch.channels_last)
        return torch.nn.functional.dropout(self.pool(y).relu_(), 0.2, False, inplace=True)


@pytest.mark.parametrize("half", [False, True])
def test_frozen(half: bool, tmp_path: Path) -> None:
    module = Dropped().eval()
    x = torch.rand(2, 3, 8, 8)
    frozen = torch.jit.freeze(torch.jit.script(module.half() if half else module))
    frozen.save(str(tmp_path / "m.pt"))
    graph = load(tmp_path / "m.pt", Given({"x": (2, 3, 8, 8)}))
    assert graph.dtype("x") == ("float16" if half else "float32")
    if not half:
        compare(graph, {"x": x.numpy()}, leaves(module(x)))


def test_in_place_dropout_exported(tmp_path: Path) -> None:
    module, x = Dropped().eval(), torch.rand(2, 3, 8, 8)
    torch.export.save(torch.export.export(module, (x,), strict=False), tmp_path / "m.pt2")
    graph = load_files(ModelFiles("pytorch", "pt2", tmp_path / "m.pt2"), Given())
    compare(graph, {"x": x.numpy()}, leaves(module(x)))


class Other(torch.nn.Module):
    """`Decides` without its branches."""

    def forward(self, x, first, second):
        return x + first, second - 1


def test_wrong_exports_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.jit.script(Decides()).save(str(tmp_path / "m.pt"))
    from compiler.frontends.pytorch import tracing

    write = tracing._write

    def wrong(torch, module, tensors, names, target, where):
        """Another model of the same face, as if the exporter had lost a call."""
        write(torch, torch.jit.script(Other()), tensors, names, target, where)

    monkeypatch.setattr(tracing, "_write", wrong)
    with pytest.raises(CompileError) as error:
        load(tmp_path / "m.pt", Given({"x": (2, 3), "pair_0": (3,), "pair_1": (2,)}))
    assert error.value.code == "EXPORT_WRONG"
