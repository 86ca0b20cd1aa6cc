"""`neuronsim capture`: a trace of one run, with neuron-profile's spellings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from neuronsim.api import Neff, load
from neuronsim.cli.arguments import check_output, natural, positive
from neuronsim.cli.output import note, print_json, write_atomic
from neuronsim.cli.profiles import ProfileError
from neuronsim.cli.view import add_idle, tell_idle

# what neuron-profile has and a simulation has no use for -> why
IDLE_SWITCHES: Mapping[str, str] = {
    "--ignore-exec-errors": "a simulated run has none", "--single-io": "buffers are the program's own",
    "--enable-dge-notifs": "every instruction is in the trace",
    "--check-output-determinism": "the same inputs always give the same bits",
}  # fmt: skip
IDLE_OPTIONS: Mapping[str, str] = {
    "--exec-mode": "times do not depend on it", "--single-io-threshold": "buffers are the program's own",
}  # fmt: skip
# what would give another answer than asked for -> where that answer is
REFUSED: Mapping[str, str] = {
    "--disable-profile": "run without a trace: neuronsim run NEFF",
    "--save-output": "outputs are written by: neuronsim run NEFF --outputs FILE",
    "--save-output-npy": "outputs are written by: neuronsim run NEFF --outputs FILE",
    "--multi-input": "several requests are profiled by: neuronsim profile NEFF --requests N --in-flight K -o DIR",
    "--collectives-profile-id": "programs have no collectives",
    "--collectives-workers-per-node": "programs have no collectives",
    "--collectives-worker-count": "programs have no collectives",
    "--collectives-worker-start-id": "programs have no collectives",
    "--capture-type": "the host is part of every trace: neuronsim view -n NEFF -s FILE --output-format perfetto",
}
_SWITCHES = ("--disable-profile", "--save-output-npy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `capture`."""
    parser.add_argument("inputs", metavar="NAME FILE", nargs="*", help="inputs; times do not depend on their values")
    parser.add_argument("-n", "--neff", metavar="NEFF", required=True)
    parser.add_argument("-s", "--session-file", metavar="FILE", default="profile.ntff",
                        help="the trace (default: profile.ntff)")  # fmt: skip
    parser.add_argument("--num-exec", type=positive, default=1, metavar="N", help="runs; all take the same time")
    parser.add_argument("--profile-nth-exec", type=natural, default=0, metavar="N", help="the one to record: any is")
    parser.add_argument("--instance", metavar="T", help="machine to run on (default: what it was compiled for)")
    add_idle(parser, IDLE_SWITCHES, IDLE_OPTIONS)
    group = parser.add_argument_group("known from neuron-profile, and refused with what to do instead")
    for flag, why in REFUSED.items():
        if flag in _SWITCHES:
            group.add_argument(flag, action="store_true", help=why)
        else:
            group.add_argument(flag, metavar="X", help=why)


def run(args: argparse.Namespace) -> int:
    """Run once, time only, and write the trace."""
    _refuse(args)
    check_output(args.session_file, args.neff)
    tell_idle(args, {**IDLE_SWITCHES, **IDLE_OPTIONS})
    neff = load(args.neff)
    _check_inputs(args.inputs, neff)
    if args.num_exec > 1 or args.profile_nth_exec > 1:
        note("one run is recorded: each starts from a reset machine, so all take the same time")
    trace = neff.run(instance=args.instance, mode="timing").trace
    write_atomic(args.session_file, trace.write)
    if args.json:
        print_json({"session_file": args.session_file, "rows": len(trace.instructions["start"])})
    else:
        sys.stdout.write(f"{args.session_file}\n")
    return 0


def _refuse(args: argparse.Namespace) -> None:
    for flag, why in REFUSED.items():
        if getattr(args, flag.lstrip("-").replace("-", "_")):
            raise ProfileError(f"{flag} is not available", where="capture", help=why)


def _check_inputs(given: Sequence[str], neff: Neff) -> None:
    """Names and files in turn. Raises: ProfileError."""
    names = [tensor.name for tensor in neff.inputs]
    if len(given) % 2:
        raise ProfileError("inputs are pairs of a name and a file", where="capture", actual=" ".join(given))
    for name, file in zip(given[::2], given[1::2]):
        if name not in names:
            raise ProfileError(f"the model has no input {name!r}", where="capture", help=f"inputs: {', '.join(names)}")
        if not Path(file).is_file():
            raise ProfileError("no such file", where=file)
    if given:
        note("inputs are not read: times do not depend on values")
