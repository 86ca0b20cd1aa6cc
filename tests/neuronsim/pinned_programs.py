"""y = relu(w @ x) with the weight fetched in every run, or once when the stage is loaded."""
from __future__ import annotations

import numpy as np

from isa.assembler import assemble
from isa.program import Stage

WEIGHT = np.random.default_rng(11).normal(size=(128, 128)).astype(np.float32)
COLUMNS = 4

LISTING = """
.target trn1.2xlarge
.variable x input fp32 128x4 {space}
.variable w file fp32 128x128 file=w
.variable y output fp32 128x4
.semaphore loaded 16
.semaphore multiplied 17
.semaphore done 18
.semaphore stored 19

.dma
input:  copy size=[128,4] src=x@0:fp32 dst=sbuf[0]@0:fp32
weight: copy size=[128,128] src=w@0:fp32 dst=sbuf[0]@0x1000:fp32
store:  copy size=[128,4] src=sbuf[0]@0x100:fp32 dst=y@0:fp32
{descriptors}

{init}
.engine sync
    {streamed}
    dma_trigger first=input count=1 post(loaded+1)
    dma_trigger first=store count=1 queue=1 wait(done>=1) post(stored+1)
.engine tensor
    load_stationary src0=sbuf[0:128]@0x1000:fp32[128] wait(loaded>={loads})
    matmul dst=psum[0:128]@0:fp32[4] src0=sbuf[0:128]@0:fp32[4] start stop post(multiplied+1)
.engine scalar
    activation dst=sbuf[0:128]@256:fp32[4] src0=psum[0:128]@0:fp32[4] func=relu scale=1 wait(multiplied>=1) post(done+1)
.engine vector
    {after}
"""
LOAD_WEIGHT = "dma_trigger first=weight count=1 queue=2 post(loaded+1)"


def product(pinned: bool, after: str = "", init: str = "", descriptors: str = "", space: str = "") -> Stage:
    """The stage; `after` is done by the vector engine in every run, `init` is more of what is done at load."""
    text = LISTING.format(
        init=f".init sync\n    {LOAD_WEIGHT}\n{init}" if pinned else "", streamed="" if pinned else LOAD_WEIGHT,
        loads=16 if pinned else 32, after=after, descriptors=descriptors, space=space)
    return assemble(text, {"w": WEIGHT}).stages[0]


def some_input(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(128, COLUMNS)).astype(np.float32)
