"""The C records mirror the numpy dtypes, field for field."""
from __future__ import annotations

import numpy as np

from isa.word import DESCRIPTOR, OPERAND, POINTER, WORD
from neuronsim._core import timing


def test_c_records_have_the_offsets_of_the_dtypes() -> None:
    expected = {}
    records = {"operand_t": OPERAND, "pointer_t": POINTER, "word_t": WORD, "descriptor_t": DESCRIPTOR}
    for record, dtype in records.items():
        fields: dict[str, tuple[np.dtype, int]] = dict(dtype.fields)
        expected |= {f"{record}.{name}": entry[1] for name, entry in fields.items()}
    assert timing.layout() == expected
