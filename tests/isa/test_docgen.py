from __future__ import annotations

from isa import docgen
from isa.spec import SPEC


def test_the_page_is_up_to_date() -> None:
    assert docgen.PAGE.read_text(encoding="utf-8") == docgen.page(), "stale: run `python -m isa.docgen`"


def test_the_page_shows_every_instruction_and_rule() -> None:
    text = docgen.page()
    for i in SPEC:
        assert f"### {i.mnemonic}\n" in text and i.summary in text
        for rule in i.costs.values():
            assert rule.text in text
    assert "semaphore_latency_ns" in text and "trn2u.48xlarge" in text
