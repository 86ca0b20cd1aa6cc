"""What to change, ranked by the share of time at stake: Neuron's documented rules and our own, each with its numbers.

The rules are in `advice_neuron` and `advice_rules`; each looks at one trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from profiler.analyses import advice_neuron, advice_rules
from profiler.analyses.advice_facts import Facts, Finding
from profiler.table import Table

_SAID = ("limited_by", "stage_balance", "tensor_reloads")  # findings that name their place themselves
RULES = (*advice_neuron.RULES, *advice_rules.RULES)


@dataclass(frozen=True)
class Advice:
    """Findings, the one with most at stake first."""

    findings: list[Finding]

    def as_json(self) -> dict[str, Any]:
        """The findings as objects with the names of the attributes."""
        return asdict(self)

    def tables(self, top: int = 5) -> list[Table]:
        """The first findings and what to change."""
        table = Table("Advice" if self.findings else "Advice: none", [">at stake", "finding"])
        for f in self.findings[:top]:
            where = f" ({', '.join(f.where)})" if f.where and f.rule not in _SAID else ""
            table.rows.append([f"{f.share_percent:.0f} %", f.finding + where])
            table.rows.append(["", f"-> {f.change}"])
        return [table]


def advice(trace: Trace, programs: Sequence[Program], target: Target, facts: Facts | None = None) -> Advice:
    """All rules that apply to a trace; `facts`: of it, where some are known already."""
    known = facts or Facts(trace, programs, target)
    made = [finding for rule in RULES for finding in rule(known)] if len(trace.runs["start"]) else []
    return Advice(sorted(made, key=lambda f: (-f.share_percent, f.rule)))
