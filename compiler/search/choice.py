"""Which numbers of cores are tried, and which one is taken."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from compiler.errors import CompileError
from compiler.search.estimate import Facts, Trial, trial_of
from compiler.search.trials import Evaluate
from isa import target as targets
from isa.target import Target

# Neuron's first guess, 4 * round(weights / 2e7); archive/appnotes/perf/neuron-cc/performance-tuning.rst
WEIGHTS_PER_STEP, CORES_PER_STEP = 2e7, 4
EVERY_UP_TO = 4  # small numbers are all tried, larger ones by doubling
SAME = 0.01  # a gain below this is none: the smaller number of cores is taken



@dataclass(frozen=True)
class Choice:
    """What a search found.

    Attributes:
        cores: to compile for. instance: for which it was chosen.
        objective: one of `compiler.options.OBJECTIVES`.
        trials: everything that was tried, by number of cores, on the instance that suits the objective.
        why: one sentence.
    """

    cores: int
    instance: str
    objective: str
    trials: tuple[Trial, ...]
    why: str

    def report(self) -> dict[str, Any]:
        """JSON values for report.json."""
        return {**asdict(self), "trials": [asdict(t) for t in self.trials]}


def search(evaluate: Evaluate, target: Target, objective: str, weights: int) -> Choice:
    """Try numbers of cores in two rounds: a coarse one, then between the best and its neighbours.

    Args:
        evaluate: compiles for each of some numbers of cores.
        weights: constant elements of the model, for Neuron's own starting value.
    Raises: CompileError when nothing compiles.
    """
    facts: dict[int, Facts] = {}
    for numbers in (coarse(target.cores, weights), None):
        numbers = finer(facts, target, objective) if numbers is None else numbers
        facts.update((found.cores, found) for found in evaluate(numbers))
    trials = [_best_instance(facts[n], target, objective) for n in sorted(facts)]
    good = [t for t in trials if not t.error]
    if not good:
        raise CompileError(
            f"no number of cores from 1 to {target.cores} compiles: {trials[0].error}",
            where="--neuroncore-pipeline-cores auto", help="compile for one core to see why: leave the option out",
        )
    best = _best(good, objective)
    return Choice(best.cores, best.instance, objective, tuple(trials), _reason(best, good, objective))


def coarse(cores: int, weights: int) -> list[int]:
    """Numbers of the first round: 1 to 4, powers of two, all cores, and Neuron's guess for so many weights."""
    guess = CORES_PER_STEP * round(weights / WEIGHTS_PER_STEP)
    powers = [1 << k for k in range(cores.bit_length())]
    return sorted({n for n in (*range(1, EVERY_UP_TO + 1), *powers, guess, cores) if 1 <= n <= cores})


def finer(facts: dict[int, Facts], target: Target, objective: str) -> list[int]:
    """Halfway between the best number so far and the ones tried next to it."""
    good = [t for f in facts.values() if not (t := _best_instance(f, target, objective)).error]
    if not good:
        return []
    tried, best = sorted(facts), _best(good, objective).cores
    at = tried.index(best)
    halfway = {(best + n) // 2 for n in (*tried[max(at - 1, 0) : at], *tried[at + 1 : at + 2])}
    return sorted(halfway - set(tried))


def _best_instance(facts: Facts, target: Target, objective: str) -> Trial:
    """The trial on the target; for cost on the priced instance of the generation where inferences cost least."""
    used = 1 + max((s.core for s in facts.stages), default=0)
    others = _priced(target) if objective == "cost" else []
    found = [trial_of(facts, t) for t in (target, *others) if t.cores >= used]
    if not found:
        return Trial(facts.cores, used, error=f"{len(facts.stages)} stages need {used} cores, "
                                              f"{target.name} has {target.cores}")
    return min(found, key=lambda t: _rank(t, objective))


def _priced(target: Target) -> list[Target]:
    every = [targets.load(name) for name in targets.names()]
    return [t for t in every if t.generation == target.generation and t.usd_per_hour and t.name != target.name]


def _rank(trial: Trial, objective: str) -> float:
    """Smaller is better."""
    if objective == "latency":
        return trial.latency_ms
    if objective == "cost" and trial.usd_per_million is not None:
        return trial.usd_per_million
    return 1 / trial.throughput_per_s if trial.throughput_per_s else float("inf")


def _best(trials: Iterable[Trial], objective: str) -> Trial:
    """The smallest number of cores among those that are as good as the best."""
    listed = sorted(trials, key=lambda t: t.cores)
    limit = min(_rank(t, objective) for t in listed) * (1 + SAME)
    return next(t for t in listed if _rank(t, objective) <= limit)


def _reason(best: Trial, good: Sequence[Trial], objective: str) -> str:
    value = {
        "throughput": f"{best.throughput_per_s:.0f} inferences per second",
        "latency": f"a latency of {best.latency_ms:.3f} ms",
        "cost": "the price is not published, so by throughput" if best.usd_per_million is None
        else f"{best.usd_per_million:.3f} USD per million inferences",
    }[objective]
    held = "all weights on chip" if not best.streamed_bytes else f"{best.streamed_bytes / 1e6:.1f} MB fetched per run"
    others = "the only one that compiles" if len(good) == 1 else f"best {objective} of {len(good)}"
    return (f"{best.cores} core{'s' if best.cores > 1 else ''}: {others}, {value} with {best.copies} "
            f"cop{'ies' if best.copies > 1 else 'y'} on {best.instance}, {held}")
