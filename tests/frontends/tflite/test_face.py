"""What users meet: which operators there are, names, sizes that are left open, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler import frontends
from compiler.errors import ModelError, ShapeError, UnsupportedOp
from compiler.frontends.inputs import Given
from compiler.frontends.tflite import model, reader
from compiler.frontends.tflite.reader import Model, Operator, Quantisation, Signature, Subgraph, Tensor
from isa.errors import ErrorList
from tests.frontends.corpus import Corpus
from tests.frontends.corpus import _evaluated as evaluated

CORPUS = Corpus(Path(__file__).with_name("corpus.npz"))
#: BuiltinOperator of TensorFlow 2.21's schema.
NAMES = Path(__file__).with_name("operators.txt").read_text().split()


def tensor(name: str, shape: tuple[int, ...] = (2, 3), dtype: str = "float32", signature: tuple[int, ...] = (),
           data: np.ndarray | None = None) -> Tensor:
    return Tensor(name, shape, signature or shape, dtype, data, None, False, None, f"m: {name}")


def built(kinds: list[str], custom: bool = False, **more: object) -> Model:
    """A chain of operators of one operand each."""
    tensors = [tensor(f"t{k}", **more) for k in range(len(kinds) + 1)]
    ops = [Operator(kind, custom, (k,), (k + 1,), {}, b"", 1) for k, kind in enumerate(kinds)]
    return Model("", [Subgraph("main", tensors, (0,), (len(kinds),), ops)])


def convert(found: Model, given: Given | None = None):
    return model.convert(found, "m.tflite", "m", given or Given())


def test_every_operator_of_the_schema_is_listed() -> None:
    found = frontends.operators("tflite")
    newer = "STABLEHLO_CASE"  # than the schema of the package that reads files
    assert [n for n in NAMES if n not in found] in (["CUSTOM"], ["CUSTOM", newer])
    refused = {n for n, reason in found.items() if reason and not n.startswith("STABLEHLO_")}
    assert refused == {"CONCAT_EMBEDDINGS", "DELEGATE", "EMBEDDING_LOOKUP_SPARSE", "LSH_PROJECTION", "REDUCE_WINDOW",
                       "PLACEHOLDER_FOR_GREATER_OP_CODES", "SKIP_GRAM"}
    assert "it is not known here" not in found.values()


def test_supported_operators_have_a_case() -> None:
    """Every supported builtin operator is in some file of the corpus, but for those that no case could be made of."""
    seen = set()
    for case in CORPUS.cases:
        content = CORPUS.arrays[f"{case}/file/model.tflite"].tobytes()
        for graph in reader.parse(memoryview(content), case).subgraphs:
            seen |= {op.type for op in graph.operators}
    supported = {n for n, reason in frontends.operators("tflite").items() if not reason and n in NAMES}
    assert supported - seen == WITHOUT_A_CASE


#: of constants only (below), random, or written by hand only (test_rare.py)
WITHOUT_A_CASE = {"BITCAST", "BROADCAST_ARGS", "CALL", "DENSIFY", "HASHTABLE_SIZE", "MULTINOMIAL", "RANDOM_UNIFORM",
                  "RANDOM_STANDARD_NORMAL", "RANGE"}


def constant(name: str, array: np.ndarray) -> Tensor:
    array = np.asarray(array)
    return tensor(name, array.shape, array.dtype.name, data=np.frombuffer(array.tobytes(), np.uint8))


@pytest.mark.parametrize(("kind", "operands", "wanted"), [
    ("BITCAST", [np.float32([1, -2])], np.float32([1, -2]).view(np.int32)),
    ("BROADCAST_ARGS", [np.int32([3, 1]), np.int32([2, 1, 4])], np.int32([2, 3, 4])),
    ("DENSIFY", [np.float32([1, 0, 2])], np.float32([1, 0, 2])),
    ("RANGE", [np.int32(2), np.int32(9), np.int32(3)], np.int32([2, 5, 8])),
])
def test_operators_of_constants(kind: str, operands: list[np.ndarray], wanted: np.ndarray) -> None:
    tensors = [*(constant(f"c{k}", a) for k, a in enumerate(operands)), tensor("y", wanted.shape, wanted.dtype.name)]
    last = len(operands)
    op = Operator(kind, False, tuple(range(last)), (last,), {}, b"", 1)
    found = evaluated(convert(Model("", [Subgraph("main", tensors, (), (last,), [op])])), {})["y"]
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_equal_integers_of_different_scales() -> None:
    """Equal small constants are kept once, but stand for different numbers."""
    tensors = [constant("a", np.int8([4, 6])), constant("b", np.int8([4, 6])), tensor("y", (2,))]
    for k, scale in enumerate((0.5, 2.0)):
        tensors[k].quantisation = Quantisation(np.float32([scale]), np.int64([0]), 0)
    op = Operator("ADD", False, (0, 1), (2,), {}, b"", 1)
    found = evaluated(convert(Model("", [Subgraph("main", tensors, (), (2,), [op])])), {})["y"]
    np.testing.assert_array_equal(found, [10, 15])


@pytest.mark.parametrize("kind", ["RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"])
def test_random_numbers_are_seeded(kind: str) -> None:
    tensors = [constant("shape", np.int32([500])), tensor("y", (500,))]
    op = Operator(kind, False, (0,), (1,), {"seed": 3, "seed2": 4}, b"", 1)
    first, second = (evaluated(convert(Model("", [Subgraph("main", tensors, (), (1,), [op])])), {})["y"]
                     for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert abs(first.mean() - (0.5 if kind == "RANDOM_UNIFORM" else 0)) < 0.2


@pytest.mark.parametrize(("kind", "shape"), [("MATRIX_DIAG", (1 << 20,)), ("ZEROS_LIKE", (1 << 40,))])
def test_tables_that_are_too_large_are_not_made(kind: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError) as found:
        convert(built([kind], shape=shape))
    assert found.value.code == "TFLITE_SIZE"


def test_unsupported_operators_are_named_at_once() -> None:
    with pytest.raises(ErrorList) as found:
        convert(built(["RELU", "SKIP_GRAM", "STABLEHLO_ADD", "SKIP_GRAM"]))
    assert [e.op for e in found.value.errors] == ["SKIP_GRAM", "STABLEHLO_ADD"]  # type: ignore[attr-defined]
    assert found.value.errors[0].actual == "2 uses"


def test_unknown_custom_operators_are_named() -> None:
    with pytest.raises(UnsupportedOp) as found:
        convert(built(["FlexConv4D"], custom=True))
    assert "SELECT_TF_OPS" in found.value.what


def test_sizes_left_open() -> None:
    open_model = built(["RELU", "TANH"], signature=(-1, 3))
    assert convert(open_model).shape("t2") == (1, 3)
    assert convert(open_model, Given(batch=5)).shape("t2") == (5, 3)
    assert convert(open_model, Given(shapes={"t0": (4, 3)})).shape("t2") == (4, 3)
    with pytest.raises(ShapeError) as found:
        convert(built(["RELU"], signature=(-1, -1)))
    assert found.value.code == "INPUT_SYMBOLIC"


def test_signatures_name_inputs_and_outputs() -> None:
    found = built(["RELU"])
    found.signatures.append(Signature("serving_default", 0, {0: "image"}, {1: "scores"}))
    graph = convert(found)
    assert (graph.inputs, graph.outputs) == (["image"], ["scores"])


def test_equal_names_are_told_apart() -> None:
    tensors = [tensor("x"), tensor("y"), tensor("y")]
    ops = [Operator("RELU", False, (0,), (1,), {}, b"", 1), Operator("TANH", False, (0,), (2,), {}, b"", 1)]
    graph = convert(Model("", [Subgraph("main", tensors, (0,), (1, 2), ops)]))
    assert graph.outputs == ["y", "y_1"]


@pytest.mark.parametrize(("kind", "inputs", "outputs", "wanted"), [
    ("RELU", (), (1,), "TFLITE_OPERANDS"),
    ("RELU", (0,), (), "TFLITE_OPERANDS"),
    ("ADD", (0, 2), (1,), "TFLITE_ORDER"),
    ("RESHAPE", (0, 0), (1,), "SHAPE_UNKNOWN"),
    ("SQUEEZE", (0,), (1,), ""),
])
def test_operands_that_do_not_fit(kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...], wanted: str) -> None:
    tensors = [tensor(f"t{k}") for k in range(3)]
    ops = [Operator(kind, False, inputs, outputs, {}, b"", 1)]
    found = Model("", [Subgraph("main", tensors, (0,), (1,), ops)])
    if not wanted:
        assert convert(found).shape("t1") == (2, 3)
        return
    with pytest.raises(ModelError) as error:
        convert(found)
    assert error.value.code == wanted
    assert error.value.where.startswith("m.tflite")


def test_a_loop_of_subgraphs_ends() -> None:
    graph = Subgraph("main", [tensor("x"), tensor("y")], (0,), (1,),
                     [Operator("CALL", False, (0,), (1,), {"subgraph": 0}, b"", 1)])
    with pytest.raises(ModelError) as found:
        convert(Model("", [graph]))
    assert found.value.code == "TFLITE_DEPTH"


def test_a_fixed_batch_may_be_replaced() -> None:
    shape = tensor("shape", (2,), "int32", data=np.array([2, 3], np.int32).view(np.uint8))
    tensors = [tensor("x", (2, 3, 1)), shape, tensor("y")]
    graph = Subgraph("main", tensors, (0,), (2,), [Operator("RESHAPE", False, (0, 1), (2,), {}, b"", 1)])
    assert convert(Model("", [graph]), Given(batch=7)).shape("y") == (7, 3)
