"""What is said of files that are no whole models, cannot be imported, or claim what they do not hold."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from compiler.errors import ModelError, ShapeError, UnsupportedOp
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from compiler.frontends.keras import build
from compiler.frontends.keras.model import load, operators
from compiler.ir import Graph
from isa.errors import ErrorList, NeuronError
from tests.compiler.evaluate import run_graph

HERE = Path(__file__).parent
INPUT = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "dtype": "float32", "name": "x"}}


def dense(name: str = "d", **more: Any) -> dict[str, Any]:
    config = {"name": name, "units": 2, "use_bias": True, "activation": "linear", **more}
    return {"class_name": "Dense", "config": config}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "net", "layers": list(layers)}}


def weights(file: h5py.File, layer: str = "d") -> None:
    group = file.create_group(f"model_weights/{layer}")
    group.attrs["weight_names"] = [f"{layer}/kernel:0".encode(), f"{layer}/bias:0".encode()]
    group[f"{layer}/kernel:0"] = np.arange(6, dtype=np.float32).reshape(3, 2)
    group[f"{layer}/bias:0"] = np.array([1, -1], np.float32)


def h5(path: Path, config: Any, fill: Callable[[h5py.File], Any] = weights) -> ModelFiles:
    """An h5 model of a configuration, `fill` adding the weights."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.2.4"
        if config is not None:
            file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        fill(file)
    return ModelFiles("keras", "h5", path)


def read(files: ModelFiles) -> Graph:
    return load(files, Given(batch=1))


def test_the_model_that_the_others_are_damaged_forms_of(tmp_path: Path) -> None:
    graph = read(h5(tmp_path / "a.h5", sequential(INPUT, dense())))
    assert (graph.inputs, graph.outputs) == (["x"], ["d"])
    assert run_graph(graph, {"x": np.ones((1, 3), np.float32)})[0].tolist() == [[7, 8]]


def test_a_first_layer_that_states_the_input(tmp_path: Path) -> None:
    graph = read(h5(tmp_path / "a.h5", sequential(dense(batch_input_shape=[None, 3]))))
    assert graph.inputs == ["d_input"]


def test_a_model_first_in_a_model_names_the_input_after_itself(tmp_path: Path) -> None:
    inner = sequential(dense(batch_input_shape=[None, 3]))
    inner["config"]["name"] = "stem"
    graph = read(h5(tmp_path / "a.h5", sequential(inner), lambda file: weights(file, "stem")))
    assert graph.inputs == ["stem_input"]


def test_weights_without_their_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as found:
        read(h5(tmp_path / "a.h5", None))
    assert found.value.code == "WEIGHTS_ONLY"
    assert "model.save(" in found.value.help


def test_python_code_and_classes_of_ones_own_are_named_together(tmp_path: Path) -> None:
    own = {"class_name": "Gate", "config": {"name": "g"}, "module": "mine.layers", "registered_name": "mine>Gate"}
    code = {"class_name": "Lambda", "config": {"name": "twice", "function": ["4wEAAAA=", None, None]}}
    with pytest.raises(ErrorList) as found:
        read(h5(tmp_path / "a.h5", sequential(INPUT, code, own, {**own, "config": {"name": "h"}}, dense())))
    assert [(e.op, e.nodes) for e in found.value.errors] == [("Lambda", ("twice",)), ("Gate", ("g", "h"))]
    assert "'mine>Gate' of mine.layers" in str(found.value)
    assert "use layers or keras.ops instead" in str(found.value)


def test_a_model_class_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as found:
        read(h5(tmp_path / "a.h5", {"class_name": "MyNet", "config": {"name": "n"}}))
    assert found.value.code == "MODEL_SUBCLASSED"


def test_an_activation_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOp, match="'mine'"):
        read(h5(tmp_path / "a.h5", sequential(INPUT, dense(activation="mine"))))


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[1]",
        "null",
        '{"class_name": 3}',
        '{"class_name": "Sequential"}',
        '{"class_name": "Sequential", "config": {"layers": []}}',
        "[" * 9000,
        '{"class_name": "Model", "config": {"layers": [3], "name": "m"}}',
    ],
)
def test_configurations_that_are_none(config: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        read(h5(tmp_path / "a.h5", config))


def test_a_configuration_deeper_than_any_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as found:
        read(h5(tmp_path / "a.h5", '{"a":' * 200 + "1" + "}" * 200))
    assert found.value.code == "MODEL_LIMIT"


@pytest.mark.parametrize(("key", "value"), [("units", "two"), ("use_bias", "x"), ("activation", 7), ("units", 1e400)])
def test_settings_of_a_wrong_kind(key: str, value: Any, tmp_path: Path) -> None:
    conv = {"class_name": "Dense", "config": {**dense()["config"], key: value}}
    lstm = {"class_name": "GRU", "config": {**dense()["config"], "units": 2, key: value}}
    for layer in (conv, lstm):
        with pytest.raises(NeuronError):
            read(h5(tmp_path / "a.h5", sequential(INPUT, {"class_name": "RepeatVector", "config": {"n": 2}}, layer)))


def test_models_that_multiply_when_they_are_unfolded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MOST_CALLS", 500)
    inner = sequential(INPUT, {"class_name": "Activation", "config": {"name": "a", "activation": "relu"}})
    for depth in range(18):
        twice = [
            {
                "class_name": "Sequential",
                "name": "m",
                "config": {**inner["config"], "name": "m"},
                "inbound_nodes": [[["x", 0, 0, {}]], [["m", 1, 0, {}]]],
            }
        ]
        inner = {
            "class_name": "Model",
            "config": {
                "name": f"n{depth}",
                "layers": [{**INPUT, "inbound_nodes": []}, *twice],
                "input_layers": [["x", 0, 0]],
                "output_layers": [["m", 2, 0]],
            },
        }
        inner["config"]["layers"][1]["class_name"] = "Model" if depth else "Sequential"
    with pytest.raises(ModelError) as found:
        read(h5(tmp_path / "a.h5", inner, lambda f: None))
    assert found.value.code == "MODEL_LIMIT"


def test_layers_that_wait_for_each_other(tmp_path: Path) -> None:
    def calls(layer: dict[str, Any], *names: str) -> dict[str, Any]:
        nodes = [[[n, 0, 0, {}] for n in names]] if names else []
        return {**layer, "name": layer["config"]["name"], "inbound_nodes": nodes}

    add = {"class_name": "Add", "config": {"name": "s"}}
    ring = [calls(INPUT), calls(add, "x", "t"), calls({**add, "config": {"name": "t"}}, "s", "x")]
    config = {
        "class_name": "Model",
        "config": {"name": "m", "layers": ring, "input_layers": [["x", 0, 0]], "output_layers": [["t", 0, 0]]},
    }
    with pytest.raises(ModelError, match="wait for each other"):
        read(h5(tmp_path / "a.h5", config, lambda f: None))


# ---- what lies in the file -------------------------------------------------------------------------------------------


def kernel(make: Callable[[h5py.Group, str], Any]) -> Callable[[h5py.File], None]:
    """Weights whose kernel is made otherwise."""

    def fill(file: h5py.File) -> None:
        weights(file)
        group = file["model_weights/d"]
        del group["d/kernel:0"]
        make(group, "d/kernel:0")

    return fill


def refused(tmp_path: Path, make: Callable[[h5py.Group, str], Any]) -> str:
    with pytest.raises(NeuronError) as found:
        read(h5(tmp_path / "a.h5", sequential(INPUT, dense()), kernel(make)))
    return found.value.code


def test_a_weight_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(24))
    outside = [(str(tmp_path / "secret"), 0, 24)]
    assert refused(tmp_path, lambda g, n: g.create_dataset(n, (3, 2), "f4", external=outside)) == "MODEL_UNSAFE"


def test_links_to_elsewhere(tmp_path: Path) -> None:
    def link(to: Any) -> Callable[[h5py.Group, str], None]:
        return lambda g, n: g.__setitem__(n, to)

    assert refused(tmp_path, link(h5py.ExternalLink("b.h5", "/k"))) == "MODEL_UNSAFE"
    assert refused(tmp_path, link(h5py.SoftLink("/model_weights/d/d/bias:0"))) == "MODEL_UNSAFE"


def test_a_virtual_weight(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "k", (3, 2))
    assert refused(tmp_path, lambda g, n: g.create_virtual_dataset(n, layout)) == "MODEL_UNSAFE"


def test_sizes_that_the_file_does_not_hold(tmp_path: Path) -> None:
    large = (1 << 20, 1 << 16)
    assert refused(tmp_path, lambda g, n: g.create_dataset(n, large, "f4", chunks=(64, 64))) == "MODEL_LIMIT"
    assert refused(tmp_path, lambda g, n: g.create_dataset(n, large, "f4")) == "MODEL_LIMIT"
    zeros = np.zeros((1 << 12, 1 << 10), np.float32)
    assert refused(tmp_path, lambda g, n: g.create_dataset(n, data=zeros, compression="gzip")) == "MODEL_LIMIT"


def test_weights_of_a_wrong_kind(tmp_path: Path) -> None:
    assert refused(tmp_path, lambda g, n: g.create_dataset(n, data=np.array([b"ab"]))) == "MODEL_INVALID"
    assert refused(tmp_path, lambda g, n: g.create_group(n)) == "WEIGHT_MISSING"
    assert refused(tmp_path, lambda g, n: None) == "WEIGHT_MISSING"
    assert refused(tmp_path, lambda g, n: g.create_dataset(n, data=np.ones((4, 2), np.float32))) == "WEIGHT_SHAPE"


def test_compressed_weights_are_read(tmp_path: Path) -> None:
    data = np.arange(6, dtype=np.float32).reshape(3, 2)
    read(
        h5(
            tmp_path / "a.h5",
            sequential(INPUT, dense()),
            kernel(lambda g, n: g.create_dataset(n, data=data, compression="gzip", shuffle=True)),
        )
    )


def test_more_weights_than_the_layer_has(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as found:
        read(h5(tmp_path / "a.h5", sequential(INPUT, dense(use_bias=False))))
    assert (found.value.limit, found.value.actual) == (1, 2)


@pytest.mark.parametrize(
    ("model", "offset", "new"),
    [
        ("mobilenet_h5/model.h5", 75323, b"@"),  # a type with more bits than there are
        ("mobilenet_h5/model.h5", 40, b"\xff" * 8),  # an end of the file beyond all addresses
        ("keras225_h5/model.h5", 8, b"\x09"),  # an unknown version of the superblock
    ],
)
def test_damaged_bytes(model: str, offset: int, new: bytes, tmp_path: Path) -> None:
    data = (HERE.parents[1] / "data/keras" / model).read_bytes()
    path = tmp_path / "a.h5"
    path.write_bytes(data[:offset] + new + data[offset + len(new) :])
    with pytest.raises(ModelError) as found:
        read(ModelFiles("keras", "h5", path))
    assert found.value.code == "MODEL_INVALID"


# ---- archives --------------------------------------------------------------------------------------------------------


def archive(path: Path, members: dict[str, bytes]) -> ModelFiles:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return ModelFiles("keras", "keras", path)


def parts() -> dict[str, bytes]:
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        file["layers/dense/vars/0"] = np.arange(6, dtype=np.float32).reshape(3, 2)
        file["layers/dense/vars/1"] = np.array([1, -1], np.float32)
    config = json.dumps(sequential(INPUT, dense())).encode()
    return {
        "config.json": config,
        "metadata.json": b'{"keras_version": "3.1.0"}',
        "model.weights.h5": stored.getvalue(),
    }


def test_an_archive(tmp_path: Path) -> None:
    graph = read(archive(tmp_path / "a.keras", parts()))
    assert run_graph(graph, {"x": np.ones((1, 3), np.float32)})[0].tolist() == [[7, 8]]


@pytest.mark.parametrize("gone", ["config.json", "metadata.json", "model.weights.h5"])
def test_an_archive_that_lacks_a_part(gone: str, tmp_path: Path) -> None:
    left = {k: v for k, v in parts().items() if k != gone}
    with pytest.raises(ModelError, match=gone):
        read(archive(tmp_path / "a.keras", left))


def test_an_archive_that_expands_without_bound(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as found:
        read(archive(tmp_path / "a.keras", {**parts(), "config.json": b" " * (1 << 24)}))
    assert found.value.code == "MODEL_LIMIT"


# ---- the face --------------------------------------------------------------------------------------------------------


def test_a_size_that_nobody_states(tmp_path: Path) -> None:
    free = {"class_name": "InputLayer", "config": {**INPUT["config"], "batch_input_shape": [None, None, 3]}}
    files = h5(tmp_path / "a.h5", sequential(free, dense()))
    with pytest.raises(ShapeError) as found:
        read(files)
    assert found.value.code == "INPUT_SYMBOLIC"
    assert load(files, Given({"x": (2, 5, 3)})).values["d"].shape == (2, 5, 2)


@pytest.mark.parametrize("which", ["keras2", "keras3", "tf1", "tf_keras"])
def test_every_layer_of_keras_is_supported_or_has_a_reason(which: str) -> None:
    known = operators()
    names = (HERE / f"layers_{which}.txt").read_text().split()
    assert len(names) > 90
    assert [n for n in names if n not in known] == []
    assert sum(1 for n in names if known[n]) <= 20
