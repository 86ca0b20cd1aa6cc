"""Random graphs against onnxruntime: whole, on v1, without fusion, cut into windows, with every tensor kept."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.errors import AllocationError
from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, small_target
from tests.compiler.random_graphs import FAMILIES
from tests.compiler.random_operators import floats, node

DRAWS = 12
#: softmax of a sum over a whole image amplifies the last bit of the logits
LIMIT = 3e-5
V1_LIMIT = 6e-2  # a dozen layers with bf16 operands
RNG = np.random.default_rng(8)


def draws(family: str, block: int) -> list[tuple[int, object]]:
    seeds = range(block * DRAWS, (block + 1) * DRAWS)
    return [(s, m) for s in seeds if (m := FAMILIES[family](np.random.default_rng(s))) is not None]


def compare_all(family: str, block: int, target: str = "trn1.2xlarge", **options: object) -> tuple[int, int]:
    """Compare a block of draws. Returns how many fitted the target, and how many spilled or streamed through DRAM."""
    fitted = spilled = 0
    for seed, model in draws(family, block):
        try:
            result = compare(model, target, limit=options.pop("limit", LIMIT), **options)
        except AllocationError:
            continue
        except Exception as error:
            error.add_note(f"{family}, seed {seed}")
            raise
        fitted += 1
        spilled += any(d.purpose in ("spill", "reload") for stage in result.stages for d in stage.debug)
    return fitted, spilled


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_graphs(family: str, block: int) -> None:
    assert compare_all(family, block)[0] == len(draws(family, block))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_graphs_on_v1(family: str) -> None:
    for seed, model in draws(family, 4):
        try:
            compare(model, "inf1.xlarge", limit=V1_LIMIT)
        except Exception as error:
            error.add_note(f"{family}, seed {seed}")
            raise


OFF = [{"fusion": False}, {"opt_level": 0}, {"packing": False, "double_buffer": False}]


@pytest.mark.parametrize("options", OFF, ids=str)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_graphs_with_techniques_off(family: str, options: dict[str, object]) -> None:
    assert compare_all(family, 5, **options)[0] == len(draws(family, 5))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kib", [12, 24, 48])
def test_networks_in_windows(kib: int, keep: bool, tmp_path: Path) -> None:
    """Little SBUF: chunks of images and rows with halos, parts assembled, places in a concatenation, spills."""
    fitted, _ = compare_all("network", 6 + keep, small_target(tmp_path, kib), keep_tensors=keep)
    assert fitted >= DRAWS // 2


def stack(layers: int, size: int, batch: int = 1) -> object:
    """Padded convolutions and a pool between: every chunk needs rows of its neighbour."""
    nodes, weights, name = [], {}, "x"
    for k in range(layers):
        weights[f"w{k}"] = floats(RNG, 24, 24 if k else 3, 3, 3) / np.float32(10)
        nodes += [node("Conv", [name, f"w{k}"], [f"c{k}"], pads=[1] * 4), node("Relu", [f"c{k}"], [f"r{k}"])]
        name = f"r{k}"
        if k == layers // 2:
            nodes.append(node("MaxPool", [name], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
            name = "p"
    nodes += [node("GlobalAveragePool", [name], ["g"]), node("Flatten", ["g"], ["y"])]
    return make(nodes, {"x": [batch, 3, size, size]}, ["y"], weights)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("keep", [False, True])
def test_halo_rows(keep: bool, batch: int, tmp_path: Path) -> None:
    compare(stack(5, 40, batch), small_target(tmp_path, 32), keep_tensors=keep)


def test_tensors_kept_while_computed_by_rows(tmp_path: Path) -> None:
    """A kept value is assembled by rows; the whole-image visit after them reads more than the last rows."""
    weights = {"w": floats(RNG, 64, 4, 3, 3) / 6, "v": floats(RNG, 16, 64, 1, 1) / 8}
    nodes = [node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
             node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], strides=[2, 2]),
             node("Conv", ["b", "v"], ["c"]), node("Relu", ["c"], ["y"])]
    for kib in (16, 24, 32):
        compare(make(nodes, {"x": [2, 4, 30, 30]}, ["y"], weights), small_target(tmp_path, kib), keep_tensors=True)
