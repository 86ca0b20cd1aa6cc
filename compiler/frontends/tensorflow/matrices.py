"""Diagonals and bands of matrices."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter


def _main_diagonal(c: Call, index: int) -> None:
    """The later versions can name other diagonals: only the main one is supported."""
    if len(c) > index and any(c.ints(index)):
        raise c.refuse("diagonals other than the main one")


@converter("MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3", "DiagPart")
def matrix_diag_part(c: Call) -> str:
    """The diagonal of every matrix."""
    _main_diagonal(c, 1)
    *outer, rows, columns = c.shape()
    if c.node.op == "DiagPart" and outer:
        raise c.refuse("a diagonal of more than two dimensions")
    places = np.arange(min(rows, columns)) * (columns + 1)
    return c.op("Gather", [c.reshape(c.x(), [*outer, rows * columns]), places], axis=len(outer))


@converter("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3", "Diag")
def matrix_diag(c: Call) -> str:
    """Every vector as the diagonal of a matrix of zeros."""
    _main_diagonal(c, 1)
    n = c.shape()[-1]
    if (c.node.op == "Diag" and c.rank() != 1) or (len(c) > 3 and not {c.ints(2)[0], c.ints(3)[0]} <= {-1, n}):
        raise c.refuse("a diagonal of more than two dimensions, or a matrix that is not square")
    outside = c.x(4) if len(c) > 4 else c.number(0, c.x())
    return c.op("Where", [np.eye(n, dtype=bool), c.op("Unsqueeze", [c.x(), np.array([-1])]), outside])


@converter("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")
def matrix_set_diag(c: Call) -> str:
    """Matrices with another diagonal."""
    _main_diagonal(c, 2)
    rows, columns = c.shape()[-2:]
    diagonal = c.x(1)
    if rows > columns:
        diagonal = c.op("Pad", [diagonal, np.array([0] * (2 * c.rank(1) - 1) + [rows - columns])])
    column = c.op("Unsqueeze", [diagonal, np.array([-1])])
    return c.op("Where", [np.eye(rows, columns, dtype=bool), column, c.x()])


@converter("MatrixBandPart")
def matrix_band_part(c: Call) -> str:
    """Zeros outside some diagonals."""
    rows, columns = c.shape()[-2:]
    lower, upper = int(c.scalar(1)), int(c.scalar(2))
    distance = np.arange(rows)[:, None] - np.arange(columns)[None]
    kept = ((distance <= lower) | (lower < 0)) & ((-distance <= upper) | (upper < 0))
    return c.op("Where", [kept, c.x(), c.number(0, c.x())])
