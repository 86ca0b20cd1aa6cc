"""Feeds damaged model files to the readers and keeps what they do wrong.

    python -m tests.frontends.fuzz tflite --minutes 10 [--seed 1]

Right is a graph or an error of ours, soon and in little memory. Anything else (another exception, a crash, a time-out,
running out of memory) goes to `found.jsonl`, whose lines `test_found.py` tries in every run of the tests.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from compiler import frontends
from compiler.frontends.inputs import Given
from isa.errors import NeuronError
from tests.frontends.mutations import DATA, Mutation, draw, files, meta

FOUND = Path(__file__).parent / "found.jsonl"
SECONDS = 20  # for one file of less than a megabyte
MEMORY = 4 << 30  # address space beyond what the process has when it starts
_BATCH = 100  # files tried by one process, so that a crash costs little


class TookTooLong(Exception):
    """A file kept the reader busy."""


def attempt(mutation: Mutation) -> str:
    """Read a damaged model: "" when that went right, with or without an error of ours; else what went wrong."""
    about = meta(mutation.model)
    shapes = {i["name"]: tuple(i["shape"]) for i in about["inputs"]}
    signal.signal(signal.SIGALRM, _alarm)
    with tempfile.TemporaryDirectory() as folder:
        path = mutation.write(Path(folder))
        signal.alarm(SECONDS)
        try:
            frontends.load(path, Given(shapes), None)
        except NeuronError:
            pass
        except TookTooLong:
            return f"took more than {SECONDS} s"
        except Exception as error:
            ours = [f for f in traceback.extract_tb(error.__traceback__) if "/compiler/" in f.filename][-1]
            return f"{type(error).__name__} at {Path(ours.filename).name}:{ours.lineno} ({str(error)[:80]})"
        finally:
            signal.alarm(0)
    return ""


def _alarm(*_: object) -> None:
    raise TookTooLong


def batch(mutations: Sequence[Mutation]) -> list[str]:
    """`attempt` for each, all in one new process; "crash ..." for the one that ended it, those after it left out."""
    if any(m.model.startswith("pytorch/") for m in mutations) and importlib.util.find_spec("torch"):
        importlib.import_module("torch")  # which takes as long as the reader may
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for mutation in mutations:
            faulthandler.dump_traceback_later(2 * SECONDS, exit=True)  # a library that never comes back
            os.write(writer, (attempt(mutation).replace("\n", " ") + "\n").encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        results = [line.rstrip("\n") for line in lines]
    _, status = os.waitpid(child, 0)
    if status and len(results) < len(mutations):
        results.append(f"crash: status {status}")
    return results


def main(arguments: Sequence[str]) -> int:
    """Fuzz one framework's reader; exit 1 when something was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("framework")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    models = sorted(p.parent.relative_to(DATA).as_posix() for p in (DATA / args.framework).glob("*/meta.json"))
    places = {m: files(m) for m in models}
    rng, seen, tried, end = random.Random(args.seed), Counter[str](), 0, time.monotonic() + 60 * args.minutes
    while time.monotonic() < end:
        drawn = [draw(rng, m, places[m]) for m in rng.choices(models, k=_BATCH)]
        for mutation, was in zip(drawn, batch(drawn)):
            tried += 1
            if not was:
                continue
            way = was.partition(" (")[0]
            seen[way] += 1
            if seen[way] == 1:
                print(was, mutation.model, mutation.file, mutation.entry, flush=True)
                with FOUND.open("a") as file:
                    file.write(Mutation(**{**vars(mutation), "was": was}).line() + "\n")
    print(f"{args.framework}: {tried} damaged files, {sum(seen.values())} went wrong in {len(seen)} ways")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
