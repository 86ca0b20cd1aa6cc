"""A hand-written kernel: y = gelu(x @ w + b), tiled, compiled, written to a file, simulated and compared with numpy.

Run it:  python examples/tiled_matmul.py

The machine. The tensor engine multiplies a *stationary* matrix [K, M] (at most 128 x 128) by a *moving* matrix [K,
N] (at most
512 columns) and writes, or adds, the product [M, N] to PSUM. K lies on partitions, the rows of the on-chip memories.
PSUM
has eight banks of 512 fp32 columns: one product fills one bank. The scalar engine applies a function to a whole bank
while
the tensor engine already fills the next, and DMA engines fetch the tiles after that.

Tiling. We compute the transposed result, so that the output features lie on partitions and the bias is one number
for each partition, which the scalar engine adds for nothing:

    y^T[n, m] = gelu( sum over k of w[k, n] * x^T[k, m] + b[n] )

    for each block of 128 output features n           stationary: w[k block, n block]   [128, 128]
        for each block of 512 rows m                  moving:     x^T[k block, m block] [128, 512]
            for each block of 128 inputs k            accumulate in one PSUM bank

What we do not write: addresses, engines' streams, semaphores. Each `p.sbuf(...)` is a new tile; the backend gives it an
address, loads it ahead of its use and makes each engine wait for exactly what it needs.
"""

from __future__ import annotations

import sys
import tempfile
from math import erf, sqrt
from pathlib import Path

import ml_dtypes
import numpy as np

import neuronsim
from compiler.backend import build
from isa import neff
from isa.lang import TileProgram
from isa.program import Node, Program, Stage, TensorInfo

TARGET = "trn1.2xlarge"
ROWS, INPUTS, FEATURES = 1024, 512, 256  # M, K, N of the whole product
P, COLUMNS = 128, 512  # the tensor engine's tile


def kernel(weights: np.ndarray, bias: np.ndarray) -> TileProgram:
    """The tile program. weights: [INPUTS, FEATURES] bfloat16; bias: [FEATURES] float32."""
    p = TileProgram(TARGET, "tiled_matmul")
    x = p.input("x", (ROWS, INPUTS), "bf16")
    y = p.output("y", (FEATURES, ROWS), "bf16")
    w = p.constant("w", weights)
    b = p.constant("b", bias)
    k_blocks = INPUTS // P

    with p.layer("dense", "MatMul+Gelu", macs=ROWS * INPUTS * FEATURES):
        # All weights fit: one transfer, k inside a block on partitions. A DRAM view is reshaped and permuted freely;
        # what
        # reaches the DMA engines is a list of strided copies.
        w_tile = p.sbuf((P, k_blocks, FEATURES), "bf16", name="w")
        p.dma(w_tile, w.reshape(k_blocks, P, FEATURES).permute(1, 0, 2))
        b_tile = p.sbuf((P, FEATURES // P), "fp32", name="b")
        p.dma(b_tile, b.reshape(FEATURES // P, P).permute(1, 0))

        for m in range(0, ROWS, COLUMNS):
            # x is stored row by row, we need its columns on partitions. DMA moves single elements for that, which is
            # slow:
            # `neuronsim profile` shows the transfers of this layer as the bottleneck. A transpose on the tensor
            # engine is the cure.
            x_tile = p.sbuf((P, k_blocks, COLUMNS), "bf16", name="x")
            block = x[m : m + COLUMNS].reshape(COLUMNS, k_blocks, P)
            for k in range(k_blocks):
                p.dma(x_tile[:, k], block[:, k].permute(1, 0))
            for n in range(0, FEATURES, P):
                acc = p.psum((P, COLUMNS), name="acc")
                for k in range(k_blocks):
                    p.load_stationary(w_tile[:, k, n : n + P])
                    p.matmul(acc, x_tile[:, k], start=k == 0, stop=k == k_blocks - 1)
                # One pass over PSUM: bias, gelu and the rounding to bf16 together.
                out = p.sbuf((P, COLUMNS), "bf16", name="y")
                p.activation(out, acc, "gelu", bias=b_tile[:, n // P : n // P + 1])
                p.dma(y[n : n + P, m : m + COLUMNS], out)
    return p


def as_program(stage: Stage) -> Program:
    """One stage as a program: what goes in, what comes out, and a graph of one node."""
    tensors = {
        kind: [TensorInfo(v.name, v.shape, v.dtype.numpy.name) for v in stage.variables if v.kind == kind]
        for kind in ("input", "output")
    }
    node = Node(
        "dense", "neuron_core", tuple(t.name for t in tensors["input"]), tuple(t.name for t in tensors["output"]), 0
    )
    return Program("tiled_matmul", TARGET, "v2", tensors["input"], tensors["output"], [node], [stage])


def reference(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same in float64: [FEATURES, ROWS]."""
    z = (x.astype(np.float64) @ w.astype(np.float64) + b).T
    return z * 0.5 * (1 + np.vectorize(erf)(z / sqrt(2)))


def main() -> int:
    """Build, write, run, compare. Returns 0 when the results agree to bf16 accuracy."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, INPUTS)).astype(ml_dtypes.bfloat16)
    w = (rng.standard_normal((INPUTS, FEATURES)) / sqrt(INPUTS)).astype(ml_dtypes.bfloat16)
    b = rng.standard_normal(FEATURES).astype(np.float32)

    stage = build(kernel(w, b))
    counts = ", ".join(f"{engine} {len(words)}" for engine, words in stage.streams.items())
    print(f"instructions: {counts}; {len(stage.descriptors)} DMA descriptors")
    print(f"SBUF {stage.sbuf_peak_bytes} bytes per partition, PSUM {stage.psum_peak_bytes}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiled_matmul.neff"
        neff.write(as_program(stage), path)
        result = neuronsim.load(path).run({"x": x}, check=True)
    y = result.outputs["y"].astype(np.float64)
    error = np.abs(y - reference(x, w, b)).max()
    print(f"largest difference from numpy: {error:.4f}")
    # bf16 keeps 8 significant bits: an output below 8 is rounded by at most 2^-6, the operands are exact
    return 0 if error <= 2**-6 and not result.findings else 1


if __name__ == "__main__":
    sys.exit(main())
