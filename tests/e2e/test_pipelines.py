"""Pipelines of small networks: what they compute, what their stages hand on, what the report and the errors say."""
from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neuronsim
from compiler.errors import AllocationError, ShardingError
from examples.make_bert import Encoder
from isa.errors import NeuronError
from isa.program import IN_DRAM, INPUT, OUTPUT, Program, Variable
from isa.target import load
from neuronsim.values import Core
from tests.e2e.networks import Builder, decoder, encoder_decoder, super_resolution
from tests.e2e.random_models import Feeds, models
from tests.e2e.test_networks import BF16, FP32, inputs_for
from tests.e2e.test_random_models import LIMIT, relaxed

Network = Callable[[], onnx.ModelProto]


def bert() -> onnx.ModelProto:
    """Two layers of an encoder."""
    return Encoder(layers=2, hidden=256, heads=4, inner=1024, sequence=64).model()


def residual() -> onnx.ModelProto:
    """Bottleneck blocks with a projection, as of a residual network."""
    b = Builder(11)
    x = b.conv(b.input("x", [1, 3, 32, 32]), 3, 64, (3, 3), 2, act="Relu")
    for cin, width, stride in ((64, 32, 1), (128, 64, 2), (256, 64, 1)):
        y = b.conv(b.conv(x, cin, width, (1, 1), act="Relu"), width, width, (3, 3), stride, act="Relu")
        y = b.conv(y, width, 4 * width, (1, 1))
        same = cin == 4 * width
        x = b.op("Relu", b.op("Add", y, x if same else b.conv(x, cin, 4 * width, (1, 1), stride)))
    return b.model(b.linear(b.op("Flatten", b.op("GlobalAveragePool", x)), 256, 10))


def masked() -> onnx.ModelProto:
    """Attention under a mask that is an input, with infinities, read by every layer; a result of each layer."""
    b = Builder(12)
    s, d = 16, 32
    x, mask = b.input("x", [1, s, d]), b.input("mask", [1, 1, s])
    hidden = b.op("Where", b.op("Greater", mask, b.const(0.0)), b.const(-np.inf), b.const(0.0))
    outputs = []
    for _ in range(3):
        q, k, v = (b.linear(x, d, d) for _ in range(3))
        score = b.op("Add", b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 1])), hidden)
        x = b.op("Add", x, b.op("MatMul", b.op("Softmax", score, axis=-1), v))
        outputs.append(x)
    return b.model(*outputs)


NETWORKS = (bert, residual, masked, encoder_decoder, super_resolution, decoder)


@cache
def reference(network: Network) -> tuple[bytes, Feeds, Feeds]:
    """The model's bytes, inputs for it, and ONNX Runtime's outputs."""
    data = network().SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    feeds = inputs_for(session)
    if "mask" in feeds:
        feeds["mask"][..., 0] = -1.0  # what is masked everywhere has no softmax
    names = [o.name for o in session.get_outputs()]
    return data, feeds, dict(zip(names, session.run(None, feeds), strict=True))


def compiled(network: Network, cores: int, target: str = "trn1.32xlarge", **options: Any) -> neuronsim.Neff:
    cast = {} if target.startswith("inf1") else {"auto_cast": "none"}
    return neuronsim.compile(reference(network)[0], target=target, neuroncore_pipeline_cores=cores, fallback=False,
                             **cast, **options)


def faces(program: Program, stage: int, kind: str) -> list[Variable]:
    return [v for v in program.stages[stage].variables if v.kind == kind]


def only_neighbours_talk(program: Program) -> None:
    """What a stage is handed is what the one before it hands on, and lies where that says; else the host's, in DRAM."""
    for before, node in pairwise([None, *(n for n in program.nodes if n.kind == "neuron_core")]):
        if node is None:
            continue
        given = faces(program, node.stage, INPUT)
        assert {v.name for v in given} <= set(node.inputs)
        if not node.upstream:
            assert all(v.space == IN_DRAM for v in given)
            continue
        assert before is not None and node.upstream == before.name and node.core == before.core + 1
        made = faces(program, before.stage, OUTPUT)
        assert sorted((v.name, v.shape, v.dtype, v.space) for v in given) == sorted(
            (v.name, v.shape, v.dtype, v.space) for v in made)
        assert node.inputs == before.outputs


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.__name__)
@pytest.mark.parametrize("cores", [2, 7])
def test_values(network: Network, cores: int) -> None:
    _, feeds, expected = reference(network)
    neff = compiled(network, cores)
    only_neighbours_talk(neff.program)
    assert len(neff.program.stages) == neff.program.cores == cores
    result = neff.run(feeds, check=True)
    assert not result.findings
    for name, want in expected.items():
        assert np.abs(result.outputs[name] - want).max() <= FP32 * np.abs(want).max(), name


@pytest.mark.parametrize("network", [bert, residual], ids=lambda n: n.__name__)
def test_values_v1(network: Network) -> None:
    _, feeds, expected = reference(network)
    result = compiled(network, 6, "inf1.6xlarge").run(feeds, check=True)
    assert not result.findings
    for name, want in expected.items():
        assert np.abs(result.outputs[name] - want).max() <= BF16 * np.abs(want).max(), name


def images(height: int, width: int, channels: int) -> onnx.ModelProto:
    """Two convolutions of about the same time on large images."""
    b = Builder(13)
    x = b.conv(b.input("x", [1, 4, height, width]), 4, channels, (3, 3), act="Relu")
    return b.model(b.op("MaxPool", b.conv(x, channels, channels, (3, 3)), kernel_shape=[4, 4], strides=[4, 4]))


@pytest.mark.parametrize(("target", "shape"), [
    ("inf1.6xlarge", (384, 192, 8)),  # a core has no room for all rows of an image at once
    ("trn1.32xlarge", (256, 256, 8)),
    ("inf1.6xlarge", (144, 144, 32)),  # rows of it are read from DRAM, in another type than they are multiplied in
])
def test_large_images(target: str, shape: tuple[int, int, int]) -> None:
    model = partial(images, *shape)
    _, feeds, expected = reference(model)
    result = compiled(model, 2, target).run(feeds, check=True)
    assert not result.findings
    limit = BF16 if target.startswith("inf1") else FP32
    for name, want in expected.items():
        assert np.abs(result.outputs[name] - want).max() <= limit * np.abs(want).max(), name


def channels_last() -> onnx.ModelProto:
    """Images whose channels are innermost: rows of them are slow to cut out."""
    b = Builder(17)
    x, before = b.op("Transpose", b.input("x", [2, 64, 64, 3]), perm=[0, 3, 1, 2]), 3
    for width, stride in ((16, 2), (32, 1), (32, 2)):
        x, before = b.conv(x, before, width, (3, 3), stride, act="Relu"), width
    return b.model(b.op("GlobalAveragePool", x))


def test_more_cores_are_not_slower() -> None:
    few, many = (max(s["estimated_ns"] for s in compiled(channels_last, cores).report["stages"]) for cores in (4, 8))
    assert many <= 1.02 * few


@pytest.mark.parametrize("network", [bert, encoder_decoder, masked], ids=lambda n: n.__name__)
def test_one_core_running_the_stages_computes_the_same_bits(network: Network) -> None:
    _, feeds, _ = reference(network)
    neff = compiled(network, 5)
    program, machine = neff.program, load("trn1.32xlarge")
    values: dict[str, np.ndarray] = dict(feeds)
    for number, stage in enumerate(program.stages):
        given = {v.name: values[v.name].astype(v.dtype.numpy).reshape(v.shape) for v in faces(program, number, INPUT)}
        values |= Core(stage, machine).run(None, given)
    result = neff.run(feeds)
    for name, got in result.outputs.items():
        np.testing.assert_array_equal(got, values[name].reshape(got.shape), err_msg=name)


@settings(relaxed, max_examples=15, suppress_health_check=list(HealthCheck))
@given(models(least=4, most=12), st.integers(1, 4))
def test_random_models(case: tuple[onnx.ModelProto, Feeds], cores: int) -> None:
    """Any graph, on any number of cores, with parts on the CPU between its pipelines."""
    model, feeds = case
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    expected = session.run(None, {k: v for k, v in feeds.items() if k in wanted})
    neff = neuronsim.compile(data, target="trn1.32xlarge", auto_cast="none", neuroncore_pipeline_cores=cores,
                             minimum_segment_size=1, transfer_cost=False)
    only_neighbours_talk(neff.program)
    result = neff.run({k: v for k, v in feeds.items() if k in {i.name for i in neff.inputs}}, check=True)
    assert not result.findings
    for output, want in zip(session.get_outputs(), expected, strict=True):
        got = result.outputs[output.name]
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want)
        else:
            error = float(np.abs(got.astype(np.float64) - want).max(initial=0.0))
            assert error <= LIMIT * max(1.0, float(np.abs(want).max(initial=0.0)))


def test_report() -> None:
    neff = compiled(bert, 4)
    stages = neff.report["stages"]
    assert [s["core"] for s in stages] == [0, 1, 2, 3]
    assert neff.program.options["neuroncore_pipeline_cores"] == 4
    for number, entry in enumerate(stages):
        stage = neff.program.stages[number]
        assert entry["pinned_bytes"] == entry["weights_bytes"] > 0
        assert entry["streamed_bytes"] == 0
        assert entry["handover_bytes"] == stage.handover_bytes
        assert bool(entry["handover_bytes"]) == bool(number)
        assert entry["sbuf_peak_bytes"] + entry["handover_bytes"] <= load("trn1.32xlarge").sbuf_partition_bytes
    times = [s["estimated_ns"] for s in stages]
    assert max(times) <= 1.25 * sum(times) / len(times)


def test_without_the_option_nothing_is_pinned() -> None:
    stage, = neuronsim.compile(reference(bert)[0], target="trn1.32xlarge").report["stages"]
    assert (stage["core"], stage["pinned_bytes"]) == (0, 0)
    assert stage["streamed_bytes"] == stage["weights_bytes"]


def test_compiling_again_gives_the_same_bytes(tmp_path: Any) -> None:
    for name in "ab":
        neuronsim.compile(reference(bert)[0], tmp_path / name, target="inf1.6xlarge", neuroncore_pipeline_cores=7)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_segments_lie_on_cores_of_their_own() -> None:
    """Device, CPU, device: the second pipeline's cores come after those of the first."""
    data, feeds, expected = reference(residual)
    model = onnx.load_from_string(data)
    middle = [n.name for n in model.graph.node if n.op_type == "Add"][1]
    neff = neuronsim.compile(data, target="trn1.32xlarge", auto_cast="none", neuroncore_pipeline_cores=3,
                             cpu_ops=(middle,), transfer_cost=False)
    nodes = neff.program.nodes
    assert [(n.core, n.upstream != "") for n in nodes if n.kind == "neuron_core"] == [
        (0, False), (1, True), (2, True), (3, False), (4, True), (5, True)]
    only_neighbours_talk(neff.program)
    result = neff.run(feeds)
    for name, want in expected.items():
        assert np.abs(result.outputs[name] - want).max() <= FP32 * np.abs(want).max()


def test_fewer_stages_than_asked() -> None:
    b = Builder(1)
    tiny = b.model(b.op("Relu", b.linear(b.input("x", [4, 16]), 16, 16))).SerializeToString()
    neff = neuronsim.compile(tiny, target="trn1.32xlarge", neuroncore_pipeline_cores=8)
    assert len(neff.program.stages) < 8
    note, = (n for n in neff.report["notes"] if "pipeline" in n)
    assert f"{len(neff.program.stages)} stages, not 8" in note


def test_more_cores_than_the_instance_has() -> None:
    with pytest.raises(NeuronError) as caught:
        neuronsim.compile(reference(bert)[0], target="inf1.xlarge", neuroncore_pipeline_cores=5)
    error = caught.value
    assert error.code == "SHARDING"
    assert (error.limit, error.actual) == ("4 cores of inf1.xlarge", "5 cores")
    assert "--target inf1.6xlarge or inf1.24xlarge" in error.help


@pytest.fixture
def small(tmp_path: Any) -> str:
    """An inf1.6xlarge with 24 KiB of SBUF per partition: two encoder layers do not fit one core."""
    path = tmp_path / "small.yaml"
    path.write_text("extends: inf1.6xlarge\nname: small\nparameters:\n  sbuf.partition_bytes: 24576\n")
    return str(path)


def test_weights_that_do_not_fit(small: str) -> None:
    with pytest.raises(NeuronError) as caught:
        neuronsim.compile(reference(bert)[0], target=small, neuroncore_pipeline_cores=1, require_pinned=True)
    error = caught.value
    assert error.code == "SHARDING"
    assert error.where.startswith("stage 0 (layers embeddings/norm .. ")
    limit, actual = (int(str(side).removesuffix(" bytes")) for side in (error.limit, error.actual))
    assert limit < 128 * 24576 and limit < actual
    cores = int(error.help.rpartition("--neuroncore-pipeline-cores ")[2])
    fits = neuronsim.compile(reference(bert)[0], target=small, neuroncore_pipeline_cores=cores, require_pinned=True)
    assert all(s["streamed_bytes"] == 0 for s in fits.report["stages"])
    with pytest.raises(NeuronError, match="do not all fit"):
        neuronsim.compile(reference(bert)[0], target=small, neuroncore_pipeline_cores=cores - 1, require_pinned=True)


def test_weights_that_no_number_of_cores_holds(tmp_path: Any) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text("extends: inf1.xlarge\nname: tiny\nparameters:\n  sbuf.partition_bytes: 6144\n")
    b = Builder(2)
    x = b.input("x", [32, 256])
    for _ in range(24):
        x = b.linear(x, 256, 256)
    wide = b.model(x).SerializeToString()
    with pytest.raises(NeuronError) as caught:
        neuronsim.compile(wide, target=str(path), neuroncore_pipeline_cores=2, require_pinned=True, fallback=False)
    assert caught.value.help.startswith("leave out --require-pinned")
    streams = neuronsim.compile(wide, target=str(path), neuroncore_pipeline_cores=2, fallback=False)
    for entry in streams.report["stages"]:
        assert entry["streamed_bytes"] > 0
        assert entry["pinned_bytes"] + entry["streamed_bytes"] >= entry["weights_bytes"]


def test_more_cores_than_there_are() -> None:
    b = Builder(4)
    x = b.input("x", [4, 32])
    for act in ("Relu", "Tanh", "Relu", "Tanh", "Relu", "Relu"):
        x = b.op(act, b.linear(x, 32, 32))
    data = b.model(x).SerializeToString()
    for host in ({}, {"cpu_ops": ("MatMul", "Add", "Tanh", "Relu")}):  # no device segment at all: an error all the same
        with pytest.raises(ShardingError, match="a pipeline of 5 cores does not fit the instance") as caught:
            neuronsim.compile(data, target="inf1.xlarge", neuroncore_pipeline_cores=5, **host)
        assert caught.value.help == "use --target inf1.6xlarge or inf1.24xlarge"
    apart = {"cpu_ops": ("Tanh",), "minimum_segment_size": 1, "transfer_cost": False}
    with pytest.raises(ShardingError, match="behind the 4 of the segments before") as caught:
        neuronsim.compile(data, target="inf1.xlarge", neuroncore_pipeline_cores=2, **apart)
    assert caught.value.help.endswith("or ask for 1: each of the 3 device segments has its own cores")
    assert neuronsim.compile(data, target="inf1.xlarge", neuroncore_pipeline_cores=1, **apart).program.cores == 3


def test_a_stage_that_cannot_be_built(tmp_path: Any) -> None:
    """So little SBUF that a layer does not fit beside what its stage is handed; the CPU could take its nodes."""
    path = tmp_path / "tiny.yaml"
    path.write_text("extends: inf1.6xlarge\nname: tiny\nparameters:\n  sbuf.partition_bytes: 1536\n")
    data = reference(residual)[0]
    with pytest.raises(AllocationError) as caught:
        neuronsim.compile(data, target=str(path), neuroncore_pipeline_cores=4, fallback=False)
    error = caught.value
    assert re.fullmatch(r"stage \d \(layers node\d+ \.\. node\d+\), layer relu\d+_0", error.where)
    makers = {n.name for n in onnx.load_from_string(data).graph.node if error.layer in n.output}
    assert makers < set(error.nodes)
