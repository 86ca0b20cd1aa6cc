"""`neuronsim whatif`: what limits a NEFF, shown by simulating it on better machines."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from isa.target import Target
from neuronsim.api import load
from neuronsim.cli.arguments import check_output, positive
from neuronsim.cli.output import print_json, write_json
from neuronsim.cli.progress import bar
from neuronsim.cli.settings import add_setting, machine, value_text
from neuronsim.whatif import GAIN, GOALS, LATENCY, STAGES, Answer, Outcome
from profiler.table import Table, show, shown
from profiler.text import seconds_text

SCHEMA = 1
_NEAR = 0.75  # a resource that gains this part of what the best gains is told of, too
_PAIRS = 5  # listed, without --verbose
_MANY = 100  # a speed-up beyond is as good as any
_UNCHANGED = 5e-3  # of the speed-up: rows that change nothing are counted, not listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whatif`."""
    parser.add_argument("neff", metavar="NEFF")
    parser.add_argument("--instance", metavar="T", help="machine to run on (default: what it was compiled for)")
    add_setting(parser)
    parser.add_argument(
        "--goal", choices=GOALS, help="what to rank by (default: throughput of a pipeline, else latency)"
    )
    parser.add_argument(
        "--requests", type=positive, metavar="N", help="simulated for the throughput (default: 4 times those in flight)"
    )
    parser.add_argument("--in-flight", type=positive, metavar="K", help="requests in flight (default: two a core)")
    parser.add_argument("--pairs", action="store_true", help="try pairs even where single changes gain enough")
    parser.add_argument("--threads", type=positive, metavar="N", help="host threads (default: all)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the ranking as JSON")


def run(args: argparse.Namespace) -> int:
    """Simulate, rank, print."""
    check_output(args.output, args.neff)
    neff = load(args.neff)
    target = machine(args.instance, neff.program.target, args.settings)
    with bar("machines") as tell:
        answer = neff.what_if(
            target, goal=args.goal, requests=args.requests, in_flight=args.in_flight, pairs=args.pairs,
            threads=args.threads, on_progress=tell,
        )  # fmt: skip
    document = as_json(answer, target)
    if args.output:
        write_json(args.output, document)
    if args.json:
        print_json(document)
    else:
        show(tables(answer, target, args.verbose), sys.stdout)
    return 0


def as_json(answer: Answer, target: Target) -> dict[str, Any]:
    """The document of `--json` and `-o` (docs/whatif.md)."""
    return {
        "schema": SCHEMA,
        "instance": target.name,
        "goal": answer.goal,
        "latency": answer.base.latency_s,
        "interval": answer.base.interval_s,
        "requests": answer.requests,
        "in_flight": answer.in_flight,
        "method": answer.method,
        "bottleneck": {"resources": list(answer.bottleneck), "text": " ".join(sentences(answer))},
        "changes": [_outcome_json(o, answer, target) for o in answer.single],
        "pairs": [_outcome_json(o, answer, target) for o in answer.pairs],
        "stages": [
            {"node": s.node, "core": s.core, "time": s.seconds, "of_mean": s.of_mean} for s in answer.stages
        ],
    }  # fmt: skip


def _outcome_json(outcome: Outcome, answer: Answer, target: Target) -> dict[str, Any]:
    return {
        "resources": list(outcome.resources),
        "parameters": {
            name: {"from": target[name], "to": "infinite" if value == math.inf else value}
            for change in outcome.changes for name, value in change.parameters.items()
        },
        "latency": outcome.times.latency_s,
        "interval": outcome.times.interval_s,
        "time": outcome.times.of(answer.goal),
        "speedup": outcome.speedup,  # null: no time is left
    }  # fmt: skip


def tables(answer: Answer, target: Target, everything: bool = False) -> list[Table]:
    """The ranking, pairs and stages for people, the bottleneck first."""
    what = "a request takes" if answer.goal == LATENCY else "a request every"
    head = f"{target.name}: {what} {seconds_text(answer.base.of(answer.goal))}\n" + "\n".join(sentences(answer))
    ranking = _ranking(head, answer, answer.single, target, everything)
    if answer.goal != LATENCY:
        ranking.notes.append(f"a request alone takes {seconds_text(answer.base.latency_s)}")
    found = [ranking]
    if answer.pairs:
        pairs = answer.pairs if everything else answer.pairs[:_PAIRS]
        found.append(_ranking("two at once", answer, pairs, target, True))
    if len(answer.stages) > 1:
        stages = Table("stages", ["stage", ">core", ">time", ">of the mean"])
        stages.rows += [[s.node, str(s.core), seconds_text(s.seconds), f"{s.of_mean:.2f}"] for s in answer.stages]
        found.append(stages)
    return found


def _ranking(
    title: str, answer: Answer, outcomes: tuple[Outcome, ...], target: Target, everything: bool
) -> Table:
    table = Table(title, ["what", "change", ">time", ">speed-up"])
    listed = [o for o in outcomes if everything or abs(o.speedup - 1) >= _UNCHANGED]
    for outcome in listed:
        table.rows.append([
            " and ".join(outcome.resources), _change_text(outcome, target),
            seconds_text(outcome.times.of(answer.goal)), _times_text(outcome.speedup),
        ])  # fmt: skip
    if len(listed) < len(outcomes):
        table.notes.append(f"{len(outcomes) - len(listed)} further changes make no difference: --verbose lists them")
    return table


def _change_text(outcome: Outcome, target: Target) -> str:
    found = [
        f"{name} {value_text(target[name])} -> {value_text(value)}"
        for change in outcome.changes for name, value in change.parameters.items()
    ]  # fmt: skip
    return ", ".join(found) or "all stages as long as their mean"


# ---- in words
def sentences(answer: Answer) -> list[str]:
    """What limits the program, and what comes next."""
    names = answer.bottleneck
    if not names:
        tried = "no change, and no two together, gain" if not answer.pairs else "no change gains"
        return [f"No bottleneck: {tried} {100 * GAIN:.0f} %."]
    if len(names) == 2:
        pair = answer.pairs[0]
        return [
            f"Bottleneck: {names[0]} and {names[1]}, each of which hides the other: no single change gains "
            f"{100 * GAIN:.0f} %. With both without cost it is {_gain(answer, pair)}."
        ]  # fmt: skip
    found = [_even(answer)] if names == (STAGES,) else []
    resources = [o for o in answer.single if STAGES not in o.resources]
    if resources[0].speedup >= 1 + GAIN:
        best = resources[0]
        what = "In the stages" if found else "Bottleneck"
        found.append(f"{what}: {best.resources[0]}. {_best_text(answer, best)}")
        found += _next(answer, resources)
    if answer.pairs:
        pair = answer.pairs[0]
        both = " and ".join(pair.resources)
        found.append(f"Hidden behind each other: {both}. With both without cost it is {_gain(answer, pair)}.")
    return found


def _even(answer: Answer) -> str:
    slowest, gain = max(answer.stages, key=lambda s: s.seconds), _gain(answer, answer.best(STAGES))
    return (
        f"Bottleneck: stage {shown(slowest.node)} on core {slowest.core}, {slowest.of_mean:.2f} times as long as the "
        f"mean of {len(answer.stages)} stages; stages of equal length would make it {gain}."
    )


def _best_text(answer: Answer, best: Outcome) -> str:
    (change,) = best.changes
    names = " and ".join(change.parameters)
    ways = {"zero": "at zero", "x2": "doubled", "infinite": "without limit", "none": "without any"}
    text = f"With {names} {ways[change.how]} it is {_gain(answer, best)}"
    twice = next((o for o in answer.single if o.changes[0].how == "x2" and names in o.changes[0].parameters), None)
    return f"{text}; doubled, {_times_text(twice.speedup)}." if twice and change.how != "x2" else f"{text}."


def _next(answer: Answer, resources: list[Outcome]) -> list[str]:
    """The best of the other resources: nearly as good, or simply the next."""
    best = resources[0]
    others = [answer.best(r) for r in dict.fromkeys(o.resources[0] for o in resources) if r != best.resources[0]]
    gains = [o for o in others if o.speedup >= 1 + GAIN]
    near = [o for o in gains if o.speedup - 1 >= _NEAR * (best.speedup - 1)] or gains[:1]
    if not near:
        return ["Nothing else gains alone."]
    return ["Next: " + ", ".join(f"{o.resources[0]} ({_times_text(o.speedup)})" for o in near) + "."]


def _gain(answer: Answer, outcome: Outcome) -> str:
    before, after = answer.base.of(answer.goal), outcome.times.of(answer.goal)
    return f"{_times_text(outcome.speedup)} as fast ({seconds_text(after)} instead of {seconds_text(before)})"


def _times_text(speedup: float) -> str:
    return f">{_MANY}x" if speedup > _MANY else f"{speedup:.2f}x"
