"""The front door that MXNet's users know: compile, run, export, load, save as a checkpoint does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import neuronsim.mxnet
from compiler.errors import ModelError
from compiler.frontends.mxnet.params import read_params

DATA = Path(__file__).parent.parent / "data/mxnet/mobilenet_module"
IMAGE = (1, 3, 32, 32)


@pytest.fixture(scope="module")
def io() -> dict[str, np.ndarray]:
    with np.load(DATA / "io.npz") as file:
        return dict(file)


class Handle:
    """An NDArray as far as the front door looks at it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def asnumpy(self) -> np.ndarray:
        return self.array


def test_files_compile_run_and_export(tmp_path: Path, io: dict[str, np.ndarray]) -> None:
    compiled, args, aux = neuronsim.mxnet.compile(DATA / "model", inputs={"data": IMAGE}, target="trn1.2xlarge")
    assert args == aux == {}
    assert (compiled.list_arguments(), compiled.list_outputs()) == (["data"], ["softmax_output"])
    compiled.export(tmp_path / "net")
    symbol = json.loads((tmp_path / "net-symbol.json").read_text())
    assert symbol["nodes"][-1]["op"] == "_neuron_subgraph_op"
    [found] = neuronsim.mxnet.load(tmp_path / "net")(data=Handle(io["in_0"]))
    np.testing.assert_allclose(found, io["out_0"], rtol=1e-3, atol=1e-4)


def test_weights_may_be_arrays_in_memory(tmp_path: Path, io: dict[str, np.ndarray]) -> None:
    params = read_params(DATA / "model-0003.params")
    args = {k: Handle(v) for k, v in params.items() if "moving" not in k}
    aux = {k: v for k, v in params.items() if "moving" in k}
    compiled, _, _ = neuronsim.mxnet.compile(
        DATA / "model-symbol.json", args, aux, {"data": io["in_0"]}, excl_node_names=["softmax"],
        flags=["--auto-cast none", "--target trn1.2xlarge"])
    [found] = compiled(data=io["in_0"])
    np.testing.assert_allclose(found, io["out_0"], rtol=1e-3, atol=1e-4)
    assert compiled.neff.report["operators"]["on_cpu"] == 1
    compiled.save(f"{tmp_path}/check-symbol.json", remove_amp_cast=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["check-symbol.json", "check.neff"]


def test_params_files_are_written_as_they_are_read(tmp_path: Path) -> None:
    arrays = {"arg:a": np.arange(6, dtype="float16").reshape(2, 3), "aux:b": np.array([True, False])}
    neuronsim.mxnet.save_params(tmp_path / "p", arrays)
    found = read_params(tmp_path / "p")
    assert found["a"].dtype == np.float16 and (found["a"] == arrays["arg:a"]).all() and not found["b"][1]


@pytest.mark.parametrize(("given", "code"), [
    ({"flags": "--no-such-option"}, "FLAGS"),
    ({"args": {"c0a_conv_weight": np.array(["text"])}}, "PARAMS_DTYPE"),
])
def test_arguments_that_cannot_be_meant(given: dict[str, object], code: str) -> None:
    with pytest.raises(neuronsim.mxnet.UsageError) as error:
        neuronsim.mxnet.compile(DATA / "model-symbol.json", inputs={"data": IMAGE}, **given)  # type: ignore[arg-type]
    assert error.value.code == code


def test_missing_weights_are_named_all_at_once() -> None:
    with pytest.raises(ModelError) as error:
        neuronsim.mxnet.compile(DATA / "model-symbol.json", {"c0a_conv_weight": np.zeros((8, 3, 3, 3), "float32")}, {},
                                {"data": IMAGE})
    assert error.value.code == "PARAMS_MISSING"
    assert "c0a_bn_gamma, c0a_bn_beta, c0a_bn_moving_mean" in str(error.value.actual)


def test_a_prefix_without_a_program() -> None:
    with pytest.raises(neuronsim.mxnet.UsageError, match="no compiled network"):
        neuronsim.mxnet.load(DATA / "model")
