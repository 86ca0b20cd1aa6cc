"""How many cores a pipeline should have: numbers are tried, each by a whole compilation, and the best one is taken.

`trials` compiles (several at once), `estimate` says what a compiled pipeline would give on an instance. Not responsible
for how a given number of stages is made (`compiler/sharding`).
"""
from __future__ import annotations

from compiler.search.choice import Choice, search
from compiler.search.estimate import Facts, Trial
from compiler.search.trials import here, in_processes

__all__ = ["Choice", "Facts", "Trial", "here", "in_processes", "search"]
