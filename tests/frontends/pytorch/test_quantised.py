"""Quantised TorchScript against torch: both round to the same steps, but for numbers between two of them."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.errors import UnsupportedOp
from compiler.frontends import load_files
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from tests.frontends.corpus import _evaluated

torch = pytest.importorskip("torch", reason="make test-slow installs the `models` extra")

import torch.ao.quantization as tq  # noqa: E402
from torch import nn  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Block(nn.Module):
    """The calls that static quantisation makes of convolutional networks."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant = tq.QuantStub(), tq.DeQuantStub()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.functions = nn.ModuleList(torch.ao.nn.quantized.FloatFunctional() for _ in range(3))
        self.swish, self.pool, self.last = nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Linear(16, 5)

    def forward(self, x):
        x = self.first(self.quant(x))
        y = self.functions[0].add(x, self.second(x))
        z = self.swish(self.functions[1].cat([nn.functional.max_pool2d(y, 2), nn.functional.max_pool2d(x, 2)], 1))
        z = self.functions[2].mul(z, torch.sigmoid(self.pool(z)))
        return self.dequant(self.last(torch.flatten(self.pool(nn.functional.interpolate(z, scale_factor=2.0)), 1)))


def static() -> nn.Module:
    module = Block().eval()
    tq.fuse_modules(module, [["first.0", "first.1", "first.2"]], inplace=True)
    module.qconfig = tq.get_default_qconfig("fbgemm")
    tq.prepare(module, inplace=True)
    for _ in range(3):
        module(torch.randn(2, 3, 16, 16))
    return tq.convert(module, inplace=True)


def imported(module, path: Path, shape: tuple[int, ...]):
    module.save(str(path))
    return load_files(ModelFiles("pytorch", "torchscript", path), Given({"x": shape}))


@pytest.mark.parametrize("how", ["traced", "scripted", "frozen"])
def test_static(how: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        module, x = static(), torch.randn(2, 3, 16, 16)
        script = torch.jit.script(module) if how == "scripted" else torch.jit.trace(module, x)
        script = torch.jit.freeze(script) if how == "frozen" else script
        wanted = module(x).numpy()
    graph = imported(script, tmp_path / "m.pt", (2, 3, 16, 16))
    assert "QLinearConv" not in {n.op for n in graph.nodes} and "QuantizeLinear" in {n.op for n in graph.nodes}
    (found,) = _evaluated(graph, {"x": x.numpy()}).values()
    step = module.last.scale
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1.01 * step)
    assert np.isclose(found, wanted, atol=1e-5).mean() > 0.6


@pytest.mark.parametrize("dtype", ["qint8", "float16"])
def test_dynamic_linear(dtype: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 4)).eval()
    module = tq.quantize_dynamic(module, {nn.Linear}, dtype=getattr(torch, dtype))
    x = 3 * torch.randn(5, 12)
    with torch.no_grad():
        graph = imported(torch.jit.trace(module, x), tmp_path / "m.pt", (5, 12))
        for sign in (1, -1):
            (found,) = _evaluated(graph, {"x": sign * x.numpy()}).values()
            np.testing.assert_allclose(found, module(sign * x).numpy(), 1e-4, 1e-5)


def test_dynamic_recurrent_layers_are_refused(tmp_path: Path) -> None:
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LSTM(4, 3)

        def forward(self, x):
            return self.layer(x)[0]

    module = tq.quantize_dynamic(Last().eval(), {nn.LSTM})
    with pytest.raises(UnsupportedOp) as error:
        imported(torch.jit.script(module), tmp_path / "m.pt", (5, 2, 4))
    assert "quantized_lstm" in error.value.op
