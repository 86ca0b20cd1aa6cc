"""The meaning of each instruction, one numpy file per mnemonic. Compiled kernels must agree with these bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isa.spec import SPEC
from neuronsim.insns import (
    activation,
    activation_reduce,
    affine_select,
    bn_aggr,
    bn_stats,
    find_index8,
    iota,
    match_replace8,
    max8,
    memset,
    nop,
    partition_reduce,
    reciprocal,
    scalar_tensor_tensor,
    tensor_copy,
    tensor_copy_predicated,
    tensor_reduce,
    tensor_scalar,
    tensor_scalar_cumulative,
    tensor_scalar_reduce,
    tensor_tensor,
    tensor_tensor_scan,
    transpose,
)
from neuronsim.insns.memory import Memory, Tiles

# load_stationary, matmul and dma_trigger carry state besides operands: see their files
MEANINGS: dict[str, Callable[[Tiles], None]] = {
    module.__name__.rpartition(".")[2]: module.meaning
    for module in (
        activation,
        activation_reduce,
        affine_select,
        bn_aggr,
        bn_stats,
        find_index8,
        iota,
        match_replace8,
        max8,
        memset,
        nop,
        partition_reduce,
        reciprocal,
        scalar_tensor_tensor,
        tensor_copy,
        tensor_copy_predicated,
        tensor_reduce,
        tensor_scalar,
        tensor_scalar_cumulative,
        tensor_scalar_reduce,
        tensor_tensor,
        tensor_tensor_scan,
        transpose,
    )
}


def execute(word: np.void, memory: Memory, engine: int, sample: np.ndarray | None = None) -> None:
    """Apply one word of an engine (index in `isa.word.ENGINES`) to the memories.

    Args:
        sample: uint8, its sources copied aside at its start, or None to read them now.
    """
    MEANINGS[SPEC.by_opcode[int(word["opcode"])].mnemonic](Tiles(word, memory, engine, sample))
