"""Which of the known instances could run a program."""

from __future__ import annotations

from isa import target as targets
from isa.program import Program


def large_enough(program: Program) -> str:
    """Instances with the program's instruction set and as many cores as it needs: "a or b", "" for none."""
    machines = (targets.load(name) for name in targets.names() if name not in targets.GENERATIONS)
    fitting = [t for t in machines if t.generation == program.generation and t.cores >= program.cores]
    return " or ".join(t.name for t in sorted(fitting, key=lambda t: (t.cores, t.name)))
