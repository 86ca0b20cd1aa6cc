"""Every family of operators: importing them registers their converters."""

from compiler.frontends.mxnet import (
    activations,
    attention,
    boxes,
    control,
    creation,
    dense,
    elementwise,
    fused,
    indexing,
    multibox,
    normalise,
    numpy_functions,
    ordering,
    pieces,
    recurrent,
    reduce,
    regions,
    reshape,
    sampling,
    sequences,
    windows,
)
from compiler.frontends.mxnet.call import REGISTRY

__all__ = ["FAMILIES", "REGISTRY"]

FAMILIES = (
    activations, attention, boxes, control, creation, dense, elementwise, fused, indexing, multibox, normalise,
    numpy_functions, ordering, pieces, recurrent, reduce, regions, reshape, sampling, sequences, windows,
)
