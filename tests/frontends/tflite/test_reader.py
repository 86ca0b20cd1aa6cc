"""Damaged files: every one gives an error of ours, quickly, whatever a FlatBuffers reader would make of it."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import flatbuffers
import numpy as np
import pytest

from compiler.errors import ModelError
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from compiler.frontends.tflite import model, reader, tensors
from compiler.frontends.tflite.flexible import options
from isa.errors import NeuronError
from tests.frontends.corpus import Corpus

DATA = Path(__file__).resolve().parents[2] / "data" / "tflite"
GOOD = (DATA / "mobilenet_int8" / "model.tflite").read_bytes()


def parsed(content: bytes) -> reader.Model:
    return reader.parse(memoryview(content), "m.tflite")


def code(content: bytes) -> str:
    with pytest.raises(ModelError) as found:
        parsed(content)
    return found.value.code


def test_what_is_read() -> None:
    found = parsed(GOOD)
    first = found.subgraphs[0].operators[0]
    weights = found.subgraphs[0].tensors[first.inputs[1]]
    assert (first.type, first.options["stride_h"], first.custom) == ("CONV_2D", 2, False)
    assert weights.array is not None and weights.array.dtype == np.int8 and weights.array.shape == (8, 3, 3, 3)
    assert weights.quantisation is not None and weights.quantisation.scales.shape == (8,)


def test_constants_are_views_of_the_file() -> None:
    content = bytearray(GOOD)
    graph = parsed(content).subgraphs[0]
    weights = graph.tensors[graph.operators[0].inputs[1]].array
    assert weights is not None
    before = int(weights[0, 0, 0, 0])
    place = content.index(weights.tobytes()[:64])
    content[place] = (before + 1) & 255
    assert int(weights[0, 0, 0, 0]) != before


@pytest.mark.parametrize(("content", "wanted"), [
    (b"", "MODEL_FORMAT"),
    (b"TFL3", "MODEL_FORMAT"),
    (GOOD[:4] + b"TFL2" + GOOD[8:], "MODEL_FORMAT"),
    (struct.pack("<I", 8) + b"TFL3", "TFLITE_DAMAGED"),
    (struct.pack("<I", 0xFFFFFFF0) + b"TFL3" + bytes(100), "TFLITE_DAMAGED"),
    (GOOD[: len(GOOD) // 2], "TFLITE_DAMAGED"),
])
def test_not_a_model(content: bytes, wanted: str) -> None:
    assert code(content) == wanted


def test_vectors_that_many_tables_share_are_refused() -> None:
    """Less than 100 kB, whose 3000 subgraphs all have the same 3000 tensors, would take minutes to read."""
    count, b = 3000, flatbuffers.Builder(1024)
    b.StartObject(10)
    tensor = b.EndObject()
    shared = _vector(b, [tensor] * count)
    graphs = []
    for _ in range(count):
        b.StartObject(5)
        b.PrependUOffsetTRelativeSlot(0, shared, 0)
        graphs.append(b.EndObject())
    every = _vector(b, graphs)
    b.StartObject(8)
    b.PrependUint32Slot(0, 3, 0)
    b.PrependUOffsetTRelativeSlot(2, every, 0)
    b.Finish(b.EndObject(), b"TFL3")
    assert code(bytes(b.Output())) == "TFLITE_DAMAGED"


def _vector(b: flatbuffers.Builder, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(12):
        content = bytearray(GOOD)
        for place in rng.integers(8, len(GOOD), rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        _loaded(bytes(content))


def test_truncated() -> None:
    for length in range(0, len(GOOD), 1999):
        _loaded(GOOD[:length])


def _loaded(content: bytes) -> None:
    """Read and convert; only errors of ours may come out."""
    with contextlib.suppress(NeuronError):
        model.convert(parsed(content), "m.tflite", "m", Given())


# ---- contents of tensors -------------------------------------------------------------------------------------------


def test_packed_values() -> None:
    data = np.array([0x2F, 0x81], np.uint8)
    assert tensors.array(data, "int4", (3,), None, "t").tolist() == [-1, 2, 1]
    assert tensors.array(data, "uint4", (2, 2), None, "t").tolist() == [[15, 2], [1, 8]]
    assert tensors.array(data[1:], "int2", (4,), None, "t").tolist() == [1, 0, 0, -2]


def test_strings() -> None:
    data = np.frombuffer(struct.pack("<4i", 2, 16, 18, 21)[:12] + struct.pack("<i", 19) + b"abcde", np.uint8)
    with pytest.raises(ModelError, match="another number"):
        tensors.array(data, "string", (3,), None, "t")
    good = np.frombuffer(struct.pack("<4i", 2, 16, 18, 21) + b"abcde", np.uint8)
    assert tensors.array(good, "string", (2,), None, "t").tolist() == ["ab", "cde"]


@pytest.mark.parametrize(("levels", "why"), [
    ((tensors.Level(2), tensors.Level(0, np.array([0, 1, 3]), np.array([0, 2, 9]))), "outside"),
    ((tensors.Level(2), tensors.Level(0, np.array([0, 1]), np.array([0]))), "outside"),
    ((tensors.Level(1 << 30), tensors.Level(1 << 30)), "another size"),
    ((tensors.Level(2),), "traversed"),
])
def test_sparse_indices_that_do_not_fit(levels: tuple[tensors.Level, ...], why: str) -> None:
    layout = tensors.Sparsity((0, 1), (), levels)
    with pytest.raises(ModelError, match=why):
        tensors.array(np.zeros(12, np.uint8), "float32", (2, 4), layout, "t")


def test_sparse() -> None:
    rows = tensors.Level(0, np.array([0, 1, 3]), np.array([2, 0, 3]))
    layout = tensors.Sparsity((0, 1), (), (tensors.Level(2), rows))
    data = np.array([5, 6, 7], np.float32).view(np.uint8)
    assert tensors.array(data, "float32", (2, 4), layout, "t").tolist() == [[0, 0, 5, 0], [6, 0, 0, 7]]


def test_size_of_data() -> None:
    with pytest.raises(ModelError) as found:
        tensors.array(np.zeros(12, np.uint8), "float32", (1 << 20, 1 << 20), None, "t")
    assert found.value.code == "TENSOR_SIZE"


# ---- options of custom operators -----------------------------------------------------------------------------------


def test_options_of_custom_operators() -> None:
    corpus = Corpus(Path(__file__).with_name("corpus.npz"))
    content = corpus.arrays["detection/file/model.tflite"].tobytes()
    op = parsed(content).subgraphs[0].operators[0]
    found = options(op.custom_options)
    assert (op.custom, found["max_detections"], found["use_regular_nms"], found["y_scale"]) == (True, 6, False, 10.0)
    for length in range(len(op.custom_options)):
        _read_options(op.custom_options[:length])
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(op.custom_options)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        _read_options(bytes(damaged))


def _read_options(data: bytes) -> None:
    with contextlib.suppress(ModelError):
        options(data)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as found:
        model.load(ModelFiles("tflite", "tflite", tmp_path / "none.tflite"), Given())
    assert found.value.code == "MODEL_MISSING"
