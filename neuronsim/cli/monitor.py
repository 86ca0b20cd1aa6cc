"""`neuronsim monitor`: neuron-monitor's JSON reports of running simulations, one line each."""

from __future__ import annotations

import argparse
import itertools
import json
import sys

from neuronsim.cli.arguments import positive
from neuronsim.monitoring import config
from neuronsim.monitoring.stream import Monitor
from neuronsim.runtime.ownership import STATE_DIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `monitor`."""
    parser.add_argument(
        "--period", type=config.period_argument, metavar="S", help="time between reports: 5, 500ms, 1m (default: 5s)"
    )
    parser.add_argument(
        "-c", "--config-file", metavar="FILE", help="neuron-monitor's JSON configuration (default: everything)"
    )
    parser.add_argument("--count", type=positive, metavar="N", help="end after N reports (default: Ctrl-C ends)")
    parser.add_argument("--instance", metavar="T", help="instance to watch (default: the one in use)")
    parser.add_argument("--state-dir", metavar="DIR", help=f"folder that runtimes share; default ${STATE_DIR}")


def run(args: argparse.Namespace) -> int:
    """Stream; Ctrl-C is the way to end a stream without --count, hence no error."""
    if args.config_file:
        chosen = config.load(args.config_file, args.period)
    else:
        chosen = config.everything(args.period or config.DEFAULT_PERIOD)
    monitor = Monitor(chosen, args.instance, args.state_dir)
    try:
        for report in itertools.islice(monitor.reports(), args.count):
            sys.stdout.write(json.dumps(report, allow_nan=False, separators=(",", ":")) + "\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        if args.count:
            raise
    return 0
