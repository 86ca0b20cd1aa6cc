"""neuronsim.torch: traced modules against the modules themselves."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isa.errors import NeuronError

torch = pytest.importorskip("torch", reason="make test-slow installs the `models` extra")

import neuronsim  # noqa: E402
import neuronsim.torch as front  # noqa: E402

pytestmark = pytest.mark.slow
TARGET = "trn1.2xlarge"


class Model(torch.nn.Module):
    """Takes optional and plain arguments, writes in place, returns nested containers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x, scale=None, flag=True):
        y = self.norm(self.conv(x)).relu_().mean((2, 3))
        y[:, 0] = 0
        y = y if scale is None else y * scale
        return {"logits": self.head(y), "more": (y, None, 3 if flag else 4)}


@pytest.fixture(scope="module")
def model():
    return Model().eval()


def rows(count):
    found = torch.Generator().manual_seed(count)
    return torch.randn(count, 3, 8, 8, generator=found), torch.rand(count, 8, generator=found)


def same(found, wanted):
    torch.testing.assert_close(found["logits"], wanted["logits"].detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["more"][0], wanted["more"][0].detach(), rtol=1e-4, atol=1e-5)
    assert found["more"][1:] == wanted["more"][1:]


def test_call_structure_survives_saving(model, tmp_path: Path) -> None:
    x, scale = rows(2)
    traced = front.trace(model, (x, scale), target=TARGET)
    same(traced(x, scale), model(x, scale))
    traced.save(tmp_path / "model.neff")
    same(front.load(tmp_path / "model.neff")(x, scale), model(x, scale))
    assert neuronsim.load(tmp_path / "model.neff").run({"x": x.numpy(), "scale": scale.numpy()}).outputs


def test_keyword_arguments(model) -> None:
    x, scale = rows(2)
    traced = front.trace(model, {"x": x, "scale": scale, "flag": False}, target=TARGET)
    same(traced(x=x, scale=scale, flag=False), model(x, scale, False))
    with pytest.raises(NeuronError) as error:
        traced(x=x, scale=scale, flag=True)
    assert error.value.code == "INPUT_VALUE"


def test_other_structure_and_shape_are_refused(model) -> None:
    x, scale = rows(2)
    traced = front.trace(model, (x, scale), target=TARGET)
    with pytest.raises(NeuronError) as error:
        traced(x)
    assert error.value.code == "INPUT_STRUCTURE"
    with pytest.raises(NeuronError):
        traced(*rows(3))


def test_dynamic_batch_and_data_parallel(model) -> None:
    traced = front.trace(model, rows(2), target=TARGET, dynamic_batch_size=True)
    same(traced(*rows(5)), model(*rows(5)))
    parallel = front.DataParallel(traced)
    assert parallel.num_workers == 2 * len(parallel.device_ids) == 4
    same(parallel(*rows(7)), model(*rows(7)))
    parallel.disable_dynamic_batching()
    same(parallel(*rows(4)), model(*rows(4)))
    with pytest.raises(NeuronError) as error:
        parallel(*rows(7))
    assert error.value.code == "INPUT_BATCH"


def test_training_mode_is_left_as_it_was() -> None:
    model = Model().train()
    front.trace(model, rows(2), target=TARGET)
    assert model.training
    assert model.norm.training


def test_module_that_cannot_be_exported_is_traced() -> None:
    def function(x):
        return x * 2 if x.sum() > 0 else x - 1

    traced = front.trace(function, torch.ones(3), target=TARGET)
    assert traced(torch.ones(3)).tolist() == [2, 2, 2]
    assert any("does not take" in note for note in traced.neff.report["notes"])


def test_script_module() -> None:
    script = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()))
    traced = front.trace(script, torch.ones(2, 3), target=TARGET)
    torch.testing.assert_close(traced(torch.ones(2, 3)), script(torch.ones(2, 3)).detach())


def test_analysis_and_whitelist(model) -> None:
    found = front.analyze_model(model, rows(2), target=TARGET)
    assert found["percent_supported"] == 100
    assert found["operator_count"]["aten::conv2d"] == 1
    assert found["supported_count"] == found["total_count"] == sum(found["operator_count"].values())
    few = front.trace(model, rows(2), target=TARGET, op_whitelist=["aten::linear"], minimum_segment_size=1)
    assert few.neff.report["operators"]["on_cpu"] > 3
    same(few(*rows(2)), model(*rows(2)))


@pytest.mark.parametrize("options", [
    {"single_fusion_ratio_threshold": 0.5}, {"compiler_timeout": 3}, {"compiler_args": "--frob 1"},
    {"compiler_args": ["-O9x"]}, {"compiler_args": "--auto-cast"}, {"unknown": 1},
])  # fmt: skip
def test_unknown_options_are_named(model, options) -> None:
    with pytest.raises(NeuronError) as error:
        front.trace(model, rows(2), target=TARGET, **options)
    assert str(error.value).startswith("error[")


def test_compiler_flags(model) -> None:
    traced = front.trace(model, rows(2), compiler_args="--target=trn1 --auto-cast matmult --auto-cast-type bf16 -O1")
    assert traced.neff.program.target == TARGET
    wanted = model(*rows(2))["logits"].detach().numpy()
    np.testing.assert_allclose(traced(*rows(2))["logits"].numpy(), wanted, atol=2e-2)
