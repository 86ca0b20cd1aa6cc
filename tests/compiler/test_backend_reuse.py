"""Who owned the bytes that a tile takes, against an array with an owner for each byte."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from compiler.backend.synchronise import _Reuse


@dataclass(frozen=True)
class Owner:
    id: int


SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=30)


@given(SPANS)
def test_the_owners_that_lose_bytes(spans: list[tuple[int, int]]) -> None:
    bytes_of: list[int | None] = [None] * 64
    reuse = _Reuse()
    for k, (lo, size) in enumerate(spans):
        lost = reuse.claim(lo, lo + size, Owner(k))  # type: ignore[arg-type]
        assert {o.id for o in lost} == {o for o in bytes_of[lo : lo + size] if o is not None}
        assert len(lost) == len({o.id for o in lost})
        bytes_of[lo : lo + size] = [k] * size
