"""The ONNX backend's own behaviour; the operators are onnx's test suite's matter (tests/onnx_backend)."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import neuronsim
from isa.errors import ErrorList
from neuronsim import onnx_backend
from neuronsim.api import RunError
from neuronsim.errors import InputError
from tests.neuronsim.host_models import model, tensor


def relu(shape: list[int | str]) -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"], "r")], [tensor("x", shape=shape)], [tensor("y", shape=shape)])


def test_it_is_part_of_the_face() -> None:
    assert neuronsim.onnx_backend is onnx_backend


def test_devices() -> None:
    assert onnx_backend.supports_device("CPU") and onnx_backend.supports_device("NEURON:1")
    assert not onnx_backend.supports_device("CUDA")
    with pytest.raises(RunError):
        onnx_backend.prepare(relu([2, 3]), "CUDA")


def test_a_model_runs_on_the_device_and_says_so() -> None:
    rep = onnx_backend.prepare(relu([2, 3]))
    x = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)
    np.testing.assert_array_equal(rep.run([x])[0], np.maximum(x, 0))
    np.testing.assert_array_equal(rep.run({"x": x})[0], np.maximum(x, 0))
    assert rep.neff.report["operators"]["on_device"] == 1
    assert len(rep.program.stages) == 1


def test_open_sizes_are_compiled_once_for_each_shape() -> None:
    rep = onnx_backend.prepare(relu(["n", 3]))
    assert rep.neff is None
    seen = []
    for rows in (2, 5, 2):
        assert rep.run([np.ones((rows, 3), np.float32)])[0].shape == (rows, 3)
        seen.append(rep.neff)
    assert seen[0] is seen[2] is not seen[1]


def test_parameters_among_the_inputs_are_compiled_in() -> None:
    """One program for each value of the shape; the device does the work."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Slice", ["r", "from", "to"], ["y"])]
    inputs = [tensor("x", shape=[6, 4]), *(tensor(n, TensorProto.INT64, [1]) for n in ("from", "to"))]
    rep = onnx_backend.prepare(model(nodes, inputs, [tensor("y", shape=["n", 4])]))
    x = np.arange(-8, 16, dtype=np.float32).reshape(6, 4)
    seen = []
    for first, last in ((1, 3), (0, 5), (1, 3)):
        (y,) = rep.run([x, np.array([first]), np.array([last])])
        np.testing.assert_array_equal(y, np.maximum(x, 0)[first:last])
        assert rep.neff.report["operators"]["on_cpu"] == 0
        seen.append(rep.neff)
    assert seen[0] is seen[2] is not seen[1]


def test_a_parameter_that_is_data_too_stays_an_input() -> None:
    expand = helper.make_node("Expand", ["x", "s"], ["e"])
    nodes = [expand, helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT)]
    proto = model(nodes, [tensor("x", shape=[1]), tensor("s", TensorProto.INT64, [2])], [tensor("e"), tensor("y")])
    rep = onnx_backend.prepare(proto)
    e, y = rep.run([np.ones(1, np.float32), np.array([2, 3])])
    assert [i.name for i in rep.neff.inputs] == ["x", "s"]
    assert (e.shape, y.tolist()) == ((2, 3), [2.0, 3.0])


def test_wrong_inputs_are_refused() -> None:
    rep = onnx_backend.prepare(relu([2, 3]))
    with pytest.raises(InputError, match="more inputs"):
        rep.run([np.ones((2, 3), np.float32)] * 2)
    with pytest.raises(ErrorList, match="INPUT_SHAPE"):
        rep.run([np.ones((2, 4), np.float32)])
    with pytest.raises(InputError, match="more inputs") as caught:
        rep.run([])
    assert (caught.value.code, caught.value.where) == ("INPUT_MISSING", "x")


def test_run_node_infers_its_outputs() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (y,) = onnx_backend.run_node(helper.make_node("Neg", ["x"], ["y"]), [x])
    np.testing.assert_array_equal(y, -x)
    (z,) = onnx_backend.run_node(helper.make_node("Neg", ["x"], ["y"]), [x], outputs_info=[(np.float32, (2, 3))])
    np.testing.assert_array_equal(z, -x)


def test_options_reach_the_compiler() -> None:
    rep = onnx_backend.prepare(relu([2, 3]), cpu_ops=("Relu",), rtol=1e-3)
    assert rep.neff.report["operators"]["on_cpu"] == 1
    np.testing.assert_array_equal(rep.run([np.full((2, 3), -1, np.float32)])[0], np.zeros((2, 3)))


def test_sequences_and_absent_optionals() -> None:
    listed = helper.make_value_info("s", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None)))
    node = helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)
    rep = onnx_backend.prepare(model([node], [listed], [tensor("y")]))
    assert rep.run([[np.ones((1, 2), np.float32), np.zeros((2, 2), np.float32)]])[0].shape == (3, 2)
    optional = helper.make_value_info("o", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, None)))
    has = helper.make_node("OptionalHasElement", ["o"], ["b"])
    rep = onnx_backend.prepare(model([has], [optional], [tensor("b", TensorProto.BOOL, [])]))
    assert [bool(rep.run(given)[0]) for given in ([None], [], [np.ones(1, np.float32)])] == [False, False, True]
