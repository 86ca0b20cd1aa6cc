"""Writes corpus.npz: every network of cases.py with random weights, and what a darknet library computes of it.

    python -m tests.frontends.darknet.make_corpus PJREDDIE_HEADERS PJREDDIE_LIBRARY ALEXEY_HEADERS ALEXEY_LIBRARY

Headers are folders with darknet.h, libraries the files libdarknet.so of the two (the first from a distribution's
package). A C compiler builds the small program that drives them.
"""

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from compiler.frontends.darknet.cfg import ALIASES
from compiler.frontends.darknet.model import load
from compiler.frontends.darknet.weights import Weights
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from tests.frontends.corpus import Writer
from tests.frontends.darknet.cases import LAYERS, NETWORKS, Case

HERE = Path(__file__).parent
#: Kinds whose result has one number per channel, without height and width.
FLAT = ("connected", "softmax", "detection", "rnn", "lstm", "gru")


def build(folder: Path, headers: str, library: str, alexey: bool) -> Path:
    """Compile oracle.c against a library."""
    program = folder / ("alexey" if alexey else "pjreddie")
    place = Path(library).resolve()
    subprocess.run(["cc", "-O1", "-w", *(["-DALEXEY"] if alexey else []), "-I", headers, str(HERE / "oracle.c"),
                    f"-L{place.parent}", f"-l:{place.name}", f"-Wl,-rpath,{place.parent}", "-lm", "-o", str(program)],
                   check=True)
    return program


def drawn(rng: np.random.Generator, what: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of a part of a layer."""
    if what == "variance":
        return rng.uniform(0.3, 1.5, shape)
    if what == "scale":
        return rng.uniform(0.5, 1.5, shape)
    if what == "weights":
        return rng.normal(0, 1.4 / np.sqrt(max(np.prod(shape[1:]), 1)), shape)
    return rng.normal(0, 0.3, shape)


def fill(cfg: Path, weights: Path, rng: np.random.Generator) -> None:
    """Replace the numbers of a file that the library saved by random ones, kind by kind."""
    data = bytearray(weights.read_bytes())
    original, position = Weights.take, [len(data) - 4 * Weights(weights).left]

    def take(self, layer, what, *shape):
        numbers = drawn(rng, what, shape).astype("<f4").tobytes()
        data[position[0] : position[0] + len(numbers)] = numbers
        position[0] += len(numbers)
        return original(self, layer, what, *shape)

    Weights.take = take
    try:
        load(ModelFiles("darknet", "cfg", cfg, {"weights": weights}), Given())
    finally:
        Weights.take = original
    weights.write_bytes(bytes(data))


def outputs_of(data: bytes, kinds: list[str]) -> list[np.ndarray]:
    """The arrays that the program wrote, in the shapes that a model's results have."""
    found, at = [], 0
    for kind in kinds:
        rows, c, h, w, size = struct.unpack_from("<5i", data, at)
        numbers = np.frombuffer(data, "<f4", rows * size, at + 20)
        image = c * h * w == size and kind not in FLAT
        found.append(numbers.reshape((rows, c, h, w) if image else (rows, size)).copy())
        at += 20 + numbers.nbytes
    return found


def expected(case: Case, program: Path, folder: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Write net.cfg, net.weights and the input `in`, run the library, return its results by name."""
    cfg, weights, numbers, results = (folder / n for n in ("net.cfg", "net.weights", "in", "out"))
    cfg.write_text(case.cfg)
    run = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([program, "save", cfg, weights], **run)
    fill(cfg, weights, rng)
    first, *lines = (line.split() for line in case.text.strip().splitlines())
    kinds = [ALIASES.get(line[0], line[0]) for line in lines]
    shape = (case.batch * case.steps, *map(int, first[1].split("x")))
    numbers.write_bytes(rng.normal(0, 1.5, shape).astype("<f4").tobytes())
    layers = case.outputs or [len(kinds) - 1]
    subprocess.run([program, "run", cfg, weights, numbers, results, *map(str, layers)], **run)
    found = outputs_of(results.read_bytes(), [kinds[k] for k in layers])
    return {f"layer{k}_{kinds[k]}": array for k, array in zip(layers, found, strict=True)}


def main() -> None:
    writer = Writer(HERE / "corpus.npz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = {"pjreddie": build(folder, sys.argv[1], sys.argv[2], False),
                    "alexey": build(folder, sys.argv[3], sys.argv[4], True)}
        for number, case in enumerate(LAYERS + NETWORKS):
            results = expected(case, programs[case.library], folder, np.random.default_rng(number))
            rows = case.batch * case.steps
            shape = (rows, *map(int, case.text.split()[1].split("x")))
            x = np.frombuffer((folder / "in").read_bytes(), "<f4").reshape(shape)
            files = {"net.cfg": case.cfg.encode(), "net.weights": (folder / "net.weights").read_bytes()}
            writer.add(case.name, files, {"data": x}, results, case.rtol, case.atol, options={"framework": "darknet"})
    writer.save()


if __name__ == "__main__":
    main()
